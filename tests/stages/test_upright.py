"""Which way up: of poses that look alike the one that stands is chosen where the scene says so, and no other."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from fgs_jax.picture.scene import mirrored
from fgs_jax.stages.hand_in_picture import see_hand
from fgs_jax.stages.refine import grasp_object, pose_object
from fgs_jax.stages.scale import size_object
from fgs_jax.testing import as_scene, make_scene
from tests.small_scene import SIZE, SMALL

KEY = jax.random.key(0)
AXES = {"up": np.array([0.0, 0.0, 1.0]), "down": np.array([0.0, 0.0, -1.0])}


@pytest.fixture(scope="module")
def truth():
    """A cube, which looks alike with any of its sides up; its z axis is up."""
    cube = trimesh.creation.box((0.06, 0.06, 0.06))
    return make_scene((np.asarray(cube.vertices), np.asarray(cube.faces)), 0, SIZE)


@pytest.fixture(scope="module")
def scene(truth):
    return replace(as_scene(truth), gravity=-truth.T_camera_object[:3, 2])


@pytest.fixture(scope="module")
def sized(scene):
    return size_object(see_hand(scene, SMALL, KEY), SMALL, KEY)


def leans(scene, rotation, up) -> float:
    """Degrees between the axis that should be up and what is."""
    return float(np.degrees(np.arccos(np.clip(rotation @ up @ -scene.gravity, -1, 1))))


def saying(state, up):
    return replace(state, scene=replace(state.scene, object_up=up))


@pytest.mark.parametrize("word", AXES)
def test_poses_that_stand_come_first(scene, sized, word):
    """Whichever of two opposite axes is said to be up, so that no pose could be right twice by chance."""
    poses = pose_object(saying(sized, AXES[word]), SMALL, KEY).poses
    assert leans(scene, poses.rotation[0], AXES[word]) < 20
    assert poses.masked_iou[0] > 0.9


def test_contact_chooses_the_pose_that_stands(scene, sized):
    """Of a cube and the same cube upside down, which share all energies and pixels."""
    state = pose_object(saying(sized, AXES["up"]), SMALL, KEY)
    over = Rotation.from_rotvec([np.pi, 0, 0]).as_matrix()
    fields = ("rotation", "translation", "scale", "masked_iou", "energy", "start")
    both = state.poses._replace(**{name: np.repeat(getattr(state.poses, name)[:1], 2, axis=0) for name in fields})
    both.rotation[1] = both.rotation[0] @ over
    state = replace(state, poses=both)
    lean = leans(scene, both.rotation[0], AXES["up"])
    found = {
        word: grasp_object(saying(state, AXES.get(word)), SMALL, KEY).candidates for word in ("up", "down", "nothing")
    }
    assert found["up"][0].pose == 0 and found["down"][0].pose == 1
    without = {(candidate.pose, candidate.valley): candidate.score for candidate in found["nothing"]}
    for candidate in found["up"]:
        # A spread of 30 degrees is worth .01 of masked IoU, and two or more .04: as if the mask were not met.
        degrees, behind = (lean, 0.0) if candidate.pose == 0 else (180 - lean, 1e4)
        expected = without[candidate.pose, candidate.valley] + SMALL.w_mask * 0.01 * min(degrees / 30, 2) ** 2 + behind
        assert candidate.score == pytest.approx(expected, rel=1e-6)


def test_a_left_hand_s_object_is_upright_in_the_mirror(scene):
    up = np.array([0.6, 0.0, 0.8])
    given = mirrored(replace(scene, object_up=up))
    assert given.side == "left" and given.object_up is not None and given.object_up[0] == -0.6
    seen = see_hand(given, SMALL, KEY).scene
    np.testing.assert_array_equal(seen.object_up, up)
    np.testing.assert_array_equal(seen.gravity, scene.gravity)


def test_gravity_alone_says_nothing(scene, sized):
    """To the bit: without the object's own word there is no upright pose."""
    with_gravity, without = (
        pose_object(replace(sized, scene=replace(sized.scene, gravity=gravity)), SMALL, KEY).poses
        for gravity in (scene.gravity, None)
    )
    for ours, expected in zip(jax.tree.leaves(with_gravity), jax.tree.leaves(without), strict=True):
        np.testing.assert_array_equal(ours, expected)
