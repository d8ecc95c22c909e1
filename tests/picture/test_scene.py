"""Scenes: to disk and back to the bit, written by hand, mirrored, and each bad input in one line."""

import dataclasses
import io
import json
import os
import shutil
import socket
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from fgs_jax.errors import FgsError, MeshError, SceneError
from fgs_jax.hands.files import load_hand_model, mirror_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.surfaces import SignedDistance
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene, camera_from_matrix, mirrored, without_gaps
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.types import Camera, HandParams

WIDTH, HEIGHT = 64, 48
M = np.array([-1.0, 1.0, 1.0])
SCENES = Path(__file__).parents[2] / "examples" / "scenes"
SOURCE = SCENES.parent.parent.parent / "shared" / "data" / "tumbler"


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def blob(rng):
    """A closed convex mesh without any symmetry, some 10 cm wide."""
    points = rng.normal(size=(40, 3)) * [0.02, 0.03, 0.05] + [0.01, 0, 0]
    return load_object((points, ConvexHull(points).simplices), name="blob")


def dyadic(rng, *shape: int) -> np.ndarray:
    """Numbers in 1/1024, which float32 holds, and the mirror turns without rounding."""
    return rng.integers(0, 48 * 1024, shape) / 1024


@pytest.fixture
def scene(rng) -> Scene:
    """A scene that has everything."""
    params = HandParams(
        betas=jnp.asarray(rng.normal(size=10)),
        pose=jnp.asarray(rng.normal(size=(15, 3))),
        rotation=jnp.asarray(rng.normal(size=3)),
        translation=jnp.array([0.1, -0.05, 0.6]),
        scale=jnp.asarray(1.1),
    )
    return Scene(
        camera=Camera(jnp.array([70.1, 71.3]), jnp.array([31.25, 24.5])),
        object_mask=rectangle(10, 10, 30, 30),
        hand_mask=rectangle(28, 15, 64, 35) & ~rectangle(10, 10, 30, 30),
        hand_vertices=rng.normal(size=(9, 3)) / 10 + [0, 0, 0.7],
        hand_faces=rng.integers(0, 9, (12, 3)),
        object=blob(rng),
        image=rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8),
        side="right",
        keypoints_2d=[38, 13] + dyadic(rng, 21, 2) / 2,
        keypoint_confidence=rng.random(21),
        world_landmarks=rng.normal(size=(21, 3)) / 20,
        hand_params=params,
        hand_model="open_hand_full",
        object_image=rng.integers(0, 256, (20, 10, 3)).astype(np.uint8),
        hand_box=np.array([28.125, 15, 64, 35.5]),
        object_box=np.array([10.0, 10, 30, 30]),
        prompt='Eine Hand hält [ 1, 2 ] "Becher"',
        provenance={"image": {"tool": "x", "seed": 3, "scores": [0.1, 2, None, True]}},
    )


