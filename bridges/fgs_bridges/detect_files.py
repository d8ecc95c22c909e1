"""Boxes from files: those of 100DOH's detector, which runs apart, and those that somebody has written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fgs_bridges.detect import SIDES, ordered
from fgs_bridges.geometry import are_numbers, as_floats, is_box
from fgs_bridges.pretrained import check_picture, options_of
from fgs_bridges.provenance import versions, weight_hashes
from fgs_bridges.types import Detected, Detection, Image, Provenance
from fgs_jax.errors import BridgeError, ConfigError
from fgs_jax.files import read_input, read_npy, read_npz
from fgs_jax.strict import read_json


@dataclass
class Doh100:
    """Result files of 100DOH's detector (Shan et al. 2020; github.com/ddshan/hand_object_detector), which runs apart.

    Its two arrays `hand_dets` and `obj_dets`, (n, 10): box (4), score, contact state (0 none, 1 self, 2 other person,
    3 portable object, 4 stationary object), offset (magnitude / 1000 px, then a direction of any length), side (0 left,
    1 right). Of objects, box and score alone mean something. One .npz or .json file with both names, or two .npy files.
    """

    path: str = ""
    """A file with both arrays; or a .npy file with the hands."""
    objects_path: str = ""
    """A .npy file with the objects, where `path` is one with the hands."""

    BACKEND: ClassVar[str] = "doh100"

    def __post_init__(self) -> None:
        _check_path(self.path, self.BACKEND)

    def __call__(self, image: Image, object_name: str) -> Detected:
        check_picture(image, self.BACKEND)
        hand_rows, object_rows = read_doh100(self.path, self.objects_path)
        hands = [from_doh100_hand(row) for row in hand_rows]
        objects = [Detection(row[:4].copy(), float(row[4]), "object") for row in object_rows]
        return ordered(hands, objects, image, f"{self.BACKEND}: {self.path}")

    def provenance(self) -> Provenance:
        return _of_files(self, [path for path in (self.path, self.objects_path) if path])


@dataclass
class Manual:
    """Boxes that somebody wrote into a JSON file.

    {"hands": [{"box": [left, top, right, bottom], "side": "right"}], "objects": [{"box": [...]}]}, in pixels from the
    picture's top-left corner. "side" may be left out, and "score" and "label" may be given.
    """

    path: str = ""

    BACKEND: ClassVar[str] = "manual"

    def __post_init__(self) -> None:
        _check_path(self.path, self.BACKEND)

    def __call__(self, image: Image, object_name: str) -> Detected:
        check_picture(image, self.BACKEND)
        where = f"{self.BACKEND}: {self.path}"
        content = _read_json(self.path, where)
        if not isinstance(content, dict) or not set(content) <= {"hands", "objects"}:
            raise BridgeError(f'{where}: expected {{"hands": [...], "objects": [...]}}, got {_kind(content)}')
        hands, objects = (
            [_from_json(entry, f"{where}: {kind}[{i}]") for i, entry in enumerate(_listed(content, kind, where))]
            for kind in ("hands", "objects")
        )
        if any(entry.side for entry in objects):
            raise BridgeError(f"{where}: objects: expected no side, got one: only hands have sides")
        height, width = image.shape[:2]
        for entry in (*hands, *objects):
            if entry.box.min() < -1 or (entry.box > np.array([width, height] * 2) + 1).any():
                came = entry.box.tolist()
                raise BridgeError(
                    f"{where}: expected boxes within {width} x {height} pixels, got {came}: of another resolution?"
                )
        named = [replace(entry, label=entry.label or object_name) for entry in objects]
        return ordered([replace(entry, label=entry.label or "hand") for entry in hands], named, image, where)

    def provenance(self) -> Provenance:
        return _of_files(self, [self.path])


def from_doh100_hand(row: Float[ndarray, "10"]) -> Detection:
    """A row of `hand_dets`.

    The detector is trained on magnitudes in thousands of pixels; its directions have length 0.1 (`extension_layers.py`)
    and its drawing code multiplies by 10000 (`net_utils.py`), an older script by 1000 (`matching.py`). Directions of
    any length mean the same here.
    """
    length = float(np.hypot(*row[7:9]))
    offset = 1000 * row[6] * row[7:9] / length if length else np.zeros(2)
    return Detection(row[:4].copy(), float(row[4]), "hand", SIDES[int(row[9])], int(row[5]), offset)


def read_doh100(path: str, objects_path: str = "") -> tuple[Float[ndarray, "h 10"], Float[ndarray, "o 10"]]:
    """`hand_dets` and `obj_dets` of result files, checked; None and no array are no rows. Raises BridgeError."""
    suffixes = [Path(item).suffix.lower() for item in (path, objects_path) if item]
    if suffixes not in ([".npz"], [".json"], [".npy", ".npy"]):
        raise ConfigError(
            f"doh100: expected a .npz or .json file with hand_dets and obj_dets, or two .npy files (path, "
            f"objects_path), got {', '.join(item for item in (path, objects_path) if item)}: "
            "save with np.savez(file, hand_dets=hand_dets, obj_dets=obj_dets)"
        )
    if suffixes == [".npy", ".npy"]:
        arrays = [_read_numpy(path), _read_numpy(objects_path)]
    else:
        content = _read_json(path, f"doh100: {path}") if suffixes == [".json"] else _read_numpy(path)
        if not isinstance(content, dict) or not {"hand_dets", "obj_dets"} & set(content):
            raise BridgeError(f"doh100: {path}: expected hand_dets and obj_dets, got {_kind(content)}")
        arrays = [content.get("hand_dets"), content.get("obj_dets")]
    hands, objects = _rows(arrays[0], f"doh100: {path}"), _rows(arrays[1], f"doh100: {objects_path or path}")
    states, sides = hands[:, 5], hands[:, 9]
    if not np.isin(states, range(5)).all() or not np.isin(sides, (0, 1)).all():
        raise BridgeError(
            f"doh100: {path}: expected states 0 to 4 and sides 0 (left) or 1 (right), "
            f"got {states.tolist()} and {sides.tolist()}: check the order of the columns"
        )
    return hands, objects


def _of_files(backend: Any, paths: Sequence[str]) -> Provenance:
    return Provenance(
        backend=backend.BACKEND,
        model=backend.path,
        versions=versions("numpy"),
        weights=weight_hashes(Path(path) for path in paths if Path(path).is_file()),
        options=options_of(backend),
    )


def _check_path(path: str, backend: str) -> None:
    if not path:
        raise ConfigError(f"{backend}: path: expected a file, got none: give the option path")


def _read_json(path: str, where: str) -> Any:
    try:
        return read_json(_read(path, "JSON", where))
    except ValueError as error:
        raise BridgeError(f"{where}: expected JSON, got {error}: check the file") from error


def _read(path: str, expected: str, where: str) -> bytes:
    try:
        return read_input(Path(path), expected, BridgeError)
    except BridgeError as error:
        raise BridgeError(f"{where}: cannot be read ({str(error).removeprefix(f'{path}: ')})") from error


def _read_numpy(path: str) -> Any:
    """An array, or a dictionary of them; nothing is unpickled."""
    data = _read(path, "arrays", f"doh100: {path}")
    try:
        return read_npz(data) if data[:2] == b"PK" else read_npy(data)
    except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
        raise BridgeError(
            f"doh100: {path}: expected arrays of numbers, got an unreadable or pickled file: "
            "save with np.savez(file, hand_dets=hand_dets, obj_dets=obj_dets), None as np.empty((0, 10))"
        ) from error


def _rows(array: Any, where: str) -> Float[ndarray, "n 10"]:
    try:
        rows = np.empty((0, 10)) if array is None else as_floats(array)
    except (TypeError, ValueError):
        rows = np.array(np.nan)
    if not rows.size:
        return np.empty((0, 10))
    if rows.ndim != 2 or rows.shape[1] != 10 or not are_numbers(rows):
        raise BridgeError(f"{where}: expected finite numbers (n, 10), got {_shape(array)}: check what wrote it")
    if not (rows[:, :2] < rows[:, 2:4]).all():
        raise BridgeError(f"{where}: expected left < right and top < bottom, got a box without area: check the columns")
    return rows


def _from_json(entry: Any, where: str) -> Detection:
    if not isinstance(entry, dict) or not set(entry) <= {"box", "side", "score", "label"} or "box" not in entry:
        raise BridgeError(f"{where}: expected box and perhaps side, score, label, got {_kind(entry)}")
    try:
        box, score = as_floats(entry["box"]), float(entry.get("score", 1.0))
    except (TypeError, ValueError):
        box, score = np.empty(0), 0.0
    if not is_box(box) or not are_numbers(np.array(score)):
        came = entry["box"]
        raise BridgeError(f"{where}: expected [left, top, right, bottom] with left < right, top < bottom, got {came}")
    side = entry.get("side")
    if side not in (None, *SIDES):
        raise BridgeError(f"{where}: side: expected left or right, got {side}: leave it out where it is not known")
    return Detection(box, score, str(entry.get("label", "")), side)


def _listed(content: dict[str, Any], kind: str, where: str) -> list[Any]:
    entries = content.get(kind, [])
    if not isinstance(entries, list):
        raise BridgeError(f"{where}: {kind}: expected a list, got {_kind(entries)}")
    return entries


def _kind(content: Any) -> str:
    return f"keys {', '.join(map(str, content)) or 'none'}" if isinstance(content, dict) else type(content).__name__


def _shape(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, ndarray) else type(array).__name__
