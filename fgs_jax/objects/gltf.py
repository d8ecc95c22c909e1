"""glTF 2.0 scenes, as .gltf and as .glb: every triangle that the scene shows, where the scene puts it.

Of materials, animations and the like nothing is read. What changes the shape is read, said to be left out, or refused.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.errors import MeshError
from fgs_jax.files import read_input
from fgs_jax.objects.polygons import Polygons
from fgs_jax.strict import read_json

_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_INSTANCES = "EXT_mesh_gpu_instancing"
_READ = ("KHR_mesh_quantization", "KHR_materials_", "KHR_texture_", "KHR_lights_", "EXT_texture_", "KHR_animation_")
"""Beginnings of the extensions that may be required, since they change no shape or are read."""
_MOST_EMPTY = 10**6
"""Values of an array of which a file has only those that are not zero."""
_MOST_AGAIN = 2**21
"""Vertices and corners of faces beyond as many as a file has bytes: of what is shown again and again."""
_LINES, _STRIP, _FAN, _TRIANGLES = (0, 1, 2, 3), 5, 6, 4


class CompressedError(Exception):
    """The arrays are there only in a compressed form."""


def read_gltf(data: bytes, path: Path, repairs: list[str]) -> tuple[Float64[ndarray, "v 3"], Polygons]:
    """Vertices and triangles of the default scene. `path`: where the file is, for the buffers that it names.

    Raises CompressedError, MeshError for a buffer that cannot be read, and anything else for what is no such file.
    """
    text, binary = _chunks(data) if path.suffix.lower() == ".glb" else (data, None)
    file = read_json(text)
    if not isinstance(file, dict) or not str(file.get("asset", {}).get("version", "2")).startswith("2"):
        raise ValueError("it is no glTF of version 2")
    required = file.get("extensionsRequired", [])
    if any(name in _COMPRESSIONS for name in required):
        raise CompressedError
    if unknown := [name for name in required if not name.startswith(_READ)]:
        raise ValueError(f"it needs the extension {unknown[0]}, which is not read")
    return _Reader(file, binary, path).scene(repairs)


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """JSON, and the buffer that follows it if there is one."""
    if data[:4] != b"glTF":
        raise ValueError("incorrect header on GLB file")
    version, length = (int.from_bytes(data[k : k + 4], "little") for k in (4, 8))
    if version != 2 or length > len(data):
        raise ValueError(f"version {version} and {length} bytes declared, {len(data)} are there")
    position, found = 12, []
    while position + 8 <= length:
        size, kind = int.from_bytes(data[position : position + 4], "little"), data[position + 4 : position + 8]
        if position + 8 + size > len(data):
            raise ValueError(f"a part of {size} bytes declared, {len(data) - position - 8} are there")
        found.append((kind, data[position + 8 : position + 8 + size]))
        position += 8 + size
    if not found or found[0][0] != b"JSON":
        raise ValueError("it does not begin with JSON")
    return found[0][1], next((part for kind, part in found[1:] if kind == b"BIN\0"), None)


class _Reader:
    """One file, while it is read."""

    def __init__(self, file: dict[str, Any], binary: bytes | None, path: Path) -> None:
        self.file, self.binary, self.path = file, binary, path
        self.buffers: dict[int, bytes] = {}
        self.left = {"lines": 0, "vertices": 0, "strange": 0, "targets": 0, "skins": 0}
        self.vertices: list[ndarray] = []
        self.loose: list[ndarray] = []
        """Of parts without faces."""
        self.faces: list[ndarray] = []
        self.count = self.corners = 0

    def scene(self, repairs: list[str]) -> tuple[Float64[ndarray, "v 3"], Polygons]:
        """All meshes of the default scene; of a file without scenes all meshes."""
        scenes, chosen, nodes = self.file.get("scenes", []), self.file.get("scene", 0), self.file.get("nodes", [])
        if scenes:
            roots = _item(scenes, chosen).get("nodes", [])
        else:
            below = {child for node in nodes for child in node.get("children", [])}
            roots = [k for k in range(len(nodes)) if k not in below]
        shown = set()
        for node, matrix in self._placed(roots):
            if _INSTANCES in node.get("extensions", {}):
                raise ValueError(f"it places meshes by {_INSTANCES}, which is not read")
            if "mesh" in node:
                self._add_mesh(_item(self.file["meshes"], node["mesh"]), matrix, skinned="skin" in node)
                shown.add(node["mesh"])
        if not nodes:
            for mesh in self.file.get("meshes", []):
                self._add_mesh(mesh, np.eye(4), skinned=False)
        else:
            hidden = len(self.file.get("meshes", [])) - len(shown)
            if hidden:
                repairs.append(f"left out {hidden} meshes that the scene does not show")
        if len(scenes) > 1:
            repairs.append(f"read scene {chosen} of {len(scenes)} (0 is the first)")
        words = {
            "lines": "left out {} parts without faces (points or lines)",
            "vertices": "left out {} vertices at the end of triangle lists, too few for a triangle",
            "strange": "left out {} parts without positions",
            "targets": "left out {} morph targets: the mesh is as it stands without them",
            "skins": "left out the bones of {} meshes: they stand as they were made",
        }
        repairs += [words[what].format(count) for what, count in self.left.items() if count]
        faces = np.concatenate([np.zeros((0, 3), np.int64), *self.faces])
        vertices = np.concatenate([np.zeros((0, 3)), *(self.vertices if len(faces) else self.vertices + self.loose)])
        return vertices, Polygons(faces.ravel(), np.full(len(faces), 3))

    def _placed(self, roots: list[int]) -> Iterator[tuple[dict[str, Any], Float64[ndarray, "4 4"]]]:
        """Every node below the roots, with its matrix."""
        nodes, seen = self.file.get("nodes", []), set()
        waiting = [(root, np.eye(4)) for root in reversed(roots)]
        while waiting:
            index, parent = waiting.pop()
            if index in seen:
                raise ValueError(f"node {index} hangs on two others, or on itself")
            seen.add(index)
            node = _item(nodes, index)
            matrix = parent @ _matrix(node)
            yield node, matrix
            waiting += [(child, matrix) for child in reversed(node.get("children", []))]

    def _add_mesh(self, mesh: dict[str, Any], matrix: Float64[ndarray, "4 4"], *, skinned: bool) -> None:
        starts: dict[int, int] = {}  # parts of a mesh often share their vertices
        mirrored = np.linalg.det(matrix[:3, :3]) < 0
        with_faces = False
        for part in mesh["primitives"]:
            mode = part.get("mode", _TRIANGLES)
            if "POSITION" not in part["attributes"]:
                self.left["strange"] += 1
                continue
            index = part["attributes"]["POSITION"]
            draco = _COMPRESSIONS[0] in part.get("extensions", {})
            if draco and "bufferView" not in _item(self.file["accessors"], index):
                raise CompressedError
            if mode in _LINES:
                self.left["lines"] += 1
                self.loose.append(self._array(index))
                continue
            if index not in starts:
                points = self._array(index)
                if points.shape[1:] != (3,):
                    raise ValueError(f"positions of shape {points.shape}")
                starts[index] = self.count
                self.count += len(points)
                self._check_amount()
                self.vertices.append(points @ matrix[:3, :3].T + matrix[:3, 3])
            count = _item(self.file["accessors"], index)["count"]
            if mode not in (_TRIANGLES, _STRIP, _FAN):
                raise ValueError(f"a part of mode {mode}, which there is none of")
            corners, restart = self._corners(part, count)
            if mode == _TRIANGLES:
                self.left["vertices"] += len(corners) % 3
                faces = corners[: len(corners) // 3 * 3].reshape(-1, 3)
            else:
                faces = _strips(corners, restart, fans=mode == _FAN)
            if faces.size and not 0 <= faces.min() <= faces.max() < count:
                raise ValueError(f"faces of vertices {faces.min()} to {faces.max()}, of {count} that there are")
            self.faces.append(starts[index] + (faces[:, ::-1] if mirrored else faces))
            self.corners += faces.size
            self._check_amount()
            self.left["targets"] += len(part.get("targets", []))
            with_faces = True
        self.left["skins"] += skinned and with_faces

    def _check_amount(self) -> None:
        most = sum(map(len, self.buffers.values())) + _MOST_AGAIN
        if self.count + self.corners > most:
            raise ValueError(f"it shows the same parts so often that they are more than {most} vertices and corners")

    def _corners(self, part: dict[str, Any], count: int) -> tuple[Int64[ndarray, "c"], int]:
        """Vertices of a part in their order, and the number that begins a new strip."""
        if "indices" not in part:
            return np.arange(count), -1
        indices = self._array(part["indices"], exact=True)
        if indices.ndim != 1 or indices.dtype.kind != "u":
            raise ValueError(f"indices of shape {indices.shape} and type {indices.dtype}")
        most = int(np.iinfo(indices.dtype).max)
        return indices.astype(np.int64), most if most >= count else -1

    def _array(self, index: int, *, exact: bool = False) -> ndarray:
        """An accessor's values as float64; `exact`: as they are stored."""
        accessor = _item(self.file["accessors"], index)
        count, dtype = accessor["count"], np.dtype(_TYPES[accessor["componentType"]])
        width = _WIDTHS[accessor["type"]]
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"an array of {count} values")
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], accessor.get("byteOffset", 0), count, dtype, width)
        elif "sparse" in accessor and count <= _MOST_EMPTY:
            values = np.zeros((count, width), dtype)
        else:
            raise ValueError(f"array {index} has no data")
        if "sparse" in accessor:
            values = self._replaced(values, accessor["sparse"])
        if not exact:
            normalized = accessor.get("normalized", False) and dtype.kind in "iu"
            most = np.iinfo(dtype).max if normalized else 1
            values = np.maximum(values.astype(np.float64) / most, -1.0) if normalized else values.astype(np.float64)
        return values[:, 0] if width == 1 else values

    def _replaced(self, values: ndarray, sparse: dict[str, Any]) -> ndarray:
        places, news = sparse["indices"], sparse["values"]
        kind, count = np.dtype(_TYPES[places["componentType"]]), sparse["count"]
        at = self._view(places["bufferView"], places.get("byteOffset", 0), count, kind, 1)[:, 0]
        if kind.kind != "u":
            raise ValueError(f"places of type {kind}")
        if len(at) and at.max() >= len(values):
            raise ValueError(f"a value for place {at.max()} of {len(values)}")
        values = values.copy()
        values[at] = self._view(news["bufferView"], news.get("byteOffset", 0), count, values.dtype, values.shape[1])
        return values

    def _view(self, index: int, offset: int, count: int, dtype: np.dtype, width: int) -> ndarray:
        view = _item(self.file["bufferViews"], index)
        if any(name in view.get("extensions", {}) for name in _COMPRESSIONS):
            raise CompressedError
        buffer = self._buffer(view["buffer"])
        start, size = view.get("byteOffset", 0), dtype.itemsize * width
        stride = view.get("byteStride") or size
        needed = offset + (count - 1) * stride + size if count else 0
        if min(start, offset, stride) < 0 or needed > view["byteLength"] or start + view["byteLength"] > len(buffer):
            raise ValueError(
                f"{count} values declared, there is no room for them in view {index} of {len(buffer)} bytes"
            )
        if not count:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, buffer, start + offset, (stride, dtype.itemsize))

    def _buffer(self, index: int) -> bytes:
        if index not in self.buffers:
            entry = _item(self.file["buffers"], index)
            uri = entry.get("uri")
            if uri is None:
                if self.binary is None or index:
                    raise ValueError(f"buffer {index} has no data")
                data = self.binary
            elif uri.startswith("data:"):
                head, _, body = uri.partition(",")
                data = base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote(body).encode()
            else:
                name = Path(unquote(uri))
                if "://" in uri or name.is_absolute():
                    raise ValueError(f"buffer {index} is at {uri[:60]}, not beside the file")
                data = read_input(self.path.parent / name, f"a buffer of {self.path.name}", MeshError)
            if len(data) < entry["byteLength"]:
                raise ValueError(f"buffer {index} of {entry['byteLength']} bytes declared, {len(data)} are there")
            self.buffers[index] = data
        return self.buffers[index]


