"""Small real files of each format that is read, made by code; what is changed are copies of them."""

import hashlib
import io
import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import trimesh
from PIL import Image

from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.testing import mirrored_mano as mirrored
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_pickle as write_pickle
from fgs_jax.types import Camera

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
SIZE = (40, 30)
"""Width and height of the pictures."""


class Seed(NamedTuple):
    """A file, and those that lie beside it."""

    files: Mapping[str, bytes]
    """By name; the first one is what is read."""
    folder: bool = False
    """Whether it is the folder that is read, and any of its files may be changed."""


def _file(name: str, data: bytes | str, **beside: bytes) -> Seed:
    return Seed({name: data.encode() if isinstance(data, str) else data} | beside)


def _npz(arrays: Mapping[str, Any], compressed: bool = True) -> bytes:
    keywords: dict[str, Any] = dict(arrays)
    (np.savez_compressed if compressed else np.savez)(buffer := io.BytesIO(), **keywords)
    return buffer.getvalue()


def _npy(array: Any) -> bytes:
    np.save(buffer := io.BytesIO(), array)
    return buffer.getvalue()


@cache
def meshes() -> list[Seed]:
    """A box in each format, as trimesh writes it, and what it does not write."""
    box = trimesh.creation.box((0.06, 0.08, 0.1)).subdivide()
    quads = trimesh.creation.box((0.06, 0.08, 0.1))
    seeds = []
    for name, words in (
        ("box.obj", {}),
        ("text.ply", {"encoding": "ascii"}),
        ("box.ply", {}),
        ("box.stl", {}),
        ("box.off", {}),
        ("box.glb", {}),
    ):
        data: Any = box.export(file_type=name.partition(".")[2], **words)
        seeds.append(_file(name, data))
    seeds.append(_file("text.stl", str(box.export(file_type="stl_ascii"))))
    gltf: Any = trimesh.Scene([box, quads.apply_translation((0.2, 0, 0))]).export(file_type="gltf")
    names = sorted(gltf, key=lambda name: not name.endswith(".gltf"))
    seeds.append(Seed({name.replace("model", "box"): gltf[name] for name in names}))
    corners = [" ".join(f"{value:g}" for value in corner) for corner in quads.vertices]
    faces = ["0 1 3 2", "4 6 7 5", "0 4 5 1", "2 3 7 6", "0 2 6 4", "1 5 7 3"]
    ones = [" ".join(f"{int(k) + 1}//1" for k in face.split()) for face in faces]
    lines = (
        [f"v {corner}" for corner in corners] + ["vn 0 0 1", "g a", "usemtl b", "s 1"] + [f"f {one}" for one in ones]
    )
    seeds.append(_file("quads.obj", "\n".join([*lines, "f -1 -2 \\", "-3 -4", "l 1 2", ""])))
    seeds.append(
        _file("quads.off", "\n".join(["OFF", "8 6 12", *corners, *(f"4 {face} 255 0 0" for face in faces), ""]))
    )
    header = ["ply", "format ascii 1.0", "element vertex 8", *(f"property float {axis}" for axis in "xyz")]
    header += ["element face 1", "property list uchar int vertex_indices", "property uchar red"]
    header += ["element tristrips 1", "property list int int vertex_indices", "end_header"]
    seeds.append(_file("strips.ply", "\n".join([*header, *corners, "4 0 1 3 2 9", "8 0 1 2 3 -1 4 5 6", ""])))
    return [*seeds, _file("strips.glb", _strips())]


def _strips() -> bytes:
    """A GLB of a strip and a fan, with quantised positions, a sparse accessor, and nodes within nodes."""
    places = np.array([[0, 0, 0], [100, 0, 0], [0, 100, 0], [100, 100, 50], [0, 50, 99]], "<i2")
    padded = np.zeros((5, 4), "<i2")
    padded[:, :3] = places
    indices, few = np.array([0, 1, 2, 3, 65535, 2, 3, 4], "<u2"), np.array([1, 4], "<u2")
    parts = [padded.tobytes(), indices.tobytes(), few.tobytes(), padded[:2, :3].tobytes()]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    views: list[dict[str, Any]] = [
        {"buffer": 0, "byteOffset": starts[k], "byteLength": len(part)} for k, part in enumerate(parts)
    ]
    views[0]["byteStride"] = 8
    sparse = {"indices": {"bufferView": 2, "componentType": 5123}, "values": {"bufferView": 3}, "count": 2}
    content = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["KHR_mesh_quantization"],
        "extensionsRequired": ["KHR_mesh_quantization"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"children": [1], "scale": [0.1, 0.1, -0.1]},
            {"mesh": 0, "rotation": [0, 0, 0.6, 0.8], "translation": [0, 0, 1]},
        ],
        "meshes": [
            {
                "primitives": [
                    {"attributes": {"POSITION": 0}, "indices": 1, "mode": 5},
                    {"attributes": {"POSITION": 0}, "mode": 6},
                    {"attributes": {"POSITION": 2}, "mode": 0},
                ]
            }
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5122, "count": 5, "type": "VEC3", "normalized": True},
            {"bufferView": 1, "componentType": 5123, "count": 8, "type": "SCALAR"},
            {"componentType": 5122, "count": 5, "type": "VEC3", "sparse": sparse},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": starts[-1]}],
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(parts)
    body += bytes(-len(body) % 4)
    length = 12 + 8 + len(text) + 8 + len(body)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(body), 0x004E4942) + body
    return b"glTF" + struct.pack("<II", 2, length) + chunks


