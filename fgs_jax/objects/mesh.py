"""Object meshes: read, check, mend, simplify, sample, hull, signed distance.

Host side, numpy, float64. Inside is where the generalised winding number (Jacobson et al. 2013) is above one half, so a
mesh with holes, or of parts that overlap, has an inside too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float64, Int, Int64, Key, UInt32
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, KDTree, QhullError

from fgs_jax.errors import MeshError
from fgs_jax.files import expanded
from fgs_jax.objects import simplifying
from fgs_jax.objects.checks import (
    MOST_COORDINATE,
    check_corners,
    checked_number,
    checked_points,
    farthest,
    key_words,
    no_type_check,
)
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.objects.files import cut_faces, read_mesh_file
from fgs_jax.objects.polygons import Polygons
from fgs_jax.types import on_device

LEAST_EXTENT, MOST_EXTENT = 0.005, 3.0
"""Metres, of an object that a hand can hold."""
LEAST_OF_ALL = 1e-30
"""In any unit: of less than that no area can be told."""
_FACES_ASKED, _MOST_ASKED = 256, 16384
"""Faces per patch that are asked on which side the inside is, and of all patches together where each has one."""
_FEW_FACES = 2048
"""So few that nothing takes long with all of them."""
_EXACT_PAIRS, _EXACT_FACES = 30_000_000, 512
"""Points times faces, and faces, up to which all winding numbers are exact, since fast ones take no less time."""
_APART = 1e-4
"""Share of the extent: farther than this from the surface the fast winding number is right."""

_MOST_POINTS, _MOST_NODES = 100_000, 512
"""Of the surface, and along a side of a grid: what is more takes all memory."""

_TOLERANCE = 0.38
"""Voxels by which a grid may be off at the samples: between them it is off by a little more."""
_CORNERS = np.indices((2, 2, 2), np.int8).reshape(3, -1).T
_SAMPLES = np.indices((5, 5, 5), np.float32).reshape(3, -1).T / 4
_SAMPLES = _SAMPLES[(_SAMPLES % 1 == 0).sum(axis=1) < 2]
"""Points a quarter of a voxel apart in a cell and in its sides; in its edges it is never off by more than a half."""
_WEIGHTS = np.where(_CORNERS, _SAMPLES[:, None], 1 - _SAMPLES[:, None]).prod(axis=2)


@dataclass(frozen=True, eq=False)
class ObjectMesh:
    """A triangle mesh that `load_object` has checked: finite, wound outward, without duplicates.

    Its arrays are its own and cannot be written to: `dataclasses.replace` makes another mesh.
    """

    vertices: Float64[np.ndarray, "v 3"]
    """Metres where `size` is "metric"."""
    faces: Int64[np.ndarray, "f 3"]
    name: str
    size: str
    """"metric", or "unknown" for a mesh that is right up to its scale, such as a generated one."""
    repairs: tuple[str, ...]
    """What was mended, one line each; empty where the mesh is as it came."""
    watertight: bool
    """Whether the surface bounds a volume: every edge is passed as often forwards as backwards."""

    def __post_init__(self) -> None:
        for name, kind in (("vertices", np.float64), ("faces", np.int64)):
            own = np.array(getattr(self, name), kind)
            if own.ndim != 2 or own.shape[1] != 3:
                raise MeshError(f"{self.name}: expected {name} of shape (n, 3), came {own.shape}; check them")
            own.setflags(write=False)  # what is made of a mesh is kept with it
            object.__setattr__(self, name, own)

    def __setstate__(self, state: dict[str, Any]) -> None:  # a copy, or one from a pickle
        self.__dict__.update(state)
        self.__post_init__()


def load_object(
    source: Any, size: str = "metric", name: str | None = None, *, advice: str = 'pass size="unknown"'
) -> ObjectMesh:
    """Reads a mesh, checks it and mends it; what was mended is in `repairs`.

    `source` is the path of an obj, ply, stl, off, glb or gltf file, (vertices, faces) arrays, a trimesh mesh or scene,
    or an Open3D TriangleMesh, legacy or tensor. The parts of a scene become one mesh, each where the scene puts it.
    `size` is "metric" for metres, or "unknown"; `name` is that of the file unless given. `advice`: what the caller can
    do about a mesh in another unit, for the error's line.

    Mended are: faces of more than three corners (cut into triangles), unused vertices, vertices within 1e-7 of the
    extent of each other, faces without an area, faces that are there twice, faces wound against their neighbours, and
    parts that are inside out. Parts are kept apart, and holes are not closed.

    Raises MeshError where the file cannot be read, and for a mesh without a face or an extent, with a number that is
    not finite or a face of a vertex that is not there, and, where "metric", of an extent below 5 mm or above 3 m.
    """
    if size not in ("metric", "unknown"):
        raise MeshError(f'expected a size of "metric" or "unknown", came "{size}"; choose one of the two')
    repairs: list[str] = []
    if isinstance(source, (str, Path)):
        path = expanded(source)
        where, name = str(path), name or path.stem
        vertices, faces = read_mesh_file(path, repairs)
    else:
        where = name = name or "object"
        vertices, faces = _read_object(source, where, repairs)
    vertices, faces = _checked(vertices, faces, where, repairs)
    vertices, faces = _mended(vertices, faces, where, repairs)
    extent = _extent(vertices)
    if size == "metric" and not LEAST_EXTENT <= extent <= MOST_EXTENT:
        raise MeshError(
            f"{where}: expected an object of 5 mm to 3 m, came {extent:.4g} m; the file may be in millimetres or "
            f"centimetres: scale it to metres, or {advice}"
        )
    return ObjectMesh(vertices, faces, name, size, tuple(repairs), is_balanced(faces))


@no_type_check
def simplify(mesh: ObjectMesh, faces: int = 5000) -> ObjectMesh:
    """The mesh with about `faces` faces, by quadric edge collapse (Garland and Heckbert 1997); deterministic.

    Crumbs, parts that have next to nothing of its area and extent, are left out first. How far it is from the mesh, and
    whether it was torn open, is in `repairs`. What the collapse leaves too many faces of, such as loose triangles and
    thousands of parts, is drawn together on a grid before.

    A mesh comes back as it is where it has no more faces already. So does one of at most 2048 faces, which cost
    little, where it would not stay watertight, and where a vertex would be farther from the new surface than 5 % of the
    extent.

    Raises MeshError for what is no mesh, and for no number of faces from 1 up.
    """
    _check_mesh(mesh)
    faces = checked_number(faces, 1, 10**9, "faces")
    if len(mesh.faces) <= faces:
        return mesh
    repairs = list(mesh.repairs)
    kept = simplifying.without_crumbs(mesh.vertices, mesh.faces, _parts(mesh.faces))
    if crumbs := len(mesh.faces) - len(kept):
        repairs.append(f"left out {crumbs} faces of crumbs")
    small = simplifying.simplified(mesh.vertices, kept, faces)
    if small is None:
        return mesh
    vertices, triangles = _mended(*small, mesh.name, repairs)
    watertight = is_balanced(triangles)
    whole = mesh.vertices[np.unique(kept)]
    deviation = _distance(vertices, triangles, whole).max() / _extent(whole)
    if len(mesh.faces) <= _FEW_FACES and (deviation > 0.05 or mesh.watertight > watertight):
        return mesh
    repairs.append(
        f"simplified from {len(mesh.faces)} to {len(triangles)} faces, to within {deviation:.1%} of the extent"
    )
    if mesh.watertight > watertight:
        repairs.append("it is no longer watertight")
    return ObjectMesh(vertices, triangles, mesh.name, mesh.size, tuple(dict.fromkeys(repairs)), watertight)


@no_type_check
def sample_points(mesh: ObjectMesh, count: int, key: Key[Array, ""] | UInt32[Array, "2"]) -> Float[Array, "{count} 3"]:
    """Points spread evenly over the surface: the farthest ones among ten times as many random ones.

    Faces inside another part of the object get none. The same key gives the same points.

    Raises MeshError for what is no mesh, no count from 1 to 100000, or no random key.
    """
    _check_mesh(mesh)
    count = checked_number(count, 1, _MOST_POINTS, "count")
    rng = np.random.default_rng(key_words(key))
    corners = mesh.vertices[mesh.faces]
    up_to = np.cumsum(np.linalg.norm(_double_areas(corners), axis=1))
    face = np.searchsorted(up_to, rng.random(10 * count) * up_to[-1], side="right")
    face = np.minimum(face, len(mesh.faces) - 1)
    root, share = np.sqrt(rng.random((10 * count, 1))), rng.random((10 * count, 1))
    a, b, c = np.moveaxis(corners[face], 1, 0)
    points = (1 - root) * a + root * (1 - share) * b + root * share * c
    hidden = _within_another_part(mesh, face, points)
    # More only where nearly all of a mesh is within itself: then its winding says nothing.
    if np.count_nonzero(hidden) <= 9 * count:
        points[hidden] = np.nan  # never the farthest
    # In room for so many, that few shapes are compiled.
    candidates = np.full((4096 * -(-len(points) // 4096), 3), np.nan, np.float32)
    candidates[: len(points)] = points
    room = 256 * -(-count // 256)
    return on_device(candidates[np.asarray(farthest_points(candidates, room))[:count]])


@no_type_check
def farthest_points(points: Float[Array | np.ndarray, "m d"], count: int) -> Int[Array, "{count}"]:
    """Indices of `count` points, the first finite one and then always the one farthest from all before.

    No point is farther from those chosen than twice what the best choice could reach (Gonzalez 1985). A point that is
    not finite is never chosen where one is finite.

    Raises MeshError for points that are no array (m, d) of floats, and for no count from 1 to 100000.
    """
    shape, kind = np.shape(points), getattr(points, "dtype", None)
    if len(shape) != 2 or not all(shape) or kind is None or not jnp.issubdtype(kind, jnp.floating):
        raise MeshError(f"points: expected an array of floats of shape (m, d), came {shape} of type {kind}; check it")
    return _farthest_points(points, checked_number(count, 1, _MOST_POINTS, "count"))


@partial(jax.jit, static_argnames="count")
def _farthest_points(points: Float[Array, "m d"], count: int) -> Int[Array, "{count}"]:
    # Point c * 128 + r lies at [r, c]: the maximum over all of them is then one over rows, 35 times as fast on a CPU.
    columns = -(-len(points) // 128)
    padded = jnp.full((columns * 128, points.shape[1]), jnp.nan, points.dtype).at[: len(points)].set(points)
    finite = jnp.isfinite(padded).all(axis=1)
    coordinates = jnp.where(finite[:, None], padded, 0).T.reshape(-1, columns, 128).swapaxes(1, 2)

    def add(i: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, nearest = state
        column = jnp.argmax(nearest.max(axis=0))
        row = jnp.argmax(nearest[:, column])
        squared = sum((axis - axis[row, column]) ** 2 for axis in coordinates)
        return chosen.at[i].set(column * 128 + row), jnp.minimum(nearest, squared)

    unvisited = jnp.where(finite, jnp.inf, -jnp.inf).astype(points.dtype).reshape(columns, 128).T
    return jax.lax.fori_loop(0, count, add, (jnp.zeros(count, int), unvisited))[0]


@no_type_check
def convex_hull(vertices: Float[np.ndarray | Array, "v 3"]) -> Int64[np.ndarray, "k 3"]:
    """Faces of the convex hull, indices into the vertices, wound outward.

    Raises MeshError where the vertices are not finite, or lie in a plane.
    """
    vertices = checked_points(vertices, "vertices: expected an array of shape (v, 3)")
    if not np.isfinite(vertices).all():
        raise MeshError("expected finite vertices for a convex hull, came nan or infinity; check them")
    try:
        hull = ConvexHull(vertices)
    except QhullError as error:
        raise MeshError(
            f"expected vertices that span a volume, came {len(vertices)} without one; a flat object has no convex hull"
        ) from error
    faces = hull.simplices.astype(np.int64)
    inward = (_double_areas(vertices[faces]) * hull.equations[:, :3]).sum(axis=1) < 0
    return np.where(inward[:, None], faces[:, ::-1], faces)


@no_type_check
def distance_grid(mesh: ObjectMesh, resolution: int = 64, margin: float = 2.0) -> DistanceGrid:
    """Signed distances at resolution^3 nodes of a cube about the mesh that leaves `margin` voxels free on all sides.

    The number of nodes is the same for all objects, so one compiled program serves all of them. `signed_distance` is
    off by less than half a voxel, and near the surface by 1/150 to 1/8 voxels on average. To that end a few nodes are
    up to 0.38 voxels from exact: about ridges of the distance, such as the middle of a thin wall; the others are exact.
    Where the inside of an open mesh ends away from its faces, beside a large hole, the distance jumps from minus to
    plus: in the cells there it is off by up to that.

    Raises MeshError where the resolution leaves no voxel for the object, and above 512, which takes all memory.
    """
    _check_mesh(mesh)
    resolution = checked_number(resolution, 2, _MOST_NODES, "resolution")
    if np.ndim(margin) or not np.isfinite(margin):
        raise MeshError(f"margin: expected a number of voxels, came {margin}; use 2")
    cells = resolution - 1 - 2 * margin
    if cells < 1 or margin < 0:
        raise MeshError(
            f"expected room for the object in the grid, came {resolution} nodes, a margin of {margin:g}; use 64 and 2"
        )
    # As rounded for JAX, so that the values belong to the very nodes that it sees.
    voxel = np.float32(_extent(mesh.vertices) / cells)
    centre = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    origin = (centre - (resolution - 1) / 2 * np.float64(voxel)).astype(np.float32)
    shape = (resolution,) * 3
    nodes = np.indices(shape).reshape(3, -1).T * np.float64(voxel) + origin
    distance, closest = _closest(mesh.vertices, mesh.faces, nodes)
    exact = np.where(_inside_nodes(mesh, nodes, distance, float(voxel)), -distance, distance).reshape(shape)
    values = voxel * _fitted(mesh, exact / voxel, (closest - origin) / voxel, origin, float(voxel))
    return DistanceGrid(values=on_device(values), origin=on_device(origin), voxel=on_device(voxel))


@no_type_check
def exact_signed_distance(mesh: ObjectMesh, points: Float[np.ndarray | Array, "p 3"]) -> Float64[np.ndarray, "p"]:
    """Distance from each point to the nearest face, negative inside, in the unit of the mesh.

    Where parts overlap, the nearest face may be one inside another part. A point that is not finite gets nan.
    """
    _check_mesh(mesh)
    points = checked_points(points)
    finite = np.isfinite(points).all(axis=1)
    asked = points[finite]
    distance = _distance(mesh.vertices, mesh.faces, asked)
    signed = np.full(len(points), np.nan)
    signed[finite] = np.where(is_inside(mesh.vertices, mesh.faces, asked, distance), -distance, distance)
    return signed


def _check_mesh(mesh: Any) -> None:
    if not isinstance(mesh, ObjectMesh):
        raise MeshError(f"expected a mesh that load_object has read, came {type(mesh).__name__}; read it first")


def _read_object(source: Any, where: str, repairs: list[str]) -> tuple[Any, Any]:
    import trimesh  # noqa: PLC0415

    if isinstance(source, trimesh.Scene):
        return _merged(source.dump(), repairs)
    if isinstance(source, trimesh.Trimesh):
        return source.vertices, source.faces
    if hasattr(source, "triangles"):  # Open3D, legacy
        return source.vertices, source.triangles
    if hasattr(source, "triangle"):  # Open3D, tensor
        arrays = (("positions", source.vertex), ("indices", source.triangle))
        return tuple(group[key].cpu().numpy() if key in group else () for key, group in arrays)
    if isinstance(source, Sequence) and len(source) == 2:
        return tuple(source)
    raise MeshError(
        f"{where}: expected a path, (vertices, faces), or a mesh of trimesh or Open3D, came {type(source).__name__}"
    )


def _merged(parts: Sequence[Any], repairs: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """All meshes among the parts of a scene as one."""
    meshes = [part for part in parts if hasattr(part, "faces")]
    if meshes and len(meshes) < len(parts):
        repairs.append(f"left out {len(parts) - len(meshes)} parts without faces (points or lines)")
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    vertices = [np.asarray(part.vertices) for part in parts if not meshes or hasattr(part, "faces")]
    faces = [np.asarray(mesh.faces) + start for mesh, start in zip(meshes, starts, strict=False)]
    return np.concatenate([np.zeros((0, 3)), *vertices]), np.concatenate([np.zeros((0, 3), np.int64), *faces])


def _checked(vertices: Any, faces: Any, where: str, repairs: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Finite float64 vertices and int64 triangles of them."""
    try:
        vertices, faces = np.asarray(vertices), np.asarray(faces)
    except ValueError as error:
        raise MeshError(f"{where}: expected arrays, came rows of different lengths; check them") from error
    if not vertices.size:
        raise MeshError(f"{where}: expected a mesh, came nothing; it is empty, damaged or of another format")
    if not faces.size:
        left = f" ({'; '.join(repairs)})" if repairs else ""
        raise MeshError(
            f"{where}: expected a mesh, came {len(vertices)} points without a face{left}; make a mesh of them"
        )
    if vertices.ndim != 2 or vertices.shape[1] != 3 or vertices.dtype.kind not in "fiu":
        raise MeshError(
            f"{where}: expected vertices of shape (v, 3), came {vertices.shape} of type {vertices.dtype}; check them"
        )
    if faces.ndim != 2 or faces.shape[1] not in (3, 4) or faces.dtype.kind not in "iu":
        raise MeshError(
            f"{where}: expected faces of shape (f, 3) or (f, 4) and whole numbers, came {faces.shape} of type "
            f"{faces.dtype}; check them"
        )
    if bad := np.count_nonzero(~np.isfinite(vertices).all(axis=1)):
        raise MeshError(f"{where}: expected finite vertices, came nan or infinity in {bad}; check the mesh")
    check_corners(faces, len(vertices), where)
    vertices, faces = vertices.astype(np.float64), faces.astype(np.int64)
    if (far := farthest(vertices)) > MOST_COORDINATE:
        raise MeshError(
            f"{where}: expected vertices within {MOST_COORDINATE:.0e} of the origin, came {far:.3g}; check the mesh"
        )
    if faces.shape[1] == 4:
        faces = cut_faces(vertices, Polygons(faces.ravel(), np.full(len(faces), 4)), repairs)
    return vertices, faces


