"""Hand model files: the open hand, MANO's own pickles, npz files of the same keys; a left hand from a right one.

Keys and shapes are MANO's. Host side, numpy, float64; no pickle is run (`safe_pickle`).
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from fgs_jax.errors import HandFileError, HandFileWarning
from fgs_jax.files import read_input, read_npz
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands.checks import SHAPES, check_length, check_tips, checked, wound_outward
from fgs_jax.hands.safe_pickle import first_line, read_pickled_arrays, run_pickled_arrays
from fgs_jax.mirror import MATRIX_SIGNS, POINT_SIGNS, TURN_SIGNS
from fgs_jax.notes import warn
from fgs_jax.types import HandModel, on_device

HAND_NAMES = ("open_hand", "open_hand_full", "mano")

_ASSETS = Path(__file__).parents[1] / "assets"
_MOST_BYTES = 2**28
"""Of a hand file; MANO's have four million."""


def load_hand_model(
    source: str | Path | None = None,
    side: str = "right",
    *,
    tip_vertex_ids: Sequence[int] | np.ndarray | None = None,
) -> HandModel:
    """A hand model by name or from a file.

    `source`: "open_hand", "open_hand_full", "mano" (MANO_RIGHT or MANO_LEFT, .pkl or .npz, in the folder
    $FGS_MANO_DIR), or the path of a file (`read_hand_file`). None is "mano" where $FGS_MANO_DIR is set, else
    "open_hand". `side`: "right" or "left"; where a name has no left file, its right hand is mirrored.
    `tip_vertex_ids`: the fingertips from thumb to pinky, in place of the file's or of those that are found.

    Raises HandFileError for a file that is missing, damaged, unsafe, not of MANO's structure, or of the other side.
    """
    if side not in ("right", "left"):
        raise HandFileError(f"expected side 'right' or 'left', came {side!r}")
    name, path, file_side = locate_hand_file(source, side)
    model = hand_model(read_hand_file(path, tip_vertex_ids=tip_vertex_ids), name)
    if model.side != file_side:
        raise HandFileError(
            f"{path}: expected a {file_side} hand, came a {model.side} one; name a file of a {file_side} hand, or, in "
            f"Python, load this one with side={model.side!r} and mirror it by mirror_hand_model"
        )
    return model if side == file_side else mirror_hand_model(model)


def locate_hand_file(source: str | Path | None = None, side: str = "right") -> tuple[str, Path, str]:
    """Name, path and side of the file that `load_hand_model` reads.

    Raises HandFileError for an unknown name, and for "mano" without $FGS_MANO_DIR or without a file in it.
    """
    folder = os.environ.get("FGS_MANO_DIR")
    source = source or ("mano" if folder else "open_hand")
    if source == "mano":
        if not folder:
            raise HandFileError(
                "mano: expected $FGS_MANO_DIR to name the folder of MANO_RIGHT.pkl, it is not set; "
                "get the files at mano.is.tue.mpg.de, or take 'open_hand'"
            )
        for file_side in dict.fromkeys((side, "right")):
            for suffix in (".pkl", ".npz"):
                path = _expanded(folder) / f"MANO_{file_side.upper()}{suffix}"
                if _is_there(path):
                    return "mano", path, file_side
        raise HandFileError(
            f"{folder}: expected MANO_RIGHT.pkl (or .npz) in this folder, came none; "
            "set $FGS_MANO_DIR to the folder that has it, or take 'open_hand'"
        )
    if isinstance(source, str) and source in HAND_NAMES:
        return source, _ASSETS / f"{source}.npz", "right"
    path = _expanded(source)
    if path.parent == Path() and not path.suffix and not _is_there(path):
        raise HandFileError(
            f"{str(source)[:80]}: expected one of {', '.join(HAND_NAMES)}, or the path of a file; no such name or file"
        )
    return path.stem, path, side


def hand_of_side(source: str | Path | None = None, side: str = "right") -> HandModel:
    """`load_hand_model` for whichever side the file is of: mirrored where it is of the other one."""
    name, path, _ = locate_hand_file(source, side)
    model = hand_model(read_hand_file(path), name)
    return model if model.side == side else mirror_hand_model(model)


