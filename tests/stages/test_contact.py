"""Contact energies and the two steps: against their twins, formulas, numerical derivatives, and made-up grasps."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import pytest
import trimesh
from jax.test_util import check_grads

from benchmarks import grasps, shapes
from examples import energies_on_your_own_hand
from fgs_jax.config import FAST_CONTACT, PAPER_CONTACT
from fgs_jax.energies.contact import (
    FARTHEST_INSIDE,
    E_dis,
    E_pen,
    Neighbours,
    distance_to,
    distance_to_neighbours,
    nearest_contacts,
    neighbours,
    random_contacts,
)
from fgs_jax.energies.image import E_keypoint, E_order, Order
from fgs_jax.energies.pose import LEAST_KEYPOINT_DISTANCE, E_h, E_prior, E_spen
from fgs_jax.energies.terms import CONTACT_TERMS, term_values, weighted_sum
from fgs_jax.errors import ConfigError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.kind import HandState, retract_params
from fgs_jax.hands.mano import hand, joint_angles, mano_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.solid import exact_signed_distance
from fgs_jax.picture.camera import project
from fgs_jax.results.metrics import (
    Surface,
    fingers_in_contact,
    fingers_of_vertices,
    maximal_penetration_depth,
    signed_distances,
)
from fgs_jax.stages.contact import ContactSettings, begin_poses
from fgs_jax.stages.contact_problem import (
    ContactProblem,
    Picture,
    SeenAs,
    context_of,
    object_distance,
    order_of,
    placed_object,
    resized,
)
from fgs_jax.stages.step_one import approach, scanned
from fgs_jax.stages.step_two import begin_grasp, best_grasp, grasp, grasp_round
from fgs_jax.types import Camera, Grasp, Hand, HandParams
from tests.reference import contact as twin
from tests.reference import distance as distance_twin

RADIUS = 0.05
FINGER = np.array([-1, *(k // 4 for k in range(20))])
posed_hand, self_penetration, find_order = jax.jit(hand), jax.jit(E_spen), jax.jit(order_of)
find_neighbours, tangent_distance = jax.jit(neighbours), jax.jit(distance_to_neighbours)
CAMERA = Camera(focal=jnp.array([400.0, 410.0]), principal=jnp.array([160.0, 120.0]))


def sphere(points):
    return jnp.linalg.norm(points, axis=1) - RADIUS


def box(points):
    """Of sides 0.1, 0.06 and 0.04."""
    beyond = jnp.abs(points) - jnp.array([[0.05, 0.03, 0.02]])
    inside = jnp.minimum(jnp.max(beyond, axis=1), 0.0)
    return inside + jnp.sqrt(jnp.sum(jax.nn.relu(beyond) ** 2, axis=1) + 1e-30)


def capsule(points):
    """Of radius 0.02 about the segment from (0, 0, -0.03) to (0, 0, 0.03)."""
    axis = jnp.clip(points[:, 2:], -0.03, 0.03) * jnp.array([[0.0, 0.0, 1.0]])
    return jnp.sqrt(jnp.sum((points - axis) ** 2, axis=1) + 1e-30) - 0.02


def ball_mesh(radius=0.035, name="ball"):
    return load_object(trimesh.creation.icosphere(3, radius), name=name)


@pytest.fixture(scope="module")
def grid():
    return distance_grid(ball_mesh(RADIUS), 32)


def numpy_surface(surface):
    """A surface of either kind as the twins take it."""
    if callable(surface):
        return lambda points: np.asarray(surface(jnp.asarray(points)), float)
    arrays = (np.asarray(x, float) for x in (surface.values, surface.origin, surface.voxel))
    return partial(
        lambda values, origin, voxel, points: distance_twin.signed_distance(values, origin, voxel, points)[0], *arrays
    )


# --- the energies alone


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
        gradient = jax.grad(lambda t: E_dis(points, lambda x: surface(x - t[None]), weight))(jnp.zeros(3))  # noqa: B023
        np.testing.assert_allclose(gradient, [0, 0, -2], atol=0.01)
        gradient = jax.grad(lambda t: E_dis(points + t[None], surface, weight))(jnp.zeros(3))  # noqa: B023
        np.testing.assert_allclose(gradient, [0, 0, 2], atol=0.01)


def test_the_prior_equals_its_twin(rng):
    angles, mean, std = rng.normal(size=(15, 3)), rng.normal(size=(15, 3)), rng.uniform(0.1, 1, size=(15, 3))
    limited, limits = rng.normal(size=(5, 2)), np.stack([np.full((5, 2), -0.5), np.full((5, 2), 0.7)], axis=-1)
    ours = [jnp.asarray(x, jnp.float32) for x in (angles, mean, std, limited, limits)]
    np.testing.assert_allclose(E_prior(*ours), twin.E_prior(angles, mean, std, limited, limits), rtol=1e-5)
    np.testing.assert_allclose(E_prior(*ours[:3]), twin.E_prior(angles, mean, std), rtol=1e-5)
    assert twin.E_prior(angles, mean, std, limited, limits) > twin.E_prior(angles, mean, std) + 1


def test_the_prior_is_zero_at_the_mean_and_within_the_limits():
    mean, std = jnp.array([0.1, -0.2]), jnp.array([0.5, 0.1])
    limits = jnp.array([[-1.0, 1.0], [-0.2, 0.0]])  # the second lies exactly on its limit
    value, gradient = jax.value_and_grad(lambda x: E_prior(x, mean, std, x, limits))(mean)
    np.testing.assert_allclose(value, 0.0, atol=2e-6)
    np.testing.assert_array_equal(gradient, 0.0)
    np.testing.assert_allclose(E_prior(mean + std * jnp.array([3.0, 4.0]), mean, std), 5.0, rtol=1e-5)
    beyond = E_prior(mean, mean, std, jnp.array([1.5, -0.5]), limits)
    np.testing.assert_allclose(beyond, 0.5 + 0.3, rtol=1e-5)
    for one in ({"limited": mean}, {"limits": limits}):
        with pytest.raises(ValueError, match="expected limited and limits, or neither, got one of them"):
            E_prior(mean, mean, std, **one)


def test_self_penetration_equals_its_twin(rng):
    keypoints = (rng.normal(size=(21, 3)) * 0.012).astype(np.float32)
    keypoints[7], keypoints[12] = keypoints[20], keypoints[3]  # of other fingers
    for finger in (FINGER, np.zeros(21, int), np.arange(21) - 3):
        expected = twin.E_spen(keypoints, finger)
        np.testing.assert_allclose(
            self_penetration(jnp.asarray(keypoints), jnp.asarray(finger)), expected, rtol=1e-3, atol=1e-7
        )
    assert twin.E_spen(keypoints, FINGER) > 0.1 and twin.E_spen(keypoints, np.zeros(21, int)) == 0
    assert self_penetration(jnp.zeros((1, 3)), jnp.zeros(1, int)) == 0


def test_self_penetration_is_lowest_where_fingers_are_apart():
    finger = jnp.array([0, 0, 1, 1])

    def of_distance(d):
        return self_penetration(
            jnp.array([[0.0, 0, 0], [0.03, 0, 0], [0.0, 1, 0], [0.03, 1, 0]]) * jnp.stack([1, d, 1])[None], finger
        )

    energies = np.array([of_distance(jnp.asarray(d)) for d in (0.0, 0.005, 0.01, 0.015, 0.018, 0.02, 0.05)])
    np.testing.assert_allclose(
        energies, 2 * np.maximum(0.018 - np.array([0, 5, 10, 15, 18, 20, 50]) / 1e3, 0), atol=1e-5
    )
    assert (np.diff(energies[:5]) < 0).all() and (energies[4:] < 1e-8).all()
    assert jax.grad(of_distance)(jnp.asarray(0.01)) < 0, "the way down is apart"


def test_self_penetration_of_a_similar_hand_is_as_much_larger(rng):
    keypoints = jnp.asarray(rng.normal(size=(21, 3)) * 0.012, jnp.float32)
    whole = self_penetration(keypoints, jnp.asarray(FINGER), LEAST_KEYPOINT_DISTANCE)
    for k in (0.4, 1.7):
        similar = self_penetration(k * keypoints, jnp.asarray(FINGER), k * LEAST_KEYPOINT_DISTANCE)
        np.testing.assert_allclose(similar, k * whole, rtol=1e-4)
        assert abs(self_penetration(k * keypoints, jnp.asarray(FINGER)) - k * whole) > 0.1 * whole


def test_self_penetration_is_symmetric(rng):
    keypoints, order = rng.normal(size=(21, 3)).astype(np.float32) * 0.01, rng.permutation(21)
    expected = self_penetration(jnp.asarray(keypoints), jnp.asarray(FINGER))
    shuffled = self_penetration(jnp.asarray(keypoints[order]), jnp.asarray(FINGER[order]))
    np.testing.assert_allclose(shuffled, expected, rtol=1e-5)
    mirrored = self_penetration(jnp.asarray(keypoints * [-1, 1, 1], jnp.float32), jnp.asarray(FINGER))
    np.testing.assert_allclose(mirrored, expected, rtol=1e-5)
    gradient = jax.grad(E_spen)(jnp.asarray(keypoints), jnp.asarray(FINGER))
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-4)


def test_the_hand_stays_as_it_was_seen(rng):
    pose, given, t, t_given = (rng.normal(size=shape).astype(np.float32) for shape in ((16, 3), (16, 3), 3, 3))
    ours = E_h(*(jnp.asarray(x) for x in (pose, given, t, t_given)))
    np.testing.assert_allclose(ours, twin.E_h(pose, given, t, t_given), rtol=1e-5)
    assert E_h(*(jnp.asarray(x) for x in (pose, pose, t, t))) == (0.0, 0.0)


def test_the_keypoint_term_equals_its_twin(rng):
    seen = rng.uniform(0, 300, size=(21, 2)).astype(np.float32)
    pixels = (seen + rng.normal(size=(21, 2)) * 5).astype(np.float32)
    all_seen, some = np.ones(21), np.where(np.arange(21) % 3, rng.uniform(0.2, 1, 21), 0)
    one, none = np.eye(21)[4], np.zeros(21)
    for confidence in (all_seen, some, one, none):
        ours = E_keypoint(jnp.asarray(pixels), jnp.asarray(seen), jnp.asarray(confidence, jnp.float32))
        np.testing.assert_allclose(ours, twin.E_keypoint(pixels, seen, confidence), rtol=1e-4)
    np.testing.assert_allclose(
        E_keypoint(jnp.asarray(pixels), jnp.asarray(seen)), twin.E_keypoint(pixels, seen, all_seen), rtol=1e-4
    )
    # A box of less than a pixel counts as one, one of a pixel and a half as it is.
    for shrink in (0.005, 0.001):
        small, small_seen = ((shrink * array).astype(np.float32) for array in (pixels, seen))
        ours = E_keypoint(jnp.asarray(small), jnp.asarray(small_seen))
        np.testing.assert_allclose(ours, twin.E_keypoint(small, small_seen, all_seen), rtol=1e-4)
    # A keypoint that was not seen may be anywhere, and is not in the box.
    unseen = seen.copy()
    unseen[some == 0] = np.nan
    unseen[0] = 1e6
    value, gradient = jax.value_and_grad(E_keypoint)(
        jnp.asarray(pixels), jnp.asarray(unseen), jnp.asarray(some, jnp.float32)
    )
    np.testing.assert_allclose(value, twin.E_keypoint(pixels, seen, some), rtol=1e-4)
    assert np.isfinite(gradient).all() and (np.asarray(gradient)[some == 0] == 0).all()


def test_the_keypoint_term_does_not_depend_on_the_picture_s_size(rng):
    seen, pixels = rng.uniform(50, 300, size=(21, 2)), rng.uniform(50, 300, size=(21, 2))
    small, large = (
        E_keypoint(jnp.asarray(k * pixels, jnp.float32), jnp.asarray(k * seen, jnp.float32)) for k in (1, 8)
    )
    np.testing.assert_allclose(small, large, rtol=1e-5)


def test_the_order_equals_its_twin(rng):
    depth = rng.uniform(0.4, 0.6, size=50).astype(np.float32)
    front, back = (np.where(rng.random(50) < 0.5, rng.uniform(0.4, 0.6, 50), 0).astype(np.float32) for _ in range(2))
    ours = E_order(jnp.asarray(depth), Order(jnp.asarray(front), jnp.asarray(back)))
    np.testing.assert_allclose(ours, twin.E_order(depth, front, back), rtol=1e-5)
    # Before the front, and behind the back, nothing is wrong; nor where the picture says nothing.
    right = Order(jnp.array([0.5, 0.0, 0.0]), jnp.array([0.0, 0.5, 0.0]))
    assert E_order(jnp.array([0.4, 0.6, 9.0]), right) == 0
    np.testing.assert_allclose(E_order(jnp.array([0.53, 0.45, 9.0]), right), 0.08, rtol=1e-5)


def test_the_energy_is_the_weighted_sum():
    terms = {"dis": jnp.asarray(2.0), "pen": jnp.asarray(3.0), "prior": jnp.asarray(5.0)}
    assert weighted_sum(terms, {"dis": 10.0, "pen": jnp.asarray(100.0), "prior": 1}) == 325.0
    assert weighted_sum(terms, {"dis": 10.0, "pen": 100.0, "prior": 0.0}) == 320.0
    assert weighted_sum({}, {}) == 0.0
    assert jax.grad(lambda w: weighted_sum(terms, {"dis": 1.0, "pen": w, "prior": 0.0}))(jnp.asarray(1.0)) == 3.0


def test_an_unknown_weight_is_an_error_that_names_both():
    terms = {"pen": jnp.zeros(()), "dis": jnp.zeros(())}
    for weights, message in (
        (
            {"penn": 1.0, "dis": 1.0, "size": 2.0},
            "got dis, penn, size: rename or remove penn, size; add pen, 0 to leave",
        ),
        ({"pen": 1.0, "dis": 1.0, "size": 2.0}, "got dis, pen, size: rename or remove size$"),
        ({"pen": 1.0}, "got pen: add dis, 0 to leave a term out$"),
        ({}, "got none: add dis, pen, 0 to leave a term out$"),
    ):
        with pytest.raises(
            ConfigError, match=f"weights: expected names among dis, pen, and all of them, {message}"
        ) as error:
            weighted_sum(terms, weights)
        assert "\n" not in str(error.value)


def test_gradients_are_finite_anywhere(grid):
    """At contact, at zero, and far away; all points in one place, and nothing between what is and what shall be."""
    places = [[RADIUS, 0.0, 0.0], [0.0, 0.0, 0.0], [3e3, -4e3, 1e4]]
    held, same = held_at(jnp.zeros((6, 3)), jnp.zeros((6, 3)), jnp.zeros(6, int)), jnp.ones(18)
    energies = {
        "E_dis": lambda x, y: E_dis(x, grid),
        "E_pen": lambda x, y: E_pen(x, grid),
        "E_prior": lambda x, y: E_prior(x.ravel(), y.ravel(), same, x.ravel(), jnp.stack([y.ravel()] * 2, axis=1)),
        "E_spen": lambda x, y: E_spen(x, jnp.arange(6)),
        "E_h": lambda x, y: sum(E_h(x, y, x[0], y[0])),
        "E_keypoint": lambda x, y: E_keypoint(x[:, :2], y[:, :2]),
        "E_order": lambda x, y: E_order(x[:, 2], Order(jnp.abs(y[:, 2]), jnp.abs(y[:, 2]))),
        "neighbours": lambda x, y: E_pen(y, lambda p: tangent_distance(p, x, held)),
    }
    for name, energy in energies.items():

        @jax.jit
        def derivatives(points, energy=energy):
            value, gradient = jax.value_and_grad(energy)(points, points)
            return value, gradient, jax.jvp(lambda x: energy(x, points), (points,), (jnp.ones_like(points),))[1]

        for place in places:
            value, gradient, forward = derivatives(jnp.tile(jnp.array([place]), (6, 1)))
            assert np.isfinite(value) and np.isfinite(gradient).all(), (name, place)
            np.testing.assert_allclose(forward, gradient.sum(), rtol=1e-4, atol=3e-5, err_msg=name)


# --- the hand as a surface


def finger_mesh():
    """A capsule of radius 1 cm about the z axis, 4 cm long between its ends, wound outward."""
    mesh = trimesh.creation.capsule(height=0.04, radius=0.01, count=(16, 12))
    return np.asarray(mesh.vertices, float), np.asarray(mesh.faces)


def held_at(vertices, normals, vertex):
    """Neighbours that were found on these vertices."""
    return Neighbours(vertex, vertices[vertex], normals[vertex], vertices.T, normals.T)


def test_neighbours_are_the_nearest_vertices_with_their_normals(rng):
    vertices, faces = finger_mesh()
    points = np.concatenate([vertices[::7], vertices[rng.choice(len(vertices), 40)] + rng.normal(size=(40, 3)) * 0.004])
    held = find_neighbours(jnp.asarray(points, jnp.float32), jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
    index, normals = twin.neighbours(points, vertices, faces)
    squared = ((points[:, None] - vertices[None]) ** 2).sum(axis=-1)
    chosen, least = squared[np.arange(len(points)), held.vertex], squared.min(axis=1)
    assert (chosen <= least * (1 + 1e-3) + 1e-12).all()
    same = np.asarray(held.vertex) == index
    assert same.mean() > 0.9
    np.testing.assert_allclose(np.asarray(held.normal)[same], normals[same], atol=1e-4)
    ours = tangent_distance(jnp.asarray(points, jnp.float32), jnp.asarray(vertices, jnp.float32), held)
    expected = twin.distance_to_neighbours(points, vertices, np.asarray(held.vertex), np.asarray(held.normal))
    np.testing.assert_allclose(ours, expected, atol=1e-7)
    # Until they are found again, the planes go where their vertices go, and what was near is near.
    moved, aside = vertices + rng.normal(size=vertices.shape) * 0.002, points + 0.001
    ours = tangent_distance(jnp.asarray(aside, jnp.float32), jnp.asarray(moved, jnp.float32), held)
    expected = twin.distance_to_neighbours(aside, moved, np.asarray(held.vertex), np.asarray(held.normal))
    np.testing.assert_allclose(ours, expected, atol=1e-7)


def test_neighbours_carry_no_gradient_and_take_faces_without_an_area():
    vertices, faces = (jnp.asarray(x) for x in finger_mesh())
    vertices = jnp.concatenate([vertices, jnp.array([[1.0, 1.0, 1.0]])]).astype(jnp.float32)  # of no face
    faces = jnp.concatenate([faces, jnp.array([[3, 3, 5]])])

    def total(points, vertices):
        held = find_neighbours(points, vertices, faces)
        return jnp.sum(held.normal), held

    points = jnp.array([[0.0, 0.0, 0.03], [1.0, 1.0, 1.1]])
    gradients, held = jax.grad(total, argnums=(0, 1), has_aux=True)(points, vertices)
    assert all(np.array_equal(gradient, np.zeros_like(gradient)) for gradient in gradients)
    np.testing.assert_allclose(held.normal, [[0, 0, 1], [0, 0, 0]], atol=0.05)


def test_the_distance_to_neighbours_is_that_of_the_capsule(rng):
    vertices, faces = finger_mesh()
    axis = np.clip(vertices[:, 2], -0.02, 0.02)[:, None] * [[0, 0, 1]]
    outward = (vertices - axis) / 0.01
    for depth in (-0.004, -0.001, 0.0, 0.001, 0.004):
        points = jnp.asarray(vertices + depth * outward, jnp.float32)
        held = find_neighbours(points, jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
        found = tangent_distance(points, jnp.asarray(vertices, jnp.float32), held)
        np.testing.assert_allclose(found, depth, atol=3e-4)
    far = jnp.asarray(vertices + 0.03 * outward, jnp.float32)
    held = find_neighbours(far, jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
    value, gradient = jax.value_and_grad(lambda p: tangent_distance(p, jnp.asarray(vertices, jnp.float32), held).sum())(
        far
    )
    np.testing.assert_allclose(value, FARTHEST_INSIDE * len(vertices), rtol=1e-5)
    np.testing.assert_array_equal(gradient, 0.0)


def test_points_of_a_thin_rod_see_the_hand_that_its_vertices_do_not_see():
    vertices, faces = finger_mesh()
    height = 0.013  # between two rings of vertices
    rod = trimesh.creation.cylinder(radius=0.0005, height=0.1, sections=12)
    rod.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
    rod.apply_translation([0, 0.003, height])
    mesh = load_object(rod, name="rod")

    def of_rod(points):
        return jnp.hypot(points[:, 1] - 0.003, points[:, 2] - height) - 0.0005

    skin, points = jnp.asarray(vertices, jnp.float32), sample_points(mesh, 400, jax.random.key(0))
    held = find_neighbours(points, skin, jnp.asarray(faces))
    assert exact_signed_distance(mesh, vertices).min() > 0.001, "no vertex is in the rod"
    assert E_pen(skin, of_rod) == 0.0

    def depth(points):
        return E_pen(points, lambda x: tangent_distance(x, skin, held))

    inside = (np.linalg.norm(np.asarray(points)[:, :2], axis=1) < 0.01).mean()
    assert 0.1 < inside < 0.3
    np.testing.assert_allclose(depth(points), 400 * inside * 0.004, rtol=0.4)
    # The way out is the side that the rod is nearer to.
    assert -jax.grad(depth)(points)[:, 1].sum() > 0


# --- contact points


def test_nearest_contacts_equal_their_twin(rng):
    regions, distance = rng.integers(-1, 6, size=200), rng.normal(size=200) * 0.03
    for per_region, reach in ((1, 0.001), (2, 0.03), (5, 0.002)):
        ours = nearest_contacts(jnp.asarray(distance, jnp.float32), jnp.asarray(regions), per_region, reach)
        assert ours.vertex.shape == ours.weight.shape == (6 * per_region,)
        np.testing.assert_allclose(ours.distance, np.abs(distance)[np.asarray(ours.vertex)], rtol=1e-6)
        index, weight = (np.asarray(x).reshape(6, per_region) for x in (ours.vertex, ours.weight))
        for region, expected in twin.nearest_contacts(distance, regions, per_region, reach).items():
            np.testing.assert_array_equal(index[region][weight[region] > 0], expected)
        assert set(np.unique(weight)) <= {0.0, 1.0}


def test_no_contact_is_within_reach():
    contacts = nearest_contacts(jnp.full(60, 0.031), jnp.arange(60) % 6, 2, 0.03)
    np.testing.assert_array_equal(contacts.weight, 0.0)
    assert nearest_contacts(jnp.full(60, -0.029), jnp.arange(60) % 6, 2, 0.03).weight.sum() == 12


@pytest.mark.parametrize("reach", [0.03, np.inf])
def test_a_small_region_has_no_contacts_of_others(reach):
    regions = jnp.array([0, 0, 1, -1, -1, -1, -1])  # nothing in regions 2 to 5
    contacts = nearest_contacts(jnp.zeros(7), regions, 2, reach)
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
    contacts = nearest_contacts(distance, jnp.array([0, 0, 0, 1, 1, 2]), 2, 0.03)
    vertex, weight, far = (np.asarray(x).reshape(6, 2) for x in contacts)
    np.testing.assert_array_equal(vertex[0], [2, 1])
    np.testing.assert_array_equal(weight, [[1, 1], [1, 0], *4 * [[0, 0]]])
    assert vertex[1, 0] == 4 and not np.isnan(far).any() and np.isinf(far[weight == 0]).all()
    # Of equal distances the first vertices are taken, either sign alike.
    same = nearest_contacts(jnp.array([0.01, -0.01, 0.01]), jnp.zeros(3, int), 2, 0.03)
    np.testing.assert_array_equal(same.vertex[:2], [0, 1])


# --- a hand and an object


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


@pytest.fixture(scope="module")
def closed_faces(model):
    return np.concatenate([np.asarray(model.faces), np.asarray(model.cap_faces)])


@pytest.fixture(scope="module")
def can():
    return load_object(shapes.can(), name="can")


def problem_of(model, mesh, **changes):
    corners = jnp.asarray(mesh.vertices[mesh.faces], jnp.float32)
    seen = jnp.zeros(len(model.v_template))
    picture = Picture(camera=CAMERA, keypoints=jnp.zeros((21, 2)), confidence=jnp.zeros(21), seen=seen, corners=corners)
    points = sample_points(mesh, 400, jax.random.key(0))
    return ContactProblem(mano_kind(model), distance_grid(mesh, 32), points, replace(picture, **changes))


def placed_points(problem, start):
    return placed_object(problem, start).points


def contact_terms(problem, placed, given, contacts, *, order, posed, held):
    """The terms of a grasp whose hand is posed already."""
    context = context_of(problem, placed, given, contacts, seen=SeenAs(posed, order), posed=posed, known=held)
    return term_values(context, {})


@pytest.fixture(scope="module")
def scene(model, can):
    """A made-up grasp half a metre before the camera, and the same one shaken: 12 mm deep in the can."""
    made = grasps.grasp(can.vertices, can.faces, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    right = HandParams(
        betas=made.betas,
        pose=jaxlie.SO3.from_matrix(made.pose).log(),
        rotation=jaxlie.SO3.from_matrix(made.rotation).log(),
        translation=made.translation + jnp.array([0.0, 0.0, 0.5]),
        scale=made.scale,
    )
    shaken = replace(
        right,
        pose=right.pose + jnp.asarray(rng.normal(size=(15, 3)) * 0.05, jnp.float32),
        rotation=right.rotation + jnp.asarray(rng.normal(size=3) * 0.05, jnp.float32),
        translation=right.translation + jnp.array([0.006, -0.006, 0.006]),
    )
    posed = posed_hand(model, right)
    problem = problem_of(
        model,
        can,
        keypoints=project(CAMERA, posed.keypoints),
        confidence=jnp.where(jnp.arange(21) == 8, 0.0, 0.9),
        seen=jnp.asarray(rng.integers(-1, 2, size=len(posed.vertices)), jnp.float32),
    )
    return problem, Grasp(shaken, jnp.eye(3), jnp.array([0.0, 0.0, 0.5]), jnp.ones(()))


def turned(scene, angle=0.4, scale=1.1):
    """The same, with an object that is turned and scaled."""
    problem, start = scene
    rotation = jaxlie.SO3.exp(jnp.array([angle, -angle, 0.3])).as_matrix()
    return problem, replace(start, rotation=rotation, scale=jnp.asarray(scale))


def test_the_object_s_distance_moves_with_it(scene, can, rng):
    problem, start = turned(scene)
    points = rng.normal(size=(300, 3)) * 0.03 + np.asarray(start.translation)
    vertices = float(start.scale) * can.vertices @ np.asarray(start.rotation, float).T + np.asarray(start.translation)
    exact = signed_distances(Surface(vertices, can.faces), points)
    ours = object_distance(problem, start, jnp.asarray(points, jnp.float32))
    near = exact < 0.01  # farther away the grid's cube ends, and the distance becomes a bound
    np.testing.assert_allclose(ours[near], exact[near], atol=0.003)
    assert near.sum() > 150 and (ours >= exact - 0.003).all()
    on_surface = signed_distances(Surface(vertices, can.faces), placed_points(problem, start))
    np.testing.assert_allclose(on_surface, 0.0, atol=1e-5)


def test_the_order_of_a_picture_equals_rays_against_each_triangle(scene, model, rng):
    problem, start = turned(scene)
    chosen = rng.choice(len(model.v_template), 60, replace=False)
    posed = posed_hand(model, start.hand)
    some = Hand(posed.vertices[chosen], posed.joints, posed.keypoints)
    problem = replace(
        problem,
        picture=replace(problem.picture, seen=problem.picture.seen[chosen], corners=problem.picture.corners[::2]),
    )
    ours = find_order(problem, start, some)
    camera = {"f": np.asarray(CAMERA.focal, float), "c": np.asarray(CAMERA.principal, float)}
    corners = float(start.scale) * np.asarray(problem.picture.corners, float) @ np.asarray(start.rotation, float).T
    corners = corners + np.asarray(start.translation, float)
    front, back = twin.order_of(camera, corners, np.asarray(some.vertices, float), np.asarray(problem.picture.seen))
    np.testing.assert_allclose(ours.front, front, atol=1e-4)
    np.testing.assert_allclose(ours.back, back, atol=1e-4)
    assert (front > 0).sum() > 3 and (back > 0).sum() > 3 and ((front == 0) & (back == 0)).sum() > 3
    # Four times as large and as far, beyond a metre, everything is as it was but for the unit.
    far = replace(start, translation=4 * start.translation, scale=4 * start.scale)
    again = find_order(problem, far, some._replace(vertices=4 * some.vertices))
    np.testing.assert_allclose(again.front, 4 * front, atol=4e-4)
    np.testing.assert_allclose(again.back, 4 * back, atol=4e-4)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 2.0, np.pi, 2 * np.pi])
def test_a_hand_turns_by_the_state_from_any_rotation(angle):
    """Forth, and its derivative, which is that of the rotation matrices."""
    start = HandParams(rotation=jnp.asarray(angle * np.array([0.6, 0.0, 0.8]), jnp.float32))

    def ours(turn):
        return retract_params(None, start, HandState(jnp.zeros((15, 3)), turn, jnp.zeros(3))).rotation

    def expected(turn):
        return (jaxlie.SO3.exp(start.rotation) @ jaxlie.SO3.exp(turn)).as_matrix()

    for turn in (jnp.zeros(3), jnp.array([0.3, -0.2, 0.1])):
        np.testing.assert_allclose(ours(turn), expected(turn), atol=1e-5)
        np.testing.assert_allclose(jax.jacrev(ours)(turn), jax.jacrev(expected)(turn), atol=1e-4)


# --- step one


def test_resizing_changes_no_pixel(scene, model):
    problem, start = turned(scene)
    seen_hand = project(CAMERA, posed_hand(model, start.hand).vertices)
    seen_object = project(CAMERA, placed_points(problem, start))
    for factor in (0.6, 1.0, 1.7):
        larger = resized(problem, start, jnp.asarray(factor), unknown_size=False)
        np.testing.assert_allclose(project(CAMERA, posed_hand(model, larger.hand).vertices), seen_hand, atol=1e-3)
        np.testing.assert_allclose(larger.hand.scale, factor * start.hand.scale, rtol=1e-6)
        assert larger.translation is start.translation and larger.scale is start.scale
        larger = resized(problem, start, jnp.asarray(factor), unknown_size=True)
        np.testing.assert_allclose(project(CAMERA, placed_points(problem, larger)), seen_object, atol=1e-3)
        np.testing.assert_allclose(larger.scale, factor * start.scale, rtol=1e-6)
        assert larger.hand is start.hand


def ball_scene(model, palm, seen):
    """A flat hand that passes through a ball at 0.5 m: its palm faces away from the camera (1) or towards it (-1)."""
    flat = HandParams(rotation=jnp.array([-palm * np.pi / 2, 0.0, 0.0], jnp.float32))
    likely = np.asarray(model.regions) >= 0
    middle = np.asarray(posed_hand(model, flat).vertices)[likely].mean(axis=0)
    flat = replace(flat, translation=jnp.asarray([0, 0, 0.5] - middle, jnp.float32))
    problem = problem_of(model, ball_mesh(), seen=jnp.full(len(model.v_template), float(seen)))
    return problem, Grasp(flat, jnp.eye(3), jnp.array([0.0, 0.0, 0.5]), jnp.ones(()))


run_approach = jax.jit(approach, static_argnames=("config", "unknown_size"))


def behind_the_ball(problem, found, k):
    """Metres from the ball's middle to the hand's contact regions along the axis, in the first radii of the ball."""
    placed = jax.tree.map(lambda x: x[k], found.grasp)
    likely = np.asarray(problem.hand.regions) >= 0
    depth = np.asarray(posed_hand(problem.hand.data, placed.hand).vertices)[likely, 2].mean()
    return float((depth - placed.translation[2]) / placed.scale)


def energy_of_step_one(problem, placed, factor, unknown_size):
    """What was scanned, of the grasp that comes back."""
    model, posed = problem.hand.data, posed_hand(problem.hand.data, placed.hand)
    sigma = FAST_CONTACT.object_sigma if unknown_size else FAST_CONTACT.hand_sigma
    distance = np.asarray(object_distance(problem, placed, posed.vertices), float)
    chosen = twin.nearest_contacts(distance, np.asarray(model.regions), FAST_CONTACT.per_region, np.inf)
    order = (np.asarray(x, float) for x in find_order(problem, placed, posed))
    wrong = twin.E_order(np.asarray(posed.vertices[:, 2], float), *order)
    energy = FAST_CONTACT.w_dis_one * sum(abs(distance[v]) for group in chosen.values() for v in group)
    energy += FAST_CONTACT.w_pen_one * np.maximum(-distance, 0).sum() * 778 / len(distance)
    energy += FAST_CONTACT.w_order_one * wrong * 778 / len(distance)
    return energy + FAST_CONTACT.w_size * (np.log(factor) / sigma) ** 2


@pytest.mark.parametrize("unknown_size", [False, True], ids=["metric", "unknown"])
def test_step_one_finds_both_valleys_and_puts_the_better_first(model, unknown_size):
    for palm in (1, -1):
        problem, start = ball_scene(model, palm, 0)
        found = run_approach(problem, start, jax.random.key(0), FAST_CONTACT, unknown_size=unknown_size)
        assert found.distinct and found.energy[0] < found.energy[1]
        # The better one has the palm on the ball; in the other the ball is at the back of the hand.
        first, second = (palm * behind_the_ball(problem, found, k) for k in (0, 1))
        assert -0.05 < first < -0.03 and 0.03 < second < 0.06
        for k in range(2):
            placed = jax.tree.map(lambda x: x[k], found.grasp)  # noqa: B023
            again = resized(problem, start, found.factor[k], unknown_size=unknown_size)
            for ours, expected in zip(jax.tree.leaves(placed), jax.tree.leaves(again), strict=True):
                np.testing.assert_allclose(ours, expected, rtol=1e-6)
            expected = energy_of_step_one(problem, placed, found.factor[k], unknown_size)
            np.testing.assert_allclose(found.energy[k], expected, rtol=1e-3)


@pytest.mark.parametrize("unknown_size", [False, True], ids=["metric", "unknown"])
def test_step_one_heeds_the_order_that_the_picture_shows(model, unknown_size):
    for palm in (1, -1):
        for seen in (1, -1):
            problem, start = ball_scene(model, palm, seen)
            found = run_approach(problem, start, jax.random.key(0), FAST_CONTACT, unknown_size=unknown_size)
            place = behind_the_ball(problem, found, 0)
            assert 0.03 < -seen * place < 0.07, "before the ball where the picture shows the hand, else behind it"
            for k in range(2):
                placed = jax.tree.map(lambda x: x[k], found.grasp)  # noqa: B023
                expected = energy_of_step_one(problem, placed, found.factor[k], unknown_size)
                np.testing.assert_allclose(found.energy[k], expected, rtol=2e-3)


def test_the_scan_holds_no_change_at_any_count():
    for count in (1, 2, 3, 4, 7, 24, 25, 240, 241):
        half = count // 2
        tried = np.asarray(scanned(jnp.arange(2 * half + 1), count), float)
        assert len(tried) == 2 * half + 1 and tried[half] == 0
        np.testing.assert_allclose(tried, [3 * k / max(half, 1) for k in range(-half, half + 1)], atol=1e-6)


@pytest.mark.parametrize("unknown_size", [False, True], ids=["metric", "unknown"])
def test_a_scan_of_one_size_changes_none(model, unknown_size):
    problem, start = ball_scene(model, 1, 0)
    found = run_approach(problem, start, jax.random.key(0), replace(FAST_CONTACT, scan=1), unknown_size=unknown_size)
    np.testing.assert_array_equal(found.factor, 1.0)
    assert not found.distinct and found.contacts is None and np.isfinite(found.energy).all()
    for ours, given in zip(jax.tree.leaves(found.grasp), jax.tree.leaves(start), strict=True):
        np.testing.assert_array_equal(ours, [given, given])


def test_of_equal_sizes_the_least_change_is_taken(model):
    """Whatever the count: without a weight all energies are zero."""
    problem, start = ball_scene(model, 1, 0)
    flat = replace(FAST_CONTACT, scan=2, w_dis_one=0.0, w_pen_one=0.0, w_order_one=0.0, w_size=0.0)
    found = run_approach(problem, start, jax.random.key(0), flat, unknown_size=False)
    assert found.factor[0] == 1.0
    np.testing.assert_array_equal(found.grasp.hand.translation[0], start.hand.translation)


def test_step_one_leaves_alone_what_is_lost(model):
    problem, start = ball_scene(model, 1, 0)
    starts = jax.tree.map(lambda x: jnp.stack([x] * 3), start)
    starts = replace(starts, translation=starts.translation + jnp.array([[0.0, 0, 0], [0, 0, 0.01], [0.01, 0, 0]]))
    spoiled = replace(starts, translation=starts.translation.at[1, 0].set(jnp.nan))

    @jax.jit
    def run(starts):
        return jax.vmap(lambda s: approach(problem, s, jax.random.key(0), FAST_CONTACT, unknown_size=False))(starts)

    beside, without = run(spoiled), run(starts)
    assert np.isinf(beside.energy[1]).all() and not beside.distinct[1] and np.isfinite(without.energy).all()
    for ours, expected in zip(jax.tree.leaves(beside), jax.tree.leaves(without), strict=True):
        np.testing.assert_array_equal(np.asarray(ours)[::2], np.asarray(expected)[::2])


def test_the_paper_s_step_one_moves_the_object_in_depth_alone(model):
    problem, start = ball_scene(model, 1, 0)
    still = replace(PAPER_CONTACT, depth_noise=0.0, steps_one=100, rate_one=1e-3)
    found = run_approach(problem, start, jax.random.key(3), still, unknown_size=False)
    assert not found.distinct and found.energy[0] == found.energy[1]
    np.testing.assert_array_equal(found.factor, 1.0)
    np.testing.assert_array_equal(found.grasp.translation[:, :2], 0.0)
    for name in ("pose", "rotation", "translation", "scale"):
        np.testing.assert_array_equal(getattr(found.grasp.hand, name)[1], getattr(start.hand, name))
    none = replace(still, steps_one=1)
    at_start = run_approach(problem, start, jax.random.key(3), none, unknown_size=False)
    assert found.energy[0] < 0.7 * at_start.energy[0]
    # What is drawn where there are fewer vertices than points does not count.
    few = jnp.full_like(model.regions, -1).at[jnp.array([200, 300])].set(0)
    of_few = run_approach(
        replace(problem, hand=replace(problem.hand, regions=few)), start, jax.random.key(3), none, unknown_size=False
    )
    np.testing.assert_array_equal(of_few.contacts.weight, [[1, 1, 0, 0]] * 2)
    distance = np.asarray(object_distance(problem, start, posed_hand(model, start.hand).vertices), float)
    expected = np.abs(distance[[200, 300]]).sum() + 5 * np.maximum(-distance, 0).sum() * 778 / len(distance)
    np.testing.assert_allclose(of_few.energy, expected, rtol=1e-4)
    noisy = replace(none, depth_noise=0.01)
    depths = [
        float(run_approach(problem, start, jax.random.key(k), noisy, unknown_size=False).grasp.translation[0, 2]) - 0.5
        for k in range(60)
    ]
    assert 0.007 < np.std(depths) < 0.013 and abs(np.mean(depths)) < 0.005


def begun(problem, starts, key, config):
    """Step one of each start, and step two's beginning in both of its valleys."""
    static, numbers = config.split()
    lanes = starts, jax.random.split(key, len(starts.scale))
    return begin_poses(ContactSettings(static, False, 0), (problem, numbers), lanes)


