"""What 21 keypoints tell of themselves: whether they are pixels of this picture, metres, and in OpenPose's order."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from fgs_jax.errors import SceneError

LEAST_KEYPOINTS = 4
"""Of a hand that nothing else tells; fewer do not tell how far away it is."""
LEAST_SPREAD = 4.0
"""Pixels, of the longer side of their box."""
NEAR = 0.05
"""Of the longer side of a mask's box: as far beyond it a keypoint may lie."""
LANDMARK_SPREAD = (0.01, 0.5)
"""Metres, of the longer side of the landmarks' box. Landmarks are true up to their size, some are a few centimetres."""
LONGER = 1.15
"""So many times as long as in another order the fingers are only in a wrong one."""
LIFE_SIZE = 0.18
"""Metres, of a hand."""
ORDERS = {
    "MANO's order": (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20),
    "tips first (InterHand's order)": (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16),
}
"""Other orders by name: where OpenPose's keypoints stand in them."""
FINGERS = ("thumb", "index", "middle", "ring", "little finger")
_PLACES = ("base", "first joint", "second joint", "tip")


def counted(confidence: Float[ndarray, "21"] | None) -> Bool[ndarray, "21"]:
    """The keypoints that were found; all where no confidence is given."""
    return np.ones(21, bool) if confidence is None else confidence > 0


def name_of(keypoint: int) -> str:
    """In OpenPose's order."""
    return f"{FINGERS[(keypoint - 1) // 4]} {_PLACES[(keypoint - 1) % 4]}" if keypoint else "wrist"


def near_boxes(pixels: Float[ndarray, "21 2"], boxes: Float[ndarray, "b 4"]) -> Bool[ndarray, "21"]:
    """Which keypoints lie within one of the boxes (left, top, right, bottom), each grown by NEAR."""
    margin = NEAR * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    inside = (pixels[:, None] >= boxes[:, :2] - margin) & (pixels[:, None] <= boxes[:, 2:] + margin)
    return inside.all(axis=2).any(axis=1)


def check_pixels(
    pixels: Float[ndarray, "21 2"],
    confidence: Float[ndarray, "21"] | None,
    boxes: Float[ndarray, "b 4"],
    size: tuple[int, int],
) -> None:
    """Raises SceneError for keypoints that are not pixels of this picture: fewer than half of those that were found lie
    near the boxes of its masks, or all lie in one place. `size` is the picture's (width, height).
    """
    found = counted(confidence)
    if not found.any():
        return
    seen = pixels[found]
    low, high = seen.min(axis=0), seen.max(axis=0)
    near = int(near_boxes(pixels, boxes)[found].sum())
    if near >= len(seen) / 2 and (high - low).max() >= LEAST_SPREAD:
        return
    width, height = size
    advice = "are they of a crop, or of another resolution?"
    if low.min() >= 0 and high.max() <= 2:
        advice = f"are they shares of its width and height? multiply them by {width} and {height}"
    elif low.min() >= -1 and high.max() <= 1:
        advice = "are they from -1 to 1?"
    came = f"x {low[0]:.4g} to {high[0]:.4g}, y {low[1]:.4g} to {high[1]:.4g}"
    raise SceneError(
        f"keypoints_2d: expected pixels of this picture of {width} x {height}, got {near} of {len(seen)} near "
        f"the hand's or the object's mask ({came}): {advice}"
    )


def check_landmarks(landmarks: Float[ndarray, "21 3"], confidence: Float[ndarray, "21"] | None) -> None:
    """Raises SceneError for 3D landmarks that are not in metres."""
    found = counted(confidence)
    if not found.any():
        return
    spread = float(np.ptp(landmarks[found], axis=0).max())
    least, most = LANDMARK_SPREAD
    if least <= spread <= most:
        return
    advice = "check what wrote them" if not spread else f"multiply them by {LIFE_SIZE / spread:.2g}"
    for unit, factor in (("centimetres", 100), ("millimetres", 1000)):
        if 0.05 <= spread / factor <= 0.3:
            advice = f"in {unit}? divide them by {factor}"
    raise SceneError(f"world_landmarks: expected a hand in metres, some {LIFE_SIZE} m, got {spread:.4g} m: {advice}")


def keypoint_notes(
    pixels: Float[ndarray, "21 2"],
    confidence: Float[ndarray, "21"] | None,
    landmarks: Float[ndarray, "21 3"] | None,
    boxes: Float[ndarray, "b 4"],
) -> list[str]:
    """What a user should know of keypoints that pass: those far from the masks, and another order than OpenPose's."""
    found, notes = counted(confidence), []
    away = np.flatnonzero(found & ~near_boxes(pixels, boxes))
    if len(away):
        names = ", ".join(name_of(int(k)) for k in away)
        notes.append(
            f"{len(away)} of {int(found.sum())} keypoints lie outside of the boxes of the hand's and the object's mask "
            f"({names}): give those that are wrong the confidence 0"
        )
    points = [] if not found.all() else [pixels] if landmarks is None else [pixels, landmarks]
    if order := next(filter(None, map(order_of, points)), None):
        notes.append(
            f"the keypoints look like {order}: OpenPose's is expected, the wrist, then thumb, index, middle, ring and "
            "little finger, each from its base to its tip"
        )
    return notes


def order_of(points: Float[ndarray, "21 d"]) -> str | None:
    """The name of another order in which the fingers are shorter than in OpenPose's; None where there is none.

    In a wrong order bones run from finger to finger: in pictures of real hands the fingers together are then longer by
    1.17 to 1.98. Of 4000 random hands seen from anywhere the right order is never the longer one by more than 1.12.
    """
    lengths = {name: _length_of_fingers(points[list(places)]) for name, places in ORDERS.items()}
    shortest = min(lengths, key=lambda name: lengths[name])
    return shortest if _length_of_fingers(points) > LONGER * lengths[shortest] else None


def _length_of_fingers(points: Float[ndarray, "21 d"]) -> float:
    chains = points[1:].reshape(5, 4, -1)
    return float(np.linalg.norm(np.diff(chains, axis=1), axis=2).sum())
