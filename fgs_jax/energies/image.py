"""Energies of the picture: L_dist, L_dep and L_cam for the object (Eq. 8-10), E_keypoint and E_order for the hand."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.checks import checked
from fgs_jax.picture.camera import Z_NEAR

KEYPOINT_NOISE = 0.03
"""Standard deviation of 2D keypoints, as a share of the hand's size in the picture."""


@checked
def L_dist(points_off_mask: Float[Array, "2 n"], targets_off_points: Float[Array, "2 m"]) -> Float[Array, ""]:
    """Eq. 8, as printed: sums of squares, in pixels squared.

    `points_off_mask`: from the nearest mask pixel to each projected point, 0 within the mask. `targets_off_points`:
    from the nearest projected point to each mask pixel.
    """
    return jnp.sum(points_off_mask**2) + jnp.sum(targets_off_points**2)


@checked
def L_dep(depth: Float[Array, "n"], hand_depth: Float[Array, "n"]) -> Float[Array, ""]:
    """Eq. 9 for a camera that looks along +z: sum of relu(D_r - z), metres, over points seen through the hand's pixels.

    `hand_depth` is D_r at each point's pixel and 0 where I(x) = 0. There the picture shows the hand before the object.
    """
    return jnp.sum(jax.nn.relu(hand_depth - depth))


@checked
def L_cam(depth: Float[Array, "n"]) -> Float[Array, ""]:
    """Eq. 10 for a camera that looks along +z: mean of relu(z_near - z), metres."""
    return jnp.mean(jax.nn.relu(Z_NEAR - depth))


class Order(NamedTuple):
    """What the picture says about the depth of hand vertices."""

    front: Float[Array, "v"]
    """Depth of the object's front where a vertex is seen before the object, metres; 0 elsewhere."""
    back: Float[Array, "v"]
    """Depth where what hides a vertex ends, if the object does; 0 elsewhere."""


@checked
def E_keypoint(
    pixels: Float[Array, "k 2"],
    seen: Float[Array, "k 2"],
    confidence: Float[Array, "k"] | None = None,
    size: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Mean squared distance of projected keypoints to those seen, over the hand's squared `size` in pixels.

    The mean is over all keypoints, each times its confidence, so that few or weak ones say little. Beyond 3
    `KEYPOINT_NOISE` a distance counts in its first power (Huber), so that one keypoint elsewhere does not draw the
    hand. `size`: the longer side of the box of the keypoints that are seen unless given.
    """
    weight = jnp.ones(pixels.shape[0]) if confidence is None else confidence
    used = weight[:, None] > 0
    if size is None:
        low, high = (
            jnp.min(jnp.where(used, seen, jnp.inf), axis=0),
            jnp.max(jnp.where(used, seen, -jnp.inf), axis=0),
        )
        size = jnp.where(jnp.any(used), jnp.max(high - low), 1.0)
    offset = jnp.where(used, pixels - seen, 0.0) / jnp.maximum(size, 1.0)
    squared, bend = jnp.sum(offset**2, axis=1), 3.0 * KEYPOINT_NOISE
    far = squared > bend**2
    robust = jnp.where(far, bend * (2.0 * jnp.sqrt(jnp.where(far, squared, 1.0)) - bend), squared)
    return jnp.sum(weight * robust) / pixels.shape[0]


@checked
def E_order(depth: Float[Array, "v"], order: Order, counted_as: int | None = None) -> Float[Array, ""]:
    """The order in depth that the picture shows: L_dep (Eq. 9) for the hand's vertices, metres.

    The sum of how far behind the object's front those are that are seen before it, and of how far before its back those
    that it hides. `counted_as`: the sum is scaled to so many vertices, as in `E_pen`.
    """
    behind = jnp.where(order.front > 0, jax.nn.relu(depth - order.front), 0.0)
    wrong = jnp.sum(behind + jnp.where(order.back > 0, jax.nn.relu(order.back - depth), 0.0))
    return wrong if counted_as is None else wrong * (counted_as / len(depth))
