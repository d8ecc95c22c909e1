"""Each bad file of a scene's folder is refused in one line that says what was expected."""

import io
import json
import os
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from fgs_jax.errors import MeshError, SceneError
from fgs_jax.picture.scene_files import load_scene
from tests.picture.scenes import HEIGHT, NAN, WIDTH, M, rectangle, written


def edited(*path: str, **changes: Any):
    """Changes values of scene.json; ... takes one out."""

    def change(folder: Path, meta: dict[str, Any]) -> None:
        values = meta
        for key in path:
            values = values[key]
        for key, value in changes.items():
            if value is ...:
                del values[key]
            else:
                values[key] = value

    return change


def replaced(name: str, data: bytes):
    return lambda folder, meta: (folder / name).write_bytes(data)


def deleted(name: str):
    return lambda folder, meta: (folder / name).unlink()


def drawn(name: str, picture: np.ndarray):
    return lambda folder, meta: Image.fromarray(picture).save(folder / name)


def ball(radius: float):
    return lambda folder, meta: trimesh.creation.icosphere(1, radius).export(folder / "ball.obj")


def stored(**arrays: Any):
    return lambda folder, meta: np.savez(folder / "arrays.npz", **arrays)


def promising() -> bytes:
    """An npz file with a header for 48 TB, and nothing behind it."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**41, 3)})
        archive.writestr("keypoints_2d.npy", header.getvalue())
    return buffer.getvalue()


def bound(path: Path) -> None:
    """A socket; its path must be short, and so is relative."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


