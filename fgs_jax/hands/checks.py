"""Whether the arrays of a hand file are a hand: shapes, types and values; what can be mended is mended and said.

Host side, numpy, float64. Every error is a HandFileError of one line that starts with the file's path.
"""

from pathlib import Path

import numpy as np

from fgs_jax.errors import HandFileError, HandFileWarning
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands.safe_pickle import MOST_NUMBERS
from fgs_jax.notes import warn

LEAST_LENGTH, GREATEST_LENGTH = 0.05, 0.4
"""Metres from the wrist to the tip of the middle finger; others are of another unit."""

_REQUIRED = {
    "v_template": ("v", 3),
    "f": ("f", 3),
    "weights": ("v", 16),
    "J_regressor": (16, "v"),
    "shapedirs": ("v", 3, "b"),
    "posedirs": ("v", 3, 135),
    "kintree_table": (2, 16),
    "hands_mean": (45,),
    "hands_components": ("c", 45),
}
_OPTIONAL = {
    "hands_coeffs": ("n", "c"),
    "hands_components_std": ("c",),
    "pose_std": (15, 3),
    "f_cap": ("k", 3),
    "wrist_loop": ("l",),
    "tip_vertex_ids": (5,),
    "regions": ("v",),
    "joint_limits": (15, 3, 2),
    "joint_names": (16,),
    "side": (),
    "license": (),
}
SHAPES = _REQUIRED | _OPTIONAL
"""All keys of a hand file that are known."""
_TEXTS = ("joint_names", "side", "license")
_VERTEX_IDS = ("f", "f_cap", "wrist_loop", "tip_vertex_ids")
_INTEGERS = (*_VERTEX_IDS, "regions", "kintree_table")
_RADIANS = {"hands_mean": 2 * np.pi, "joint_limits": 2 * np.pi, "pose_std": np.pi}
"""The largest angles that these may hold; more are degrees."""