def hand_is_here(source: str | Path) -> bool:
    """Whether there is a file of that hand model; MANO's is nowhere but where someone has put it."""
    try:
        return _is_there(locate_hand_file(source)[1])
    except HandFileError:
        return False


def located_hand(source: str | Path, folder: Path) -> str:
    """A hand model as `load_hand_model` takes it from anywhere: a name, or an absolute path, from `folder` on."""
    return str(source) if source in HAND_NAMES else str(folder.absolute() / _expanded(source))


def check_hand_source(source: str | Path) -> None:
    """Raises HandFileError, in one line, for a name or a path that no hand model has.

    "mano" is a name that is known, whether its file is here or not.
    """
    if source == "mano":
        return
    if not hand_is_here(source):
        raise HandFileError(
            f"{str(source)[:200]}: no such hand model; expected {', '.join(HAND_NAMES)}, or the path of a hand file"
        )
    if source not in HAND_NAMES:
        read_hand_file(source)


def same_hand(model: HandModel, other: HandModel, betas: int) -> bool:
    """Whether parameters with that many betas mean the same to both: one template, and the same shapes to a micron."""
    if model.v_template.shape != other.v_template.shape:
        return False
    templates, shapes = (
        [np.asarray(part) for part in parts]
        for parts in (
            (model.v_template, other.v_template),
            (model.shapedirs[:, :, :betas], other.shapedirs[:, :, :betas]),
        )
    )
    return all(a.shape == b.shape and bool(np.allclose(a, b, rtol=0.0, atol=1e-6)) for a, b in (templates, shapes))


def read_hand_file(
    path: str | Path, *, tip_vertex_ids: Sequence[int] | np.ndarray | None = None, trust_pickle: bool = False
) -> dict[str, np.ndarray]:
    """The arrays of a hand file under MANO's key names: checked, float64 or int64, with all that a file may lack.

    Reads MANO's own pickles, npz files of the same keys, and what `write_hand_file` writes. Added where missing:
    hands_components_std, pose_std, f_cap, wrist_loop, tip_vertex_ids, regions, joint_limits, joint_names, side. The
    official MANO_LEFT.pkl has the right hand's x in its shape directions (smplx issue 48): its sign is turned, with a
    HandFileWarning, as are faces that are wound inward and weights that rounding has spoilt.

    `trust_pickle` RUNS a pickle whose arrays are of kinds that we do not know: only for a file that you trust.

    Raises HandFileError, see `load_hand_model`.
    """
    path = _expanded(path)
    raw = _read_raw(path, trust_pickle=trust_pickle)
    if tip_vertex_ids is not None:
        raw["tip_vertex_ids"] = np.asarray(tip_vertex_ids)
    arrays = _complete(checked(raw, path), path)
    if arrays["side"] == "left" and _has_right_shapedirs(arrays, path):
        arrays["shapedirs"] = arrays["shapedirs"] * np.array([-1.0, 1.0, 1.0])[:, None]
        message = f"{path}: turned the sign of x in shapedirs, which is wrong in the official left MANO file"
        warn(HandFileWarning(message))
    return arrays


