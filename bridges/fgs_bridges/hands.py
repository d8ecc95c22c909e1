"""Hands from files and from any tool by command, and the check of a tool's parameters against its own mesh."""

import io
import json
import os
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from PIL import Image as Pictures

from fgs_bridges.command import run_command
from fgs_bridges.geometry import (
    are_numbers,
    as_floats,
    camera_matrix,
    flat_pose,
    hamer_focal,
    hand_transform,
    mirror_vectors,
    rotation_matrices,
    rotation_vectors,
)
from fgs_bridges.hamer import hamer_estimates
from fgs_bridges.pretrained import check_picture, first_line, options_of
from fgs_bridges.provenance import weight_hashes
from fgs_bridges.types import Detection, HandEstimate, Image, Provenance
from fgs_bridges.wilor import wilor_estimate
from fgs_jax.errors import BridgeError, ConfigError, FgsError, HandFileError, MeshError
from fgs_jax.files import expanded, read_input, read_npz, write_file_whole
from fgs_jax.hands.files import check_hand_source, located_hand
from fgs_jax.hands.pose_words import POSES, ZEROS, read_pose
from fgs_jax.objects.files import read_mesh_file
from fgs_jax.picture.keypoints import counted
from fgs_jax.picture.scene_arrays import KEYPOINTS
from fgs_jax.strict import read_json
from fgs_jax.types import HandModel

MESHES = (".obj", ".ply")
LEAST_HAND, GREATEST_HAND = 0.05, 0.4
"""Metres: extent of a hand's mesh; others are of another unit."""
WORST = 1.0
"""Millimetres that our layer may differ from a tool's own vertices."""

