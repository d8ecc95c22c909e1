"""Energies of the picture: E_keypoint and E_order, for the hand."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.checks import checked


class Order(NamedTuple):
    """What the picture says about the depth of hand vertices."""

    front: Float[Array, "v"]
    """Depth of the object's front where a vertex is seen before the object, metres; 0 elsewhere."""
    back: Float[Array, "v"]
    """Depth of the object's back where a vertex is hidden by the object; 0 elsewhere."""


@checked
def E_keypoint(
    pixels: Float[Array, "k 2"], seen: Float[Array, "k 2"], confidence: Float[Array, "k"] | None = None
) -> Float[Array, ""]:
    """Mean squared distance of projected keypoints to those seen, over the squared longer side of their box.

    Keypoints without confidence count neither in the mean nor in the box; without any the term is zero.
    """
    weight = jnp.ones(pixels.shape[0]) if confidence is None else confidence
    used = weight[:, None] > 0
    low, high = (
        jnp.min(jnp.where(used, seen, jnp.inf), axis=0),
        jnp.max(jnp.where(used, seen, -jnp.inf), axis=0),
    )
    side = jnp.where(jnp.any(used), jnp.max(high - low), 1.0)
    squared = jnp.sum(jnp.where(used, pixels - seen, 0.0) ** 2, axis=1)
    return jnp.sum(weight * squared) / jnp.maximum(jnp.sum(weight), 1e-6) / jnp.maximum(side, 1.0) ** 2


@checked
def E_order(depth: Float[Array, "v"], order: Order, counted_as: int | None = None) -> Float[Array, ""]:
    """The order in depth that the picture shows: L_dep (Eq. 9) for the hand's vertices, metres.

    The sum of how far behind the object's front those are that are seen before it, and of how far before its back those
    that it hides. `counted_as`: the sum is scaled to so many vertices, as in `E_pen`.
    """
    behind = jnp.where(order.front > 0, jax.nn.relu(depth - order.front), 0.0)
    wrong = jnp.sum(behind + jnp.where(order.back > 0, jax.nn.relu(order.back - depth), 0.0))
    return wrong if counted_as is None else wrong * (counted_as / len(depth))
