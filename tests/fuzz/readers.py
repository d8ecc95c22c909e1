"""What reads files that people give, and what each of them must do with any file: read it, or say why not in a line."""

import json
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from fgs_bridges.config import Backends, load_generate_config
from fgs_bridges.detect_files import Doh100, Manual
from fgs_bridges.dreambooth_config import read_config
from fgs_bridges.hands import HandFile
from fgs_bridges.mediapipe_hands import hands_of_boxes, read_landmarks
from fgs_bridges.run_folder import read_run, write_run
from fgs_bridges.segment import read_mask
from fgs_bridges.stage_state import provenance_of, state
from fgs_bridges.stage_work import read_boxes
from fgs_bridges.text_to_image import read_picture
from fgs_bridges.types import Detection
from fgs_jax.config_files import check_config, load_config
from fgs_jax.errors import (
    BridgeUnavailable,
    FgsError,
    HandednessWarning,
    HandFileWarning,
    HandPoseWarning,
    HandShapeWarning,
)
from fgs_jax.hands.files import load_hand_model, read_hand_file
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.scene_files import load_scene
from tests.fuzz import seeds
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import Seed

MOST_WORDS = 2000
"""Characters of an error's line."""
_UNSEEN = (
    DeprecationWarning,
    PendingDeprecationWarning,
    ResourceWarning,
    HandFileWarning,
    HandednessWarning,
    HandPoseWarning,
    HandShapeWarning,
)
"""Warnings that a person does not see, and those that are meant for people."""


class Plan(NamedTuple):
    """One input: which file is changed, and how."""

    seed: int
    """Which of a reader's files; of a folder's files the last number says which."""
    other: int
    """The one that parts are taken from."""
    numbers: list[int]
    """One for each change."""


def input_of(files: list[Seed], plan: Plan, folder: Path) -> Path:
    """Writes the input of a plan to an empty folder. Returns what is to be read."""
    seed, other = files[plan.seed % len(files)], files[plan.other % len(files)]
    random = Random(f"{plan.seed} {plan.numbers}")
    contents = dict(seed.files)
    names = list(contents)
    name = random.choice(names) if seed.folder and random.random() < 0.5 else names[0]
    given = random.choice(list(other.files.values())) if random.random() < 0.5 else other.files[next(iter(other.files))]
    contents[name] = mutated(contents[name], given, plan.numbers)
    if seed.folder and random.random() < 0.05:
        contents.pop(random.choice(names))
    for each, data in contents.items():
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(data)
    return folder if seed.folder else folder / name


