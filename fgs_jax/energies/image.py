"""Energies of the picture: L_dist, L_dep and L_cam, for the object (Eq. 8-10)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.checks import checked
from fgs_jax.picture.camera import Z_NEAR


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
