"""Masks of a picture: where they are, what lies in them, and how much two have in common."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


def mask_at(mask: Bool[ndarray, "h w"], pixels: Float[ndarray, "*n 2"]) -> Bool[ndarray, "*n"]:
    """Whether pixel positions (x, y) lie in a mask; beyond the picture nothing does."""
    height, width = mask.shape
    column, row = np.moveaxis(np.floor(pixels).astype(int), -1, 0)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    return inside & mask[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]


def mask_box(mask: Bool[ndarray, "h w"]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the pixels in a mask, in pixels; right and bottom lie behind the last ones."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def iou(a: Bool[ndarray, "*p"], b: Bool[ndarray, "*p"]) -> float:
    """Intersection over union of two masks of one shape, whatever it is; 0 where both are empty."""
    return float(np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1))
