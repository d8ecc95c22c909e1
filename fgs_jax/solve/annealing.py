"""Annealing with gradients, as DexGraspNet searches for grasps (Wang et al. 2023)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

FIRST_TEMPERATURE = 0.3
"""Of the start's energy. DexGraspNet: 18, of energies of its own scale."""
SMOOTHING = 0.02
"""Share that a running mean of squared gradients keeps at each step, as DexGraspNet has it."""


class Annealed(NamedTuple):
    """Where an annealing is: the place that was accepted last, and what is known there."""

    step: Int[Array, ""]
    place: Any
    value: Float[Array, ""]
    gradient: Any
    mean: Any
    """Of the squared gradients."""
    first: Float[Array, ""]
    """The start's energy."""


def annealing(
    rates: Callable[[Any], Any],
    cooling: Callable[[Any], Any] | None = None,
    key: Key[Array, ""] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Steps of `rates`, normalised as RMSProp does, each of which is taken back unless Metropolis accepts it.

    `cooling(step)`: the temperature over the first one; it falls as the rates do unless given. `key`: of the chances of
    acceptance, the same for every start unless given. DexGraspNet's new draws of contact points are left out.
    """
    key = jax.random.key(0) if key is None else key

    def temperature(step: Any) -> Any:
        if cooling is not None:
            return cooling(step)
        now, then = (jax.tree.leaves(rates(at))[0] for at in (step, jnp.zeros_like(step)))
        return now / then

    def init(params: Any) -> Annealed:
        zeros, kind = jax.tree.map(jnp.zeros_like, params), jnp.result_type(*jax.tree.leaves(params))
        unknown = jnp.full((), jnp.inf, kind)
        return Annealed(jnp.zeros((), jnp.int32), params, unknown, zeros, zeros, unknown)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Annealed]:
        value, step, before = extra["value"], state.step, jnp.maximum(state.step - 1, 0)
        first = jnp.where(step == 0, value, state.first)
        warmth = FIRST_TEMPERATURE * first * temperature(before) + 1e-12
        chance = jnp.exp(jnp.minimum((state.value - value) / warmth, 0.0))
        # The start is the first that is accepted: before it the energy is infinite.
        accepted = jax.random.uniform(jax.random.fold_in(key, before)) < chance
        place, kept, slope = jax.tree.map(
            lambda new, old: jnp.where(accepted, new, old),
            (params, value, updates),
            (state.place, state.value, state.gradient),
        )
        mean = jax.tree.map(lambda g, m: (1 - SMOOTHING) * g**2 + SMOOTHING * m, slope, state.mean)
        moves = jax.tree.map(
            lambda x, rate, g, m, at: x - rate * g / (jnp.sqrt(m) + 1e-6) - at, place, rates(step), slope, mean, params
        )
        return moves, Annealed(step + 1, place, kept, slope, mean, first)

    return optax.GradientTransformationExtraArgs(init, update)