@cache
def hands(folder: Path) -> list[Seed]:
    """A made hand as an npz of MANO's keys and as MANO's pickle; learnt directions are zero, so that it is small."""
    arrays = synthetic_mano()
    arrays["posedirs"] = np.zeros_like(arrays["posedirs"])
    arrays["shapedirs"] = np.zeros_like(arrays["shapedirs"][:, :, :1])
    arrays["hands_coeffs"] = arrays["hands_coeffs"][:20, :]
    few = {key: arrays[key] for key in arrays if key != "J"}
    write_pickle(path := folder / "hand.pkl", arrays)
    return [
        _file("hand.npz", _npz(few)),
        _file("MANO_LEFT.npz", _npz({key: value for key, value in mirrored(arrays).items() if key != "J"})),
        _file("hand.pkl", path.read_bytes()),
    ]


def _hand_fields() -> dict[str, Any]:
    points = np.stack([np.linspace(5, 35, 21), np.linspace(4, 25, 21) + np.arange(21) % 3], axis=1)
    return {
        "side": "right",
        "K": [[50.0, 0.0, 20.0], [0.0, 50.0, 15.0], [0.0, 0.0, 1.0]],
        "keypoints_2d": points.tolist(),
        "keypoint_confidence": [0.9] * 21,
        "world_landmarks": (np.c_[points, points[:, 0]] / 300).tolist(),
        "pose": np.full((15, 3), 0.1).tolist(),
        "rotation": [0.1, 0.2, 3.0],
        "translation": [0.0, 0.0, 0.5],
        "betas": [0.0] * 10,
        "hand_model": "open_hand",
        "score": 0.8,
    }


def _hamer_fields(count: int = 1) -> dict[str, Any]:
    eye = np.eye(3)
    return {
        "global_orient": np.tile(eye, (count, 1, 1, 1)),
        "hand_pose": np.tile(eye, (count, 15, 1, 1)),
        "betas": np.zeros((count, 10)),
        "pred_cam": np.tile([0.9, 0.01, 0.02], (count, 1)),
        "box_center": np.tile([20.0, 15.0], (count, 1)),
        "box_size": np.full(count, 25.0),
        "right": np.ones(count),
        "img_size": np.tile([float(side) for side in SIZE], (count, 1)),
        "pred_keypoints_3d": np.tile(np.arange(63).reshape(21, 3) / 500, (count, 1, 1)),
    }


def _wilor_fields() -> dict[str, Any]:
    preds = {
        "pred_cam_t_full": [[0.0, 0.0, 5.0]],
        "scaled_focal_length": 2500.0,
        "pred_keypoints_2d": [[[20.0, 15.0]] * 21],
        "hand_pose": [[[0.1, 0.0, 0.2]] * 15],
        "global_orient": [[[0.0, 0.1, 0.2]]],
        "betas": [[0.0] * 10],
        "pred_vertices": [[[0.0, 0.0, 0.0]] * 5],
    }
    return {"is_right": 1.0, "hand_bbox": [4, 4, 30, 26], "wilor_preds": preds}


def _lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in values.items()}


@cache
def hand_estimates() -> list[Seed]:
    """What tools write of a hand: our fields, HaMeR's and WiLoR-mini's, as npz and as JSON."""
    fields = _hand_fields()
    components = {name: value for name, value in fields.items() if name != "pose"}
    components |= {"pose": [0.3] * 6, "pose_holds": "components", "pose_zero": "mean"}
    return [
        _file("fields.npz", _npz(fields)),
        _file("hamer.npz", _npz(_hamer_fields(), False)),
        _file("fields.json", json.dumps(fields)),
        _file("hands.json", json.dumps({"hands": [components, fields | {"side": "left"}]})),
        _file("hamer.json", json.dumps(_lists(_hamer_fields(2)))),
        _file("wilor.json", json.dumps([_wilor_fields()])),
    ]


def _mask(left: int = 8, right: int = 28) -> np.ndarray:
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[5:25, left:right] = 255
    return mask


def _picture() -> np.ndarray:
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    return np.stack([6 * x, 8 * y, 3 * (x + y)], axis=2).astype(np.uint8)