def test_a_second_lane_is_the_other_valley_or_starts_half_open(model):
    """Of a ball far beside the hand, where there is one valley only, and of one that the hand passes through."""
    problem, start = ball_scene(model, 1, 0)
    start = replace(start, hand=replace(start.hand, pose=jnp.full((15, 3), 0.1)))
    starts = jax.tree.map(lambda x: jnp.stack([x, x]), start)
    starts = replace(starts, translation=starts.translation.at[0, 0].add(1.0))
    first, searching = begun(problem, starts, jax.random.key(0), FAST_CONTACT)
    np.testing.assert_array_equal(first.distinct, [False, True])
    np.testing.assert_allclose(
        searching.search.state.pose, np.array([0.1, 0.05, 0.1, 0.1])[:, None, None] * np.ones((15, 3))
    )
    # The hand that E_h holds on to is as it was seen in all of them.
    np.testing.assert_array_equal(searching.start.hand.pose, np.full((4, 15, 3), np.float32(0.1)))
    np.testing.assert_array_equal(searching.start.hand.scale, np.asarray(first.factor).ravel())
    assert first.factor[0, 0] == first.factor[0, 1] and first.factor[1, 0] != first.factor[1, 1]


# --- step two


run_grasp = jax.jit(grasp, static_argnames="config")
run_begin = jax.jit(begin_grasp, static_argnames="config")
SHORT = replace(FAST_CONTACT, steps=200)


