"""Rendered scenes are what they say."""

import igl
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.camera import project
from fgs_jax.picture.render import depth_map
from fgs_jax.results.metrics import masked_iou
from fgs_jax.testing import SHAPES, as_scene, make_scene, of_unknown_size, rotation_error, transformed
from fgs_jax.testing.scenes import OBJECT_VISIBLE


@pytest.fixture(scope="module")
def scenes():
    return {name: make_scene(name, 0) for name in list(SHAPES)[::2]}


def test_masks_show_what_is_nearer(scenes):
    for scene in scenes.values():
        width, height = scene.size
        assert scene.object_mask.shape == scene.hand_mask.shape == (height, width)
        assert scene.object_mask.dtype == scene.hand_mask.dtype == bool
        assert not (scene.object_mask & scene.hand_mask).any()
        both = np.isfinite(scene.hand_depth) & np.isfinite(scene.object_depth)
        assert (scene.object_mask[both] == (scene.object_depth < scene.hand_depth)[both]).all()
        either = np.isfinite(scene.hand_depth) | np.isfinite(scene.object_depth)
        assert ((scene.object_mask | scene.hand_mask) == either).all()


def test_scenes_are_as_large_and_as_hidden_as_asked(scenes):
    hidden = []
    for scene in scenes.values():
        assert scene.object_mask.sum() >= 300
        assert OBJECT_VISIBLE[0] <= scene.object_visible <= OBJECT_VISIBLE[1]
        drawn = scene.object_mask | scene.hand_mask
        assert not drawn[[0, -1]].any() and not drawn[:, [0, -1]].any()
        side = max(np.ptp(np.argwhere(drawn), axis=0)) / max(scene.size)
        assert 0.3 < side < 0.75
        assert 0.3 < scene.T_camera_object[2, 3] < 1.1
        hidden.append(scene.hand_visible < 0.99)
    assert np.mean(hidden) >= 0.5


def test_the_true_pose_gives_the_visible_mask(scenes):
    for scene in scenes.values():
        placed = transformed(scene.object_vertices, scene.T_camera_object)
        rendered = np.isfinite(depth_map(scene.camera, scene.size, placed, scene.object_faces))
        assert masked_iou(rendered, scene.object_mask, scene.hand_mask) == 1.0
        shifted = np.isfinite(depth_map(scene.camera, scene.size, placed + [0.02, 0, 0], scene.object_faces))
        assert masked_iou(shifted, scene.object_mask, scene.hand_mask) < 0.9


def test_masked_iou_leaves_out_the_hand():
    rendered, seen, hand_mask = np.zeros((3, 4, 6), bool)
    rendered[:, :4] = True  # columns 0 to 3
    seen[:, 1:2], seen[:, 4:5] = True, True
    hand_mask[:, 2:4] = True
    # Outside the hand's columns 2 and 3: rendered 0, 1; seen 1, 4.
    assert masked_iou(rendered, seen, hand_mask) == pytest.approx(1 / 3)
    assert masked_iou(np.zeros_like(seen), np.zeros_like(seen), hand_mask) == 0


def test_the_parameters_give_the_hand(scenes):
    model = load_hand_model("open_hand")
    for scene in scenes.values():
        posed = jax.jit(hand)(model, scene.hand_params)
        np.testing.assert_allclose(posed.vertices, scene.hand_vertices, atol=1e-6)
        np.testing.assert_allclose(posed.keypoints, scene.hand_keypoints, atol=1e-6)
        placed = transformed(scene.object_vertices, scene.T_camera_object)
        assert (
            np.abs(igl.signed_distance(scene.hand_vertices.astype(float), placed, scene.object_faces)[0]).min() < 5e-3
        )


def test_the_same_seed_gives_the_same_scene_and_another_seed_another(scenes):
    again, other = make_scene("can", 0), make_scene("can", 1)
    same = scenes["can"]
    np.testing.assert_array_equal(again.T_camera_object, same.T_camera_object)
    np.testing.assert_array_equal(again.object_mask, same.object_mask)
    jax.tree.map(np.testing.assert_array_equal, again.hand_params, same.hand_params)
    assert rotation_error(other.T_camera_object[:3, :3], same.T_camera_object[:3, :3]) > 1


