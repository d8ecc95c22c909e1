"""Where the hands and the object are in a picture, and which of them are one interaction.

Boxes are (left, top, right, bottom) in pixels from the picture's top-left corner, cut to the picture. A detector that
does not tell left hands from right ones leaves `side` None: nobody guesses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
from jaxtyping import Float
from numpy import ndarray

from fgs_bridges.geometry import are_numbers, as_floats, box_iou, is_box
from fgs_bridges.pretrained import (
    check_picture,
    load_model,
    load_processor,
    made_by,
    one_line,
    options_of,
    torch_device,
)
from fgs_bridges.provenance import versions, weight_hashes
from fgs_bridges.types import Detected, Detection, Image, Provenance
from fgs_jax.errors import BridgeError, ConfigError
from fgs_jax.files import read_input, read_npy, read_npz
from fgs_jax.strict import read_json

HELD = 3
"""100DOH's state of a hand that touches a portable object."""
SIDES = ("left", "right")
"""By 100DOH's number."""
PACKAGES = ("torch", "transformers", "tokenizers", "torchvision", "numpy", "pillow")


@dataclass
class GroundingDino:
    """Hands and objects by their names (Liu et al. 2023), through transformers. It does not tell left from right.

    A box's score for a name is its greatest probability over the tokens of that name, and a box goes to the name that
    it has the greater score for.
    """

    model: str = "IDEA-Research/grounding-dino-tiny"
    """Id on the hub, or a folder."""
    revision: str | None = None
    device: str = "auto"
    threshold: float = 0.3
    """Least score of a box."""
    overlap: float = 0.7
    """IoU from which two boxes are taken for one thing; the better one stays."""
    hand_name: str = "hand"
    _parts: Any = field(init=False, repr=False, default=None)

    BACKEND: ClassVar[str] = "grounding-dino"

    def __call__(self, image: Image, object_name: str) -> Detected:
        check_picture(image, self.BACKEND)
        names = _names(self.hand_name, object_name, self.BACKEND)
        if self._parts is None:
            self._parts = _load(self, "GroundingDinoForObjectDetection", "GroundingDinoProcessor")
        processor, model = self._parts
        inputs, outputs = _run(self, processor, model, image, " ".join(f"{name}." for name in names))
        phrases = phrase_tokens(inputs["input_ids"][0].tolist(), processor.tokenizer.convert_tokens_to_ids("."))
        boxes, scores = from_grounding_dino(*_raw(outputs), phrases, image.shape[:2])
        return _found(self, boxes, scores, names, image)

    def provenance(self) -> Provenance:
        return made_by(self, PACKAGES, "Apache-2.0")


@dataclass
class Owlv2:
    """Hands and objects by their names (Minderer et al. 2023), through transformers. It does not tell left from right.

    It sees the picture padded to a square on the right and below, and its boxes are parts of that square.
    """

    model: str = "google/owlv2-base-patch16-ensemble"
    """Id on the hub, or a folder."""
    revision: str | None = None
    device: str = "auto"
    threshold: float = 0.1
    """Least score of a box."""
    overlap: float = 0.7
    """IoU from which two boxes are taken for one thing; the better one stays."""
    hand_name: str = "hand"
    _parts: Any = field(init=False, repr=False, default=None)

    BACKEND: ClassVar[str] = "owlv2"

    def __call__(self, image: Image, object_name: str) -> Detected:
        check_picture(image, self.BACKEND)
        names = _names(self.hand_name, object_name, self.BACKEND)
        if self._parts is None:
            self._parts = _load(self, "Owlv2ForObjectDetection", "Owlv2Processor")
        processor, model = self._parts
        texts = [f"a photo of a {name}" for name in names]
        most = processor.tokenizer.model_max_length
        if any(len(processor.tokenizer(text)["input_ids"]) > most for text in texts):
            raise ConfigError(f'{self.BACKEND}: expected names of at most {most} tokens, got "{names[1]}": shorten it')
        _, outputs = _run(self, processor, model, image, [texts])
        boxes, scores = from_owlv2(*_raw(outputs), image.shape[:2])
        return _found(self, boxes, scores, names, image)

    def provenance(self) -> Provenance:
        return made_by(self, PACKAGES, "Apache-2.0")


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
        return _ordered(hands, objects, image, f"{self.BACKEND}: {self.path}")

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
        return _ordered([replace(entry, label=entry.label or "hand") for entry in hands], named, image, where)

    def provenance(self) -> Provenance:
        return _of_files(self, [self.path])


