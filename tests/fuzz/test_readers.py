"""The short run: some changed files for each reader, the same ones each time. `make fuzz` tries many more."""

import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgs_jax.errors import FgsError, MeshError
from tests.fuzz import campaign
from tests.fuzz.mutations import mutated
from tests.fuzz.readers import READERS, Plan, fault_of, input_of, plans

SLOW = 20
"""Seconds of this process for one input; each takes a hundredth of one."""
PLANS = st.builds(
    Plan, st.integers(0, 63), st.integers(0, 63), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4)
)


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_changed_is_read(name: str, tmp_path: Path):
    reader = READERS[name]
    (tmp_path / "made").mkdir()
    for k, seed in enumerate(reader.files(tmp_path / "made")):
        folder = tmp_path / str(k)
        for each, data in seed.files.items():
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            (folder / each).write_bytes(data)
        path = folder if seed.folder else folder / next(iter(seed.files))
        if name == "hand mesh" or path.stem == "picture":  # a box is no hand, and a picture no mask
            with pytest.raises(FgsError):
                reader.read(path)
        else:
            reader.read(path)


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused_in_a_line(name: str, tmp_path_factory: pytest.TempPathFactory):
    reader = READERS[name]
    files = reader.files(tmp_path_factory.mktemp("seeds"))

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=reader.examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(PLANS)
    def check(plan: Plan) -> None:
        path, begun = input_of(files, plan, tmp_path_factory.mktemp("input")), time.process_time()
        assert fault_of(reader.read, path) == "", (name, plan)
        assert time.process_time() - begun < SLOW

    check()


# --- the harness itself


def _raise(error: BaseException) -> None:
    raise error


def _without_memory() -> None:
    try:
        raise MemoryError
    except MemoryError as cause:
        raise MeshError("damaged") from cause


class _TwoLinesError(MeshError):
    def __str__(self) -> str:
        return "two\nlines"


def test_what_is_wrong_is_told():
    path = Path()
    assert fault_of(lambda _: None, path) == ""
    assert fault_of(lambda _: _raise(MeshError("a line")), path) == ""
    assert fault_of(lambda _: _raise(KeyError("x")), path).startswith("KeyError: 'x'")
    assert fault_of(lambda _: _raise(_TwoLinesError()), path).startswith("no line for people")
    assert fault_of(lambda _: _raise(MeshError()), path).startswith("no line for people")
    assert fault_of(lambda _: _without_memory(), path).startswith("memory")
    assert "overflow" in fault_of(lambda _: np.float32(1e30) * np.float32(1e30), path)


def test_the_same_numbers_are_the_same_changes(tmp_path: Path):
    for seed in READERS["picture"].files(tmp_path):
        data = next(iter(seed.files.values()))
        once, again = (mutated(data, data, [5, 6]) for _ in range(2))
        assert once == again


def test_most_inputs_are_changed_and_some_are_still_read(tmp_path: Path):
    """Readers that refuse all at the door would show nothing."""
    for name in ("mesh", "refine configuration", "landmarks"):
        reader = READERS[name]
        files = reader.files(tmp_path)
        changed = accepted = 0
        for plan in islice(plans(len(files), 0), 60):
            path = input_of(files, plan, tmp_path)
            changed += path.read_bytes() != files[plan.seed].files[path.name]
            with suppress(FgsError):
                reader.read(path)
                accepted += 1
        assert changed > 50
        assert 2 < accepted < 55


def _read_badly(path: Path) -> None:
    kind = path.read_bytes()[:1]
    if kind == b"m":
        np.ones(2**29)
    while kind == b"t":
        pass


def test_limits_hold_in_a_process_of_its_own(tmp_path: Path):
    pytest.importorskip("resource", reason="limits of memory and time: this system has none")
    for name in ("well", "memory", "time"):
        (tmp_path / name).write_text(name)
    worker = campaign.Worker(_read_badly, most_seconds=1)
    try:
        assert worker.fault(tmp_path / "well") == ""
        assert worker.fault(tmp_path / "memory").startswith("MemoryError")
        assert worker.fault(tmp_path / "well") == ""
        assert worker.fault(tmp_path / "time").startswith("killed: -24")
    finally:
        worker.stop()
