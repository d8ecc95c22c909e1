"""Solvers: functions from a problem to its solution, pure and unbatched."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class LeastSquares(NamedTuple):
    """What `least_squares` found."""

    value: Float[Array, "p"]
    cost: Float[Array, ""]
    """Half the sum of squared residuals at `value`."""
    history: Float[Array, "steps"]
    """The cost after each step; it never rises."""


def least_squares(
    residuals: Callable[[Float[Array, "p"]], Float[Array, "r"]],
    start: Float[Array, "p"],
    steps: int,
    damping: float = 1.0,
) -> LeastSquares:
    """Levenberg-Marquardt with Marquardt's scaling: `steps` damped steps, of which those are kept that lower the cost.

    For few unknowns and any number of residuals: the Jacobian is taken forward, one pass for each unknown. A step to
    residuals that are not finite is refused.
    """

    def step(state, _):
        value, cost, damping = state
        residual = residuals(value)
        jacobian = jax.jacfwd(residuals)(value)
        normal = jnp.matmul(jacobian.T, jacobian, precision="highest")
        gradient = jnp.matmul(jacobian.T, residual, precision="highest")
        scale = jnp.diagonal(normal) + 1e-6
        factor = jax.scipy.linalg.cho_factor(normal + jnp.diag(damping * scale))
        proposal = value - jax.scipy.linalg.cho_solve(factor, gradient)
        new_cost = 0.5 * jnp.sum(residuals(proposal) ** 2)
        better = new_cost < cost
        value = jnp.where(better, proposal, value)
        cost = jnp.where(better, new_cost, cost)
        damping = jnp.clip(jnp.where(better, damping / 4.0, damping * 4.0), 1e-7, 1e7)
        return (value, cost, damping), cost

    cost = 0.5 * jnp.sum(residuals(start) ** 2)
    (value, cost, _), history = jax.lax.scan(step, (start, cost, jnp.asarray(damping, start.dtype)), length=steps)
    return LeastSquares(value, cost, history)
