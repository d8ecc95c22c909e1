"""Which cells of a flat grid lie within the boxes about triangles: what drawing and filling begin with."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

_BLOCK = 1_000_000
"""Pairs of triangle and cell in one block, which bounds the memory; one larger triangle is a block of its own."""


def triangle_cells(
    corners: Float[ndarray, "f 3 2"], asked: Bool[ndarray, "f"], size: tuple[int, int]
) -> Iterator[tuple[Int[ndarray, "n"], Int[ndarray, "n"], Int[ndarray, "n"]]]:
    """Triangle, column and row of all cells whose centre lies in the box about a triangle that is asked for, in blocks.

    Cells have sides of one, the first begins at (0, 0). `size`: number of columns and of rows.
    """
    limit = np.array(size)
    first = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, limit).astype(int)
    last = np.clip(np.floor(corners.max(axis=1) - 0.5), -1, limit - 1).astype(int)
    spans = np.maximum(last - first + 1, 0)
    counts = spans.prod(axis=1) * asked
    faces = np.flatnonzero(counts)
    blocks = np.cumsum(counts[faces]) // _BLOCK
    for block in np.split(faces, np.flatnonzero(np.diff(blocks)) + 1):
        f = np.repeat(block, counts[block])
        starts = np.cumsum(counts[block]) - counts[block]
        row, column = np.divmod(np.arange(len(f)) - np.repeat(starts, counts[block]), spans[f, 0])
        yield f, first[f, 0] + column, first[f, 1] + row
