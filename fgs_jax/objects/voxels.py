"""The volume that two solids share, by voxels, which are halved where the overlap is thin."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage

from fgs_jax.objects.cells import triangle_cells
from fgs_jax.objects.triangles import distances_to
from fgs_jax.objects.winding import close_to_lid, exact_is_quick, fast_winding_numbers, lid_of, winding_numbers

_MOST_VOXELS = 2_000_000
"""A box of more than this is cut into larger voxels; the overlap with a hand holds fewer."""
_HALVINGS = 3
"""How often voxels are halved where the overlap is thin."""
_MOST_BOXES = 32
"""Places that are looked at one by one; of more, the box about them all."""

Arrays = tuple[Float[ndarray, "_ 3"], Int[ndarray, "_ 3"]]
"""Vertices and faces."""


def shared_volume(first: Arrays, second: Arrays, pitch: float, layer: int = 1) -> float:
    """Volume of the voxels of at most `pitch` a side whose centres lie inside both meshes, by winding number.

    `layer`: how many times at least they lie inside the first.
    """
    low = np.maximum(first[0].min(axis=0), second[0].min(axis=0))
    size = np.minimum(first[0].max(axis=0), second[0].max(axis=0)) - low
    if (size <= 0).any():
        return 0.0
    while (shape := np.ceil(size / pitch)).prod() > _MOST_VOXELS:
        pitch *= 1.1
    everywhere = np.ones(shape.astype(int), bool)
    return _shared_volume([_Solid.of(first, layer), _Solid.of(second)], low, size / shape, everywhere, _HALVINGS)


class _Solid(NamedTuple):
    """A mesh that is closed by a lid, whose own share is known."""

    corners: Float[ndarray, "f 3 3"]
    lid: Arrays
    layer: int
    """How often a point has to be inside."""

    @classmethod
    def of(cls, mesh: Arrays, layer: int = 1) -> "_Solid":
        vertices, lid = lid_of(*mesh)
        return cls(vertices[np.concatenate([mesh[1], lid])], (vertices, lid), layer)

    def above(self, low: Float[ndarray, "3"], high: Float[ndarray, "3"]) -> "_Solid":
        """With the faces that are not beside a box, nor below it: no others are met on the way up from there."""
        least, most = self.corners.min(axis=1), self.corners.max(axis=1)
        return self._replace(corners=self.corners[(most >= low).all(axis=1) & (least[:, :2] <= high[:2]).all(axis=1)])

    def inside(
        self, low: Float[ndarray, "3"], side: Float[ndarray, "3"], asked: Bool[ndarray, "x y z"]
    ) -> Bool[ndarray, "x y z"]:
        """Voxels of a grid whose centres lie inside; those of an open mesh only where `asked`."""
        nx, ny, nz = asked.shape
        vertices = (self.corners.reshape(-1, 3) - low) / side
        winding = grid_winding(vertices, np.arange(len(vertices)).reshape(-1, 3), (nx, ny, nz))
        if len(self.lid[1]) and asked.any():
            centres = low + (np.argwhere(asked) + 0.5) * side
            close = close_to_lid(*self.lid, distances_to(*self.lid, centres))
            number = winding_numbers if exact_is_quick(self.lid[1], centres[close]) else fast_winding_numbers
            share = np.zeros(len(centres))
            share[close] = number(*self.lid, centres[close])
            winding = winding.astype(float)
            winding[asked] -= share
            winding[~asked] = 0
        return winding > self.layer - 0.5


def _shared_volume(
    solids: list[_Solid],
    low: Float[ndarray, "3"],
    side: Float[ndarray, "3"],
    asked: Bool[ndarray, "x y z"],
    halvings: int,
) -> float:
    """Of two solids within the voxels that are asked; where the overlap is thin, by voxels of half their side."""
    first, second = sorted(solids, key=lambda solid: len(solid.lid[1]))  # the closed one tells where to ask
    around = np.ones((3, 3, 3), bool)
    one = first.inside(low, side, asked) & asked
    if not one.any():
        return 0.0
    near = np.asarray(ndimage.binary_dilation(one, around), bool) & asked
    other = second.inside(low, side, near) & near
    both = one & other
    if not halvings:
        return float(both.sum() * side.prod())
    near &= np.asarray(ndimage.binary_dilation(other, around), bool)
    core = np.asarray(ndimage.binary_erosion(both), bool)
    part = np.zeros(near.shape, np.int32)
    ndimage.label(near, around, output=part)
    volume = 0.0
    for box in _apart(ndimage.find_objects(part)):
        hits, box_shape = np.count_nonzero(both[box]), np.array(near[box].shape)
        is_thick = np.count_nonzero(core[box]) > 0.7 * hits
        if is_thick or 8 * box_shape.prod() > _MOST_VOXELS:
            volume += float(hits * side.prod())
            continue
        corner = low + side * [part.start for part in box]
        nearby = [solid.above(corner, corner + side * box_shape) for solid in (first, second)]
        finer = near[box].repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
        volume += _shared_volume(nearby, corner, side / 2, finer, halvings - 1)
    return volume


def _apart(boxes: list[tuple[slice, ...]]) -> list[tuple[slice, ...]]:
    """Boxes of which none overlap: those that did are one, and so are all where there are more than `_MOST_BOXES`."""

    def joined(group: list[tuple[slice, ...]]) -> tuple[slice, ...]:
        axes = zip(*group, strict=True)
        return tuple(slice(min(p.start for p in axis), max(p.stop for p in axis)) for axis in axes)

    if len(boxes) > _MOST_BOXES:
        return [joined(boxes)]
    apart: list[tuple[slice, ...]] = []
    for box in boxes:
        while True:
            met = [b for b in apart if all(p.start < q.stop and q.start < p.stop for p, q in zip(b, box, strict=True))]
            if not met:
                break
            apart = [b for b in apart if b not in met]
            box = joined([box, *met])  # noqa: PLW2901
        apart.append(box)
    return apart


def grid_winding(
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], shape: tuple[int, int, int]
) -> Int[ndarray, "x y z"]:
    """Winding numbers of a closed mesh at the centres of a grid's unit cells.

    A line up through a column of cells leaves the mesh wherever a face looks up, and enters it where one looks down.
    Each face adds its sign to all centres below it. Exact, as every edge decides the same way for both of its faces.
    """
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    change = np.zeros((shape[0], shape[1], shape[2] + 1), np.int16)
    for face, x, y in triangle_cells(corners[:, :, :2], np.ones(len(faces), bool), shape[:2]):
        px, py = x + 0.5, y + 0.5
        sign = np.zeros(len(face), np.int16)
        for a, b in ((0, 1), (1, 2), (2, 0)):
            start, end = corners[face, a], corners[face, b]
            rises = (start[:, 1] <= py).astype(np.int16) - (end[:, 1] <= py)
            lower, upper = np.where(rises[:, None] > 0, (start, end), (end, start))
            crosses = (px - lower[:, 0]) * (upper[:, 1] - lower[:, 1]) < (upper[:, 0] - lower[:, 0]) * (
                py - lower[:, 1]
            )
            sign += np.where(crosses, rises, 0).astype(np.int16)
        hit = np.flatnonzero(sign)
        normal, corner = normals[face[hit]], corners[face[hit]]
        offset = (px[hit] - corner[:, 0, 0]) * normal[:, 0] + (py[hit] - corner[:, 0, 1]) * normal[:, 1]
        steep = np.divide(offset, normal[:, 2], out=np.zeros(len(hit)), where=normal[:, 2] != 0)
        z = np.clip(corner[:, 0, 2] - steep, corner[:, :, 2].min(axis=1), corner[:, :, 2].max(axis=1))
        cells_below = np.clip(np.ceil(z - 0.5), 0, shape[2]).astype(int)
        np.add.at(change, (x[hit], y[hit], cells_below), sign[hit])
    # change[k] counts for the cells before k.
    return np.cumsum(change[:, :, ::-1], axis=2, dtype=np.int16)[:, :, -2::-1]
