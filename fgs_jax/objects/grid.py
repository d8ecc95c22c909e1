"""Signed distances of a mesh at the nodes of a box, made on the host and looked up in JAX (`distance`)."""

import numpy as np
from scipy import ndimage

from fgs_jax.errors import MeshError
from fgs_jax.objects.checks import checked_number, no_type_check
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.objects.mesh import ObjectMesh, check_mesh
from fgs_jax.objects.triangles import closest_points, distances_to
from fgs_jax.objects.winding import close_to_lid, fast_winding_numbers, lid_of, winding_at
from fgs_jax.types import on_device

_MOST_NODES = 512
"""Along a side of a grid: what is more takes all memory."""
_TOLERANCE = 0.38
"""Voxels by which a grid may be off at the samples: between them it is off by a little more."""
_AT_ONCE = 8192
"""Cells that are looked at together, which bounds the memory of that."""
_CORNERS = np.indices((2, 2, 2), np.int8).reshape(3, -1).T
_SAMPLES = np.indices((5, 5, 5), np.float32).reshape(3, -1).T / 4
_SAMPLES = _SAMPLES[(_SAMPLES % 1 == 0).sum(axis=1) < 2]
"""Points a quarter of a voxel apart in a cell and in its sides; in its edges it is never off by more than a half."""
_GAPS = np.linalg.norm(_SAMPLES[:, None] - _CORNERS, axis=2)
"""From the samples to the corners."""
_WEIGHTS = np.where(_CORNERS, _SAMPLES[:, None], 1 - _SAMPLES[:, None]).prod(axis=2)


@no_type_check
def distance_grid(mesh: ObjectMesh, resolution: int = 64, margin: float = 2.0) -> DistanceGrid:
    """Signed distances at the nodes of a box about the mesh that leaves `margin` voxels free on all sides.

    There are at most resolution^3 nodes, and as many values for all objects, so one compiled program serves all of
    them. The voxel is the smallest that they suffice for: a long or flat object has a finer one than a cube would.

    `signed_distance` is off by less than half a voxel, and near the surface by 1/150 to 1/8 voxels on average. To that
    end a few nodes are up to 0.38 voxels from exact: about ridges of the distance, such as the middle of a thin wall;
    the others are exact. Where the inside of an open mesh ends away from its faces, beside a large hole, the distance
    jumps from minus to plus: in the cells there it is off by up to that.

    Raises MeshError where the resolution leaves no voxel for the object, and above 512, which takes all memory.
    """
    check_mesh(mesh)
    resolution = checked_number(resolution, 2, _MOST_NODES, "resolution")
    if np.ndim(margin) or not np.isfinite(margin):
        raise MeshError(f"margin: expected a number of voxels, came {margin}; use 2")
    if resolution - 1 - 2 * margin < 1 or margin < 0:
        raise MeshError(
            f"expected room for the object in the grid, came {resolution} nodes, a margin of {margin:g}; use 64 and 2"
        )
    counts, voxel = _finest(np.ptp(mesh.vertices, axis=0), resolution, margin)
    centre = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    origin = (centre - (counts - 1) / 2 * np.float64(voxel)).astype(np.float32)
    nodes = np.indices(tuple(counts)).reshape(3, -1).T * np.float64(voxel) + origin
    distance, closest = closest_points(mesh.vertices, mesh.faces, nodes)
    is_inside = _inside_nodes(mesh, nodes, distance.reshape(counts), float(voxel))
    exact = np.where(is_inside, -distance, distance).reshape(counts)
    fitted = voxel * _fitted(mesh, exact / voxel, (closest - origin) / voxel, origin, float(voxel))
    values = np.zeros(resolution**3, np.float32)
    values[: len(nodes)] = fitted.ravel()
    return DistanceGrid(on_device(values), on_device(origin), on_device(voxel), on_device(counts, np.int32))


def _finest(sides: np.ndarray, resolution: int, margin: float) -> tuple[np.ndarray, np.float32]:
    """How many nodes along each axis, and the smallest voxel for which resolution^3 are enough about such sides.

    The voxel is as rounded for JAX, so that the values belong to the very nodes that it sees.
    """

    def counts_at(voxel: float) -> np.ndarray:
        return np.maximum(np.ceil(sides / voxel + 2 * margin - 1e-5).astype(int) + 1, 2)

    enough = sides.max() / (resolution - 1 - 2 * margin)
    too_small = sides.max() / resolution**3
    for _ in range(50):
        middle = (too_small + enough) / 2
        if counts_at(middle).prod() > resolution**3:
            too_small = middle
        else:
            enough = middle
    return counts_at(enough), np.float32(enough)


def _inside_nodes(mesh: ObjectMesh, nodes: np.ndarray, distance: np.ndarray, voxel: float) -> np.ndarray:
    """Which nodes are inside: winding number above 1/2, without asking it of every node. `distance`: (a, b, c).

    A lid over the holes makes the surface closed, and the winding number of a closed surface whole. No surface passes
    between two neighbouring nodes whose distances from it add up to more than a voxel, so one node answers for its
    region; what the lid adds is then taken off again.
    """
    vertices, lid = lid_of(mesh.vertices, mesh.faces)
    to_surface, to_lid = distance.ravel(), np.full(len(nodes), np.inf)
    if len(lid):
        to_lid = distances_to(vertices, lid, nodes)
        distance = np.minimum(distance, to_lid.reshape(distance.shape))
    region = np.zeros(distance.shape, np.int64)
    ndimage.label(distance > voxel / 2, output=region)
    for axis in range(3):  # the nodes next to the regions: few others are left
        place, far = np.moveaxis(region, axis, 0), np.moveaxis(distance, axis, 0)
        for one, other in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            joins = (place[one] == 0) & (far[one] + far[other] > voxel)
            place[one] = np.where(joins, place[other], place[one])
    region = region.ravel()
    asked = np.union1d(np.flatnonzero(region == 0), np.unique(region, return_index=True)[1])
    answer = winding_at(mesh.vertices, mesh.faces, nodes[asked], to_surface[asked])[0]
    lid_winding = np.zeros(len(nodes))
    if len(lid):
        needed = np.union1d(asked, np.flatnonzero(close_to_lid(vertices, lid, to_lid)))
        lid_winding[needed] = winding_at(vertices, lid, nodes[needed], to_lid[needed])[0]
    of_region = np.zeros(region.max() + 1)
    of_region[region[asked]] = np.rint(answer + lid_winding[asked])
    winding = of_region[region] - lid_winding
    winding[asked] = answer
    return winding > 0.5


