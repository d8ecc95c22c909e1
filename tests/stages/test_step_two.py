"""Step two: a shaken hand comes to hold the object, in rounds that may be cut anywhere, and in the paper's form."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import pytest

from fgs_jax.config import FAST_CONTACT, PAPER_CONTACT
from fgs_jax.energies.terms import CONTACT_TERMS, weighted_sum
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.kind import HandState, retract_params
from fgs_jax.results.metrics import (
    Surface,
    fingers_in_contact,
    fingers_of_vertices,
    maximal_penetration_depth,
    signed_distances,
)
from fgs_jax.stages.step_two import begin_grasp, best_grasp, grasp, grasp_round
from fgs_jax.types import HandParams
from tests.energies.surfaces import FINGER
from tests.reference import contact as twin
from tests.stages.contact_scenes import can_mesh, hand_faces, pixels_of, posed_hand, shaken_grasp, turn_between

run_grasp = jax.jit(grasp, static_argnames="config")
run_begin = jax.jit(begin_grasp, static_argnames="config")
SHORT = replace(FAST_CONTACT, steps=200)


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


@pytest.fixture(scope="module")
def closed_faces():
    return hand_faces()


@pytest.fixture(scope="module")
def can():
    return can_mesh()


@pytest.fixture(scope="module")
def scene():
    return shaken_grasp()


def turned_hand(turn, start):
    return retract_params(None, start, HandState(jnp.zeros((15, 3)), turn, jnp.zeros(3))).rotation


def turned_matrix(turn, start):
    return (jaxlie.SO3.exp(start.rotation) @ jaxlie.SO3.exp(turn)).as_matrix()


rotations = [jax.jit(lambda *x, f=f: (f(*x), jax.jacrev(f)(*x))) for f in (turned_hand, turned_matrix)]


@pytest.mark.parametrize("angle", [0.0, 1e-6, 2.0, np.pi, 2 * np.pi])
def test_a_hand_turns_by_the_state_from_any_rotation(angle):
    """Forth, and its derivative, which is that of the rotation matrices."""
    start = HandParams(rotation=jnp.asarray(angle * np.array([0.6, 0.0, 0.8]), jnp.float32))
    for turn in (jnp.zeros(3), jnp.array([0.3, -0.2, 0.1])):
        (ours, derivative), (expected, expected_derivative) = (rotation(turn, start) for rotation in rotations)
        np.testing.assert_allclose(ours, expected, atol=1e-5)
        np.testing.assert_allclose(derivative, expected_derivative, atol=1e-4)


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
    turn = turn_between(given.rotation, after.hand.rotation)
    theta = ((after.hand.pose - given.pose) ** 2).sum() + (turn**2).sum()
    np.testing.assert_allclose(solution.terms["theta"], theta, rtol=1e-4)
    np.testing.assert_allclose(solution.terms["spen"], twin.E_spen(np.asarray(posed.keypoints), FINGER), atol=1e-5)
    size = np.ptp(pixels_of(posed_hand(model, given).keypoints), axis=0).max()
    picture = problem.picture
    seen, confidence = np.asarray(picture.keypoints), np.asarray(picture.confidence)
    keypoint = twin.E_keypoint(np.asarray(pixels_of(posed.keypoints)), seen, confidence, size)
    np.testing.assert_allclose(solution.terms["keypoint"], keypoint, rtol=1e-3)
    for name in ("rotation", "translation", "scale"):
        np.testing.assert_array_equal(getattr(after, name), getattr(start, name))


def test_rounds_may_be_cut_anywhere(scene):
    """What carries a run over a visit to the host: the same bits in one go and in two."""
    problem, start = scene
    config = replace(FAST_CONTACT, steps=20, refresh=5)
    weights = {name: jnp.asarray(value) for name, value in config.term_weights.items()}
    searching = run_begin(problem, start, jax.random.key(0), config)
    rounds = jax.jit(grasp_round, static_argnames=("config", "rounds"))
    whole, history, terms = rounds(problem, searching, config=config, rounds=4)
    parts = []
    for _ in range(2):
        searching, part, part_terms = rounds(problem, searching, config=config, rounds=2)
        assert part.shape == (10,) and part_terms.shape == (2, len(CONTACT_TERMS))
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts), history)
    for ours, expected in zip(jax.tree.leaves(searching), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(
        weighted_sum(dict(zip(CONTACT_TERMS, terms[0], strict=True)), weights), history[0], rtol=1e-5
    )
    np.testing.assert_array_equal(jax.jit(best_grasp)(problem, whole).hand.pose, whole.search.best[0].pose)


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


def test_a_lost_start_loses_alone(scene):
    problem, start = scene
    config = replace(FAST_CONTACT, steps=20)
    starts = jax.tree.map(lambda x: jnp.stack([x] * 3), start)
    shift = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.002, 0.0], [0.001, 0.0, 0.002]])
    starts = replace(starts, translation=starts.translation + shift)
    spoiled = replace(starts, hand=replace(starts.hand, pose=starts.hand.pose.at[1, 3, 0].set(jnp.nan)))
    alone = jax.tree.map(lambda x: jnp.stack([x[2]] * 3), starts)

    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0))
    def run(problem, start):
        return grasp(problem, start, jax.random.key(0), config)

    without, beside, alone = (run(problem, x) for x in (starts, spoiled, alone))
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
