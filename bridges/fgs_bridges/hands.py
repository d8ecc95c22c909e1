"""Hands from files, as tools and people write them."""

import io
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from fgs_bridges.geometry import (
    camera_matrix,
    hamer_focal,
    rotation_matrices,
)
from fgs_bridges.hand_arrays import (
    SHAPES,
    check_estimate,
    check_rotations,
    checked_array,
    checked_score,
    hands_of_hamer,
)
from fgs_bridges.hand_meshes import read_hand_mesh, side_of_winding
from fgs_bridges.pretrained import check_picture, first_line, options_of
from fgs_bridges.provenance import weight_hashes
from fgs_bridges.types import Detection, HandEstimate, Image, Provenance
from fgs_bridges.wilor import wilor_estimate
from fgs_jax.errors import BridgeError, ConfigError, FgsError, HandFileError
from fgs_jax.files import expanded, read_input, read_npz, write_file_whole
from fgs_jax.hands.files import check_hand_source, located_hand
from fgs_jax.hands.pose_words import POSES, ZEROS, read_pose
from fgs_jax.picture.scene_arrays import KEYPOINTS
from fgs_jax.strict import read_json

MESHES = (".obj", ".ply")
LEAST_HAND, GREATEST_HAND = 0.05, 0.4
"""Metres: extent of a hand's mesh; others are of another unit."""