def _item(items: list[dict[str, Any]], index: Any) -> dict[str, Any]:
    if not isinstance(index, int) or not 0 <= index < len(items):
        raise ValueError(f"entry {index} of {len(items)}")
    return items[index]


def _matrix(node: dict[str, Any]) -> Float64[ndarray, "4 4"]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    if "rotation" in node:
        matrix[:3, :3] = Rotation.from_quat(node["rotation"]).as_matrix()
    matrix[:3, :3] *= node.get("scale", [1, 1, 1])
    matrix[:3, 3] = node.get("translation", [0, 0, 0])
    return matrix


def _strips(corners: Int64[ndarray, "c"], restart: int, *, fans: bool) -> Int64[ndarray, "f 3"]:
    """Triangles of strips or fans, which the number `restart` divides."""
    faces = [np.zeros((0, 3), np.int64)]
    for run in np.split(corners, np.flatnonzero(corners == restart)):
        strip = run[run != restart]
        k = np.arange(len(strip) - 2)
        if not len(k):
            continue
        if fans:
            faces.append(np.stack([np.repeat(strip[:1], len(k)), strip[k + 1], strip[k + 2]], axis=1))
        else:
            odd = k % 2
            faces.append(np.stack([strip[k + odd], strip[k + 1 - odd], strip[k + 2]], axis=1))
    joined = np.concatenate(faces)
    a, b, c = joined.T
    return joined[(a != b) & (b != c) & (a != c)]  # the others lead from one strip to the next