def assert_same(a: Any, b: Any, where: str = "scene") -> None:
    """Equal types, values and bits, all the way down."""
    assert type(a) is type(b), where
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
    elif isinstance(a, (np.ndarray, jax.Array)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where
    else:
        assert a == b, where


def bare(scene: Scene) -> Scene:
    """No more than a scene has to have."""
    masks = scene.object_mask, scene.hand_mask
    return Scene(scene.camera, *masks, None, None, scene.object, keypoints_2d=scene.keypoints_2d)


def with_matrices(scene: Scene) -> Scene:
    assert scene.hand_params is not None
    matrices = {
        name: jnp.asarray(Rotation.from_rotvec(np.asarray(getattr(scene.hand_params, name))).as_matrix())
        for name in ("pose", "rotation")
    }
    return replace(scene, hand_params=replace(scene.hand_params, **matrices))


def single(scene: Scene) -> Scene:
    return replace(scene, keypoints_2d=np.asarray(scene.keypoints_2d, np.float32), object_box=None)


def unknown_size(scene: Scene) -> Scene:
    mesh = load_object((scene.object.vertices * 100, scene.object.faces[::-1, ::-1]), "unknown")
    assert mesh.repairs
    return replace(scene, object=mesh, hand_params=None)


def with_gaps(scene: Scene) -> Scene:
    """Of keypoints that were not found, whose confidence is 0, neither pixels nor landmarks are known."""
    assert scene.keypoint_confidence is not None
    found = np.arange(21) % 4 > 0
    gaps = {name: np.where(found[:, None], getattr(scene, name), NAN) for name in ("keypoints_2d", "world_landmarks")}
    return replace(scene, keypoint_confidence=scene.keypoint_confidence * found, **gaps)


@pytest.mark.parametrize("variant", [replace, bare, with_matrices, single, unknown_size, mirrored, with_gaps])
def test_a_scene_comes_back_to_the_bit(scene, tmp_path, variant):
    given = variant(scene)
    save_scene(given, tmp_path / "new" / "scene")
    assert_same(load_scene(tmp_path / "new" / "scene"), given)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["scene"]
    save_scene(load_scene(tmp_path / "new" / "scene"), tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (tmp_path / "new" / "scene" / path.name).read_bytes()


def test_others_can_read_the_files(scene, tmp_path):
    save_scene(scene, tmp_path / "scene")
    mesh: Any = trimesh.load(tmp_path / "scene" / "object.ply", process=False)
    np.testing.assert_array_equal(mesh.vertices, scene.object.vertices)
    np.testing.assert_array_equal(mesh.faces, scene.object.faces)
    with np.load(tmp_path / "scene" / "arrays.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["keypoints_2d"], scene.keypoints_2d)
    mask = np.array(Image.open(tmp_path / "scene" / "hand_mask.png"))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, 255 * scene.hand_mask)
    text = (tmp_path / "scene" / "scene.json").read_text()
    assert '"principal": [31.25, 24.5],' in text
    assert "hält [ 1, 2 ]" in text


def test_an_unposed_hand_is_named(scene):
    with pytest.raises(SceneError, match="expected a posed hand, got none: pose the hand first"):
        bare(scene).posed_hand()
    vertices, faces = scene.posed_hand()
    assert vertices is scene.hand_vertices
    assert faces is scene.hand_faces


# --- Written by hand --------------------------------------------------------------------------------------------------


def test_an_object_without_faces_is_said_so_in_one_line(scene):
    ball: Any = SignedDistance.from_function(lambda points: jnp.linalg.norm(points, axis=1) - 0.03)
    with pytest.raises(SceneError, match=r"object: expected a mesh, .*, got SignedDistance: .* refine_grasps") as error:
        check_scene(replace(scene, object=ball))
    assert "\n" not in str(error.value)


@pytest.fixture
def by_hand(scene, tmp_path) -> tuple[Path, dict[str, Any]]:
    """A folder as a person makes it, but for scene.json, and what to write there."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, mask in (("object_mask", scene.object_mask), ("hand", scene.hand_mask)):
        Image.fromarray(mask).save(folder / f"{name}.png")  # one bit per pixel
    Image.fromarray(np.asarray(scene.image)).save(folder / "photo.jpg")
    trimesh.creation.icosphere(2, 0.05).export(folder / "ball.obj")
    camera = {"K": [[70, 0, 31], [0, 71, 24], [0, 0, 1]], "pixel_centres": "integer", "K_source": "calibrated"}
    return folder, {
        "format": "fgs-scene",
        "version": 1,
        "camera": camera,
        "side": "left",
        "image": "photo.jpg",
        "hand_mask": "hand.png",
        "object": {"file": "ball.obj", "size": "metric"},
        "keypoints_2d": [[20 + k, 17] for k in range(21)],
    }


def written(folder: Path, meta: dict[str, Any]) -> Path:
    (folder / "scene.json").write_text(json.dumps(meta))
    return folder


def test_a_scene_can_be_written_by_hand(scene, by_hand):
    found = load_scene(written(*by_hand))
    np.testing.assert_array_equal(found.camera.focal, [70, 71])
    np.testing.assert_array_equal(found.camera.principal, [31.5, 24.5])
    np.testing.assert_array_equal(found.keypoints_2d, [[20 + k, 17] for k in range(21)])
    np.testing.assert_array_equal(found.object_mask, scene.object_mask)
    np.testing.assert_array_equal(found.hand_mask, scene.hand_mask)
    assert found.image is not None
    assert found.image.shape == (HEIGHT, WIDTH, 3)
    assert (found.side, found.prompt, found.hand_params) == ("left", "", None)
    assert (found.object.name, found.object.size, found.object.faces.shape) == ("ball", "metric", (320, 3))
    assert found.provenance == {"K_source": "calibrated"}


def test_a_camera_by_hand_counts_from_the_corner_or_from_the_first_centre(by_hand):
    folder, meta = by_hand
    for centres, principal in (("corner", [31, 24]), ("integer", [31.5, 24.5])):
        meta["camera"] = {"focal": [70, 71], "principal": [31, 24], "pixel_centres": centres}
        np.testing.assert_array_equal(load_scene(written(folder, meta)).camera.principal, principal)


def test_hand_parameters_by_hand(by_hand):
    folder, meta = by_hand
    meta |= {"hand_pose": np.zeros((15, 3)).tolist(), "hand_rotation": [0, 1, 0], "hand_translation": [0, 0, 0.5]}
    found = load_scene(written(folder, meta | {"hand_scale": 2, "hand": {"model": "mano"}}))
    expected = HandParams(rotation=jnp.array([0.0, 1, 0]), translation=jnp.array([0, 0, 0.5]), scale=jnp.asarray(2.0))
    assert_same(found.hand_params, expected)
    assert found.hand_model == "mano"
    del meta["hand_translation"]
    with pytest.raises(SceneError, match="hand_translation: expected it beside hand_pose, came none"):
        load_scene(written(folder, meta))


# --- Bad files --------------------------------------------------------------------------------------------------------


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
NAN = float("nan")
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


def test_a_keypoint_that_was_not_found_is_null(by_hand):
    folder, meta = by_hand
    meta["keypoints_2d"][3] = [None, None]
    meta["keypoint_confidence"] = [0.0 if k == 3 else 1.0 for k in range(21)]
    found = load_scene(written(folder, meta))
    assert found.keypoints_2d is not None
    np.testing.assert_array_equal(np.isnan(found.keypoints_2d).any(axis=1), np.arange(21) == 3)
    meta["keypoint_confidence"][3] = 0.1
    with pytest.raises(SceneError, match=r"keypoints_2d: expected finite numbers, .*not found \(thumb second joint\)"):
        load_scene(written(folder, meta))


def test_a_photo_is_turned_as_its_exif_says(scene, by_hand):
    folder, meta = by_hand
    photo = np.asarray(load_scene(written(folder, meta)).image).astype(int)
    for orientation, turn in ((6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(photo.astype(np.uint8)).transpose(turn).save(folder / "photo.jpg", exif=exif, quality=95)
        Image.fromarray(scene.hand_mask).transpose(turn).save(folder / "hand.png", exif=exif)
        found = load_scene(folder)
        np.testing.assert_array_equal(found.hand_mask, scene.hand_mask)
        assert np.abs(np.asarray(found.image) - photo).mean() < 12  # of noise, that JPEG blurs
        assert np.abs(np.asarray(found.image)[::-1, ::-1] - photo).mean() > 50


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


def test_a_file_changed_after_writing_is_noticed(scene, tmp_path):
    folder = tmp_path / "scene"
    save_scene(scene, folder)
    Image.fromarray(scene.object_mask).save(folder / "hand_mask.png")
    with pytest.raises(SceneError, match=r"hand_mask.png: expected the file that `files`"):
        load_scene(folder)
    (folder / "hand_mask.png").unlink()
    with pytest.raises(SceneError, match=r"hand_mask.png: expected this file, there is none"):
        load_scene(folder)


# --- Bad scenes, and writing ------------------------------------------------------------------------------------------


def bad(scene: Scene, **changes: Any) -> Scene:
    """The scene with other values, which are not checked while it is made."""
    copy = replace(scene)
    for name, value in changes.items():
        object.__setattr__(copy, name, value)
    return copy


BAD_SCENES: list[tuple[Any, str]] = [
    (lambda s: {"side": "middle"}, "side: expected"),
    (lambda s: {"hand_mask": s.hand_mask[:-1]}, "hand_mask: expected the size of the picture"),
    (lambda s: {"object_mask": ~s.object_mask}, "object_mask: expected the border to be background mostly"),
    (lambda s: {"hand_mask": ~s.hand_mask}, "hand_mask: expected the border to be background mostly"),
    (lambda s: {"image": s.image[..., :1]}, "image: expected bytes of shape"),
    (lambda s: {"keypoints_2d": s.keypoints_2d * NAN}, "keypoints_2d: expected finite numbers"),
    (lambda s: {"keypoints_2d": s.keypoints_2d / [WIDTH, HEIGHT]}, "are they shares of its width and height"),
    (lambda s: {"world_landmarks": s.world_landmarks * 1000}, "world_landmarks: expected a hand in metres"),
    (lambda s: {"object_mask": s.hand_mask & rectangle(0, 0, 50, 30)}, "at least 30 pixels outside of the hand's mask"),
    (lambda s: {"camera": Camera(s.camera.focal / 64, s.camera.principal)}, "a view of 1.5 to 150 degrees"),
    (lambda s: {"hand_vertices": s.hand_vertices[:, :2]}, "hand_vertices: expected numbers of shape"),
    (lambda s: {"hand_params": replace(s.hand_params, pose=jnp.zeros(45))}, r"hand_pose: .*\(15, 3\) or \(15, 3, 3\)"),
    (lambda s: {"hand_params": replace(s.hand_params, rotation=jnp.ones((3, 3)))}, "hand_rotation: expected rotation"),
    (lambda s: {"camera": Camera(s.camera.focal, s.camera.principal * 4)}, "K of another resolution"),
    (lambda s: {"object": replace(s.object, vertices=s.object.vertices * NAN)}, "blob: expected finite vertices"),
    (lambda s: {"object": replace(s.object, vertices=s.object.vertices * 1e3)}, "blob: expected an object of 5 mm"),
    (lambda s: {"provenance": {"tool": object()}}, "provenance, prompt: expected values that JSON knows"),
    (lambda s: {"provenance": {"score": NAN}}, "provenance, prompt: expected values that JSON knows"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_SCENES)
def test_a_bad_scene_is_not_written(scene, tmp_path, changes, message):
    with pytest.raises(FgsError, match=message) as caught:
        save_scene(bad(scene, **changes(scene)), tmp_path / "scene")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_overwritten_only_if_asked(scene, tmp_path):
    folder = tmp_path / "scene"
    save_scene(bare(scene), folder)
    with pytest.raises(SceneError, match=r"scene: the folder is there already: .*\(--overwrite\)"):
        save_scene(scene, folder)
    assert_same(load_scene(folder), bare(scene))
    save_scene(scene, folder, overwrite=True)
    assert_same(load_scene(folder), scene)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SceneError, match=r"expected a scene's files only to overwrite, came notes.txt"):
        save_scene(scene, folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SceneError, match="expected a scene to overwrite, came a file"):
        save_scene(scene, tmp_path / "file", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "scene"]


def test_a_name_that_no_folder_can_have_is_one_line(scene, tmp_path):
    with pytest.raises(SceneError, match=r"cannot be written .File name too long.: choose another place"):
        save_scene(bare(scene), tmp_path / ("x" * 300))


def test_a_failed_write_leaves_nothing_and_the_old_scene(scene, tmp_path):
    folder = tmp_path / "scene"
    save_scene(bare(scene), folder)
    resource = pytest.importorskip("resource", reason="this system has no limits of files' sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))  # the picture is larger, other files are smaller
    try:
        for target in (folder, tmp_path / "other"):
            with pytest.raises(SceneError, match=r"cannot be written \(File too large\): free some space"):
                save_scene(scene, target, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same(load_scene(folder), bare(scene))
    assert [path.name for path in tmp_path.iterdir()] == ["scene"]


def test_a_full_disk_leaves_nothing_and_the_old_scene(scene, rng, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs: run as root")
    try:
        large = rng.integers(0, 256, (200, 300, 3)).astype(np.uint8)
        save_scene(bare(scene), tmp_path / "scene")
        for target in ("scene", "other"):
            with pytest.raises(SceneError, match=r"cannot be written \(No space left on device\): free some space"):
                save_scene(replace(scene, object_image=large), tmp_path / target, overwrite=True)
        assert_same(load_scene(tmp_path / "scene"), bare(scene))
        assert [path.name for path in tmp_path.iterdir()] == ["scene"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# --- The mirror -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [replace, bare, with_matrices, single, with_gaps])
def test_mirrored_twice_is_the_same_scene_to_the_bit(scene, variant):
    given = variant(scene)
    once = mirrored(given)
    assert once.side == "left"
    assert not np.array_equal(once.object.vertices, given.object.vertices)
    assert_same(mirrored(once), given)


def test_mirrored_pixels_that_round_are_off_by_a_last_digit(scene, rng):
    given = replace(scene, keypoints_2d=rng.random((21, 2)))
    again = mirrored(mirrored(given)).keypoints_2d
    assert given.keypoints_2d is not None
    assert again is not None
    np.testing.assert_allclose(again, given.keypoints_2d, rtol=0, atol=np.spacing(float(WIDTH)))
    assert not np.array_equal(again, given.keypoints_2d)


def test_mirrored_numbers(scene):
    turned = mirrored(scene)
    np.testing.assert_array_equal(turned.camera.principal, [WIDTH - 31.25, 24.5])
    np.testing.assert_array_equal(turned.camera.focal, scene.camera.focal)
    np.testing.assert_array_equal(turned.hand_box, [0, 15, WIDTH - 28.125, 35.5])
    np.testing.assert_array_equal(turned.keypoints_2d, [WIDTH, 0] + [-1, 1] * scene.keypoints_2d)
    np.testing.assert_array_equal(turned.world_landmarks, scene.world_landmarks * M)
    np.testing.assert_array_equal(turned.object_image, scene.object_image[:, ::-1])
    assert (turned.prompt, turned.provenance) == (scene.prompt, scene.provenance)


@pytest.mark.parametrize("variant", [replace, with_matrices])
def test_mirrored_parameters_pose_the_mirrored_hand(scene, variant):
    model, params = load_hand_model("open_hand"), variant(scene).hand_params
    posed, turned = jax.jit(hand)(model, params), mirrored(variant(scene)).hand_params
    other = jax.jit(hand)(mirror_hand_model(model), turned)
    np.testing.assert_allclose(other.vertices, np.asarray(posed.vertices) * M, atol=1e-6)
    np.testing.assert_allclose(other.keypoints, np.asarray(posed.keypoints) * M, atol=1e-6)


def test_gaps_are_filled_and_too_few_keypoints_are_none(scene):
    given = with_gaps(scene)
    filled = without_gaps(given)
    for name in ("keypoints_2d", "world_landmarks"):
        found = np.asarray(given.keypoint_confidence)[:, None] > 0
        np.testing.assert_array_equal(getattr(filled, name), np.where(found, getattr(scene, name), 0.0))
    nothing = replace(given, keypoint_confidence=np.zeros(21))
    for lone in (nothing, replace(nothing, hand_params=None), replace(nothing, hand_vertices=None, hand_faces=None)):
        check_scene(lone)  # the mesh or the parameters tell the hand
        assert without_gaps(lone).keypoints_2d is None
        assert without_gaps(lone).world_landmarks is None


def seen(scene: Scene, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return np.isfinite(depth_map(scene.camera, (WIDTH, HEIGHT), vertices, faces))


def test_a_rendered_square_is_flipped_exactly(scene):
    camera = camera_from_matrix(np.array([[64, 0, 30.5], [0, 64, 23.25], [0, 0, 1]]))
    corners = np.array([[11, 12], [33, 12], [33, 30], [11, 30]])  # pixels: the square's own edges
    vertices = np.concatenate([(corners - [30.5, 23.25]) / 64, np.ones((4, 1))], axis=1)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    given = replace(
        scene, camera=camera, object_mask=rectangle(11, 12, 33, 30), hand_vertices=vertices, hand_faces=faces
    )
    np.testing.assert_array_equal(seen(given, vertices, faces), given.object_mask)
    turned = mirrored(given)
    np.testing.assert_array_equal(seen(turned, *turned.posed_hand()), turned.object_mask)
    np.testing.assert_array_equal(turned.object_mask, rectangle(WIDTH - 33, 12, WIDTH - 11, 30))


def test_a_rendered_mesh_is_flipped_exactly(scene):
    R, t = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix(), np.array([-0.03, 0.02, 0.25])
    mask = seen(scene, scene.object.vertices @ R.T + t, scene.object.faces)
    assert mask.sum() > 300
    assert not np.array_equal(mask, mask[:, ::-1])
    turned = mirrored(replace(scene, object_mask=mask))
    there = turned.object.vertices @ (np.diag(M) @ R @ np.diag(M)).T + M * t
    np.testing.assert_array_equal(seen(turned, there, turned.object.faces), turned.object_mask)
    assert turned.object.vertices[turned.object.faces].shape == scene.object.vertices[scene.object.faces].shape
    volumes = [trimesh.Trimesh(s.object.vertices, s.object.faces, process=False).volume for s in (scene, turned)]
    assert volumes[0] > 0
    assert volumes[1] == pytest.approx(volumes[0], rel=1e-12)


# --- The scenes that ship ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "wrist"), [("tumbler", 326.59), ("tumbler_005", 550.04), ("tumbler_199", 529.77)])
def test_the_example_scenes_load(name, wrist):
    found = load_scene(SCENES / name)
    np.testing.assert_array_equal(found.camera.focal, [560, 560])
    np.testing.assert_array_equal(found.camera.principal, [320, 240])
    assert found.keypoints_2d is not None
    assert found.keypoints_2d[0, 0] == wrist
    assert found.image is not None
    assert found.image.shape == (480, 640, 3)
    assert (found.side, found.object.size, found.object.watertight) == ("right", "metric", True)
    assert np.ptp(found.object.vertices, axis=0)[2] == pytest.approx(0.2)
    assert not (found.object_mask & found.hand_mask).any()
    assert "OpenCV" in found.provenance["image"]


def test_the_example_scenes_are_small_and_licensed():
    sizes = [path.stat().st_size for path in SCENES.rglob("*") if path.is_file()]
    assert max(sizes) < 2e6
    assert sum(sizes) < 2.5e6
    assert "Apache License" in (SCENES / "LICENSE").read_text()
    assert "OpenCV" in (SCENES / "COPYRIGHT").read_text()


def test_the_example_scenes_hold_their_source():
    if not SOURCE.exists():
        pytest.skip("needs the frames in ../shared/data/tumbler")
    for name in ("tumbler_005", "tumbler_199"):
        found = load_scene(SCENES / name)
        np.testing.assert_array_equal(found.image, np.array(Image.open(SOURCE / f"{name}.png")))
        np.testing.assert_array_equal(found.hand_mask, np.array(Image.open(SOURCE / f"{name}_hand_mask.png")) > 127)
