"""Object meshes: what is read, and what is refused."""

import copy
import json
import pickle
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax import objects
from fgs_jax.errors import MeshError
from fgs_jax.objects.mesh import load_object
from tests.objects.shapes import (
    BALL,
    BOX,
    corners_of,
    volume,
)

BOX_AS_GLTF: Any = trimesh.Scene(BOX).export(file_type="gltf")


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "off", "glb", "gltf", "STL"])
def test_every_format_comes_back(tmp_path, suffix):
    path = tmp_path / f"thing.{suffix}"
    if suffix == "gltf":
        for name, data in BOX_AS_GLTF.items():
            write(tmp_path / name.replace("model", "thing"), data)
    else:
        BOX.export(path, file_type=suffix.lower())
    mesh = load_object(path)
    assert (mesh.name, mesh.size, mesh.watertight) == ("thing", "metric", True)
    assert mesh.vertices.shape == (8, 3) and mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64
    assert_allclose(corners_of(mesh), corners_of(BOX), atol=1e-6)
    merged = ("merged 28 vertices with others at the same place",)
    assert mesh.repairs == (merged if suffix.lower() == "stl" else ())


def test_a_scene_becomes_one_mesh_with_its_parts_in_place(tmp_path):
    mirrored = np.diag([1.0, -1, 1, 1])
    mirrored[:3, 3] = [0.1, 0.2, 0.3]
    turned = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3], [0.4, 0, 0])
    scene = trimesh.Scene()
    scene.add_geometry(BOX, geom_name="box", transform=mirrored)
    scene.graph.update("again", geometry="box", matrix=turned)
    scene.add_geometry(trimesh.PointCloud(BALL.vertices))
    scene.export(tmp_path / "scene.glb")
    expected = trimesh.util.concatenate([BOX.copy().apply_transform(mirrored), BOX.copy().apply_transform(turned)])
    for source in (tmp_path / "scene.glb", scene):
        mesh = load_object(source)
        assert_allclose(corners_of(mesh), corners_of(expected), atol=2e-6)
        assert volume(mesh) == pytest.approx(2 * BOX.volume, rel=1e-5)
        assert mesh.repairs == ("left out 1 parts without faces (points or lines)", "kept 2 separate parts")


def test_arrays_and_meshes_of_trimesh_are_taken_as_they_are():
    for source in (BALL, (BALL.vertices, BALL.faces), [jnp.asarray(BALL.vertices), BALL.faces.astype(np.uint16)]):
        mesh = load_object(source, name="ball")
        assert (mesh.name, mesh.repairs, mesh.watertight) == ("ball", (), True)
        assert_allclose(mesh.vertices, BALL.vertices, atol=1e-8)
        assert_array_equal(mesh.faces, BALL.faces)
    assert load_object(BALL).name == "object"
    assert_array_equal(load_object(BALL).vertices, BALL.vertices)


def test_meshes_of_open3d_are_taken():
    open3d = pytest.importorskip("open3d", reason="needs Open3D: pip install 'fgs-jax[open3d]'", exc_type=ImportError)
    legacy = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(BALL.vertices), open3d.utility.Vector3iVector(BALL.faces)
    )
    for source in (legacy, open3d.t.geometry.TriangleMesh.from_legacy(legacy)):
        mesh = load_object(source)
        assert_allclose(mesh.vertices, BALL.vertices, atol=1e-8)
        assert_array_equal(mesh.faces, BALL.faces)
    for empty in (open3d.geometry.TriangleMesh(), open3d.t.geometry.TriangleMesh()):
        with pytest.raises(MeshError, match="came nothing"):
            load_object(empty)


def test_obj_with_all_that_the_format_allows(tmp_path):
    text = """
        mtllib missing.mtl
        # a unit square, a pentagon on it, and a triangle that counts from the end
        v 0 0 0 0.5 0.5 0.5
        v 1 0 0 1.0
        v 1 1 0   # a comment
        v 0 1 0
        vt 0 0
        vn 0 0 1
        usemtl a
        f 1/1/1 2/1/1 \\
          3/1/1 4/1/1
        o top
        f -3 -4 -1
        v 0.5 2 0
        v 0.2 1.5 0
        f 3//1 5//1 6//1 4//1
    """
    mesh = load_object(write(tmp_path / "all.obj", text), surface="solid")
    assert mesh.repairs == ("cut faces of more than three corners into triangles: 3 faces became 5",)
    expected = [[0, 1, 2], [0, 2, 3], [1, 0, 3], [2, 4, 5], [2, 5, 3]]
    assert_array_equal(mesh.faces, expected)
    assert_array_equal(mesh.vertices[[1, 5]], [[1, 0, 0], [0.2, 1.5, 0]])