def _encoded(image: Image.Image, kind: str, **words: Any) -> bytes:
    image.save(buffer := io.BytesIO(), kind, **words)
    return buffer.getvalue()


@cache
def pictures() -> list[Seed]:
    """Pictures and masks of each format and kind of pixel."""
    picture, mask = Image.fromarray(_picture()), Image.fromarray(_mask())
    cut_out = picture.convert("RGBA")
    cut_out.putalpha(mask)
    exif = Image.Exif()
    exif[0x0112] = 6
    labels = Image.fromarray(_mask() // 255 * 2)
    labels.putpalette([0, 0, 0, 90, 0, 0, 200, 30, 30])
    seeds = [
        _file("mask.png", _encoded(mask, "PNG")),
        _file("bits.png", _encoded(mask.convert("1"), "PNG")),
        _file("cut_out.png", _encoded(cut_out, "PNG")),
        _file("labels.png", _encoded(labels, "PNG")),
        _file("deep.png", _encoded(Image.fromarray(_mask().astype(np.uint16) * 257), "PNG")),
        _file("picture.png", _encoded(picture, "PNG", exif=exif)),
        _file("picture.jpg", _encoded(picture, "JPEG", exif=exif)),
        _file("mask.jpg", _encoded(mask, "JPEG", quality=95)),
        _file("mask.tif", _encoded(mask, "TIFF", compression="tiff_deflate")),
        _file("float.tif", _encoded(Image.fromarray(_mask().astype(np.float32) / 255), "TIFF")),
        _file("mask.bmp", _encoded(mask, "BMP")),
        _file("mask.gif", _encoded(mask, "GIF")),
        _file("mask.pgm", _encoded(mask, "PPM")),
        _file("mask.npy", _npy(_mask() > 0)),
    ]
    Image.init()  # all formats
    for kind, name in (("WEBP", "cut_out.webp"), ("JPEG2000", "picture.jp2"), ("AVIF", "picture.avif")):
        if kind in Image.SAVE:
            seeds.append(_file(name, _encoded(cut_out if kind == "WEBP" else picture, kind)))
    return seeds


@cache
def scenes(folder: Path) -> list[Seed]:
    """The example scene, small: as it is saved, and as a person writes it, without hashes and with all fields."""
    scene = load_scene(ROOT / "examples" / "scenes" / "tumbler")
    step = 8
    camera = Camera(focal=scene.camera.focal / step, principal=scene.camera.principal / step)
    box = trimesh.creation.cylinder(0.035, 0.18, sections=12)
    scene = replace(
        scene,
        camera=camera,
        object_mask=scene.object_mask[step // 2 :: step, step // 2 :: step],
        hand_mask=scene.hand_mask[step // 2 :: step, step // 2 :: step],
        image=None if scene.image is None else scene.image[step // 2 :: step, step // 2 :: step],
        keypoints_2d=None if scene.keypoints_2d is None else scene.keypoints_2d / step,
        object=replace(scene.object, vertices=np.array(box.vertices), faces=np.array(box.faces), repairs=()),
    )
    save_scene(scene, folder / "saved", overwrite=True)
    saved = {path.name: path.read_bytes() for path in sorted((folder / "saved").iterdir())}
    meta = json.loads(saved["scene.json"])
    by_hand = {key: value for key, value in meta.items() if key not in ("files", "image_size")}
    width = scene.object_mask.shape[1]
    focal = float(np.asarray(camera.focal)[0])
    by_hand["camera"] = {"K": [[focal, 0, width / 2], [0, focal, 30], [0, 0, 1]], "pixel_centres": "integer"}
    by_hand |= {"hand": {"model": "open_hand", "pose": "angles", "pose_zero": "flat"}, "object_box": [20, 8, 60, 55]}
    by_hand |= {"object": meta["object"] | {"up": "-z"}, "gravity": [0.1, 1.0, 0.2]}
    by_hand |= {"hand_pose": [[0.1, 0.0, 0.2]] * 15, "hand_rotation": [0.0, 0.1, 3.0], "hand_translation": [0, 0, 0.6]}
    lists = [dict(by_hand), {name: value for name, value in by_hand.items() if not name.startswith("hand_")}]
    lists[0]["hand_betas"] = [0.0] * 10
    points = np.asarray(scene.keypoints_2d).tolist()
    lists[1] |= {"hand": {}, "keypoints_2d": [[None, None], *points[1:]], "keypoint_confidence": [0] + [1.0] * 20}
    parts = {name: saved[name] for name in saved if name not in ("scene.json", "arrays.npz")}
    seeds = [Seed({"scene.json": json.dumps(values).encode()} | parts, folder=True) for values in lists]
    seeds.append(Seed({"scene.json": json.dumps(by_hand).encode()} | parts | {"arrays.npz": saved["arrays.npz"]}, True))
    return [*seeds, Seed(saved, folder=True)]


def found(name: str) -> list[Seed]:
    """Real ones of a reader that lie beside the repository, if they do: for the long run alone."""
    patterns = {"mesh": "objects/*.ply", "picture": "photos/*_mask.png"}
    paths = sorted(DATA.glob(patterns[name])) if name in patterns else []
    return [_file(path.name, path.read_bytes()) for path in paths[:8] if path.stat().st_size < 2**20]


@cache
def configurations() -> dict[str, list[Seed]]:
    """The named ones, as files."""
    read = {
        path.relative_to(ROOT / "configs").as_posix(): path.read_bytes() for path in (ROOT / "configs").rglob("*.yaml")
    }
    picture = _encoded(Image.fromarray(_picture()), "PNG")
    training = read["dreambooth.yaml"].decode()
    names = {line.split(": ")[1].strip() for line in training.splitlines() if "image: " in line}
    own = "\n".join(line.split(" # ")[0] for line in training.splitlines())
    small = "contact:\n  steps: 100\n  w_pen: 1e3\nrestarts: 16\nhand_model: open_hand\n"
    light = "detector: {backend: manual, path: boxes.json}\nhand:\n  backend: file\n  path: hand.npz\n  focal: 600\n"
    light += "segmenter: {backend: grabcut}\nobject: {backend: file, path: mug.obj}\nfocal: 600\nseed: 3\n"
    return {
        "refine configuration": [
            _file("fast.yaml", read["fast.yaml"]),
            _file("paper.yaml", read["paper.yaml"]),
            _file("small.yaml", small),
        ],
        "bridge configuration": [
            _file("open.yaml", read["generate/open.yaml"]),
            _file("stack.yaml", read["generate/paper.yaml"]),
            _file("light.yaml", light),
        ],
        "training configuration": [Seed({"dreambooth.yaml": own.encode()} | dict.fromkeys(sorted(names), picture))],
    }


@cache
def detections() -> list[Seed]:
    """Boxes: a person's, and 100DOH's as npz, JSON and npy."""
    manual = {
        "hands": [{"box": [3, 4, 20, 22], "side": "right", "score": 0.9}, {"box": [1, 1, 6.5, 9]}],
        "objects": [{"box": [10, 5, 36, 28], "label": "mug"}],
    }
    hand = [3, 4, 20, 22, 0.9, 3, 0.01, 0.06, 0.08, 1]
    hand_rows, object_rows = (
        np.array([hand, [*hand[:5], 0, 0, 0, 0, 0]]),
        np.array([[10, 5, 36, 28, 0.8, 0, 0, 0, 0, 0]]),
    )
    return [
        _file("manual.json", json.dumps(manual)),
        _file("doh.npz", _npz({"hand_dets": hand_rows, "obj_dets": object_rows})),
        _file("doh.json", json.dumps({"hand_dets": hand_rows.tolist(), "obj_dets": object_rows.tolist()})),
        Seed({"hands.npy": _npy(hand_rows), "objects.npy": _npy(object_rows)}),
    ]


@cache
def landmarks() -> list[Seed]:
    """MediaPipe's record of a picture."""
    fields = _hand_fields()
    hand = {
        "mediapipe_label": "Left",
        "score": 0.9,
        "landmarks_px": fields["keypoints_2d"],
        "landmarks_rel_z_px": [0.1 * k for k in range(21)],
        "world_landmarks_m": fields["world_landmarks"],
    }
    record = {"size": list(SIZE), "mediapipe": [hand], "crops": [[hand]]}
    return [_file("record.json", json.dumps(record)), _file("none.json", json.dumps(record | {"mediapipe": []}))]


@cache
def runs() -> list[Seed]:
    """The folder of a run of text-to-grasp, as far as its boxes."""
    boxes = {
        "hand": {"box": [3.0, 4.0, 20.0, 22.0], "score": 0.9, "label": "hand", "side": "right"},
        "object": {"box": [10.0, 5.0, 36.0, 28.0], "score": 0.8, "label": "mug"},
    }
    config = {"detector": {"backend": "manual", "path": "boxes.json"}, "hand": "auto"}
    run = {"format": "fgs-run", "version": 1, "text": "a hand holds a mug", "object": "mug", "side": "right"}
    written = json.dumps(boxes, indent=1).encode()
    hashes = {"boxes.json": hashlib.sha256(written).hexdigest()}
    record = {"fingerprint": "0" * 64, "files": hashes, "provenance": {"backend": "manual"}}
    files = {"run.json": run | {"config": config}, "records/boxes.json": record}
    texts = {name: json.dumps(values, indent=1).encode() for name, values in files.items()}
    return [Seed(texts | {"boxes/boxes.json": written}, folder=True)]
