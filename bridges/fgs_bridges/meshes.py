"""Meshes of outside tools: read, cleaned, written.

All that mends a mesh is in `fgs_jax.objects`; what is added here is that a generated mesh may hold crumbs beside the
object. An open one stays open: whether it is a sheet is asked where it becomes a scene's object.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from fgs_bridges.types import Mesh
from fgs_jax.errors import BridgeError, MeshError
from fgs_jax.objects.mesh import ObjectMesh, load_object
from fgs_jax.objects.simplifying import simplify


def clean(
    source: Mesh | Path, faces: int | None = 20_000, *, largest: bool = True, name: str = "mesh"
) -> tuple[Mesh, list[str]]:
    """A mesh, or that of a file, fit for use, and what was done to it, one line each.

    Vertices at the same place are merged; faces without an area or twice there are dropped; all are wound outward. Of
    separate parts the one with the largest area is kept, where `largest`. A mesh of more than `faces` faces is
    simplified, where that does not tear it open or change its shape; None leaves their number alone.

    Raises BridgeError for what is no surface: no faces, no extent, numbers that are not finite.
    """
    mesh = _loaded(source, name)
    done = [*mesh.repairs]
    if largest:
        mesh = _largest_part(mesh, done)
    if faces is not None and len(mesh.faces) > faces:
        simpler = simplify(mesh, faces)
        kept = f"kept {len(mesh.faces)} faces: with {faces} it would lose its shape"
        done += [kept] if simpler is mesh else [line for line in simpler.repairs if line not in mesh.repairs]
        mesh = simpler
    if not mesh.watertight:
        done.append("left open: the surface has holes or edges of more than two faces")
    return Mesh(mesh.vertices, mesh.faces), done


def read_mesh(path: Path) -> Mesh:
    """The mesh of an obj, ply, stl, off, glb or gltf file, mended. Raises BridgeError where there is none."""
    return clean(path, faces=None, largest=False)[0]


def _loaded(source: Mesh | Path, name: str) -> ObjectMesh:
    try:
        if isinstance(source, Path):
            return load_object(source, size="unknown", surface="solid")
        return load_object((source.vertices, source.faces), size="unknown", name=name, surface="solid")
    except MeshError as error:
        raise BridgeError(str(error)) from error


def _largest_part(mesh: ObjectMesh, done: list[str]) -> ObjectMesh:
    """The part with the most area; parts are apart where they share no vertex."""
    part = _parts(mesh.faces)
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    area = np.bincount(part, areas)
    if len(area) == 1:
        return mesh
    done[:] = [line for line in done if not line.endswith("separate parts")]
    share = 1 - area.max() / area.sum()
    done.append(f"dropped {len(area) - 1} smaller parts with {share:.1%} of the area")
    kept = mesh.vertices, mesh.faces[part == area.argmax()]
    return load_object(kept, size="unknown", name=mesh.name, surface=mesh.surface)


def _parts(faces: Int[ndarray, "f 3"]) -> Int[ndarray, "f"]:
    """For each face the number of its part."""
    import igl

    of_vertex = np.asarray(igl.vertex_components(faces))
    return np.unique(of_vertex[faces[:, 0]], return_inverse=True)[1]
