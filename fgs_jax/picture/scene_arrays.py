"""The arrays that a scene may hold, by name: their shapes, and what each has to be."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from fgs_jax.errors import SceneError
from fgs_jax.picture.keypoints import counted, name_of

ARRAY_SHAPES: dict[str, tuple[tuple[int | str, ...], ...]] = {
    "hand_vertices": (("v", 3),),
    "hand_faces": (("f", 3),),
    "keypoints_2d": ((21, 2),),
    "keypoint_confidence": ((21,),),
    "world_landmarks": ((21, 3),),
    "hand_box": ((4,),),
    "object_box": ((4,),),
    "hand_betas": (("n",),),
    "hand_pose": ((15, 3), (15, 3, 3)),
    "hand_rotation": ((3,), (3, 3)),
    "hand_translation": ((3,),),
    "hand_scale": ((),),
}
"""The arrays that a scene may hold, hand parameters among them, and the shapes that each may have."""
KEYPOINTS = ("keypoints_2d", "world_landmarks")
"""Rows of confidence 0 may hold anything."""
GREATEST = 1e9
"""Of all numbers; single precision holds it, and its square."""
MOST_CONFIDENCE = 1.1
"""Some detectors' peaks are a little above 1."""


def check_arrays(arrays: Mapping[str, ndarray]) -> None:
    """Raises SceneError for an array of `ARRAY_SHAPES` that has another shape or cannot be what its name says.

    Keypoints and landmarks of confidence 0 may be NaN.
    """
    for name, array in arrays.items():
        kinds = "iu" if name == "hand_faces" else "fiu"
        if array.dtype.kind not in kinds or not any(_fits(array.shape, shape) for shape in ARRAY_SHAPES[name]):
            shapes = " or ".join("(" + ", ".join(map(str, shape)) + ")" for shape in ARRAY_SHAPES[name])
            came = f"{array.dtype} {array.shape}"
            raise SceneError(f"{name}: expected numbers of shape {shapes}, got {came}: check what wrote them")
    found = counted(arrays.get("keypoint_confidence"))
    for name, array in arrays.items():
        _check_finite(name, array, found)
    for name in ("hand_rotation", "hand_pose"):
        if name in arrays and arrays[name].shape[-2:] == (3, 3):
            _check_rotations(name, np.asarray(arrays[name], float))
    for name in ("hand_box", "object_box"):
        if name in arrays and not (arrays[name][:2] < arrays[name][2:]).all():
            came = short(arrays[name])
            raise SceneError(f"{name}: expected left < right and top < bottom, got {came}: give [x0, y0, x1, y1]")
    if "keypoint_confidence" in arrays:
        _check_confidence(arrays["keypoint_confidence"])
    if "hand_scale" in arrays and arrays["hand_scale"] <= 0:
        raise SceneError(f"hand_scale: expected a positive number, got {arrays['hand_scale']:.3g}: 1 is life size")
    if ("hand_vertices" in arrays) != ("hand_faces" in arrays):
        raise SceneError("hand_vertices, hand_faces: expected both or neither, got one: give the hand's other array")
    if "hand_faces" in arrays:
        _check_faces(arrays["hand_faces"], len(arrays["hand_vertices"]))


def short(values: ndarray) -> str:
    """A few numbers in one line, for errors."""
    return np.array2string(values, precision=4, separator=", ").replace("\n", "")


def _check_finite(name: str, array: ndarray, found: Bool[ndarray, "21"]) -> None:
    here, advice = array, "check what wrote them"
    if name in KEYPOINTS:
        here = array[found]
        if len(lost := np.flatnonzero(found & ~np.isfinite(array).all(axis=1))):
            advice += f", and give what was not found ({name_of(int(lost[0]))}) the confidence 0"
    if not np.isfinite(here).all():
        raise SceneError(f"{name}: expected finite numbers, got NaN or infinity: {advice}")
    if (most := np.abs(here.astype(float)).max(initial=0)) > GREATEST:
        raise SceneError(f"{name}: expected numbers up to {GREATEST:g}, got {most:.3g}: {advice}")


def _check_confidence(confidence: Float[ndarray, "21"]) -> None:
    if confidence.min() < 0:
        raise SceneError("keypoint_confidence: expected numbers from 0 up, got a negative one: check the detector")
    if (most := confidence.max()) > MOST_CONFIDENCE:
        advice = "are they per cent? divide them by 100" if most <= 100 else "check the detector"
        raise SceneError(f"keypoint_confidence: expected numbers from 0 to 1, got {most:.4g}: {advice}")


def _check_faces(faces: ndarray, count: int) -> None:
    if not faces.size or faces.min() < 0 or faces.max() >= count:
        came = f"{faces.min()} to {faces.max()}" if faces.size else "no face"
        raise SceneError(f"hand_faces: expected faces of vertices 0 to {count - 1}, got {came}: check the mesh")


def _check_rotations(name: str, matrices: Float[ndarray, "*n 3 3"]) -> None:
    skewed = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max()
    if skewed > 1e-3 or np.linalg.det(matrices).min() < 0:
        came = f"R R^T off by {skewed:.2g}" if skewed > 1e-3 else "a mirroring matrix"
        raise SceneError(f"{name}: expected rotation matrices, got {came}: orthonormalise them, or give axis-angles")


def _fits(shape: tuple[int, ...], expected: tuple[int | str, ...]) -> bool:
    return len(shape) == len(expected) and all(
        isinstance(e, str) or e == s for s, e in zip(shape, expected, strict=True)
    )
