"""BFGS of the package optimistix, step by step, so that each step is one evaluation and is recorded."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.errors import ConfigError
from fgs_jax.solve.minimise import Energy, Solution

RELATIVE, ABSOLUTE = 1e-8, 1e-12
"""Tolerances. Small: every search takes all of its steps."""


def bfgs(energy: Energy, start: Any, steps: int) -> Solution:
    """optimistix's BFGS with backtracking, one evaluation a step; it needs no rates.

    Raises ConfigError where optimistix is not installed.
    """
    if find_spec("optimistix") is None:
        raise ConfigError('solver: bfgs needs optimistix, which is not installed: pip install "fgs-jax[solvers]"')
    import optimistix  # noqa: PLC0415

    value, least, history = stepped(optimistix.BFGS(rtol=RELATIVE, atol=ABSOLUTE), lambda x: energy(x)[0], start, steps)
    return Solution(value, least, energy(value)[1], history)


def stepped(
    method: Any, objective: Callable[[Any], Array], start: Any, steps: int
) -> tuple[Any, Float[Array, ""], Float[Array, "steps"]]:
    """The best place that `steps` steps of an optimistix solver accept, its energy, and the energy after each step.

    `objective`: a scalar, or the residuals where the method is one of least squares; half of their squares' sum is then
    the energy.
    """
    import equinox  # noqa: PLC0415

    def asked(x: Any, _: None) -> tuple[Array, Array]:
        found = objective(x)
        return found, found if found.ndim == 0 else 0.5 * jnp.sum(found**2)

    out, energy = jax.eval_shape(asked, start, None)
    state = method.init(asked, start, None, {}, out, energy, frozenset())
    arrays, fixed = equinox.partition(state, equinox.is_array)  # a least-squares state holds a program too

    def step(carry: Any, _: None) -> tuple[Any, Array]:
        y, arrays, best, least = carry
        state = equinox.combine(arrays, fixed)
        y, state, _ = method.step(asked, y, None, {}, state, frozenset())
        value = state.f_info.as_min()  # at y, which is the last accepted place
        arrays = equinox.filter(state, equinox.is_array)
        best, least = jax.tree.map(lambda new, old: jnp.where(value < least, new, old), (y, value), (best, least))
        return (y, arrays, best, least), value

    carry = start, arrays, start, jnp.full((), jnp.inf, energy.dtype)
    (_, _, best, least), history = jax.lax.scan(step, carry, length=steps)
    return best, least, history
