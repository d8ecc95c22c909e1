"""Cameras, pivots, poses and mirrors of hand tools, in numpy: from what HaMeR means to the scene's conventions.

HaMeR (Pavlakos et al., "Reconstructing Hands in 3D with Transformers", 2024) sees a square crop through a camera of
focal length 5000 px for 256 px, always as a right hand, and gives its place as (s, tx, ty) in that crop.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_bridges.types import Box, HandEstimate, Mask
from fgs_jax.errors import BridgeError
from fgs_jax.mirror import mirrored_faces, mirrored_matrices, mirrored_pixels, mirrored_points
from fgs_jax.picture import masks

HAMER_FOCAL = 5000.0
"""Pixels, for a crop of `HAMER_CROP` pixels."""
HAMER_CROP = 256
MOST_NUMBER = 1e9
"""Pixels, metres or radians."""


def as_floats(values: Any) -> Float[ndarray, "..."]:
    """An array of lists of numbers or of another array. Raises TypeError and ValueError for what is none."""
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise TypeError("complex numbers")
    return array.astype(float)


def are_numbers(values: Float[ndarray, "..."]) -> bool:
    """Whether all are finite, and such that their squares and products are, too."""
    return bool((np.abs(values) <= MOST_NUMBER).all())


class Reframed(NamedTuple):
    """An estimate as an ordinary camera sees it."""

    estimate: HandEstimate
    report: dict[str, Any]
    """Both cameras, and how far the vertices moved in the picture, in values that JSON knows."""


# --- cameras


def hamer_focal(width: int, height: int) -> float:
    """Focal length in pixels of HaMeR's camera for a whole picture: 10 000 for 512 x 512."""
    return HAMER_FOCAL / HAMER_CROP * max(width, height)


def camera_matrix(focal: float, width: int, height: int) -> Float[ndarray, "3 3"]:
    """K that looks at the middle of the picture; the top-left CORNER is (0, 0)."""
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def project(K: Float[ndarray, "3 3"], points: Float[ndarray, "*n 3"]) -> Float[ndarray, "*n 2"]:
    """Pixels of points in the camera's frame."""
    seen = points @ K.T
    return seen[..., :2] / seen[..., 2:]


def cam_crop_to_full(
    camera: Float[ndarray, "n 3"],
    centre: Float[ndarray, "n 2"],
    size: Float[ndarray, "n"],
    *,
    width: int,
    height: int,
    focal: float,
) -> Float[ndarray, "n 3"]:
    """Translations in the whole picture's camera, in metres, of hands seen in square crops.

    `camera` is (s, tx, ty) in the crop, `centre` and `size` the crop in pixels. With b the size:
    tz = 2 f / (b s), tx' = tx + 2 (cx - W/2) / (b s), and y alike.
    """
    scaled = size * camera[:, 0]
    offset = 2 * (centre - np.array([width, height]) / 2) / scaled[:, None]
    return np.column_stack([camera[:, 1:] + offset, 2 * focal / scaled])


def reframe_camera(estimate: HandEstimate, focal: float) -> Reframed:
    """The hand before an ordinary camera of focal length `focal` (pixels), in place of its tool's very far one.

    The translation's z scales with the focal length, x and y stay, K is built again; exact for weak perspective.
    Keypoints in the picture stay as they were seen. Raises BridgeError where there is no camera or no translation, and
    for a focal length that is none.
    """
    if estimate.K is None or estimate.translation is None:
        raise BridgeError("reframe_camera: expected K and a translation, got none: this hand has no camera to change")
    if not np.isfinite(focal) or focal <= 0:
        raise BridgeError(f"reframe_camera: expected a positive focal length in pixels, got {focal:g}: correct it")
    ratio = focal / estimate.K[0, 0]
    K = estimate.K * [[ratio], [ratio], [1.0]]
    K[:, 2] = estimate.K[:, 2]
    translation = estimate.translation * [1.0, 1.0, ratio]
    vertices = None if estimate.vertices is None else estimate.vertices + (translation - estimate.translation)
    report: dict[str, Any] = {
        "tool": {"K": estimate.K.tolist(), "translation": estimate.translation.tolist()},
        "reframed": {"K": K.tolist(), "translation": translation.tolist()},
    }
    if estimate.vertices is not None and vertices is not None:
        moved = project(K, vertices) - project(estimate.K, estimate.vertices)
        report["largest_shift_px"] = float(np.linalg.norm(moved, axis=1).max())
    return Reframed(replace(estimate, K=K, translation=translation, vertices=vertices), report)


