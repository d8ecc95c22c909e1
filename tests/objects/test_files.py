"""Files of meshes: what each format allows is read as it is meant, and what is not read is said."""

import base64
import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.errors import MeshError
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.polygons import Polygons, polygons, triangulated

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


# --- polygons


def cut(outline, order=None, tilt=0.7):
    """Area of an outline's triangles in space, and how many outlines cross themselves."""
    points = np.c_[outline, np.zeros(len(outline))]
    turn = np.asarray(trimesh.transformations.rotation_matrix(tilt, (1, 2, 3)))
    turned = points @ turn[:3, :3].T + [3, -2, 1]
    loop = np.arange(len(outline)) if order is None else np.asarray(order)
    faces, crossing = triangulated(turned, Polygons(loop, np.array([len(loop)])))
    assert len(faces) == len(loop) - 2
    return of_triangles(turned, faces), crossing


DART = np.array([(0, 0), (4, 2), (0, 1), (-4, 2)])
COMB = np.array([*((k, 5 if k % 2 else 1) for k in range(40)), (39, 0), (0, 0)], float)
SQUARES = np.array([(0, 0), (4, 0), (4, 4), (0, 4), (1, 1), (1, 3), (3, 3), (3, 1)], float)


def shoelace(outline) -> float:
    x, y = np.asarray(outline, float).T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


@pytest.mark.parametrize("outline", [L, DART, COMB, SQUARES[:4]], ids=["L", "dart", "comb", "square"])
def test_a_polygon_has_its_area_from_whichever_corner_it_starts(outline):
    count = len(outline)
    for start in range(count):
        for step in (1, -1):
            found, crossing = cut(outline, (start + step * np.arange(count)) % count)
            assert found == pytest.approx(shoelace(outline), rel=1e-9) and not crossing


def test_random_stars_have_their_area(rng):
    for _ in range(40):
        count = int(rng.integers(5, 25))
        angles = 2 * np.pi * (np.arange(count) + rng.uniform(0, 0.9, count)) / count
        outline = rng.uniform(0.1, 1, (count, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        assert cut(outline) == (pytest.approx(shoelace(outline), rel=1e-9), 0)


def test_an_outline_that_leads_to_a_hole_and_back_leaves_the_hole_open():
    around = [0, 1, 2, 3, 0, 4, 5, 6, 7, 4]
    for start in range(10):
        found, crossing = cut(SQUARES, np.roll(around, start))
        assert found == pytest.approx(12, rel=1e-9) and not crossing


def test_corners_on_a_line_are_kept_where_others_meet_them():
    outline = np.array([(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)], float)
    for start in range(8):
        points = np.c_[outline, np.zeros(8)]
        faces, _ = triangulated(points, Polygons(np.roll(np.arange(8), start), np.array([8])))
        corners = points[faces]
        areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
        assert areas.sum() == pytest.approx(4) and areas.min() > 0.1


def test_a_bent_quad_is_cut_along_its_shorter_diagonal_from_whichever_corner():
    points = np.array([(0, 0, 0), (3, 0, 0.5), (3, 1, 0), (0.5, 1, 0.5)])
    areas = set()
    for start in range(4):
        faces, _ = triangulated(points, Polygons(np.roll(np.arange(4), start), np.array([4])))
        assert {1, 3} == set(faces[0]) & set(faces[1])
        areas.add(round(of_triangles(points, faces), 12))
    assert len(areas) == 1


def test_an_outline_that_crosses_itself_is_said(tmp_path):
    assert cut(np.array([(0, 0), (1, 1), (1, 0), (0, 1)]))[1] == 1
    star = [(np.cos(a), np.sin(a)) for a in 4 * np.pi * np.arange(5) / 5]
    assert cut(np.array(star))[1] == 1
    text = "v 0 0 0\nv .1 .1 0\nv .1 0 0\nv 0 .1 0\nv 0 0 .1\nf 1 2 3 4\nf 1 2 5\n"
    repairs = load_object(write(tmp_path / "a.obj", text)).repairs
    assert repairs[:2] == (CUT.format(2, 3), "1 faces cross themselves: their triangles overlap")


def test_triangles_stand_in_the_order_of_their_faces():
    points = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (-1, 0.5, 0)], float)
    faces, _ = triangulated(points, polygons([[0, 1, 2, 3], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4]]))
    assert_array_equal(faces, [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 1, 2], [0, 2, 3], [0, 3, 4]])
    with pytest.raises(ValueError, match="vertices 0 to 9, of 5 that there are"):
        triangulated(points, polygons([[0, 1, 9]]))


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


