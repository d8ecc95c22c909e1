"""The synthetic hand, right and left, as arrays of MANO's keys; no folder of MANO files is set."""

import pytest

from fgs_jax.testing import mirrored_mano as mirrored
from fgs_jax.testing import synthetic_mano
from tests.hands.mano_arrays import Arrays


@pytest.fixture(scope="session")
def right() -> Arrays:
    return synthetic_mano()


@pytest.fixture(scope="session")
def left(right: Arrays) -> Arrays:
    return mirrored(right)


@pytest.fixture(autouse=True)
def no_mano(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FGS_MANO_DIR", raising=False)
