"""Solvers: functions from a problem to its solution, pure and unbatched."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from fgs_jax.checks import check_count, checked
from fgs_jax.errors import ArgumentError


class LeastSquares(NamedTuple):
    """What `least_squares` found."""

    value: Float[Array, "p"]
    cost: Float[Array, ""]
    """Half the sum of squared residuals at `value`."""
    history: Float[Array, "steps"]
    """The cost after each step; it never rises."""


@checked
def least_squares(
    residuals: Callable[[Float[Array, "p"]], Float[Array, "r"]],
    start: Float[Array, "p"],
    steps: int,
    damping: float | Float[Array, ""] = 1.0,
) -> LeastSquares:
    """Levenberg-Marquardt with Marquardt's scaling: `steps` damped steps, of which those are kept that lower the cost.

    For few unknowns and any number of residuals: the Jacobian is taken forward, one pass for each unknown, and with the
    residuals themselves, so that they are traced once. A step to residuals that are not finite is refused;
    a start with such residuals comes back with an infinite cost.
    """
    check_count("least_squares: steps", steps)
    linearised = jax.jacfwd(lambda x: (residuals(x),) * 2, has_aux=True)

    def at(value: Float[Array, "p"]) -> tuple[Array, Array, Array, Array]:
        jacobian, residual = linearised(value)
        if jnp.ndim(residual) != 1:
            raise ArgumentError(
                f"least_squares: residuals: expected an array of one axis, got shape {jnp.shape(residual)}: ravel it"
            )
        normal = jnp.matmul(jacobian.T, jacobian, precision="highest")
        gradient = jnp.matmul(jacobian.T, residual, precision="highest")
        return value, 0.5 * jnp.sum(residual**2), normal, gradient

    def step(state, _):
        proposal, damping, best = state
        new = at(proposal)
        better = new[1] < best[1]
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, best)
        damping = jnp.clip(jnp.where(better, damping / 4.0, damping * 4.0), 1e-7, 1e7)
        value, cost, normal, gradient = best
        scale = jnp.diagonal(normal) + 1e-6
        factor = jax.scipy.linalg.cho_factor(normal + jnp.diag(damping * scale))
        return (value - jax.scipy.linalg.cho_solve(factor, gradient), damping, best), cost

    # The first evaluation, of the start itself, is taken as it is and counts as no step.
    unknown = jnp.zeros((start.size, start.size), start.dtype)
    nothing = start, jnp.asarray(jnp.inf, start.dtype), unknown, jnp.zeros_like(start)
    begin = start, jnp.asarray(4.0 * damping, start.dtype), nothing
    (_, _, best), history = jax.lax.scan(step, begin, length=steps + 1)
    return LeastSquares(best[0], best[1], history[1:])


class Solution(NamedTuple):
    """What `minimise` found: the best iterate, with its own energy and terms."""

    value: Any
    energy: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    """Unweighted."""
    history: Float[Array, "steps"]
    """The energy at each iterate."""


def adam(rates: Callable[[Int[Array, ""]], Any]) -> optax.GradientTransformation:
    """Adam with a rate for each part of what moves: `rates(step)` is a tree of its structure.

    `optax.partition` of several Adams does the same with a state for each of them, and takes longer to compile.
    """

    def scaled(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda rate, update: -rate * update, rates(state), updates), state + 1

    by_rates = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), scaled)
    return optax.chain(optax.scale_by_adam(), by_rates)


class Search(NamedTuple):
    """Where an optimizer is, and the best it has seen; `advance` carries it on."""

    state: Any
    optimizer_state: Any
    best: tuple[Any, Float[Array, ""], Any]
    """The iterate, its energy, its terms; an infinite energy, and zeros, before the first that is no NaN."""
    last: Any
    """The terms of the iterate before, zero before the first."""


Energy = Callable[[Any], tuple[Float[Array, ""], Any]]
"""`energy(state) -> (scalar, unweighted terms)`."""


@checked
def minimise(energy: Energy, optimizer: optax.GradientTransformation, start: Any, steps: int) -> Solution:
    """`steps` iterates of any optax optimizer on `energy(state) -> (scalar, terms)`; the best one is kept.

    An iterate whose energy is NaN is never the best; if all are, the start is returned with an infinite energy and
    terms of NaN.
    """
    check_count("minimise: steps", steps)
    search, (history, _) = advance(energy, optimizer, begin(energy, optimizer, start), steps)
    value, least, terms = search.best
    return Solution(value, least, nan_where_lost(least, terms), history)


def nan_where_lost(energy: Float[Array, ""], evaluated: Any) -> Any:
    """What came with a search's best energy, with NaN for its floats where it never had one."""

    def marked(x: Array) -> Array:
        # As numpy's: a NaN of JAX's own would end a program that looks for them, though nothing is lost.
        return (
            jnp.where(energy < jnp.inf, x, np.asarray(np.nan, x.dtype)) if jnp.isdtype(x.dtype, "real floating") else x
        )

    return jax.tree.map(marked, evaluated)


def begin(energy: Energy, optimizer: optax.GradientTransformation, start: Any) -> Search:
    """A search at its start, where nothing has been evaluated yet."""
    if wrong := [leaf for leaf in jax.tree.leaves(start) if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]:
        raise ArgumentError(f"start: expected floats, got {jnp.result_type(wrong[0])}: convert it")
    found = jax.eval_shape(energy, start)
    if not isinstance(found, tuple) or len(found) != 2 or jnp.shape(found[0]) != ():
        came = jax.tree.map(jnp.shape, found)
        raise ArgumentError(
            f"energy: expected (scalar, terms), got arrays of shapes {came}: sum its terms and return both"
        )
    value, terms = found
    unknown = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), terms)
    nothing = (start, jnp.full(value.shape, jnp.inf, value.dtype), unknown)
    return Search(start, optimizer.init(start), nothing, unknown)


def advance(
    energy: Energy,
    optimizer: optax.GradientTransformation,
    search: Search,
    steps: int,
    record: Callable[[Any], Any] = lambda terms: (),
) -> tuple[Search, tuple[Float[Array, "{steps}"], Any]]:
    """The search after `steps` more iterates, the energy at each of them, and what `record` keeps of its terms."""
    optimizer = optax.with_extra_args_support(optimizer)
    value_and_gradient = jax.value_and_grad(energy, has_aux=True)

    def step(search: Search, _: None) -> tuple[Search, tuple[Float[Array, ""], Any]]:
        state, optimizer_state, best, _ = search
        (value, terms), gradient = value_and_gradient(state)
        better = value < best[1]
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (state, value, terms), best)
        updates, optimizer_state = optimizer.update(
            gradient, optimizer_state, state, value=value, grad=gradient, value_fn=lambda x: energy(x)[0]
        )
        return Search(optax.apply_updates(state, updates), optimizer_state, best, terms), (value, record(terms))

    return jax.lax.scan(step, search, length=steps)
