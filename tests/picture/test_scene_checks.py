"""Scenes and matrices of cameras without an answer are refused in a line."""

import inspect
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.errors import SceneError
from fgs_jax.picture.masks import mask_box
from fgs_jax.picture.scene import camera_from_matrix
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.types import Camera
from tests.mug_scene import mug_scene


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


def test_camera_from_matrix():
    camera = camera_from_matrix(np.array([[500.0, 0, 64], [0, 510, 48], [0, 0, 1]]), integer_centres=True)
    np.testing.assert_allclose(camera.focal, [500, 510])
    np.testing.assert_allclose(camera.principal, [64.5, 48.5])
    assert mask_box(np.pad(np.ones((2, 3), bool), ((4, 5), (6, 7)))) == (6, 4, 9, 6)


def bad(scene, **changes):
    """A copy with changed fields, past the shape hook of these tests, which users do not have."""
    copy = replace(scene)
    for name, change in changes.items():
        object.__setattr__(copy, name, change(getattr(scene, name)))
    return copy


def far_corner(mask):
    other = np.zeros_like(mask)
    other[:6, :6] = True
    return other


BAD_SCENES = [
    ({"object_mask": np.zeros_like}, "object_mask: expected visible pixels of the object, got none"),
    ({"hand_mask": np.zeros_like}, "hand_mask: expected visible pixels of the hand, got none"),
    ({"object_mask": lambda m: m[:-1]}, "hand_mask: expected the size of the picture"),
    ({"object_mask": lambda m: m.astype(np.uint8)}, r"object_mask: expected booleans of shape \(h, w\), got uint8"),
    ({"object_mask": lambda m: m & (np.cumsum(m).reshape(m.shape) < 10)}, "expected at least 30 pixels, got 9"),
    ({"object_mask": far_corner}, "expected boxes that meet"),
    ({"image": lambda _: np.zeros((80, 80, 3), np.uint8)}, r"expected the size of the picture, \(80, 80\), got \(160"),
    ({"hand_vertices": lambda v: v * np.nan}, "hand_vertices: expected finite numbers"),
    ({"hand_vertices": lambda v: -v}, "hand_vertices: expected a hand before the camera"),
    (
        {"camera": lambda c: Camera(c.focal * jnp.nan, c.principal)},
        "camera: expected finite numbers and positive focal",
    ),
    ({"camera": lambda c: Camera(c.focal * 0, c.principal)}, "camera: expected finite numbers and positive focal"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_SCENES)
def test_a_scene_without_an_answer_is_refused_in_one_line(scene, changes, message):
    with pytest.raises(SceneError, match=message) as caught:
        inspect.unwrap(check_scene)(bad(scene, **changes))
    assert "\n" not in str(caught.value)


def test_identical_masks_are_refused(scene):
    with pytest.raises(SceneError, match="are identical: expected the visible part of each"):
        check_scene(replace(scene, hand_mask=scene.object_mask))


@pytest.mark.parametrize(
    ("K", "message"),
    [
        (np.diag([0.0, 500, 1]), "positive focal lengths"),
        (np.full((3, 3), np.nan), "positive focal lengths"),
        (np.array([[500.0, 3, 64], [0, 500, 48], [0, 0, 1]]), "undistort the picture"),
        (np.array([[500.0, 0, 64], [0, 500, 48], [0, 0, 0]]), "undistort the picture"),
    ],
)
def test_a_matrix_that_is_no_camera_is_refused(K, message):
    with pytest.raises(SceneError, match=message) as caught:
        camera_from_matrix(K)
    assert "\n" not in str(caught.value)
