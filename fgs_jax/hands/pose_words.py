"""What the numbers of a pose are: angles of joints or components of poses, about the flat hand or about the mean pose.

A file that does not say it can be read in several ways: poses of DexYCB and of smplx's `use_pca` are 45 components, as
many numbers as 15 rotation vectors have. The words are `pose` and `pose_zero`: in a scene's "hand", and among the
options of a hand file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.errors import HandFileError, SceneError
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands.files import hand_is_here, hand_of_side, located_hand
from fgs_jax.hands.mano import pose_from_pca
from fgs_jax.mirror import TURN_SIGNS

POSES, ZEROS = ("angles", "components"), ("flat", "mean")
MOST_BEYOND = np.deg2rad(30)
"""How far beyond its limit a joint may be in a pose that does not say that it holds angles."""


def read_pose(
    pose: ndarray,
    *,
    holds: str = "",
    zero: str = "",
    source: str | Path = "open_hand",
    side: str = "right",
    compared: bool = False,
) -> tuple[Float[ndarray, "15 3"] | Float[ndarray, "15 3 3"], str]:
    """Rotation vectors (radians, zero is the flat hand) of a pose, and a note where it was assumed what it holds.

    `pose`: (45,) or (15, 3) angles, (15, 3, 3) rotation matrices, or any number of pose components. `holds`: "angles",
    "components", or "" where nothing says it: then it is read as angles. `zero`: "flat" or "mean", whether the model's
    mean pose is in it or is to be added; "" is flat. `source`: the hand model, as `load_hand_model` takes it.
    `compared`: the tool's own mesh is there to compare the pose with, so that limits are not asked. Matrices stay what
    they are unless the mean is added.

    Raises ValueError, in one line, for another number of angles, for a pose that cannot be angles and does not say what
    it is, for unknown words, and for more components than the model has. Raises HandFileError where the model is needed
    and is not here.
    """
    _check_words(holds, zero)
    pose = np.asarray(pose, float)
    if holds == "components":
        return _of_components(pose, zero=zero, source=source, side=side)
    if pose.shape == (15, 3, 3):
        if zero != "mean":
            return pose, ""
        pose = Rotation.from_matrix(pose).as_rotvec()
        return pose + _mean(source, side), ""
    if pose.size != 45:
        rotation = "; is the hand's own rotation among them?" if pose.size == 48 else ""
        raise ValueError(
            f"expected 45 angles, came {pose.size} numbers{rotation}; for pose components say pose: components, and "
            "pose_zero: flat or mean"
        )
    pose = pose.reshape(15, 3) + (_mean(source, side) if zero == "mean" else 0.0)
    if holds:
        return pose, ""
    if not compared:
        _check_limits(pose if side == "right" else pose * TURN_SIGNS, source)
    about = "the mean pose" if zero == "mean" else "the flat hand"
    return pose, f"45 numbers were read as angles about {about}; say pose: angles, or components"


def read_scene_pose(arrays: dict[str, ndarray], meta: dict[str, Any], folder: Path) -> dict[str, ndarray]:
    """The arrays of a scene with `hand_pose` as angles, by what its "hand" says; a note goes to its provenance.

    What a program has written, without a word, holds angles. Parameters whose components belong to a model that is not
    here are left out where keypoints or a mesh give the hand. Raises SceneError as `read_pose` raises ValueError.
    """
    pose, hand = arrays.get("hand_pose"), meta.get("hand", {})
    holds, zero = hand.get("pose", ""), hand.get("pose_zero", "")
    if pose is None or pose.dtype.kind not in "fiu" or not np.isfinite(pose).all():
        return arrays
    if not (holds or zero) and (pose.shape not in ((15, 3), (pose.size,)) or _is_by_program(meta)):
        return arrays
    source, side = located_hand(hand.get("model", "open_hand"), folder), str(meta.get("side"))
    try:
        if holds == "components" and not hand_is_here(source) and arrays.keys() & {"keypoints_2d", "hand_vertices"}:
            note = f"components of {source}, which is not here: parameters left out"
            arrays = {name: array for name, array in arrays.items() if name not in _PARAMETERS}
        else:
            angles, note = read_pose(pose, holds=holds, zero=zero, source=source, side=side)
            arrays = arrays | {"hand_pose": angles}
    except (ValueError, HandFileError) as error:
        raise SceneError(f"hand_pose: {error}") from error
    if note:
        meta.setdefault("provenance", {})["hand_pose"] = note
    return arrays


_PARAMETERS = ("hand_pose", "hand_rotation", "hand_translation", "hand_betas", "hand_scale")


def _is_by_program(meta: Mapping[str, Any]) -> bool:
    return "hand_pose" not in meta and "arrays.npz" in meta.get("files", {})


def _check_words(holds: str, zero: str) -> None:
    for name, word, words in (("pose", holds, POSES), ("pose_zero", zero, ZEROS)):
        if word not in ("", *words):
            raise ValueError(f"expected {name}: {' or '.join(words)}, came {word!r:.40}; choose one")


def _of_components(pose: ndarray, *, zero: str, source: str | Path, side: str) -> tuple[Float[ndarray, "15 3"], str]:
    if pose.size > 45 or pose.ndim > 2:
        raise ValueError(f"expected up to 45 pose components, came numbers of shape {pose.shape}; say pose: angles?")
    model = hand_of_side(source, side)
    found = pose_from_pca(model, jnp.asarray(pose.ravel(), jnp.float32), add_mean=zero == "mean")
    note = "" if zero else "components were read without the mean pose; say pose_zero: flat, or mean"
    return np.asarray(found, float), note


def _mean(source: str | Path, side: str) -> Float[ndarray, "15 3"]:
    return np.asarray(hand_of_side(source, side).pose_mean, float)


def _check_limits(pose: Float[ndarray, "15 3"], source: str | Path) -> None:
    """Of a right hand's angles; by the open hand, whose limits MANO's are, where the model is not here."""
    model = hand_of_side(source if hand_is_here(source) else "open_hand")
    angles = hand_anatomy.joint_angles(np.asarray(model.bone_frames, float), Rotation.from_rotvec(pose).as_matrix())
    limits = np.asarray(model.joint_limits, float)
    beyond = np.maximum(angles - limits[..., 1], limits[..., 0] - angles)
    if beyond.max() > MOST_BEYOND:
        joint, axis = np.unravel_index(np.argmax(beyond), beyond.shape)
        where = f"{('twist', 'spread', 'bend')[axis]} of {hand_anatomy.JOINT_NAMES[joint + 1]}"
        raise ValueError(
            f"45 numbers that do not say what they are, and as angles turn the {where} {np.rad2deg(beyond.max()):.0f} "
            "degrees beyond its limit; say pose: components, with pose_zero: flat or mean, or pose: angles"
        )
