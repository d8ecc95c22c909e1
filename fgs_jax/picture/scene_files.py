"""Scenes on disk: a folder that bridges write, that the core reads, and that a person can write by hand.

| file                                     | what                                                                      |
|------------------------------------------|---------------------------------------------------------------------------|
| `scene.json`                             | format, version, camera, side, object, file names; all that is not below  |
| `arrays.npz`                             | the arrays of `scene_arrays.ARRAY_SHAPES`, each under its name; no pickle |
| `object_mask.png`, `hand_mask.png`       | 255 inside, 0 outside, or a cut-out's alpha; both of the picture's size   |
| `image.png`, `object_image.png`          | RGB; what is transparent becomes white                                    |
| `object.ply`                             | the object's mesh, binary, doubles                                        |

By hand `format`, `version`, `side`, `camera` and `object` are enough, beside the masks, a mesh in any format of
`load_object`, and the hand: any array may stand in `scene.json` as a list, under its name. `hand` has `model`, a name
or a path from the scene's folder on, and says what `hand_pose` is: `pose`, "angles" or "components", about `pose_zero`,
the "flat" hand or the "mean" pose; without a word 45 numbers are angles about the flat hand. `object` has `file`,
`size`, "metric" or "unknown", and, where it is open, may have `surface`, "auto", "solid" or "sheet" (`load_object`); it
may have `up`, the axis of its frame that points up when it stands: "x", "y", "z", "-x", "-y", "-z" or three numbers. Of
poses that look alike the one that stands is then preferred (`upright.py`), against `gravity`, three numbers in the
camera's frame, [0, 1, 0] unless given. `camera` has `K`, or `focal` and `principal`, in pixels, with `pixel_centres`:
"corner" where (0, 0) is the picture's top-left corner, "integer" where it is the centre of the first pixel; `K_source`,
"calibrated", says that it was measured or is known, and keeps it as it is (`reframing.py`). Keypoints and boxes count
from the corner. A picture may have another name or format: `"image": "photo.jpg"`; each is turned as its own EXIF says,
and all that counts pixels means the upright picture (`pictures.py`). A keypoint that was not found has the confidence
0, and null (in arrays.npz: NaN) for its place. `files` holds hashes of what a program wrote; a name in it has to be
there. No key is there twice.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from fgs_jax.errors import SceneError
from fgs_jax.files import expanded, read_input, read_npz, write_whole
from fgs_jax.hands.files import located_hand
from fgs_jax.hands.pose_words import read_scene_pose
from fgs_jax.hands.safe_pickle import first_line
from fgs_jax.objects.mesh import ObjectMesh, load_object
from fgs_jax.picture.images import NotAMaskError, read_mask, read_picture
from fgs_jax.picture.scene import HAND_PARAMETERS, Scene, arrays_of
from fgs_jax.picture.scene_arrays import ARRAY_SHAPES, check_arrays
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.scene_words import HAND_KEYS, OBJECT_KEYS, PICTURES, SCENE_KEYS, read_camera, with_keys
from fgs_jax.picture.upright import read_direction
from fgs_jax.strict import read_json
from fgs_jax.types import HandParams

FORMAT, VERSION = "fgs-scene", 1
CONVENTION = "OpenCV: x right, y down, z forward; pixel (0, 0) is the top-left corner"

_BOXES = ("hand_box", "object_box")
"""Arrays that are written to scene.json."""
_NAMES = ("scene.json", "arrays.npz", "object.ply", *(f"{name}.png" for name in PICTURES))
_ANGLES = {"pose": "angles", "pose_zero": "flat"}


def save_scene(scene: Scene, folder: str | Path, overwrite: bool = False) -> None:
    """Writes a scene to a folder of its own, all of it or nothing; `load_scene` gives it back to the bit.

    `overwrite` replaces a scene that is there, once the new one is written. Hand parameters and the camera come back in
    JAX's default float type.

    Raises SceneError for a scene that `check_scene` refuses, where the folder is there already, where it holds other
    files than a scene's, and where it cannot be written. Raises MeshError for a mesh that `load_object` refuses.
    """
    folder = expanded(folder).resolve()
    try:
        check_scene(scene)
        files = _encoded(scene)
        _check_target(folder, overwrite)
    except SceneError as error:
        raise SceneError(f"{folder}: {error}") from error
    except OSError as error:
        came = error.strerror
        raise SceneError(f"{str(folder)[:200]}: cannot be written ({came}): choose another place") from error

    def write_files(temporary: Path) -> None:
        for name, data in files.items():
            (temporary / name).write_bytes(data)

    try:
        write_whole(folder, write_files)
    except OSError as error:
        raise SceneError(
            f"{folder}: cannot be written ({error.strerror}): free some space, or choose another place"
        ) from error


def load_scene(folder: str | Path) -> Scene:
    """Reads a scene's folder; the table above says what is in it. All numbers become metres and corner pixels.

    Raises SceneError, in one line, for a folder or file that is missing, damaged, changed since it was written, of a
    newer version or outside of the folder, and for a scene that `check_scene` refuses; MeshError for its mesh.
    """
    given = str(folder)[:200]
    try:
        folder = Path(folder).expanduser()
    except RuntimeError as error:
        raise SceneError(f"{given}: expected a scene's folder, there is no such home: check the path") from error
    try:
        return _load(folder)
    except SceneError as error:
        raise SceneError(f"{str(folder)[:200]}: {error}") from error


def _encoded(scene: Scene) -> dict[str, bytes]:
    """The bytes of each file."""
    mesh = scene.object
    load_object(
        (mesh.vertices, mesh.faces), mesh.size, mesh.name, surface=mesh.surface
    )  # what cannot be read is not written
    arrays = arrays_of(scene)
    boxes = {name: arrays.pop(name).tolist() for name in _BOXES if name in arrays}
    files = {"object.ply": _ply(mesh)}
    if arrays:
        files["arrays.npz"] = _npz(arrays)
    for name in PICTURES:
        if (picture := getattr(scene, name)) is not None:
            files[f"{name}.png"] = _png(np.where(picture, np.uint8(255), np.uint8(0)) if "mask" in name else picture)
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "units": "m",
        "image_size": list(scene.object_mask.shape[::-1]),
        "camera": {
            "focal": np.asarray(scene.camera.focal, float).tolist(),
            "principal": np.asarray(scene.camera.principal, float).tolist(),
            "pixel_centres": "corner",
            "convention": CONVENTION,
        },
        "side": scene.side,
        "prompt": scene.prompt,
        "hand": {"model": located_hand(scene.hand_model, Path())} | (_ANGLES if scene.hand_params is not None else {}),
        "object": {"file": "object.ply", **{key: getattr(mesh, key) for key in ("size", "surface", "name", "repairs")}}
        | ({} if scene.object_up is None else {"up": np.asarray(scene.object_up, float).tolist()}),
        **({} if scene.gravity is None else {"gravity": np.asarray(scene.gravity, float).tolist()}),
        **boxes,
        "provenance": scene.provenance,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    return files | {"scene.json": _json(meta)}


def _json(meta: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(meta, indent=2, ensure_ascii=False, allow_nan=False)
        # Lists of numbers on one line. Within texts a line break is written \n, so only lists are met.
        text = re.sub(r"\[\n([^][{}\"]*)]", lambda found: f"[{' '.join(found[1].split())}]", text)
        return (text + "\n").encode()
    except (TypeError, ValueError) as error:
        came = first_line(error)
        raise SceneError(
            f"provenance, prompt: expected values that JSON knows, got others ({came}): convert"
        ) from error


def _npz(arrays: Mapping[str, ndarray]) -> bytes:
    keywords: dict[str, Any] = dict(arrays)
    np.savez_compressed(buffer := io.BytesIO(), **keywords)
    return buffer.getvalue()


def _png(picture: UInt8[ndarray, "h w *c"]) -> bytes:
    Image.fromarray(picture).save(buffer := io.BytesIO(), "PNG", optimize=True)
    return buffer.getvalue()


def _ply(mesh: ObjectMesh) -> bytes:
    """Not by trimesh, which writes single precision."""
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(mesh.vertices)}"]
    lines += [f"property double {axis}" for axis in "xyz"]
    lines += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header", ""]
    faces = np.zeros(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    return "\n".join(lines).encode() + mesh.vertices.astype("<f8").tobytes() + faces.tobytes()


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise SceneError("the folder is there already: choose another name, or overwrite it (--overwrite)")
    if not folder.is_dir():
        raise SceneError("expected a scene to overwrite, came a file: choose another name")
    listed: Any = {}
    with suppress(SceneError):
        listed = _read_meta(folder).get("files", {})
    if others := sorted({path.name for path in folder.iterdir()} - {*_NAMES, *listed}):
        raise SceneError(f"expected a scene's files only to overwrite, came {others[0]}: move it elsewhere first")


def _load(folder: Path) -> Scene:
    meta = _read_meta(folder)
    for name, expected in meta.get("files", {}).items():
        if hashlib.sha256(_read(folder, name)).hexdigest() != expected:
            raise SceneError(
                f"{name}: expected the file that `files` in scene.json has the hash of, came another: "
                "write the scene again, or take the line out if the change is meant"
            )
    pictures = _read_pictures(folder, meta)
    hand = with_keys(meta.get("hand", {}), HAND_KEYS, (), "hand")
    arrays = _read_arrays(folder, meta)
    camera, source = read_camera(meta["camera"])
    thing = with_keys(meta["object"], OBJECT_KEYS, ("file", "size"), "object")
    if not all(isinstance(repair, str) for repair in thing.get("repairs", ())):
        raise SceneError('object: expected texts as "repairs", came others: correct it')
    words = {"surface": thing.get("surface", "auto"), "advice": 'give object "size": "unknown" in scene.json'}
    mesh = load_object(_within(folder, thing["file"]), thing["size"], thing.get("name"), **words)
    scene = Scene(
        camera=camera,
        object_mask=pictures["object_mask"],
        hand_mask=pictures["hand_mask"],
        hand_vertices=arrays.get("hand_vertices"),
        hand_faces=arrays.get("hand_faces"),
        object=replace(mesh, repairs=tuple(dict.fromkeys([*thing.get("repairs", ()), *mesh.repairs]))),
        image=pictures.get("image"),
        side=meta["side"],
        keypoints_2d=arrays.get("keypoints_2d"),
        keypoint_confidence=arrays.get("keypoint_confidence"),
        world_landmarks=arrays.get("world_landmarks"),
        hand_params=_hand_params(arrays),
        hand_model=located_hand(hand.get("model", "open_hand"), folder),
        object_image=pictures.get("object_image"),
        hand_box=arrays.get("hand_box"),
        object_box=arrays.get("object_box"),
        object_up=read_direction('object: "up"', thing["up"]) if "up" in thing else None,
        gravity=read_direction("gravity", meta["gravity"]) if "gravity" in meta else None,
        prompt=meta.get("prompt", ""),
        provenance=source | meta.get("provenance", {}),
    )
    check_scene(scene)
    return scene


def _read_meta(folder: Path) -> dict[str, Any]:
    data = _read(folder, "scene.json")
    try:
        meta = read_json(data)
    except ValueError as error:
        raise SceneError(f"scene.json: expected JSON, came none ({first_line(error)}): mend that line") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise SceneError(f'scene.json: expected "format": "{FORMAT}", came another: is this a scene?')
    version = meta.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        newer = type(version) is int and version > VERSION
        advice = "it is newer than this program: update fgs-jax" if newer else f'write "version": {VERSION}'
        raise SceneError(f"scene.json: expected version {VERSION}, came {version}: {advice}")
    meta = with_keys(meta, SCENE_KEYS, ("side", "camera", "object"), "scene.json")
    if meta.get("units", "m") != "m":
        raise SceneError(f'scene.json: expected units "m", came "{meta["units"]}": scale the lengths to metres')
    return meta


def _within(folder: Path, name: str) -> Path:
    """The path of a file, which must not lie elsewhere."""
    with suppress(OSError, ValueError, RuntimeError):  # links in a circle, or a name that no file can have
        if (folder / name).resolve().is_relative_to(folder.resolve()):
            return folder / name
    raise SceneError(
        f"{name!r:.80}: expected a file within the scene's folder, came a path that leaves it: move it there"
    )


def _read(folder: Path, name: str) -> bytes:
    try:
        return read_input(_within(folder, name), "this file", SceneError)
    except SceneError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise SceneError(f"{name}: expected this file, there is none: check the folder") from error
        raise SceneError(str(error).removeprefix(f"{folder}/")) from error


def _read_pictures(folder: Path, meta: dict[str, Any]) -> dict[str, ndarray]:
    """Masks as booleans, and the pictures that there are."""
    pictures: dict[str, ndarray] = {}
    for key in ("object_mask", "hand_mask", "image", "object_image"):
        name = meta.get(key, f"{key}.png")
        if "mask" in key:
            pictures[key] = _read_picture(folder, name, read_mask)
        elif key in meta or _within(folder, name).exists():
            pictures[key] = _read_picture(folder, name, read_picture)
        if key in pictures and key != "object_image":
            size = tuple(meta.get("image_size", pictures["object_mask"].shape[::-1]))
            if (came := pictures[key].shape[1::-1]) != size:
                wanted, got = (" x ".join(map(str, pair)) for pair in (size, came))
                raise SceneError(f"{name}: expected the size of the picture, {wanted} pixels, came {got}: rescale it")
    return pictures


def _read_picture(folder: Path, name: str, reader: Callable[[bytes], ndarray]) -> ndarray:
    data = _read(folder, name)
    try:
        return reader(data)
    except NotAMaskError as error:
        raise SceneError(f"{name}: {error}") from error
    except ValueError as error:
        raise SceneError(f"{name}: expected a picture, it is damaged or none ({error}): write it again") from error


def _read_arrays(folder: Path, meta: dict[str, Any]) -> dict[str, ndarray]:
    """The arrays of arrays.npz and scene.json: checked, floats as they were written."""
    arrays: dict[str, ndarray] = {}
    if _within(folder, "arrays.npz").exists():
        data = _read(folder, "arrays.npz")
        try:
            arrays = read_npz(data)
        except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
            came = first_line(error)
            raise SceneError(f"arrays.npz: expected plain arrays, came none ({came}): write the scene again") from error
    if unknown := [name for name in arrays if name not in ARRAY_SHAPES]:
        raise SceneError(f'arrays.npz: expected names among {", ".join(ARRAY_SHAPES)}, came "{unknown[0]}": rename it')
    for name in ARRAY_SHAPES:
        if name in meta and name in arrays:
            raise SceneError(f"{name}: expected it once, came in scene.json and in arrays.npz: take one out")
        if name in meta:
            try:
                arrays[name] = _with_gaps(np.asarray(meta[name]))
            except ValueError as error:
                raise SceneError(f"{name}: expected rows of one length, came others: check the list") from error
    arrays = read_scene_pose(arrays, meta, folder)
    check_arrays(arrays)
    return {
        name: array if array.dtype.kind == "f" or name == "hand_faces" else array.astype(float)
        for name, array in arrays.items()
    }


def _with_gaps(array: ndarray) -> ndarray:
    """Numbers with NaN for each null; anything else as it is."""
    with suppress(TypeError, ValueError):
        return array.astype(float) if array.dtype == object else array
    return array


def _hand_params(arrays: Mapping[str, ndarray]) -> HandParams | None:
    given = {name: jnp.asarray(arrays[f"hand_{name}"]) for name in HAND_PARAMETERS if f"hand_{name}" in arrays}
    if not given:
        return None
    if missing := [name for name in ("pose", "rotation", "translation") if name not in given]:
        raise SceneError(f"hand_{missing[0]}: expected it beside hand_{next(iter(given))}, came none: give all of them")
    return HandParams(**given)
