from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from fgs_jax.errors import ArgumentError
from fgs_jax.solve.least_squares import least_squares
from fgs_jax.solve.minimise import Solution, advance, begin, minimise
from fgs_jax.solve.solvers import adam


def rosenbrock(x):
    return jnp.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def test_linear_problem_is_solved_exactly(x64, rng):
    matrix, target = jnp.asarray(rng.normal(size=(12, 4))), jnp.asarray(rng.normal(size=12))
    found = least_squares(lambda x: matrix @ x - target, jnp.zeros(4), 30)
    expected, squares, *_ = np.linalg.lstsq(matrix, target)
    np.testing.assert_allclose(found.value, expected, atol=1e-7)
    np.testing.assert_allclose(found.cost, squares[0] / 2, rtol=1e-12)


def test_agrees_with_scipy_on_a_curved_valley():
    found = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), 60)
    expected = scipy.optimize.least_squares(lambda x: np.asarray(rosenbrock(jnp.asarray(x))), [-1.2, 1.0], method="lm")
    np.testing.assert_allclose(found.value, expected.x, atol=1e-4)


def test_the_cost_is_that_of_the_value_and_never_rises():
    found = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), 9)
    np.testing.assert_allclose(found.cost, 0.5 * np.sum(np.asarray(rosenbrock(found.value)) ** 2), rtol=1e-6)
    assert found.history.shape == (9,) and (np.diff(found.history) <= 0).all()
    assert found.history[-1] == found.cost < 0.5 * np.sum(np.asarray(rosenbrock(jnp.array([-1.2, 1.0]))) ** 2)


def test_a_step_off_the_domain_is_refused():
    found = least_squares(lambda x: jnp.sqrt(x) - 0.01, jnp.array([1.0]), 40)
    np.testing.assert_allclose(found.value, 1e-4, atol=1e-6)


def test_an_unknown_without_influence_stays_put():
    found = least_squares(lambda x: x[:1] - 3.0, jnp.array([0.0, 7.0]), 10)
    np.testing.assert_allclose(found.value, [3.0, 7.0], atol=1e-5)


def test_many_at_once_are_each_alone():
    starts = jnp.array([[-1.2, 1.0], [2.0, 2.0], [jnp.nan, 0.0]])
    together = jax.jit(jax.vmap(lambda s: least_squares(rosenbrock, s, 30)))(starts)
    without = jax.jit(jax.vmap(lambda s: least_squares(rosenbrock, s, 30)))(starts.at[2].set(0.5))
    np.testing.assert_array_equal(together.value[:2], without.value[:2])
    assert np.isinf(together.cost[2]) and np.isinf(together.history[2]).all()


def crooked(state):
    """Two terms of a state of two arrays; the bottom lies at x = (1, 1), y = 0.5."""
    terms = {"valley": 0.5 * jnp.sum(rosenbrock(state["x"]) ** 2), "bowl": jnp.sum((state["y"] - 0.5) ** 2)}
    return terms["valley"] + 3.0 * terms["bowl"], terms


CROOKED_START = {"x": jnp.array([-1.2, 1.0]), "y": jnp.array([2.0])}


