"""MediaPipe's landmarks, recorded and from its own environment."""

import json
import os
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgs_bridges.geometry import points_box
from fgs_bridges.mediapipe_hands import MediaPipe, pictured_landmarks
from fgs_bridges.registry import create
from fgs_bridges.types import Detection
from fgs_jax.errors import BridgeUnavailable, ConfigError
from fgs_jax.picture.scene_files import load_scene
from tests.bridges.hands.recorded_hands import PICTURE, SCENE, TUMBLER, fails


def test_recorded_landmarks_are_the_example_scenes() -> None:
    """The label is swapped: MediaPipe says Left of this right hand. Keypoints and landmarks are the scene's."""
    tool = create("hand", "mediapipe", landmarks=str(TUMBLER))
    (found,) = tool(PICTURE, ())
    scene = load_scene(SCENE)
    assert json.loads(TUMBLER.read_text())["mediapipe"][0]["mediapipe_label"] == "Left"
    assert found.side == scene.side == "right"
    assert found.pose is None and found.vertices is None
    assert found.keypoints_2d is not None and scene.keypoints_2d is not None
    assert found.world_landmarks is not None and scene.world_landmarks is not None
    np.testing.assert_allclose(found.keypoints_2d, scene.keypoints_2d, atol=0.01)
    shapes = [points - points.mean(axis=0) for points in (found.world_landmarks, scene.world_landmarks)]
    np.testing.assert_allclose(shapes[0] / shapes[0].std(), shapes[1] / shapes[1].std(), atol=1e-3)
    made = tool.provenance()
    assert made.versions == {"mediapipe": "0.10.21"}
    assert "it is no MANO regression" in made.notes[0]
    (in_box,) = tool(PICTURE, (Detection(points_box(found.keypoints_2d) + [-20, -30, 40, 10]),))
    np.testing.assert_array_equal(in_box.keypoints_2d, found.keypoints_2d)


def test_landmarks_in_space_as_chosen() -> None:
    record = json.loads(TUMBLER.read_text())["mediapipe"][0]
    world = np.array(record["world_landmarks_m"])
    found = MediaPipe(landmarks=str(TUMBLER), landmarks_3d="world")(PICTURE, ())[0]
    np.testing.assert_array_equal(found.world_landmarks, world)
    pictured = MediaPipe(landmarks=str(TUMBLER), landmarks_3d="pictured")(PICTURE, ())[0].world_landmarks
    assert pictured is not None
    pixels, depth = np.array(record["landmarks_px"]), np.array(record["landmarks_rel_z_px"])
    np.testing.assert_array_equal(pictured, pictured_landmarks(pixels, depth, world))
    np.testing.assert_allclose(pictured.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(pictured.std(), (world - world.mean(axis=0)).std())
    # One factor from the picture: nothing is turned or stretched.
    factor = (pictured[5] - pictured[0]) / np.append(pixels[5] - pixels[0], depth[5] - depth[0])
    np.testing.assert_allclose(factor, factor[0])
    with pytest.raises(ConfigError, match="landmarks_3d: expected clearer, world, pictured, got best"):
        MediaPipe(landmarks_3d="best")


def test_records_that_mean_nothing(tmp_path: Path) -> None:
    record = json.loads(TUMBLER.read_text())
    path = tmp_path / "landmarks.json"
    hand = record["mediapipe"][0]
    cases: dict[str, Any] = {
        "expected landmarks of this picture, 640 x 480, got of 10 x 10": record | {"size": [10, 10]},
        "expected a hand, found none": record | {"mediapipe": []},
        "expected landmarks of this picture, 640 x 480, got of none": record | {"size": None},
        "expected a list of hands for each crop": record | {"crops": None},
        "a list of hands for each crop under crops": record | {"crops": [3]},
        "expected a list under mediapipe": {"tumbler": record},
        "expected a mediapipe_label": record | {"mediapipe": [hand | {"mediapipe_label": "right"}]},
        "expected a mediapipe_label Left or Right": record | {"mediapipe": [hand | {"mediapipe_label": {}}]},
        r"of shape \(21, 2\) in landmarks_px": record | {"mediapipe": [hand | {"landmarks_px": [[1, 2]]}]},
    }
    for words, content in cases.items():
        path.write_text(json.dumps(content))
        fails(words, MediaPipe(landmarks=str(path)), PICTURE, ())
    path.write_text(json.dumps(record | {"crops": [[], []]}))
    box = Detection(np.array([1.0, 1.0, 9.0, 9.0]))
    fails("expected 1 crops, one per box, got 2", MediaPipe(landmarks=str(path)), PICTURE, (box,))
    fails("expected an entry cup, got size", MediaPipe(landmarks=str(TUMBLER), entry="cup"), PICTURE, ())
    fails("as JSON, got none", MediaPipe(landmarks=str(tmp_path / "none.json")), PICTURE, ())
    far = Detection(np.array([0.0, 0, 50, 50]))
    fails(r"expected a hand in box \[0, 0, 50, 50\], found none", MediaPipe(landmarks=str(TUMBLER)), PICTURE, (far,))
    path.write_text(json.dumps({"tumbler": record}))
    assert MediaPipe(landmarks=str(path), entry="tumbler", landmarks_3d="world")(PICTURE, ())[0].side == "right"


@pytest.fixture
def python_without_mediapipe(tmp_path: Path) -> str:
    """An interpreter with our packages, in which MediaPipe cannot be imported, whether it is installed or not."""
    folder = tmp_path / "without mediapipe"
    venv.create(folder)
    places = {"base": str(folder), "platbase": str(folder)}
    packages, programs = (Path(sysconfig.get_path(name, "venv", places)) for name in ("purelib", "scripts"))
    (packages / "ours.pth").write_text(str(Path(np.__file__).parents[1]))
    (packages / "mediapipe.py").write_text("raise ImportError('not for this test')")
    return str(programs / Path(sys.executable).name)


def test_without_mediapipe_the_line_installs_it(monkeypatch: pytest.MonkeyPatch, python_without_mediapipe: str) -> None:
    monkeypatch.delenv("FGS_MEDIAPIPE_PYTHON", raising=False)
    with pytest.raises(BridgeUnavailable, match=r"expected the option python.*pip install mediapipe==0\.10\.21"):
        MediaPipe()(PICTURE, ())
    fails(
        "mediapipe: .*status 1.*cannot be imported.*pip install mediapipe==0.10.21",
        MediaPipe(python_without_mediapipe),
        PICTURE,
        (),
    )
    fails("mediapipe: .*cannot be started", MediaPipe("/no/python"), PICTURE, ())


@pytest.mark.skipif(
    not os.environ.get("FGS_MEDIAPIPE_PYTHON"),
    reason="$FGS_MEDIAPIPE_PYTHON is not set: docs/bridges/hands.md says how to install MediaPipe",
)
def test_mediapipe_finds_the_recorded_hand() -> None:
    image = load_scene(SCENE).image
    assert image is not None
    recorded = MediaPipe(landmarks=str(TUMBLER))(image, ())[0]
    assert recorded.keypoints_2d is not None and recorded.world_landmarks is not None
    box = Detection(points_box(recorded.keypoints_2d))
    for hands in ((), (box,)):
        (found,) = MediaPipe()(image, hands)
        assert found.side == "right"
        assert found.keypoints_2d is not None and found.world_landmarks is not None
        np.testing.assert_allclose(found.keypoints_2d, recorded.keypoints_2d, atol=0.05)
        np.testing.assert_allclose(found.world_landmarks, recorded.world_landmarks, atol=1e-3)
    fails("found none", MediaPipe(), PICTURE, ())
