"""A hand that another method has given, without a picture: parameters, 21 keypoints or a mesh, in the object's frame.

A JSON or npz file has these values; no pickle is read:

| name                                | what                                                                           |
|-------------------------------------|--------------------------------------------------------------------------------|
| `keypoints_3d`, `confidence`        | 21 x 3 in OpenPose's order; 21, 0 for those that were not found (null)         |
| `pose`, `rotation`, `translation`   | 15 x 3 or 45 angles, or 15 matrices; a rotation vector or matrix; 3 numbers    |
| `betas`, `scale`                    | shape coefficients, none unless given; 1 unless given                          |
| `pose_holds`, `pose_zero`           | what the pose holds, "angles" or "components"; about the "flat" or "mean" hand |
| `hand_model`                        | whose parameters they are: a name, or a path from the file's folder on         |
| `angle_sigma`                       | 15 x 3: how well each angle is known, radians                                  |
| `side`                              | "right" or "left"                                                              |

Parameters count before keypoints. A mesh is one that the hand model itself has posed: its vertices in its order.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray

from fgs_jax.errors import HandFileError, HandInputError, SceneError
from fgs_jax.files import expanded, read_input, read_npz
from fgs_jax.hands.carry import axis_angle_params, carry_over, params_for
from fgs_jax.hands.checks import GREATEST_LENGTH, LEAST_LENGTH
from fgs_jax.hands.files import hand_is_here, load_hand_model, located_hand
from fgs_jax.hands.fit import fit_hand
from fgs_jax.hands.mano import hand_program
from fgs_jax.hands.pose_words import read_pose
from fgs_jax.hands.safe_pickle import first_line
from fgs_jax.mirror import mirrored_params, mirrored_points
from fgs_jax.objects.files import FORMATS
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.keypoints import LEAST_KEYPOINTS, counted, order_of
from fgs_jax.picture.scene_arrays import check_arrays
from fgs_jax.solve.ahead import jit_once
from fgs_jax.strict import read_json
from fgs_jax.types import Hand, HandModel, HandParams, on_device

FORMAT, VERSION = "fgs-hand", 1
VALUES = (".json", ".npz")
"""Files of values by name."""
SIDES = ("right", "left")
FAR_OFF = 0.005
"""Metres between a hand and what it was fitted to, on average, from which on that is doubtful."""
_CHECKED_AS = {
    "keypoints_3d": "world_landmarks",
    "confidence": "keypoint_confidence",
    **{name: f"hand_{name}" for name in ("pose", "rotation", "translation", "betas", "scale")},
}
"""The arrays, and those of a scene that they are checked as."""
_PARAMETERS = ("pose", "rotation", "translation")
_WORDS = ("pose_holds", "pose_zero", "hand_model", "side")
_RECORD = ("format", "version", "units", "before")
"""What `hand_values` writes beside, which nothing is read from."""


class GivenHand(NamedTuple):
    """A hand that was given, as the stages take it."""

    model: HandModel
    """Of a right hand, as are the rest: a left one is mirrored."""
    params: HandParams
    """Axis-angle."""
    posed: Hand
    side: str
    """Of the hand as it was given."""
    angle_sigma: Float[ndarray, "15 3"] | None
    """Radians, where the file says it."""
    notes: tuple[str, ...]


class _Wanted(NamedTuple):
    """The hand model that a hand is to be of."""

    model: HandModel
    source: str
    """As `load_hand_model` takes it."""


def read_given_hand(
    path: str | Path, hand_model: str = "open_hand", *, side: str | None = None, metres: float = 1.0
) -> GivenHand:
    """The hand of a file, as one of `hand_model` (see `load_hand_model`); the table above says what may be in it.

    `side`: "right" or "left", where the file does not say it; else "right". `metres`: in one unit of the file.

    Raises HandInputError, in one line that starts with the path, for a file that is missing, damaged or says no hand,
    for numbers that cannot be a hand's and for a mesh of another topology; MeshError for one that `load_object`
    refuses; HandFileError for the hand model's. Warns with HandShapeWarning where betas are another model's.
    """
    path, wanted = expanded(path), _Wanted(load_hand_model(hand_model), hand_model)
    try:
        if path.suffix.lower() in FORMATS:
            return _of_mesh(path, wanted.model, side or "right", metres)
        if path.suffix.lower() not in VALUES:
            kinds = ", ".join((*VALUES, *FORMATS))
            raise HandInputError(f'expected a file of {kinds}, came "{path.suffix}": convert it to one of these')
        values = _read_values(path)
        return _of_values(values, path.parent, wanted, _side_of(values, side), metres)
    except (HandInputError, SceneError, HandFileError) as error:
        line = str(error)
        raise HandInputError(line if line.startswith(str(path)[:200]) else f"{path}: {line}") from error


def hand_values(params: HandParams, keypoints: Float[Array | ndarray, "21 3"]) -> dict[str, Any]:
    """Parameters and keypoints as `read_given_hand` reads them, for JSON."""
    values = {name: np.asarray(value, float).tolist() for name, value in vars(params).items()}
    return {"pose_holds": "angles", **values, "keypoints_3d": np.asarray(keypoints, float).tolist()}


def _read_values(path: Path) -> dict[str, Any]:
    data = read_input(path, "a hand's file", HandInputError)
    try:
        values = read_json(data, constants=True) if path.suffix.lower() == ".json" else read_npz(data)
    except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
        kind = "JSON" if path.suffix.lower() == ".json" else "an npz of plain arrays"
        raise HandInputError(f"expected {kind}, came none ({first_line(error)}): write it again") from error
    if not isinstance(values, dict):
        raise HandInputError(f"expected a hand's values by name, came {type(values).__name__}: give names")
    known = (*_CHECKED_AS, "angle_sigma", *_WORDS, *_RECORD)
    if strange := [name for name in values if name not in known]:
        raise HandInputError(f"expected names among {', '.join(known)}, came {strange[0]!r:.40}: rename it")
    return values


def _side_of(values: Mapping[str, Any], side: str | None) -> str:
    """Of the file, or as it was said to be."""
    found = str(values.get("side", side or "right"))
    if found not in SIDES:
        raise HandInputError(f"side: expected right or left, came {found!r:.40}: correct it")
    if side not in (None, found):
        raise HandInputError(f"side: expected {side}, as was said, came {found}: leave out one of the two")
    return found


def _of_mesh(path: Path, model: HandModel, side: str, metres: float) -> GivenHand:
    mesh = load_object(path, size="unknown", surface="solid")
    faces, given = ({tuple(face) for face in np.sort(each, axis=1).tolist()} for each in (model.faces, mesh.faces))
    if len(mesh.vertices) != len(model.v_template) or not faces <= given:
        came = f"{len(mesh.vertices)} vertices" if len(mesh.vertices) != len(model.v_template) else "other faces"
        raise HandInputError(
            f"expected a mesh that {model.name} has posed ({len(model.v_template)} vertices), came {came}: name its "
            "hand model, or give parameters or 21 keypoints"
        )
    vertices = metres * mesh.vertices
    _check_extent(vertices)
    vertices = mirrored_points(vertices) if side == "left" else vertices
    params, off = _fit_to_mesh(model, on_device(vertices))
    return GivenHand(model, params, hand_program(model, params), side, None, _fitted_to("mesh", float(off)))


def _of_values(values: Mapping[str, Any], folder: Path, wanted: _Wanted, side: str, metres: float) -> GivenHand:
    arrays = {name: _array(name, values[name]) for name in (*_CHECKED_AS, "angle_sigma") if name in values}
    for name in arrays.keys() & {"keypoints_3d", "translation"}:
        arrays[name] = metres * arrays[name]
    source = located_hand(str(values["hand_model"]), folder) if "hand_model" in values else wanted.source
    notes: tuple[str, ...] = ()
    if "pose" in arrays:
        arrays["pose"], note = _angles(arrays["pose"], values, source, side)
        notes += (f"hand: {note}",) if note else ()
    _check(arrays)
    sigma = arrays.pop("angle_sigma", None)
    if missing := [name for name in _PARAMETERS if name not in arrays]:
        if len(missing) < len(_PARAMETERS) or "keypoints_3d" not in arrays:
            raise HandInputError(
                f"expected keypoints_3d, or {', '.join(_PARAMETERS)}, came no {missing[0]}: give all of one kind"
            )
        return _of_keypoints(arrays, wanted.model, side, sigma)
    betas, scale = arrays.get("betas", np.zeros(0)), arrays.get("scale", np.ones(()))
    params = HandParams(betas, arrays["pose"], arrays["rotation"], arrays["translation"], scale)  # pyright: ignore
    params = mirrored_params(params) if side == "left" else params
    params = _for_model(wanted, params, source)
    posed = hand_program(wanted.model, params)
    _check_extent(np.asarray(posed.keypoints))
    return GivenHand(wanted.model, params, posed, side, sigma, notes)


def _of_keypoints(
    arrays: Mapping[str, ndarray], model: HandModel, side: str, sigma: Float[ndarray, "15 3"] | None
) -> GivenHand:
    confidence = arrays.get("confidence", np.ones(21))
    found, points = counted(confidence), arrays["keypoints_3d"]
    if found.sum() < LEAST_KEYPOINTS:
        raise HandInputError(f"keypoints_3d: expected {LEAST_KEYPOINTS} or more that were found, came {found.sum()}")
    _check_extent(points[found])
    order = order_of(points) if found.all() else None
    note = (f"hand: the keypoints look like {order}: OpenPose's is expected",) if order else ()
    points = np.where(found[:, None], mirrored_points(points) if side == "left" else points, 0.0)
    params, off = _fit_to_keypoints(model, on_device(points), on_device(confidence))
    return GivenHand(
        model, params, hand_program(model, params), side, sigma, note + _fitted_to("keypoints", float(off))
    )


def _fitted_to(what: str, off: float) -> tuple[str, ...]:
    doubt = "; is it of the other side, or another order?" if off > FAR_OFF else ""
    return (f"hand: fitted to its {what}, {1e3 * off:.1f} mm off on average{doubt}",)


def _array(name: str, value: Any) -> ndarray:
    """In float64; NaN for null."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "fiuO":
            return array.astype(float)
    except (TypeError, ValueError):
        pass
    raise HandInputError(f"{name}: expected numbers in rows of one length, came others: check what wrote them")


