"""Meshes of hands in files, and the side that the winding of their faces tells."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from fgs_jax.errors import BridgeError, MeshError
from fgs_jax.objects.files import read_mesh_file


def read_hand_mesh(path: Path) -> tuple[Float[ndarray, "v 3"], Int[ndarray, "f 3"]]:
    try:
        vertices, faces = read_mesh_file(path, [])
    except MeshError as error:
        came = f"it cannot be read ({str(error).removeprefix(f'{path}: ')})"
        if isinstance(error.__cause__, FileNotFoundError):
            came = "there is none: check the path"
        raise BridgeError(f"{path}: expected a mesh, {came}") from error
    if not len(vertices) or not np.isfinite(vertices).all():
        raise BridgeError(f"{path}: expected finite vertices, got none or NaN: write it again")
    return vertices, faces.astype(np.int32)


def side_of_winding(faces: Int[ndarray, "f 3"], right: Int[ndarray, "f 3"]) -> str:
    """The side whose faces these are: the right model's, or those reversed; "" for neither."""
    given = _canonical(faces)
    for side, wound in (("right", right), ("left", right[:, ::-1])):
        if _canonical(wound) <= given:
            return side
    return ""


def _canonical(faces: Int[ndarray, "f 3"]) -> set[tuple[int, ...]]:
    """Each face from its least vertex on."""
    start = np.argmin(faces, axis=1)[:, None]
    return set(map(tuple, np.take_along_axis(faces, (start + np.arange(3)) % 3, axis=1).tolist()))
