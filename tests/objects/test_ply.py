"""PLY files: what the format allows is read as it is meant, and what is not read is said."""

import pytest

from fgs_jax.errors import MeshError
from fgs_jax.objects.mesh import load_object
from tests.objects.mesh_files import CORNERS, CUT, QUADS, TRIANGLES, as_ply, is_the_box, volume, write


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