@dataclass
class HandFile:
    """A hand that a tool or the user has written: an npz or JSON of parameters or keypoints, or a MANO mesh.

    An npz or JSON has the fields of `HandEstimate`, or HaMeR's or WiLoR-mini's own names. Beside them it may say what
    its pose is, by `pose_holds` and `pose_zero`, as the options `pose` and `pose_zero` do. A mesh (.obj, .ply) is in
    metres and in the camera's frame, and MANO is fitted to it. No pickle is read.
    """

    path: str = ""
    side: str = ""
    """"right" or "left", where the file does not say; a mesh says it by its faces' winding."""
    pose_zero: str = ""
    """What pose zero is in the file: the "flat" hand, which it is unless said, or MANO's "mean" pose, which smplx adds
    by default."""
    frame: str = "opencv"
    """Axes of a mesh: "opencv", or "opengl" (y up, z backward), as HaMeR's demo saves."""
    focal: float | str | None = None
    """Pixels, where the file has no camera; "hamer" is HaMeR's."""
    hand_model: str = "mano"
    """Whose parameters or mesh, as `load_hand_model` takes it."""
    pose: str = ""
    """What the file's pose holds: "angles", or pose "components" (DexYCB, smplx's `use_pca`); angles unless said."""

    _notes: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        choices = {"side": ("", "right", "left"), "frame": ("opencv", "opengl")}
        choices |= {"pose": ("", *POSES), "pose_zero": ("", *ZEROS)}
        for name, values in choices.items():
            if getattr(self, name) not in values:
                known = " or ".join(value for value in values if value)
                raise ConfigError(f"hand file: {name}: expected {known}, got {getattr(self, name)}: choose one")
        if isinstance(self.focal, str) and self.focal != "hamer":
            raise ConfigError(f"hand file: focal: expected pixels or hamer, got {self.focal}: give one of them")

    def __call__(self, image: Image, hands: tuple[Detection, ...] = ()) -> list[HandEstimate]:
        """All hands of the file. BridgeError for a file that is none, and for a number of hands other than of boxes."""
        check_picture(image, "hand file")
        if not self.path:
            raise ConfigError("hand file: expected the option path, got none: name the file")
        path = expanded(self.path)
        estimates = self.read(path, width=image.shape[1], height=image.shape[0])
        if hands and len(hands) != len(estimates):
            raise BridgeError(f"{path}: expected {len(hands)} hands, one per box, got {len(estimates)}: choose one")
        return estimates

    def provenance(self) -> Provenance:
        path = expanded(self.path)
        hashes = weight_hashes([path]) if path.is_file() else {}
        return Provenance("file", model=self.path, weights=hashes, options=options_of(self), notes=self._notes)

    def read(self, path: Path, *, width: int, height: int) -> list[HandEstimate]:
        """The hands of a file, for a picture (width, height)."""
        if path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth", ".npy"):
            raise BridgeError(f"{path}: expected npz or JSON, came a pickle, which runs programs: {_conversion(path)}")
        if path.suffix.lower() in MESHES:
            return [self._of_mesh(path, width, height)]
        values = _read(path)
        with np.errstate(all="ignore"):  # what is not finite is refused below
            estimates = self._of_values(values, path, width, height)
        for estimate in estimates:
            check_estimate(estimate, path)
        return [self._with_camera(one, width, height) for one in estimates]

    def _of_values(self, values: dict[str, Any], path: Path, width: int, height: int) -> list[HandEstimate]:
        if "pred_cam" in values and "box_center" in values:
            estimates = hands_of_hamer(values, path, width, height)
        else:
            each = values["hands"] if isinstance(values.get("hands"), list) else [values]
            estimates = [self._of_one(one, path, width, height) for one in each]
        if not estimates:
            raise BridgeError(f"{path}: expected a hand, got none: check what wrote it")
        return estimates

    def _of_one(self, values: Any, path: Path, width: int, height: int) -> HandEstimate:
        if not isinstance(values, dict):
            raise BridgeError(f"{path}: expected a hand's fields, got {type(values).__name__}: check what wrote it")
        if "wilor_preds" not in values:
            return self._of_fields(values, path)
        try:
            return wilor_estimate(values, width=width, height=height)
        except BridgeError as error:
            raise BridgeError(f"{path}: {error}") from error

    def _of_fields(self, values: Mapping[str, Any], path: Path) -> HandEstimate:
        known = {entry.name for entry in fields(HandEstimate)} | {"pose_holds", "pose_zero"}
        if strange := sorted(set(values) - known):
            raise BridgeError(
                f"{path}: expected fields of a hand ({', '.join(sorted(known))}), got {strange[0]}: rename it"
            )
        side = str(values.get("side", self.side))
        if side not in ("right", "left") or self.side not in ("", side):
            raise BridgeError(
                f'{path}: expected side "right" or "left"{f", {self.side} as the options say" if self.side else ""}, '
                f"got {side or 'none'}: say which hand it is"
            )
        model = located_hand(str(values["hand_model"]), path.parent) if "hand_model" in values else self.hand_model
        try:
            check_hand_source(model)
        except HandFileError as error:
            raise BridgeError(f"{path}: hand_model: {error}") from error
        given = {name: values[name] for name in SHAPES if values.get(name) is not None}
        confidence = checked_array(given.get("keypoint_confidence", np.ones(21)), "keypoint_confidence", path)
        arrays = {
            name: checked_array(value, name, path, missing=confidence <= 0 if name in KEYPOINTS else None)
            for name, value in given.items()
        }
        if lone := [name for name in ("pose", "rotation", "translation", "betas") if name not in arrays]:
            if len(lone) < 4:
                raise BridgeError(f"{path}: expected pose, rotation, translation and betas together, lacks {lone[0]}")
        else:
            arrays["pose"] = self._angles(values, arrays, model, side, path)
        for name, count in (("pose", 15), ("rotation", 1)):
            if name in arrays and arrays[name].shape[-2:] != (3, 3):
                arrays[name] = rotation_matrices(arrays[name].reshape(count, 3).squeeze())
            if name in arrays:
                check_rotations(arrays[name], name, path)
        if not arrays.keys() & {"pose", "vertices", "keypoints_2d"}:
            raise BridgeError(f"{path}: expected parameters, vertices or keypoints_2d, got none: check the file")
        return HandEstimate(
            side=side,
            hand_model=model,
            score=checked_score(values.get("score", 1.0), path),
            **arrays,
        )

    def _of_mesh(self, path: Path, width: int, height: int) -> HandEstimate:
        from fgs_jax.hands.files import load_hand_model, mirror_hand_model
        from fgs_jax.hands.fit import fit_hand

        vertices, faces = read_hand_mesh(path)
        try:
            model = load_hand_model(self.hand_model)
        except HandFileError as error:
            raise BridgeError(f"{path}: a mesh is fitted with its model: {error}") from error
        count = len(model.v_template)
        if len(vertices) != count:
            raise BridgeError(
                f"{path}: expected {count} vertices, as {model.name} has, got {len(vertices)}: save the hand alone, "
                "unmerged and open at the wrist"
            )
        extent = float(np.ptp(vertices, axis=0).max())
        if not LEAST_HAND < extent < GREATEST_HAND:
            raise BridgeError(f"{path}: expected a hand in metres, got one of {extent:.3g} m: rescale the mesh")
        if self.frame == "opengl":
            vertices = vertices * [1.0, -1.0, -1.0]
        if vertices[:, 2].min() <= 0:
            raise BridgeError(
                f"{path}: expected a mesh before the camera (z > 0), got z = {vertices[:, 2].min():.3g} m: is it in "
                "the camera's frame, or is its frame opengl?"
            )
        side = side_of_winding(faces, np.asarray(model.faces))
        if self.side and side and side != self.side:
            raise BridgeError(f"{path}: expected a {self.side} hand, got faces wound as a {side} one's: say the side")
        if not (side := self.side or side):
            raise BridgeError(f"{path}: expected {model.name}'s faces, got others, which tell no side: say side")
        model = model if side == "right" else mirror_hand_model(model)
        # float32 has few digits left ten metres away, so the fit is near the origin.
        middle = vertices.mean(axis=0)
        try:
            import jax
            import jax.numpy as jnp

            fit = jax.jit(lambda mesh: fit_hand(model, vertices=mesh))(jnp.asarray(vertices - middle, jnp.float32))
        except FgsError as error:
            raise BridgeError(f"{path}: {error}") from error
        self._notes = (f"fitted to the mesh, {1e3 * float(fit.error_3d):.2g} mm off on average",)
        estimate = HandEstimate(
            side=side,
            pose=rotation_matrices(np.asarray(fit.params.pose, float)),
            rotation=rotation_matrices(np.asarray(fit.params.rotation, float)),
            translation=np.asarray(fit.params.translation, float) + middle,
            betas=np.asarray(fit.params.betas, float),
            vertices=vertices,
            faces=faces,
            hand_model=self.hand_model,
        )
        return self._with_camera(estimate, width, height)

    def _with_camera(self, estimate: HandEstimate, width: int, height: int) -> HandEstimate:
        if estimate.K is not None or self.focal is None:
            return estimate
        focal = hamer_focal(width, height) if isinstance(self.focal, str) else self.focal
        return replace(estimate, K=camera_matrix(focal, width, height))

    def _angles(
        self, values: Mapping[str, Any], arrays: Mapping[str, ndarray], model: str, side: str, path: Path
    ) -> ndarray:
        """The pose as rotation vectors about the flat hand, or matrices, by what the file and the options say it is."""
        words = {"pose": "pose_holds", "pose_zero": "pose_zero"}
        said = {option: str(values.get(name, "")) for option, name in words.items()}
        for option, word in said.items():
            ours = getattr(self, option)
            if word and ours and word != ours:
                raise BridgeError(f"{path}: {option}: expected {ours}, as the options say, got {word}: choose one")
            said[option] = word or ours
        try:
            angles, note = read_pose(
                arrays["pose"],
                holds=said["pose"],
                zero=said["pose_zero"],
                source=model,
                side=side,
                compared="vertices" in arrays,
            )
        except (ValueError, HandFileError) as error:
            where = "these are options of `hand: file`, or pose_holds and pose_zero in the file itself"
            raise BridgeError(f"{path}: pose: {error}" + f" ({where})" * ("say " in str(error))) from error
        self._notes += (f"pose: {note}",) * bool(note)
        return angles


