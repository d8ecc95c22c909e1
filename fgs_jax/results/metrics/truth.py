"""How near a hand on an object is to the true one: keypoints, size, contact, penetration, the object's pose.

As the rest of this folder: host side, numpy, float64, metres. A "pose" here is a 4x4 matrix T_camera_object, whose
upper left is a rotation, times the object's size where that was found too.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.errors import MeshError
from fgs_jax.hands.anatomy import BONES
from fgs_jax.objects.checks import no_type_check
from fgs_jax.results.metrics.contact import fingers_in_contact
from fgs_jax.results.metrics.penetration import depth_of
from fgs_jax.results.metrics.surface import Surface, signed_distances

TRUE_CONTACT = 0.004
"""Metres from the object within which skin touches it, for the truth and for what is compared with it."""

TRUTH_METRICS = {
    "camera_mm": "mean distance of the keypoints to the true ones in the camera's frame",
    "wrist_mm": "the same, once the wrists are laid on each other",
    "aligned_mm": "the same, after the best rotation, translation and scale (PA-MPJPE)",
    "object_mm": "the same, in the object's frame",
    "size_ratio": "length of all bones over the true one's",
    "finger_precision": "share of the touching fingers that touch in truth",
    "finger_recall": "share of the truly touching fingers that touch",
    "finger_f1": "harmonic mean of the two",
    "vertex_precision": "share of the touching hand vertices that touch in truth",
    "vertex_recall": "share of the truly touching hand vertices that touch",
    "vertex_f1": "harmonic mean of the two",
    "penetration_mm": "maximal penetration depth",
    "penetration_over_truth_mm": "the same, less that of the truth; negative where it is less deep",
    "add_s_mm": "ADD-S: mean distance from a vertex of the object in its true place to the nearest one found",
}
"""What `truth_metrics` returns, in this order."""


class Placed(NamedTuple):
    """A hand and an object in the camera's frame."""

    hand_vertices: Float[Array | ndarray, "v 3"]
    """Metres."""
    keypoints: Float[Array | ndarray, "21 3"]
    """Metres, OpenPose's order."""
    T_camera_object: Float[Array | ndarray, "4 4"]


class Agreement(NamedTuple):
    """Of two sets, one found and one true; shares from 0 to 1."""

    precision: float | None
    """None where nothing was found."""
    recall: float | None
    """None where there is nothing to find."""
    f1: float | None
    """1 where both sets are empty."""


@no_type_check
def truth_metrics(
    found: Placed,
    true: Placed,
    object: Surface,
    fingers: Int[ndarray, "v"] | None = None,
    symmetries: Float[ndarray, "s 3 3"] | None = None,
) -> dict[str, float | None]:
    """All of `TRUTH_METRICS`, in the units of their names.

    `object`: the true mesh in its own frame; it stands for the object found too, in the pose found. `fingers`: of each
    hand vertex, see `fingers_of_vertices`; without, the three measures of fingers are None. Those of vertices are None
    where the hands have not equally many. `symmetries`: as `keypoint_distance_in_object` takes them.

    Raises MeshError for arrays of other shapes, and for an object as `signed_distances` does.
    """
    distances = [distances_to_placed(object, each) for each in (found, true)]
    none = Agreement(None, None, None)
    of_fingers = none if fingers is None else contact_agreement(*(touching_fingers(d, fingers) for d in distances))
    alike = distances[0].shape == distances[1].shape
    of_vertices = contact_agreement(*(touching_vertices(d) for d in distances)) if alike else none
    poses = found.T_camera_object, true.T_camera_object
    return {
        "camera_mm": 1e3 * keypoint_distance(found.keypoints, true.keypoints),
        "wrist_mm": 1e3 * keypoint_distance_about_wrist(found.keypoints, true.keypoints),
        "aligned_mm": 1e3 * keypoint_distance_aligned(found.keypoints, true.keypoints),
        "object_mm": 1e3 * keypoint_distance_in_object(found.keypoints, true.keypoints, *poses, symmetries),
        "size_ratio": hand_size_ratio(found.keypoints, true.keypoints),
        **{f"finger_{name}": value for name, value in of_fingers._asdict().items()},
        **{f"vertex_{name}": value for name, value in of_vertices._asdict().items()},
        "penetration_mm": 1e3 * depth_of(distances[0]),
        "penetration_over_truth_mm": 1e3 * penetration_over_truth(*distances),
        "add_s_mm": 1e3 * object_distance(*(moved(object.vertices, T) for T in poses)),
    }


@no_type_check
def keypoint_distance(found: Float[Array | ndarray, "k 3"], true: Float[Array | ndarray, "k 3"]) -> float:
    """Mean distance of the keypoints to the true ones (MPJPE), metres, in the frame that both are given in."""
    found, true = _pair(found, true, "keypoints")
    return float(np.linalg.norm(found - true, axis=1).mean())


@no_type_check
def keypoint_distance_about_wrist(found: Float[Array | ndarray, "k 3"], true: Float[Array | ndarray, "k 3"]) -> float:
    """`keypoint_distance` once both wrists, the first keypoints, are at the origin; the wrist counts as one of them."""
    found, true = _pair(found, true, "keypoints")
    return keypoint_distance(found - found[0], true - true[0])


