"""The union of a mesh's parts where they overlap, so that what asks its faces meets no face inside the solid.

Host side, numpy, float64; the union is that of manifold3d.
"""

import numpy as np
from jaxtyping import Float64, Int, Int64
from numpy import ndarray
from scipy.sparse.csgraph import connected_components

from fgs_jax.objects.triangles import Faces, Vertices, net_edges, parts_of
from fgs_jax.objects.winding import winding_numbers

_MOST_PARTS = 1000
"""Of more, such as thousands of crumbs, none are united: all pairs would be looked at."""


def united(vertices: Float64[ndarray, "v 3"], faces: Faces) -> tuple[Float64[ndarray, "w 3"], Int[ndarray, "g 3"]]:
    """The mesh with one surface about closed parts that overlap, lie in each other or touch.

    A part that is wound inward is a hollow of the smallest part about it. The mesh comes back as it is where no two
    closed parts have boxes that meet; so do its open parts and those that are no manifold.
    """
    part = np.unique(parts_of(faces), return_inverse=True)[1]
    if not 1 < (count := part.max() + 1) <= _MOST_PARTS:
        return vertices, faces
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    for corner in faces.T:
        np.minimum.at(low, part, vertices[corner])
        np.maximum.at(high, part, vertices[corner])
    meet = (low[:, None] <= high).all(axis=2)
    of_vertex = np.zeros(len(vertices), np.int64)
    of_vertex[faces] = part[:, None]
    edges, net = net_edges(faces)
    closed = np.bincount(of_vertex[edges[:, 0]], net != 0, count) == 0
    group = connected_components(meet & meet.T & closed & closed[:, None], directed=False)[1]
    several = np.bincount(group)[group] > 1
    if not several.any():
        return vertices, faces
    pieces = [(vertices, faces[~several[part]])]
    for each in np.unique(group[several]):
        pieces += _union(vertices, [faces[part == k] for k in np.flatnonzero(group == each)])
    starts = np.cumsum([0, *(len(piece[0]) for piece in pieces)])
    faces = np.concatenate([piece[1] + start for piece, start in zip(pieces, starts, strict=False)])
    used, faces = np.unique(faces, return_inverse=True)
    return np.concatenate([piece[0] for piece in pieces])[used], faces.reshape(-1, 3)


def _union(
    vertices: Vertices, parts: list[Int[ndarray, "_ 3"]]
) -> list[tuple[Float64[ndarray, "w 3"], Int64[ndarray, "g 3"]]]:
    """Of closed parts: one mesh, beside those that are no manifold."""
    import manifold3d  # noqa: PLC0415

    solids, others = [], []
    for faces in _with_hollows(vertices, parts):
        used, own = np.unique(faces, return_inverse=True)
        corners = np.ascontiguousarray(vertices[used], np.float64)
        solid = manifold3d.Manifold(manifold3d.Mesh64(corners, own.reshape(-1, 3).astype(np.uint64)))
        if solid.status() == manifold3d.Error.NoError:
            solids.append(solid)
        else:
            others.append((vertices, faces))
    mesh = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add).to_mesh64()
    return [(np.asarray(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts).astype(np.int64)), *others]


def _with_hollows(vertices: Vertices, parts: list[Int[ndarray, "_ 3"]]) -> list[Int[ndarray, "_ 3"]]:
    """The parts, with those that are wound inward joined to the smallest one about them."""
    volumes = []
    for faces in parts:
        a, b, c = np.moveaxis(vertices[faces] - vertices[faces[0, 0]], 1, 0)
        volumes.append((a * np.cross(b, c)).sum() / 6)
    outward = sorted((k for k, volume in enumerate(volumes) if volume >= 0), key=volumes.__getitem__)
    joined = {k: [parts[k]] for k in outward}
    for k in set(range(len(parts))) - set(outward):
        first = vertices[parts[k][:1, 0]]
        about = [o for o in outward if winding_numbers(vertices, parts[o], first)[0] > 0.5]
        joined.setdefault(about[0] if about else k, []).append(parts[k])
    return [np.concatenate(faces) for faces in joined.values()]