def test_the_border_cuts_the_object_where_asked():
    scene = make_scene(SHAPES["box"](), 3, size=(200, 160), cut=True)
    mask, (width, height) = scene.object_mask, scene.size
    assert mask.shape == (160, 200)
    assert mask[[0, -1]].any() or mask[:, [0, -1]].any()
    pixels = np.asarray(project(scene.camera, jnp.asarray(transformed(scene.object_vertices, scene.T_camera_object))))
    assert ((pixels < 0) | (pixels > [width, height])).any()


def test_hamers_focal_length_shows_the_same_from_far_away(scenes):
    near, far = scenes["mug"], make_scene("mug", 0, hamer_focal=True)
    np.testing.assert_allclose(far.camera.focal, 5000 / 256 * 320)
    ratio = far.camera.focal[0] / near.camera.focal[0]
    np.testing.assert_allclose(far.T_camera_object[2, 3], ratio * near.T_camera_object[2, 3], rtol=1e-6)
    np.testing.assert_allclose(far.T_camera_object[:3, :3], near.T_camera_object[:3, :3])
    centres = [np.asarray(project(s.camera, jnp.asarray(s.T_camera_object[None, :3, 3]))) for s in (near, far)]
    np.testing.assert_allclose(centres[0], centres[1], atol=1e-2)
    in_object = [s.hand_vertices - s.T_camera_object[:3, 3] for s in (near, far)]
    np.testing.assert_allclose(in_object[0], in_object[1], atol=1e-5)
    assert 0.6 < masked_iou(far.object_mask, near.object_mask, np.zeros_like(near.hand_mask)) < 1


KNOWN = {
    "can": (
        [[0.4062, 0.6185, -0.6727, -0.0928], [0.3085, 0.6001, 0.738, 0.0594], [0.8601, -0.5073, 0.0529, 0.4823]],
        (5110, 3853),
    ),
    "mug": (
        [[-0.9292, 0.0592, -0.3648, 0.093], [0.1758, 0.939, -0.2956, 0.0408], [0.325, -0.3388, -0.8829, 0.3964]],
        (7236, 6099),
    ),
}
"""T_camera_object without its last row, and the pixels of object and hand."""


@pytest.mark.parametrize("name", KNOWN)
def test_a_seed_s_scene_stays_what_it_was(scenes, name):
    """Results that were published for a seed can be made again."""
    scene, (pose, pixels) = scenes[name], KNOWN[name]
    np.testing.assert_allclose(scene.T_camera_object[:3], pose, atol=1e-3)
    np.testing.assert_allclose([scene.object_mask.sum(), scene.hand_mask.sum()], pixels, rtol=0.01)


def test_as_scene_is_what_the_stages_take(scenes):
    truth = scenes["can"]
    by_keypoints = as_scene(truth, "unknown", 2.0)
    assert by_keypoints.object.size == "unknown" and by_keypoints.hand_vertices is None
    np.testing.assert_allclose(np.ptp(by_keypoints.object.vertices, axis=0), 2 * np.ptp(truth.object_vertices, axis=0))
    seen = np.asarray(project(truth.camera, jnp.asarray(truth.hand_keypoints)))
    assert by_keypoints.keypoints_2d is not None
    np.testing.assert_allclose(by_keypoints.keypoints_2d, seen, atol=1 / 2048 + 1e-9)
    by_mesh = as_scene(truth, hand="mesh")
    assert by_mesh.keypoints_2d is None
    assert by_mesh.hand_vertices is not None
    np.testing.assert_array_equal(by_mesh.hand_vertices, truth.hand_vertices)
    for scene in (by_keypoints, by_mesh):
        np.testing.assert_array_equal(scene.object_mask, truth.object_mask)
        assert scene.image is not None and scene.image.shape == (*truth.object_mask.shape, 3)


def test_a_size_that_is_not_known_is_the_mesh_times_the_factor(scenes):
    scene = as_scene(scenes["can"])
    scaled, factor = of_unknown_size(scene, 3)
    assert scaled.object.size == "unknown" and 0.01 <= factor <= 100 and abs(factor - 1) > 0.1
    np.testing.assert_allclose(scaled.object.vertices, factor * scene.object.vertices)
    assert of_unknown_size(scene, 3)[1] == factor != of_unknown_size(scene, 4)[1]
