"""Hands in natural poses, skeletons of other proportions than a model's, and whether a fit to them is a hand."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray

from fgs_jax.hands.mano import hand, hand_keypoints, joint_angles, pose_from_joint_angles
from fgs_jax.types import HandModel, HandParams

OTHER = 0.12
"""Share by which the lengths of other skeletons differ from the model's."""
SLIVER = 0.001
"""Metres. A lower face turns over with nothing inside out; so does one that its pose crushes to half its height."""
_STARTS = np.array([0 if k % 4 == 1 else k - 1 for k in range(1, 21)])
"""Keypoints that bones 1 to 20 start from; they end at their own."""


class ShapeReport(NamedTuple):
    """Of each of `n` hands, against the model's mean hand in the same pose, place and scale."""

    beta: Float[ndarray, "n"]
    """The greatest absolute one, standard deviations."""
    volume: Float[ndarray, "n"]
    """Over that of the mean hand at this `scale`."""
    volume_of_size: Float[ndarray, "n"]
    """Over that of the mean hand whose joints and tips at rest are spread as far."""
    turned_faces: Int[ndarray, "n"]
    """Whose normal is turned by more than 90 degrees; slivers and faces that the pose crushes are left out."""


def shape_report(model: HandModel, params: HandParams) -> ShapeReport:
    """What is to be asked of fitted hands: betas, volume and faces turned inside out. `params` of `n` hands, stacked.

    Against the mean hand in the same pose, so that what the pose itself crushes is no fault of the shape.
    """
    mean = replace(params, betas=jnp.zeros_like(params.betas))
    vertices, mean_vertices = (np.asarray(_vertices(model, x), float) for x in (params, mean))
    faces = np.asarray(model.faces)
    normals, mean_normals = (_normals(x, faces) for x in (vertices, mean_vertices))
    rest = np.asarray(model.v_template, float)[None] * np.reshape(np.asarray(params.scale), (-1, 1, 1))
    shown, whole = _heights(mean_vertices, faces), _heights(rest, faces)
    turned = ((normals * mean_normals).sum(axis=-1) < 0) & (np.minimum(shown, whole) > SLIVER) & (shown > whole / 2)
    closed = np.concatenate([faces, np.asarray(model.cap_faces)])
    volume = _volumes(vertices, closed) / _volumes(mean_vertices, closed)
    size = np.asarray(_spread_at_rest(model, params.betas) / _spread_at_rest(model, mean.betas), float)
    return ShapeReport(np.abs(params.betas).max(axis=1), volume, volume / size**3, turned.sum(axis=1))


def natural_hands(model: HandModel, rng: np.random.Generator, count: int) -> HandParams:
    """`count` random hands: poses drawn from the model's components, then brought within the joints' limits."""
    components, betas = model.pose_components.shape[0], model.joint_shapedirs.shape[-1]
    spread = np.asarray(model.pose_components) * np.asarray(model.pose_component_std)[:, None]
    poses = np.asarray(model.pose_mean) + (rng.normal(size=(count, components)) @ spread).reshape(count, 15, 3)
    translation = rng.normal(size=(count, 3)) * 0.05 + np.array([0.0, 0.0, 0.7])
    return HandParams(
        betas=jnp.asarray(rng.normal(size=(count, betas)), jnp.float32),
        pose=_within_limits(model, jnp.asarray(poses, jnp.float32)),
        rotation=jnp.asarray(rng.normal(size=(count, 3)) * 1.5, jnp.float32),
        translation=jnp.asarray(translation, jnp.float32),
        scale=jnp.ones(count),
    )


def other_bones(model: HandModel, rng: np.random.Generator, count: int) -> Float[ndarray, "n 21 3"]:
    """Keypoints of natural hands, each of whose 20 bones is longer or shorter by itself: times N(1, 0.12)."""
    return _with_bones(_mean_keypoints(model, rng, count), 1 + OTHER * rng.normal(size=(count, 20)), np.ones(count))


def other_fingers(model: HandModel, rng: np.random.Generator, count: int) -> Float[ndarray, "n 21 3"]:
    """Keypoints of natural hands, each finger 12 % longer or shorter, and the palm 12 % wider or narrower."""
    factors = 1 + OTHER * rng.choice([-1.0, 1.0], size=(count, 6))
    lengths = np.repeat(factors[:, :5], 4, axis=1)
    lengths[:, ::4] = 1.0
    return _with_bones(_mean_keypoints(model, rng, count), lengths, factors[:, 5])


def _mean_keypoints(model: HandModel, rng: np.random.Generator, count: int) -> Float[ndarray, "n 21 3"]:
    hands = natural_hands(model, rng, count)
    return np.asarray(_keypoints(model, replace(hands, betas=jnp.zeros_like(hands.betas))), float)


def _with_bones(
    keypoints: Float[ndarray, "n 21 3"], lengths: Float[ndarray, "n 20"], width: Float[ndarray, "n"]
) -> Float[ndarray, "n 21 3"]:
    """The directions of bones stay, but for those of the palm where its width changes."""
    bones = lengths[:, :, None] * (keypoints[:, 1:] - keypoints[:, _STARTS])
    across = keypoints[:, 5] - keypoints[:, 17]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    palm = bones[:, ::4]
    bones[:, ::4] = palm + (width - 1)[:, None, None] * (palm @ across[:, :, None]) * across[:, None]
    ends = np.cumsum(bones.reshape(-1, 5, 4, 3), axis=2).reshape(-1, 20, 3)
    return np.concatenate([keypoints[:, :1], keypoints[:, :1] + ends], axis=1)


_keypoints = jax.jit(jax.vmap(hand_keypoints, (None, 0)))


@jax.jit
def _vertices(model: HandModel, params: HandParams) -> Float[Array, "n v 3"]:
    return jax.vmap(lambda params: hand(model, params).vertices)(params)


@jax.jit
def _spread_at_rest(model: HandModel, betas: Float[Array, "n b"]) -> Float[Array, "n"]:
    """Of joints and fingertips, metres."""
    keypoints = jax.vmap(lambda betas: hand_keypoints(model, HandParams(betas=betas)))(betas)
    return jnp.sqrt(jnp.var(keypoints, axis=1).sum(axis=1))


@jax.jit
def _within_limits(model: HandModel, poses: Float[Array, "n 15 3"]) -> Float[Array, "n 15 3 3"]:
    def within(pose: Float[Array, "15 3"]) -> Float[Array, "15 3 3"]:
        limits = model.joint_limits
        return pose_from_joint_angles(model, jnp.clip(joint_angles(model, pose), limits[..., 0], limits[..., 1]))

    return jax.vmap(within)(poses)


def _normals(vertices: Float[ndarray, "n v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "n f 3"]:
    """As long as twice the face's area."""
    a, b, c = (vertices[:, faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def _heights(vertices: Float[ndarray, "n v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "n f"]:
    """Above the longest edge."""
    edges = [np.linalg.norm(vertices[:, faces[:, k]] - vertices[:, faces[:, k - 1]], axis=-1) for k in range(3)]
    return np.linalg.norm(_normals(vertices, faces), axis=-1) / np.max(edges, axis=0)


def _volumes(vertices: Float[ndarray, "n v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "n"]:
    centred = vertices - vertices.mean(axis=1, keepdims=True)
    return np.einsum("nfa,nfa->n", centred[:, faces[:, 0]], _normals(centred, faces)) / 6