def write_hand_file(path: str | Path, arrays: Mapping[str, np.ndarray], *, overwrite: bool = False) -> None:
    """Writes the arrays of `read_hand_file` as a plain npz, which needs no pickle to be read.

    Raises HandFileError where the name does not end in .npz, where the file is there already, unless `overwrite`, where
    an array holds Python objects, and where the file cannot be written.
    """
    path = _expanded(path)
    if path.suffix != ".npz":
        raise HandFileError(f"{path}: expected a name that ends in .npz; choose such a name")
    if _is_there(path) and not overwrite:
        raise HandFileError(f"{path}: the file is there already; choose another name, or overwrite it (--overwrite)")
    if objects := [key for key, array in arrays.items() if array.dtype.hasobject]:
        raise HandFileError(
            f"{path}: expected plain arrays, came Python objects in {', '.join(objects)}; leave them out"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    keywords: dict[str, Any] = dict(arrays)
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **keywords)
        temporary.replace(path)
    except OSError as error:
        raise HandFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def hand_model(arrays: Mapping[str, np.ndarray], name: str) -> HandModel:
    """A HandModel of the arrays of `read_hand_file`, in JAX's default float type."""
    regressor, template, shapedirs = arrays["J_regressor"], arrays["v_template"], arrays["shapedirs"]
    joints, tips, side = regressor @ template, arrays["tip_vertex_ids"], str(arrays["side"])
    number = jnp.result_type(float)
    return HandModel(
        v_template=on_device(template, number),
        blend_directions=on_device(np.concatenate([shapedirs, arrays["posedirs"]], axis=2).T, number),
        weights=on_device(arrays["weights"], number),
        joint_regressor=on_device(regressor, number),
        joint_template=on_device(joints, number),
        joint_shapedirs=on_device(np.tensordot(regressor, shapedirs, 1), number),
        faces=on_device(arrays["f"], np.int32),
        cap_faces=on_device(arrays["f_cap"], np.int32),
        wrist_loop=on_device(arrays["wrist_loop"], np.int32),
        tip_vertex_ids=on_device(tips, np.int32),
        regions=on_device(arrays["regions"], np.int32),
        bone_frames=on_device(hand_anatomy.bone_frames(joints, template[tips], side), number),
        joint_limits=on_device(arrays["joint_limits"], number),
        pose_mean=on_device(arrays["hands_mean"].reshape(15, 3), number),
        pose_std=on_device(arrays["pose_std"], number),
        pose_components=on_device(arrays["hands_components"], number),
        pose_component_std=on_device(arrays["hands_components_std"], number),
        name=name,
        side=side,
    )


def mirror_hand_model(model: HandModel) -> HandModel:
    """The hand of the other side: the mirror image in x. Twice is the same model, to the bit."""
    mirror, turn = POINT_SIGNS, TURN_SIGNS
    blend = np.ones(len(model.blend_directions), int)
    blend[-135:] = np.tile(MATRIX_SIGNS.ravel(), 15)  # R - I becomes M (R - I) M
    limits = model.joint_limits
    return replace(
        model,
        v_template=_signed(model.v_template, mirror),
        blend_directions=_signed(model.blend_directions, np.outer(blend, mirror)[:, :, None]),
        joint_template=_signed(model.joint_template, mirror),
        joint_shapedirs=_signed(model.joint_shapedirs, mirror[:, None]),
        faces=model.faces[:, ::-1],
        cap_faces=model.cap_faces[:, ::-1],
        wrist_loop=model.wrist_loop[::-1],
        bone_frames=_signed(model.bone_frames, np.stack([mirror, mirror, turn])),
        joint_limits=jnp.concatenate([-limits[:, :2, ::-1], limits[:, 2:]], axis=1),
        pose_mean=_signed(model.pose_mean, turn),
        pose_components=_signed(model.pose_components, np.tile(turn, 15)),
        side="left" if model.side == "right" else "right",
    )


def _signed(array: Array, signs: np.ndarray) -> Array:
    return array * jnp.asarray(np.broadcast_to(signs, array.shape), array.dtype)


def _expanded(source: str | Path) -> Path:
    """The path that a person has named, its ~ replaced."""
    if not isinstance(source, (str, Path)):
        raise HandFileError(f"expected the name or the path of a hand model, came {type(source).__name__}; name a file")
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise HandFileError(f"{str(source)[:80]}: expected a hand model file, there is no such home folder") from error


def _is_there(path: Path) -> bool:
    with suppress(OSError, ValueError):  # a name that no file can have
        return path.exists()
    return False


def _read_raw(path: Path, *, trust_pickle: bool = False) -> dict[str, np.ndarray]:
    """What the file holds under the keys that we know."""
    data = read_input(path, "a hand model file", HandFileError, most=_MOST_BYTES)
    if data.startswith(b"PK"):
        return _read_npz(data, path)
    return (run_pickled_arrays if trust_pickle else read_pickled_arrays)(data, SHAPES, path)