SQUARES = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n0.5 2 0\n"
PLY = "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\nelement face 2\n"
PLY += "property list uchar int vertex_indices\nend_header\n"


@pytest.mark.parametrize(
    ("name", "text", "before", "after"),
    [
        ("a.ply", PLY + SQUARES + "4 0 1 2 3\n3 3 2 4\n", 2, 3),
        ("a.off", "OFF # of 5\n5 2 0\n" + SQUARES + "4 0 1 2 3\n3 3 2 4\n", 2, 3),
        ("b.off", "OFF\n5 1 0\n" + SQUARES + "5 0 1 2 4 3\n", 1, 3),
    ],
)
def test_faces_of_many_corners_are_cut_and_reported(tmp_path, name, text, before, after):
    mesh = load_object(write(tmp_path / name, text), surface="solid")
    assert mesh.repairs == (f"cut faces of more than three corners into triangles: {before} faces became {after}",)
    assert np.cross(*np.moveaxis(np.diff(mesh.vertices[mesh.faces], axis=1), 1, 0))[:, 2].sum() / 2 == 1.5


def test_quads_in_arrays_and_lines_among_faces(tmp_path):
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    corners = np.stack(np.meshgrid([0, 0.1], [0, 0.1], [0, 0.1], indexing="ij"), axis=-1).reshape(-1, 3)
    mesh = load_object((corners, quads), surface="solid")
    assert mesh.repairs[0] == "cut faces of more than three corners into triangles: 6 faces became 12"
    assert mesh.watertight and volume(mesh) == pytest.approx(1e-3)
    mesh = load_object(write(tmp_path / "a.obj", "v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\nf 1 2\n"), surface="solid")
    assert mesh.repairs == ("left out 1 faces of fewer than three corners",)


def arrays(vertices=None, faces=None):
    return (BALL.vertices if vertices is None else vertices, BALL.faces if faces is None else faces)


NOT_FINITE = BALL.vertices.copy()

NOT_FINITE[[3, 9], 1] = np.nan, np.inf


@pytest.mark.parametrize(
    ("source", "size", "message"),
    [
        (3, "metric", "object: expected a path, (vertices, faces), or a mesh of trimesh or Open3D, came int"),
        (arrays(), "meters", 'expected a size of "metric" or "unknown", came "meters"; choose'),
        (arrays([[0, 1], [2]]), "metric", "object: expected arrays, came rows of different lengths"),
        (arrays(BALL.vertices[:, :2]), "metric", "object: expected vertices of shape (v, 3), came (642, 2) of"),
        (arrays(faces=[[0, 1]]), "metric", "expected faces of shape (f, 3) or (f, 4) and whole numbers, came (1, 2)"),
        (arrays(faces=BALL.faces * 1.0), "metric", "whole numbers, came (1280, 3) of type float64"),
        (arrays(faces=[]), "metric", "object: expected a mesh, came 642 points without a face; make a mesh of them"),
        (arrays([], []), "metric", "object: expected a mesh, came nothing; it is empty, damaged or"),
        (arrays(NOT_FINITE), "metric", "object: expected finite vertices, came nan or infinity in 2; check the mesh"),
        (arrays(faces=[[0, 1, 642]]), "metric", "object: expected faces of vertices 0 to 641, came 0 to 642; check"),
        (arrays(faces=[[0, 1, -1]]), "metric", "object: expected faces of vertices 0 to 641, came -1 to 1; check"),
        (arrays(BALL.vertices * 0), "unknown", "object: expected an object, came one of no extent, all in one point"),
        (arrays(np.outer(np.arange(642), [1, 2, 3])), "unknown", "object: expected a surface, came faces without"),
        (arrays(BALL.vertices * 1000), "metric", "object: expected an object of 5 mm to 3 m, came 100 m; the file"),
        (arrays(BALL.vertices * 1000), "metric", 'centimetres: scale it to metres, or pass size="unknown"'),
        (arrays(BALL.vertices * 0.04), "metric", "object: expected an object of 5 mm to 3 m, came 0.004 m; the file"),
    ],
)  # fmt: skip
def test_a_bad_mesh_is_refused_in_one_line(source, size, message):
    with pytest.raises(MeshError) as raised:
        load_object(source, size)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_mesh_of_unknown_size_has_no_unit_check():
    for scale in (1e-4, 1e3):
        mesh = load_object((BALL.vertices * scale, BALL.faces), size="unknown")
        assert mesh.size == "unknown" and mesh.repairs == ()


