"""Solvers by name, as themselves and from a module: what each does with a stage's rates, and what is refused."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from fgs_jax.errors import ArgumentError, ConfigError
from fgs_jax.solve.minimise import Solution, advance, begin, minimise
from fgs_jax.solve.solvers import REFUSED, SOLVERS, descent, register, solver_of

START = {"x": jnp.array([-1.0, 2.0]), "y": jnp.array(1.5)}
BOTTOM = {"x": np.array([1.0, -0.5]), "y": np.array(0.25)}


def bowl(state):
    terms = {name: jnp.sum((state[name] - BOTTOM[name]) ** 2) for name in state}
    return terms["x"] + 2.0 * terms["y"], terms


def falling(first, steps):
    """Cosine, y at half of x."""
    return lambda step: dict(zip("xy", first * 0.5 * (1 + jnp.cos(jnp.pi * step / steps)) * jnp.array([1.0, 0.5])))  # noqa: B905


RATES = {"adamw": 0.3, "amsgrad": 0.3, "lion": 0.2, "momentum": 0.03, "nesterov": 0.03, "rmsprop": 0.3, "sgd": 0.3}
RATES |= {"yogi": 0.3, "adam": 0.3, "annealing": 0.2, "bfgs": 1.0, "lbfgs": 1.0}


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_every_solver_reaches_the_bottom_of_a_bowl(name):
    if name == "bfgs":
        pytest.importorskip("optimistix", reason="needs optimistix: pip install optimistix")
    solver = solver_of(name, falling(RATES[name], 150))
    found = jax.jit(lambda start: minimise(bowl, solver, start, 150))(START)
    for part, expected in BOTTOM.items():
        np.testing.assert_allclose(found.value[part], expected, atol=0.02)
    energy, terms = bowl(found.value)
    np.testing.assert_allclose(found.energy, energy, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.terms["x"], terms["x"], rtol=1e-4, atol=1e-7)
    assert found.history.shape == (150,) and found.history[0] == pytest.approx(float(bowl(START)[0]))


TWINS = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "amsgrad": optax.amsgrad,
    "lion": optax.lion,
    "momentum": partial(optax.sgd, momentum=0.9),
    "nesterov": partial(optax.sgd, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
    "yogi": optax.yogi,
}


@pytest.mark.parametrize("name", TWINS)
def test_a_name_is_that_of_optax_with_a_rate_for_each_number(name):
    schedule = optax.exponential_decay(0.1, 10, 0.5)
    ours = solver_of(name, lambda step: {"x": schedule(step), "y": schedule(step)})
    states = [
        advance(bowl, solver, begin(bowl, solver, START), 12)[0].state for solver in (ours, TWINS[name](schedule))
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *states)
    apart = solver_of(name, lambda step: {"x": schedule(step), "y": jnp.zeros(())})
    search, _ = advance(bowl, apart, begin(bowl, apart, START), 12)
    np.testing.assert_allclose(search.state["x"], states[0]["x"], rtol=1e-5)
    assert search.state["y"] == START["y"]


def test_what_is_a_solver_is_taken_as_it_is():
    given = optax.sgd(0.1)
    assert solver_of(given, lambda step: None) is given
    assert solver_of(newton, lambda step: None) is newton
    assert solver_of("tests.solve.test_solvers:newton", lambda step: None) is newton
    assert solver_of("optax:lbfgs", lambda step: None) is optax.lbfgs


def newton(energy, start, steps):
    """Newton's method on numbers, whose energies are those before each step."""

    def scalar(x):
        return energy(x)[0]

    def step(x, _):
        flat, back = ravel_pytree(x)
        hessian = jax.hessian(lambda v: scalar(back(v)))(flat)
        gradient = jax.grad(lambda v: scalar(back(v)))(flat)
        return back(flat - jnp.linalg.solve(hessian, gradient)), scalar(x)

    value, history = jax.lax.scan(step, start, length=steps)
    least, terms = energy(value)
    return Solution(value, least, terms, history)


WRONG = {
    "a name that is near": ("adma", r"expected adam, .*, yogi or module:name, got 'adma': did you mean adam\?"),
    "a name that is not": ("sculptor", "got 'sculptor': choose another"),
    "residuals": ("levenberg_marquardt", "got levenberg_marquardt, which needs the residuals of a sum of squares"),
    "all starts": ("cma_es", "got cma_es, which looks at all starts at once"),
    "a number": (0.1, r"expected a name, an optax.GradientTransformation or a function .*, got float: change it"),
    "no module": (
        "no_such_package.solvers:one",
        r"expected a module that can be imported, got no_such_package.solvers:one \(.*\): install it",
    ),
    "no attribute": ("optax:no_such_solver", "expected a name of optax, got no_such_solver: check its spelling"),
    "half a name": ("optax:", "expected module:name, got 'optax:'"),
    "no solver there": ("math:pi", "got float"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_solver_is_refused_in_one_line(name):
    given, message = WRONG[name]
    with pytest.raises(ConfigError, match=message) as caught:
        solver_of(given, lambda step: None)
    assert "\n" not in str(caught.value)


def test_a_solver_of_one_s_own_takes_one_registration():
    register("signs", lambda rates: descent(optax.scale_by_sign(), rates))
    try:
        solver = solver_of("signs", lambda step: {"x": 0.25 * 0.97**step, "y": 0.1 * 0.97**step})
        found = minimise(bowl, solver, START, 120)
        assert found.energy < 1e-2 < found.history[0]
        for name in ("signs", "adam", "cma_es", "a:b"):
            with pytest.raises(ArgumentError, match=re.escape(f"expected a new name without a colon, got {name!r}")):
                register(name, SOLVERS["adam"])
    finally:
        del SOLVERS["signs"]
    assert not set(REFUSED) & set(SOLVERS)


def test_annealing_keeps_the_place_that_it_has_accepted():
    """Where every proposal is worse and the temperature is zero, all start from the same place."""

    def pit(x):
        return jnp.where(jnp.abs(x[0]) < 1e-6, 0.0, 5.0) + 0.0 * x[0] + jnp.abs(x[0] - 1.0) * 1e-3, {}

    solver = solver_of("annealing", lambda step: jnp.array(0.1))
    search = begin(pit, solver, jnp.zeros(1))
    places = []
    for _ in range(4):
        search, _ = advance(pit, solver, search, 1)
        places.append(float(search.state[0]))
        assert search.optimizer_state.place[0] == 0.0
    np.testing.assert_allclose(places, 0.1 / np.sqrt(1 - 0.02 ** np.arange(1, 5)), rtol=1e-2)


def test_starts_have_memories_of_their_own():
    """Among others each start ends where it ends alone, to the bit, with a solver that remembers."""
    starts = jax.tree.map(lambda x: jnp.stack([x, x + 0.7, -2.0 * x]), START)
    solver = solver_of("rmsprop", falling(0.3, 20))
    run = jax.jit(jax.vmap(lambda start: minimise(bowl, solver, start, 20)))
    together = run(starts)
    for k in range(3):
        others = jax.tree.map(lambda x: x.at[(k + 1) % 3].set(9.0), starts)  # noqa: B023
        np.testing.assert_array_equal(run(others).history[k], together.history[k])