def fault_of(read: Callable[[Path], Any], path: Path) -> str:
    """What is wrong with how a reader took an input; "" where nothing is."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            read(path)
        except FgsError as error:
            if fault := _of_error(error):
                return fault
        except Exception as error:
            return _traced(error)
    noise = [each for each in raised if not issubclass(each.category, _UNSEEN)]
    return f"{noise[0].category.__name__}: {noise[0].message} ({noise[0].filename}:{noise[0].lineno})" if noise else ""


def _of_error(error: FgsError) -> str:
    line, cause = str(error), error.__cause__
    if not line or len(line) > MOST_WORDS or any(ord(letter) < 32 or ord(letter) == 127 for letter in line):
        return f"no line for people: {line[:300]!r}, {len(line)} characters, {_place(error)}"
    while cause is not None:
        if isinstance(cause, MemoryError):
            return f"memory: {_traced(cause)}"
        cause = cause.__cause__ or cause.__context__
    return ""


def _traced(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]} {_place(error)}"


def _place(error: BaseException) -> str:
    """Where it was raised: the last places of this project."""
    places, trace = [], error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(seeds.ROOT) and "tests" not in path.parts:
            places.append(f"{path.name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(places[-3:]))


class Reader(NamedTuple):
    name: str
    read: Callable[[Path], Any]
    files: Callable[[Path], list[Seed]]
    """Given an empty folder."""
    examples: int
    """In the short run: each reader has about a second."""


def _read_mesh(path: Path) -> None:
    _check_mesh(load_object(path, "unknown"))


def _check_mesh(mesh: Any) -> None:
    assert np.isfinite(mesh.vertices).all() and len(mesh.faces), "a mesh that is none"
    assert 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices), "faces of vertices that are not there"


def _read_hand(path: Path) -> None:
    side = str(read_hand_file(path)["side"])
    model = load_hand_model(path, "left" if "LEFT" in path.name else side) if path.suffix == ".npz" else None
    assert model is None or bool(np.isfinite(np.asarray(model.v_template)).all())


def _read_scene(folder: Path) -> None:
    check_scene(load_scene(folder))


def _read_config(path: Path) -> None:
    check_config(load_config(path))


def _read_stack(path: Path) -> None:
    config = load_generate_config(path)
    made = Backends(config)
    for kind, choice in config.backends.items():
        with suppress(BridgeUnavailable):
            if choice.backend != "auto":
                made[kind]  # pyright: ignore[reportUnusedExpression]
    json.dumps(config.values())


@cache
def _picture() -> np.ndarray:
    return np.zeros((*seeds.SIZE[::-1], 3), np.uint8)


def _read_picture(path: Path) -> None:
    if path.suffix != ".npy":
        assert read_picture(path).shape[2] == 3
    mask = read_mask(str(path))
    assert mask.dtype == bool and mask.ndim == 2


def _read_estimate(path: Path) -> None:
    for estimate in HandFile(str(path))(_picture()):
        for name in ("K", "keypoints_2d", "pose", "rotation", "translation", "betas", "vertices"):
            array = getattr(estimate, name)
            assert array is None or np.isfinite(array).all(), name


def _read_hand_mesh(path: Path) -> None:
    HandFile(str(path), hand_model="open_hand")(_picture())


def _read_boxes(path: Path) -> None:
    if path.name == "manual.json":
        Manual(str(path))(_picture(), "mug")
    else:
        Doh100(str(path), str(path.with_name("objects.npy")) if path.suffix == ".npy" else "")(_picture(), "mug")


def _read_landmarks(path: Path) -> None:
    box = Detection(np.array([4.0, 3.0, 36.0, 27.0]), side="right")
    hands_of_boxes(read_landmarks(path, "", _picture()), (box,))


def _read_run(folder: Path) -> None:
    run = read_run(folder)
    write_run(run)
    state(run, "boxes")
    read_boxes(run)
    provenance_of(run, "boxes")


def _of_configuration(name: str) -> Callable[[Path], list[Seed]]:
    return lambda _: seeds.configurations()[name]


READERS = {
    reader.name: reader
    for reader in (
        Reader("mesh", _read_mesh, lambda _: seeds.meshes(), 150),
        Reader("hand", _read_hand, seeds.hands, 15),
        Reader("scene", _read_scene, seeds.scenes, 60),
        Reader("picture", _read_picture, lambda _: seeds.pictures(), 200),
        Reader("refine configuration", _read_config, _of_configuration("refine configuration"), 60),
        Reader("bridge configuration", _read_stack, _of_configuration("bridge configuration"), 60),
        Reader("training configuration", read_config, _of_configuration("training configuration"), 30),
        Reader("hand estimate", _read_estimate, lambda _: seeds.hand_estimates(), 80),
        Reader("hand mesh", _read_hand_mesh, lambda _: seeds.meshes(), 60),
        Reader("detections", _read_boxes, lambda _: seeds.detections(), 120),
        Reader("landmarks", _read_landmarks, lambda _: seeds.landmarks(), 120),
        Reader("run", _read_run, lambda _: seeds.runs(), 60),
    )
}


def plans(files: int, seed: int) -> Iterable[Plan]:
    """Without end, of so many files; the same ones for the same seed."""
    random = Random(seed)
    while True:
        numbers = [random.getrandbits(32) for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5)))]
        yield Plan(random.randrange(files), random.randrange(files), numbers)
