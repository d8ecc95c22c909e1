"""Minimising: a search from one start by any optax transformation or by any function. Pure and unbatched."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from fgs_jax.checks import check_count, checked
from fgs_jax.errors import ArgumentError
from fgs_jax.extensions import called


class Solution(NamedTuple):
    """What `minimise` found, or a solver that is a function: the best iterate, with its own energy and terms."""

    value: Any
    energy: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    """Unweighted."""
    history: Float[Array, "steps"]
    """The energy at each iterate."""


class Search(NamedTuple):
    """Where a solver is, and the best it has seen; `advance` carries it on."""

    state: Any
    optimizer_state: Any
    """Of an optax transformation; () for a solver that is a function."""
    best: tuple[Any, Float[Array, ""], Any]
    """The iterate, its energy, its terms; an infinite energy, and zeros, before the first that is no NaN."""
    last: Any
    """The terms of the iterate before, zero before the first."""


Energy = Callable[[Any], tuple[Float[Array, ""], Any]]
"""`energy(state) -> (scalar, unweighted terms)`."""

Solver = optax.GradientTransformation | Callable[[Energy, Any, int], Solution]
"""An optax transformation, whose updates are added to what moves, or a function `(energy, start, steps) -> Solution`.
Such a function is traced; its `history` has `steps` energies, and its `terms` are those of its `value`."""


@checked
def minimise(energy: Energy, solver: Solver, start: Any, steps: int) -> Solution:
    """`steps` iterates of a solver on `energy(state) -> (scalar, terms)`; the best one is kept.

    An iterate whose energy is NaN is never the best; if all are, the start is returned with an infinite energy and
    terms of NaN.
    """
    check_count("minimise: steps", steps)
    search, (history, _) = advance(energy, solver, begin(energy, solver, start), steps)
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


def begin(energy: Energy, solver: Solver, start: Any) -> Search:
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
    memory = solver.init(start) if isinstance(solver, optax.GradientTransformation) else ()
    return Search(start, memory, nothing, unknown)


def advance(
    energy: Energy,
    solver: Solver,
    search: Search,
    steps: int,
    record: Callable[[Any], Any] = lambda terms: (),
) -> tuple[Search, tuple[Float[Array, "{steps}"], Any]]:
    """The search after `steps` more iterates, the energy at each of them, and what `record` keeps of its terms.

    A solver that is a function starts again from where it ended, and tells its best terms alone: these stand for those
    of each of its iterates.
    """
    if isinstance(solver, optax.GradientTransformation):
        return _advance_by_updates(energy, solver, search, steps, record)
    found = _like(called("solver", solver, energy, search.state, steps), search, steps)
    better = found.energy < search.best[1]
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), tuple(found[:3]), search.best)
    recorded = jax.tree.map(lambda x: jnp.broadcast_to(x, (steps, *jnp.shape(x))), record(found.terms))
    return Search(found.value, search.optimizer_state, best, found.terms), (found.history, recorded)


def _advance_by_updates(
    energy: Energy,
    optimizer: optax.GradientTransformation,
    search: Search,
    steps: int,
    record: Callable[[Any], Any],
) -> tuple[Search, tuple[Float[Array, "{steps}"], Any]]:
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


def _like(found: Any, search: Search, steps: int) -> Solution:
    """What a function has found, if it is a solution of this search. Raises ArgumentError where it is none."""

    def shapes(tree: Any) -> Any:
        return jax.tree.map(jnp.shape, tree)

    wanted = (*shapes(search.best), (steps,))
    if not isinstance(found, Solution) or shapes(tuple(found)) != wanted:
        came = shapes(tuple(found)) if isinstance(found, Solution) else type(found).__name__
        raise ArgumentError(
            f"solver: expected a Solution (value, energy, terms, history) of shapes {wanted}, got {came}: change what "
            "the function returns"
        )
    return found
