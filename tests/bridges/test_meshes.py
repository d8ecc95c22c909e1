"""Cleaning of generated meshes: what is mended, what is dropped, what is kept, and that it is said."""

import numpy as np
import pytest
import trimesh

from fgs_bridges.meshes import clean, read_mesh
from fgs_bridges.types import Mesh
from fgs_jax.errors import BridgeError


def ball(radius=1.0, centre=(0, 0, 0), subdivisions=3) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Mesh(np.asarray(made.vertices) + centre, np.asarray(made.faces))


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def volume(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def edges_passed_both_ways(mesh: Mesh) -> bool:
    """Whether each edge is passed once each way: closed, and wound alike everywhere."""
    edges = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    there, back = ({tuple(edge) for edge in part.tolist()} for part in (edges, edges[:, ::-1]))
    return len(there) == len(edges) and there == back


def test_a_clean_mesh_is_left_as_it_is():
    mesh, done = clean(ball())
    assert done == []
    np.testing.assert_array_equal(mesh.vertices, ball().vertices)
    np.testing.assert_array_equal(mesh.faces, ball().faces)


def test_the_part_with_the_most_area_is_kept_not_the_one_with_the_most_faces():
    fine = ball(0.1, (3, 0, 0), subdivisions=4)
    coarse = ball(1.0, subdivisions=2)
    assert len(fine.faces) > len(coarse.faces)
    mesh, done = clean(joined(fine, ball(0.2, (0, 3, 0), 1), coarse))
    assert len(mesh.faces) == len(coarse.faces)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1)
    (line,) = done
    assert line.startswith("dropped 2 smaller parts with 4.")  # 1 % and 4 % of the area of 1.05


def test_all_parts_may_be_kept():
    mesh, done = clean(joined(ball(), ball(0.5, (3, 0, 0))), largest=False)
    assert volume(mesh) == pytest.approx(volume(ball()) + volume(ball(0.5)))
    assert done == ["kept 2 separate parts"]


def test_parts_that_only_unmerged_vertices_part_are_one():
    whole = ball(subdivisions=2)
    soup = Mesh(whole.vertices[whole.faces].reshape(-1, 3), np.arange(3 * len(whole.faces)).reshape(-1, 3))
    mesh, done = clean(soup)
    assert len(mesh.vertices) == len(whole.vertices) and len(mesh.faces) == len(whole.faces)
    assert done == [f"merged {len(soup.vertices) - len(whole.vertices)} vertices with others at the same place"]
    assert edges_passed_both_ways(mesh)


def test_inside_out_and_mixed_windings():
    whole = ball()
    for turned in (np.ones(len(whole.faces), bool), np.arange(len(whole.faces)) % 3 == 0):
        faces = np.where(turned[:, None], whole.faces[:, ::-1], whole.faces)
        mesh, done = clean(Mesh(whole.vertices, faces))
        assert volume(mesh) == pytest.approx(volume(whole))
        assert edges_passed_both_ways(mesh)
        assert any(line.startswith("turned") for line in done)


def test_faces_without_an_area_and_twice_there():
    whole = ball(subdivisions=1)
    odd = np.array([[0, 0, 1], whole.faces[5], whole.faces[7][::-1]])
    mesh, done = clean(Mesh(whole.vertices, np.concatenate([whole.faces, odd])))
    assert len(mesh.faces) == len(whole.faces)
    assert "dropped 1 faces without an area" in done and "dropped 2 faces that are there twice" in done
    assert edges_passed_both_ways(mesh)


def test_simplified_to_a_number_of_faces():
    mesh, done = clean(ball(subdivisions=5), faces=2000)  # of 20 480
    assert 1900 <= len(mesh.faces) <= 2000
    assert edges_passed_both_ways(mesh)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1, atol=0.01)
    (line,) = done
    assert line.startswith(f"simplified from 20480 to {len(mesh.faces)} faces")
    assert len(clean(ball(), faces=None)[0].faces) == len(ball().faces)


def test_simplification_that_would_lose_the_shape_is_not_done():
    mesh, done = clean(ball(), faces=4)
    assert len(mesh.faces) == len(ball().faces)
    assert done == [f"kept {len(mesh.faces)} faces: with 4 it would lose its shape"]


def test_a_hole_is_told():
    whole = ball()
    mesh, done = clean(Mesh(whole.vertices, whole.faces[:-20]))
    assert len(mesh.faces) == len(whole.faces) - 20
    assert done[-1] == "left open: the surface has holes or edges of more than two faces"


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_tools_own_units_are_kept(scale):
    mesh, done = clean(ball(scale))
    assert done == []
    assert np.abs(mesh.vertices).max() == pytest.approx(scale)


@pytest.mark.parametrize(
    ("mesh", "says"),
    [
        (Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)), "came nothing"),
        (Mesh(np.ones((4, 3)), np.zeros((0, 3), int)), "4 points without a face"),
        (Mesh(np.ones((4, 3)), np.array([[0, 1, 2]])), "came one of no extent"),
        (Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]])), "faces without an area only"),
        (Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, np.inf, 0]]), np.array([[0, 1, 2]])), "nan or infinity in 1"),
        (Mesh(np.eye(3), np.array([[0, 1, 3]])), "came 0 to 3"),
    ],
)
def test_no_surface(mesh, says):
    with pytest.raises(BridgeError, match=says) as error:
        clean(mesh, name="Shap-E's mesh")
    assert str(error.value).startswith("Shap-E's mesh: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb", ".off"])
def test_meshes_of_all_formats_are_read(tmp_path, suffix):
    path = tmp_path / f"mesh{suffix}"
    trimesh.Trimesh(ball().vertices, ball().faces, process=False).export(path)
    mesh = read_mesh(path)
    np.testing.assert_allclose(mesh.vertices, ball().vertices, atol=2e-7)
    np.testing.assert_array_equal(mesh.faces, ball().faces)


def test_reading_errors(tmp_path):
    with pytest.raises(BridgeError, match=r"none.obj: expected a mesh file, there is none"):
        read_mesh(tmp_path / "none.obj")
    (tmp_path / "damaged.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 10\n")
    with pytest.raises(BridgeError, match="damaged"):
        read_mesh(tmp_path / "damaged.ply")
