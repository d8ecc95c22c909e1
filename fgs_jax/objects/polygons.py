"""Polygons of any number of corners, cut into triangles in their own plane."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from numpy import ndarray

MOST_CORNERS = 20_000
"""Of one polygon: the time to cut it grows with their square."""
_FLAT = 1e-6
"""A corner whose sine is less than this counts as straight."""
_BLOCK = 2**18


class Polygons(NamedTuple):
    """Faces of any number of corners, one after the other."""

    corners: Int[ndarray, "c"]
    """Vertices of all faces."""
    sizes: Int[ndarray, "f"]
    """How many of them each face has."""


def polygons(faces: list[list[int]]) -> Polygons:
    """Of lists of different lengths."""
    sizes = np.array([len(face) for face in faces], np.int64)
    return Polygons(np.array([corner for face in faces for corner in face], np.int64), sizes)


def triangulated(vertices: Float[ndarray, "v 3"], faces: Polygons) -> tuple[Int64[ndarray, "t 3"], int]:
    """Triangles of all faces of three corners and more, in the order of the faces, and how many cross themselves.

    What has fewer corners is left out. A convex polygon is cut into a fan from its first corner. Any other is cut by
    ears in its own plane, the ear with the shortest cut first, so that it does not matter which corner comes first; it
    need not be flat. Its outline may touch itself, as one does that leads to a hole and back; where it crosses itself
    its triangles overlap.

    Raises ValueError for a polygon of more than `MOST_CORNERS`, and for one with a corner that is not there.
    """
    corners, sizes = (np.asarray(array, np.int64) for array in faces)
    if len(corners) and not 0 <= corners.min() <= corners.max() < len(vertices):
        raise ValueError(f"faces of vertices {corners.min()} to {corners.max()}, of {len(vertices)} that there are")
    starts, crossing = np.cumsum(sizes) - sizes, 0
    triangles, owner = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes[sizes >= 3]):
        if size > MOST_CORNERS:
            raise ValueError(f"a face of {size} corners, {MOST_CORNERS} at most are cut")
        of_size = np.flatnonzero(sizes == size)
        for which in np.array_split(of_size, -(-len(of_size) * size // _BLOCK)):
            cut, crosses = _cut(vertices, corners[starts[which, None] + np.arange(size)])
            triangles.append(cut.reshape(-1, 3))
            owner.append(np.repeat(which, size - 2))
            crossing += crosses
    order = np.argsort(np.concatenate(owner), kind="stable")
    return np.concatenate(triangles)[order], crossing


def _cut(vertices: Float[ndarray, "v 3"], loops: Int64[ndarray, "p n"]) -> tuple[Int64[ndarray, "p n-2 3"], int]:
    """Triangles of polygons of n corners each, and how many of these cross themselves."""
    n = loops.shape[1]
    fans = np.stack([np.repeat(loops[:, :1], n - 2, axis=1), loops[:, 1:-1], loops[:, 2:]], axis=2)
    if n == 3:
        return fans, 0
    points = vertices[loops]
    asked = np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
    flat, is_plane = _in_plane(points[asked])
    asked, flat = (array[~(is_plane & _is_convex(flat))] for array in (asked, flat))
    if n == 4:
        cut, crosses = _quads(flat, points[asked])
    else:
        ears = [_ears(polygon) for polygon in flat]
        cut = np.array([triangles for triangles, _ in ears], np.int64).reshape(-1, n - 2, 3)
        crosses = sum(crosses for _, crosses in ears)
    fans[asked] = np.take_along_axis(loops[asked], cut.reshape(-1, 3 * (n - 2)), axis=1).reshape(-1, n - 2, 3)
    return fans, crosses


def _in_plane(points: Float[ndarray, "p n 3"]) -> tuple[Float[ndarray, "p n 2"], Bool[ndarray, "p"]]:
    """Polygons in their planes, seen from where they run counterclockwise, and which of them are flat."""
    points = points - points.mean(axis=1, keepdims=True)
    extent = np.maximum(np.abs(points).max(axis=(1, 2)), 1e-300)
    points = points / extent[:, None, None]
    normal = np.cross(points, np.roll(points, -1, axis=1)).sum(axis=1)  # Newell's: twice the area
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.where(length > 1e-12, normal / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])
    least = np.eye(3)[np.abs(normal).argmin(axis=1)]
    first = np.cross(least, normal)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normal, first)
    flat = np.stack([np.einsum("pni,pi->pn", points, axis) for axis in (first, second)], axis=2)
    height = np.abs(np.einsum("pni,pi->pn", points, normal)).max(axis=1)
    return flat, height < 1e-5


def _is_convex(flat: Float[ndarray, "p n 2"]) -> Bool[ndarray, "p"]:
    """Whether all corners turn left, once around."""
    edge = np.roll(flat, -1, axis=1) - flat
    before = np.roll(edge, 1, axis=1)
    cross = before[..., 0] * edge[..., 1] - before[..., 1] * edge[..., 0]
    lengths = np.linalg.norm(edge, axis=2) * np.linalg.norm(before, axis=2)
    turn = np.arctan2(cross, (before * edge).sum(axis=2)).sum(axis=1)
    return (cross > _FLAT * lengths).all(axis=1) & (np.abs(turn - 2 * np.pi) < 0.1)


def _quads(flat: Float[ndarray, "p 4 2"], points: Float[ndarray, "p 4 3"]) -> tuple[Int64[ndarray, "p 2 3"], int]:
    """Each along the shorter diagonal of those that lie within it."""
    cuts = np.array([[[0, 1, 2], [0, 2, 3]], [[1, 2, 3], [1, 3, 0]]])
    least = np.stack([_area(*np.moveaxis(flat[:, cut], 2, 0)).min(axis=1) for cut in cuts])
    length = np.stack([np.linalg.norm(points[:, k] - points[:, k + 2], axis=1) for k in range(2)])
    second = (least[1] > 0) & ((least[0] <= 0) | (length[1] < length[0] * (1 - 1e-9)))
    return cuts[second.astype(int)], int(np.count_nonzero((least < -_FLAT).all(axis=0)))


def _area(a: Float[ndarray, "... 2"], b: Float[ndarray, "... 2"], c: Float[ndarray, "... 2"]) -> Any:
    """Twice that of a triangle, positive where it runs counterclockwise."""
    u, v = b - a, c - a
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _ears(flat: Float[ndarray, "n 2"]) -> tuple[list[list[int]], bool]:
    """Triangles of a polygon, and whether it crosses itself: then some of them are turned over."""
    n = len(flat)
    before, after = ([(k + step) % n for k in range(n)] for step in (-1, 1))
    alive = np.ones(n, bool)
    cost = np.array([_ear_cost(flat, alive, before[k], k, after[k]) for k in range(n)])
    triangles, crosses = [], False
    for _ in range(n - 2):
        k = int(np.argmin(np.where(alive, cost, np.inf)))
        a, c = before[k], after[k]
        triangles.append([a, k, c])
        crosses |= bool(_area(flat[a], flat[k], flat[c]) < -_FLAT)
        alive[k] = False
        after[a], before[c] = c, a
        for near in (a, c):
            cost[near] = _ear_cost(flat, alive, before[near], near, after[near])
    return triangles, crosses


def _ear_cost(flat: Float[ndarray, "n 2"], alive: Bool[ndarray, "n"], a: int, b: int, c: int) -> float:
    """Length of the cut from a to c; far above all lengths where b is straight, more where the cut is not inside."""
    length = float(np.hypot(*(flat[c] - flat[a])))
    ab, bc = flat[b] - flat[a], flat[c] - flat[b]
    cross = ab[0] * bc[1] - ab[1] * bc[0]
    if cross <= _FLAT * np.hypot(*ab) * np.hypot(*bc):
        return 1e3 + length if cross > -_FLAT * np.hypot(*ab) * np.hypot(*bc) else 1e6 - cross
    others = flat[alive]
    inside = (_area(flat[a], flat[b], others) > -1e-12) & (_area(flat[b], flat[c], others) > -1e-12)
    inside &= _area(flat[c], flat[a], others) > -1e-12
    for corner in (a, b, c):  # where the outline comes back to a corner, that corner is in nobody's way
        inside &= (np.abs(others - flat[corner]) > 1e-12).any(axis=1)
    return 1e4 + length if inside.any() else length
