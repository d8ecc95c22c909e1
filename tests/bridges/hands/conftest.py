"""A synthetic MANO in `$FGS_MANO_DIR`, and the hands of HaMeR's recorded result."""

from pathlib import Path

import pytest

from fgs_bridges.hands import HandFile
from fgs_bridges.types import HandEstimate
from fgs_jax.hands.files import load_hand_model
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.types import HandModel
from tests.bridges.hands.recorded_hands import HAMER, PICTURE


@pytest.fixture(scope="session")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mano")
    write_npz(folder / "MANO_RIGHT.npz", synthetic_mano())
    return folder


@pytest.fixture(autouse=True)
def mano_folder(mano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGS_MANO_DIR", str(mano))


@pytest.fixture(scope="session")
def model(mano: Path) -> HandModel:
    return load_hand_model(mano / "MANO_RIGHT.npz")


@pytest.fixture
def estimates() -> list[HandEstimate]:
    return HandFile(str(HAMER))(PICTURE)
