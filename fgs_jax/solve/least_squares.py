"""Levenberg-Marquardt, for energies that are sums of squares. Pure and unbatched."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