@pytest.mark.parametrize("mark", [b"", MARK], ids=["plain", "with a byte order mark"])
@pytest.mark.parametrize("kind", ["obj", "off", "ply", "ply little", "ply big"])
def test_concave_polygons_of_every_format(tmp_path, kind, mark):
    vertices, faces = prism()
    order = {"ply": "ascii", "ply little": "binary_little_endian", "ply big": "binary_big_endian"}
    made = {"obj": as_obj, "off": as_off}
    data = as_ply(vertices, faces, order[kind]) if kind in order else made[kind](vertices, faces).encode()
    mesh = load_object(write(tmp_path / f"a.{kind[:3]}", mark + data))
    assert mesh.repairs == (CUT.format(8, 20),) and mesh.watertight
    assert area(mesh) == pytest.approx(302e-4, rel=1e-6) and volume(mesh) == pytest.approx(255e-6, rel=1e-6)


def test_concave_quads_from_python():
    points = np.c_[DART * 0.01, np.zeros(4)]
    for start in range(4):
        mesh = load_object((points, np.roll(np.arange(4), start)[None]))
        assert area(mesh) == pytest.approx(shoelace(DART) * 1e-4, rel=1e-9)
        assert mesh.repairs == (CUT.format(1, 2),)


# --- obj


def test_obj_of_16_bits_a_letter_and_with_what_is_no_face(tmp_path):
    text = as_obj(CORNERS, TRIANGLES.tolist())
    is_the_box(load_object(write(tmp_path / "a.obj", text.encode("utf-16"))))
    text += "l 1 2 3\nl 4 5\np 1\ncstype bspline\ncurv 0 1 1 2 3\nsurf 0 1 0 1 1 2 3 4\n"
    left = ("left out 2 lines", "left out 1 points", "left out 2 free-form curves and surfaces")
    is_the_box(load_object(write(tmp_path / "b.obj", text)), *left)
    with pytest.raises(MeshError, match=r"came 8 points without a face \(left out 1 lines\); make a mesh of them"):
        load_object(write(tmp_path / "c.obj", as_obj(CORNERS, []) + "l 1 2\n"))
    for bad in ("f /1 /2 /3\n", "f 1.5 2 3\n", "f a b c\n", "v 1 2\n"):
        with pytest.raises(MeshError, match="damaged or of another one"):
            load_object(write(tmp_path / "d.obj", text + bad))


# --- off


def test_off_with_colours_comments_and_a_glued_header(tmp_path):
    coloured = "COFF 8 12 0\n" + "".join(f"{x} {y} {z} 255 0 0 255\n" for x, y, z in CORNERS)
    coloured += "# faces\n" + "".join(f"3 {a} {b} {c} 0.5 0.5 0.5\n\n" for a, b, c in TRIANGLES)
    is_the_box(load_object(write(tmp_path / "a.off", coloured)))
    glued = as_off(CORNERS, TRIANGLES.tolist()).replace("OFF\n", "OFF")
    is_the_box(load_object(write(tmp_path / "b.off", glued)))
    more = "left out 1 lines after the last face that the header declares"
    is_the_box(load_object(write(tmp_path / "c.off", glued + "3 0 1 2\n")), more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OFF\n8 13 0\n", "8 vertices and 13 faces declared"),
        ("OFF\n", "nothing follows"),
        ("4OFF\n8 12 0\n", "more than three coordinates"),
        ("OFF BINARY\n", "the binary form is not read"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "a face of 4 corners, 3 numbers follow"),
        ("OFF\n-3 1 0\n", "-3 vertices and 1 faces declared"),
    ],
)
def test_off_that_is_not_what_it_says(tmp_path, text, message):
    if "13" in text:
        text = as_off(CORNERS, TRIANGLES.tolist()).replace("8 12 0", "8 13 0")
    with pytest.raises(MeshError) as raised:
        load_object(write(tmp_path / "a.off", text))
    assert message in str(raised.value) and "\n" not in str(raised.value)


