"""Checks of what `fit_hand` and its neighbours are given: shapes, types, numbers that are finite, each in one line."""

from typing import Any

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy import integer

from fgs_jax.errors import HandFitError, HandInputError
from fgs_jax.hands.mano import as_numbers
from fgs_jax.types import Camera, HandModel


def checked_given(
    model: Any, given: dict[str, Any], camera: Any, shape_coefficients: Any, steps: Any
) -> dict[str, Any]:
    """What is given as floating-point arrays; None stays. Raises HandFitError."""
    if not isinstance(model, HandModel):
        raise HandFitError(f"model: expected a HandModel, as load_hand_model gives, got {type(model).__name__}")
    if all(given[name] is None for name in ("keypoints_3d", "keypoints_2d", "vertices")):
        raise HandFitError("nothing to fit to: give keypoints_3d, keypoints_2d with a camera, or vertices")
    if given["keypoints_2d"] is not None and camera is None:
        raise HandFitError("keypoints_2d: expected the camera they were seen by as well, got none: give camera=")
    if camera is not None and not isinstance(camera, Camera):
        raise HandFitError(f"camera: expected a Camera, got {type(camera).__name__}: Camera(focal, principal)")
    most = model.joint_shapedirs.shape[-1]
    for name, number, greatest in (("shape_coefficients", shape_coefficients, most), ("steps", steps, 10_000)):
        least = int(name == "steps")
        if number is not None and not (isinstance(number, (int, integer)) and least <= number <= greatest):
            raise HandFitError(f"{name}: expected a whole number from {least} to {greatest}, got {number!r:.40}")
    shapes = {
        "confidence": (21,),
        "keypoints_3d": (21, 3),
        "keypoints_2d": (21, 2),
        "world_landmarks": (21, 3),
        "vertices": model.v_template.shape,
    }
    arrays: dict[str, Any] = {name: None if value is None else _numbers(name, value) for name, value in given.items()}
    for name, shape in shapes.items():
        if (array := arrays[name]) is None:
            continue
        if array.shape != shape:
            hint = f"{model.name} has {shape[0]} vertices" if name == "vertices" else "for many frames use jax.vmap"
            hint = "transpose it" if array.shape == shape[::-1] and array.ndim == 2 else hint
            raise HandFitError(f"{name}: expected shape {shape}, got {array.shape}: {hint}")
        if not isinstance(array, Tracer) and not isinstance(arrays["confidence"], Tracer):
            _check_values(name, array, arrays["confidence"])
    return arrays


def keypoints_in_space(name: str, keypoints: Any) -> Float[Array, "21 3"]:
    """21 keypoints as floating-point numbers. Raises HandFitError for another shape, and for what is no array."""
    array = _numbers(name, keypoints)
    if array.shape != (21, 3):
        raise HandFitError(f"{name}: expected shape (21, 3), got {array.shape}: for many frames use jax.vmap")
    return array


def _check_values(name: str, array: Array, confidence: Array) -> None:
    """Outside of jit: finite numbers wherever they count, confidences that leave something."""
    whole = name in ("confidence", "vertices")
    counted = array if whole else jnp.where(confidence[:, None] > 0, array, 0.0)
    if not bool(jnp.isfinite(counted).all()):
        hint = "" if whole else ": give a keypoint that is missing the confidence 0"
        raise HandFitError(f"{name}: expected finite numbers, got NaN or infinity{hint}")
    if name == "confidence" and (bool((array < 0).any()) or not bool((array > 0).any())):
        raise HandFitError("confidence: expected numbers from 0 up, and some above it, got others: check the detector")


def _numbers(name: str, value: Any) -> Array:
    try:
        return as_numbers(name, value)
    except HandInputError as error:
        raise HandFitError(f"{error}: give 21 keypoints as an array") from error
