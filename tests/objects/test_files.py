"""Files of meshes: what each format allows is read as it is meant, and what is not read is said."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fgs_jax.errors import MeshError
from fgs_jax.objects.mesh import load_object
from tests.objects.mesh_files import CORNERS, MARK, MERGED, TRIANGLES, as_obj, as_off, as_ply, is_the_box, volume, write


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


def test_a_mesh_read_twice_is_the_same_and_its_own(tmp_path):
    path = write(tmp_path / "a.obj", as_obj(CORNERS, TRIANGLES.tolist()))
    first, second = load_object(path), load_object(path)
    assert_array_equal(first.vertices, second.vertices)
    assert not np.shares_memory(first.vertices, replace(first, name="b").vertices)


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