# --- stl


def as_stl(head=b"") -> bytes:
    record = np.zeros(12, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    record["corners"] = CORNERS[TRIANGLES]
    return head.ljust(80) + struct.pack("<I", 12) + record.tobytes()


def as_text_stl(faces=TRIANGLES, name="a") -> str:
    facets = [
        "facet normal 0 0 0\n outer loop\n" + "".join("  vertex {} {} {}\n".format(*CORNERS[k]) for k in face)
        for face in faces
    ]
    return f"solid {name}\n" + "".join(f"{facet} endloop\nendfacet\n" for facet in facets) + f"endsolid {name}\n"


MERGED = "merged 28 vertices with others at the same place"


@pytest.mark.parametrize(
    ("data", "repairs"),
    [
        (as_stl(b"solid by some program"), ()),
        (as_stl() + b"more", ("left out 4 bytes after the last triangle that the header declares",)),
        (
            as_stl(b"solid a facet") + b"\0" * 70,
            ("left out 70 bytes after the last triangle that the header declares",),
        ),
        (as_text_stl(), ()),
        (MARK + as_text_stl().encode(), ()),
        (as_text_stl().upper(), ()),
        (as_text_stl(TRIANGLES[:5]) + as_text_stl(TRIANGLES[5:], "b"), ()),
        (as_text_stl().replace("endsolid a\n", ""), ("the last solid has no end: the file may be cut short",)),
    ],
    ids=["solid", "more", "solid and more", "text", "mark", "capitals", "two solids", "no end"],
)
def test_stl_of_all_kinds(tmp_path, data, repairs):
    is_the_box(load_object(write(tmp_path / "a.stl", data)), *repairs, MERGED)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (as_stl()[:-1], "12 triangles declared, there is room for 11"),
        (as_stl()[:70], "70 bytes, fewer than a header has"),
        (as_stl()[:80] + b"\0" * 4 + as_stl()[84:], "0 triangles declared, there is room for 12"),
        (as_text_stl()[:-60], "facets begin"),
        (as_text_stl().replace("vertex 0.0 0.0 0.0", "vertex 0.0 0.0"), "damaged or of another one"),
    ],
)
def test_stl_that_is_not_what_it_says(tmp_path, data, message):
    with pytest.raises(MeshError) as raised:
        load_object(write(tmp_path / "a.stl", data))
    assert message in str(raised.value) and "\n" not in str(raised.value)


# --- ply


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_of_all_orders(tmp_path, order):
    for indices in ("vertex_index", "vertex_indices"):
        is_the_box(load_object(write(tmp_path / "a.ply", as_ply(CORNERS, TRIANGLES.tolist(), order, indices))))
    mesh = load_object(write(tmp_path / "b.ply", as_ply(CORNERS, [*map(list, QUADS)], order)))
    is_the_box(mesh, CUT.format(6, 12))
    # Line ends of another system, in the header alone where the rest is binary.
    data = as_ply(CORNERS, TRIANGLES.tolist(), order)
    end = data.index(b"end_header\n") + 11
    data = data[:end].replace(b"\n", b"\r\n") + (data[end:].replace(b"\n", b"\r\n") if order == "ascii" else data[end:])
    is_the_box(load_object(write(tmp_path / "c.ply", data)))


