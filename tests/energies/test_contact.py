"""Attraction and repulsion, and which vertices are contact points: against twins and formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.energies.contact import E_dis, E_pen, distance_to, nearest_contacts, random_contacts
from tests.energies.surfaces import RADIUS, ball_grid, box, capsule, numpy_surface, sphere
from tests.reference import contact as twin

find_contacts = jax.jit(nearest_contacts, static_argnums=2)


@pytest.fixture(scope="module")
def grid():
    return ball_grid()


@pytest.mark.parametrize("kind", ["sphere", "box", "grid"])
def test_attraction_and_repulsion_equal_their_twins(kind, grid, rng):
    surface = {"sphere": sphere, "box": box, "grid": grid}[kind]
    points = (rng.normal(size=(60, 3)) * 0.04).astype(np.float32)
    weight = rng.uniform(size=60).astype(np.float32) * (rng.random(60) > 0.3)
    expected = numpy_surface(surface)
    np.testing.assert_allclose(E_dis(jnp.asarray(points), surface), twin.E_dis(points, expected), rtol=1e-4)
    weighted = E_dis(jnp.asarray(points), surface, jnp.asarray(weight))
    np.testing.assert_allclose(weighted, twin.E_dis(points, expected, weight), rtol=1e-4)
    np.testing.assert_allclose(E_pen(jnp.asarray(points), surface), twin.E_pen(points, expected), rtol=1e-4)
    assert twin.E_pen(points, expected) > 0.05


def test_sphere_box_and_capsule_by_hand():
    on_axis = jnp.array([[0.0, 0.0, 0.08], [0.03, 0.0, 0.0], [0.0, RADIUS, 0.0]])
    np.testing.assert_allclose(E_dis(on_axis, sphere), 0.03 + 0.02 + 0.0, rtol=1e-5)
    np.testing.assert_allclose(E_pen(on_axis, sphere), 0.02, rtol=1e-5)
    corners = jnp.array([[0.08, 0.07, 0.02], [0.0, 0.0, 0.015], [0.045, 0.0, 0.0]])
    np.testing.assert_allclose(E_dis(corners, box), 0.05 + 0.005 + 0.005, rtol=1e-5)
    np.testing.assert_allclose(E_pen(corners, box), 0.01, rtol=1e-5)
    beside = jnp.array([[0.025, 0.0, 0.01], [0.0, 0.0, 0.06], [0.0, 0.012, 0.03], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(E_dis(beside, capsule), 0.005 + 0.01 + 0.008 + 0.02, rtol=1e-5)
    np.testing.assert_allclose(E_pen(beside, capsule), 0.008 + 0.02, rtol=1e-5)


def test_points_on_the_surface_cost_nothing(grid):
    on_box = jnp.array([[0.05, 0.01, 0.0], [0.0, -0.03, 0.01], [0.02, 0.0, 0.02], [0.05, 0.03, 0.02]])
    assert E_dis(on_box, box) < 1e-7 and E_pen(on_box, box) < 1e-7
    assert E_dis(jnp.zeros((0, 3)), grid) == 0 and E_pen(jnp.zeros((0, 3)), grid) == 0


def test_a_point_without_weight_may_be_nan(grid):
    points, weight = jnp.array([[0.0, 0.0, 0.08], [jnp.nan, 0.0, 0.0]]), jnp.array([2.0, 0.0])
    for surface in (sphere, grid):
        value, gradient = jax.jit(jax.value_and_grad(lambda x: E_dis(x, surface, weight)))(points)  # noqa: B023
        np.testing.assert_allclose(value, 0.06, rtol=0.01)
        np.testing.assert_allclose(gradient[0], [0, 0, 2], atol=0.01)
    assert np.isnan(E_dis(points, sphere)) and np.isnan(E_dis(points, sphere, jnp.ones(2)))


def test_a_point_without_weight_moves_nothing_that_it_depends_on(grid):
    """Not the surface, and not what the points are made of."""
    points, weight = jnp.array([[0.0, 0.0, 0.08], [jnp.nan, 0.0, 0.0]]), jnp.array([2.0, 0.0])
    for surface in (sphere, lambda x: distance_to(grid, x)):
        of_surface = jax.grad(lambda t: E_dis(points, lambda x: surface(x - t[None]), weight))  # noqa: B023
        gradient = jax.jit(of_surface)(jnp.zeros(3))
        np.testing.assert_allclose(gradient, [0, 0, -2], atol=0.01)
        gradient = jax.jit(jax.grad(lambda t: E_dis(points + t[None], surface, weight)))(jnp.zeros(3))  # noqa: B023
        np.testing.assert_allclose(gradient, [0, 0, 2], atol=0.01)


def test_nearest_contacts_equal_their_twin(rng):
    regions, distance = rng.integers(-1, 6, size=200), rng.normal(size=200) * 0.03
    for per_region, reach in ((1, 0.001), (2, 0.03), (5, 0.002)):
        ours = find_contacts(jnp.asarray(distance, jnp.float32), jnp.asarray(regions), per_region, reach)
        assert ours.vertex.shape == ours.weight.shape == (6 * per_region,)
        np.testing.assert_allclose(ours.distance, np.abs(distance)[np.asarray(ours.vertex)], rtol=1e-6)
        index, weight = (np.asarray(x).reshape(6, per_region) for x in (ours.vertex, ours.weight))
        for region, expected in twin.nearest_contacts(distance, regions, per_region, reach).items():
            np.testing.assert_array_equal(index[region][weight[region] > 0], expected)
        assert set(np.unique(weight)) <= {0.0, 1.0}


def test_no_contact_is_within_reach():
    contacts = find_contacts(jnp.full(60, 0.031), jnp.arange(60) % 6, 2, 0.03)
    np.testing.assert_array_equal(contacts.weight, 0.0)
    assert find_contacts(jnp.full(60, -0.029), jnp.arange(60) % 6, 2, 0.03).weight.sum() == 12


@pytest.mark.parametrize("reach", [0.03, np.inf])
def test_a_small_region_has_no_contacts_of_others(reach):
    regions = jnp.array([0, 0, 1, -1, -1, -1, -1])  # nothing in regions 2 to 5
    contacts = find_contacts(jnp.zeros(7), regions, 2, reach)
    assert contacts.weight.sum() == 3
    np.testing.assert_array_equal(np.sort(np.asarray(contacts.vertex)[np.asarray(contacts.weight) > 0]), [0, 1, 2])


def test_random_contacts_lie_in_contact_regions(rng):
    regions, counts = jnp.asarray(np.where(rng.random(300) < 0.1, rng.integers(0, 6, 300), -1)), np.zeros(300)
    distance, draw = jnp.asarray(rng.normal(size=300), jnp.float32), jax.jit(random_contacts, static_argnames="count")
    for seed in range(200):
        contacts = draw(jax.random.key(seed), distance, regions, count=4)
        chosen = np.asarray(contacts.vertex)
        assert len(np.unique(chosen)) == 4 and (np.asarray(contacts.weight) == 1).all()
        np.testing.assert_array_equal(contacts.distance, np.abs(distance)[chosen])
        counts[chosen] += 1
    likely = np.asarray(regions) >= 0
    assert counts[~likely].sum() == 0
    assert (counts[likely] > 0).all(), "each of them is drawn"


def test_random_contacts_are_all_there_are_where_there_are_fewer():
    regions, distance = jnp.array([-1, -1, 3, -1, 0, -1]), jnp.arange(6) - 2.5
    for seed in range(20):
        contacts = random_contacts(jax.random.key(seed), distance, regions, 4)
        assert set(np.asarray(contacts.vertex).tolist()) == {2, 4}, "nor do the others stand for a vertex of no region"
        np.testing.assert_array_equal(contacts.weight, [1, 1, 0, 0])
        np.testing.assert_array_equal(contacts.distance, [*np.abs(distance)[contacts.vertex[:2]], np.inf, np.inf])
    nowhere = random_contacts(jax.random.key(0), distance, jnp.full(6, -1), 4)
    assert (nowhere.weight == 0).all() and np.isinf(nowhere.distance).all()


def test_a_vertex_that_is_lost_takes_the_place_of_no_contact():
    distance = jnp.array([jnp.nan, 0.02, 0.01, -jnp.nan, 0.01, jnp.nan])
    contacts = find_contacts(distance, jnp.array([0, 0, 0, 1, 1, 2]), 2, 0.03)
    vertex, weight, far = (np.asarray(x).reshape(6, 2) for x in contacts)
    np.testing.assert_array_equal(vertex[0], [2, 1])
    np.testing.assert_array_equal(weight, [[1, 1], [1, 0], *4 * [[0, 0]]])
    assert vertex[1, 0] == 4 and not np.isnan(far).any() and np.isinf(far[weight == 0]).all()
    # Of equal distances the first vertices are taken, either sign alike.
    same = find_contacts(jnp.array([0.01, -0.01, 0.01]), jnp.zeros(3, int), 2, 0.03)
    np.testing.assert_array_equal(same.vertex[:2], [0, 1])
