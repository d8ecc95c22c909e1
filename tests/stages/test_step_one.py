"""Step one: it finds both valleys, heeds the picture's order, and in the paper's form moves the object in depth."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.config import FAST_CONTACT, PAPER_CONTACT
from fgs_jax.extensions import Term
from fgs_jax.hands.files import load_hand_model
from fgs_jax.stages.step_one import approach, scanned
from tests.reference import contact as twin
from tests.stages.contact_scenes import ball_scene, distance_of, find_order, posed_hand, resize

run_approach = jax.jit(approach, static_argnames=("config", "unknown_size"))


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


def behind_the_ball(problem, found, k):
    """Metres from the ball's middle to the hand's contact regions along the axis, in the first radii of the ball."""
    placed = jax.tree.map(lambda x: x[k], found.grasp)
    likely = np.asarray(problem.hand.regions) >= 0
    depth = np.asarray(posed_hand(problem.hand.data, placed.hand).vertices)[likely, 2].mean()
    return float((depth - placed.translation[2]) / placed.scale)


def energy_of_step_one(problem, placed, factor, unknown_size, config=FAST_CONTACT):
    """What was scanned, of the grasp that comes back."""
    model, posed = problem.hand.data, posed_hand(problem.hand.data, placed.hand)
    sigma = config.object_sigma if unknown_size else config.hand_sigma
    distance = np.asarray(distance_of(problem, placed, posed.vertices), float)
    chosen = twin.nearest_contacts(distance, np.asarray(model.regions), config.per_region, np.inf)
    order = (np.asarray(x, float) for x in find_order(problem, placed, posed))
    wrong = twin.E_order(np.asarray(posed.vertices[:, 2], float), *order)
    energy = config.w_dis_one * sum(abs(distance[v]) for group in chosen.values() for v in group)
    regions, size = np.asarray(model.regions), float(placed.hand.scale)
    depths = twin.flesh_depths(distance, regions, size) if config.flesh else np.maximum(-distance, 0)
    energy += config.w_pen_one * depths.sum() * 778 / len(distance)
    energy += config.w_order_one * wrong * 778 / len(distance)
    return energy + config.w_size * (np.log(factor) / sigma) ** 2


@pytest.mark.parametrize("unknown_size", [False, True], ids=["metric", "unknown"])
def test_step_one_finds_both_valleys_and_puts_the_better_first(model, unknown_size):
    firm = replace(FAST_CONTACT, flesh=False, w_dis_one=1.0)
    for palm in (1, -1):
        problem, start = ball_scene(model, palm, 0)
        found = run_approach(problem, start, jax.random.key(0), firm, unknown_size=unknown_size)
        assert found.distinct and found.energy[0] < found.energy[1]
        # The better one has the palm on the ball; in the other the ball is at the back of the hand.
        first, second = (palm * behind_the_ball(problem, found, k) for k in (0, 1))
        assert -0.05 < first < -0.03 and 0.03 < second < 0.06
        for k in range(2):
            placed = jax.tree.map(lambda x: x[k], found.grasp)  # noqa: B023
            again = resize(problem, start, found.factor[k], unknown_size=unknown_size)
            for ours, expected in zip(jax.tree.leaves(placed), jax.tree.leaves(again), strict=True):
                np.testing.assert_allclose(ours, expected, rtol=1e-6)
            expected = energy_of_step_one(problem, placed, found.factor[k], unknown_size, firm)
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


def test_two_valleys_are_farther_apart_than_a_twenty_fourth_of_the_scan(model):
    problem, start = ball_scene(model, 1, 0)
    problem = replace(problem, picture=None)

    def of_two(context, sizes):
        """Least at the first size, and nearly as low at the second."""
        first, second = jnp.abs(jnp.log(context.params.scale) - sizes)
        return jnp.minimum(first, second + 1e-3)

    @partial(jax.jit, static_argnums=0)
    def run(static, numbers):
        return approach(problem, start, jax.random.key(0), static.joined(numbers), unknown_size=False)

    base = replace(
        FAST_CONTACT, w_dis_one=0.0, w_pen_one=0.0, w_size=0.0, weights={"two": 0.0}, weights_one={"two": 1.0}
    )
    for count, apart, distinct in ((47, 2, True), (49, 2, False), (49, 3, True)):
        step = 3 * base.hand_sigma / (count // 2)
        found = run(*replace(base, scan=count, terms={"two": Term(of_two, step * jnp.array([0.0, apart]))}).split())
        assert found.distinct == distinct, (count, apart)
        np.testing.assert_allclose(np.log(found.factor) / step, [0, apart * distinct], atol=1e-3)


def test_step_one_leaves_alone_what_is_lost(model):
    problem, start = ball_scene(model, 1, 0)
    starts = jax.tree.map(lambda x: jnp.stack([x] * 3), start)
    starts = replace(starts, translation=starts.translation + jnp.array([[0.0, 0, 0], [0, 0, 0.01], [0.01, 0, 0]]))
    spoiled = replace(starts, translation=starts.translation.at[1, 0].set(jnp.nan))

    @jax.jit
    @partial(jax.vmap, in_axes=(None, 0))
    def run(problem, start):
        return approach(problem, start, jax.random.key(0), FAST_CONTACT, unknown_size=False)

    beside, without = run(problem, spoiled), run(problem, starts)
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
    distance = np.asarray(distance_of(problem, start, posed_hand(model, start.hand).vertices), float)
    expected = np.abs(distance[[200, 300]]).sum() + 5 * np.maximum(-distance, 0).sum() * 778 / len(distance)
    np.testing.assert_allclose(of_few.energy, expected, rtol=1e-4)
    noisy = replace(none, depth_noise=0.01)
    depths = [
        float(run_approach(problem, start, jax.random.key(k), noisy, unknown_size=False).grasp.translation[0, 2]) - 0.5
        for k in range(60)
    ]
    assert 0.007 < np.std(depths) < 0.013 and abs(np.mean(depths)) < 0.005
