"""signed_distance: against its definition, formulas, and the exact distance of real meshes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.test_util import check_grads

from fgs_jax.objects.distance import DistanceGrid, signed_distance
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.solid import exact_signed_distance
from tests.objects.shapes import (
    OBJECTS,
    SHARED,
    needs_data,
)
from tests.reference import distance as reference

look_up = jax.jit(signed_distance)

gradient_of = jax.jit(jax.grad(lambda points, grid: signed_distance(grid, points).sum()))

LOW, HIGH = np.array([0.25, -0.25, 0.5]), np.array([1.75, 0.75, 2.5])
"""Corners of the box of `random_grid`, exact in float32."""


@pytest.fixture
def random_grid(rng):
    return DistanceGrid.from_box(rng.normal(size=(7, 5, 9)), LOW, 0.25)


def test_values_and_gradients_are_those_of_the_twin(random_grid, rng, x64):
    points = np.asarray(random_grid.origin) + rng.uniform(-0.5, 2, (400, 3))
    values, gradients = reference.signed_distance(
        np.asarray(random_grid.box(), float), np.asarray(random_grid.origin, float), float(random_grid.voxel), points
    )
    outside = ((points < LOW) | (points > HIGH)).any(axis=1)
    assert 100 < outside.sum() < 380
    np.testing.assert_allclose(look_up(random_grid, jnp.asarray(points)), values, atol=1e-6)
    np.testing.assert_allclose(gradient_of(jnp.asarray(points), random_grid), gradients, atol=1e-5)


def test_forward_reverse_and_numerical_derivatives_agree(random_grid, rng, x64):
    grid = DistanceGrid.from_box(np.asarray(random_grid.box(), float), np.asarray(random_grid.origin, float), 0.25)
    points = LOW + 0.25 * (rng.integers(-3, 11, (30, 3)) + rng.uniform(0.1, 0.9, (30, 3)))
    check_grads(
        lambda p: look_up(grid, jnp.asarray(p)), (jnp.asarray(points),), order=1, modes=("fwd", "rev"), eps=1e-6
    )


def test_at_nodes_it_is_the_value_and_every_gradient_is_finite(random_grid):
    steps = np.indices((7, 5, 9)).reshape(3, -1).T
    nodes = jnp.asarray(steps * 0.25 + LOW, jnp.float32)
    np.testing.assert_allclose(look_up(random_grid, nodes), random_grid.values.ravel(), atol=2e-5)
    far = jnp.array([[1e6, 0.0, 0.0], [-1e6, 1e6, -1e6], LOW, HIGH, [0.25, 0.0, 1e-30]], jnp.float32)
    for points in (nodes, far):
        assert np.isfinite(look_up(random_grid, points)).all()
        assert np.isfinite(gradient_of(points, random_grid)).all()
    np.testing.assert_allclose(look_up(random_grid, far)[0], 1e6, rtol=1e-5)
    # At the border the gradient is that from within.
    values, found = random_grid.box(), gradient_of(far[2:4], random_grid)
    lowest = [values[1, 0, 0] - values[0, 0, 0], values[0, 1, 0] - values[0, 0, 0], values[0, 0, 1] - values[0, 0, 0]]
    highest = [values[6, 4, 8] - values[5, 4, 8], values[6, 4, 8] - values[6, 3, 8], values[6, 4, 8] - values[6, 4, 7]]
    np.testing.assert_allclose(found, np.array([lowest, highest]) / 0.25, rtol=1e-5)


def test_alone_it_is_as_in_a_batch_of_points_and_of_grids(random_grid, rng):
    other = random_grid.replace(values=-random_grid.values, voxel=jnp.array(0.2))
    grids = jax.tree.map(lambda *x: jnp.stack(x), random_grid, other)
    points = jnp.asarray(rng.uniform(-1, 2, (2, 50, 3)), jnp.float32)
    together = jax.jit(jax.vmap(signed_distance))(grids, points)
    np.testing.assert_allclose(together[0], look_up(random_grid, points[0]), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(together[1], look_up(other, points[1]), rtol=1e-6, atol=1e-6)


def test_a_point_that_is_not_finite_stays_alone(random_grid, rng):
    points = jnp.asarray(rng.uniform(-1, 2, (50, 3)), jnp.float32)
    broken = points.at[7].set(jnp.nan).at[9, 1].set(-jnp.inf)
    values, gradients = look_up(random_grid, broken), gradient_of(broken, random_grid)
    others = np.delete(np.arange(50), [7, 9])
    assert np.isnan(values[7]) and np.isinf(values[9])
    np.testing.assert_array_equal(values[others], look_up(random_grid, points)[others])
    np.testing.assert_array_equal(gradients[others], gradient_of(points, random_grid)[others])


def sphere(points):
    return np.linalg.norm(points, axis=1) - 0.05


SIDES = np.array([0.12, 0.08, 0.04])


def box(points):
    beyond = np.abs(points) - SIDES / 2
    return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)


def capsule(points):
    on_axis = np.zeros_like(points)
    on_axis[:, 2] = np.clip(points[:, 2], -0.06, 0.06)
    return np.linalg.norm(points - on_axis, axis=1) - 0.02


TURN = trimesh.transformations.rotation_matrix(1, [1, 2, 3])


def plate(points):
    """A turned one, thinner than a voxel."""
    beyond = np.abs(points @ TURN[:3, :3]) - np.array([0.06, 0.04, 0.001])
    return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)


SHAPES = {
    "sphere": (sphere, trimesh.creation.icosphere(subdivisions=4, radius=0.05), 1e-4),
    "box": (box, trimesh.creation.box(SIDES), 1e-9),
    "capsule": (capsule, trimesh.creation.capsule(height=0.12, radius=0.02, count=[48, 48]), 1e-4),
    "plate": (plate, trimesh.creation.box((0.12, 0.08, 0.002)).apply_transform(TURN), 1e-9),
}


def errors_of(grid, exact, rng, count):
    """Points, exact distances and errors: anywhere in the box, in the middles of cells, densely where it is worst."""
    last, voxel, origin = np.asarray(grid.counts) - 1, float(grid.voxel), np.asarray(grid.origin, float)
    # Without a ridge in a cell its corners reach half a voxel above and below their mean.
    values, (a, b, c) = grid.box().astype(float) / voxel, last
    corners = np.stack([values[i : a + i, j : b + j, k : c + k] for i, j, k in np.ndindex(2, 2, 2)], axis=3)
    mean = corners.mean(axis=3)
    ridges = np.argwhere(np.minimum(corners.max(axis=3) - mean, mean - corners.min(axis=3)) < 0.6)
    points = origin + voxel * np.concatenate([rng.random((count, 3)) * last, rng.permutation(ridges)[:count] + 0.5])
    distance, error = np.zeros(0), np.zeros(0)
    for _ in range(3):
        new = points[len(error) :]
        distance = np.append(distance, exact(new))
        error = np.append(error, np.asarray(look_up(grid, jnp.asarray(new, jnp.float32))) - distance[len(error) :])
        worst = np.unique(np.floor((points[np.argsort(-np.abs(error))[:100]] - origin) / voxel), axis=0).repeat(20, 0)
        points = np.concatenate([points, origin + voxel * (worst + rng.random(worst.shape))])
    return points[: len(error)], distance, error


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("resolution", [24, 49])
def test_the_grid_is_the_formula_to_half_a_voxel(rng, name, resolution):
    formula, shape, facets = SHAPES[name]
    grid = distance_grid(load_object(shape), resolution)
    voxel, origin = float(grid.voxel), np.asarray(grid.origin, float)
    assert grid.values.shape == (resolution**3,) and grid.values.dtype == jnp.float32
    places = np.indices(grid.box().shape).reshape(3, -1).T * voxel + origin
    nodes = formula(places)
    moved = np.abs(grid.box().astype(float).ravel() - nodes) - facets - 1e-7 * np.abs(nodes)
    assert moved.max() < voxel / 2 and np.mean(moved > 0) < 0.05
    if name != "plate":  # it has a ridge within a voxel of its surface
        near = np.abs(nodes) < voxel
        assert moved[near].max() < voxel / 10
        if name == "box":  # its ridges end in its edges
            near &= np.sort(np.abs(places) - SIDES / 2, axis=1)[:, 1] < -1.5 * voxel
        assert near.sum() > 500 and moved[near].max() <= 0

    _, distance, error = errors_of(grid, formula, rng, 40_000)
    assert np.abs(error).max() < voxel / 2 + facets
    near = np.abs(distance[:40_000]) < voxel
    assert np.abs(error[:40_000][near]).mean() < voxel / (8 if name == "plate" else 20) + facets


@pytest.mark.parametrize("name", SHAPES)
def test_outside_the_box_it_is_the_way_through_the_box(rng, name):
    formula, shape, facets = SHAPES[name]
    grid = distance_grid(load_object(shape), 32)
    low, side = np.asarray(grid.origin, float), (np.asarray(grid.counts) - 1) * float(grid.voxel)
    points = low + side * rng.uniform(-1, 2, (4000, 3))
    on_box = np.clip(points, low, low + side)
    away = np.linalg.norm(points - on_box, axis=1)
    points, on_box, away = points[away > 0], on_box[away > 0], away[away > 0]
    found = np.asarray(look_up(grid, jnp.asarray(points, jnp.float32)))
    tolerance = float(grid.voxel) / 10 + facets
    np.testing.assert_allclose(found, formula(on_box) + away, atol=tolerance)
    assert (found > formula(points) - tolerance).all()
    gradient = np.asarray(gradient_of(jnp.asarray(points, jnp.float32), grid))
    assert np.linalg.norm(gradient, axis=1).max() < 1.5
    # It leads away from the box.
    assert ((gradient * (points - on_box)).sum(axis=1) > 0.99 * away).all()


@needs_data
@pytest.mark.parametrize("name", OBJECTS)
def test_the_grid_of_a_real_mesh_is_its_distance_to_half_a_voxel(rng, name):
    mesh = load_object(SHARED / "objects" / f"{name}.ply")
    grid = distance_grid(mesh, 36)
    voxel, origin = float(grid.voxel), np.asarray(grid.origin, float)
    surface = np.asarray(sample_points(mesh, 200, jax.random.key(0)), float)
    about = np.clip(
        surface.repeat(10, axis=0) + rng.normal(size=(2000, 3)) * voxel,
        origin,
        origin + voxel * (np.asarray(grid.counts) - 1),
    )
    exact = exact_signed_distance(mesh, about)
    errors = np.asarray(look_up(grid, jnp.asarray(about, jnp.float32))) - exact
    _, *hard = errors_of(grid, partial(exact_signed_distance, mesh), rng, 2000)
    exact, errors = np.append(exact, hard[0]) / voxel, np.append(errors, hard[1]) / voxel
    assert np.abs(errors).max() < 0.5
    clear = np.abs(exact) > 1
    np.testing.assert_array_equal(np.sign(errors + exact)[clear], np.sign(exact)[clear])
    assert np.abs(errors[:4000]).mean() < 0.08  # half of them about the surface, half anywhere


def half_ball():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    return ball.vertices, ball.faces[ball.triangles_center[:, 2] > 0]


def leaf():
    """One sheet of faces, bent along and across."""
    u, v = np.meshgrid(*2 * [np.linspace(-1, 1, 25)], indexing="ij")
    vertices = np.stack([0.06 * u, 0.03 * v * (1 - 0.8 * u**2), 0.01 * u**2 + 0.006 * np.sin(4 * v)], axis=-1)
    corner = np.arange(625).reshape(25, 25)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    return vertices.reshape(-1, 3), np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("shape", [half_ball, leaf])
def test_an_open_mesh_is_off_by_more_only_where_its_distance_jumps(rng, shape):
    # Beside a rim the inside ends away from all faces.
    mesh = load_object(shape(), surface="solid")
    grid = distance_grid(mesh, 36)
    voxel, origin = float(grid.voxel), np.asarray(grid.origin, float)
    points, _, error = errors_of(grid, partial(exact_signed_distance, mesh), rng, 5000)
    off = np.abs(error) > voxel / 2
    assert 0 < np.mean(off[:5000]) < 0.03
    cells = np.unique(np.floor((points[off] - origin) / voxel), axis=0)
    lattice = np.indices((5, 5, 5)).reshape(3, -1).T / 4
    way = np.linalg.norm(lattice[:, None] - lattice, axis=2) * voxel
    for cell in cells:
        distance = exact_signed_distance(mesh, (cell + lattice) * voxel + origin)
        assert (np.abs(distance[:, None] - distance) > 1.001 * way + 1e-9).any()
