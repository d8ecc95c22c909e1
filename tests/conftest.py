"""Settings for all tests: float32 as users have it, no silent broadcasting, compiled programs kept between runs."""

import gc
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from fgs_jax.solve.ahead import keep_programs

jax.config.update("jax_numpy_rank_promotion", "raise")
keep_programs(Path(__file__).parent.parent / ".cache" / "jax")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small programs are most of the compilation

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Skipped:
    """Writes the names of the tests that were skipped, a line each, so that `pytest @FILE` runs them elsewhere."""

    def __init__(self, path: Path) -> None:
        self._path, self._names = path, dict[str, None]()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:  # a whole file
            self._names[report.nodeid] = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._names[report.nodeid] = None

    def pytest_sessionfinish(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(f"{name}\n" for name in self._names), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-skipped", metavar="FILE", help="write the names of the tests that are skipped")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--write-skipped")
    if path and not hasattr(config, "workerinput"):  # xdist's workers tell the process that started them
        config.pluginmanager.register(Skipped(Path(path)))


def pytest_collection_finish() -> None:
    """Tracing makes objects by the million, few of them garbage: looked through less often, as long as tests run."""
    gc.freeze()
    gc.set_threshold(20_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in float64 come last, for each change of the mode compiles everything again."""
    items.sort(key=lambda item: "x64" in getattr(item, "fixturenames", ()))


@pytest.fixture
def x64():
    """Float64 for numerical derivatives."""
    with jax.enable_x64(True):
        yield


_modes = [False]


@pytest.fixture(autouse=True)
def _fresh_mode(request: pytest.FixtureRequest) -> None:
    """JAX 0.10 keeps some traces of indexing across the two float modes, and then mixes int32 with int64: afresh."""
    mode = "x64" in request.fixturenames
    if mode != _modes[-1]:
        jax.clear_caches()
        _modes[:] = [mode]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