def _fitted(mesh: ObjectMesh, exact: np.ndarray, closest: np.ndarray, origin: np.ndarray, voxel: float) -> np.ndarray:
    """The values of the nodes, moved as little as brings interpolation to within `_TOLERANCE` at samples of each cell.

    Between exact values it cuts off ridges, and loses what is thinner than a voxel. `exact` and `closest`, the points
    of the surface that are nearest to the nodes, are in voxels from the first node.
    """
    corner, sample = _doubtful(exact, closest)
    points = np.stack(np.unravel_index(corner[:, 0], exact.shape), axis=1) + _SAMPLES[sample]
    shape, exact = exact.shape, exact.ravel()
    distance = distances_to(mesh.vertices, mesh.faces, points * voxel + origin) / voxel
    # No surface passes between two points whose distances from it add up to more than their gap.
    value, gap = exact.astype(np.float32)[corner], _GAPS[sample]
    sure = distance.astype(np.float32)[:, None] + np.abs(value) - gap
    inside = np.take_along_axis(value, sure.argmax(axis=1)[:, None], axis=1)[:, 0] < 0
    asked = sure.max(axis=1) < 1e-3
    inside[asked] = fast_winding_numbers(mesh.vertices, mesh.faces, points[asked] * voxel + origin) > 0.5
    distance = np.where(inside, -distance, distance)
    # It changes by no more than the gap, save where the inside of an open mesh ends: no values could be right there.
    whole = (np.abs(distance.astype(np.float32)[:, None] - value) < gap + 1e-3).all(axis=1)
    corner, sample, distance = corner[whole], sample[whole], distance[whole]

    # Projections onto what all samples ask, at once (Kaczmarz): of the moves of a node, the farthest up and down.
    values, weights = exact, _WEIGHTS[sample]
    for _ in range(10):
        error = (weights * values[corner]).sum(axis=1) - distance
        wrong = np.abs(error) > _TOLERANCE + 1e-3
        if not wrong.any():
            break
        excess = error[wrong] - np.clip(error[wrong], -_TOLERANCE, _TOLERANCE)
        move = -excess[:, None] * weights[wrong] / (weights[wrong] ** 2).sum(axis=1, keepdims=True)
        up, down = np.zeros_like(exact), np.zeros_like(exact)
        np.maximum.at(up, corner[wrong], move)
        np.minimum.at(down, corner[wrong], move)
        values = np.clip(values + up + down, exact - _TOLERANCE, exact + _TOLERANCE)
    return values.reshape(shape)


def _doubtful(exact: np.ndarray, closest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where interpolation may be off by more than `_TOLERANCE`: the corners (s, 8) of the cells, and which sample."""
    slope = np.zeros(np.array(exact.shape) - 1)
    for axis in range(3):
        step = np.moveaxis(np.diff(exact, axis=axis), axis, 0)
        step = (step[:, 1:, 1:] + step[:, 1:, :-1] + step[:, :-1, 1:] + step[:, :-1, :-1]) / 4
        slope += np.moveaxis(step, 0, axis) ** 2
    # A distance has a slope of one, and on both sides of a ridge another.
    cells = np.argwhere(slope < 0.9**2)
    parts = [
        _doubtful_in(cells[first : first + _AT_ONCE], exact, closest) for first in range(0, len(cells) or 1, _AT_ONCE)
    ]
    corner, sample = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return corner, sample


def _doubtful_in(cells: np.ndarray, exact: np.ndarray, closest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`_doubtful` of some cells (c, 3), by a guess that saves asking for all distances."""
    cell = cells[:, None]
    corner = (cell + _CORNERS) @ np.array([exact.shape[1] * exact.shape[2], exact.shape[2], 1])
    value = exact.ravel()[corner]

    # Of the points of the surface that are nearest to the corners, the nearest to the sample: the distance is that to
    # the plane there or, where this is far aside, as at an edge, to the point.
    foot = (closest[corner] - cell).astype(np.float32)
    normal = (_CORNERS - foot) / np.where(value == 0, 1, value)[:, :, None].astype(np.float32)
    height = normal @ _SAMPLES.T - (normal * foot).sum(axis=2, keepdims=True)
    squared = (foot**2).sum(axis=2, keepdims=True) - 2 * foot @ _SAMPLES.T + (_SAMPLES**2).sum(axis=1)
    nearest = np.argmin(squared, axis=1, keepdims=True)
    height, squared = (np.take_along_axis(array, nearest, axis=1)[:, 0] for array in (height, squared))
    guess = np.where(squared - height**2 > 0.5, np.copysign(np.sqrt(np.abs(squared)), height), height)
    row, sample = np.nonzero(np.abs(value @ _WEIGHTS.T - guess) > _TOLERANCE)
    return corner[row].astype(np.int32), sample
