"""Scenes that a person wrote: cameras, hand parameters, keypoints not found, photos with an orientation."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fgs_jax.errors import SceneError
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.types import HandParams
from tests.picture.scenes import HEIGHT, WIDTH, assert_same, written


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


def test_which_way_up_by_hand(by_hand):
    folder, meta = by_hand
    found = load_scene(written(folder, meta))
    assert found.object_up is None and found.gravity is None
    for up, expected in (("y", [0, 1, 0]), ("-z", [0, 0, -1]), ([0, 2, 1], [0, 2, 1])):
        meta["object"]["up"] = up
        np.testing.assert_array_equal(load_scene(written(folder, meta)).object_up, expected)
    found = load_scene(written(folder, meta | {"gravity": [0.5, 1, 0]}))
    np.testing.assert_array_equal(found.gravity, [0.5, 1, 0])
    with pytest.raises(SceneError, match=r"gravity: expected x, .* or three numbers .*, came \[0, 0, 0\]: correct it"):
        load_scene(written(folder, meta | {"gravity": [0, 0, 0]}))
    for up in ("upwards", [0, 1], [0, 0, 0], ["a", "b", "c"], [[0, 1, 0]]):
        meta["object"]["up"] = up
        with pytest.raises(SceneError, match='object: "up": expected x, y, z, -x, -y, -z or three numbers'):
            load_scene(written(folder, meta))
    meta["object"]["up"] = 3
    with pytest.raises(SceneError, match='object: expected an axis or a list as "up", came 3: correct it'):
        load_scene(written(folder, meta))


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