def test_ply_with_strips_edges_and_more_than_it_declares(tmp_path):
    vertices = "".join(f"{x} {y} {z}\n" for x, y, z in CORNERS)
    head = "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\n"
    strips = [[2, 0, 3, 1, -1, 4, 6, 5, 7, -1, 0, 4, 1, 5], [3, 7, 2, 6, -1, 2, 6, 0, 4, -1, 5, 7, 1, 3]]
    strips[0][:4] = [0, 1, 2, 3]
    head += "element tristrips 2\nproperty list int int vertex_indices\n"
    rows = "".join(" ".join(map(str, [len(strip), *strip])) + "\n" for strip in strips)
    mesh = load_object(write(tmp_path / "a.ply", head + "end_header\n" + vertices + rows))
    assert (len(mesh.faces), mesh.watertight) == (12, True) and volume(mesh) == pytest.approx(480e-6)
    head = head.split("element tristrips")[0] + "element face 12\nproperty list uchar int vertex_indices\n"
    head += "element edge 1\nproperty int vertex1\nproperty int vertex2\nend_header\n"
    faces = "".join(f"3 {a} {b} {c}\n" for a, b, c in TRIANGLES)
    mesh = load_object(write(tmp_path / "b.ply", head + vertices + faces + "0 1\n" + "3 0 1 2\n"))
    is_the_box(mesh, "left out 4 numbers after what the header declares", 'left out 1 elements "edge"')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            (b"element vertex 8", b"element vertex 9"),
            {"ascii": "damaged or of another one", "binary_little_endian": "faces of vertices 0 to 8, came"},
        ),
        ((b"element vertex 8", b"element vertex 99999999"), "99999999 elements vertex declared"),
        ((b"element face 12", b"element face 13"), "the file ends before"),
        ((b"vertex_indices", b"corners"), "face of quality, corners, area, without vertex_indices"),
        ((b"double x", b"double u"), "without x, y and z"),
        ((b"format", b"shape"), "a header without a format"),
        ((b"end_header", b"no_end"), "a header without an end"),
        ((b"uchar int", b"uchar quad"), "'quad'"),
    ],
)
@pytest.mark.parametrize("order", ["ascii", "binary_little_endian"])
def test_ply_that_is_not_what_it_says(tmp_path, change, message, order):
    data = as_ply(CORNERS, TRIANGLES.tolist(), order).replace(*change)
    with pytest.raises(MeshError) as raised:
        load_object(write(tmp_path / "a.ply", data))
    expected = message[order] if isinstance(message, dict) else message
    assert expected in str(raised.value) and "\n" not in str(raised.value)


# --- glTF


Part = dict[str, Any]
FLOATS = (np.asarray(CORNERS, "<f4"), {})


def gltf(parts: list[Part], nodes=None, **more) -> tuple[dict[str, Any], bytes]:
    """A scene of one mesh; a part has `points`, `indices` and `mode`."""
    data, views, accessors, primitives = b"", [], [], []

    def stored(array, fields) -> int:
        nonlocal data
        stride = {"byteStride": array.strides[0]} if array.strides[0] != array.itemsize * array[0].size else {}
        raw = array.base.tobytes() if stride else array.tobytes()
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(raw)} | stride)
        data += raw + b"\0" * (-len(raw) % 4)
        kinds = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
        shape = {"count": len(array), "componentType": kinds[array.dtype.str[1:]]}
        accessors.append(
            {"bufferView": len(views) - 1, "type": "VEC3" if array.ndim == 2 else "SCALAR"} | shape | fields
        )
        return len(accessors) - 1

    for part in parts:
        primitive: Part = {"attributes": {"POSITION": stored(*part.get("points", FLOATS))}}
        if part.get("indices") is not None:
            primitive["indices"] = stored(np.asarray(part["indices"], part.get("type", "<u2")), {})
        primitives.append(primitive | ({"mode": part["mode"]} if "mode" in part else {}) | part.get("more", {}))
    file = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": nodes or [{"mesh": 0}]}
    file |= {"meshes": [{"primitives": primitives}], "accessors": accessors, "bufferViews": views}
    return file | {"buffers": [{"byteLength": len(data)}]} | more, data


def as_glb(file, data) -> bytes:
    text = json.dumps(file).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data


def read_glb(folder, *words, **more):
    return load_object(write(folder / "a.glb", as_glb(*gltf(*words, **more))))


ALL = {"indices": TRIANGLES.ravel()}
STRIP = [0, 1, 2, 3, 3, 4, 4, 6, 5, 7, 7, 0, 0, 4, 1, 5, 5, 3, 3, 7, 2, 6, 6, 2, 2, 6, 0, 4, 4, 5, 5, 7, 1, 3]
FANS = [[k for k in quad] for quad in QUADS]