# --- rotations and poses


def rotation_matrices(vectors: Float[ndarray, "*n 3"]) -> Float[ndarray, "*n 3 3"]:
    """Rotation vectors (radians) as matrices."""
    vectors = np.asarray(vectors, float)
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)


def rotation_vectors(matrices: Float[ndarray, "*n 3 3"]) -> Float[ndarray, "*n 3"]:
    """Rotation matrices as vectors (radians), no longer than pi."""
    matrices = np.asarray(matrices, float)
    return Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec().reshape(matrices.shape[:-1])


def flat_pose(pose: Float[ndarray, "15 3"], pose_mean: Float[ndarray, "15 3"]) -> Float[ndarray, "15 3"]:
    """Rotation vectors whose zero is the flat hand, from those of smplx with `flat_hand_mean=False`, to which it adds
    MANO's mean pose. HaMeR's and WiLoR's own poses need none of it.
    """
    return np.asarray(pose, float) + pose_mean


def hand_transform(
    rotation: Float[ndarray, "3 3"], translation: Float[ndarray, "3"], wrist: Float[ndarray, "3"]
) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "3"]]:
    """The paper's [R|t] from hand to camera: R, translation + J0 - R J0, with J0 the wrist of the shaped hand at rest.

    Because MANO turns about joint 0: v = R (v_c - J0) + J0 + translation.
    """
    return rotation, translation + wrist - rotation @ wrist


# --- mirrors


def mirror_camera(K: Float[ndarray, "3 3"], width: int) -> Float[ndarray, "3 3"]:
    """The camera of the flipped picture: W - cx."""
    mirrored = np.array(K, float)
    mirrored[0, 2] = width - K[0, 2]
    return mirrored


def mirror_estimate(estimate: HandEstimate, width: int) -> HandEstimate:
    """The hand of the other side, in the flipped picture. Twice is the same hand."""
    rules = {
        "K": lambda K: mirror_camera(K, width),
        "keypoints_2d": lambda keypoints: mirrored_pixels(keypoints, width),
        "world_landmarks": mirrored_points,
        "pose": mirrored_matrices,
        "rotation": mirrored_matrices,
        "translation": mirrored_points,
        "vertices": mirrored_points,
        "faces": mirrored_faces,
    }
    values = {name: getattr(estimate, name) for name in rules}
    changes: dict[str, Any] = {name: rules[name](value) for name, value in values.items() if value is not None}
    return replace(estimate, side="left" if estimate.side == "right" else "right", **changes)


# --- boxes


def match_boxes(boxes: list[Box], found: list[Box]) -> list[int | None]:
    """For each box the found one that is the same hand, by the greatest overlap; None where there is none.

    The same hand: one holds at least half of the other, for a detector's box may have the wrist that another's lacks.
    A found box serves once.
    """
    pairs = [(_overlap(a, b), i, j) for i, a in enumerate(boxes) for j, b in enumerate(found)]
    matches: list[int | None] = [None] * len(boxes)
    for overlap, i, j in sorted(pairs, key=lambda pair: -pair[0]):
        if overlap > 0 and matches[i] is None and j not in matches:
            matches[i] = j
    return matches


def is_box(box: Any) -> bool:
    """Whether it is (left, top, right, bottom), finite, with an area."""
    box = np.asarray(box, float)
    return bool(box.shape == (4,) and are_numbers(box) and (box[:2] < box[2:]).all())


def mask_box(mask: Mask) -> Box:
    """`masks.mask_box` as an array of floats."""
    return np.array(masks.mask_box(mask), float)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    shared = _shared(a, b)
    return shared / max(_area(a) + _area(b) - shared, 1e-12)


def points_box(points: Float[ndarray, "n 2"]) -> Box:
    """The box about points."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(float)


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union; 0 where neither holds half of the other."""
    return 0.0 if _shared(a, b) < 0.5 * min(_area(a), _area(b)) else box_iou(a, b)


def _shared(a: Box, b: Box) -> float:
    return float(np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)))


def _area(box: Box) -> float:
    return float(np.prod(box[2:] - box[:2]))