def choose(detected: Detected, side: str | None = None) -> tuple[Detection, Detection]:
    """The hand and the object of one interaction, for Eq. 4.

    With 100DOH's contact states: the best hand that touches a portable object (state 3), and the object whose centre is
    nearest to the hand's centre + offset. Without them: of all pairs those whose boxes are nearest, and of these (all
    whose boxes meet) the pair with the greatest sum of scores.

    `side` is what the user says of the interaction's hand: hands that the detector says are of the other side are left
    out, and the hand that is returned has this side. Raises BridgeError where no hand or no object is left.
    """
    if side not in (None, *SIDES):
        raise ConfigError(f"side: expected left or right, got {side}")
    hands = [hand for hand in detected.hands if side is None or hand.side in (None, side)]
    if not hands or not detected.objects:
        came = f"{len(hands)}{'' if side is None else f' {side}'} hands, {len(detected.objects)} objects"
        raise BridgeError(f"detections: expected a hand and an object, got {came}: check the picture and the names")
    if any(hand.contact is not None for hand in hands):
        holding = [hand for hand in hands if hand.contact == HELD]
        if not holding:
            states = ", ".join(str(hand.contact) for hand in hands)
            raise BridgeError(
                f"detections: expected a hand that holds something (state {HELD}), got states {states}: "
                "use another picture, or write the boxes yourself (detector manual)"
            )
        hands = [max(holding, key=lambda hand: hand.score)]
    hand, thing = min(
        ((hand, thing) for hand in hands for thing in detected.objects),
        key=lambda pair: (_distance(*pair), -(pair[0].score + pair[1].score)),
    )
    return (replace(hand, side=side) if side else hand), thing


def from_grounding_dino(
    logits: Float[ndarray, "n tokens"],
    boxes: Float[ndarray, "n 4"],
    phrases: Sequence[Sequence[int]],
    size: tuple[int, ...],
) -> tuple[Float[ndarray, "n 4"], Float[ndarray, "n phrases"]]:
    """Boxes in pixels, and their greatest probability over the tokens of each phrase; `size` is (height, width)."""
    probabilities = _sigmoid(logits)
    scores = np.stack([probabilities[:, list(places)].max(axis=1) for places in phrases], axis=1)
    return boxes_from_centres(boxes, (size[1], size[0])), scores


def from_owlv2(
    logits: Float[ndarray, "n texts"], boxes: Float[ndarray, "n 4"], size: tuple[int, ...]
) -> tuple[Float[ndarray, "n 4"], Float[ndarray, "n texts"]]:
    """Boxes in pixels, and each box's probability for each text; `size` is (height, width)."""
    return boxes_from_centres(boxes, (max(size), max(size))), _sigmoid(logits)


def boxes_from_centres(boxes: Float[ndarray, "n 4"], size: tuple[float, float]) -> Float[ndarray, "n 4"]:
    """(left, top, right, bottom) in pixels from (centre x, centre y, width, height) in parts of (width, height)."""
    centre, extent = boxes[:, :2].astype(float), boxes[:, 2:].astype(float)
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1) * np.array([*size, *size], float)


def phrase_tokens(tokens: Sequence[int], full_stop: int) -> list[list[int]]:
    """Places of the tokens of each phrase; a phrase ends with a full stop, and the first token is a start mark."""
    stops = [0, *(place for place, token in enumerate(tokens) if token == full_stop)]
    return [list(range(start + 1, stop)) for start, stop in pairwise(stops)]