def checked(raw: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays in float64, int64 or text, of the right shapes and values; faces wound outward, which is said."""
    if missing := [key for key in _REQUIRED if key not in raw]:
        raise HandFileError(
            f"{path}: expected MANO's keys, missing {', '.join(missing)}; check that the file is a MANO hand model"
        )
    arrays: dict[str, np.ndarray] = {}
    sizes: dict[int | str, int] = {}
    for key, shape in SHAPES.items():
        if key not in raw:
            continue
        array = _converted(raw[key], key, path)
        if key in ("shapedirs", "posedirs") and (array.ndim == 1 or array.shape[:1] == (3 * sizes["v"],)):
            array = array.reshape(sizes["v"], 3, -1) if array.size % (3 * sizes["v"]) == 0 else array
        expected = tuple(sizes.get(size, size) for size in shape)
        fits = [
            came == size or (isinstance(size, str) and came > 0)
            for came, size in zip(array.shape, expected, strict=False)
        ]
        if array.ndim != len(expected) or not all(fits):
            wanted = f"({', '.join(map(str, expected))}{',' * (len(expected) == 1)})"
            raise HandFileError(f"{path}: expected {key} of shape {wanted}, came {array.shape}; check the file")
        sizes |= dict(zip(shape, array.shape, strict=True))
        arrays[key] = array
    _check_ids(arrays, path)
    _check_joints(arrays, path)
    _check_poses(arrays, path)
    return arrays | {"weights": _checked_weights(arrays["weights"], path)}


def wound_outward(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays with faces that are wound outward, as nearly all are; it is said where they had to be turned.

    They must have a `wrist_loop`. A cap that does not close them is an error.
    """
    faces, loop = arrays["f"], arrays["wrist_loop"]
    cap = arrays.get("f_cap", hand_anatomy.close_wrist(loop))
    closed = np.concatenate([faces, cap])
    edges = np.concatenate([closed[:, [0, 1]], closed[:, [1, 2]], closed[:, [2, 0]]])
    ids = edges @ np.array([len(arrays["v_template"]), 1])
    against = edges[:, ::-1] @ np.array([len(arrays["v_template"]), 1])
    if len(np.unique(ids)) < len(ids) or not np.array_equal(np.sort(ids), np.sort(against)):
        raise HandFileError(
            f"{path}: expected f and f_cap to close the hand, each edge once in either direction, came others; "
            "check their winding, or leave out f_cap and wrist_loop"
        )
    a, b, c = (arrays["v_template"][closed[:, k]] for k in range(3))
    if np.sum(a * np.cross(b, c)) < 0:
        warn(HandFileWarning(f"{path}: turned the faces, which were wound inward"))
        faces, cap, loop = faces[:, ::-1], cap[:, ::-1], loop[::-1]
    return arrays | {"f": faces, "f_cap": cap, "wrist_loop": loop}


def check_length(length: float, path: Path) -> None:
    """Of the hand, from the wrist to the tip of the middle finger, in metres."""
    if not LEAST_LENGTH <= length <= GREATEST_LENGTH:
        raise HandFileError(
            f"{path}: expected a hand of {LEAST_LENGTH:g} to {GREATEST_LENGTH:g} m, wrist to middle fingertip, came "
            f"{length:.3g}; scale v_template, shapedirs and posedirs to metres"
        )


def check_tips(tips: np.ndarray, weights: np.ndarray, path: Path) -> None:
    """Whether fingertips, from thumb to pinky, are skin of their fingers."""
    owners = np.argmax(weights[tips], axis=1)
    for finger, joints, owner in zip(hand_anatomy.FINGERS, hand_anatomy.FINGER_JOINTS, owners, strict=True):
        if owner not in joints:
            came = f"a vertex of {hand_anatomy.JOINT_NAMES[owner]} for the {finger}"
            raise HandFileError(f"{path}: expected tip_vertex_ids from thumb to pinky, came {came}; reorder them")


def _converted(array: np.ndarray, key: str, path: Path) -> np.ndarray:
    kinds, wanted = ("U", "text") if key in _TEXTS else ("fiu", "numbers")
    if array.dtype.kind not in kinds:
        raise HandFileError(f"{path}: expected {wanted} in {key}, came the numpy type {array.dtype}; check the file")
    if array.size > MOST_NUMBERS:
        raise HandFileError(f"{path}: expected at most {MOST_NUMBERS} numbers in {key}, came {array.size}; check it")
    if key in _TEXTS:
        return array
    if not np.isfinite(array).all():
        raise HandFileError(f"{path}: expected finite numbers in {key}, came nan or infinity; check the file")
    with np.errstate(invalid="ignore"):  # a number too large for an integer differs from it below
        converted = array.astype(np.int64 if key in _INTEGERS else np.float64)
    if key in _INTEGERS and not np.array_equal(converted, array):
        raise HandFileError(f"{path}: expected whole numbers in {key}, came fractions; check the file")
    if key not in _INTEGERS and np.abs(converted).max(initial=0.0) > 1e6:
        raise HandFileError(
            f"{path}: expected numbers of a hand in {key}, came {np.abs(converted).max():.3g}; check it"
        )
    return converted


def _check_ids(arrays: dict[str, np.ndarray], path: Path) -> None:
    count = len(arrays["v_template"])
    ranges = dict.fromkeys(_VERTEX_IDS, (0, count - 1)) | {"regions": (-1, len(hand_anatomy.REGION_NAMES) - 1)}
    for key, (least, greatest) in ranges.items():
        if key in arrays and not (least <= arrays[key].min() and arrays[key].max() <= greatest):
            raise HandFileError(
                f"{path}: expected {least} to {greatest} in {key}, came {arrays[key].min()} to {arrays[key].max()}; "
                "check the file"
            )
    for key in ("tip_vertex_ids", "wrist_loop"):
        if key in arrays and len(np.unique(arrays[key])) < len(arrays[key]):
            raise HandFileError(f"{path}: expected different vertices in {key}, came one twice; check the file")


def _check_joints(arrays: dict[str, np.ndarray], path: Path) -> None:
    parents, joints = arrays["kintree_table"]
    if tuple(parents[1:]) != hand_anatomy.PARENTS[1:] or tuple(joints) != tuple(range(16)):
        raise HandFileError(
            f"{path}: expected MANO's joint tree in kintree_table, parents {list(hand_anatomy.PARENTS[1:])}, "
            f"came {parents[1:].tolist()}; the file is of another model"
        )
    if "joint_names" in arrays and tuple(arrays["joint_names"]) != hand_anatomy.JOINT_NAMES:
        raise HandFileError(
            f"{path}: expected MANO's order in joint_names, {' '.join(hand_anatomy.JOINT_NAMES)}, "
            f"came {' '.join(arrays['joint_names'])}; reorder the joints"
        )
    sums = arrays["J_regressor"].sum(axis=1)
    worst = int(np.argmax(np.abs(sums - 1)))
    # Learnt regressors keep to a sum of 1 only so well.
    if abs(sums[worst] - 1) > 0.01:
        raise HandFileError(
            f"{path}: expected rows of J_regressor that sum to 1, came {sums[worst]:.4g} in row {worst}; check the file"
        )


def _check_poses(arrays: dict[str, np.ndarray], path: Path) -> None:
    for key, most in _RADIANS.items():
        if key in arrays and (came := np.abs(arrays[key]).max()) > most:
            raise HandFileError(f"{path}: expected radians in {key}, came {came:.4g}; are they degrees?")
    if "pose_std" in arrays and (least := arrays["pose_std"].min()) <= 0:
        raise HandFileError(f"{path}: expected positive numbers in pose_std, came {least:.4g}; check the file")
    if "hands_components_std" in arrays and (least := arrays["hands_components_std"].min()) < 0:
        raise HandFileError(
            f"{path}: expected no negative number in hands_components_std, came {least:.4g}; take it out"
        )
    if "joint_limits" in arrays:
        least, greatest = arrays["joint_limits"][..., 0], arrays["joint_limits"][..., 1]
        if (least >= greatest).any():
            joint, axis = np.argwhere(least >= greatest)[0]
            where = f"{('twist', 'spread', 'bend')[axis]} of {hand_anatomy.JOINT_NAMES[joint + 1]}"
            came = f"{least[joint, axis]:.4g} and {greatest[joint, axis]:.4g}"
            raise HandFileError(
                f"{path}: expected least < greatest in joint_limits, came {came} for {where}; swap them"
            )


def _checked_weights(weights: np.ndarray, path: Path) -> np.ndarray:
    """Skinning weights from 0 up, whose rows sum to 1; what rounding has spoilt is mended, and said."""
    sums = weights.sum(axis=1)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > 1e-3:
        raise HandFileError(
            f"{path}: expected rows of weights that sum to 1, came {sums[worst]:.4g} in row {worst}; check the file"
        )
    if (least := weights.min()) < -1e-3:
        raise HandFileError(f"{path}: expected no negative number in weights, came {least:.4g}; check the file")
    if least >= 0 and abs(sums[worst] - 1) <= 1e-5:  # single precision
        return weights
    what = f"rows sum to {sums[worst]:.6g}" if least >= 0 else f"a weight is {least:.3g}"
    warn(HandFileWarning(f"{path}: weights: {what}: made numbers from 0 up that sum to 1"))
    positive = np.maximum(weights, 0.0)
    return positive / positive.sum(axis=1, keepdims=True)
