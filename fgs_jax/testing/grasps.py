"""Grasps made by code: a hand near an object, closed finger by finger until it touches.

Good enough to hide and be hidden as in a photo; neither free of penetration nor stable.
"""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jaxtyping import Array, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.hands.anatomy import FINGER_JOINTS, REGION_NAMES, unit
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
BONES = np.array([(0 if k % 4 == 1 else k - 1, k) for k in range(1, 21)])
"""Keypoints at the ends of each bone."""


@cache
def open_hand() -> HandModel:
    """The hand that ships with the package, read once."""
    return load_hand_model("open_hand")


def random_grasp(vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], rng: np.random.Generator) -> HandParams:
    """The open hand about an object, in the object's frame and metres: of random grasps the best.

    That is one with many fingers, from opposite sides, and with no bone in the object or through its wall. Pose and
    rotation are matrices.
    """
    model, mesh = open_hand(), trimesh.Trimesh(vertices, faces, process=False)
    samples, sampled = trimesh.sample.sample_surface(mesh, SAMPLES, seed=int(rng.integers(2**31)))[:2]
    samples, normals = np.asarray(samples), np.asarray(mesh.face_normals)[sampled]
    tree = KDTree(samples)

    def distances(points: ndarray) -> tuple[ndarray, ndarray]:
        """To the object, negative inside, and the normal where it is nearest."""
        length, nearest = tree.query(points)
        return length * np.sign(((points - samples[nearest]) * normals[nearest]).sum(axis=-1)), normals[nearest]

    chosen = rng.integers(SAMPLES, size=CANDIDATES)
    longest = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=False)[2][0]
    flat, angles = _flat_hands(samples[chosen], normals[chosen], longest, rng), _natural_angles(rng)
    levels = np.broadcast_to(np.linspace(0, 1, LEVELS)[:, None], (CANDIDATES, LEVELS, 5))
    # Every third vertex will do.
    skin, facing = distances(np.asarray(_posed(model, _bent(model, flat, angles, levels)).vertices)[:, :, ::3])
    owner = np.asarray(model.weights)[::3].argmax(axis=1)
    fingers = [np.where(np.isin(owner, joints), skin, np.inf) for joints in FINGER_JOINTS]
    touches = np.stack([finger.min(axis=-1) < TOUCH for finger in fingers], axis=-1)
    touching = np.any(touches, axis=1)
    stop = np.where(touching, np.argmax(touches, axis=1), rng.integers(LEVELS // 3, LEVELS, touching.shape))
    closed = _bent(model, flat, angles, levels[0, stop, 0][:, None])

    each, count = np.arange(CANDIDATES), touching.sum(axis=1)
    contacts = [np.argmin(finger[each, stop[:, k]], axis=-1) for k, finger in enumerate(fingers)]
    pushes = [touching[:, k, None] * facing[each, stop[:, k], contact] for k, contact in enumerate(contacts)]
    one_sided = np.linalg.norm(normals[chosen] + sum(pushes), axis=-1) / (1 + count)
    keypoints = np.asarray(_posed(model, closed).keypoints)[:, 0]
    start, end = (keypoints[:, BONES[:, k], None] for k in (0, 1))
    pierced = distances(start + np.linspace(0.1, 0.8, 8)[:, None] * (end - start))[0] < BONE_DEPTH
    best = np.argmax(count - ONE_SIDED * one_sided - PIERCED * pierced.sum(axis=(1, 2)))
    return jax.tree.map(lambda leaf: leaf[best, 0], closed)


def _flat_hands(
    points: Float[ndarray, "c 3"], normals: Float[ndarray, "c 3"], axis: Float[ndarray, "3"], rng: np.random.Generator
) -> HandParams:
    """Flat hands whose palms face points of the surface, the fingers roughly across an axis."""
    model, count = open_hand(), len(points)
    fingers = unit(np.cross(normals, axis + 0.3 * rng.normal(size=(count, 3))))
    # At rest the fingers point along -x and the back of the hand along +y.
    rotations = np.stack([-fingers, normals, np.cross(-fingers, normals)], axis=2)
    betas = rng.normal(size=(count, 10))
    template, wrist_at_rest = np.asarray(model.v_template), np.asarray(model.joint_template[0])
    palm = template[np.asarray(model.regions) == REGION_NAMES.index("palm")].mean(axis=0) - wrist_at_rest
    wrist = wrist_at_rest + betas @ np.asarray(model.joint_shapedirs[0]).T
    gap, forward = (rng.uniform(*limits, (count, 1)) for limits in (GAP, FORWARD))
    target = points + gap * normals - forward * fingers
    return HandParams(
        betas=jnp.asarray(betas),
        pose=jnp.zeros((count, 15, 3)),
        rotation=jnp.asarray(rotations),
        translation=jnp.asarray(target - np.einsum("cab,b->ca", rotations, palm) - wrist),
        scale=jnp.ones(count),
    )


def _natural_angles(rng: np.random.Generator) -> Float[Array, "c 15 3"]:
    model = open_hand()
    directions = np.asarray(model.pose_components * model.pose_component_std[:, None])[:COMPONENTS]
    offsets = 0.7 * rng.normal(size=(CANDIDATES, COMPONENTS)) @ directions
    poses = np.asarray(model.pose_mean) + offsets.reshape(-1, 15, 3)
    return jax.vmap(partial(joint_angles, model))(jnp.asarray(poses))


@jax.jit
def _bent(
    model: HandModel, hands: HandParams, angles: Float[Array, "c 15 3"], levels: Float[Array, "c l 5"]
) -> HandParams:
    """The hands, (c, l) of them, with each finger closed by a share of the way from `OPEN` to `SHUT`."""
    limits = model.joint_limits

    def bent(params: HandParams, angles: Float[Array, "15 3"], level: Float[Array, "5"]) -> HandParams:
        angles = angles.at[np.array(FINGER_JOINTS) - 1, 2].add(OPEN + level[:, None] * (SHUT - OPEN))
        return replace(params, pose=pose_from_joint_angles(model, jnp.clip(angles, limits[..., 0], limits[..., 1])))

    return jax.vmap(jax.vmap(bent, (None, None, 0)))(hands, angles, levels)


@jax.jit
def _posed(model: HandModel, hands: HandParams) -> Hand:
    return jax.vmap(jax.vmap(partial(hand, model)))(hands)