@pytest.mark.parametrize("kind", ["<u1", "<u2", "<u4"])
def test_triangles_strips_and_fans_with_indices_of_every_size(tmp_path, kind):
    most = np.iinfo(kind).max
    restarted = [k for fan in FANS for k in (*fan, most)][:-1]
    strips = [k for a, b, c, d in QUADS for k in (a, b, d, c, most)][:-1]
    is_the_box(read_glb(tmp_path, [ALL | {"type": kind}]))
    is_the_box(read_glb(tmp_path, [{"indices": restarted, "mode": 6, "type": kind}]))
    is_the_box(read_glb(tmp_path, [{"indices": strips, "mode": 5, "type": kind}]))


def test_fans_alone_and_a_strip_that_leads_from_side_to_side(tmp_path):
    # A file of fans alone, each a part of its own, and with the vertices of its own.
    parts = [{"points": (FLOATS[0][list(fan)], {}), "mode": 6} for fan in FANS]
    is_the_box(read_glb(tmp_path, parts), "merged 16 vertices with others at the same place")
    joined = [k for a, b, c, d in QUADS for k in (a, a, b, d, c, c)][1:]
    is_the_box(read_glb(tmp_path, [{"indices": joined, "mode": 5}]))


def test_what_makes_no_triangle_is_said(tmp_path):
    points = {"points": (FLOATS[0] + np.float32(9), {}), "mode": 0}
    lines = {"indices": [0, 1, 2, 3], "mode": 1}
    left = "left out 2 parts without faces (points or lines)"
    is_the_box(read_glb(tmp_path, [ALL, points, lines]), left)
    two_over = {"points": (CORNERS[TRIANGLES].reshape(-1, 3).astype("<f4")[[*range(36), 0, 1]], {})}
    said = "left out 2 vertices at the end of triangle lists, too few for a triangle"
    mesh = read_glb(tmp_path, [two_over])
    assert mesh.repairs[0] == said and (len(mesh.faces), mesh.watertight) == (12, True)
    with pytest.raises(MeshError, match=r"came 8 points without a face \(left out 1 parts without faces"):
        read_glb(tmp_path, [points])
    with pytest.raises(MeshError, match="a part of mode 7, which there is none of"):
        read_glb(tmp_path, [ALL | {"mode": 7}])
    with pytest.raises(MeshError, match="faces of vertices 0 to 8, of 8 that there are"):
        read_glb(tmp_path, [{"indices": [0, 1, 8]}])


@pytest.mark.parametrize(
    ("kind", "normalized"), [("<i1", True), ("<i2", True), ("<u2", True), ("<i2", False), ("<u1", False)]
)
def test_quantised_positions(tmp_path, kind, normalized):
    unit = np.iinfo(kind).max if normalized else 1
    steps = np.array([60, 80, 100])
    values = np.rint(CORNERS * 1000 / steps * unit).astype(kind)
    scale = (steps / 1000).tolist()
    nodes = [{"children": [1], "translation": [1, 0, 0]}, {"mesh": 0, "scale": scale, "translation": [-1, 0, 0]}]
    part = ALL | {"points": (values, {"normalized": normalized})}
    is_the_box(read_glb(tmp_path, [part], nodes, extensionsRequired=["KHR_mesh_quantization"]))


def test_strides_offsets_and_sparse_positions(tmp_path):
    wide = np.zeros((9, 5), "<f4")
    wide[1:, 1:4] = CORNERS
    file, data = gltf([ALL])
    start = len(data)
    file["bufferViews"].append({"buffer": 0, "byteOffset": start, "byteLength": wide.nbytes, "byteStride": 20})
    file["accessors"][0] |= {"bufferView": 2, "byteOffset": 24}
    data += wide.tobytes()
    file["buffers"][0]["byteLength"] = len(data)
    is_the_box(load_object(write(tmp_path / "a.glb", as_glb(file, data))))
    # Some of the positions, then all of them, are replaced.
    for replaced in (np.array([0, 7]), np.arange(8)):
        wrong = FLOATS[0].copy()
        wrong[replaced] = 5
        file, data = gltf([ALL | {"points": (wrong, {})}])
        places, values = replaced.astype("<u2").tobytes().ljust(16, b"\0"), FLOATS[0][replaced].tobytes()
        for raw in (places, values):
            file["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": len(raw)})
            data += raw
        file["accessors"][0]["sparse"] = {
            "count": len(replaced),
            "indices": {"bufferView": 2, "componentType": 5123},
            "values": {"bufferView": 3},
        }
        if len(replaced) == 8:
            del file["accessors"][0]["bufferView"]
        file["buffers"][0]["byteLength"] = len(data)
        is_the_box(load_object(write(tmp_path / "a.glb", as_glb(file, data))))


