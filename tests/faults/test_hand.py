"""Hands whose files do not say what they hold, are saved in another way, or are of a model that there is none of."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from fgs_bridges.geometry import rotation_matrices
from fgs_bridges.hands import HandFile
from fgs_jax.cli import main
from fgs_jax.errors import BridgeError
from tests.faults.conftest import ROOT, TUMBLER

SPARSE = ("csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "numpy.matrix", "defaultdict")


def test_pca_pose_as_angles(fault, monkeypatch):
    folder = fault("pca-pose-as-angles", ROOT)
    monkeypatch.setenv("FGS_MANO_DIR", str(folder / "mano"))
    picture = np.zeros((480, 640, 3), np.uint8)
    for zero in ("flat", "mean"):
        with pytest.raises(BridgeError, match=r"^[^\n]*say pose: components, with pose_zero: flat or mean[^\n]*$"):
            HandFile(str(folder / "hand.npz"), pose_zero=zero)(picture)
    [hand] = HandFile(str(folder / "hand.npz"), pose="components", pose_zero="mean")(picture)
    with np.load(folder / "hand.npz") as file, np.load(folder / "mano" / "MANO_RIGHT.npz") as mano:
        meant = rotation_matrices((file["pose"] @ mano["hands_components"] + mano["hands_mean"]).reshape(15, 3))
    np.testing.assert_allclose(np.asarray(hand.pose), meant, atol=1e-5)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_mano_pickle_sparse(fault, monkeypatch, capsys):
    folder = fault("mano-pickle-sparse", ROOT)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["make.py", str(ROOT)])
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which it adds
    runpy.run_path("make.py")
    assert capsys.readouterr().out.splitlines() == [f"{kind} read" for kind in SPARSE]


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("foo", "no such hand model; expected open_hand, open_hand_full, mano, or the path of a hand file"),
        ("foo.npz", "no such hand model"),
        ("x" * 300, "no such hand model"),
        ("hand_mask.png", "expected a MANO pickle or an npz, came a file that starts with"),
        ("/dev/null", "came a device"),
    ],
    ids=["a name", "a path", "a long name", "another file", "a device"],
)
def test_hand_model_name_ignored(model: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    scene = tmp_path / "scene"
    shutil.copytree(TUMBLER, scene)
    meta = json.loads((scene / "scene.json").read_text())
    (scene / "scene.json").write_text(json.dumps(meta | {"hand": {"model": model}}))
    for words in (["scene", "check", str(scene)], ["refine", str(scene), "--out", str(tmp_path / "out")]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "hand: model: " in said and line in said
    assert not (tmp_path / "out").exists()