def without_duplicates(detections: Sequence[Detection], overlap: float) -> list[Detection]:
    """Best first; of boxes whose IoU is more than `overlap` the best one."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda detection: -detection.score):
        if all(box_iou(detection.box, other.box) <= overlap for other in kept):
            kept.append(detection)
    return kept


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


def _distance(hand: Detection, thing: Detection) -> float:
    """Of an object from where the hand's offset points; without one, between the boxes, 0 where they meet."""
    if hand.offset is not None:
        centres = [(box[:2] + box[2:]) / 2 for box in (hand.box, thing.box)]
        return float(np.linalg.norm(centres[0] + hand.offset - centres[1]))
    gap = np.maximum(hand.box[:2] - thing.box[2:], thing.box[:2] - hand.box[2:])
    return float(np.linalg.norm(np.clip(gap, 0, None)))


def _found(backend: Any, boxes: ndarray, scores: ndarray, names: tuple[str, str], image: Image) -> Detected:
    """Detections of boxes with a score for each name, (n, 2)."""
    best = scores.argmax(axis=1)
    both = [
        [Detection(box, float(score), name) for box, score in zip(boxes[here], scores[here, i], strict=True)]
        for i, name in enumerate(names)
        for here in [(best == i) & (scores[:, i] > backend.threshold)]
    ]
    hands, objects = (without_duplicates(_cut(entries, image), backend.overlap) for entries in both)
    where = f'{backend.BACKEND}: score > {backend.threshold} for "{names[0]}" and "{names[1]}"'
    return _ordered(hands, objects, image, where)


def _ordered(hands: Sequence[Detection], objects: Sequence[Detection], image: Image, where: str) -> Detected:
    both = tuple(tuple(sorted(_cut(entries, image), key=lambda entry: -entry.score)) for entries in (hands, objects))
    if not all(both):
        came = f"{len(both[0])} hands, {len(both[1])} objects"
        raise BridgeError(f"{where}: expected a hand and an object in the picture, got {came}: try another detector")
    return Detected(*both)


def _cut(detections: Sequence[Detection], image: Image) -> list[Detection]:
    """The parts within the picture; a box outside it, or with less than half a pixel in it, is left out."""
    height, width = image.shape[:2]
    cut = [replace(entry, box=np.clip(entry.box, 0, np.array([width, height] * 2, float))) for entry in detections]
    return [entry for entry in cut if (entry.box[2:] - entry.box[:2] >= 0.5).all()]


def _load(backend: Any, model_class: str, processor_class: str) -> tuple[Any, Any]:
    device = torch_device(backend.device, backend.BACKEND)
    model = load_model(model_class, backend.model, backend.revision, device, backend.BACKEND)
    return load_processor(processor_class, backend.model, backend.revision, backend.BACKEND), model


def _run(backend: Any, processor: Any, model: Any, image: Image, text: Any) -> tuple[Any, Any]:
    import torch

    with one_line(backend.BACKEND, "the detector failed", "try device: cpu or another picture"), torch.no_grad():
        # As a Pillow picture: of arrays with 1 or 3 rows the processors take the rows for colours.
        inputs = processor(images=PIL.Image.fromarray(image), text=text, return_tensors="pt").to(model.device)
        return inputs, model(**inputs)


def _names(hand_name: str, object_name: str, backend: str) -> tuple[str, str]:
    """Lower case and without full stops, which end a phrase."""
    hand, thing = (" ".join(name.lower().replace(".", " ").split()) for name in (hand_name, object_name))
    if not hand or not thing:
        raise ConfigError(f'{backend}: expected names of hand and object, got "{hand_name}" and "{object_name}"')
    return hand, thing


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


def _raw(outputs: Any) -> tuple[ndarray, ndarray]:
    """Logits and boxes of the one picture."""
    logits, boxes = (np.array(item[0].detach().float().cpu().numpy()) for item in (outputs.logits, outputs.pred_boxes))
    return logits, boxes


def _sigmoid(logits: ndarray) -> ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits.astype(float)))