BOMB = promising()
GREY = np.zeros((HEIGHT, WIDTH), np.uint8)
COVERED = np.where(rectangle(34, 18, 50, 28), np.uint8(255), np.uint8(0))
INVERTED = np.where(rectangle(10, 10, 30, 30), 0, 255).astype(np.uint8)
UNIT = np.tile(np.eye(3), (15, 1, 1))
POSED = {"hand_pose": UNIT, "hand_rotation": np.eye(3), "hand_translation": np.array([0, 0, 0.5])}
BAD_FILES: list[tuple[Any, str]] = [
    (deleted("hand.png"), "hand.png: expected this file, there is none: check the folder"),
    (edited(hand_mask=...), "hand_mask.png: expected this file, there is none"),
    (replaced("hand.png", b"no picture"), "hand.png: expected a picture, it is damaged or none"),
    (replaced("photo.jpg", b"\xff\xd8\xff"), "photo.jpg: expected a picture, it is damaged or none"),
    (replaced("arrays.npz", b"PK\x03\x04"), "arrays.npz: expected plain arrays, came none"),
    (stored(world_landmarks=np.array([{}], object)), "arrays.npz: expected plain arrays, came none"),
    (stored(keypoints=np.zeros((21, 2))), 'arrays.npz: expected names among hand_vertices.* came "keypoints"'),
    (stored(keypoints_2d=np.zeros((21, 2))), "keypoints_2d: expected it once, came in scene.json and in arrays.npz"),
    (drawn("hand.png", GREY[:-1]), "hand.png: expected the size of the picture, 64 x 48 pixels, came 64 x 47"),
    (edited(image_size=[128, 96]), "object_mask.png: expected the size of the picture, 128 x 96 pixels, came 64 x 48"),
    (drawn("photo.jpg", GREY.T), "photo.jpg: expected the size of the picture, 64 x 48 pixels, came 48 x 64"),
    (drawn("object_mask.png", GREY), "object_mask: expected visible pixels of the object, got none"),
    (drawn("hand.png", GREY), "hand_mask: expected visible pixels of the hand, got none"),
    (drawn("hand.png", GREY + 1), "hand.png: expected 255 inside and 0 outside, came values up to 1"),
    (drawn("object_mask.png", INVERTED), "object_mask: expected the border to be background mostly, got 100% of"),
    (drawn("hand.png", INVERTED), "hand_mask: expected the border to be background mostly, .*: invert the mask"),
    (edited("camera", K=[[140, 0, 63], [0, 142, 48], [0, 0, 1]]), "principal point near the middle.*K of another reso"),
    (edited("camera", K=[[35, 0, 15], [0, 35, 12], [0, 0, 1]]), "principal point near the middle.*K of another reso"),
    (
        edited("camera", K=[[70, 0, 127], [0, 70, 96], [0, 0, 1]]),
        r"camera: .*got \[127.5,  96.5\] in a picture of 64 x 48",
    ),
    (
        edited("camera", K=[[0.9, 0, 0.5], [0, 1.2, 0.5], [0, 0, 1]]),
        "view of 1.5 to 150 degrees .*64 x 48: K is in pixels",
    ),
    (
        edited("camera", K=[[4.25, 0, 31], [0, 4.25, 24], [0, 0, 1]]),
        r"got focal lengths of \[4.25, 4.25\] px, .*in pixels",
    ),
    (edited("camera", K=[[1.75, 0, 0.5], [0, 2.33, 0.5], [0, 0, 1]]), "a view of 1.5 to 150 degrees.*K is in pixels"),
    (edited("camera", K=[[70, 0, 31], [0, 1.2, 24], [0, 0, 1]]), "a view of 1.5 to 150 degrees.*K is in pixels"),
    (
        edited("camera", K=[[1e30, 0, 31], [0, 1e30, 24], [0, 0, 1]]),
        "K: expected numbers up to 1e.09, .*K is in pixels",
    ),
    (edited("camera", K=[[1e5, 0, 31], [0, 1e5, 24], [0, 0, 1]]), r"\[0.0367, 0.0367\] degrees.*K is in pixels"),
    (
        edited("camera", K=[[70, 0, 0.5], [0, 71, 0.5], [0, 0, 1]]),
        "near the middle, got .*1.* its corner: K is in pixels",
    ),
    (edited("camera", K=[[70, 0, 0], [0, 71, 0], [0, 0, 1]]), "near the middle, got .* its corner: K is in pixels"),
    (
        edited("camera", K=[[70, 0, -0.4], [0, 71, 0.3], [0, 0, 1]]),
        "near the middle, got .* its corner: K is in pixels",
    ),
    (edited("camera", K=[[70, None, 31], [0, 71, 24], [0, 0, 1]]), "K: expected a 3x3 matrix with positive focal"),
    (edited("camera", K=[[70, 0], [0, 71, 3]]), "camera: expected K as 3 rows of 3 numbers"),
    (edited("camera", K=[[70, 5, 31], [0, 71, 24], [0, 0, 1]]), "K: expected .*undistort the picture"),
    (edited("camera", K=...), "camera: expected either K, or focal and principal"),
    (edited("camera", focal=[70, 70]), "camera: expected either K, or focal and principal"),
    (edited("camera", pixel_centres=...), 'camera: expected a value for "pixel_centres", came none'),
    (edited("camera", pixel_centres="half"), 'expected pixel_centres "corner" or "integer", came "half"'),
    (edited("camera", fov=60), 'camera: expected keys among K, .* came "fov"'),
    (edited(camera={"focal": [7, 7], "principal": [9], "pixel_centres": "corner"}), "others as 2 numbers, came others"),
    (edited(side=...), 'scene.json: expected a value for "side", came none: write it, it is never guessed'),
    (edited(side="both"), 'side: expected "right" or "left", got \'both\''),
    (edited(side=1), 'scene.json: expected text as "side", came 1'),
    (edited(keypoint=[]), 'scene.json: expected keys among format, .* came "keypoint"'),
    (edited(keypoints_2d=...), "expected the hand as keypoints_2d, hand_params or hand_vertices, got none"),
    (edited(keypoints_2d=[[1, 2]] * 20), r"keypoints_2d: expected numbers of shape \(21, 2\), got int64 \(20, 2\)"),
    (edited(keypoints_2d=[[1, 2], [3]]), "keypoints_2d: expected rows of one length, came others"),
    (edited(keypoints_2d=[["a", "b"]] * 21), "keypoints_2d: expected numbers of shape"),
    (edited(keypoints_2d=[[1, NAN]] * 21), r"scene.json: expected JSON, came none \(NaN is not a number\)"),
    (stored(world_landmarks=np.full((21, 3), NAN)), "world_landmarks: expected finite numbers, got NaN or infinity"),
    (stored(keypoint_confidence=np.full(21, -1.0)), "keypoint_confidence: expected numbers from 0 up"),
    (
        stored(keypoint_confidence=np.full(21, 97.0)),
        "expected numbers from 0 to 1, got 97: are they per cent. divide them",
    ),
    (stored(keypoint_confidence=np.full(21, NAN)), "keypoint_confidence: expected finite numbers"),
    (stored(keypoint_confidence=np.zeros(21)), "expected at least 4 keypoints of a confidence above 0 .*got 0: detect"),
    (stored(keypoint_confidence=np.arange(21) > 17.0), "keypoint_confidence: expected numbers of shape .*got bool"),
    (stored(keypoint_confidence=1.0 * (np.arange(21) > 17)), "expected at least 4 keypoints of a confidence .*got 3"),
    (
        edited(keypoints_2d=[[None, None], *[[20 + k, 17] for k in range(20)]]),
        r"what was not found \(wrist\) the confid",
    ),
    (
        edited(keypoints_2d=[[0.3 + k / 99, 0.4] for k in range(21)]),
        "keypoints_2d: expected pixels of this picture of 64",
    ),
    (edited(keypoints_2d=[[1e300, 17]] * 21), "keypoints_2d: expected numbers up to 1e.09, got 1e.300"),
    (stored(world_landmarks=180.0 * np.eye(21, 3)), "world_landmarks: expected a hand in metres.*in millimetres"),
    (
        drawn("object_mask.png", COVERED),
        "object_mask: expected at least 30 pixels outside of the hand's mask, got 0 of 160",
    ),
    (edited(hand_box=[10, 10, 5, 20]), r"hand_box: expected left < right .*got \[10, 10,  5, 20\]"),
    (stored(**POSED | {"hand_pose": UNIT * NAN}), "hand_pose: expected finite numbers, got NaN or infinity"),
    (stored(**POSED | {"hand_pose": UNIT * 1.01}), r"hand_pose: expected rotation matrices, got R R\^T off by 0.02"),
    (stored(**POSED | {"hand_rotation": np.diag(M)}), "hand_rotation: expected rotation matrices, got a mirroring"),
    (stored(**POSED, hand_scale=np.array(0.0)), "hand_scale: expected a positive number, got 0"),
    (stored(**POSED | {"hand_translation": -np.ones(3)}), "hand_translation: expected a hand before the camera"),
    (stored(hand_vertices=np.ones((4, 3))), "hand_vertices, hand_faces: expected both or neither, got one"),
    (
        stored(hand_vertices=np.ones((4, 3)), hand_faces=np.array([[0, 1, 4]])),
        "hand_faces: expected faces of vertices 0 to 3, got 0 to 4",
    ),
    (
        stored(hand_vertices=np.ones((4, 3)), hand_faces=np.zeros((1, 3))),
        r"hand_faces: expected numbers of shape \(f, 3\), got float64",
    ),
    (edited(version=2), "scene.json: expected version 1, came 2: it is newer than this program: update fgs-jax"),
    (edited(version=...), 'scene.json: expected version 1, came None: write "version": 1'),
    (edited(format="other"), 'scene.json: expected "format": "fgs-scene", came another'),
    (edited(units="mm"), 'scene.json: expected units "m", came "mm"'),
    (
        edited(image="../photo.jpg"),
        "'../photo.jpg': expected a file within the scene's folder, came a path that leaves",
    ),
    (edited(image="/etc/hostname"), "'/etc/hostname': expected a file within the scene's folder"),
    (edited(image="a\0b"), "expected a file within the scene's folder"),
    (edited("object", file="../ball.obj"), "'../ball.obj': expected a file within the scene's folder"),
    (edited(files={"../ball.obj": ""}), "'../ball.obj': expected a file within the scene's folder"),
    (edited(files={"ball.obj": "00"}), "ball.obj: expected the file that `files` in scene.json has the hash of"),
    (edited(files={"gone.png": "00"}), "gone.png: expected this file, there is none"),
    (edited("object", size=...), 'object: expected a value for "size", came none'),
    (edited("object", repairs=[{}]), 'object: expected texts as "repairs", came others'),
    (edited(image="x" * 300 + ".png"), r"cannot be read \(File name too long\)"),
    (edited(image="of two\nlines\x1b[31m.png"), r"of two lines \[31m.png: expected this file, there is none"),
    (edited(image="."), "expected this file, came a folder"),
    (replaced("arrays.npz", BOMB), "arrays.npz: expected plain arrays, came none .a header of shape"),
    (
        lambda folder, meta: os.mkfifo(folder / "image.png") or meta.pop("image"),
        "image.png: expected this file, came a pipe",
    ),
    (lambda folder, meta: os.mkfifo(folder / "arrays.npz"), "arrays.npz: expected this file, came a pipe"),
    (
        lambda folder, meta: (folder / "hand.png").unlink() or os.mkfifo(folder / "hand.png"),
        "hand.png: expected .*a pipe",
    ),
    (lambda folder, meta: bound(folder / "arrays.npz"), "arrays.npz: expected this file, came a socket"),
    (drawn("hand.png", 2 * GREY + np.where(INVERTED, 0, 2).astype(np.uint8)), "came values up to 2: make them 255"),
]


