"""Eq. 8-10 point by point."""

import numpy as np


def terms(
    camera, points, targets, rotation, translation, *, mask_pixels, hand_depth, z_near=0.01, origin=(0.0, 0.0), cell=1.0
):
    """Sums of Eq. 8, off the mask and off the points, and of Eq. 9, and the mean of Eq. 10.

    `mask_pixels` (row, column); `hand_depth` an image of cells of so many pixels, the first at `origin`, 0 for none. A
    point within half a cell of a mask pixel's centre, in x and in y, is on the mask.
    """
    placed = [rotation @ point + translation for point in points]
    pixels = []
    for x, y, z in placed:
        depth = max(z, z_near)
        pixels.append([camera["f"][0] * x / depth + camera["c"][0], camera["f"][1] * y / depth + camera["c"][1]])
    centres = np.array([[column + 0.5, row + 0.5] for row, column in mask_pixels])

    off_mask = off_points = 0.0
    for pixel in pixels:
        middle = (np.floor((pixel - np.array(origin)) / cell) + 0.5) * cell + origin
        nearest = centres[((middle - centres) ** 2).sum(axis=1).argmin()]
        off_mask += sum(max(abs(offset) - cell / 2, 0.0) ** 2 for offset in pixel - nearest)
    for target in targets:
        off_points += min(np.sum((np.array(pixel) - target) ** 2) for pixel in pixels)

    dep = 0.0
    for pixel, (_, _, z) in zip(pixels, placed, strict=True):
        column, row = (int(x) for x in np.floor((pixel - np.array(origin)) / cell))
        if 0 <= row < hand_depth.shape[0] and 0 <= column < hand_depth.shape[1]:
            dep += max(hand_depth[row, column] - z, 0.0)
    cam = np.mean([max(z_near - z, 0.0) for _, _, z in placed])
    return off_mask, off_points, dep, cam
