"""Disturbed inputs differ from the truth by what was asked for and by nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from fgs_jax.picture.render import pixels_of
from fgs_jax.results.metrics import Surface, signed_distances
from fgs_jax.testing import transformed, true_grasp
from fgs_jax.testing.inputs import Disturbance, camera_of_view, disturbed_grasp, disturbed_scene
from fgs_jax.testing.scenes import from_afar, picture_grasp

SIZE = (160, 160)


@pytest.fixture(scope="module")
def grasp():
    return true_grasp("small_box", 0)


@pytest.fixture(scope="module")
def rendered(grasp):
    shape = grasp.name, grasp.object_vertices, grasp.object_faces
    return picture_grasp(shape, grasp.params, camera_of_view(50.0, SIZE), SIZE, np.random.default_rng(0))


def given(rendered, **disturbance) -> Any:
    return disturbed_scene(rendered, Disturbance(**disturbance), seed=3)[0]


def test_a_pictured_grasp_is_the_grasp(grasp, rendered):
    in_camera = transformed(grasp.hand_vertices, rendered.T_camera_object)
    assert np.abs(in_camera - rendered.hand_vertices).max() < 1e-5
    assert rendered.hand_mask.any() and rendered.object_mask.any()


def test_afar_nothing_but_the_depth_changes(rendered):
    afar = from_afar(rendered)
    ratio = afar.T_camera_object[2, 3] / rendered.T_camera_object[2, 3]
    assert ratio == pytest.approx(5000 / 256 * 160 / float(rendered.camera.focal[0]), rel=1e-5)
    assert_allclose(afar.T_camera_object[:3, :3], rendered.T_camera_object[:3, :3])


def test_without_a_disturbance_all_is_exact(rendered):
    scene = given(rendered)
    assert_array_equal(scene.keypoints_2d, pixels_of(rendered.camera, rendered.hand_keypoints.astype(float)))
    assert_array_equal(scene.object_mask, rendered.object_mask)
    assert_array_equal(scene.hand_mask, rendered.hand_mask)
    assert_allclose(scene.object.vertices, rendered.object_vertices)
    assert scene.world_landmarks is None and scene.object.size == "metric"


def test_noise_is_of_the_size_asked_for_and_grows_along_one_draw(rendered):
    exact = given(rendered).keypoints_2d
    three, six = (given(rendered, pixels=pixels).keypoints_2d - exact for pixels in (3.0, 6.0))
    assert_allclose(six, 2 * three, atol=1e-9)
    assert 2 < three.std() < 4


def test_tips_and_knuckles_lie_in_the_flesh(rendered):
    keypoints = rendered.hand_keypoints.astype(float)
    biased = given(rendered, into_flesh=True, landmarks=0.0).world_landmarks
    off = np.linalg.norm(biased - (keypoints - keypoints.mean(axis=0)), axis=1)
    expected = np.zeros(21)
    expected[4::4], expected[1::4] = 0.005, 0.004
    assert_allclose(off, expected, atol=1e-9)
    noisy = given(rendered, landmarks=0.01).world_landmarks - given(rendered, landmarks=0.0).world_landmarks
    assert 0.007 < noisy.std() < 0.013


def test_masks_shrink_grow_and_are_bitten(rendered):
    true = rendered.object_mask
    eroded, dilated, bitten = (given(rendered, masks=kind) for kind in ("eroded", "dilated", "bitten"))
    assert 0 < eroded.object_mask.sum() < true.sum() and not (eroded.object_mask & ~true).any()
    assert not (bitten.object_mask & ~true).any() and 0 < bitten.object_mask.sum() < 0.95 * true.sum()
    assert dilated.object_mask.sum() > true.sum() and not (true & ~dilated.object_mask).any()
    for scene in (eroded, dilated, bitten):
        assert not (scene.object_mask & scene.hand_mask).any()


def test_a_degraded_mesh_is_off_by_millimetres_and_an_unknown_size_by_a_factor(rendered):
    surface = Surface(rendered.object_vertices, rendered.object_faces)
    off = np.abs(signed_distances(surface, given(rendered, mesh="degraded").object.vertices))
    assert 0.0003 < off.mean() < 0.002 and off.max() < 0.006
    scene, factor = disturbed_scene(rendered, Disturbance(size="unknown"), seed=3)
    assert scene.object.size == "unknown" and factor != 1
    assert_allclose(scene.object.vertices, factor * rendered.object_vertices)


def test_a_disturbed_grasp_is_off_by_the_deviations_of_its_name(grasp):
    still = disturbed_grasp(grasp.params, 0, share=0.0)
    assert_allclose(still.rotation, grasp.params.rotation, atol=1e-6)
    assert_allclose(still.translation, grasp.params.translation)
    params = replace(grasp.params, rotation=np.zeros(3, np.float32))
    many = [disturbed_grasp(params, seed) for seed in range(300)]
    moved = np.array([each.translation for each in many]) - np.asarray(params.translation)
    turned = Rotation.from_rotvec(np.array([each.rotation for each in many])).magnitude()
    bent = np.array([each.pose for each in many]) - np.asarray(params.pose)
    assert moved.std() == pytest.approx(0.01, rel=0.1)
    assert np.rad2deg(np.sqrt((turned**2).mean())) == pytest.approx(10, rel=0.15)
    assert bent.std() == pytest.approx(0.1, rel=0.05)


def test_a_view_of_90_degrees_has_the_focal_length_of_half_its_side():
    camera = camera_of_view(90.0, (320, 240))
    assert_allclose(camera.focal, 160, rtol=1e-6)
    assert_allclose(camera.principal, [160, 120])