_SHAPES: dict[str, tuple[tuple[int | None, ...], ...]] = {
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
            _check_estimate(estimate, path)
        return [self._with_camera(one, width, height) for one in estimates]

    def _of_values(self, values: dict[str, Any], path: Path, width: int, height: int) -> list[HandEstimate]:
        if "pred_cam" in values and "box_center" in values:
            estimates = _of_hamer(values, path, width, height)
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
        given = {name: values[name] for name in _SHAPES if values.get(name) is not None}
        confidence = _array(given.get("keypoint_confidence", np.ones(21)), "keypoint_confidence", path)
        arrays = {
            name: _array(value, name, path, missing=confidence <= 0 if name in KEYPOINTS else None)
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
                _check_rotations(arrays[name], name, path)
        if not arrays.keys() & {"pose", "vertices", "keypoints_2d"}:
            raise BridgeError(f"{path}: expected parameters, vertices or keypoints_2d, got none: check the file")
        return HandEstimate(
            side=side,
            hand_model=model,
            score=_score(values.get("score", 1.0), path),
            **arrays,
        )

    def _of_mesh(self, path: Path, width: int, height: int) -> HandEstimate:
        from fgs_jax.hands.files import load_hand_model, mirror_hand_model
        from fgs_jax.hands.fit import fit_hand

        vertices, faces = _read_mesh(path)
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
        side = _winding(faces, np.asarray(model.faces))
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


@dataclass
class HandCommand:
    """Any tool that writes a hand as `HandFile` reads it, run by a command.

    In `argv`, {image} is the picture (PNG), {folder} the folder that holds it alone, {boxes} a JSON list of boxes with
    their sides, {out} the folder to write to.
    """

    argv: list[str] | str = ""
    outputs: list[str] = field(default_factory=lambda: ["*.npz", "*.json"])
    """Glob patterns of the files that it writes, within {out}."""
    cwd: str = "."
    env: dict[str, str] = field(default_factory=dict)
    timeout: float = 600.0
    """Seconds."""
    side: str = ""
    pose_zero: str = ""
    frame: str = "opencv"
    focal: float | str | None = None
    hand_model: str = "mano"
    pose: str = ""
    """These six as in `HandFile`."""
    licence: str = ""

    _notes: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if not self.argv:
            raise ConfigError("hand command: expected the option argv, the program and its arguments, got none")
        self._reader("")

    def __call__(self, image: Image, hands: tuple[Detection, ...] = ()) -> list[HandEstimate]:
        """All hands that the tool writes. BridgeError where it fails, and for a number of hands other than of boxes."""
        check_picture(image, "hand command")
        argv = shlex.split(self.argv) if isinstance(self.argv, str) else self.argv
        with tempfile.TemporaryDirectory(prefix="fgs_hand_") as name:
            folder = Path(name)
            (folder / "picture").mkdir()
            (folder / "out").mkdir()
            Pictures.fromarray(image).save(folder / "picture" / "image.png")
            boxes = [{"box": np.asarray(hand.box).tolist(), "side": hand.side, "score": hand.score} for hand in hands]
            (folder / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
            values = {
                "image": str(folder / "picture" / "image.png"),
                "folder": str(folder / "picture"),
                "boxes": str(folder / "boxes.json"),
                "out": str(folder / "out"),
            }
            log = Path(tempfile.gettempdir()) / f"fgs_hand_command.{os.getpid()}.log"
            written = run_command(
                argv,
                values,
                cwd=expanded(self.cwd),
                env=self.env,
                timeout=self.timeout,
                outputs=self.outputs,
                log=log,
                folder=folder / "out",
            )
            reader = self._reader("")
            estimates = [
                estimate
                for path in written
                for estimate in reader.read(path, width=image.shape[1], height=image.shape[0])
            ]
            self._notes = reader._notes
            log.unlink()
        if hands and len(hands) != len(estimates):
            raise BridgeError(
                f"{argv[0]}: expected {len(hands)} hands, one per box, got {len(estimates)}: have it read {{boxes}}"
            )
        return estimates

    def provenance(self) -> Provenance:
        argv = self.argv if isinstance(self.argv, str) else shlex.join(self.argv)
        return Provenance("command", model=argv, options=options_of(self), licence=self.licence, notes=self._notes)

    def _reader(self, path: str) -> HandFile:
        return HandFile(path, self.side, self.pose_zero, self.frame, self.focal, self.hand_model, self.pose)


def check_hand(estimate: HandEstimate, model: HandModel | None = None) -> float:
    """How far our MANO layer with a tool's parameters is from the tool's own vertices: the largest distance, in mm.

    `model` is the estimate's, of either side, unless given. Raises BridgeError from 1 mm on, naming the cause where one
    of the usual ones explains it, and where parameters or vertices are missing.
    """
    import jax
    import jax.numpy as jnp

    from fgs_jax.hands.files import load_hand_model, mirror_hand_model
    from fgs_jax.hands.mano import hand, wrist_at_rest
    from fgs_jax.types import HandParams

    pose, rotation, translation, vertices = estimate.pose, estimate.rotation, estimate.translation, estimate.vertices
    betas = estimate.betas
    if pose is None or rotation is None or translation is None or vertices is None or betas is None:
        raise BridgeError("check_hand: expected a hand's parameters and its tool's own vertices, some are missing")
    model = load_hand_model(estimate.hand_model) if model is None else model
    ours = model if model.side == estimate.side else mirror_hand_model(model)
    if len(vertices) != len(model.v_template) or len(betas) > model.joint_shapedirs.shape[-1]:
        came = f"{len(vertices)} vertices and {len(betas)} betas"
        raise BridgeError(f"check_hand: expected a mesh of {model.name}, {len(model.v_template)} vertices, got {came}")

    def posed(model: HandModel, pose: ndarray, rotation: ndarray) -> Float[ndarray, "v 3"]:
        """Without the translation, which would take digits."""
        arrays = [jnp.asarray(array, jnp.float32) for array in (betas, pose, rotation, np.zeros(3))]
        params = HandParams(betas=arrays[0], pose=arrays[1], rotation=arrays[2], translation=arrays[3])
        return np.asarray(jax.jit(hand)(model, params).vertices, float)

    def error(skin: Float[ndarray, "v 3"]) -> float:
        return float(1e3 * np.linalg.norm(skin - vertices, axis=1).max())

    ours_posed = posed(ours, pose, rotation)
    largest = error(ours_posed + translation)
    if largest < WORST:
        return largest

    wrist = np.asarray(wrist_at_rest(ours, jnp.asarray(betas, jnp.float32)), float)
    about_origin = hand_transform(rotation, translation, wrist)[1] - translation
    mean = np.asarray(ours.pose_mean, float)
    vectors, turn = rotation_vectors(pose), rotation_vectors(rotation)
    mirrored = rotation_matrices(mirror_vectors(vectors)), rotation_matrices(mirror_vectors(turn))
    other = mirror_hand_model(ours)
    causes = {
        f"the side: it is a {other.side} hand": posed(other, pose, rotation) + translation,
        "the side: its parameters are those of the hand in a mirror": posed(ours, *mirrored) + translation,
        "the pose mean: its pose zero is the mean pose (pose_zero: mean)": posed(
            ours, rotation_matrices(flat_pose(vectors, mean)), rotation
        )
        + translation,
        "the pose mean: it was added, and should not be": posed(ours, rotation_matrices(vectors - mean), rotation)
        + translation,
        "the pivot: it turns about the origin, not about joint 0": ours_posed + translation - about_origin,
        "the pivot: its translation is the wrist's place": ours_posed + translation - wrist,
        "the translation": ours_posed + (vertices - ours_posed).mean(axis=0),
    }
    found = [cause for cause, skin in causes.items() if error(skin) < WORST]
    said = found[0] if found else "none of side, pose mean, pivot and translation alone; is it another hand model?"
    raise BridgeError(
        f"check_hand: expected our layer within {WORST:g} mm of the tool's own vertices, got {largest:.3g} mm: "
        f"the likely cause is {said}"
    )


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


def _of_hamer(values: Mapping[str, Any], path: Path, width: int, height: int) -> list[HandEstimate]:
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


def _array(value: Any, name: str, path: Path, missing: Bool[ndarray, "21"] | None = None) -> ndarray:
    """Finite numbers of one of the shapes of `name`; of keypoints that are `missing` they may be NaN."""
    with suppress(TypeError, ValueError):
        array = as_floats(value)
        if _fits(array, name) and are_numbers(array if missing is None else array[~missing]):
            if name != "faces":
                return array
            if (array == np.rint(array)).all():
                return array.astype(np.int32)
    shapes = " or ".join(str(shape).replace("None", "n") for shape in _SHAPES[name])
    raise BridgeError(f"{path}: expected finite numbers of shape {shapes} in {name}, got others: check what wrote it")


def _fits(array: ndarray, name: str) -> bool:
    return any(
        len(array.shape) == len(shape) and all(e in (None, s) for s, e in zip(array.shape, shape, strict=True))
        for shape in _SHAPES[name]
    )


def _check_estimate(estimate: HandEstimate, path: Path) -> None:
    """Raises BridgeError for arrays of other shapes, of a tool's result, and for faces of vertices that are not there;
    small numbers that are divided by, and large ones, may end in none that is finite.
    """
    for name in _SHAPES:
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


def _score(value: Any, path: Path) -> float:
    with suppress(TypeError, ValueError):
        if are_numbers(np.array(score := float(value))):
            return score
    raise BridgeError(f"{path}: expected a finite number as score, got {str(value)!r:.40}: check what wrote it")


def _check_rotations(matrices: Float[ndarray, "*n 3 3"], name: str, path: Path) -> None:
    skewed = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max()
    if skewed > 1e-3 or np.linalg.det(matrices).min() < 0:
        raise BridgeError(f"{path}: expected rotations in {name}, got R R^T off by {skewed:.2g}: check what wrote it")


def _read_mesh(path: Path) -> tuple[Float[ndarray, "v 3"], Int[ndarray, "f 3"]]:
    try:
        vertices, faces = read_mesh_file(path, [])
    except MeshError as error:
        came = f"it cannot be read ({str(error).removeprefix(f'{path}: ')})"
        if isinstance(error.__cause__, FileNotFoundError):
            came = "there is none: check the path"
        raise BridgeError(f"{path}: expected a mesh, {came}") from error
    if not len(vertices) or not np.isfinite(vertices).all():
        raise BridgeError(f"{path}: expected finite vertices, got none or NaN: write it again")
    return vertices, faces.astype(np.int32)


def _winding(faces: Int[ndarray, "f 3"], right: Int[ndarray, "f 3"]) -> str:
    """The side whose faces these are: the right model's, or those reversed; "" for neither."""
    given = _canonical(faces)
    for side, wound in (("right", right), ("left", right[:, ::-1])):
        if _canonical(wound) <= given:
            return side
    return ""


def _canonical(faces: Int[ndarray, "f 3"]) -> set[tuple[int, ...]]:
    """Each face from its least vertex on."""
    start = np.argmin(faces, axis=1)[:, None]
    return set(map(tuple, np.take_along_axis(faces, (start + np.arange(3)) % 3, axis=1).tolist()))
