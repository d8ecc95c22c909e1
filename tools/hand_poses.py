"""Bending a hand: skinning two ways, random poses, and the pose correctives that bring one skinning to the other.

Shape letters: `n` samples or poses, `v` vertices. Metres and radians unless said otherwise.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.hands.anatomy import FINGER_JOINTS, FINGERS, PARENTS

# Poses are drawn from ranges of motion, not from recordings. Angles in this table are degrees.
FINGER_BENDS = ((85, 0.12, -0.2, 1.05), (100, 0.15, -0.03, 1.03), (65, 0.1, -0.08, 1.05))
"""Per joint of a finger: bend when the finger is closed; of how far it is closed: own deviation, least, greatest."""
CLOSED_SPREAD = {"index": -2, "middle": 4, "ring": 7, "pinky": 17}
"""The turn about the dorsal axis that brings closed fingers side by side."""
THUMB_OPPOSITION = np.array([55, -18, 6])
"""The turn of joint thumb1 about x, y and z that takes the thumb from beside the palm to across it."""
FLEXED_BENDS, FLEXED_SPREAD = (80, 100, 60), {"index": -4, "middle": 6, "ring": 9, "pinky": 25}
"""Four closed fingers side by side, as a shape for the smaller mesh to keep."""
RIDGE = 2e-2
"""Keeps the correctives small where the drawn poses hardly move a joint."""


def apply(maps: Float[ndarray, "*#n 3 3"], vectors: Float[ndarray, "*#n 3"]) -> Float[ndarray, "*n 3"]:
    """Matrix times vector; leading axes broadcast."""
    return (maps @ vectors[..., None])[..., 0]


def skin(
    vertices: Float[ndarray, "*#n v 3"],
    weights: Float[ndarray, "v 16"],
    maps: Float[ndarray, "n 16 3 3"],
    joints: Float[ndarray, "*#n 16 3"],
    moved: Float[ndarray, "n 16 3"],
) -> Float[ndarray, "n v 3"]:
    """Linear blend skinning: joint j takes a point p to maps_j (p - joints_j) + moved_j."""
    blended = np.einsum("vj,njab->nvab", weights, maps, optimize=True)
    return apply(blended, vertices) + weights @ (moved - apply(maps, joints))


def skin_dual_quaternions(
    vertices: Float[ndarray, "v 3"],
    weights: Float[ndarray, "v 16"],
    turned: Float[ndarray, "n 16 3 3"],
    joints: Float[ndarray, "16 3"],
    moved: Float[ndarray, "n 16 3"],
) -> Float[ndarray, "n v 3"]:
    """The same for rotations, by dual quaternions (Kavan et al. 2007), which keep the volume of a bent joint."""
    real = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_quat().reshape(-1, 16, 4)  # x, y, z, w
    for joint, parent in enumerate(PARENTS[1:], start=1):  # q and -q are one rotation, but blend differently
        real[:, joint] *= np.where((real[:, joint] * real[:, parent]).sum(axis=-1, keepdims=True) < 0, -1, 1)
    vector, scalar = real[..., :3], real[..., 3:]
    shift = moved - apply(turned, joints)
    dual_vector = (scalar * shift + np.cross(shift, vector)) / 2
    dual_scalar = -(shift * vector).sum(axis=-1, keepdims=True) / 2

    size = np.linalg.norm(weights @ real, axis=-1, keepdims=True)
    vector, scalar, dual_vector, dual_scalar = (
        weights @ part / size for part in (vector, scalar, dual_vector, dual_scalar)
    )
    shift = 2 * (scalar * dual_vector - dual_scalar * vector + np.cross(vector, dual_vector))
    across = 2 * np.cross(vector, vertices)
    return vertices + scalar * across + np.cross(vector, across) + shift


def pose_joints(
    pose: Float[ndarray, "n 15 3"], joints: Float[ndarray, "16 3"]
) -> tuple[Float[ndarray, "n 15 3 3"], Float[ndarray, "n 16 3 3"], Float[ndarray, "n 16 3"]]:
    """Rotations against the parents, rotations against the rest, and where the joints go; the wrist stays."""
    local = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(-1, 15, 3, 3)
    turned, moved = np.tile(np.eye(3), (len(pose), 16, 1, 1)), np.tile(joints, (len(pose), 1, 1))
    for joint, parent in enumerate(PARENTS[1:], start=1):
        turned[:, joint] = turned[:, parent] @ local[:, joint - 1]
        moved[:, joint] = moved[:, parent] + turned[:, parent] @ (joints[joint] - joints[parent])
    return local, turned, moved


def bend_hand(
    vertices: Float[ndarray, "v 3"],
    weights: Float[ndarray, "v 16"],
    correctives: Float[ndarray, "v 3 135"],
    joints: Float[ndarray, "16 3"],
    pose: Float[ndarray, "n 15 3"],
) -> Float[ndarray, "n v 3"]:
    """The hand in each pose: correctives, then linear blend skinning, as MANO does it."""
    local, turned, moved = pose_joints(pose, joints)
    features = (local - np.eye(3)).reshape(len(pose), -1)
    return skin(vertices + np.moveaxis(correctives @ features.T, -1, 0), weights, turned, joints, moved)


def about(axis: Float[ndarray, "3"], angles: Float[ndarray, "n"]) -> Rotation:
    """Rotations about an axis."""
    return Rotation.from_rotvec(np.multiply.outer(angles, axis))


def sample_poses(
    rng: np.random.Generator, frames: Float[ndarray, "15 3 3"], count: int
) -> Float[ndarray, "{count} 15 3"]:
    """Random poses, axis-angle: four fingers that close together, each in its own way, and a thumb that opposes.

    `frames` are the bone frames of the hand at rest (`fgs_jax.hands.anatomy.bone_frames`).
    """
    draws = [
        (rng.beta(1.2, 1.6), rng.standard_normal((4, 9)), rng.beta(1.5, 1.5), rng.standard_normal(7))
        for _ in range(count)
    ]
    closing, finger_noise, opposition, thumb_noise = (np.array(column) for column in zip(*draws, strict=True))
    poses = np.zeros((count, 15, 3))
    for (finger, spread), noise in zip(CLOSED_SPREAD.items(), np.moveaxis(finger_noise, 0, -1), strict=True):
        closed = np.clip(closing + 0.22 * noise[0], -0.12, 1.05)
        bends, follows = [], closed
        for i, (degrees, deviation, least, greatest) in enumerate(FINGER_BENDS):
            share = np.clip(follows + deviation * noise[1 + i], least, greatest)
            bends.append(np.deg2rad(degrees) * share)
            follows = 0.9 * share if i == 1 else closed  # one tendon bends the last joint with the middle one
        aside = np.deg2rad((spread + 5 * noise[4]) * (0.35 + 0.65 * closed) + 3 * noise[5])
        twists = np.deg2rad(noise[6:] * [[4], [2], [2]])
        for i, joint in enumerate(FINGER_JOINTS[FINGERS.index(finger)]):
            bone, dorsal, flexion = frames[joint - 1]
            rotation = about(flexion, bends[i]) * about(bone, twists[i])
            if i == 0:
                rotation = about(dorsal, aside) * rotation
            poses[:, joint - 1] = rotation.as_rotvec()

    noise = thumb_noise.T
    opposed = np.clip(opposition + 0.1 * noise[0], -0.1, 1.1)
    poses[:, 12] = np.deg2rad(np.multiply.outer(opposed, THUMB_OPPOSITION) + noise[1:4].T * [8, 8, 7])
    bend = np.clip(np.deg2rad(12 + 18 * noise[4]), -0.3, 1.0)
    poses[:, 13] = (about(frames[13, 2], bend) * about(frames[13, 1], np.deg2rad(5 * noise[5]))).as_rotvec()
    poses[:, 14] = about(frames[14, 2], np.clip(np.deg2rad(22 + 24 * noise[6]), -0.35, 1.35)).as_rotvec()
    return poses


def flexed_pose(frames: Float[ndarray, "15 3 3"], closed: Float[ndarray, "n"]) -> Float[ndarray, "n 15 3"]:
    """The four fingers closed by a share, side by side; the thumb at rest."""
    poses = np.zeros((len(closed), 15, 3))
    for finger, spread in FLEXED_SPREAD.items():
        for i, joint in enumerate(FINGER_JOINTS[FINGERS.index(finger)]):
            _, dorsal, flexion = frames[joint - 1]
            aside = np.full(len(closed), np.deg2rad(spread if i == 0 else 0))
            poses[:, joint - 1] = (
                about(dorsal, aside) * about(flexion, np.deg2rad(FLEXED_BENDS[i]) * closed)
            ).as_rotvec()
    return poses


def bending_joints(weights: Float[ndarray, "v 16"]) -> Bool[ndarray, "v 15"]:
    """Which of joints 1 to 15 bend the skin at a vertex: those that share it with their parent or a child."""
    linked = np.zeros((16, 16), dtype=bool)
    linked[PARENTS[1:], range(1, 16)] = linked[range(1, 16), PARENTS[1:]] = True
    bound = weights > 1e-3
    return (bound & (bound @ linked))[:, 1:]


def fit_correctives(
    vertices: Float[ndarray, "v 3"],
    weights: Float[ndarray, "v 16"],
    joints: Float[ndarray, "16 3"],
    poses: Float[ndarray, "n 15 3"],
) -> Float[ndarray, "v 3 135"]:
    """Correctives with which linear skinning follows dual quaternion skinning over the poses (ridge regression).

    They act as MANO's do: linear in the rotations less the identity, before skinning. Those of a vertex depend only on
    the joints that bend its skin.
    """
    local, turned, moved = pose_joints(poses, joints)
    features = (local - np.eye(3)).reshape(len(poses), -1)
    missing = skin_dual_quaternions(vertices, weights, turned, joints, moved)
    missing = missing - skin(vertices, weights, turned, joints, moved)
    blended = np.einsum("vj,njab->nvab", weights, turned, optimize=True)
    before_skinning = np.linalg.solve(blended, missing[..., None])[..., 0]
    correctives = np.zeros((len(vertices), 3, features.shape[1]))
    groups, group_of = np.unique(bending_joints(weights), axis=0, return_inverse=True)
    for group, joints_in_group in enumerate(groups):
        columns, members = np.flatnonzero(np.repeat(joints_in_group, 9)), np.flatnonzero(group_of == group)
        inputs, outputs = features[:, columns], before_skinning[:, members].reshape(len(poses), -1)
        fitted = np.linalg.solve(inputs.T @ inputs + RIDGE * np.eye(len(columns)), inputs.T @ outputs)
        correctives[np.ix_(members, np.arange(3), columns)] = fitted.T.reshape(len(members), 3, len(columns))
    return correctives
