"""glTF files: what the format allows is read as it is meant, and what is not read is said."""

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose

from fgs_jax.errors import MeshError
from fgs_jax.objects.mesh import load_object
from tests.objects.mesh_files import (
    CORNERS,
    MARK,
    QUADS,
    TRIANGLES,
    is_the_box,
    volume,
    write,
)

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
