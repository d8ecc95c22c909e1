"""MediaPipe's hand landmarks of a picture, as JSON. A program: it runs in MediaPipe's own environment.

Usage: python -I mediapipe_landmarks.py PICTURE OUT.json [--box LEFT TOP RIGHT BOTTOM]...

Needs mediapipe with its `solutions` and hand models inside (0.10.21), numpy and Pillow; nothing of this project. With
-I this folder is not searched for modules: its `types` would stand for the standard library's.

The JSON has "size" [width, height], and "mediapipe": for each hand MediaPipe's own label and score, landmarks and
relative depth in pixels, and world landmarks in metres. With boxes, "crops" has one list of hands per box, found in the
crop about it, in pixels of the whole picture.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

MARGIN = 0.5
"""Of a box's longer side, on each side of the crop."""


def main() -> None:
    parser = argparse.ArgumentParser(description="MediaPipe's hand landmarks of a picture, as JSON.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--box", type=float, nargs=4, action="append", default=[])
    parser.add_argument("--max-hands", type=int, default=2)
    parser.add_argument("--confidence", type=float, default=0.3)
    arguments = parser.parse_args()
    try:
        import mediapipe
        from mediapipe.python.solutions.hands import Hands
    except ImportError as error:
        sys.exit(f"mediapipe with its solutions cannot be imported ({error}): pip install mediapipe==0.10.21")

    with Image.open(arguments.picture) as file:
        image = np.array(ImageOps.exif_transpose(file).convert("RGB"))
    height, width = image.shape[:2]
    crops = [_square(box, width, height) for box in arguments.box]
    found: list[list[dict[str, Any]]] = []
    for crop in [(0, 0, width, height), *crops]:
        left, top, right, bottom = crop
        # Static: each picture is searched afresh, without the last one's hands.
        with Hands(
            static_image_mode=True,
            max_num_hands=arguments.max_hands,
            min_detection_confidence=arguments.confidence,
        ) as hands:
            result = hands.process(np.ascontiguousarray(image[top:bottom, left:right]))
        found.append(_as_lists(result, crop, mediapipe.__version__))
    content = {"size": [width, height], "mediapipe": found[0], "crops": found[1:]}
    arguments.out.write_text(json.dumps(content), encoding="utf-8")


def _square(box: list[float], width: int, height: int) -> tuple[int, int, int, int]:
    """The square about a box with a margin, cut at the picture's border."""
    left, top, right, bottom = box
    half = (0.5 + MARGIN) * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    ends = (max(x - half, 0), max(y - half, 0), min(x + half, width), min(y + half, height))
    left, top, right, bottom = (round(end) for end in ends)
    if right <= left or bottom <= top:
        sys.exit(f"expected a box within the picture of {width} x {height}, got {box}")
    return left, top, right, bottom


def _as_lists(result: Any, crop: tuple[int, int, int, int], version: str) -> list[dict[str, Any]]:
    """Best first. MediaPipe's x, y and relative z are fractions of the picture; z of its width."""
    left, top, right, bottom = crop
    width, height = right - left, bottom - top
    hands = []
    for landmarks, world, handedness in zip(
        result.multi_hand_landmarks or [],
        result.multi_hand_world_landmarks or [],
        result.multi_handedness or [],
        strict=True,
    ):
        points = np.array([[point.x, point.y, point.z] for point in landmarks.landmark])
        best = handedness.classification[0]
        hands.append(
            {
                "version": version,
                "mediapipe_label": best.label,
                "score": best.score,
                "landmarks_px": (points[:, :2] * [width, height] + [left, top]).tolist(),
                "landmarks_rel_z_px": (points[:, 2] * width).tolist(),
                "world_landmarks_m": [[point.x, point.y, point.z] for point in world.landmark],
            }
        )
    return sorted(hands, key=lambda hand: -hand["score"])


if __name__ == "__main__":
    main()
