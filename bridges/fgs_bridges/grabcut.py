"""Masks by colour alone, with OpenCV."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from fgs_bridges.images import large_parts
from fgs_bridges.pretrained import one_line, options_of
from fgs_bridges.provenance import versions
from fgs_bridges.segment import checked_prompt, not_empty
from fgs_bridges.types import Box, Image, Mask, Provenance
from fgs_jax.errors import BridgeError

BONES = tuple((0 if i % 4 == 1 else i - 1, i) for i in range(1, 21)) + ((5, 9), (9, 13), (13, 17))
"""Pairs of OpenPose's 21 keypoints: each finger from the wrist to its tip, and across the knuckles."""


@dataclass
class GrabCut:
    """GrabCut (Rother et al. 2004) of OpenCV: colours alone, no learnt weights; a fallback that has to be asked for.

    Outside of the box all is background. Points inside are joined to a hand's skeleton where they are 21 keypoints in
    OpenPose's order, and are discs otherwise; so are points outside. What they cover is certain. With a skeleton inside
    a band of twice its width is probably the hand, and the rest of the box probably is not; else the whole box is
    probably the thing. Every part of at least `least_part` of the largest one is kept: fingers split what they hold.
    """

    iterations: int = 5
    seed: int = 0
    band: float = 0.16
    """Width of the skeleton, in parts of the distance from the wrist to the middle finger's knuckle."""
    least_part: float = 0.05

    BACKEND: ClassVar[str] = "grabcut"

    def __call__(
        self,
        image: Image,
        *,
        box: Box,
        points: Float[ndarray, "n 2"] | None = None,
        point_labels: Int[ndarray, "n"] | None = None,
    ) -> Mask:
        import cv2

        box, points, point_labels = checked_prompt(image, box, points, point_labels, self.BACKEND)
        seeds = grabcut_seeds(image.shape[:2], box, points, point_labels, self.band)
        inside = np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if not inside.any() or inside.all():
            what = "nothing" if not inside.any() else "the whole picture"
            raise BridgeError(f"{self.BACKEND}: box: expected some background about it, got {what}: give another box")
        with one_line(self.BACKEND, "OpenCV failed", "give another box or use another segmenter"):
            cv2.setRNGSeed(self.seed)
            models = np.zeros((1, 65)), np.zeros((1, 65))
            blue_first = np.ascontiguousarray(image[..., ::-1])
            cv2.grabCut(blue_first, seeds, (0, 0, 0, 0), *models, self.iterations, cv2.GC_INIT_WITH_MASK)
        mask = np.isin(seeds, (cv2.GC_FGD, cv2.GC_PR_FGD))
        return not_empty(large_parts(mask, self.least_part), f"{self.BACKEND}: box {box.round(1).tolist()}")

    def provenance(self) -> Provenance:
        packages = versions("opencv-python-headless", "opencv-python", "opencv-contrib-python", "numpy")
        return Provenance(
            backend=self.BACKEND,
            versions=packages,
            options=options_of(self),
            seed=self.seed,
            licence="Apache-2.0",
            notes=("masks by colour alone, without a learnt model",),
        )


def grabcut_seeds(
    shape: tuple[int, ...],
    box: Box,
    points: Float[ndarray, "n 2"],
    point_labels: Int[ndarray, "n"],
    band: float = 0.16,
) -> ndarray:
    """OpenCV's labels (0 background, 1 foreground, 2 probably back-, 3 probably foreground), bytes (h, w)."""
    seeds = np.zeros(shape, np.uint8)
    (left, top), (right, bottom) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    within = np.zeros(shape, bool)
    within[top:bottom, left:right] = True
    inside, outside = points[point_labels == 1], points[point_labels == 0]
    radius = max(1.0, 0.02 * float(np.linalg.norm(box[2:] - box[:2])))
    seeds[within] = 2 if len(inside) == 21 else 3
    if len(inside) == 21:
        seeds[within & _covered(shape, inside, 2 * band, radius)] = 3
    seeds[within & _covered(shape, inside, band / 2, radius)] = 1
    seeds[_covered(shape, outside, band / 2, radius)] = 0
    return seeds


def _covered(shape: tuple[int, ...], points: Float[ndarray, "n 2"], band: float, radius: float) -> Bool[ndarray, "h w"]:
    """Pixels of a skeleton of 21 keypoints, `band` hand lengths wide; of discs about other points."""
    if len(points) != 21:
        y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
        discs = [np.hypot(x - point[0], y - point[1]) <= radius for point in points]
        return np.any(discs, axis=0) if discs else np.zeros(shape, bool)
    import cv2

    drawn = np.zeros(shape, np.uint8)
    # OpenCV draws pixel (0, 0) about its centre, keypoints count from its corner; 4 bits are a sixteenth of a pixel.
    places = np.round((points - 0.5) * 16).astype(int)
    width = max(1, round(band * float(np.linalg.norm(points[0] - points[9]))))
    for a, b in BONES:
        cv2.line(drawn, places[a].tolist(), places[b].tolist(), 1, width, shift=4)
    return drawn > 0
