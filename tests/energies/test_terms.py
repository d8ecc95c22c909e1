"""The terms together: their weights, their twins, similar scenes, and derivatives against numerical ones."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from fgs_jax.config import FAST_CONTACT, PAPER_CONTACT
from fgs_jax.energies.contact import E_dis, E_pen, nearest_contacts, neighbours
from fgs_jax.energies.image import E_keypoint, E_order, Order
from fgs_jax.energies.pose import E_h, E_prior, E_spen
from fgs_jax.energies.terms import term_values, weighted_sum
from fgs_jax.errors import ConfigError
from fgs_jax.hands.kind import HandState, retract_params
from fgs_jax.hands.mano import hand, joint_angles
from fgs_jax.objects.grid import distance_grid
from fgs_jax.picture.camera import project
from fgs_jax.stages.contact_problem import SeenAs, context_of, object_distance, order_of, placed_object
from tests.energies.surfaces import (
    FINGER,
    RADIUS,
    ball_grid,
    ball_mesh,
    box,
    held_at,
    numpy_surface,
    sphere,
    tangent_distance,
)
from tests.reference import contact as twin
from tests.stages.contact_scenes import hand_faces, place_points, posed_hand, resize, shaken_grasp, turn_between, turned


@pytest.fixture(scope="module")
def grid():
    return ball_grid()


@pytest.fixture(scope="module")
def closed_faces():
    return hand_faces()


@pytest.fixture(scope="module")
def scene():
    return shaken_grasp()


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


def placed_points(problem, start):
    return placed_object(problem, start).points


def contact_terms(problem, placed, given, contacts, *, order, posed, held):
    """The terms of a grasp whose hand is posed already."""
    context = context_of(
        problem, placed, given, contacts, seen=SeenAs(posed, order), posed=posed, known=held, config=PAPER_CONTACT
    )
    return term_values(context, {})


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
    turn = turn_between(given.rotation, start.hand.rotation)
    pose, given_pose = np.vstack([start.hand.pose, turn]), np.vstack([given.pose, np.zeros((1, 3))])
    theta, t = twin.E_h(pose, given_pose, array(start.hand.translation), array(given.translation))
    limited = array(jax.jit(joint_angles)(model, start.hand.pose))
    natural = array(start.hand.pose), array(model.pose_mean), array(model.pose_std), limited, array(model.joint_limits)
    pixels = array(jax.jit(project)(problem.picture.camera, jnp.asarray(posed.keypoints)))
    share = 778 / len(posed.vertices)
    return {
        "dis": twin.E_dis(contact_points, surface, array(contacts.weight)),
        "pen": share * twin.E_pen(posed.vertices, surface) + 2000 / len(points) * np.maximum(depths, 0).sum(),
        "prior": twin.E_prior(*natural),
        "spen": twin.E_spen(posed.keypoints, FINGER),
        "theta": theta,
        "t": t,
        "keypoint": twin.E_keypoint(
            pixels, array(problem.picture.keypoints), array(problem.picture.confidence), np.ptp(pixels, axis=0).max()
        ),
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
    inside = 5 * jnp.maximum(-tangent_distance(place_points(problem, start), posed.vertices, held), 0).sum()
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
        both = resize(problem, start, jnp.asarray(k), unknown_size=True)
        both = resize(problem, both, jnp.asarray(k), unknown_size=False)
        given = resize(problem, replace(both, hand=given_hand(start)), jnp.asarray(k), unknown_size=False).hand
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
    @partial(jax.vmap, in_axes=(0, None))
    def pen(shift, rest):
        problem, start, contacts, order, held = rest
        params = replace(start.hand, translation=start.hand.translation + shift)
        placed, posed = replace(start, hand=params), hand(problem.hand.data, params)
        terms = contact_terms(problem, placed, start.hand, contacts, order=order, posed=posed, held=held)
        return terms["pen"], terms["dis"]

    shifts = 1e-3 * jax.random.normal(jax.random.key(0), (600, 3))
    rest = problem, start, contacts, order, held
    few = [pen(shifts[k : k + 20], rest) for k in range(0, 600, 20)]
    for many, parts in zip(pen(shifts, rest), zip(*few, strict=True), strict=True):
        np.testing.assert_allclose(many, np.concatenate(parts), rtol=1e-4)
        assert np.std(many) > 0.01 * np.mean(many) > 0


def test_gradients_of_the_terms_are_numerical_ones(x64, scene, closed_faces):
    problem, start = float64(turned(scene))
    given = given_hand(start)
    _, contacts, order, held = prepared(problem, start, jnp.asarray(closed_faces))

    @jax.jit
    def terms(state, rest):
        problem, start, given, contacts, order, held = rest
        params = retract_params(None, start.hand, HandState(*state))
        placed, posed = replace(start, hand=params), hand(problem.hand.data, params)
        found = contact_terms(problem, placed, given, contacts, order=order, posed=posed, held=held)
        return jnp.stack([found[name] for name in sorted(found)])

    state = start.hand.pose, jnp.array([0.02, -0.01, 0.03]), start.hand.translation
    rest = problem, start, given, contacts, order, held
    check_grads(lambda *state: terms(state, rest), state, order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-4, eps=1e-7)
