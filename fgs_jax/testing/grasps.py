"""Grasps made by code: a hand near an object, closed finger by finger until it touches.

Good enough to hide and be hidden as in a photo; neither free of penetration nor stable.
"""

from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jaxtyping import Array, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.hands.anatomy import BONES, FINGER_JOINTS, REGION_NAMES, unit
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand, joint_angles, pose_from_joint_angles
from fgs_jax.types import Hand, HandModel, HandParams

CANDIDATES = 24
"""Random grasps, the best of which is taken."""
SAMPLES = 8000
"""Points of the surface that stand for the object."""
GAP, FORWARD = (0.005, 0.03), (0.0, 0.04)
"""Between palm and object, and from the palm's middle towards the fingers, metres."""
COMPONENTS = 6
"""Pose components that are drawn."""
LEVELS = 10
"""Steps in which a hand closes."""
OPEN = np.deg2rad([[-15, -10, -10], *4 * [[-40, -40, -25]]])
"""Added to the bends of a natural pose; five fingers with three joints."""
SHUT = np.deg2rad([[35, 40, 40], *4 * [[50, 60, 50]]])
TOUCH, BONE_DEPTH = 0.001, 0.003
"""Metres between skin and object at which a finger stops; between bone and object, below which it is pierced."""
ONE_SIDED, PIERCED = 4.0, 0.5
"""Fingers that a grasp from one side alone costs, and a pierced point of a bone, eight of which lie along each."""


class SampledSurface(NamedTuple):
    """Points of a surface, roughly as good as the surface."""

    points: Float[ndarray, "s 3"]
    normals: Float[ndarray, "s 3"]
    tree: KDTree
    """Of the points."""

    @property
    def longest(self) -> Float[ndarray, "3"]:
        """The direction in which they spread most."""
        return np.linalg.svd(self.points - self.points.mean(axis=0), full_matrices=False)[2][0]

    def distances(self, points: ndarray) -> tuple[ndarray, ndarray]:
        """To the surface, metres, negative inside, and the normal where it is nearest."""
        length, nearest = self.tree.query(points)
        normals = self.normals[nearest]
        return length * np.sign(((points - self.points[nearest]) * normals).sum(axis=-1)), normals


