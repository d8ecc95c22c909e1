"""The words of `scene.json`: which keys there are, of which types, and what its camera says."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fgs_jax.errors import SceneError
from fgs_jax.picture.scene import camera_from_matrix
from fgs_jax.picture.scene_arrays import ARRAY_SHAPES
from fgs_jax.types import Camera

PICTURES = ("image", "object_image", "object_mask", "hand_mask")
"""The pictures of a scene."""
_NUMBER, _DIRECTION = (int, float), (str, list)
SCENE_KEYS: dict[str, Any] = {
    "format": str,
    "version": int,
    "units": str,
    "image_size": list,
    "camera": dict,
    "side": str,
    "prompt": str,
    "hand": dict,
    "object": dict,
    "gravity": list,
    "provenance": dict,
    "files": dict,
    **dict.fromkeys(PICTURES, str),
    **dict.fromkeys(ARRAY_SHAPES, list),
    "hand_scale": _NUMBER,
}
_CAMERA_KEYS = {"K": list, "K_source": str, "focal": list, "principal": list, "pixel_centres": str, "convention": str}
HAND_KEYS = {"model": str, "pose": str, "pose_zero": str}
OBJECT_KEYS = {"file": str, "size": str, "surface": str, "name": str, "repairs": list, "up": _DIRECTION}
_TYPES = {
    str: "text",
    int: "a whole number",
    list: "a list",
    dict: "an object {...}",
    _NUMBER: "a number",
    _DIRECTION: "an axis or a list",
}


def with_keys(values: dict[str, Any], known: Mapping[str, Any], required: tuple[str, ...], where: str) -> dict:
    """The values, if none of them is missing, unknown or of another type."""
    if missing := [key for key in required if key not in values]:
        raise SceneError(f'{where}: expected a value for "{missing[0]}", came none: write it, it is never guessed')
    for key, value in values.items():
        if key not in known:
            raise SceneError(f'{where}: expected keys among {", ".join(known)}, came "{key}": correct it')
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise SceneError(f'{where}: expected {_TYPES[known[key]]} as "{key}", came {value!r:.40}: correct it')
    return values


def read_camera(values: dict[str, Any]) -> tuple[Camera, dict[str, Any]]:
    """The camera, and where its matrix is from."""
    with_keys(values, _CAMERA_KEYS, ("pixel_centres",), "camera")
    if values["pixel_centres"] not in ("corner", "integer"):
        came = values["pixel_centres"]
        raise SceneError(f'camera: expected pixel_centres "corner" or "integer", came "{came}": choose one of the two')
    if ("K" in values) == ("focal" in values) or ("focal" in values) != ("principal" in values):
        raise SceneError("camera: expected either K, or focal and principal, came another choice: give one of the two")
    K: Float[ndarray, "3 3"] = np.eye(3)
    try:
        if "K" in values:
            K = np.array(values["K"], float)
        else:
            K[[0, 1], [0, 1]], K[:2, 2] = (
                np.reshape(np.array(values[key], float), 2) for key in ("focal", "principal")
            )
    except (TypeError, ValueError) as error:
        raise SceneError(
            "camera: expected K as 3 rows of 3 numbers, others as 2 numbers, came others: correct it"
        ) from (error)
    camera = camera_from_matrix(K, integer_centres=values["pixel_centres"] == "integer")
    return camera, {key: values[key] for key in ("K_source",) if key in values}