@pytest.mark.parametrize("rate", [0.05, optax.cosine_decay_schedule(0.05, 60)], ids=["constant", "cosine"])
def test_two_halves_are_the_whole_to_the_bit(rate):
    optimizer = optax.adam(rate)
    whole = jax.jit(lambda start: minimise(crooked, optimizer, start, 60))(CROOKED_START)
    half = jax.jit(lambda search: advance(crooked, optimizer, search, 30))
    search, (first, _) = half(begin(crooked, optimizer, CROOKED_START))
    search, (second, _) = half(search)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole.history)
    for ours, expected in zip(jax.tree.leaves(search.best), jax.tree.leaves(whole[:3]), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert whole.history[-1] < 0.2 * whole.history[0], "it does descend"


def test_a_search_that_has_not_begun_knows_nothing():
    search = begin(crooked, optax.adam(0.1), CROOKED_START)
    value, energy, terms = search.best
    assert energy == jnp.inf and terms == search.last == {"valley": 0, "bowl": 0}
    same = jax.tree.map(np.array_equal, (search.state, value), (CROOKED_START, CROOKED_START))
    assert all(jax.tree.leaves(same))
    (state, _, best, last), (history, recorded) = advance(crooked, optax.adam(0.1), search, 1)
    assert history[0] == best[1] and recorded == () and last == best[2]
    np.testing.assert_allclose(best[1], crooked(CROOKED_START)[0], rtol=1e-6)
    np.testing.assert_allclose(state["y"], [1.9], rtol=1e-5)  # the first step of Adam is its rate


def test_the_best_iterate_is_kept_with_its_own_terms():
    found = minimise(crooked, optax.sgd(0.4), CROOKED_START, 8)  # far too fast: it leaves the valley
    least = np.nanmin(found.history)
    assert found.energy == least and found.history[-1] != least
    energy, terms = crooked(found.value)
    np.testing.assert_allclose(found.energy, energy, rtol=1e-6)
    for name in terms:
        np.testing.assert_allclose(found.terms[name], terms[name], rtol=1e-6)


def test_what_is_recorded_is_that_of_each_iterate():
    search = begin(crooked, optax.adam(0.1), CROOKED_START)
    search, (history, recorded) = advance(crooked, optax.adam(0.1), search, 5, lambda terms: terms)
    assert recorded["valley"].shape == (5,)
    assert search.last == {name: values[-1] for name, values in recorded.items()}
    np.testing.assert_allclose(recorded["valley"] + 3 * recorded["bowl"], history, rtol=1e-6)


def test_the_first_of_equal_iterates_is_kept():
    found = minimise(lambda x: (jnp.minimum(jnp.sum(x), 3.0), {"x": x[0]}), optax.sgd(1.0), jnp.array([5.0]), 4)
    np.testing.assert_array_equal(found.value, [5.0])
    np.testing.assert_array_equal(found.history, [3.0] * 4)


@pytest.mark.parametrize("optimizer", [optax.adam(0.1), optax.sgd(0.05, momentum=0.9), optax.lbfgs()])
def test_any_optimizer_will_do(optimizer):
    found = minimise(lambda x: (jnp.sum((x - 2.0) ** 2), {"first": x[0]}), optimizer, jnp.zeros(3), 80)
    np.testing.assert_allclose(found.value, 2.0, atol=0.02)


def test_adam_with_a_rate_for_each_number_is_adams_apart():
    falling = optax.exponential_decay(0.1, 10, 0.5)
    apart = optax.partition({"x": optax.adam(falling), "y": optax.adam(0.02)}, {"x": "x", "y": "y"})
    start, moments = CROOKED_START, apart.init(CROOKED_START)
    for _ in range(12):
        updates, moments = apart.update(jax.grad(lambda x: crooked(x)[0])(start), moments)
        start = optax.apply_updates(start, updates)
    together = adam(lambda step: {"x": falling(step), "y": 0.02})
    search, _ = advance(crooked, together, begin(crooked, together, CROOKED_START), 12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), search.state, start)


def test_a_nan_is_never_the_best_and_loses_alone():
    def minimised(start):
        return minimise(crooked, optax.adam(0.05), start, 20)

    starts = {"x": jnp.array([[-1.2, 1.0], [jnp.nan, 0.0], [2.0, 2.0]]), "y": jnp.array([[2.0], [1.0], [0.0]])}
    beside = jax.jit(jax.vmap(minimised))(starts)
    without = jax.jit(jax.vmap(minimised))({**starts, "x": starts["x"].at[1].set(0.5)})
    for ours, expected in zip(jax.tree.leaves(beside), jax.tree.leaves(without), strict=True):
        np.testing.assert_array_equal(ours[::2], expected[::2])
    assert beside.energy[1] == jnp.inf and np.isnan(beside.terms["valley"][1])
    np.testing.assert_array_equal(beside.value["x"][1], starts["x"][1])

    def with_a_hole(x):
        return jnp.where((x > 0.5) & (x < 1.5), jnp.nan, x**2), {}

    found = minimise(lambda x: with_a_hole(x[0]), optax.sgd(0.25), jnp.array([2.0]), 4)  # 2, then 1: a NaN
    np.testing.assert_array_equal(found.value, [2.0])
    assert found.energy == 4.0 and np.isnan(found.history[1])


