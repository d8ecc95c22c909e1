"""Triangles as they are, vertices and faces: areas, edges, parts, and the distance to them.

Host side, numpy, float64; nothing is checked and nothing is mended here.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Vertices = Float[ndarray, "v 3"]
Faces = Int[ndarray, "f 3"]
Points = Float[ndarray, "p 3"]


def extent_of(vertices: Vertices) -> float:
    """Longest side of the bounding box."""
    return float(np.ptp(vertices, axis=0).max())


def double_areas(corners: Float[ndarray, "... 3 3"]) -> Float[ndarray, "... 3"]:
    """Normals of triangles, of twice the area's length."""
    return np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])


def edges_of(faces: Faces) -> Int64[ndarray, "e 2"]:
    """The three edges of each face, in the order in which the face passes them."""
    return np.asarray(faces, np.int64)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)


def net_edges(faces: Faces) -> tuple[Int64[ndarray, "e 2"], Int64[ndarray, "e"]]:
    """The edges, lower vertex first, and how much more often faces pass each of them this way than the other."""
    edges = edges_of(faces)
    count = faces.max(initial=0) + 1
    # As one number each, in the same order: rows take ten times as long.
    unique, edge = np.unique(edges.min(axis=1) * count + edges.max(axis=1), return_inverse=True)
    net = np.bincount(edge, np.where(edges[:, 0] < edges[:, 1], 1, -1), len(unique)).astype(int)
    return np.stack(np.divmod(unique, count), axis=1), net


def is_balanced(faces: Faces) -> bool:
    """Whether faces close up: each edge is passed as often one way as the other."""
    return not net_edges(faces)[1].any()


def parts_of(faces: Faces) -> Int[ndarray, "f"]:
    """For each face the part it belongs to: those that share a vertex are of one."""
    edges = edges_of(faces)
    links = coo_array((np.ones(len(edges)), tuple(edges.T)), shape=(faces.max() + 1,) * 2)
    return connected_components(links, directed=False)[1][faces[:, 0]]


def mean_by(values: Float[ndarray, "n"] | Bool[ndarray, "n"], group: Int[ndarray, "n"]) -> Float64[ndarray, "g"]:
    """The mean of the values of each group; groups are numbered from 0, and none is empty."""
    return np.bincount(group, values) / np.bincount(group)


def distances_to(vertices: Vertices, faces: Faces, points: Points) -> Float64[ndarray, "p"]:
    """Distance of each point to the nearest place of the surface, without a sign."""
    return closest_points(vertices, faces, points)[0]


def closest_points(
    vertices: Vertices, faces: Faces, points: Points
) -> tuple[Float64[ndarray, "p"], Float64[ndarray, "p 3"]]:
    """Distance to the nearest place of the surface, and that place."""
    import igl  # noqa: PLC0415

    # Not igl.signed_distance: it multiplies the distance by 1 - 2 w, and w is only nearly whole.
    squared, _, closest = igl.point_mesh_squared_distance(points, vertices, faces)
    return np.sqrt(np.asarray(squared)), np.asarray(closest)
