"""PLY files, text and binary of either byte order, of whatever elements and properties the header declares."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from fgs_jax.objects.polygons import Polygons, polygons

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_INDICES = ("vertex_indices", "vertex_index")


class _Property(NamedTuple):
    name: str
    type: str
    length_type: str | None
    """Of a list, the type of its length."""


class _Element(NamedTuple):
    name: str
    total: int
    properties: list[_Property]


Values = dict[str, ndarray | list]
"""By property: an array, or a list of numbers or of lists of any lengths."""


def read_ply(data: bytes, repairs: list[str]) -> tuple[Float64[ndarray, "v 3"], Polygons]:
    """Vertices, and faces and strips of triangles. Raises ValueError and KeyError for what is no such file."""
    order, elements, start = _header(data)
    columns: dict[str, Values] = {}
    numbers = np.fromiter(map(float, data[start:].split()), np.float64) if not order else None
    position = 0 if numbers is not None else start
    for element in elements:
        if numbers is None:
            values, position = _binary(data, position, element, order)
        else:
            values, position = _ascii(numbers, position, element)
        columns[element.name] = values
    if numbers is not None and position < len(numbers):
        repairs.append(f"left out {len(numbers) - position} numbers after what the header declares")
    if numbers is None and (more := len(data[position:].strip())):
        repairs.append(f"left out {more} bytes after what the header declares")
    for element in elements:
        if element.name not in ("vertex", "face", "tristrips", "material") and element.total:
            repairs.append(f'left out {element.total} elements "{element.name}"')
    vertex = columns.get("vertex", {})
    if len(vertex) and not {"x", "y", "z"} <= set(vertex):
        raise ValueError(f"vertices of {', '.join(vertex)}, without x, y and z")
    vertices = np.stack([np.asarray(vertex.get(axis, ()), np.float64) for axis in "xyz"], axis=1)
    faces = polygons([triangle for strip in _lists(columns, "tristrips") for triangle in _strip(_whole(strip))])
    if "face" not in columns:
        return vertices, faces
    own = _lists(columns, "face")
    if isinstance(own, list):
        listed = polygons([_whole(face) for face in own])
    else:
        listed = Polygons(_checked_whole(own).ravel(), np.full(len(own), own.shape[1]))
    return vertices, Polygons(*(np.concatenate(pair) for pair in zip(listed, faces, strict=True)))


def _header(data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order ("" for text), elements, and where the data begins."""
    mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    if data[mark : mark + 3] != b"ply":
        raise ValueError("Not a ply file!")
    end = data.find(b"end_header")
    stop = data.find(b"\n", end)
    if end < 0 or (stop < 0 and data[end + 10 :].strip()):
        raise ValueError("a header without an end")
    order, elements = None, []
    for line in data[mark:end].decode("latin-1").splitlines():
        word, *rest = line.split() or [""]
        if word == "format":
            order = _ORDERS[rest[0]]
        elif word == "element":
            elements.append(_Element(rest[0], int(rest[1]), []))
            if elements[-1].total < 0 or elements[-1].total > len(data):
                raise ValueError(f"{rest[1]} elements {rest[0]} declared, in {len(data)} bytes")
        elif word == "property" and rest[0] == "list":
            elements[-1].properties.append(_Property(rest[3], _TYPES[rest[2]], _TYPES[rest[1]]))
        elif word == "property":
            elements[-1].properties.append(_Property(rest[1].lower(), _TYPES[rest[0]], None))
    if order is None:
        raise ValueError("a header without a format")
    return order, elements, stop + 1 if stop >= 0 else len(data)


