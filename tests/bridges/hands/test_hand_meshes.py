"""Hands from meshes: the hand model is fitted to them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_bridges.geometry import mirror_estimate
from fgs_bridges.hand_check import check_hand
from fgs_bridges.hands import HandFile
from fgs_bridges.types import HandEstimate
from fgs_jax.types import HandModel
from tests.bridges.hands.recorded_hands import PICTURE, WIDTH, fails, posed


def write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in faces + 1]
    path.write_text("\n".join(lines) + "\n")


def test_a_mesh_is_fitted(model: HandModel, tmp_path: Path, rng: np.random.Generator) -> None:
    """As HaMeR's demo saves a left hand: OpenGL's axes, faces reversed; the side is told by these alone."""
    right = HandEstimate(
        side="right",
        pose=Rotation.from_rotvec(np.asarray(model.pose_mean) + rng.normal(0, 0.1, (15, 3))).as_matrix(),
        rotation=Rotation.from_rotvec([0.3, 2.0, 0.5]).as_matrix(),
        translation=np.array([0.2, 0.1, 9.0]),
        betas=rng.normal(0, 0.7, 10),
        faces=np.asarray(model.faces),
    )
    left = mirror_estimate(replace(right, vertices=posed(model, right)), WIDTH)
    assert left.vertices is not None and left.faces is not None
    path = tmp_path / "hand_0.obj"
    write_obj(path, left.vertices * [1, -1, -1], left.faces)
    tool = HandFile(str(path), frame="opengl", focal="hamer")
    found = tool(PICTURE)[0]
    assert found.side == "left" and found.K is not None and found.K[0, 0] == 12_500
    assert found.vertices is not None
    np.testing.assert_allclose(found.vertices, left.vertices, atol=1e-6)
    assert check_hand(found) < 1.0
    assert "fitted to the mesh" in tool.provenance().notes[0]
    fails("got faces wound as a left one's", HandFile(str(path), frame="opengl", side="right"), PICTURE)
    fails("before the camera .*is its frame opengl", HandFile(str(path)), PICTURE)


def test_meshes_that_are_no_hand(model: HandModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = np.asarray(model.v_template, float) + [0, 0, 1], np.asarray(model.faces)
    cases = {
        "expected 778 vertices, as mano has, got 700": (vertices[:700], faces[(faces < 700).all(axis=1)]),
        "expected a hand in metres, got one of 202 m": (vertices * 1000, faces),
        "which tell no side: say side": (vertices, faces[:, [1, 0, 2]][:1]),
    }
    for number, (words, mesh) in enumerate(cases.items()):
        write_obj(tmp_path / f"{number}.obj", *mesh)
        fails(words, HandFile(str(tmp_path / f"{number}.obj")), PICTURE)
    fails("expected a mesh, there is none", HandFile(str(tmp_path / "none.ply")), PICTURE)
    (tmp_path / "bad.ply").write_text("not a mesh")
    fails("it cannot be read", HandFile(str(tmp_path / "bad.ply")), PICTURE)
    monkeypatch.delenv("FGS_MANO_DIR")
    fails("a mesh is fitted with its model: mano: expected", HandFile(str(tmp_path / "0.obj")), PICTURE)
