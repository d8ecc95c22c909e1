"""What functions of meshes are given, checked where people call: each error is one line."""

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Float64, Int64, UInt32
from numpy import ndarray

from fgs_jax.errors import MeshError

MOST_COORDINATE = 1e12
"""In the mesh's own unit: of far larger ones squares, and sums of these, overflow."""

Function = TypeVar("Function", bound=Callable[..., Any])


def no_type_check(function: Function) -> Function:
    """Marks what checks its arguments itself, in a line for people: the tests' type checker, which knows this name,
    must not come first. (`typing.no_type_check` takes the types from editors too.)
    """
    return function


def checked_arrays(vertices: Any, faces: Any, where: str) -> tuple[Float64[ndarray, "v 3"], Int64[ndarray, "f 3"]]:
    """Vertices and triangles of them, as float64 and int64.

    Raises MeshError for other shapes and types, for a vertex that is not finite or not there, and without a face.
    """
    vertices = checked_points(vertices, f"{where}: expected vertices of shape (v, 3)")
    try:
        triangles = np.asarray(faces)
    except ValueError as error:
        raise MeshError(f"{where}: expected faces of shape (f, 3), came rows of different lengths") from error
    if triangles.size and (triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.dtype.kind not in "iu"):
        raise MeshError(
            f"{where}: expected faces of shape (f, 3) and whole numbers, came {triangles.shape} of type "
            f"{triangles.dtype}; cut other faces into triangles, as load_object does"
        )
    if not triangles.size or not np.isfinite(vertices).all():
        raise MeshError(f"{where}: expected a mesh of finite vertices, came nan, infinity or no face; check its pose")
    check_corners(triangles, len(vertices), where)
    return vertices, triangles.astype(np.int64, copy=False)


def farthest(vertices: ndarray) -> float:
    """The largest coordinate, whatever its sign, of those that are finite."""
    return float(np.abs(vertices[np.isfinite(vertices)]).max(initial=0))


def check_corners(corners: ndarray, count: int, where: str) -> None:
    """Raises MeshError where a face has a vertex that is not there."""
    if corners.size and (corners.min() < 0 or corners.max() >= count):
        raise MeshError(
            f"{where}: expected faces of vertices 0 to {count - 1}, came {corners.min()} to {corners.max()}; "
            "check the mesh"
        )


def checked_points(points: Any, expected: str = "points: expected an array of shape (p, 3)") -> Float64[ndarray, "p 3"]:
    """As float64; there may be none. Raises MeshError for another shape or type."""
    try:
        array = np.asarray(points)
    except ValueError as error:
        raise MeshError(f"{expected}, came rows of different lengths; check them") from error
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        turned = "; transpose it" if array.ndim == 2 and array.shape[0] == 3 else "; check it"
        raise MeshError(f"{expected}, came {array.shape} of type {array.dtype}{turned}")
    return array.astype(np.float64, copy=False)


def checked_number(value: Any, least: int, most: int, what: str) -> int:
    """A whole number from `least` to `most`. Raises MeshError for anything else."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not least <= number <= most:
        raise MeshError(f"{what}: expected a whole number from {least} to {most}, came {str(value)[:40]}")
    return number


def key_words(key: Any) -> UInt32[ndarray, "w"]:
    """The numbers that a random key of JAX is made of. Raises MeshError for what is none."""
    try:
        words = np.asarray(jax.random.key_data(key))
    except (TypeError, ValueError):
        words = None
    if words is None or words.ndim != 1 or words.dtype != np.uint32:
        came = type(key).__name__ if words is None else f"an array of shape {words.shape}"
        raise MeshError(f"key: expected one random key, such as jax.random.key(0), came {came}")
    return words
