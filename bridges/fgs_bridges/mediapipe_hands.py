"""Hand landmarks by MediaPipe, which runs in an environment of its own: it pins numpy below 2.

Landmarks, not a MANO regressor: the hand's pose is then our own fit to them (`fgs_jax.hands.fit`), and is named so.
"""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image as Pictures

from fgs_bridges import mediapipe_landmarks
from fgs_bridges.command import run_command
from fgs_bridges.geometry import are_numbers, as_floats, match_boxes, points_box
from fgs_bridges.pretrained import check_picture, options_of
from fgs_bridges.provenance import weight_hashes
from fgs_bridges.types import Detection, HandEstimate, Image, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.files import expanded, read_input
from fgs_jax.strict import read_json

SIDES = {"Left": "right", "Right": "left"}
"""By MediaPipe's label: it expects mirrored pictures, and so says the other hand."""
LANDMARKS_3D = ("clearer", "world", "pictured")
PYTHON = "FGS_MEDIAPIPE_PYTHON"
INSTALL = "python3.11 -m venv mediapipe && mediapipe/bin/pip install mediapipe==0.10.21"


@dataclass
class MediaPipe:
    """21 landmarks of each hand in the picture and in space, and which hand it is; a box or a side is not needed."""

    python: str = ""
    """The interpreter of MediaPipe's environment; $FGS_MEDIAPIPE_PYTHON unless given."""
    landmarks: str = ""
    """A recorded JSON in place of a run: what `bridges/mediapipe_landmarks.py` wrote."""
    entry: str = ""
    """The picture's name in a recorded JSON of many pictures."""
    landmarks_3d: str = "clearer"
    """In space: MediaPipe's "world" landmarks, or the "pictured" ones with its relative depth, or whichever of the two
    tells the side more clearly ("clearer")."""
    confidence: float = 0.3
    """Least score of a hand that is found."""
    max_hands: int = 2
    timeout: float = 120.0
    """Seconds."""

    _versions: dict[str, str] = field(init=False, repr=False, default_factory=dict)
    _notes: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if self.landmarks_3d not in LANDMARKS_3D:
            raise ConfigError(
                f"mediapipe: landmarks_3d: expected {', '.join(LANDMARKS_3D)}, got {self.landmarks_3d}: choose one"
            )
        if not self.landmarks and not self._python():
            raise BridgeUnavailable(
                "mediapipe: expected the option python, the interpreter of MediaPipe's environment, or "
                f"${PYTHON}, got neither: {INSTALL}, then python: mediapipe/bin/python"
            )

    def __call__(self, image: Image, hands: tuple[Detection, ...]) -> list[HandEstimate]:
        """The hand in each box, else all hands of the picture, best first.

        Where the whole picture shows no hand in a box, it is searched for in the crop about it, and the provenance says
        so. BridgeUnavailable without MediaPipe or a record; BridgeError where there is no hand.
        """
        check_picture(image, "mediapipe")
        found = self._recorded(image) if self.landmarks else self._run(image, hands)
        chosen, notes = hands_of_boxes(found, hands) if hands else (found["mediapipe"], [])
        if not chosen:
            raise BridgeError("mediapipe: expected a hand, found none: try another picture, or another hand back end")
        self._versions = {"mediapipe": str(chosen[0]["version"])} if "version" in chosen[0] else {}
        estimates = []
        for k, one in enumerate(chosen):
            side = SIDES[one["mediapipe_label"]]
            said = hands[k].side if hands else None
            points, kind = self._in_space(one, said or side)
            notes.append(f"hand {k}: {kind} landmarks in space")
            estimates.append(
                HandEstimate(
                    side=side,
                    keypoints_2d=np.array(one["landmarks_px"], float),
                    world_landmarks=points,
                    score=float(one["score"]),
                )
            )
        self._notes = ("landmarks only: the hand is fitted to them by fgs_jax, it is no MANO regression", *notes)
        return estimates

    def provenance(self) -> Provenance:
        """Of the last call."""
        return Provenance(
            backend="mediapipe",
            model="MediaPipe hands, hand_landmark_full",
            versions=self._versions,
            weights=weight_hashes([expanded(self.landmarks)]) if self.landmarks else {},
            options=options_of(self),
            licence="Apache-2.0",
            notes=self._notes,
        )

    def _in_space(self, found: dict[str, Any], side: str) -> tuple[Float[ndarray, "21 3"], str]:
        world = np.array(found["world_landmarks_m"], float)
        if self.landmarks_3d == "world":
            return world, "world"
        pictured = pictured_landmarks(
            np.array(found["landmarks_px"], float), np.array(found["landmarks_rel_z_px"], float), world
        )
        if self.landmarks_3d == "pictured":
            return pictured, "pictured"
        from fgs_jax.hands.files import load_hand_model
        from fgs_jax.hands.fit import clearer_landmarks

        points = np.asarray(clearer_landmarks(load_hand_model("open_hand", side), world, pictured), float)
        is_world = np.abs(points - world).max() < np.abs(points - pictured).max()
        return (world, "world") if is_world else (pictured, "pictured")

    def _run(self, image: Image, hands: tuple[Detection, ...]) -> dict[str, Any]:
        python = self._python()
        # A link to the interpreter is what makes the environment, so it is not followed.
        program = str(expanded(python).absolute()) if "/" in python else python
        with tempfile.TemporaryDirectory(prefix="fgs_mediapipe_") as name:
            folder = Path(name)
            Pictures.fromarray(image).save(folder / "image.png")
            boxes = [word for hand in hands for word in ("--box", *(f"{number:.3f}" for number in hand.box))]
            options = ["--max-hands", str(self.max_hands), "--confidence", str(self.confidence)]
            # Isolated: this folder's `types` would stand for the standard library's.
            argv = ["{python}", "-I", "{script}", "{image}", "{out}", *options, *boxes]
            values = {
                "python": program,
                "script": str(Path(mediapipe_landmarks.__file__).absolute()),
                "image": str(folder / "image.png"),
                "out": str(folder / "landmarks.json"),
            }
            try:
                out = run_command(
                    argv,
                    values,
                    cwd=folder,
                    env={},
                    timeout=self.timeout,
                    outputs=["landmarks.json"],
                    log=folder / "log.txt",
                )
            except BridgeError as error:
                # The log goes with the folder, and the line already has its end.
                raise type(error)(f"mediapipe: {str(error).partition('; log:')[0]}: {INSTALL}") from error
            return read_landmarks(out[0], "", image)

    def _python(self) -> str:
        return self.python or os.environ.get(PYTHON, "")

    def _recorded(self, image: Image) -> dict[str, Any]:
        return read_landmarks(expanded(self.landmarks), self.entry, image)


