"""Mesh files: obj, ply, stl, off, glb and gltf become vertices and triangles, and lines that say what was left out.

A reader reads all that a file declares, or says what it did not read, or raises: nothing is left out in silence.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from fgs_jax.errors import MeshError
from fgs_jax.files import read_input
from fgs_jax.hands.safe_pickle import first_line
from fgs_jax.objects.checks import MOST_COORDINATE, check_corners, farthest
from fgs_jax.objects.gltf import CompressedError, read_gltf
from fgs_jax.objects.ply import read_ply
from fgs_jax.objects.polygons import Polygons, polygons, triangulated

FORMATS = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")

_FREE_FORM = {"curv", "curv2", "surf", "bzp", "bsp", "cdc", "cdp", "res"}
"""Words of an obj file for what is no face and no line."""
_OFF = re.compile(r"(ST)?C?N?(4?)(n?)OFF(?![A-Za-z])")


class Triangles(NamedTuple):
    """What a file holds."""

    vertices: Float64[ndarray, "v 3"]
    faces: Int64[ndarray, "f 3"]


def read_mesh_file(path: Path, repairs: list[str]) -> Triangles:
    """The triangles of a file; what was cut or left out is added to `repairs`.

    Raises MeshError, in one line with the path, where it cannot be read or is not what its name says.
    """
    suffix = path.suffix.lower()
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        raise MeshError(f"{path}: expected a mesh file, came a folder; name the file in it")
    if suffix not in FORMATS:
        raise MeshError(
            f'{path}: expected a mesh file ({", ".join(FORMATS)}), came "{path.suffix}"; convert it to one of these'
        )
    data = read_input(path, "a mesh file", MeshError)
    readers: dict[str, Callable[[], tuple[ndarray, Polygons]]] = {
        ".obj": lambda: _read_obj(_text(data), repairs),
        ".ply": lambda: read_ply(data, repairs),
        ".stl": lambda: _read_stl(data, repairs),
        ".off": lambda: _read_off(_text(data), repairs),
    }
    try:
        with np.errstate(all="ignore"):  # numbers that are none are looked for afterwards
            read = readers.get(suffix, lambda: read_gltf(data, path, repairs))
            vertices, faces = read()
            if (far := farthest(vertices)) > MOST_COORDINATE:
                raise ValueError(f"vertices as far as {far:.3g} from the origin")
            if len(vertices):
                check_corners(faces.corners, len(vertices), str(path))
            return Triangles(vertices, cut_faces(vertices, faces, repairs))
    except MeshError:
        raise
    except CompressedError as error:
        raise MeshError(
            f"{path}: expected plain arrays, came compressed ones; export it without compression"
        ) from error
    except Exception as error:  # each format has its own for a damaged file
        raise MeshError(
            f"{path}: expected a mesh in the {suffix} format, it is damaged or of another one ({first_line(error)}); "
            "write or download it again"
        ) from error


def cut_faces(vertices: ndarray, faces: Polygons, repairs: list[str]) -> Int64[ndarray, "t 3"]:
    """Triangles of faces of any number of corners; what was done is added to `repairs`."""
    triangles, crossing = triangulated(vertices, faces)
    if small := np.count_nonzero(faces.sizes < 3):
        repairs.append(f"left out {small} faces of fewer than three corners")
    if (cut := len(faces.sizes) - small) < len(triangles):
        repairs.append(f"cut faces of more than three corners into triangles: {cut} faces became {len(triangles)}")
    if crossing:
        repairs.append(f"{crossing} faces cross themselves: their triangles overlap")
    return triangles


def _text(data: bytes) -> str:
    """With or without a byte order mark."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _read_obj(text: str, repairs: list[str]) -> tuple[ndarray, Polygons]:
    """Indices that count from the end count from the line that they stand in."""
    vertices: list[list[float]] = []
    faces: list[list[int]] = []
    left = {"lines": 0, "points": 0, "free-form curves and surfaces": 0}
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        kind, *items = line.split("#")[0].split() or [""]
        if kind == "v":
            if len(items) < 3:
                raise ValueError(f"a vertex of {len(items)} numbers")
            vertices.append([float(item) for item in items[:3]])
        elif kind in ("f", "fo"):
            corners = [int(item.split("/")[0]) for item in items]
            faces.append([corner - 1 if corner > 0 else len(vertices) + corner for corner in corners])
        elif kind == "l":
            left["lines"] += 1
        elif kind == "p":
            left["points"] += 1
        elif kind in _FREE_FORM:
            left["free-form curves and surfaces"] += 1
    repairs += [f"left out {count} {what}" for what, count in left.items() if count]
    return np.array(vertices, np.float64).reshape(-1, 3), polygons(faces)


