"""Where the hands and the object are in a picture, and which of them are one interaction.

Boxes are (left, top, right, bottom) in pixels from the picture's top-left corner, cut to the picture. A detector that
does not tell left hands from right ones leaves `side` None: nobody guesses it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fgs_bridges.geometry import box_iou
from fgs_bridges.types import Detected, Detection, Image
from fgs_jax.errors import BridgeError, ConfigError

HELD = 3
"""100DOH's state of a hand that touches a portable object."""
SIDES = ("left", "right")
"""By 100DOH's number."""


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


def without_duplicates(detections: Sequence[Detection], overlap: float) -> list[Detection]:
    """Best first; of boxes whose IoU is more than `overlap` the best one."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda detection: -detection.score):
        if all(box_iou(detection.box, other.box) <= overlap for other in kept):
            kept.append(detection)
    return kept


def _distance(hand: Detection, thing: Detection) -> float:
    """Of an object from where the hand's offset points; without one, between the boxes, 0 where they meet."""
    if hand.offset is not None:
        centres = [(box[:2] + box[2:]) / 2 for box in (hand.box, thing.box)]
        return float(np.linalg.norm(centres[0] + hand.offset - centres[1]))
    gap = np.maximum(hand.box[:2] - thing.box[2:], thing.box[:2] - hand.box[2:])
    return float(np.linalg.norm(np.clip(gap, 0, None)))


def ordered(hands: Sequence[Detection], objects: Sequence[Detection], image: Image, where: str) -> Detected:
    both = tuple(
        tuple(sorted(cut_to_picture(entries, image), key=lambda entry: -entry.score)) for entries in (hands, objects)
    )
    if not all(both):
        came = f"{len(both[0])} hands, {len(both[1])} objects"
        raise BridgeError(f"{where}: expected a hand and an object in the picture, got {came}: try another detector")
    return Detected(*both)


def cut_to_picture(detections: Sequence[Detection], image: Image) -> list[Detection]:
    """The parts within the picture; a box outside it, or with less than half a pixel in it, is left out."""
    height, width = image.shape[:2]
    cut = [replace(entry, box=np.clip(entry.box, 0, np.array([width, height] * 2, float))) for entry in detections]
    return [entry for entry in cut if (entry.box[2:] - entry.box[:2] >= 0.5).all()]