def test_nodes_mirrors_and_instances(tmp_path):
    turn = trimesh.transformations.rotation_matrix(0.7, (1, 2, 3), (0.1, 0.2, 0.3))
    mirror = np.diag([1, -1, 1, 1.0])
    mesh = read_glb(tmp_path, [ALL], [{"matrix": (turn @ mirror).T.ravel().tolist()} | {"mesh": 0}])
    is_the_box(mesh)
    expected = trimesh.transform_points(CORNERS, turn @ mirror)
    assert_allclose(mesh.vertices[np.lexsort(mesh.vertices.T)], expected[np.lexsort(expected.T)], atol=1e-6)
    nodes = [{"children": [1, 2]}, {"mesh": 0, "scale": [-1, 1, 1]}, {"mesh": 0, "translation": [0.1, 0, 0]}]
    mesh = read_glb(tmp_path, [ALL], nodes)
    assert mesh.repairs == ("kept 2 separate parts",) and volume(mesh) == pytest.approx(2 * 480e-6, rel=1e-5)
    for bad in ([{"children": [0]}], [{"children": [1, 1]}, {"mesh": 0}]):
        with pytest.raises(MeshError, match="hangs on two others, or on itself"):
            read_glb(tmp_path, [ALL], bad)


def test_the_default_scene_is_read_and_the_others_are_said(tmp_path):
    other = {"scenes": [{"nodes": []}, {"nodes": [0]}], "scene": 1}
    is_the_box(read_glb(tmp_path, [ALL], **other), "read scene 1 of 2 (0 is the first)")
    file, data = gltf([ALL])
    file["meshes"].append(file["meshes"][0])
    hidden = "left out 1 meshes that the scene does not show"
    is_the_box(load_object(write(tmp_path / "a.glb", as_glb(file, data))), hidden)
    del file["scenes"], file["scene"], file["nodes"], file["meshes"][1]
    is_the_box(load_object(write(tmp_path / "a.glb", as_glb(file, data))))


def test_morph_targets_and_bones_are_said(tmp_path):
    file, data = gltf([ALL | {"more": {"targets": [{"POSITION": 0}]}}], [{"mesh": 0, "skin": 0}])
    targets = "left out 1 morph targets: the mesh is as it stands without them"
    bones = "left out the bones of 1 meshes: they stand as they were made"
    is_the_box(load_object(write(tmp_path / "a.glb", as_glb(file, data))), targets, bones)