def _angles(pose: ndarray, values: Mapping[str, Any], source: str, side: str) -> tuple[ndarray, str]:
    """Of 15 joints, and a note where it was assumed what the pose holds."""
    _check_finite("pose", pose)
    holds, zero = str(values.get("pose_holds", "")), str(values.get("pose_zero", ""))
    try:
        pose, note = read_pose(pose, holds=holds, zero=zero, source=source, side=side)
    except ValueError as error:
        raise HandInputError(f"pose: {str(error).replace('pose:', 'pose_holds:')}") from error
    return pose, note.replace("pose:", "pose_holds:")


def _check(arrays: Mapping[str, ndarray]) -> None:
    """As the arrays of a scene are checked, whose names differ."""
    for name, array in arrays.items():
        if name == "angle_sigma" and (array.shape != (15, 3) or not (array > 0).all() or not np.isfinite(array).all()):
            raise HandInputError("angle_sigma: expected 15 x 3 positive numbers, radians, came others: correct them")
    renamed = {_CHECKED_AS[name]: array for name, array in arrays.items() if name in _CHECKED_AS}
    try:
        check_arrays(renamed)
    except SceneError as error:
        line = str(error)
        for name, checked_as in _CHECKED_AS.items():
            line = line.replace(checked_as, name)
        raise HandInputError(line) from error


