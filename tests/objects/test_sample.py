"""Points spread evenly."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree

from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import farthest_points, sample_points
from fgs_jax.objects.solid import exact_signed_distance
from tests.lowered import lowered, sizes
from tests.objects.shapes import ACROSS, BALL, BOX, INNER, KEY, OUTER, flipped, together


def greedy(points, count):
    chosen = [0]
    for _ in range(count - 1):
        distance = np.min([((points - points[i]) ** 2).sum(axis=1) for i in chosen], axis=0)
        chosen.append(int(np.argmax(distance)))
    return chosen


@pytest.mark.parametrize(("dimensions", "count"), [(2, 7), (3, 60), (3, 1)])
def test_farthest_points_are_the_greedy_choice(rng, dimensions, count):
    points = rng.normal(size=(60, dimensions)).astype(np.float32)
    assert farthest_points(jnp.asarray(points), count).tolist() == greedy(points, count)


def test_farthest_points_pass_over_points_that_are_not_finite(rng):
    points = rng.normal(size=(40, 3)).astype(np.float32)
    expected = 4 + np.array(greedy(points[4:], 20))
    points[:4] = [[np.nan] * 3, [np.inf, 0, 0], [0, -np.inf, 0], [0, 0, -np.nan]]
    assert_array_equal(farthest_points(jnp.asarray(points), 20), expected)


def test_farthest_points_make_no_product_array(rng):
    text = lowered(lambda points: farthest_points(points, 97), jnp.ones((211, 3)), platform="cpu")
    assert max(sizes(text)) == 256 * 3


@pytest.mark.parametrize("shape", [BALL, BOX], ids=["ball", "box"])
def test_samples_lie_on_the_surface_and_cover_it(shape):
    mesh = load_object(shape)
    points = sample_points(mesh, 400, KEY)
    assert points.shape == (400, 3) and points.dtype == jnp.float32
    assert_array_equal(points, sample_points(mesh, 400, KEY))
    assert np.abs(np.asarray(points) - np.asarray(sample_points(mesh, 400, jax.random.key(1)))).max() > 1e-3
    assert_array_equal(sample_points(mesh, 50, jax.random.PRNGKey(3)), sample_points(mesh, 50, jax.random.key(3)))
    assert np.abs(exact_signed_distance(mesh, np.asarray(points, float))).max() < 1e-6
    # 400 discs that cover the surface have at least this radius; a greedy choice has at most twice the best one.
    best = np.sqrt(2 * shape.area / (np.sqrt(27) * 400))
    anywhere = np.asarray(sample_points(mesh, 1500, jax.random.key(2)))
    tree = KDTree(points)
    assert tree.query(anywhere)[0].max() < 2 * best
    assert tree.query(points, k=2)[0][:, 1].min() > best


def test_samples_are_spread_by_area_not_by_faces():
    # The left half of the box has four times as many faces.
    fine: Any = BOX.subdivide_to_size(0.012)
    left = fine.triangles_center[:, 0] < 0
    finer: Any = trimesh.remesh.subdivide(fine.vertices, fine.faces, np.flatnonzero(left))
    points = np.asarray(sample_points(load_object(finer[:2]), 500, KEY))
    assert abs(np.mean(points[:, 0] < 0) - 0.5) < 0.04


def test_the_first_sample_may_be_anywhere_in_a_face():
    triangle = load_object((np.array([[0, 0, 0], [0.3, 0, 0], [0, 0.6, 0]]), [[0, 1, 2]]))
    first = np.concatenate([sample_points(triangle, 1, jax.random.key(seed)) for seed in range(300)])
    assert_allclose(first.mean(axis=0), [0.1, 0.2, 0], atol=0.02)
    assert_allclose(first.std(axis=0), np.array([0.3, 0.6, 0]) / np.sqrt(18), atol=0.02)


@pytest.mark.parametrize("crumbs", [0, 70])
def test_no_samples_within_another_part(crumbs):
    crumb: Any = trimesh.creation.icosphere(subdivisions=0, radius=1e-4)
    aside = [(crumb.vertices + [0.2, 0.002 * k, 0], crumb.faces) for k in range(crumbs)]
    mesh = load_object(together(OUTER, ACROSS, *aside))
    points = np.asarray(sample_points(mesh, 500, KEY), float)
    from_centres = np.stack([np.linalg.norm(points - [x, 0, 0], axis=1) for x in (0, 0.06)])
    assert from_centres.min() > 0.0495
    # The cavity of a hollow ball is no part: it gets its share.
    hollow = np.asarray(sample_points(load_object(together(OUTER, flipped(INNER))), 500, KEY))
    share = np.mean(np.linalg.norm(hollow, axis=1) < 0.045)
    assert share == pytest.approx(0.64 / 1.64, abs=0.04)