def hand_surface(model, params, faces):
    return Surface(np.asarray(posed_hand(model, params).vertices, float), faces)


def test_a_shaken_grasp_comes_to_hold_the_object(scene, model, can, closed_faces):
    problem, start = scene
    after, solution = run_grasp(problem, start, jax.random.key(0), SHORT)
    assert solution.energy == solution.history.min() < 0.2 * solution.history[0]
    np.testing.assert_allclose(weighted_sum(solution.terms, SHORT.term_weights), solution.energy, rtol=1e-5)
    placed = Surface(can.vertices + np.asarray(start.translation, float), can.faces)
    depth_before, depth = (
        maximal_penetration_depth(hand_surface(model, params, closed_faces), placed)
        for params in (start.hand, after.hand)
    )
    assert depth_before > 0.01 and depth < 0.001
    distance = signed_distances(placed, posed_hand(model, after.hand).vertices)
    assert fingers_in_contact(distance, fingers_of_vertices(model.weights)).sum() >= 4
    # The terms are those of the hand that comes back.
    posed = posed_hand(model, after.hand)
    given = start.hand
    turn = (jaxlie.SO3.exp(given.rotation).inverse() @ jaxlie.SO3.exp(after.hand.rotation)).log()
    theta = ((after.hand.pose - given.pose) ** 2).sum() + (turn**2).sum()
    np.testing.assert_allclose(solution.terms["theta"], theta, rtol=1e-4)
    np.testing.assert_allclose(solution.terms["spen"], twin.E_spen(np.asarray(posed.keypoints), FINGER), atol=1e-5)
    keypoint = twin.E_keypoint(
        *(
            np.asarray(x)
            for x in (project(CAMERA, posed.keypoints), problem.picture.keypoints, problem.picture.confidence)
        )
    )
    np.testing.assert_allclose(solution.terms["keypoint"], keypoint, rtol=1e-3)
    for name in ("rotation", "translation", "scale"):
        np.testing.assert_array_equal(getattr(after, name), getattr(start, name))


