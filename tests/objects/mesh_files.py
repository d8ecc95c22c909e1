"""A box and a prism as files of all formats."""

import struct

import numpy as np
import pytest

CORNERS = np.array([(x, y, z) for x in (0, 0.06) for y in (0, 0.08) for z in (0, 0.1)])
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TRIANGLES = np.array([face for a, b, c, d in QUADS for face in ((a, b, c), (a, c, d))])
L = np.array([(0, 0), (0.1, 0), (0.1, 0.03), (0.03, 0.03), (0.03, 0.1), (0, 0.1)])
"""Six corners, 51 cm2."""

CUT = "cut faces of more than three corners into triangles: {} faces became {}"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def area(mesh) -> float:
    return of_triangles(mesh.vertices, mesh.faces)


def of_triangles(vertices, faces) -> float:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def volume(mesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def is_the_box(mesh, *repairs):
    assert mesh.repairs == repairs
    assert (len(mesh.vertices), len(mesh.faces), mesh.watertight) == (8, 12, True)
    assert volume(mesh) == pytest.approx(480e-6, rel=1e-5)


def prism() -> tuple[np.ndarray, list[list[int]]]:
    """An L of 5 cm height, its caps as polygons: 302 cm2, watertight."""
    vertices = np.array([(x, y, z) for z in (0, 0.05) for x, y in L])
    sides = [[k, (k + 1) % 6, 6 + (k + 1) % 6, 6 + k] for k in range(6)]
    return vertices, [[3, 2, 1, 0, 5, 4], [8, 9, 10, 11, 6, 7], *sides]


def as_obj(vertices, faces) -> str:
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    return "\n".join([*lines, *("f " + " ".join(str(corner + 1) for corner in face) for face in faces)]) + "\n"


def as_off(vertices, faces) -> str:
    lines = [f"{x} {y} {z}" for x, y, z in vertices] + [" ".join(map(str, [len(face), *face])) for face in faces]
    return "\n".join(["OFF", f"{len(vertices)} {len(faces)} 0", *lines]) + "\n"


def as_ply(vertices, faces, order="ascii", indices="vertex_indices") -> bytes:
    head = f"ply\nformat {order} 1.0\ncomment made here\nelement vertex {len(vertices)}\nproperty double x\n"
    head += f"property double y\nproperty double z\nproperty uchar red\nelement face {len(faces)}\n"
    head += f"property uchar quality\nproperty list uchar int {indices}\nproperty float area\nend_header\n"
    if order == "ascii":
        lines = [f"{x} {y} {z} 7" for x, y, z in vertices]
        lines += [" ".join(map(str, [9, len(face), *face, 0.5])) for face in faces]
        return (head + "\n".join(lines) + "\n").encode()
    sign = "<" if "little" in order else ">"
    body = b"".join(struct.pack(sign + "3dB", *vertex, 7) for vertex in vertices)
    body += b"".join(struct.pack(f"{sign}BB{len(face)}if", 9, len(face), *face, 0.5) for face in faces)
    return head.encode() + body


MARK = b"\xef\xbb\xbf"
MERGED = "merged 28 vertices with others at the same place"
