"""The benchmark's shapes are solid, its scenes are what they say, and its measures give known values."""

import igl
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

pytest.importorskip("manifold3d", reason="the benchmark's shapes need manifold3d: pip install manifold3d")

from benchmarks.scenes import OBJECT_VISIBLE, add_s, diameter, make_scene, rotation_error, transformed
from benchmarks.shapes import ASYMMETRIC, SHAPES
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.camera import project
from fgs_jax.picture.render import depth_map
from fgs_jax.results.metrics import masked_iou

SIZES = {  # mm, smallest side of the bounding box first
    "mug": (82, 95, 118),
    "bottle": (72, 72, 240),
    "can": (66, 66, 123),
    "phone": (12, 72, 148),
    "hammer": (30, 136, 312),
    "scissors": (12, 105, 215),
    "wine_glass": (82, 82, 200),
    "box": (65, 90, 130),
    "bowl": (65, 146, 146),
    "pan": (59, 210, 382),
    "spray_bottle": (59, 104, 258),
    "camera": (86, 93, 130),
    "tumbler": (77, 77, 200),
}


@pytest.fixture(scope="module")
def scenes():
    return {name: make_scene(name, 0) for name in list(SHAPES)[::2]}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_one_solid_of_a_real_size(name):
    vertices, faces = SHAPES[name]()
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert 500 <= len(faces) <= 4000
    np.testing.assert_allclose(np.sort(mesh.extents) * 1000, SIZES[name], atol=1)
    assert 0.05 * mesh.convex_hull.volume < mesh.volume <= mesh.convex_hull.volume
    np.testing.assert_allclose(mesh.center_mass, 0, atol=0.005)


@pytest.mark.parametrize("name", SHAPES)
def test_asymmetric_shapes_are_those_that_no_turn_brings_back(name):
    """Where a shape is like itself after any turn, it is so after half a turn about one of its principal axes."""
    vertices, faces = SHAPES[name]()
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    distances = []
    for axis in np.linalg.eigh(mesh.moment_inertia)[1].T:
        turned = Rotation.from_rotvec(np.pi * axis).apply(vertices - mesh.center_mass) + mesh.center_mass
        distances.append(np.sqrt(np.max(igl.point_mesh_squared_distance(turned, vertices, faces)[0])))
    if name in ASYMMETRIC:
        assert min(distances) > 0.002
    else:
        assert min(distances) < 1e-4


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


def test_add_s_of_a_known_shift():
    grid = np.stack(np.meshgrid(*3 * [np.arange(5) * 0.1]), axis=-1).reshape(-1, 3)
    truth, shifted, turned = np.eye(4), np.eye(4), np.eye(4)
    truth[:3, 3] = [0.1, -0.2, 0.7]
    truth[:3, :3] = Rotation.from_rotvec([0.3, -1.0, 0.2]).as_matrix()
    assert add_s(grid, truth, truth) == 0
    shifted[:3, :3], shifted[:3, 3] = truth[:3, :3], truth[:3, 3] + [0, 0.03, 0]
    np.testing.assert_allclose(add_s(grid, shifted, truth), 0.03, atol=1e-9)
    one_cell = truth @ _translation(0.1, 0, 0)
    np.testing.assert_allclose(add_s(grid, one_cell, truth), 0.1 / 5, atol=1e-9)
    # A quarter turn about the middle brings a cube back.
    turned[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    about_the_middle = truth @ _translation(0.2, 0.2, 0.2) @ turned @ _translation(-0.2, -0.2, -0.2)
    np.testing.assert_allclose(add_s(grid, about_the_middle, truth), 0, atol=1e-9)
    np.testing.assert_allclose(rotation_error(about_the_middle[:3, :3], truth[:3, :3]), 90)


def _translation(*offset):
    T = np.eye(4)
    T[:3, 3] = offset
    return T


def test_diameter_of_a_box():
    np.testing.assert_allclose(diameter(trimesh.creation.box((0.1, 0.2, 0.2)).vertices), 0.3)


def test_masked_iou_leaves_out_the_hand():
    rendered, seen, hand_mask = np.zeros((3, 4, 6), bool)
    rendered[:, :4] = True  # columns 0 to 3
    seen[:, 1:2], seen[:, 4:5] = True, True
    hand_mask[:, 2:4] = True
    # Outside the hand's columns 2 and 3: rendered 0, 1; seen 1, 4.
    assert masked_iou(rendered, seen, hand_mask) == pytest.approx(1 / 3)
    assert masked_iou(np.zeros_like(seen), np.zeros_like(seen), hand_mask) == 0