def write_hands(path: Path, estimates: list[HandEstimate]) -> None:
    """Writes hands so that `HandFile` reads the same: an npz for one hand, JSON for any number; whole or not at all.

    Raises ConfigError for several hands in an npz, BridgeError where the file cannot be written.
    """
    hands = []
    for estimate in estimates:
        values = {entry.name: getattr(estimate, entry.name) for entry in fields(estimate)}
        hands.append({name: value for name, value in values.items() if value is not None})
    if path.suffix.lower() == ".npz":
        if len(hands) != 1:
            raise ConfigError(f"{path}: expected one hand for an npz, got {len(hands)}: write JSON")
        keywords: dict[str, Any] = hands[0]
        np.savez_compressed(buffer := io.BytesIO(), **keywords)
        data = buffer.getvalue()
    else:
        data = json.dumps({"hands": hands}, default=lambda array: array.tolist()).encode()
    try:
        write_file_whole(path, data)
    except OSError as error:
        raise BridgeError(f"{path}: cannot be written ({error.strerror}): choose another place") from error


def _read(path: Path) -> dict[str, Any]:
    if (suffix := path.suffix.lower()) not in (".npz", ".json"):
        raise BridgeError(f"{path}: expected a name that ends in .npz, .json, .obj or .ply: choose the right file")
    data = read_input(path, "a hand's file", BridgeError)
    try:
        if suffix == ".npz":
            return {name: array[()] for name, array in read_npz(data).items()}
        content = read_json(data, constants=True)
        content = {"hands": content} if isinstance(content, list) else content
        if isinstance(content, dict):
            return content
        raise ValueError("neither an object nor a list")
    except Exception as error:  # zipfile, json and numpy each have their own for a damaged file
        reason = first_line(error)
        todo = _conversion(path) if "objects in place of numbers" in reason else "write it again"
        raise BridgeError(f"{path}: expected plain arrays or JSON, it cannot be read ({reason}): {todo}") from error


def _conversion(path: Path) -> str:
    """The line that turns a pickled dict of arrays or tensors, one level deep or two, into an npz."""
    code = (
        "import pickle, numpy; d = pickle.load(open(PATH, 'rb')); "
        "d = {k: v for n, x in d.items() for k, v in (x if isinstance(x, dict) else {n: x}).items()}; "
        "numpy.savez(PATH + '.npz', **{k: numpy.asarray(v) for k, v in d.items()})"
    )
    return f"where you trust it, convert it: python -c {shlex.quote(code.replace('PATH', repr(str(path))))}"
