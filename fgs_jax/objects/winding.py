"""Inside and outside of triangles: generalised winding numbers (Jacobson et al. 2013), and lids that close holes.

Inside is where the winding number is above one half, so a mesh with holes, or of parts that overlap, has an inside too.
Host side, numpy, float64.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fgs_jax.objects.triangles import Faces, Points, Vertices, double_areas, extent_of, mean_by, net_edges

_EXACT_PAIRS, _EXACT_FACES = 30_000_000, 512
"""Points times faces, and faces, up to which all winding numbers are exact, since fast ones take no less time."""
_APART = 1e-4
"""Share of the extent: farther than this from the surface the fast winding number is right."""


def is_inside(vertices: Vertices, faces: Faces, points: Points, distance: Float[ndarray, "p"]) -> Bool[ndarray, "p"]:
    """Whether the winding number is above one half. `distance`: of the points to the surface."""
    winding, exact = winding_at(vertices, faces, points, distance)
    doubtful = ~exact & (np.abs(winding - 0.5) < 0.02)
    winding[doubtful] = winding_numbers(vertices, faces, points[doubtful])
    return winding > 0.5


def winding_at(
    vertices: Vertices, faces: Faces, points: Points, distance: Float[ndarray, "p"]
) -> tuple[Float64[ndarray, "p"], Bool[ndarray, "p"]]:
    """Winding numbers, and which are exact: all, or where points times faces are many those near the surface alone."""
    exact = np.full(len(points), exact_is_quick(faces, points))
    winding = np.zeros(len(points))
    if not exact.all():
        winding = fast_winding_numbers(vertices, faces, points)
        exact = distance < _APART * extent_of(vertices)
    winding[exact] = winding_numbers(vertices, faces, points[exact])
    return winding, exact


def winding_in_front(
    vertices: Vertices, faces: Faces, asked: Int[ndarray, "p"], points: Points
) -> Float64[ndarray, "p"]:
    """Winding number just outside of points on the faces `asked`; where there are many, off by up to 0.01."""
    normals = double_areas(vertices[faces[asked]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    few = exact_is_quick(faces, points)
    points = points + (1e-6 if few else _APART) * extent_of(vertices) * normals
    return (winding_numbers if few else fast_winding_numbers)(vertices, faces, points)


def exact_is_quick(faces: Faces, points: Points) -> bool:
    """Whether exact winding numbers take no longer than fast ones."""
    return len(faces) <= _EXACT_FACES or len(faces) * len(points) <= _EXACT_PAIRS


def winding_numbers(vertices: Vertices, faces: Faces, points: Points) -> Float64[ndarray, "p"]:
    """Exact, in a time that grows with points times faces."""
    import igl  # noqa: PLC0415

    return np.asarray(igl.winding_number(vertices, faces, points))


def fast_winding_numbers(vertices: Vertices, faces: Faces, points: Points) -> Float64[ndarray, "p"]:
    """Off by 0.01, in a time that hardly grows with the faces; but within 1e-4 of the extent it may be off by 1.1."""
    import igl  # noqa: PLC0415

    # Its numbers are float32: far from the origin they would say little.
    middle, extent = (vertices.min(axis=0) + vertices.max(axis=0)) / 2, extent_of(vertices)
    return np.asarray(igl.fast_winding_number((vertices - middle) / extent, faces, (points - middle) / extent))


def lid_of(vertices: Vertices, faces: Faces) -> tuple[Float64[ndarray, "w 3"], Int64[ndarray, "l 3"]]:
    """Vertices and faces of a cone over the open edges of each hole, which closes it wherever its tip is: in its
    middle, where the cone is small."""
    edges, net = net_edges(faces)
    edges = np.repeat(np.where(net[:, None] > 0, edges[:, ::-1], edges), np.abs(net), axis=0)
    count = len(vertices)
    joined = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    hole = np.unique(connected_components(joined, directed=False)[1][edges[:, 0]], return_inverse=True)[1]
    tips = np.stack([mean_by(vertices[edges[:, 0], axis], hole) for axis in range(3)], axis=1)
    return np.concatenate([vertices, tips]), np.concatenate([edges, count + hole[:, None]], axis=1)


def close_to_lid(vertices: Vertices, lid: Faces, distance: Float[ndarray, "p"]) -> Bool[ndarray, "p"]:
    """Whether a lid's winding number may reach one half, at points so far from it: elsewhere it decides nothing."""
    area = np.linalg.norm(double_areas(vertices[lid]), axis=1).sum() / 2
    return 2 * np.pi * distance**2 <= area  # a surface fills at most area / distance^2 of the sphere's 4 pi