def read_landmarks(path: Path, entry: str, image: Image) -> dict[str, Any]:
    """A record of `bridges/mediapipe_landmarks.py`, or the entry of a JSON that has one for each of many pictures.

    Raises BridgeError for a file that is none, lacks the entry, or was made for a picture of another size.
    """
    try:
        content = read_json(read_input(path, "a record", BridgeError), constants=True)
    except (BridgeError, ValueError) as error:
        came = str(error).removeprefix(f"{path}: ")
        raise BridgeError(f"{path}: expected MediaPipe's landmarks as JSON, got none ({came}): record them") from error
    if entry:
        if not isinstance(content, dict) or entry not in content:
            known = ", ".join(list(content)[:5]) if isinstance(content, dict) else "none"
            raise BridgeError(f"{path}: expected an entry {entry}, got {known}: name the picture's entry")
        content = content[entry]
    if not isinstance(content, dict) or not isinstance(content.get("mediapipe"), list):
        raise BridgeError(f"{path}: expected a list under mediapipe, got none: is it a record, or one of many (entry)?")
    height, width = image.shape[:2]
    if (size := content.get("size", [width, height])) != [width, height]:
        came = " x ".join(map(str, size)) if isinstance(size, list) else "none"
        raise BridgeError(f"{path}: expected landmarks of this picture, {width} x {height}, got of {came}: record them")
    crops = content.get("crops", [])
    if not isinstance(crops, list) or not all(isinstance(crop, list) for crop in crops):
        raise BridgeError(f"{path}: expected a list of hands for each crop under crops, got others: record them again")
    for hand in [*content["mediapipe"], *(one for crop in crops for one in crop)]:
        _check_hand(hand, path)
    return content


def pictured_landmarks(
    keypoints_px: Float[ndarray, "21 2"], relative_depth: Float[ndarray, "21"], world: Float[ndarray, "21 3"]
) -> Float[ndarray, "21 3"]:
    """The keypoints in the picture with MediaPipe's relative depth, at the size of its world landmarks, in metres.

    Where the world landmarks have the fingers' depth wrong, these are usually right.
    """
    points, sized = (x - x.mean(axis=0) for x in (np.column_stack([keypoints_px, relative_depth]), world))
    return points * (sized.std() / points.std())


def hands_of_boxes(found: dict[str, Any], hands: tuple[Detection, ...]) -> tuple[list[dict[str, Any]], list[str]]:
    """What was found in each of the boxes, and notes."""
    chosen, notes = [], []
    crops = found.get("crops") or [[]] * len(hands)
    if len(crops) != len(hands):
        raise BridgeError(f"mediapipe: expected {len(hands)} crops, one per box, got {len(crops)}: record them again")
    places = match_boxes([hand.box for hand in hands], [_box(one) for one in found["mediapipe"]])
    for number, (hand, place, crop) in enumerate(zip(hands, places, crops, strict=True)):
        if place is not None:
            chosen.append(found["mediapipe"][place])
            continue
        inside = match_boxes([hand.box], [_box(one) for one in crop])[0]
        if inside is None:
            box = np.round(hand.box).astype(int).tolist()
            raise BridgeError(
                f"mediapipe: expected a hand in box {box}, found none: try another picture, or another hand back end"
            )
        chosen.append(crop[inside])
        notes.append(f"hand {number} found in the crop about its box, not in the whole picture")
    return chosen, notes


def _check_hand(hand: Any, path: Path) -> None:
    shapes = {"landmarks_px": (21, 2), "landmarks_rel_z_px": (21,), "world_landmarks_m": (21, 3), "score": ()}
    if not isinstance(hand, dict) or hand.get("mediapipe_label") not in tuple(SIDES):
        raise BridgeError(f"{path}: expected a mediapipe_label Left or Right for each hand: record the landmarks again")
    for name, shape in shapes.items():
        try:
            array = as_floats(hand.get(name))
        except (TypeError, ValueError):
            array = np.array(np.nan)
        if array.shape != shape or not are_numbers(array):
            raise BridgeError(
                f"{path}: expected numbers of shape {shape} in {name}, got {array.shape}: record the landmarks again"
            )


def _box(hand: dict[str, Any]) -> Float[ndarray, "4"]:
    return points_box(np.array(hand["landmarks_px"], float))