COMPRESSED = json.dumps({"asset": {"version": "2.0"}, "extensionsRequired": ["KHR_draco_mesh_compression"]})
BAD_FILES = {
    "missing.obj": (None, "expected a mesh file, there is none; check the path"),
    "thing.fbx": ("x", 'expected a mesh file (.obj, .ply, .stl, .off, .glb, .gltf), came ".fbx"; convert it'),
    "thing": ("x", 'came ""; convert it'),
    "empty.obj": ("", "came nothing; it is empty, damaged or of another format"),
    "points.obj": ("v 0 0 0\nv 1 0 0\n", "came 2 points without a face"),
    "word.obj": (
        "v 0 0 0\nv 1 zero 0\n",
        "it is damaged or of another one (could not convert string to float: 'zero')",
    ),
    "ragged.obj": ("v 0 0 0\nv 1 0\nf 1 2 2\n", "in the .obj format, it is damaged or of another one ("),
    "range.obj": ("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 9\n", "expected faces of vertices 0 to 2, came 0 to 8"),
    "zero.obj": ("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 0 1 2\n", "expected faces of vertices 0 to 2, came 0 to 3"),
    "nan.obj": ("v 0 0 0\nv 1 nan 0\nv 1 1 0\nf 1 2 3\n", "came nan or infinity in 1"),
    "other.ply": ("solid", "expected a mesh in the .ply format, it is damaged or of another one (Not a ply file!)"),
    "other.stl": (b"\x01\x02" * 300, "came nothing; it is empty, damaged or of another format"),
    "other.off": ("ply", "expected a mesh in the .off format, it is damaged or of another one"),
    "other.glb": (b"\x01\x02" * 300, "it is damaged or of another one (incorrect header on GLB file)"),
    "other.gltf": ("x", "in the .gltf format, it is damaged or of another one"),
    "draco.gltf": (COMPRESSED, "expected plain arrays, came compressed ones; export it without compression"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_with_its_path(tmp_path, name):
    content, message = BAD_FILES[name]
    # Which a reader might take instead.
    for other, data in BOX_AS_GLTF.items():
        write(tmp_path / other, data)
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(MeshError) as raised:
        load_object(tmp_path / name)
    assert str(raised.value).startswith(f"{tmp_path / name}: expected ")
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", ["ply", "stl", "off", "glb"])
def test_a_file_cut_short_is_refused(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    BALL.export(path)
    write(path, path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(MeshError, match="damaged or of another"):
        load_object(path)


def test_a_folder_and_a_cloud_of_points_are_refused(tmp_path):
    with pytest.raises(MeshError, match="expected a mesh file, came a folder; name the file in it"):
        load_object(tmp_path)
    trimesh.PointCloud(BALL.vertices).export(tmp_path / "cloud.ply")
    with pytest.raises(MeshError, match="came 642 points without a face; make a mesh of them"):
        load_object(tmp_path / "cloud.ply")


LOOSE: Any = objects
"""Called with what its types do not allow."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: LOOSE.simplify("mug.obj"), "expected a mesh that load_object has read, came str; read it first"),
        (lambda m: LOOSE.simplify(m, 0), "faces: expected a whole number from 1 to"),
        (lambda m: LOOSE.simplify(m, 2.5), "faces: expected a whole number from 1 to"),
        (lambda m: LOOSE.distance_grid(BALL), "expected a mesh that load_object has read, came Trimesh"),
        (lambda m: LOOSE.distance_grid(m, 100_000), "resolution: expected a whole number from 2 to 512, came 100000"),
        (lambda m: LOOSE.distance_grid(m, 64, np.nan), "margin: expected a number of voxels, came nan"),
        (lambda m: LOOSE.distance_grid(m, 64.5), "resolution: expected a whole number from 2 to 512, came 64.5"),
        (
            lambda m: LOOSE.exact_signed_distance(m, np.zeros((3, 8))),
            "points: expected an array of shape (p, 3), came (3, 8)",
        ),
        (
            lambda m: LOOSE.exact_signed_distance(m, [[0, 1], [2]]),
            "points: expected an array of shape (p, 3), came rows",
        ),
        (lambda m: LOOSE.convex_hull(np.zeros(3)), "vertices: expected an array of shape (v, 3), came (3,)"),
        (
            lambda m: LOOSE.farthest_points(np.zeros((4, 3)), 0),
            "count: expected a whole number from 1 to 100000, came 0",
        ),
        (
            lambda m: LOOSE.farthest_points(np.zeros(4), 2),
            "points: expected an array of floats of shape (m, d), came (4,)",
        ),
    ],
)
def test_what_functions_of_meshes_need_is_said_in_a_line(call, message):
    with pytest.raises(MeshError) as raised:
        call(load_object(BALL))
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def test_copies_of_a_mesh_cannot_be_changed_either():
    mesh = load_object(BALL)
    for copied in (copy.copy(mesh), copy.deepcopy(mesh), pickle.loads(pickle.dumps(mesh))):
        assert_array_equal(copied.vertices, mesh.vertices)
        assert not copied.vertices.flags.writeable and not copied.faces.flags.writeable
