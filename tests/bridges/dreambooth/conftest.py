"""Tiny pipelines and pictures that all trainings share."""

from pathlib import Path

import pytest
from PIL import Image as Pictures

from fgs_bridges.dreambooth_config import Dreambooth
from tests.bridges.dreambooth.training import small
from tests.bridges.tiny_diffusion import picture, save_tiny


@pytest.fixture(scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tiny")
    return {kind: save_tiny(folder / kind, kind) for kind in ("sd", "sdxl")}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Two of each kind: known ones, bright, and new ones, dark."""
    folder = tmp_path_factory.mktemp("pictures")
    paths: dict[str, list[str]] = {}
    for name, dark in (("known", False), ("new", True)):
        for k in range(4):
            path = folder / f"{name}{k}.png"
            Pictures.fromarray(picture(k, dark=dark)).save(path)
            paths.setdefault(name, []).append(str(path))
    return paths


@pytest.fixture
def config(tiny: dict[str, str], pictures: dict[str, list[str]], tmp_path: Path) -> Dreambooth:
    return small(tiny["sd"], pictures["new"], tmp_path / "run")