def _read_npz(data: bytes, path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(data, _MOST_BYTES, SHAPES)
    except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
        raise HandFileError(
            f"{path}: expected an npz of plain arrays, it is damaged or holds pickled objects ({first_line(error)}); "
            "download it again, or convert the pickle it was made of with `fgs hand convert`"
        ) from error


def _complete(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Adds what the file lacks; what it has stays."""
    vertices, faces, weights = arrays["v_template"], arrays["f"], arrays["weights"]
    joints = arrays["J_regressor"] @ vertices
    bones = joints[1:] - joints[list(hand_anatomy.PARENTS[1:])]
    if (shortest := np.linalg.norm(bones, axis=1).min()) < 1e-4:
        raise HandFileError(
            f"{path}: expected joints apart, came two within {shortest * 1e3:.2g} mm; "
            "check J_regressor, and that v_template is in metres"
        )
    side = hand_anatomy.find_side(joints)
    if arrays.get("side", side) != side:
        raise HandFileError(
            f"{path}: expected a {arrays['side']} hand, as the file says, came a {side} one; check the file"
        )
    tips, loop = arrays.get("tip_vertex_ids"), arrays.get("wrist_loop")
    try:
        tips = hand_anatomy.find_tips(vertices, weights, joints) if tips is None else tips
        loop = hand_anatomy.find_wrist_loop(faces) if loop is None else loop
    except ValueError as error:
        raise HandFileError(
            f"{path}: expected a hand that is open at the wrist, with skin at each last joint; {error}; check the file"
        ) from error
    check_tips(tips, weights, path)
    check_length(float(np.linalg.norm(vertices[tips[2]] - joints[0])), path)
    arrays = wound_outward(arrays | {"wrist_loop": loop}, path)
    frames = hand_anatomy.bone_frames(joints, vertices[tips], side)
    pose_std, component_std = _pose_deviations(arrays, path)
    return {
        "hands_components_std": component_std,
        "pose_std": pose_std,
        "tip_vertex_ids": tips,
        "regions": hand_anatomy.contact_regions(vertices, arrays["f"], weights, joints, frames),
        "joint_limits": hand_anatomy.joint_limits(side),
        "joint_names": np.array(hand_anatomy.JOINT_NAMES),
        "side": np.array(side),
    } | arrays


def _pose_deviations(arrays: dict[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of the joint angles (15, 3) and of the pose components (c,)."""
    components = arrays["hands_components"]
    if "hands_coeffs" in arrays:
        coefficients = arrays["hands_coeffs"]
        pose_std = (coefficients @ components).std(axis=0).reshape(15, 3)
        if (still := pose_std < 1e-6).any():
            message = (
                f"{path}: {still.sum()} of 45 joint angles do not vary in hands_coeffs: the open hand's spread taken"
            )
            warn(HandFileWarning(message))
        return np.where(still, _open_hand_spread(), pose_std), coefficients.std(axis=0)
    pose_std = arrays["pose_std"] if "pose_std" in arrays else _open_hand_spread()
    # Without samples the angles count as independent: the variance along a component is the sum of theirs.
    return pose_std, np.sqrt(components**2 @ pose_std.ravel() ** 2)


def _open_hand_spread() -> np.ndarray:
    with np.load(_ASSETS / "open_hand.npz", allow_pickle=False) as file:
        return file["pose_std"].astype(np.float64)


def _has_right_shapedirs(left: dict[str, np.ndarray], path: Path) -> bool:
    """Whether x of a left hand's shape directions is a right hand's.

    Decided by the right hand's file beside it, whose x is then the same and should be the opposite. Else by the first
    direction, a change of size: x must grow with the hand where y and z do, and shrink with them.
    """
    right_path = path.with_name(path.name.replace("LEFT", "RIGHT").replace("left", "right"))
    if right_path != path and _is_there(right_path):
        try:
            right = checked(_read_raw(right_path), right_path)["shapedirs"]
        except HandFileError:
            right = np.zeros(0)
        if right.shape == left["shapedirs"].shape:
            likeness = _correlation(right[:, 0], left["shapedirs"][:, 0])
            if abs(likeness) > 0.9:
                return likeness > 0
    template, size = left["v_template"], left["shapedirs"][:, :, 0]
    along_x = _correlation(template[:, :1], size[:, :1])
    along_yz = _correlation(template[:, 1:], size[:, 1:])
    return min(abs(along_x), abs(along_yz)) > 0.3 and along_x * along_yz < 0


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float((a * b).sum() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30))