def test_buffers_beside_the_file_and_within_it(tmp_path):
    file, data = gltf([ALL])
    write(tmp_path / "the data.bin", data)
    inside = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    for uri in ("the%20data.bin", inside):
        file["buffers"][0]["uri"] = uri
        is_the_box(load_object(write(tmp_path / "a.gltf", MARK + json.dumps(file).encode())))
    for uri, message in (
        ("none.bin", "none.bin: expected a buffer of a.gltf, there is none"),
        ("https://example.org/a.bin", "not beside the file"),
        ("/etc/passwd", "not beside the file"),
        ("data:;base64,AAAA", "bytes declared, 3 are there"),
    ):
        file["buffers"][0]["uri"] = uri
        with pytest.raises(MeshError) as raised:
            load_object(write(tmp_path / "a.gltf", json.dumps(file)))
        assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "expected plain arrays, came compressed ones"),
        ({"extensionsRequired": ["EXT_meshopt_compression"]}, "expected plain arrays, came compressed ones"),
        ({"extensionsRequired": ["ACME_shape"]}, "it needs the extension ACME_shape, which is not read"),
        ({"asset": {"version": "1.0"}}, "it is no glTF of version 2"),
        ({"nodes": [{"mesh": 3}]}, "entry 3 of 1"),
        ({"nodes": [{"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {}}}]}, "EXT_mesh_gpu_instancing"),
        ({"buffers": [{"byteLength": 9999}]}, "9999 bytes declared"),
    ],
)
def test_gltf_that_is_not_read(tmp_path, change, message):
    with pytest.raises(MeshError) as raised:
        read_glb(tmp_path, [ALL], **change)
    assert message in str(raised.value) and "\n" not in str(raised.value)
    file, data = gltf([ALL])
    file["accessors"][0]["count"] = 9
    with pytest.raises(MeshError, match="9 values declared, there is no room for them"):
        load_object(write(tmp_path / "a.glb", as_glb(file, data)))


def test_a_mesh_read_twice_is_the_same_and_its_own(tmp_path):
    path = write(tmp_path / "a.obj", as_obj(CORNERS, TRIANGLES.tolist()))
    first, second = load_object(path), load_object(path)
    assert_array_equal(first.vertices, second.vertices)
    assert not np.shares_memory(first.vertices, replace(first, name="b").vertices)


# --- numbers that files may hold, and that no mesh has


@pytest.mark.parametrize("most", [1e13, 1e155, 1e300, -1e308])
def test_a_vertex_that_is_nowhere_is_refused(tmp_path, most):
    """Of 1e155 the square is infinite: nearest neighbours and areas are none."""
    vertices = CORNERS.copy()
    vertices[3, 1] = most
    for data in (as_ply(vertices, TRIANGLES.tolist()), as_ply(vertices, TRIANGLES.tolist(), "binary_little_endian")):
        with pytest.raises(MeshError, match=r"vertices as far as 1e\+\d+ from the origin"):
            load_object(write(tmp_path / "a.ply", data), "unknown")
    with pytest.raises(MeshError, match=r"expected vertices within 1e\+12 of the origin, came 1e\+"):
        load_object((vertices, TRIANGLES), "unknown")
    mesh = load_object((1e9 * CORNERS, TRIANGLES), "unknown")
    assert volume(mesh) == pytest.approx(480e21, rel=1e-5)


def test_an_extent_that_has_no_area_is_refused(tmp_path):
    with pytest.raises(MeshError, match=r"expected an object, came one of 1e-201; check the mesh"):
        load_object((1e-200 * CORNERS, TRIANGLES), "unknown")
    mesh = load_object((1e-9 * CORNERS, TRIANGLES), "unknown")
    assert len(mesh.faces) == 12


@pytest.mark.parametrize("index", ["nan", "inf", "1e30", "0.5"])
def test_a_corner_that_is_no_whole_number_is_refused(tmp_path, index):
    text = as_ply(CORNERS, TRIANGLES.tolist()).replace(b"list uchar int", b"list uchar float")
    head, rows = text.split(b"end_header\n")
    rows = rows.replace(b"9 3 0 ", f"9 3 {index} ".encode())
    with pytest.raises(MeshError, match=r"vertices of a face that are no whole numbers"):
        load_object(write(tmp_path / "a.ply", head + b"end_header\n" + rows))


def test_gltf_that_promises_more_than_it_holds(tmp_path):
    file, data = gltf([ALL])
    empty = {"count": 10**8, "type": "MAT4", "componentType": 5126, "sparse": {"count": 0}}
    with pytest.raises(MeshError, match="array 0 has no data"):
        load_object(write(tmp_path / "a.glb", as_glb(file | {"accessors": [empty, file["accessors"][1]]}, data)))
    file, data = gltf([{"indices": 10_000 * [0, 1, 2], "type": "<u1"}])
    shown = file | {"nodes": 100 * [{"mesh": 0}], "scenes": [{"nodes": list(range(100))}]}
    with pytest.raises(MeshError, match="it shows the same parts so often that they are more than"):
        load_object(write(tmp_path / "a.glb", as_glb(shown, data)))


def test_gltf_with_a_key_twice_or_a_place_before_the_first(tmp_path):
    file, data = gltf([ALL])
    text = json.dumps(file)[:-1] + ', "scene": 0}'
    (tmp_path / "a.gltf").write_text(text)
    with pytest.raises(MeshError, match="the key 'scene' is there twice"):
        load_object(tmp_path / "a.gltf")
    places = {"bufferView": 0, "componentType": 5120}
    file["accessors"][0]["sparse"] = {"count": 1, "indices": places, "values": {"bufferView": 0}}
    with pytest.raises(MeshError, match="places of type int8"):
        load_object(write(tmp_path / "a.glb", as_glb(file, data)))