def sampled_surface(
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], rng: np.random.Generator
) -> SampledSurface:
    """`SAMPLES` points of a mesh."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    samples, sampled = trimesh.sample.sample_surface(mesh, SAMPLES, seed=int(rng.integers(2**31)))[:2]
    samples = np.asarray(samples)
    return SampledSurface(samples, np.asarray(mesh.face_normals)[sampled], KDTree(samples))


@cache
def open_hand() -> HandModel:
    """The hand that ships with the package, read once."""
    return load_hand_model("open_hand")


def random_grasp(vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], rng: np.random.Generator) -> HandParams:
    """The open hand about an object, in the object's frame and metres: of random grasps the best.

    That is one with many fingers, from opposite sides, and with no bone in the object or through its wall. Pose and
    rotation are matrices.
    """
    model, surface = open_hand(), sampled_surface(vertices, faces, rng)
    samples, normals, _ = surface
    chosen = rng.integers(SAMPLES, size=CANDIDATES)
    flat = flat_hands(samples[chosen], normals[chosen], surface.longest, rng)
    angles = natural_angles(CANDIDATES, rng)
    levels = np.broadcast_to(np.linspace(0, 1, LEVELS)[:, None], (CANDIDATES, LEVELS, 5))
    # Every third vertex will do.
    skin, facing = surface.distances(
        np.asarray(posed_hands(model, bent_hands(model, flat, angles, levels)).vertices)[:, :, ::3]
    )
    owner = np.asarray(model.weights)[::3].argmax(axis=1)
    fingers = [np.where(np.isin(owner, joints), skin, np.inf) for joints in FINGER_JOINTS]
    touches = np.stack([finger.min(axis=-1) < TOUCH for finger in fingers], axis=-1)
    touching = np.any(touches, axis=1)
    stop = np.where(touching, np.argmax(touches, axis=1), rng.integers(LEVELS // 3, LEVELS, touching.shape))
    closed = bent_hands(model, flat, angles, levels[0, stop, 0][:, None])

    each, count = np.arange(CANDIDATES), touching.sum(axis=1)
    contacts = [np.argmin(finger[each, stop[:, k]], axis=-1) for k, finger in enumerate(fingers)]
    pushes = [touching[:, k, None] * facing[each, stop[:, k], contact] for k, contact in enumerate(contacts)]
    one_sided = np.linalg.norm(normals[chosen] + sum(pushes), axis=-1) / (1 + count)
    keypoints = np.asarray(posed_hands(model, closed).keypoints)[:, 0]
    start, end = (keypoints[:, BONES[:, k], None] for k in (0, 1))
    pierced = surface.distances(start + np.linspace(0.1, 0.8, 8)[:, None] * (end - start))[0] < BONE_DEPTH
    best = np.argmax(count - ONE_SIDED * one_sided - PIERCED * pierced.sum(axis=(1, 2)))
    return jax.tree.map(lambda leaf: leaf[best, 0], closed)


def flat_hands(
    points: Float[ndarray, "c 3"],
    normals: Float[ndarray, "c 3"],
    axis: Float[ndarray, "3"],
    rng: np.random.Generator,
    gap: tuple[float, float] = GAP,
) -> HandParams:
    """Flat hands whose palms face points of the surface, the fingers roughly across an axis.

    `gap`: between palm and object, least and greatest, metres.
    """
    model, count = open_hand(), len(points)
    fingers = unit(np.cross(normals, axis + 0.3 * rng.normal(size=(count, 3))))
    # At rest the fingers point along -x and the back of the hand along +y.
    rotations = np.stack([-fingers, normals, np.cross(-fingers, normals)], axis=2)
    betas = rng.normal(size=(count, 10))
    template, wrist_at_rest = np.asarray(model.v_template), np.asarray(model.joint_template[0])
    palm = template[np.asarray(model.regions) == REGION_NAMES.index("palm")].mean(axis=0) - wrist_at_rest
    wrist = wrist_at_rest + betas @ np.asarray(model.joint_shapedirs[0]).T
    away, forward = (rng.uniform(*limits, (count, 1)) for limits in (gap, FORWARD))
    target = points + away * normals - forward * fingers
    return HandParams(
        betas=jnp.asarray(betas),
        pose=jnp.zeros((count, 15, 3)),
        rotation=jnp.asarray(rotations),
        translation=jnp.asarray(target - np.einsum("cab,b->ca", rotations, palm) - wrist),
        scale=jnp.ones(count),
    )


def natural_angles(count: int, rng: np.random.Generator) -> Float[Array, "{count} 15 3"]:
    """Joint angles of random natural poses."""
    model = open_hand()
    directions = np.asarray(model.pose_components * model.pose_component_std[:, None])[:COMPONENTS]
    offsets = 0.7 * rng.normal(size=(count, COMPONENTS)) @ directions
    poses = np.asarray(model.pose_mean) + offsets.reshape(-1, 15, 3)
    return jax.vmap(partial(joint_angles, model))(jnp.asarray(poses))


@jax.jit
def bent_hands(
    model: HandModel, hands: HandParams, angles: Float[Array, "c 15 3"], levels: Float[Array, "c l 5"]
) -> HandParams:
    """The hands, (c, l) of them, with each finger closed by a share of the way from `OPEN` to `SHUT`."""
    limits = model.joint_limits

    def bent(params: HandParams, angles: Float[Array, "15 3"], level: Float[Array, "5"]) -> HandParams:
        angles = angles.at[np.array(FINGER_JOINTS) - 1, 2].add(OPEN + level[:, None] * (SHUT - OPEN))
        return replace(params, pose=pose_from_joint_angles(model, jnp.clip(angles, limits[..., 0], limits[..., 1])))

    return jax.vmap(jax.vmap(bent, (None, None, 0)))(hands, angles, levels)


@jax.jit
def posed_hands(model: HandModel, hands: HandParams) -> Hand:
    """The hands, (c, l) of them."""
    return jax.vmap(jax.vmap(partial(hand, model)))(hands)