@pytest.mark.parametrize(("change", "message"), BAD_FILES)
def test_a_bad_file_is_one_line(by_hand, change, message):
    folder, meta = by_hand
    change(folder, meta)
    with pytest.raises(SceneError, match=message) as caught:
        load_scene(written(folder, meta))
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)


def test_a_key_twice_in_scene_json(by_hand):
    folder, meta = by_hand
    text = json.dumps(meta)
    for more, name in (
        (', "side": "right"}', "side"),
        (', "camera": {}}', "camera"),
        (', "s\\u0069de": "right"}', "side"),
    ):
        (folder / "scene.json").write_text(text[:-1] + more)
        with pytest.raises(SceneError, match=f"scene.json: expected JSON, came none .the key '{name}' is there twice"):
            load_scene(folder)
    (folder / "scene.json").write_text(text.replace('"pixel_centres"', '"K": 0, "K": 1, "pixel_centres"'))
    with pytest.raises(SceneError, match="the key 'K' is there twice"):
        load_scene(folder)
    (folder / "scene.json").write_text("[" * 100_000)
    with pytest.raises(SceneError, match=r"scene.json: expected JSON, came none .values nested deeper than 64"):
        load_scene(folder)
    (folder / "scene.json").write_bytes(b"\xef\xbb\xbf" + text.encode())  # as some editors write it
    assert load_scene(folder).side == "left"


