"""The arrays of a hand that a file holds, checked: finite, of their shapes, rotations where they must be."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from fgs_bridges.geometry import are_numbers, as_floats
from fgs_bridges.hamer import hamer_estimates
from fgs_bridges.types import HandEstimate
from fgs_jax.errors import BridgeError
from fgs_jax.picture.keypoints import counted
from fgs_jax.picture.scene_arrays import KEYPOINTS

SHAPES: dict[str, tuple[tuple[int | None, ...], ...]] = {
    "K": ((3, 3),),
    "keypoints_2d": ((21, 2),),
    "keypoint_confidence": ((21,),),
    "world_landmarks": ((21, 3),),
    "pose": ((15, 3, 3), (15, 3), (None,), (1, None)),
    "rotation": ((3, 3), (3,)),
    "translation": ((3,),),
    "betas": ((None,),),
    "vertices": ((None, 3),),
    "faces": ((None, 3),),
}
"""The arrays of an estimate; rotations may be vectors in a file."""


def hands_of_hamer(values: Mapping[str, Any], path: Path, width: int, height: int) -> list[HandEstimate]:
    nested = values.get("pred_mano_params")
    flat = dict(values) | (nested if isinstance(nested, dict) else {})
    names = ("global_orient", "hand_pose", "betas", "pred_cam", "box_center", "box_size", "right")
    extra = ("pred_vertices", "pred_keypoints_3d", "faces")
    try:
        arrays = {name: as_floats(flat[name]) for name in (*names, *extra) if name in flat}
        if "img_size" in flat:
            sizes = np.unique(as_floats(flat["img_size"]).reshape(-1, 2), axis=0)
            if sizes.tolist() != [[width, height]]:
                came = " x ".join(f"{number:g}" for number in sizes[0])
                raise BridgeError(f"{path}: expected a hand of this picture, {width} x {height}, got of {came}")
        faces = arrays.pop("faces", None)
        faces = None if faces is None else faces.astype(np.int32)
        return hamer_estimates(arrays, width=width, height=height, faces=faces)
    except BridgeError as error:
        raise BridgeError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    except (TypeError, ValueError, IndexError) as error:
        raise BridgeError(f"{path}: expected HaMeR's output, its arrays do not fit ({error}): save it again") from error


def checked_array(value: Any, name: str, path: Path, missing: Bool[ndarray, "21"] | None = None) -> ndarray:
    """Finite numbers of one of the shapes of `name`; of keypoints that are `missing` they may be NaN."""
    with suppress(TypeError, ValueError):
        array = as_floats(value)
        if _fits(array, name) and are_numbers(array if missing is None else array[~missing]):
            if name != "faces":
                return array
            if (array == np.rint(array)).all():
                return array.astype(np.int32)
    shapes = " or ".join(str(shape).replace("None", "n") for shape in SHAPES[name])
    raise BridgeError(f"{path}: expected finite numbers of shape {shapes} in {name}, got others: check what wrote it")


def checked_score(value: Any, path: Path) -> float:
    with suppress(TypeError, ValueError):
        if are_numbers(np.array(score := float(value))):
            return score
    raise BridgeError(f"{path}: expected a finite number as score, got {str(value)!r:.40}: check what wrote it")


def check_estimate(estimate: HandEstimate, path: Path) -> None:
    """Raises BridgeError for arrays of other shapes, of a tool's result, and for faces of vertices that are not there;
    small numbers that are divided by, and large ones, may end in none that is finite.
    """
    for name in SHAPES:
        array = getattr(estimate, name)
        if array is not None and not _fits(array, name):
            raise BridgeError(f"{path}: expected what gives {name}, came arrays for {array.shape}: check what wrote it")
        if name in KEYPOINTS and array is not None:
            array = array[counted(estimate.keypoint_confidence)]
        if array is not None and not are_numbers(array):
            raise BridgeError(f"{path}: expected numbers that give finite {name}, got others: check what wrote it")
    if estimate.vertices is not None and estimate.faces is not None and estimate.faces.size:
        low, high, count = estimate.faces.min(), estimate.faces.max(), len(estimate.vertices)
        if not 0 <= low <= high < count:
            raise BridgeError(
                f"{path}: expected faces of vertices 0 to {count - 1}, got {low} to {high}: check what wrote it"
            )


def check_rotations(matrices: Float[ndarray, "*n 3 3"], name: str, path: Path) -> None:
    skewed = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max()
    if skewed > 1e-3 or np.linalg.det(matrices).min() < 0:
        raise BridgeError(f"{path}: expected rotations in {name}, got R R^T off by {skewed:.2g}: check what wrote it")


def _fits(array: ndarray, name: str) -> bool:
    return any(
        len(array.shape) == len(shape) and all(e in (None, s) for s, e in zip(array.shape, shape, strict=True))
        for shape in SHAPES[name]
    )