def _ascii(numbers: Float64[ndarray, "n"], position: int, element: _Element) -> tuple[Values, int]:
    count, properties = element.total, element.properties
    if not any(each.length_type for each in properties):
        end = position + count * len(properties)
        if end > len(numbers):
            raise ValueError(_short(element))
        table = numbers[position:end].reshape(count, len(properties))
        return {each.name: table[:, k] for k, each in enumerate(properties)}, end
    values: dict[str, list] = {each.name: [] for each in properties}
    for _ in range(count):
        for each in properties:
            length = 1
            if each.length_type:
                length = int(numbers[position]) if position < len(numbers) else 0
                position += 1
            if length < 0 or position + length > len(numbers):
                raise ValueError(_short(element))
            row = numbers[position : position + length].tolist()
            values[each.name].append(row if each.length_type else row[0])
            position += length
    return {each.name: values[each.name] for each in properties}, position


def _binary(data: bytes, position: int, element: _Element, order: str) -> tuple[Values, int]:
    """At once where all lists have the lengths of the first ones, else record by record."""
    count, properties = element.total, element.properties
    lengths, end = [], position
    for each in properties:
        length = 1
        if each.length_type:
            length, end = _length(data, end, order + each.length_type, element) if count else (0, end)
        lengths.append(length)
        end += length * int(each.type[1])
    fields = []
    for k, (each, length) in enumerate(zip(properties, lengths, strict=True)):
        if each.length_type:
            fields.append((f"length {k}", order + each.length_type))
        fields.append((f"value {k}", order + each.type, length if each.length_type else ()))
    record = np.dtype(fields)
    stop = position + count * record.itemsize
    if stop <= len(data):
        table = np.frombuffer(data, record, count, position)
        lists = [k for k, each in enumerate(properties) if each.length_type]
        if all((table[f"length {k}"] == lengths[k]).all() for k in lists):
            return {each.name: table[f"value {k}"] for k, each in enumerate(properties)}, stop
    elif not any(each.length_type for each in properties):
        raise ValueError(_short(element))
    values: dict[str, list] = {each.name: [] for each in properties}
    for _ in range(count):
        for each in properties:
            length = 1
            if each.length_type:
                length, position = _length(data, position, order + each.length_type, element)
            size = int(each.type[1])
            if position + length * size > len(data):
                raise ValueError(_short(element))
            row = np.frombuffer(data, order + each.type, length, position).tolist()
            values[each.name].append(row if each.length_type else row[0])
            position += length * size
    return {each.name: values[each.name] for each in properties}, position


def _length(data: bytes, position: int, kind: str, element: _Element) -> tuple[int, int]:
    size = np.dtype(kind).itemsize
    if position + size > len(data):
        raise ValueError(_short(element))
    length = int(np.frombuffer(data, kind, 1, position)[0])
    if not 0 <= length <= len(data):
        raise ValueError(f"a list of {length} numbers in {element.name}")
    return length, position + size


def _short(element: _Element) -> str:
    return f"{element.total} elements {element.name} declared, the file ends before"


def _lists(columns: dict[str, Values], element: str) -> ndarray | list:
    """The vertices of its faces."""
    values = columns.get(element, {})
    for name in _INDICES:
        if name in values:
            return values[name]
    if any(len(column) for column in values.values()):
        raise ValueError(f"{element} of {', '.join(values)}, without vertex_indices")
    return []


def _checked_whole(values: ndarray) -> ndarray:
    if values.dtype.kind == "f" and not ((np.abs(values) < 2**53) & (np.floor(values) == values)).all():
        raise ValueError("vertices of a face that are no whole numbers")
    return values.astype(np.int64)


def _whole(values: ndarray | list) -> list[int]:
    return _checked_whole(np.array(values)).tolist() if len(values) else []


def _strip(strip: list[int]) -> list[list[int]]:
    """Triangles of strips, which -1 divides; every other one is turned."""
    triangles, first = [], 0
    for k in range(2, len(strip)):
        if strip[k] < 0:
            first = k + 1
        elif k - first >= 2:
            a, b, c = strip[k - 2 : k + 1]
            if len({a, b, c}) == 3:  # others lead from one strip to the next
                triangles.append([a, b, c] if (k - first) % 2 == 0 else [b, a, c])
    return triangles
