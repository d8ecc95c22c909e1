"""Energies of the hand's pose (Eq. 12): natural (E_prior), no finger within another (E_spen), as it was seen (E_h)."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from fgs_jax.checks import checked
from fgs_jax.errors import ArgumentError

LEAST_KEYPOINT_DISTANCE = 0.018
"""Metres between keypoints of different fingers of a hand of scale 1."""


@checked
def E_prior(
    angles: Float[Array, "*n"],
    mean: Float[Array, "*n"],
    std: Float[Array, "*n"],
    limited: Float[Array, "*m"] | None = None,
    limits: Float[Array, "*m 2"] | None = None,
) -> Float[Array, ""]:
    """Eq. 12, natural poses: the norm of (angles - mean) / std, plus the radians of `limited` beyond `limits`.

    Raises ArgumentError where only one of the two is given.
    """
    natural = optax.safe_norm(((angles - mean) / std).ravel(), 1e-6)
    if limited is None or limits is None:
        if limited is not limits:
            raise ArgumentError("E_prior: expected limited and limits, or neither, got one of them: pass the other")
        return natural
    return natural + jnp.sum(jax.nn.relu(limits[..., 0] - limited) + jax.nn.relu(limited - limits[..., 1]))


@checked
def E_spen(
    keypoints: Float[Array, "k 3"],
    finger: Int[Array, "k"],
    least: float | Float[Array, ""] = LEAST_KEYPOINT_DISTANCE,
) -> Float[Array, ""]:
    """Eq. 12, self-penetration: the sum over pairs of keypoints of different fingers of relu(least - distance), metres.

    `finger`: which finger a keypoint is of; a negative one takes no part. `least`: metres; it is as large as the hand.
    """
    squared = sum((x[:, None] - x[None]) ** 2 for x in keypoints.T)
    distance = jnp.sqrt(jnp.maximum(squared, 1e-12))
    first, second = finger[:, None], finger[None]
    apart = (first < second) & (first >= 0)  # each pair once, and none of one finger
    return jnp.sum(jnp.where(apart, jax.nn.relu(least - distance), 0.0))


@checked
def E_h(
    pose: Float[Array, "*n"],
    given_pose: Float[Array, "*n"],
    translation: Float[Array, "3"],
    given_translation: Float[Array, "3"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The hand stays as it was seen: |theta - theta_hamer|^2 in radians^2, |t - t_hamer|^2 in metres^2."""
    return jnp.sum((pose - given_pose) ** 2), jnp.sum((translation - given_translation) ** 2)