def _mended(vertices: np.ndarray, faces: np.ndarray, where: str, repairs: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The mesh as `load_object` promises it; adds a line to `repairs` for each kind of change."""
    unused = len(vertices) - len(np.unique(faces))
    if unused:
        repairs.append(f"dropped {unused} unused vertices")
        vertices, faces = _compact(vertices, faces)
    extent = _extent(vertices)
    if extent <= LEAST_OF_ALL:
        came = f"of {extent:.3g}" if extent else "of no extent, all in one point"
        raise MeshError(f"{where}: expected an object, came one {came}; check the mesh")

    same = _same_place(vertices, 1e-7 * extent)
    if merged := np.count_nonzero(same != np.arange(len(vertices))):
        repairs.append(f"merged {merged} vertices with others at the same place")
        faces = same[faces]

    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    has_area = np.linalg.norm(_double_areas(corners), axis=1) > 1e-10 * longest**2
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
    if (parts := len(set(_parts(faces)))) > 1:
        repairs.append(f"kept {parts} separate parts")
    return vertices, faces


def _wound_outward(vertices: np.ndarray, faces: np.ndarray, repairs: list[str]) -> np.ndarray:
    """The faces, each wound as its neighbours are, and none with an inside turned out."""
    import igl  # noqa: PLC0415

    oriented, patch = (np.asarray(array) for array in igl.bfs_orient(faces))
    turned = (oriented != faces).any(axis=1)
    turned ^= (_mean_by(turned, patch) > 0.5)[patch]  # the few follow the many
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
    in_front = _winding_in_front(vertices, faces, asked, vertices[faces[asked]].mean(axis=1))
    inverted = _mean_by(in_front, patch[asked]) < -0.55
    if inverted.any():
        count = np.count_nonzero(inverted[patch])
        repairs.append(f"turned {count} faces of parts that were inside out")
        faces = np.where(inverted[patch][:, None], faces[:, ::-1], faces)
    return faces


def _mean_by(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return np.bincount(group, values) / np.bincount(group)


def _within_another_part(mesh: ObjectMesh, face: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points, each on a `face`, are inside a part of the mesh that they are not of."""
    part = _parts(mesh.faces)
    few = part.max() < 64
    asked = np.full(len(points), not few)
    for other in range(part.max() + 1) if few else ():  # the winding number is slow: ask in other parts' boxes only
        corners = mesh.vertices[mesh.faces[part == other]].reshape(-1, 3)
        in_box = (points >= corners.min(axis=0)) & (points <= corners.max(axis=0))
        asked |= in_box.all(axis=1) & (part[face] != other)
    inside = np.zeros(len(points), bool)
    inside[asked] = _winding_in_front(mesh.vertices, mesh.faces, face[asked], points[asked]) > 0.5
    return inside


def _winding_in_front(vertices: np.ndarray, faces: np.ndarray, asked: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Winding number just outside of points on the faces `asked`; where there are many, off by up to 0.01."""
    normals = _double_areas(vertices[faces[asked]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    few = exact_is_quick(faces, points)
    points = points + (1e-6 if few else _APART) * _extent(vertices) * normals
    return (_winding if few else _fast_winding)(vertices, faces, points)


def is_inside(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Whether the winding number is above one half. `distance`: of the points to the surface."""
    winding, exact = _winding_at(vertices, faces, points, distance)
    doubtful = ~exact & (np.abs(winding - 0.5) < 0.02)
    winding[doubtful] = _winding(vertices, faces, points[doubtful])
    return winding > 0.5


def _winding_at(
    vertices: np.ndarray, faces: np.ndarray, points: np.ndarray, distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Winding numbers, and which are exact: all, or where points times faces are many those near the surface alone."""
    exact = np.full(len(points), exact_is_quick(faces, points))
    winding = np.zeros(len(points))
    if not exact.all():
        winding = _fast_winding(vertices, faces, points)
        exact = distance < _APART * _extent(vertices)
    winding[exact] = _winding(vertices, faces, points[exact])
    return winding, exact


def exact_is_quick(faces: np.ndarray, points: np.ndarray) -> bool:
    """Whether exact winding numbers take no longer than fast ones."""
    return len(faces) <= _EXACT_FACES or len(faces) * len(points) <= _EXACT_PAIRS


def _winding(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    import igl  # noqa: PLC0415

    return np.asarray(igl.winding_number(vertices, faces, points))


def _fast_winding(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Off by 0.01, in a time that hardly grows with the faces; but closer than `_APART` it may be off by 1.1."""
    import igl  # noqa: PLC0415

    # Its numbers are float32: far from the origin they would say little.
    middle, extent = (vertices.min(axis=0) + vertices.max(axis=0)) / 2, _extent(vertices)
    return np.asarray(igl.fast_winding_number((vertices - middle) / extent, faces, (points - middle) / extent))


def _distance(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    return _closest(vertices, faces, points)[0]


def _closest(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest point of the surface, and that point."""
    import igl  # noqa: PLC0415

    # Not igl.signed_distance: it multiplies the distance by 1 - 2 w, and w is only nearly whole.
    squared, _, closest = igl.point_mesh_squared_distance(points, vertices, faces)
    return np.sqrt(np.asarray(squared)), np.asarray(closest)


def _inside_nodes(mesh: ObjectMesh, nodes: np.ndarray, distance: np.ndarray, voxel: float) -> np.ndarray:
    """Which nodes of a cubic grid are inside: winding number above 1/2, without asking it of every node.

    A lid over the holes makes the surface closed, and the winding number of a closed surface whole. No surface passes
    between two neighbouring nodes whose distances from it add up to more than a voxel, so one node answers for its
    region; what the lid adds is then taken off again.
    """
    vertices, lid = _lid(mesh.vertices, mesh.faces)
    to_surface, to_lid = distance, np.full(len(nodes), np.inf)
    if len(lid):
        to_lid = _distance(vertices, lid, nodes)
        distance = np.minimum(distance, to_lid)
    region = np.zeros((round(len(nodes) ** (1 / 3)),) * 3, np.int64)
    distance = distance.reshape(region.shape)
    ndimage.label(distance > voxel / 2, output=region)
    for axis in range(3):  # the nodes next to the regions: few others are left
        place, far = np.moveaxis(region, axis, 0), np.moveaxis(distance, axis, 0)
        for one, other in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            joins = (place[one] == 0) & (far[one] + far[other] > voxel)
            place[one] = np.where(joins, place[other], place[one])
    region = region.ravel()
    asked = np.union1d(np.flatnonzero(region == 0), np.unique(region, return_index=True)[1])
    answer = _winding_at(mesh.vertices, mesh.faces, nodes[asked], to_surface[asked])[0]
    lid_winding = np.zeros(len(nodes))
    if len(lid):
        needed = np.union1d(asked, np.flatnonzero(close_to_lid(vertices, lid, to_lid)))
        lid_winding[needed] = _winding_at(vertices, lid, nodes[needed], to_lid[needed])[0]
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
    distance = _distance(mesh.vertices, mesh.faces, points * voxel + origin) / voxel
    # No surface passes between two points whose distances from it add up to more than the way.
    value, way = exact[corner], np.linalg.norm(_SAMPLES[:, None] - _CORNERS, axis=2)[sample]
    sure = distance[:, None] + np.abs(value) - way
    inside = np.take_along_axis(value, sure.argmax(axis=1)[:, None], axis=1)[:, 0] < 0
    asked = sure.max(axis=1) < 1e-3
    inside[asked] = _fast_winding(mesh.vertices, mesh.faces, points[asked] * voxel + origin) > 0.5
    distance = np.where(inside, -distance, distance)
    # It changes by no more than the way, save where the inside of an open mesh ends: no values could be right there.
    whole = (np.abs(distance[:, None] - value) < way + 1e-3).all(axis=1)
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
    cell = np.argwhere(slope < 0.9**2)[:, None]  # a distance has a slope of one, and on both sides of a ridge another
    corner = (cell + _CORNERS) @ np.array([len(exact) ** 2, len(exact), 1])
    value = exact.ravel()[corner]

    # A guess saves asking for all distances. Of the points of the surface that are nearest to the corners, the nearest
    # to the sample: the distance is that to the plane there or, where this is far aside, as at an edge, to the point.
    foot = (closest[corner] - cell).astype(np.float32)
    normal = (_CORNERS - foot) / np.where(value == 0, 1, value)[:, :, None].astype(np.float32)
    height = normal @ _SAMPLES.T - (normal * foot).sum(axis=2, keepdims=True)
    squared = (foot**2).sum(axis=2, keepdims=True) - 2 * foot @ _SAMPLES.T + (_SAMPLES**2).sum(axis=1)
    nearest = np.argmin(squared, axis=1, keepdims=True)
    height, squared = (np.take_along_axis(array, nearest, axis=1)[:, 0] for array in (height, squared))
    guess = np.where(squared - height**2 > 0.5, np.copysign(np.sqrt(np.abs(squared)), height), height)
    row, sample = np.nonzero(np.abs(value @ _WEIGHTS.T - guess) > _TOLERANCE)
    return corner[row], sample


def _lid(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a cone over the open edges of each hole, which closes it wherever its tip is: in its
    middle, where the cone is small."""
    edges, net = _net_edges(faces)
    edges = np.repeat(np.where(net[:, None] > 0, edges[:, ::-1], edges), np.abs(net), axis=0)
    count = len(vertices)
    joined = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    hole = np.unique(connected_components(joined, directed=False)[1][edges[:, 0]], return_inverse=True)[1]
    tips = np.stack([_mean_by(vertices[edges[:, 0], axis], hole) for axis in range(3)], axis=1)
    return np.concatenate([vertices, tips]), np.concatenate([edges, count + hole[:, None]], axis=1)


def close_to_lid(vertices: np.ndarray, lid: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Whether a lid's winding number may reach one half, at points so far from it: elsewhere it decides nothing."""
    area = np.linalg.norm(_double_areas(vertices[lid]), axis=1).sum() / 2
    return 2 * np.pi * distance**2 <= area  # a surface fills at most area / distance^2 of the sphere's 4 pi


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


def _parts(faces: np.ndarray) -> np.ndarray:
    """For each face the part it belongs to: those that share a vertex are of one."""
    edges = _edges(faces)
    links = coo_array((np.ones(len(edges)), tuple(edges.T)), shape=(faces.max() + 1,) * 2)
    return connected_components(links, directed=False)[1][faces[:, 0]]


def _edges(faces: np.ndarray) -> np.ndarray:
    return np.asarray(faces, np.int64)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)


def _net_edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges, lower vertex first, and how much more often faces pass each of them this way than the other."""
    edges = _edges(faces)
    count = faces.max(initial=0) + 1
    # As one number each, in the same order: rows take ten times as long.
    unique, edge = np.unique(edges.min(axis=1) * count + edges.max(axis=1), return_inverse=True)
    net = np.bincount(edge, np.where(edges[:, 0] < edges[:, 1], 1, -1), len(unique)).astype(int)
    return np.stack(np.divmod(unique, count), axis=1), net


def is_balanced(faces: np.ndarray) -> bool:
    """Whether faces close up: each edge is passed as often one way as the other."""
    return not _net_edges(faces)[1].any()


def _double_areas(corners: np.ndarray) -> np.ndarray:
    """Normals of triangles (..., 3, 3), of twice the area's length."""
    return np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])


def _extent(vertices: np.ndarray) -> float:
    """Longest side of the bounding box."""
    return float(np.ptp(vertices, axis=0).max())