def test_nothing_is_a_nan_that_is_not_lost():
    with jax.debug_nans(True):
        for run in (lambda f: f, jax.jit):
            found = run(lambda start: minimise(crooked, optax.adam(0.05), start, 5))(CROOKED_START)
            assert np.isfinite(found.energy) and np.isfinite(found.history).all()
            cost = run(lambda start: least_squares(rosenbrock, start, 5))(jnp.array([-1.2, 1.0])).cost
            assert np.isfinite(cost)
        search = begin(crooked, optax.adam(0.05), CROOKED_START)
        search, _ = advance(crooked, optax.adam(0.05), search, 2)
        assert np.isfinite(search.best[1])
    counted = minimise(lambda x: (jnp.sum(x**2), {"count": jnp.int32(3)}), optax.sgd(0.1), jnp.ones(2), 2)
    assert counted.terms["count"] == 3 and counted.terms["count"].dtype == jnp.int32
    with pytest.raises(FloatingPointError), jax.debug_nans(True):  # and what is lost is said
        minimise(lambda x: (jnp.sqrt(x[0]), {}), optax.sgd(1.0), jnp.array([-1.0]), 2)


def by_descent(energy, start, steps):
    """A solver that is a function: plain steps, the best kept."""

    def step(carry, _):
        x, best, least = carry
        value, slope = jax.value_and_grad(lambda x: energy(x)[0])(x)
        best, least = jax.tree.map(lambda a, b: jnp.where(value < least, a, b), (x, value), (best, least))
        return (jax.tree.map(lambda x, g: x - 1e-3 * g, x, slope), best, least), value

    (_, best, least), history = jax.lax.scan(step, (start, start, jnp.asarray(jnp.inf)), length=steps)
    return Solution(best, least, energy(best)[1], history)


def test_a_function_is_a_solver():
    found = jax.jit(lambda start: minimise(crooked, by_descent, start, 30))(CROOKED_START)
    alone = by_descent(crooked, CROOKED_START, 30)
    for ours, expected in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    np.testing.assert_allclose(found.history, minimise(crooked, optax.sgd(1e-3), CROOKED_START, 30).history, rtol=1e-5)
    assert found.energy == found.history.min() and found.history[-1] < 0.4 * found.history[0]


def test_a_function_s_round_starts_where_the_last_ended_and_the_best_is_kept():
    starts = []

    def worse_each_round(energy, start, steps):
        starts.append(start)
        value = jax.tree.map(lambda x: x + 1.0, start)
        found, terms = energy(value)
        return Solution(value, found, terms, jnp.full(steps, found))

    start = {"x": jnp.array([1.0, 1.0]), "y": jnp.array([-0.5])}
    search = begin(crooked, worse_each_round, start)
    search, (history, recorded) = advance(crooked, worse_each_round, search, 3, lambda terms: terms["bowl"])
    first = search
    assert history.shape == recorded.shape == (3,) and (recorded == first.last["bowl"]).all()
    search, _ = advance(crooked, worse_each_round, search, 3, lambda terms: terms["bowl"])
    jax.tree.map(np.testing.assert_array_equal, starts[1], first.state)
    np.testing.assert_array_equal(search.state["y"], [1.5])
    for ours, expected in zip(jax.tree.leaves(search.best), jax.tree.leaves(first.best), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert search.best[1] < crooked(search.state)[0] and search.last["bowl"] == crooked(search.state)[1]["bowl"]


def test_a_function_that_loses_a_start_loses_it_alone():
    starts = {"x": jnp.array([[-1.2, 1.0], [jnp.nan, 0.0]]), "y": jnp.array([[2.0], [1.0]])}
    found = jax.jit(jax.vmap(lambda start: minimise(crooked, by_descent, start, 10)))(starts)
    assert np.isfinite(found.energy[0]) and found.energy[1] == jnp.inf and np.isnan(found.terms["valley"][1])
    np.testing.assert_array_equal(found.value["x"][1], starts["x"][1])


def test_what_a_function_raises_is_one_line():
    def of_two(energy, start):
        return start

    with pytest.raises(ArgumentError, match=r"solver: expected a function that can be traced, got TypeError: .*: mend"):
        minimise(crooked, of_two, CROOKED_START, 5)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "came"),
    [
        (None, "tuple"),
        ({"history": jnp.zeros(6)}, r"\(6,\)\)"),
        ({"value": CROOKED_START["x"]}, r"\(\(2,\), \(\)"),
        ({"terms": {}}, r"\(\), {}, \(5,\)"),
    ],
)
def test_a_function_that_returns_no_solution_is_refused(changes, came):
    def given(energy, start, steps) -> Any:
        found = by_descent(energy, start, steps)
        return tuple(found) if changes is None else found._replace(**changes)

    with pytest.raises(ArgumentError, match=rf"solver: expected a Solution .* of shapes .*, got .*{came}") as caught:
        minimise(crooked, given, CROOKED_START, 5)
    assert "\n" not in str(caught.value)
