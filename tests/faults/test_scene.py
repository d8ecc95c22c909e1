"""Scenes that were taken for what they are not."""

import json
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgs_bridges.segment import read_mask
from fgs_jax.cli import main
from fgs_jax.config_files import load_config
from fgs_jax.errors import BridgeError, ConfigError, HandednessWarning, SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.picture.scene import mirrored
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.stages.hand_in_picture import pose_hand
from tests.faults.conftest import TUMBLER


@pytest.fixture
def checked(capsys):
    """`checked(folder)`: the exit status and the error of `fgs scene check`, which are those of `fgs refine`."""

    def both(folder: Path) -> tuple[int, str]:
        found = []
        for words in (["scene", "check", str(folder)], ["refine", str(folder), "--out", str(folder.parent / "out")]):
            status = main(words)
            found.append((status, capsys.readouterr().err))
        assert found[0] == found[1]
        return found[0]

    return both


def test_mask_cutout_rgba(fault, checked):
    folder = fault("mask-cutout-rgba", TUMBLER)
    truth = load_scene(TUMBLER).object_mask
    found = load_scene(folder / "scene_cutout")
    assert found.object_mask.sum() == 25_495
    np.testing.assert_array_equal(found.object_mask, truth)
    np.testing.assert_array_equal(read_mask(str(folder / "scene_cutout" / "object_mask.png")), truth)
    status, line = checked(folder / "scene_on_black")
    assert status == 2
    assert "came a picture and no mask" in line and "give its alpha" in line
    assert line.count("\n") == 1
    with pytest.raises(BridgeError, match="came a picture and no mask"):
        read_mask(str(folder / "scene_on_black" / "object_mask.png"))


def test_exif_scene_picture(fault):
    folder = fault("exif-scene-picture", TUMBLER)
    upright = load_scene(TUMBLER)
    assert upright.image is not None
    for orientation in (3, 6):
        found = load_scene(folder / f"scene_orientation_{orientation}")
        assert found.image is not None
        assert found.image.shape == upright.image.shape
        assert np.abs(found.image.astype(int) - upright.image).mean() < 3
        assert np.abs(found.image[::-1, ::-1].astype(int) - upright.image).mean() > 20


def test_keypoints_normalised(fault, checked):
    folder = fault("keypoints-normalised", TUMBLER)
    for name, advice in (("scene_0_to_1", "shares of its width and height"), ("scene_of_crop", "of a crop")):
        status, line = checked(folder / name)
        assert status == 2
        assert "keypoints_2d: expected pixels of this picture of 640 x 480, got 0 of 21" in line and advice in line
        assert line.count("\n") == 1


def test_camera_normalised(fault, checked):
    folder = fault("camera-normalised", TUMBLER)
    for name, focal in (("scene_focal_over_width", "0.875"), ("scene_focal_mm", "4.25")):
        status, line = checked(folder / name)
        assert status == 2
        assert f"got focal lengths of [{focal}" in line and "in a picture of 640 x 480: K is in pixels" in line
        assert line.count("\n") == 1


def copied(tmp_path: Path) -> Path:
    """The example scene without its hashes."""
    folder = tmp_path / "scene"
    shutil.copytree(TUMBLER, folder)
    meta = json.loads((folder / "scene.json").read_text())
    del meta["files"]
    (folder / "scene.json").write_text(json.dumps(meta))
    return folder


def test_json_duplicate_key(tmp_path, checked):
    folder = copied(tmp_path)
    text = (folder / "scene.json").read_text()
    (folder / "scene.json").write_text(f'{text.rstrip()[:-1]},"side":"left"}}')
    status, line = checked(folder)
    assert status == 2
    assert "the key 'side' is there twice" in line
    assert line.count("\n") == 1


def test_yaml_deep_traceback(tmp_path):
    (tmp_path / "c.yaml").write_text("[" * 5000)
    with pytest.raises(ConfigError, match=r"c\.yaml: expected YAML, got values nested deeper than 64") as caught:
        load_config(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["image.png", "object_mask.png", "arrays.npz", "scene.json", "object_image.png"])
def test_fifo_hangs(tmp_path, name):
    folder = copied(tmp_path)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(SceneError, match=f"{name}: expected this file, came a pipe"):
        load_scene(folder)


def test_left_hand_note_says_right():
    """A doubt names the side that the user said, whichever frame it is found in."""
    model, given = load_hand_model("open_hand"), load_scene(TUMBLER)
    in_the_mirror = mirrored(replace(given, side="left"))
    for side, expected in (("left", "speak against a left hand"), (None, "speak against a right hand")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pose_hand(in_the_mirror, model, side)
        [said] = [str(each.message) for each in caught if issubclass(each.category, HandednessWarning)]
        assert said.startswith(f"the keypoints {expected} (evidence 0.20, expected at least 1.5): ")