def test_rounds_may_be_cut_anywhere(scene):
    """What carries a run over a visit to the host: the same bits in one go and in two."""
    problem, start = scene
    config = replace(FAST_CONTACT, steps=20, refresh=5)
    weights = {name: jnp.asarray(value) for name, value in config.term_weights.items()}
    searching = run_begin(problem, start, jax.random.key(0), config)

    def rounds(count):
        return jax.jit(lambda searching: grasp_round(problem, searching, config, count))

    whole, history, terms = rounds(4)(searching)
    parts = []
    two = rounds(2)
    for _ in range(2):
        searching, part, part_terms = two(searching)
        assert part.shape == (10,) and part_terms.shape == (2, len(CONTACT_TERMS))
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts), history)
    for ours, expected in zip(jax.tree.leaves(searching), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(
        weighted_sum(dict(zip(CONTACT_TERMS, terms[0], strict=True)), weights), history[0], rtol=1e-5
    )
    np.testing.assert_array_equal(best_grasp(problem, whole).hand.pose, whole.search.best[0].pose)


def test_the_paper_s_form(scene, model):
    problem, start = scene
    searching = run_begin(problem, start, jax.random.key(5), PAPER_CONTACT)
    np.testing.assert_array_equal(searching.search.state.pose, 0.5 * start.hand.pose)
    assert searching.contacts.vertex.shape == (4,)
    assert (np.asarray(model.regions)[np.asarray(searching.contacts.vertex)] >= 0).all()
    config = replace(PAPER_CONTACT, steps=30)
    after, solution = run_grasp(problem, start, jax.random.key(5), config)
    assert solution.energy < solution.history[0]
    # Adam's steps are at most a little longer than its rate: 3 mm and 3 mrad in 30 steps.
    assert np.abs(after.hand.pose - 0.5 * start.hand.pose).max() < 0.004
    assert np.abs(after.hand.translation - start.hand.translation).max() < 0.004
    np.testing.assert_allclose(solution.terms["theta"], 0.25 * (start.hand.pose**2).sum(), rtol=0.02)


def test_both_steps_of_the_paper_s_form_pull_the_same_points_and_no_key_is_used_twice(model):
    problem, start = ball_scene(model, 1, 0)
    starts = jax.tree.map(lambda x: jnp.stack([x] * 2), start)
    config = replace(PAPER_CONTACT, steps_one=2)
    with jax.debug_key_reuse(True):
        first, searching = begun(problem, starts, jax.random.key(0), config)
    drawn = np.asarray(first.contacts.vertex)
    assert drawn.shape == (2, 2, 4) and (np.asarray(model.regions)[drawn] >= 0).all()
    np.testing.assert_array_equal(searching.contacts.vertex, drawn.reshape(4, 4))
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    assert not np.array_equal(drawn[0, 0], drawn[1, 0]), "each pose draws its own"


def test_a_lost_start_loses_alone(scene):
    problem, start = scene
    config = replace(FAST_CONTACT, steps=20)
    starts = jax.tree.map(lambda x: jnp.stack([x] * 3), start)
    shift = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.002, 0.0], [0.001, 0.0, 0.002]])
    starts = replace(starts, translation=starts.translation + shift)
    spoiled = replace(starts, hand=replace(starts.hand, pose=starts.hand.pose.at[1, 3, 0].set(jnp.nan)))
    alone = jax.tree.map(lambda x: jnp.stack([x[2]] * 3), starts)

    @jax.jit
    def run(starts):
        return jax.vmap(lambda s: grasp(problem, s, jax.random.key(0), config))(starts)

    without, beside, alone = run(starts), run(spoiled), run(alone)
    for ours, expected, single in zip(*(jax.tree.leaves(x) for x in (beside, without, alone)), strict=True):
        np.testing.assert_array_equal(np.asarray(ours)[::2], np.asarray(expected)[::2])
        np.testing.assert_array_equal(np.asarray(single)[0], np.asarray(expected)[2])
    assert beside[1].energy[1] == jnp.inf and np.isnan(beside[1].history[1]).all()
    assert np.isfinite(without[1].history).all()