def test_a_folder_s_name_that_none_can_have(tmp_path):
    for name, message in (("x" * 300, "File name too long"), ("a\0b", "a name that no file can have|scene's folder")):
        with pytest.raises(SceneError, match=message) as caught:
            load_scene(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000
    with pytest.raises(SceneError, match="expected a scene's folder, there is no such home"):
        load_scene("~nobody-of-this-name/scene")


BAD_MESHES: list[tuple[Any, str]] = [
    (deleted("ball.obj"), "ball.obj: expected a mesh file, there is none"),
    (replaced("ball.obj", b""), "ball.obj: expected a mesh, came nothing"),
    (replaced("ball.obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"), "ball.obj: expected finite vertices, came nan"),
    (ball(50.0), "expected an object of 5 mm to 3 m, came 100 m; the file may be in millimetres"),
    (edited("object", size="big"), 'expected a size of "metric" or "unknown", came "big"'),
    (edited("object", file="."), "expected a mesh file, came a folder"),
]


@pytest.mark.parametrize(("change", "message"), BAD_MESHES)
def test_a_bad_mesh_stays_a_mesh_error(by_hand, change, message):
    folder, meta = by_hand
    change(folder, meta)
    with pytest.raises(MeshError, match=message) as caught:
        load_scene(written(folder, meta))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_none(scene, by_hand, tmp_path):
    with pytest.raises(SceneError, match=r"nowhere: scene.json: expected this file, there is none"):
        load_scene(tmp_path / "nowhere")
    folder, meta = by_hand
    with pytest.raises(SceneError, match=r"ball.obj: scene.json: cannot be read \(Not a directory\)"):
        load_scene(folder / "ball.obj")
    (folder / "scene.json").write_text('{"format": "fgs-scene",')
    with pytest.raises(SceneError, match=r"scene.json: expected JSON, came none \(.*line 1 column 24"):
        load_scene(folder)
    written(folder, meta)
    (folder / "link.jpg").symlink_to(tmp_path / "scene")
    with pytest.raises(SceneError, match=r"link.jpg': expected a file within the scene's folder"):
        load_scene(written(folder, meta | {"image": "link.jpg"}))
