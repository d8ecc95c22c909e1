"""A disk that is full at any byte: what is written is whole, or what was there before stays as it was."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgs_bridges.hands import write_hands
from fgs_bridges.show import show_scene
from fgs_bridges.types import HandEstimate
from fgs_jax.errors import FgsError
from fgs_jax.hands.files import read_hand_file, write_hand_file
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.results.write import write_folder
from tests.fuzz.readers import READERS

resource: Any = pytest.importorskip("resource", reason="a disk that is full: this system limits no files")


@contextmanager
def most_bytes_in_a_file(most: int) -> Iterator[None]:
    """As where the disk is full: what goes beyond is not written, and the call fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check_full_disk(folder: Path, write: Callable[[], None], shares: Sequence[float] = (0, 1e-3, 0.5, 1)) -> None:
    """`write` writes to `folder`, alone there or over what is there; at no limit half of it is left."""
    folder.mkdir()
    write()
    whole = everything_in(folder)
    largest = max(map(len, whole.values()))
    for before in (whole, {}):
        for limit in (max(int(share * largest) - 1, 0) for share in shares):
            if not before:
                for path in folder.iterdir():
                    remove(path)
            with most_bytes_in_a_file(limit), pytest.raises(FgsError, match=r"^[^\n]+$"):
                write()
            assert everything_in(folder) == before, limit
    write()
    assert everything_in(folder) == whole


def remove(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    made = tmp_path_factory.mktemp("scene")
    READERS["scene"].files(made)
    return load_scene(made / "saved")


def test_a_scene_is_whole_or_not_there(scene: Scene, tmp_path: Path):
    check_full_disk(tmp_path / "a", lambda: save_scene(scene, tmp_path / "a" / "scene", overwrite=True))


def test_a_hand_file_is_whole_or_not_there(tmp_path: Path):
    seed = next(iter(READERS["hand"].files(tmp_path)))
    (tmp_path / "hand.npz").write_bytes(next(iter(seed.files.values())))
    arrays = read_hand_file(tmp_path / "hand.npz")
    few = {name: array for name, array in arrays.items() if name not in ("posedirs", "shapedirs")}
    check_full_disk(tmp_path / "a", lambda: write_hand_file(tmp_path / "a" / "hand.npz", few, overwrite=True))


def test_a_picture_of_a_scene_is_whole_or_not_there(scene: Scene, tmp_path: Path):
    check_full_disk(tmp_path / "a", lambda: show_scene(scene, tmp_path / "a" / "scene.png", overwrite=True), [0.5])


def test_a_folder_is_whole_or_not_there(tmp_path: Path):
    def write_files(folder: Path) -> None:
        for k in range(3):
            np.savez_compressed(folder / f"{k}.npz", places=np.arange(1000 * (k + 1)))

    names = [f"{k}.npz" for k in range(3)]
    check_full_disk(tmp_path / "a", lambda: write_folder(tmp_path / "a" / "result", write_files, names, overwrite=True))


@pytest.mark.parametrize("name", ["hand.npz", "hand.json"])
def test_a_hand_estimate_is_whole_or_not_there(tmp_path: Path, name: str):
    estimate = HandEstimate(side="right", keypoints_2d=np.arange(42.0).reshape(21, 2))
    check_full_disk(tmp_path / "a", lambda: write_hands(tmp_path / "a" / name, [estimate]))
