"""Sampled views: which pixels they look at, and that they draw what the host's z-buffer draws."""

import jax
import numpy as np
import pytest

from fgs_jax.picture.masks import iou, mask_box
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.view import (
    ROUGH_VIEW_SIDE,
    VIEW_SIDE,
    Similarity,
    masked_iou_of_pose,
    masked_ious,
    picture_view,
    silhouette_in,
    view_shapes,
)
from tests.mug_scene import mug_scene, rendered_mug


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


def test_the_view_samples_the_masks(scene):
    view = picture_view(scene)
    column, row = np.floor(np.asarray(view.pixels)).astype(int).T
    inside = (row >= 0) & (column >= 0) & (row < 160) & (column < 160)
    row, column = np.clip(row, 0, 159), np.clip(column, 0, 159)
    np.testing.assert_array_equal(view.in_mask, scene.object_mask[row, column] & inside)
    np.testing.assert_array_equal(view.counted, ~scene.hand_mask[row, column] & inside)


def test_the_view_is_half_as_large_again_as_the_object(scene):
    """In steps of whole pixels, about the middle of its mask's box."""
    left, top, right, bottom = mask_box(scene.object_mask)
    for side in (ROUGH_VIEW_SIDE, VIEW_SIDE):
        pixels = np.asarray(picture_view(scene, side=side).pixels).reshape(side, side, 2)
        across, down = pixels[-1, -1] - pixels[0, 0]
        stride = pixels[0, 1, 0] - pixels[0, 0, 0]
        assert across == down == (side - 1) * stride and stride == round(stride)
        wanted = 1.5 * max(right - left, bottom - top)
        assert wanted - 1 <= side * stride < max(wanted + side, side + 1)
        np.testing.assert_allclose(pixels.mean(axis=(0, 1)), [(left + right) / 2, (top + bottom) / 2], atol=1.5)


def test_views_are_compiled_for_the_shapes_that_come(scene):
    def shapes(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    for side in (ROUGH_VIEW_SIDE, VIEW_SIDE):
        assert shapes(view_shapes(side)) == shapes(picture_view(scene, side=side))


def test_the_true_pose_fills_the_mask_and_a_scaled_one_is_drawn_as_the_host_draws_it(scene):
    truth = rendered_mug().T_camera_object
    true = Similarity(truth[:3, :3], truth[:3, 3], np.float64(0.0))
    assert masked_iou_of_pose(scene, true) == 1.0
    larger = true._replace(log_scale=np.log(1.3), translation=truth[:3, 3] + [0.01, 0.0, 0.05])
    vertices = 1.3 * scene.object.vertices @ larger.rotation.T + larger.translation
    height, width = scene.object_mask.shape
    drawn = np.isfinite(depth_map(scene.camera, (width, height), vertices, scene.object.faces)) & ~scene.hand_mask
    assert masked_iou_of_pose(scene, larger) == iou(drawn, scene.object_mask & ~scene.hand_mask) < 0.9
    view = picture_view(scene)
    column, row = np.floor(np.asarray(view.pixels)).astype(int).T
    inside = (row >= 0) & (column >= 0) & (row < height) & (column < width)
    by_host = np.zeros(len(row), bool)
    by_host[inside] = drawn[row[inside], column[inside]]
    assert iou(silhouette_in(view, larger), by_host) > 0.98  # of a simplified mesh
    both = Similarity(*(np.stack(parts) for parts in zip(true, larger, strict=True)))
    expected = [iou(silhouette_in(view, pose), np.asarray(view.in_mask)) for pose in (true, larger)]
    np.testing.assert_array_equal(masked_ious(view, both), expected)