def _read_off(text: str, repairs: list[str]) -> tuple[ndarray, Polygons]:
    """Text with the numbers of vertices, faces and edges in the first line or after its word; colours are left out."""
    start = _OFF.match(text.lstrip())
    if start is None:
        raise ValueError("it does not begin with OFF")
    if start[2] or start[3]:
        raise ValueError("vertices of more than three coordinates")
    lines = [line.split("#")[0].split() for line in text.lstrip()[start.end() :].splitlines()]
    rows = [line for line in lines if line]
    if not rows or rows[0][0] == "BINARY":
        raise ValueError("the binary form is not read" if rows else "nothing follows")
    vertex_count, face_count = (int(word) for word in rows[0][:2])
    if min(vertex_count, face_count) < 0 or len(rows) - 1 < vertex_count + face_count:
        raise ValueError(f"{vertex_count} vertices and {face_count} faces declared, {len(rows) - 1} lines follow")
    vertices = [[float(word) for word in row[:3]] for row in rows[1 : 1 + vertex_count]]
    faces = []
    for row in rows[1 + vertex_count :][:face_count]:
        size = int(row[0])
        if not 0 <= size < len(row):
            raise ValueError(f"a face of {size} corners, {len(row) - 1} numbers follow")
        faces.append([int(word) for word in row[1 : 1 + size]])
    if more := len(rows) - 1 - vertex_count - face_count:
        repairs.append(f"left out {more} lines after the last face that the header declares")
    return np.array(vertices, np.float64).reshape(-1, 3), polygons(faces)


def _read_stl(data: bytes, repairs: list[str]) -> tuple[ndarray, Polygons]:
    """Binary, whatever its header begins with, or text of one or several solids."""
    count = int.from_bytes(data[80:84], "little") if len(data) >= 84 else 0
    whole = max(len(data) - 84, 0) // 50  # triangles that are there
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_text = text[:5].lower() == b"solid" and b"\0" not in text[:1024] and len(data) != 84 + 50 * count
    if is_text or not data:
        return _read_ascii_stl(text.decode(errors="replace").lower(), repairs)
    if len(data) < 84:
        raise ValueError(f"{len(data)} bytes, fewer than a header has")
    if count > max(1000, 1000 * whole):  # no count
        return np.zeros((0, 3)), polygons([])
    if count > whole or (count == 0 < whole):
        raise ValueError(f"{count} triangles declared, there is room for {whole}")
    if more := len(data) - 84 - 50 * count:
        repairs.append(f"left out {more} bytes after the last triangle that the header declares")
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = np.frombuffer(data, record, count, offset=84)["corners"].reshape(-1, 3).astype(np.float64)
    return corners, Polygons(np.arange(len(corners)), np.full(count, 3))


def _read_ascii_stl(text: str, repairs: list[str]) -> tuple[ndarray, Polygons]:
    loops = re.split(r"\bouter\s+loop\b", text)[1:]
    facets, ends = len(re.findall(r"\bfacet\b", text)), len(re.findall(r"\bendfacet\b", text))
    if not len(loops) == facets == ends == text.count("endloop"):
        raise ValueError(f"{facets} facets begin, {len(loops)} loops, and {ends} facets end")
    if facets and "endsolid" not in text:
        repairs.append("the last solid has no end: the file may be cut short")
    number = r"\s+(\S+)"
    found = [re.findall(rf"\bvertex{number}{number}{number}", loop) for loop in loops]
    if sum(map(len, found)) != len(re.findall(r"\bvertex\b", text)):
        raise ValueError("a vertex of fewer than three numbers")
    vertices = np.array([[float(word) for word in vertex] for loop in found for vertex in loop], np.float64)
    sizes = np.array([len(loop) for loop in found], np.int64)
    return vertices.reshape(-1, 3), Polygons(np.arange(len(vertices)), sizes)
