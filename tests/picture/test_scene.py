"""Scenes: mirrored, with gaps filled, and with a posed hand where one is asked for."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from fgs_jax.errors import SceneError
from fgs_jax.hands.files import load_hand_model, mirror_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene, camera_from_matrix, mirrored, without_gaps
from fgs_jax.picture.scene_checks import check_scene
from tests.picture.scenes import HEIGHT, WIDTH, M, assert_same, bare, rectangle, single, with_gaps, with_matrices


def test_an_unposed_hand_is_named(scene):
    with pytest.raises(SceneError, match="expected a posed hand, got none: pose the hand first"):
        bare(scene).posed_hand()
    vertices, faces = scene.posed_hand()
    assert vertices is scene.hand_vertices
    assert faces is scene.hand_faces


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
    up, gravity = np.array([0.5, 1.0, 0.0]), np.array([0.25, 1.0, -0.5])
    assert turned.object_up is None and turned.gravity is None
    turned = mirrored(replace(scene, object_up=up, gravity=gravity))
    np.testing.assert_array_equal(turned.object_up, M * up)
    np.testing.assert_array_equal(turned.gravity, M * gravity)


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