def _check_finite(name: str, array: ndarray) -> None:
    if not np.isfinite(array).all():
        raise HandInputError(f"{name}: expected finite numbers, got NaN or infinity: check what wrote them")


def _check_extent(points: Float[ndarray, "n 3"]) -> None:
    extent = float(np.ptp(points, axis=0).max())
    if not LEAST_LENGTH <= extent <= GREATEST_LENGTH:
        raise HandInputError(
            f"expected a hand of {100 * LEAST_LENGTH:.0f} to {100 * GREATEST_LENGTH:.0f} cm, came {extent:.3g} m: give "
            "the file's unit, m, cm or mm"
        )


def _for_model(wanted: _Wanted, params: HandParams, source: str) -> HandParams:
    """Axis-angle parameters for the wanted hand model, with all of its betas."""
    model = wanted.model
    params = params_for(model, params, source) if hand_is_here(source) else carry_over(model, axis_angle_params(params))
    return replace(params, betas=jnp.pad(params.betas, (0, model.joint_shapedirs.shape[-1] - len(params.betas))))


@jit_once
def _fit_to_mesh(model: HandModel, vertices: Float[Array, "v 3"]) -> tuple[HandParams, Float[Array, ""]]:
    fit = fit_hand(model, vertices=vertices)
    return fit.params, fit.error_3d


@jit_once
def _fit_to_keypoints(
    model: HandModel, keypoints: Float[Array, "21 3"], confidence: Float[Array, "21"]
) -> tuple[HandParams, Float[Array, ""]]:
    fit = fit_hand(model, keypoints_3d=keypoints, confidence=confidence)
    return fit.params, fit.error_3d
