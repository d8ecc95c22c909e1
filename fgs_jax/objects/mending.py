"""What a mesh that people bring gets mended: places, faces without an area or there twice, and how faces are wound."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from fgs_jax.errors import MeshError
from fgs_jax.objects.triangles import Faces, Vertices, double_areas, extent_of, mean_by, parts_of
from fgs_jax.objects.winding import winding_in_front

LEAST_OF_ALL = 1e-30
"""In any unit: of less than that no area can be told."""
_FACES_ASKED, _MOST_ASKED = 256, 16384
"""Faces per patch that are asked on which side the inside is, and of all patches together where each has one."""


def mended(
    vertices: Vertices, faces: Faces, where: str, repairs: list[str]
) -> tuple[Float64[ndarray, "w 3"], Int64[ndarray, "g 3"]]:
    """The mesh as `load_object` promises it; adds a line to `repairs` for each kind of change.

    Raises MeshError, which says `where`, for a mesh without an extent or without a face that has an area.
    """
    unused = len(vertices) - len(np.unique(faces))
    if unused:
        repairs.append(f"dropped {unused} unused vertices")
        vertices, faces = _compact(vertices, faces)
    extent = extent_of(vertices)
    if extent <= LEAST_OF_ALL:
        came = f"of {extent:.3g}" if extent else "of no extent, all in one point"
        raise MeshError(f"{where}: expected an object, came one {came}; check the mesh")

    same = _same_place(vertices, 1e-7 * extent)
    if merged := np.count_nonzero(same != np.arange(len(vertices))):
        repairs.append(f"merged {merged} vertices with others at the same place")
        faces = same[faces]

    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    has_area = np.linalg.norm(double_areas(corners), axis=1) > 1e-10 * longest**2
    if not has_area.all():
        repairs.append(f"dropped {np.count_nonzero(~has_area)} faces without an area")
        faces = faces[has_area]
    if not len(faces):
        raise MeshError(f"{where}: expected a surface, came faces without an area only; check the mesh")

    low, middle, high = np.sort(faces, axis=1).T
    order = np.lexsort((high, middle, low))  # rows in np.unique take ten times as long
    again = np.zeros(len(faces), bool)
    again[1:] = (np.diff(np.stack([low, middle, high])[:, order]) == 0).all(axis=0)
    first = order[~again]
    if len(first) < len(faces):
        repairs.append(f"dropped {len(faces) - len(first)} faces that are there twice")
        faces = faces[np.sort(first)]

    vertices, faces = _compact(vertices, faces)
    faces = _wound_outward(vertices, faces, repairs)
    if (parts := len(set(parts_of(faces)))) > 1:
        repairs.append(f"kept {parts} separate parts")
    return vertices, faces


def _wound_outward(vertices: np.ndarray, faces: np.ndarray, repairs: list[str]) -> np.ndarray:
    """The faces, each wound as its neighbours are, and none with an inside turned out."""
    import igl  # noqa: PLC0415

    oriented, patch = (np.asarray(array).astype(np.int64) for array in igl.bfs_orient(faces))
    turned = (oriented != faces).any(axis=1)
    turned ^= (mean_by(turned, patch) > 0.5)[patch]  # the few follow the many
    if turned.any():
        repairs.append(f"turned {np.count_nonzero(turned)} faces that were wound against their neighbours")
        faces = np.where(turned[:, None], faces[:, ::-1], faces)

    # In front of a face the winding number is 0, or 1 within another part. It is -1 only where the part is inside out.
    # A hole takes a share of this, and a flat sheet has -1/2.
    order = np.argsort(patch, kind="stable")
    size = np.bincount(patch)
    rank = np.arange(len(faces)) - np.repeat(np.cumsum(size) - size, size)
    each = int(np.clip(_MOST_ASKED // len(size), 1, _FACES_ASKED))
    asked = order[rank % np.repeat(-(-size // each), size) == 0]
    in_front = winding_in_front(vertices, faces, asked, vertices[faces[asked]].mean(axis=1))
    inverted = mean_by(in_front, patch[asked]) < -0.55
    if inverted.any():
        count = np.count_nonzero(inverted[patch])
        repairs.append(f"turned {count} faces of parts that were inside out")
        faces = np.where(inverted[patch][:, None], faces[:, ::-1], faces)
    return faces


def _same_place(vertices: np.ndarray, tolerance: float) -> np.ndarray:
    """For each vertex the first one that is within the tolerance of it."""
    # First the equal ones: an STL has six of each, and a tree would list every pair of them.
    places, place = np.unique(vertices, axis=0, return_inverse=True)
    pairs = KDTree(places).query_pairs(tolerance, output_type="ndarray").T
    links = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(len(places),) * 2)
    group = connected_components(links, directed=False)[1][place.ravel()]
    first = np.full(group.max() + 1, len(vertices))
    np.minimum.at(first, group, np.arange(len(vertices)))
    return first[group]


def _compact(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the vertices that no face uses."""
    used, faces = np.unique(faces, return_inverse=True)
    return vertices[used], faces.reshape(-1, 3)
