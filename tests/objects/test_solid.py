"""Hulls and exact distances: against formulas, trimesh, Open3D and a slow twin."""

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose

from fgs_jax.errors import MeshError
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.solid import convex_hull, exact_signed_distance
from tests.objects.shapes import ACROSS, BOX, HALF, HOLED, INNER, OUTER, SHARED, flipped, needs_data, together
from tests.reference import distance as reference


def test_the_hull_of_a_box_full_of_points_is_the_box(rng):
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    vertices = grid * [0.05, 0.03, 0.02] + 7
    faces = convex_hull(vertices)
    assert faces.dtype == np.int64
    a, b, c = np.moveaxis(vertices[faces] - 7, 1, 0)
    assert (a * np.cross(b, c)).sum() / 6 == pytest.approx(BOX.volume, rel=1e-9)
    assert ((a * np.cross(b, c)).sum(axis=1) > -1e-15).all()
    edges = {(face[k], face[(k + 1) % 3]) for face in faces.tolist() for k in range(3)}
    assert len(edges) == 3 * len(faces) and all((second, first) in edges for first, second in edges)


def test_the_hull_of_random_points_holds_them(rng):
    vertices = rng.normal(size=(200, 3))
    faces = convex_hull(vertices)
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    normals = np.cross(b - a, c - a)
    above = (vertices[:, None] * normals).sum(axis=-1) - (a * normals).sum(axis=1)
    assert above.max() < 1e-12


@pytest.mark.parametrize(
    ("vertices", "message"),
    [
        (np.random.default_rng(0).random((20, 3)) * [1, 1, 0], "came 20 without one; a flat object has no convex hull"),
        (np.outer(np.arange(9.0), [1, 2, 3]), "came 9 without one"),
        (np.eye(3), "expected vertices that span a volume, came 3 without one"),
        (np.full((9, 3), np.nan), "expected finite vertices for a convex hull, came nan or infinity"),
    ],
)
def test_what_has_no_hull_is_refused(vertices, message):
    with pytest.raises(MeshError) as raised:
        convex_hull(vertices)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["mug", "wineglass", "hammer"])
@needs_data
def test_the_distance_is_that_of_open3d(rng, name):
    open3d = pytest.importorskip("open3d", reason="needs Open3D: pip install 'fgs-jax[open3d]'", exc_type=ImportError)
    mesh = load_object(SHARED / "objects" / f"{name}.ply")
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    points = mesh.vertices.mean(axis=0) + rng.uniform(-0.1, 0.1, (4000, 3))
    points[:2000] = mesh.vertices[rng.integers(0, len(mesh.vertices), 2000)] + rng.normal(size=(2000, 3)) * 0.003
    theirs = scene.compute_signed_distance(points.astype(np.float32), nsamples=5).numpy()
    ours = exact_signed_distance(mesh, points)
    assert np.mean(ours < 0) > 0.05
    assert_allclose(ours, theirs, atol=1e-6)


def test_the_distance_is_that_of_trimesh_and_the_sign_that_of_the_solid_angle(rng):
    points = rng.uniform(-0.09, 0.09, (300, 3))
    for source in (OUTER, HOLED, HALF, together(OUTER, ACROSS), together(OUTER, flipped(INNER))):
        mesh = load_object(source, surface="solid")
        shape = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        distance = trimesh.proximity.closest_point_naive(shape, points)[1]
        inside = reference.winding_number(mesh.vertices, mesh.faces, points) > 0.5
        assert 0.02 < inside.mean() < 0.5
        assert_allclose(exact_signed_distance(mesh, points), np.where(inside, -distance, distance), atol=1e-12)


def test_the_distance_of_a_box_is_its_formula_to_the_last_digits(rng):
    points = rng.uniform(-0.1, 0.1, (2000, 3))
    beyond = np.abs(points) - np.array([0.05, 0.03, 0.02])
    formula = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)
    assert_allclose(exact_signed_distance(load_object(BOX), points), formula, atol=1e-15)


def test_a_point_that_is_not_finite_has_no_distance_and_none_has_none():
    mesh = load_object(BOX)
    found = exact_signed_distance(mesh, np.array([[0, 0, 0], [np.nan, 0, 0], [0, np.inf, 0], [0, 0, 0.03]]))
    assert_allclose(found, [-0.02, np.nan, np.nan, 0.01])
    assert exact_signed_distance(mesh, np.zeros((0, 3))).shape == (0,)