def test_with_nothing_in_reach_the_hand_stays_near_where_it_was_seen(scene, model):
    problem, start = scene
    problem = replace(problem, picture=replace(problem.picture, seen=jnp.zeros_like(problem.picture.seen)))
    far = replace(start, translation=start.translation + jnp.array([0.0, 0.0, 0.4]))
    searching = run_begin(problem, far, jax.random.key(0), SHORT)
    np.testing.assert_array_equal(searching.contacts.weight, 0.0)
    after, solution = run_grasp(problem, far, jax.random.key(0), SHORT)
    assert solution.terms["dis"] == 0 and solution.terms["pen"] == 0
    moved_by = np.linalg.norm(posed_hand(model, after.hand).keypoints - posed_hand(model, far.hand).keypoints, axis=1)
    assert moved_by.max() < 0.03


# --- the example


def test_the_example_s_own_hand_closes_on_its_bottle(capsys):
    found = energies_on_your_own_hand.main()
    lines = capsys.readouterr().out.splitlines()
    before, after = ({line.split()[0]: float(line.split()[k]) for line in lines} for k in (1, -1))
    assert before.keys() == after.keys() == energies_on_your_own_hand.WEIGHTS.keys()
    assert after["dis"] < 0.1 * before["dis"] and after["spen"] < before["spen"] and after["pen"] < before["pen"]
    assert found.energy < 0.05 * found.history[0]

    example = energies_on_your_own_hand
    bases = example.BASES + found.value["wrist"][None]
    joints, _ = jax.vmap(example.finger)(bases, example.INWARD, found.value["angles"])
    share = np.linspace(0, 1, 60)[:, None]
    joints = np.asarray(joints, float)
    bones = [joints[:, k, None] + share * (joints[:, k + 1] - joints[:, k])[:, None] for k in range(2)]
    on_axis = np.concatenate(bones, axis=1)
    gaps = exact_signed_distance(example.BOTTLE, on_axis.reshape(-1, 3)).reshape(3, -1).min(axis=1) - example.RADIUS
    assert (gaps < 0.003).all(), "each finger touches"
    assert (gaps > -0.001).all(), "and none is in the bottle"
    surface = sample_points(example.BOTTLE, 3000, jax.random.key(9))
    assert example.capsules(jnp.asarray(joints, jnp.float32), surface).min() > -0.001


