"""Open meshes: which are solids with holes, and which are sheets, hollow on purpose, that get a wall.

The mesh of a sheet bounds nothing. With a thin wall it is closed, as any solid's is, and whatever asks for its inside
finds the wall. Host side, numpy, float64.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fgs_jax.objects.triangles import Faces, Vertices, double_areas, extent_of, mean_by, net_edges, parts_of
from fgs_jax.objects.winding import winding_in_front

SurfaceWord = Literal["auto", "solid", "sheet"]
SURFACES = get_args(SurfaceWord)
"""What the surface of an object may be said to be."""
WALL = 1e-3
"""Thickness of a sheet's wall, half of it on either side, as a share of the extent: 0.1 mm of a cup. It changes no
distance that anyone measures, and its two sides can still be told apart."""
WIDE, DOUBTFUL = 0.75, 0.1
"""Openings (`openings_of`): above the first of a sheet, below the second a hole in a solid, without a word."""
_CLOSED = 0.98
"""Mean winding number behind the faces of an open part above which other parts close it."""
_MOST_ASKED = 16384
"""Faces that are asked for that, of all parts together."""


def as_surface(
    vertices: Vertices, faces: Faces, surface: str, repairs: list[str]
) -> tuple[Float64[ndarray, "w 3"], Int64[ndarray, "g 3"], str]:
    """The mesh, its open parts with walls where it is a sheet, and "solid" or "sheet"; says what was done in `repairs`.

    `surface`: one of `SURFACES`. With "auto" an open mesh is a sheet where most of what is open in it, by area, has an
    opening wider than `WIDE` and is not closed by other parts. A closed part has an inside, or a wall, of its own.
    """
    part = parts_of(faces)
    opening = openings_of(vertices, faces, part)
    is_open = opening > 0
    if not is_open.any():
        return vertices, faces, "sheet" if surface == "sheet" else "solid"
    found, unless = surface, ""
    if surface == "auto":
        opening[closed_by_others(vertices, faces, part, is_open)] = 0
        area = is_open * np.bincount(part, np.linalg.norm(double_areas(vertices[faces]), axis=1))
        found = "sheet" if area[opening > WIDE].sum() > area.sum() / 2 else "solid"
        unless = "; if it is a solid with a hole, say solid: object.surface of a scene, --object-surface of a command"
        if found == "solid" and (widest := opening[np.argmax(area)]) > DOUBTFUL:
            repairs.append(
                f"took an open mesh as solid, with a hole of {widest:.0%} of its width; if it is hollow, say "
                "sheet: object.surface of a scene, --object-surface of a command"
            )
    if found == "solid":
        return vertices, faces, found
    repairs.append(f"took an open mesh as a sheet, with a wall of {WALL:.1%} of the extent{unless}")
    sheets = is_open[part]
    vertices, walls = with_wall(vertices, faces[sheets], WALL * extent_of(vertices))
    return *_used(vertices, np.concatenate([faces[~sheets], walls])), found


def openings_of(vertices: Vertices, faces: Faces, part: Int[ndarray, "f"]) -> Float64[ndarray, "g"]:
    """How wide open each part is, from 0 for a closed one to 1: a cup, a tube, half a ball, a flat sheet.

    The area of its largest hole over the area of the part with all holes closed, both seen along that hole's normal,
    where what lies behind something else counts again. What overhangs the opening makes it less: for a ball with a hole
    of a share s of its area it is 4 s (1 - s).
    """
    edges, net = net_edges(faces)
    edges = np.repeat(np.where(net[:, None] > 0, edges[:, ::-1], edges), np.abs(net), axis=0)  # about the holes
    count = part.max() + 1
    if not len(edges):
        return np.zeros(count)
    joined = coo_array((np.ones(len(edges)), tuple(edges.T)), (len(vertices),) * 2)
    hole = np.unique(connected_components(joined, directed=False)[1][edges[:, 0]], return_inverse=True)[1]
    part_of_vertex = np.zeros(len(vertices), np.int64)
    part_of_vertex[faces] = part[:, None]
    part_of_hole = np.zeros(hole.max() + 1, np.int64)
    part_of_hole[hole] = part_of_vertex[edges[:, 0]]
    # The area of a loop as a vector, whatever fills it, is half the sum of its edges' cross products.
    start = vertices - vertices.mean(axis=0)
    across = np.cross(start[edges[:, 0]], start[edges[:, 1]])
    holes = np.stack([np.bincount(hole, across[:, axis]) for axis in range(3)], axis=1)
    width = np.linalg.norm(holes, axis=1)
    order = np.argsort(width)
    largest = np.zeros(count, np.int64)
    largest[part_of_hole[order]] = order  # the last one written is the widest
    has_hole = np.isin(np.arange(count), part_of_hole)
    direction = holes[largest] / np.maximum(width[largest], 1e-300)[:, None]
    seen = np.bincount(part, np.abs((double_areas(vertices[faces]) * direction[part]).sum(axis=1)), count)
    seen += np.bincount(part_of_hole, np.abs((holes * direction[part_of_hole]).sum(axis=1)), count)
    return np.where(has_hole, 2 * width[largest] / np.maximum(seen, 1e-300), 0.0)


def closed_by_others(
    vertices: Vertices, faces: Faces, part: Int[ndarray, "f"], is_open: Bool[ndarray, "g"]
) -> Bool[ndarray, "g"]:
    """Which open parts other parts close, as the loose panels of a box do: all behind their faces is inside."""
    if is_open.sum() < 2:
        return np.zeros(len(is_open), bool)
    asked = np.flatnonzero(is_open[part])
    asked = asked[:: -(-len(asked) // _MOST_ASKED)]
    behind = 1 + winding_in_front(vertices, faces, asked, vertices[faces[asked]].mean(axis=1))
    met, group = np.unique(part[asked], return_inverse=True)
    closed = np.zeros(len(is_open), bool)
    closed[met] = mean_by(behind, group) > _CLOSED
    return closed


def with_wall(
    vertices: Vertices, faces: Faces, thickness: float
) -> tuple[Float64[ndarray, "w 3"], Int64[ndarray, "g 3"]]:
    """All vertices and two more for each that the faces use, and the closed wall of these: two sides and the rims."""
    corners = double_areas(vertices[faces])
    areas, count = np.linalg.norm(corners, axis=1, keepdims=True), len(vertices)
    sums = np.hstack([corners, areas])
    sums = np.stack([np.bincount(faces.ravel(), column.repeat(3), count) for column in sums.T], axis=1)
    normals = sums[:, :3] / np.maximum(sums[:, 3:], 1e-300)
    for corner in faces.T:  # where a sheet is folded onto itself any face's normal will do
        folded = np.linalg.norm(normals[corner], axis=1) < 1e-6
        normals[corner[folded]] = (corners / areas)[folded]
    # Of unit normals the mean has the length of the cosine that a mitre is divided by.
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    offset = thickness / 2 * normals / np.maximum(lengths * np.maximum(lengths, 0.5), 1e-300)
    outer, inner = vertices + offset, vertices - offset
    edges, net = net_edges(faces)
    rim = np.repeat(np.where(net[:, None] > 0, edges, edges[:, ::-1]), np.abs(net), axis=0)
    a, b = rim.T
    walls = [faces, faces[:, ::-1] + count, np.stack([b, a, a + count], 1), np.stack([b, a + count, b + count], 1)]
    return np.concatenate([vertices, outer, inner]), np.concatenate(walls) + count


def _used(vertices: Vertices, faces: Faces) -> tuple[Float64[ndarray, "w 3"], Int64[ndarray, "g 3"]]:
    """Without the vertices that no face uses."""
    used, faces = np.unique(faces, return_inverse=True)
    return vertices[used], faces.reshape(-1, 3)
