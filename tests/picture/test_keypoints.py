"""What keypoints tell of themselves: pixels of this picture, metres, OpenPose's order."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from fgs_jax.errors import SceneError
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.images import read_mask, read_picture
from fgs_jax.picture.keypoints import ORDERS, check_landmarks, check_pixels, counted, keypoint_notes, name_of, order_of
from fgs_jax.picture.scene import Scene, camera_from_matrix
from fgs_jax.picture.scene_checks import check_scene, scene_notes
from fgs_jax.picture.scene_files import load_scene

SCENES = Path(__file__).parents[2] / "examples" / "scenes"
PHOTOS = SCENES.parents[2] / "shared" / "data" / "photos"
TUMBLERS = ("tumbler", "tumbler_005", "tumbler_199")
BOXES = np.array([[100.0, 100, 300, 200], [250.0, 50, 350, 150]])
SIZE = (640, 480)
PIXELS = np.column_stack([np.linspace(110, 290, 21), np.linspace(110, 190, 21)])


def seen(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    assert scene.keypoints_2d is not None
    assert scene.world_landmarks is not None
    return scene.keypoints_2d, scene.world_landmarks


@pytest.mark.parametrize("name", TUMBLERS)
def test_the_example_scenes_are_beyond_doubt(name):
    assert scene_notes(load_scene(SCENES / name)) == []


@pytest.mark.skipif(not PHOTOS.exists(), reason="needs ../shared/data/photos, which is not shipped")
def test_real_photos_pass_and_one_knuckle_is_noted():
    notes = {}
    for name, entry in json.loads((PHOTOS / "meta.json").read_text()).items():
        object_mask, hand_mask = (
            read_mask((PHOTOS / f"{name}_{end}_mask.png").read_bytes()) for end in ("object", "hand")
        )
        detected = entry["mediapipe"][0]
        scene = Scene(
            camera=camera_from_matrix(np.array(entry["K_focal480"]), integer_centres=True),
            object_mask=object_mask,
            hand_mask=hand_mask,
            hand_vertices=None,
            hand_faces=None,
            object=load_object(trimesh.creation.box([0.1, 0.1, 0.1])),
            image=read_picture((PHOTOS / f"{name}.png").read_bytes()),
            keypoints_2d=np.array(detected["landmarks_px"]),
            world_landmarks=np.array(detected["world_landmarks_m"]),
        )
        check_scene(scene)
        notes[name] = scene_notes(scene)
    assert len(notes) == 6
    [note] = notes.pop("C_08_43_004")
    assert note.startswith("1 of 21 keypoints lie outside of the boxes")
    assert "(little finger base)" in note
    assert all(note == [] for note in notes.values())


NOT_OF_THIS_PICTURE = {
    "0 to 1": (PIXELS / SIZE, "got 0 of 21 near .*are they shares of its width and height.* by 640 and 480"),
    "-1 to 1": (2 * PIXELS / SIZE - 1, "got 0 of 21 near .*are they from -1 to 1"),
    "of a crop": (PIXELS - [300, 0], "got 0 of 21 near .*of a crop, or of another resolution"),
    "of twice the resolution": (2 * PIXELS, "of another resolution"),
    "x and y swapped": (PIXELS[:, ::-1] * [1, 2], "of another resolution"),
    "one place": (np.full((21, 2), 150.0), "got 21 of 21 near"),
    "far away": (PIXELS + 1e6, "of another resolution"),
    "mostly elsewhere": (np.where(np.arange(21)[:, None] < 10, PIXELS, PIXELS + 400), "got 10 of 21 near"),
}


@pytest.mark.parametrize("name", NOT_OF_THIS_PICTURE)
def test_keypoints_that_are_not_pixels_of_this_picture(name):
    pixels, message = NOT_OF_THIS_PICTURE[name]
    with pytest.raises(SceneError, match=f"keypoints_2d: expected pixels of this picture of 640 x 480, .*{message}"):
        check_pixels(pixels, None, BOXES, SIZE)
    check_pixels(PIXELS, None, BOXES, SIZE)
    check_pixels(pixels, np.zeros(21), BOXES, SIZE)  # of none that was found nothing is asked


def test_half_of_the_keypoints_and_a_twentieth_of_the_box_are_enough():
    half = np.where(np.arange(21)[:, None] < 11, PIXELS, PIXELS + 400)
    check_pixels(half, None, BOXES, SIZE)
    away = [name_of(k) for k in range(11, 21)]
    [note] = keypoint_notes(half, None, None, BOXES)
    assert note == (
        "10 of 21 keypoints lie outside of the boxes of the hand's and the object's mask "
        f"({', '.join(away)}): give those that are wrong the confidence 0"
    )
    assert away[:3] == ["middle second joint", "middle tip", "ring base"]
    edge = PIXELS.copy()
    edge[8] = 90.5, 90.5  # the longer side of 200 grants 10 pixels
    assert keypoint_notes(edge, None, None, BOXES) == []
    edge[8] = 89.5, 100
    assert "(index tip)" in keypoint_notes(edge, None, None, BOXES)[0]
    assert keypoint_notes(edge, np.where(np.arange(21) == 8, 0.0, 1.0), None, BOXES) == []
    in_the_objects_box = np.where(np.arange(21)[:, None] == 8, [340.0, 60], PIXELS)
    assert not [note for note in keypoint_notes(in_the_objects_box, None, None, BOXES) if "outside" in note]


def test_nan_of_confidence_0_counts_nowhere():
    confidence = np.where(np.arange(21) < 5, 0.0, 0.5)
    gaps = np.where(confidence[:, None] > 0, PIXELS, np.nan)
    check_pixels(gaps, confidence, BOXES, SIZE)
    assert keypoint_notes(gaps, confidence, None, BOXES) == []
    check_landmarks(np.column_stack([gaps, gaps[:, :1]]) / 1000, confidence)
    assert counted(confidence).sum() == 16


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1000, "got 180 m: in millimetres. divide them by 1000"),
        (100, "got 18 m: in centimetres. divide them by 100"),
        (5, "got 0.9 m: multiply them by 0.2"),
        (0.001, "got 0.00018 m: multiply them by 1e.03"),
        (0, "got 0 m: check what wrote them"),
    ],
)
def test_landmarks_that_are_not_metres(factor, message):
    landmarks = np.column_stack([PIXELS - PIXELS.mean(axis=0), np.zeros(21)]) / 1000
    check_landmarks(landmarks, None)
    expected = f"world_landmarks: expected a hand in metres, some 0.18 m, {message}"
    with pytest.raises(SceneError, match=expected) as caught:
        check_landmarks(factor * landmarks, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TUMBLERS)
@pytest.mark.parametrize("order", ORDERS)
def test_another_order_is_named(name, order):
    scene = load_scene(SCENES / name)
    pixels, landmarks = seen(scene)
    assert order_of(pixels) is None
    assert order_of(landmarks) is None
    assert order_of(pixels[:, ::-1]) is None  # as all that a mirror or a turn does
    back = np.argsort(ORDERS[order])
    assert order_of(pixels[back]) == order
    [note] = scene_notes(replace(scene, keypoints_2d=pixels[back]))
    assert note.startswith(f"the keypoints look like {order}: OpenPose's is expected, the wrist, then thumb, index,")
    [note] = scene_notes(replace(scene, world_landmarks=landmarks[back]))
    assert note.startswith(f"the keypoints look like {order}: ")
    fewer = np.where(np.arange(21) == 3, 0.0, 1.0)  # which one is missing is not known in another order
    assert scene_notes(replace(scene, keypoints_2d=pixels[back], keypoint_confidence=fewer)) == []


def test_openpose_in_the_other_orders():
    mano = ["wrist", *(f"{f}{k}" for f in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3))]
    mano += [f"{f}4" for f in ("thumb", "index", "middle", "ring", "pinky")]
    tips_first = [f"{f}{k}" for f in ("thumb", "index", "middle", "ring", "pinky") for k in (4, 3, 2, 1)] + ["wrist"]
    openpose = ["wrist", *(f"{f}{k}" for f in ("thumb", "index", "middle", "ring", "pinky") for k in (1, 2, 3, 4))]
    for names, places in zip((mano, tips_first), ORDERS.values(), strict=True):
        assert [names[place] for place in places] == openpose


def test_no_right_hand_is_accused(rng):
    """Of fingers bent and spread at random, seen from anywhere."""
    bases = np.column_stack([np.linspace(-0.04, 0.04, 5), [0.03, 0.09, 0.095, 0.09, 0.08], np.zeros(5)])
    for _ in range(100):
        points = [np.zeros(3)]
        for base in bases:
            bend, spread, at = rng.uniform(0, 1.2), rng.uniform(-0.2, 0.2), base
            points.append(at)
            for k, length in enumerate((0.04, 0.025, 0.02), 1):
                angle = k * bend
                at = at + length * np.array([np.sin(spread), np.cos(spread) * np.cos(angle), -np.sin(angle)])
                points.append(at)
        turned = np.array(points) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        assert order_of(turned) is None
        assert order_of(turned[:, :2]) is None
