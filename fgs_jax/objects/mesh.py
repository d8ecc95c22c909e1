"""Object meshes: read, checked, mended.

Host side, numpy, float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from fgs_jax.errors import MeshError
from fgs_jax.files import expanded
from fgs_jax.objects.checks import MOST_COORDINATE, check_corners, farthest
from fgs_jax.objects.files import cut_faces, read_mesh_file
from fgs_jax.objects.mending import mended
from fgs_jax.objects.polygons import Polygons
from fgs_jax.objects.sheets import SURFACES, as_surface
from fgs_jax.objects.triangles import extent_of, is_balanced

LEAST_EXTENT, MOST_EXTENT = 0.005, 3.0
"""Metres, of an object that a hand can hold."""


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
    surface: str = "solid"
    """"solid", or "sheet" for a mesh that is hollow on purpose; where that was open it has been given a wall."""

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
    source: Any,
    size: str = "metric",
    name: str | None = None,
    *,
    surface: str = "auto",
    advice: str = 'pass size="unknown"',
) -> ObjectMesh:
    """Reads a mesh, checks it and mends it; what was mended is in `repairs`.

    `source` is the path of an obj, ply, stl, off, glb or gltf file, (vertices, faces) arrays, a trimesh mesh or scene,
    or an Open3D TriangleMesh, legacy or tensor. The parts of a scene become one mesh, each where the scene puts it.
    `size` is "metric" for metres, or "unknown"; `name` is that of the file unless given. `advice`: what the caller can
    do about a mesh in another unit, for the error's line.

    Mended are: faces of more than three corners (cut into triangles), unused vertices, vertices within 1e-7 of the
    extent of each other, faces without an area, faces that are there twice, faces wound against their neighbours, and
    parts that are inside out. Parts are kept apart, and holes are not closed.

    `surface` says what an open mesh is: a "solid" with holes, or a "sheet", hollow on purpose as a cup of one surface
    is, whose open parts get a closed wall of 0.1 % of the extent, half of it on either side. "auto" takes a part for a
    sheet where an opening is nearly as wide as all that lies behind it (`sheets.openings_of`), and says in `repairs`
    what it took. A solid that lacks a flat base looks the same; then say "solid".

    Raises MeshError where the file cannot be read, and for a mesh without a face or an extent, with a number that is
    not finite or a face of a vertex that is not there, and, where "metric", of an extent below 5 mm or above 3 m.
    """
    if size not in ("metric", "unknown"):
        raise MeshError(f'expected a size of "metric" or "unknown", came "{size}"; choose one of the two')
    if surface not in SURFACES:
        raise MeshError(f'expected a surface of "auto", "solid" or "sheet", came "{surface}"; choose one of them')
    repairs: list[str] = []
    if isinstance(source, (str, Path)):
        path = expanded(source)
        where, name = str(path), name or path.stem
        vertices, faces = read_mesh_file(path, repairs)
    else:
        where = name = name or "object"
        vertices, faces = _read_object(source, where, repairs)
    vertices, faces = _checked(vertices, faces, where, repairs)
    vertices, faces = mended(vertices, faces, where, repairs)
    extent = extent_of(vertices)
    if size == "metric" and not LEAST_EXTENT <= extent <= MOST_EXTENT:
        raise MeshError(
            f"{where}: expected an object of 5 mm to 3 m, came {extent:.4g} m; the file may be in millimetres or "
            f"centimetres: scale it to metres, or {advice}"
        )
    vertices, faces, kind = as_surface(vertices, faces, surface, repairs)
    return ObjectMesh(vertices, faces, name, size, tuple(repairs), is_balanced(faces), kind)


def check_mesh(mesh: Any) -> None:
    """Raises MeshError for what is no `ObjectMesh`."""
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
