"""Eq. 8-10 point by point."""

import numpy as np


def terms(camera, points, targets, rotation, translation, *, mask_pixels, hand_depth, z_near=0.01):
    """Sums of Eq. 8 and 9 and the mean of Eq. 10; `mask_pixels` (row, column), `hand_depth` an image, 0 for none.

    A point within half a pixel of a mask pixel's centre, in x and in y, is on the mask.
    """
    placed = [rotation @ point + translation for point in points]
    pixels = []
    for x, y, z in placed:
        depth = max(z, z_near)
        pixels.append([camera["f"][0] * x / depth + camera["c"][0], camera["f"][1] * y / depth + camera["c"][1]])
    centres = [np.array([column + 0.5, row + 0.5]) for row, column in mask_pixels]

    dist = 0.0
    for pixel in pixels:
        cell = np.floor(pixel) + 0.5
        nearest = min(centres, key=lambda centre: np.sum((cell - centre) ** 2))
        dist += sum(max(abs(offset) - 0.5, 0.0) ** 2 for offset in pixel - nearest)
    for target in targets:
        dist += min(np.sum((np.array(pixel) - target) ** 2) for pixel in pixels)

    dep = 0.0
    for (x, y), (_, _, z) in zip(pixels, placed, strict=True):
        row, column = int(np.floor(y)), int(np.floor(x))
        if 0 <= row < hand_depth.shape[0] and 0 <= column < hand_depth.shape[1]:
            dep += max(hand_depth[row, column] - z, 0.0)
    cam = np.mean([max(z_near - z, 0.0) for _, _, z in placed])
    return dist, dep, cam