@no_type_check
def keypoint_distance_aligned(found: Float[Array | ndarray, "k 3"], true: Float[Array | ndarray, "k 3"]) -> float:
    """`keypoint_distance` after Procrustes (PA-MPJPE): the found ones turned, moved and scaled to the true ones.

    The rotation is never a mirror. Points without any extent are only moved.
    """
    found, true = _pair(found, true, "keypoints")
    a, b = found - found.mean(axis=0), true - true.mean(axis=0)
    u, singular, vt = np.linalg.svd(a.T @ b)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (signs * singular).sum() / max((a * a).sum(), np.finfo(float).tiny)
    return keypoint_distance(scale * a @ (u * signs) @ vt, b)


@no_type_check
def keypoint_distance_in_object(
    found: Float[Array | ndarray, "k 3"],
    true: Float[Array | ndarray, "k 3"],
    found_pose: Float[Array | ndarray, "4 4"],
    true_pose: Float[Array | ndarray, "4 4"],
    symmetries: Float[ndarray, "s 3 3"] | None = None,
) -> float:
    """`keypoint_distance` in the object's frame: each hand is carried back by its own object's T_camera_object.

    `symmetries`: rotations about the object's origin that turn it into itself; the least distance over them counts, as
    a bottle that is found turned about its axis is found.
    """
    found, true = (moved(points, _inverse(T)) for points, T in ((found, found_pose), (true, true_pose)))
    turns = np.eye(3)[None] if symmetries is None else np.asarray(symmetries, float)
    return min(keypoint_distance(found @ turn.T, true) for turn in turns)


@no_type_check
def hand_size_ratio(found: Float[Array | ndarray, "21 3"], true: Float[Array | ndarray, "21 3"]) -> float:
    """Length of all 20 bones together over that of the true hand's, which does not depend on the pose."""
    found, true = _pair(found, true, "keypoints")
    if len(found) != 21:
        raise MeshError(f"keypoints: expected 21 of them, came {len(found)}; give OpenPose's")
    lengths = [np.linalg.norm(points[BONES[:, 1]] - points[BONES[:, 0]], axis=1).sum() for points in (found, true)]
    return float(lengths[0] / lengths[1])


@no_type_check
def touching_vertices(distances: Float[ndarray, "v"], within: float = TRUE_CONTACT) -> Bool[ndarray, "v"]:
    """Which hand vertices are less than `within` metres from the object, or inside it, by their signed distances."""
    return np.asarray(distances) < within


@no_type_check
def touching_fingers(
    distances: Float[ndarray, "v"], fingers: Int[ndarray, "v"], within: float = TRUE_CONTACT
) -> Bool[ndarray, "n"]:
    """`fingers_in_contact` at the distance of a true contact."""
    return fingers_in_contact(distances, fingers, within)


@no_type_check
def contact_agreement(found: Bool[ndarray, "n"], true: Bool[ndarray, "n"]) -> Agreement:
    """Precision, recall and F1 of what touches, of fingers or of vertices."""
    found, true = np.asarray(found), np.asarray(true)
    if found.shape != true.shape or found.dtype != bool or true.dtype != bool:
        raise MeshError(
            f"contact: expected two arrays of truth values of one shape, came {found.dtype} {found.shape} and "
            f"{true.dtype} {true.shape}; take both of one hand model"
        )
    both, of_found, of_true = int((found & true).sum()), int(found.sum()), int(true.sum())
    return Agreement(
        both / of_found if of_found else None,
        both / of_true if of_true else None,
        2 * both / (of_found + of_true) if of_found + of_true else 1.0,
    )


@no_type_check
def penetration_over_truth(found: Float[ndarray, "v"], true: Float[ndarray, "w"]) -> float:
    """Maximal penetration depth less that of the truth, metres, of signed distances of the hands' vertices."""
    return depth_of(np.asarray(found)) - depth_of(np.asarray(true))


@no_type_check
def object_distance(found: Float[Array | ndarray, "n 3"], true: Float[Array | ndarray, "m 3"]) -> float:
    """ADD-S, metres: mean distance from a vertex of the object in its true place to the nearest one where found."""
    return float(KDTree(np.asarray(found, float)).query(np.asarray(true, float))[0].mean())


@no_type_check
def distances_to_placed(object: Surface, placed: Placed) -> Float[ndarray, "v"]:
    """`signed_distances` of the hand's vertices, metres, to the object where its pose puts it."""
    T = np.asarray(placed.T_camera_object, float)
    scale = np.cbrt(np.linalg.det(T[:3, :3]))
    return scale * signed_distances(object, moved(placed.hand_vertices, _inverse(T)))


@no_type_check
def moved(points: Float[Array | ndarray, "n 3"], T: Float[Array | ndarray, "4 4"]) -> Float[ndarray, "n 3"]:
    """The points in the frame that a 4x4 matrix leads to."""
    T = np.asarray(T, float)
    return np.asarray(points, float) @ T[:3, :3].T + T[:3, 3]


def _inverse(T: Float[Array | ndarray, "4 4"]) -> Float[ndarray, "4 4"]:
    T = np.asarray(T, float)
    if T.shape != (4, 4) or not np.isfinite(T).all() or np.linalg.det(T[:3, :3]) <= 0:
        raise MeshError(f"T_camera_object: expected a 4x4 matrix of a rotation and a place, came {T.tolist()}")
    return np.linalg.inv(T)


def _pair(found: Any, true: Any, name: str) -> tuple[ndarray, ndarray]:
    found, true = np.asarray(found, float), np.asarray(true, float)
    if found.shape != true.shape or found.ndim != 2 or found.shape[1] != 3 or not len(found):
        raise MeshError(
            f"{name}: expected two arrays of shape (k, 3), came {found.shape} and {true.shape}; give metres"
        )
    return found, true
