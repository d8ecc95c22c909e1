"""Signed distances of all kinds of objects: against formulas, a slow twin, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trimesh
from jax.test_util import check_grads
from numpy.testing import assert_allclose, assert_array_equal

from examples import own_object
from fgs_jax.errors import ArgumentError, MeshError
from fgs_jax.objects.distance import signed_distance
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.solid import hull_planes
from fgs_jax.objects.surfaces import SignedDistance, surface_samples
from tests.lowered import lowered, sizes

KEY = jax.random.key(0)
SIZE = np.array([0.03, 0.02, 0.05])
"""Half the sides of the box, metres."""


def to_sphere(points):
    return np.linalg.norm(points, axis=-1) - 0.04


def to_box(points, half=SIZE):
    beside = np.abs(points) - half
    return np.linalg.norm(np.maximum(beside, 0), axis=-1) + np.minimum(beside.max(axis=-1), 0)


def to_capsule(points):
    ends = np.clip(points[..., 2], -0.05, 0.05)
    return np.linalg.norm(points - ends[..., None] * np.array([0, 0, 1]), axis=-1) - 0.03


def ball_cloud(count=2000, radius=0.04):
    """Points on a spiral from pole to pole, evenly spread, with their normals."""
    z = 1 - (2 * np.arange(count) + 1) / count
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    normals = np.stack([np.cos(turn) * np.sqrt(1 - z**2), np.sin(turn) * np.sqrt(1 - z**2), z], axis=1)
    return SignedDistance.from_cloud(radius * normals, normals)


def box_cloud():
    points = np.asarray(sample_points(load_object(trimesh.creation.box(2 * SIZE)), 2000, KEY), float)
    axis = (np.abs(points) - SIZE).argmax(axis=1)
    normals = np.zeros_like(points)
    normals[np.arange(2000), axis] = np.sign(points[np.arange(2000), axis])
    return SignedDistance.from_cloud(points, normals)


def sphere(points):
    return optax.safe_norm(points, 1e-9, axis=1) - 0.04


def box_parts(*boxes):
    """Convex parts of (half sides, centre)."""
    corners = np.stack(np.meshgrid(*3 * [[-1.0, 1.0]]), axis=-1).reshape(-1, 3)
    return [hull_planes(corners * half + centre) for half, centre in boxes]


CROSS = ((SIZE, (0, 0, 0)), ((0.07, 0.01, 0.015), (0, 0, 0.02)))
"""Two boxes that pass through each other."""
KINDS = {
    "grid": lambda: SignedDistance.from_grid(distance_grid(load_object(trimesh.creation.box(2 * SIZE)), 32)),
    "formula": lambda: SignedDistance.from_function(sphere),
    "network": lambda: SignedDistance.from_network(own_object.distance, own_object.NETWORK.init(KEY, jnp.ones((1, 3)))),
    "cloud": ball_cloud,
    "parts": lambda: SignedDistance.from_convex_parts(box_parts(*CROSS)),
}
ask = jax.jit(lambda surface, points: surface.distance(points))
gradient_of = jax.jit(jax.grad(lambda points, surface: surface.distance(points).sum()))


@pytest.fixture
def points(rng):
    return rng.normal(size=(4000, 3)).astype(np.float32) * np.float32(0.04)


# --- what all kinds have in common


@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_and_a_batch_are_the_same_and_gradients_are_finite_everywhere(kind, points):
    surface = KINDS[kind]()
    flat = points[:60]
    flat[:4] = [[0, 0, 0], [0.04, 0, 0], [0.03, 0.02, 0.05], [50, -50, 50]]  # the middle, contact, a corner, far away
    alone = ask(surface, jnp.asarray(flat))
    assert alone.shape == (60,) and np.isfinite(alone).all()
    assert_array_equal(jax.jit(lambda s, x: s.distance_at(x))(surface, jnp.asarray(flat.T)), alone)
    together = jax.jit(jax.vmap(ask, in_axes=(None, 0)))(surface, jnp.asarray(flat.reshape(3, 20, 3)))
    assert_allclose(together.reshape(-1), alone, rtol=1e-5, atol=1e-7)
    slope = np.asarray(gradient_of(jnp.asarray(flat), surface))
    assert np.isfinite(slope).all()
    if kind in ("formula", "cloud", "parts"):
        assert_allclose(np.linalg.norm(slope[1:], axis=1), 1, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_is_compiled_once_for_a_kind(kind):
    traced = []

    @jax.jit
    def counted(surface, points):
        traced.append(kind)
        return surface.distance(points)

    for scale in (1.0, 1.5):
        other = jax.tree.map(lambda x: scale * x if jnp.issubdtype(x.dtype, jnp.floating) else x, KINDS[kind]())  # noqa: B023
        found = counted(other, jnp.full((2, 3), 0.1))
        assert found.shape == (2,)
    assert traced == [kind]


def test_a_kind_of_one_s_own_is_data_and_a_function():
    surface = SignedDistance({"radius": jnp.array(0.02)}, of_radius)
    assert_allclose(surface.distance(jnp.array([[0.05, 0, 0], [0, 0, 0.01]])), [0.03, -0.01], atol=1e-7)
    slope = jax.grad(lambda s: s.distance(jnp.ones((5, 3))).sum())(surface)
    assert slope.data["radius"] == -5


def of_radius(data, coordinates):
    return optax.safe_norm(coordinates, 1e-9, axis=0) - data["radius"]


def test_a_function_must_give_one_distance_for_each_point():
    surface = SignedDistance.from_function(lambda points: points)
    with pytest.raises(ArgumentError, match=r"its distances: expected floats of shape \(7,\), got float32 of shape"):
        surface.distance(jnp.ones((7, 3)))
    with pytest.raises(ArgumentError, match=r"distance: points: expected floats of shape \(p, 3\)"):
        surface.distance(jnp.ones((3, 7)))
    nothing = SignedDistance((), lambda data, coordinates: None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match=r"its distances: expected floats of shape \(7,\), got None"):
        nothing.distance(jnp.ones((7, 3)))
    raising = SignedDistance.from_network(lambda params, points: points @ params["w"], {})
    with pytest.raises(
        ArgumentError, match=r"its function: .* got KeyError: 'w' in test_surfaces.py, line [0-9]+: mend"
    ):
        raising.distance(jnp.ones((7, 3)))
    column = SignedDistance.from_network(lambda offset, points: points[:, :1] - offset, jnp.ones((1, 1)))
    assert_array_equal(column.distance(jnp.array([[3.0, 0, 0], [1, 1, 1]])), [2, 0])


@pytest.mark.parametrize("kind", ["formula", "cloud", "parts"])
def test_forward_reverse_and_numerical_derivatives_agree(kind, x64):
    surface = KINDS[kind]()
    points = jnp.asarray(np.random.default_rng(3).normal(size=(6, 3)) * 0.04)
    check_grads(surface.distance, (points,), order=1, modes=["fwd", "rev"], eps=1e-7, atol=1e-5, rtol=1e-5)


# --- each kind against the truth


def test_a_grid_is_looked_up_as_ever(points):
    grid = distance_grid(load_object(trimesh.creation.box(2 * SIZE)), 32)
    surface = SignedDistance.from_grid(grid)
    assert_array_equal(ask(surface, points), jax.jit(signed_distance)(grid, points))
    expected = jax.jit(jax.grad(lambda points, grid: signed_distance(grid, points).sum()))(points, grid)
    assert_array_equal(gradient_of(points, surface), expected)


def test_a_formula_is_what_it_says(points):
    assert_allclose(ask(SignedDistance.from_function(sphere), points), to_sphere(points), atol=1e-7)
    surface = SignedDistance.from_function(own_object.bottle)
    assert_allclose(ask(surface, points), to_capsule(points), atol=1e-7)


def test_a_cloud_of_a_ball_is_a_ball(points):
    surface = ball_cloud()
    # Even points of this density are 1.04 spacings / sqrt(6 / pi) apart: a plane is off by half a spacing squared / r.
    assert 0.002 < float(surface.data.spacing) < 0.005
    assert_allclose(ask(surface, points), to_sphere(points), atol=0.00025)
    slope = np.asarray(gradient_of(points, surface))
    away = np.linalg.norm(points, axis=1) > 0.01  # towards the middle any direction may be the nearest
    radial = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert ((slope * radial).sum(axis=1)[away] > 0.99).all()
    on_it = np.asarray(surface.data.points)
    assert_allclose(ask(surface, on_it), 0, atol=1e-8)
    assert_allclose(gradient_of(on_it, surface), on_it / 0.04, atol=1e-5)


def test_a_cloud_with_edges_is_off_by_its_spacing_at_most_and_far_away_too(rng):
    surface = box_cloud()
    spacing = float(surface.data.spacing)
    far = rng.uniform(-0.15, 0.15, (20000, 3)).astype(np.float32)
    near = (far / 0.15 * (SIZE + 0.01)).astype(np.float32)
    for asked in (far, near):
        found, truth = np.asarray(ask(surface, asked)), to_box(asked)
        assert np.abs(found - truth).max() < 1.5 * spacing
        clear = np.abs(truth) > 1.5 * spacing
        assert_array_equal(np.sign(found[clear]), np.sign(truth[clear]))
    middle = np.zeros((100, 3), np.float32)
    middle[:, 2] = np.linspace(0.046, 0.1, 100)  # above the middle of a face
    assert_allclose(ask(surface, middle), to_box(middle), atol=1e-6)


def test_an_open_cloud_ends_at_its_border():
    """Half a plane: beside it the distance is that to its border, less a spacing."""
    x, y = np.meshgrid(np.linspace(-0.05, 0.0, 51), np.linspace(-0.05, 0.05, 101))
    flat = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    surface = SignedDistance.from_cloud(flat, np.tile([0, 0, 2.0], (len(flat), 1)))
    spacing = float(surface.data.spacing)
    assert spacing == pytest.approx(0.001 * np.sqrt(2), rel=1e-3)
    assert_allclose(surface.data.normals, np.tile([0, 0, 1], (len(flat), 1)))
    asked = jnp.array([[-0.02, 0.0, 0.004], [-0.02, 0.0, -0.004], [0.03, 0.0, 0.04], [0.03, 0.0, -0.04]])
    beyond = np.hypot(0.04, 0.03 - spacing)
    assert_allclose(surface.distance(asked), [0.004, -0.004, beyond, -beyond], atol=1e-6)


def test_a_cloud_makes_no_array_of_all_pairs():
    surface = ball_cloud(300)
    program = lowered(jax.grad(lambda points, s: s.distance(points).sum()), jnp.ones((70, 3)), surface, platform="cpu")
    assert max(sizes(program)) == 300 * 3


def test_the_union_of_two_boxes_has_the_right_sign_and_is_never_more_than_the_distance(points):
    surface = SignedDistance.from_convex_parts(box_parts(*CROSS))
    each = [to_box(points - np.array(centre), np.array(half)) for half, centre in CROSS]
    found, outside = np.asarray(ask(surface, points)), np.minimum(*each)  # the union's distance where it is outside
    assert_array_equal(found < 0, outside < 0)
    assert (found <= outside + 1e-7)[outside > 0].all()
    planes = box_parts(*CROSS)
    twin = np.min([(points @ normals.T - offsets).max(axis=1) for normals, offsets in planes], axis=0)
    assert_allclose(found, twin, atol=1e-7)
    one = SignedDistance.from_convex_parts(box_parts(CROSS[0]))
    inside_or_above = (np.abs(points) > SIZE).sum(axis=1) <= 1
    assert_allclose(ask(one, points)[inside_or_above], to_box(points)[inside_or_above], atol=1e-7)
    assert (np.asarray(ask(one, points)) <= to_box(points) + 1e-7).all()


def test_parts_of_different_numbers_of_planes_go_together(points):
    half_space = (np.array([[0, 0, 2.0]]), np.array([-0.1]))  # below z = -0.05; its normal is made one long
    surface = SignedDistance.from_convex_parts([half_space, *box_parts(CROSS[1])])
    assert surface.data.offsets.shape == (2, 6)
    box = np.abs(points - np.array(CROSS[1][1])) - np.array(CROSS[1][0])
    assert_allclose(ask(surface, points), np.minimum(points[:, 2] + 0.05, box.max(axis=1)), atol=1e-7)


def test_the_planes_of_a_hull_are_its_sides():
    normals, offsets = box_parts(((1.0, 2.0, 3.0), (0, 0, 1)))[0]
    order = np.lexsort(normals.T)
    assert_allclose(normals[order], [[0, 0, -1], [0, -1, 0], [-1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-12)
    assert_allclose(offsets[order], [2, 2, 1, 1, 2, 4], atol=1e-12)
    ball = trimesh.creation.icosphere(2)
    normals, offsets = hull_planes(ball.vertices)
    assert len(offsets) == len(ball.faces) and (ball.vertices @ normals.T <= offsets + 1e-9).all()
    with pytest.raises(MeshError, match="expected vertices that span a volume, came 4 without one"):
        hull_planes(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]]))


def test_a_network_and_its_cloud_close_fingertips_on_the_bottle_that_it_was_fitted_to():
    found = own_object.main()
    assert set(found) == {"network", "cloud"}
    for gaps in found.values():
        assert np.abs(gaps).max() < 0.002


# --- samples


def test_samples_are_on_the_surface_far_from_each_other_and_the_same_for_the_same_key():
    surface = SignedDistance.from_convex_parts(box_parts((SIZE, (0, 0, 0))))
    low, high = jnp.array([-0.04, -0.03, -0.06]), jnp.array([0.04, 0.03, 0.06])
    points = np.asarray(surface_samples(surface, 300, low, high, KEY), float)
    assert_allclose(to_box(points), 0, atol=1e-5)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(300)
    side = np.sqrt(8 * (SIZE[0] * SIZE[1] + SIZE[1] * SIZE[2] + SIZE[2] * SIZE[0]) / 300)
    assert apart.min() > 0.5 * side and apart.min(axis=1).max() < 1.5 * side
    assert_array_equal(surface_samples(surface, 300, low, high, jax.random.key(0)), points.astype(np.float32))
    assert (np.asarray(surface_samples(surface, 300, low, high, jax.random.key(1))) != points).any()


def test_samples_stay_within_the_box():
    low, high = jnp.array([-0.05, -0.05, 0.01]), jnp.full(3, 0.05)
    upper = surface_samples(SignedDistance.from_function(sphere), 100, low, high, KEY)
    assert (upper[:, 2] > 0.00999).all()
    assert_allclose(to_sphere(np.asarray(upper, float)), 0, atol=1e-6)


def test_a_box_without_a_surface_is_refused():
    with pytest.raises(ArgumentError, match=r"expected a surface in the box from .* got 0 points on it of 10: check"):
        surface_samples(SignedDistance.from_function(sphere), 10, jnp.full(3, 0.1), jnp.full(3, 0.2), KEY)
    with pytest.raises(ArgumentError, match="surface_samples: count: expected a whole number from 1 to 100000, got 0"):
        surface_samples(SignedDistance.from_function(sphere), 0, jnp.full(3, -0.1), jnp.full(3, 0.1), KEY)


# --- what is refused


@pytest.mark.parametrize(
    ("points", "normals", "match"),
    [
        (np.ones((9, 3)), np.ones((8, 3)), r"7 or more, got \(9, 3\) and \(8, 3\): give one normal"),
        (np.ones((6, 3)), np.ones((6, 3)), r"expected points and normals of shape \(n, 3\), 7 or more, got"),
        (np.full((9, 3), np.nan), np.ones((9, 3)), "cloud: expected finite points, got nan or infinity"),
        (np.ones((9, 3)), np.zeros((9, 3)), "normals: expected directions, got one of length zero"),
    ],
)
def test_a_bad_cloud_is_refused_in_a_line(points, normals, match):
    with pytest.raises(ArgumentError, match=match):
        SignedDistance.from_cloud(points, normals)


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ([], r"expected normals \(m, 3\) and offsets \(m,\) of each, got \[\]: use hull_planes"),
        ([(np.ones((4, 3)), np.ones(3))], r"got \[\(\(4, 3\), \(3,\)\)\]: use hull_planes"),
        ([(np.ones((4, 3)), np.full(4, np.inf))], "convex parts: expected finite offsets"),
        ([(np.zeros((4, 3)), np.ones(4))], "normals: expected directions, got one of length zero"),
    ],
)
def test_bad_convex_parts_are_refused_in_a_line(parts, match):
    with pytest.raises(ArgumentError, match=match):
        SignedDistance.from_convex_parts(parts)