# --- in float64: the terms together, and derivatives


def float64(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def test_gradients_are_numerical_ones_forward_and_reverse(x64, rng):
    points = jnp.asarray(rng.normal(size=(12, 3)) * 0.04)
    grid = float64(distance_grid(ball_mesh(RADIUS), 12))
    weight = jnp.asarray(rng.uniform(size=12))
    mean, std, limits = jnp.zeros(6), jnp.full(6, 0.3), jnp.tile(jnp.array([[-0.2, 0.3]]), (6, 1))
    finger, seen = jnp.arange(12) % 4 - 1, jnp.asarray(rng.uniform(size=(12, 2)))
    order = Order(jnp.where(jnp.arange(12) % 3 == 0, 0.01, 0.0), jnp.where(jnp.arange(12) % 3 == 1, 0.02, 0.0))
    held = held_at(0.9 * points[:5], jnp.asarray(rng.normal(size=(5, 3))), jnp.arange(12) % 5)
    energies = {
        "E_dis": (lambda x: E_dis(x, sphere, weight), points),
        "E_dis of a grid": (lambda x: E_dis(x, grid), points),
        "E_pen": (lambda x: E_pen(x, box), points),
        "E_pen of a grid": (lambda x: E_pen(x, grid), points),
        "E_prior": (lambda x: E_prior(x, mean, std, x, limits), jnp.asarray(rng.normal(size=6))),
        "E_spen": (lambda x: E_spen(x, finger, 0.08), points),
        "E_h": (lambda x: sum(E_h(x, points, x[0], points[1])), points[::-1]),
        "E_keypoint": (lambda x: E_keypoint(x, 50 * seen, weight), jnp.asarray(50 * rng.uniform(size=(12, 2)))),
        "E_order": (lambda x: E_order(x, order), points[:, 2]),
        "neighbours": (lambda x: E_pen(points, lambda p: tangent_distance(p, x, held)), points[:5] + 0.01),
    }
    for name, (energy, argument) in energies.items():
        compiled = jax.jit(energy)
        assert compiled(argument) > 0 and jnp.any(jax.grad(compiled)(argument) != 0), name
        check_grads(compiled, (argument,), order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5, eps=1e-8)


def expected_terms(problem, start, given, *, contacts, order, held):
    """Of the twins, from the posed hand on."""
    model = problem.hand.data
    posed = jax.tree.map(lambda x: np.asarray(x, float), posed_hand(model, start.hand))
    array = partial(np.asarray, dtype=float)
    rotation, translation, scale = array(start.rotation), array(start.translation), float(start.scale)
    grid = numpy_surface(problem.object)

    def surface(points):
        return scale * grid((points - translation) @ rotation / scale)

    contact_points = posed.vertices[np.asarray(contacts.vertex)]
    points = scale * array(problem.object_points) @ rotation.T + translation
    depths = -twin.distance_to_neighbours(points, posed.vertices, np.asarray(held.vertex), array(held.normal))
    turn = (jaxlie.SO3.exp(given.rotation).inverse() @ jaxlie.SO3.exp(start.hand.rotation)).log()
    pose, given_pose = np.vstack([start.hand.pose, turn]), np.vstack([given.pose, np.zeros((1, 3))])
    theta, t = twin.E_h(pose, given_pose, array(start.hand.translation), array(given.translation))
    limited = array(joint_angles(model, start.hand.pose))
    natural = array(start.hand.pose), array(model.pose_mean), array(model.pose_std), limited, array(model.joint_limits)
    pixels = array(project(problem.picture.camera, jnp.asarray(posed.keypoints)))
    share = 778 / len(posed.vertices)
    return {
        "dis": twin.E_dis(contact_points, surface, array(contacts.weight)),
        "pen": share * twin.E_pen(posed.vertices, surface) + 2000 / len(points) * np.maximum(depths, 0).sum(),
        "prior": twin.E_prior(*natural),
        "spen": twin.E_spen(posed.keypoints, FINGER),
        "theta": theta,
        "t": t,
        "keypoint": twin.E_keypoint(pixels, array(problem.picture.keypoints), array(problem.picture.confidence)),
        "order": share * twin.E_order(posed.vertices[:, 2], array(order.front), array(order.back)),
    }


@jax.jit
def prepared(problem, start, faces):
    """The posed hand and what is held fixed while it moves."""
    posed = hand(problem.hand.data, start.hand)
    contacts = nearest_contacts(object_distance(problem, start, posed.vertices), problem.hand.regions, 2, 0.01)
    held = neighbours(placed_points(problem, start), posed.vertices, faces)
    return posed, contacts, order_of(problem, start, posed), held


def given_hand(start):
    """Another one than the start's, so that no term is zero."""
    given = start.hand
    return replace(
        given,
        pose=0.8 * given.pose,
        rotation=given.rotation + 0.1,
        translation=given.translation + jnp.array([0.01, 0.0, -0.02]),
    )


def test_terms_equal_their_twins_and_are_named_as_the_weights(x64, scene, closed_faces):
    problem, start = float64(turned(scene))
    start = replace(
        start, hand=replace(start.hand, pose=1.6 * start.hand.pose)
    )  # fingers that meet, beyond their limits
    given = given_hand(start)
    posed, contacts, order, held = prepared(problem, start, jnp.asarray(closed_faces))
    terms = jax.jit(contact_terms)
    ours = terms(problem, start, given, contacts, order=order, posed=posed, held=held)
    expected = expected_terms(problem, start, given, contacts=contacts, order=order, held=held)
    assert ours.keys() == expected.keys() == FAST_CONTACT.term_weights.keys() == PAPER_CONTACT.term_weights.keys()
    for name, value in expected.items():
        assert value > 0, name
        np.testing.assert_allclose(ours[name], value, rtol=1e-6, err_msg=name)
    printed = terms(problem, start, given, contacts, order=order, posed=posed, held=None)
    inside = 5 * E_pen(placed_points(problem, start), lambda x: tangent_distance(x, posed.vertices, held))
    assert inside > 0
    np.testing.assert_allclose(printed["pen"], ours["pen"] - inside, rtol=1e-6)
    # Twice as many points weigh the same.
    double = replace(problem, object_points=jnp.concatenate([problem.object_points] * 2))
    of_points = {name: jnp.concatenate([getattr(held, name)] * 2) for name in ("vertex", "place", "normal")}
    twice = held._replace(**of_points)
    again = terms(double, start, given, contacts, order=order, posed=posed, held=twice)
    np.testing.assert_allclose(again["pen"], ours["pen"], rtol=1e-9)


def test_the_terms_of_a_similar_scene_are_as_much_larger(scene, closed_faces):
    """x -> k x about the camera: metres grow by k, squares of them by k^2, angles and pixels not at all."""
    problem, start = turned(scene)
    start = replace(start, hand=replace(start.hand, pose=1.6 * start.hand.pose))  # fingers that meet
    terms, contacts = jax.jit(contact_terms), None
    found = []
    for k in (1.0, 1.7):
        both = resized(problem, start, jnp.asarray(k), unknown_size=True)
        both = resized(problem, both, jnp.asarray(k), unknown_size=False)
        given = resized(problem, replace(both, hand=given_hand(start)), jnp.asarray(k), unknown_size=False).hand
        posed, nearest, order, held = prepared(problem, both, jnp.asarray(closed_faces))
        contacts = contacts or nearest
        found.append(terms(problem, both, given, contacts, order=order, posed=posed, held=held))
    power = {"dis": 1, "pen": 1, "spen": 1, "order": 1, "t": 2, "prior": 0, "theta": 0, "keypoint": 0}
    for name, once in found[0].items():
        assert once > 0, name
        np.testing.assert_allclose(found[1][name], 1.7 ** power[name] * once, rtol=2e-3, err_msg=name)


def test_hundreds_of_lanes_have_the_terms_of_a_few(scene, closed_faces):
    """XLA for CPUs (jaxlib 0.10.2) makes one kernel of some products and sums, which is wrong for hundreds of hands."""
    problem, start = turned(scene)
    _, contacts, order, held = prepared(problem, start, jnp.asarray(closed_faces))

    @jax.jit
    @jax.vmap
    def pen(shift):
        params = replace(start.hand, translation=start.hand.translation + shift)
        placed, posed = replace(start, hand=params), hand(problem.hand.data, params)
        terms = contact_terms(problem, placed, start.hand, contacts, order=order, posed=posed, held=held)
        return terms["pen"], terms["dis"]

    shifts = 1e-3 * jax.random.normal(jax.random.key(0), (600, 3))
    few = [pen(shifts[k : k + 20]) for k in range(0, 600, 20)]
    for many, parts in zip(pen(shifts), zip(*few, strict=True), strict=True):
        np.testing.assert_allclose(many, np.concatenate(parts), rtol=1e-4)
        assert np.std(many) > 0.01 * np.mean(many) > 0


def test_gradients_of_the_terms_are_numerical_ones(x64, scene, closed_faces):
    problem, start = float64(turned(scene))
    given = given_hand(start)
    _, contacts, order, held = prepared(problem, start, jnp.asarray(closed_faces))

    @jax.jit
    def terms(pose, rotation, translation):
        params = retract_params(None, start.hand, HandState(pose, rotation, translation))
        placed, posed = replace(start, hand=params), hand(problem.hand.data, params)
        found = contact_terms(problem, placed, given, contacts, order=order, posed=posed, held=held)
        return jnp.stack([found[name] for name in sorted(found)])

    state = start.hand.pose, jnp.array([0.02, -0.01, 0.03]), start.hand.translation
    check_grads(terms, state, order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-4, eps=1e-7)
