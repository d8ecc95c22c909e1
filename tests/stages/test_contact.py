"""Which poses contact begins from, what step two takes over from step one, and which vertices the picture shows."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.config import FAST_CONTACT, PAPER_CONTACT
from fgs_jax.hands.files import load_hand_model
from fgs_jax.picture.camera import project
from fgs_jax.stages.contact import ContactSettings, begin_poses, vertices_seen
from fgs_jax.testing import as_scene
from fgs_jax.types import Camera
from tests.small_scene import rendered
from tests.stages.contact_scenes import ball_scene


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


def begun(problem, starts, key, config):
    """Step one of each start, and step two's beginning in both of its valleys."""
    static, numbers = config.split()
    lanes = starts, jax.random.split(key, len(starts.scale))
    return begin_poses(ContactSettings(static, False), (problem, numbers), lanes)


def test_a_second_lane_is_the_other_valley_or_starts_half_open(model):
    """Of a ball far beside the hand, where there is one valley only, and of one that the hand passes through."""
    problem, start = ball_scene(model, 1, 0)
    start = replace(start, hand=replace(start.hand, pose=jnp.full((15, 3), 0.1)))
    starts = jax.tree.map(lambda x: jnp.stack([x, x]), start)
    starts = replace(starts, translation=starts.translation.at[0, 0].add(1.0))
    first, searching = begun(problem, starts, jax.random.key(0), FAST_CONTACT)
    np.testing.assert_array_equal(first.distinct, [False, True])
    np.testing.assert_allclose(
        searching.search.state.pose, np.array([0.1, 0.05, 0.1, 0.1])[:, None, None] * np.ones((15, 3))
    )
    # The hand that E_h holds on to is as it was seen in all of them.
    np.testing.assert_array_equal(searching.start.hand.pose, np.full((4, 15, 3), np.float32(0.1)))
    np.testing.assert_array_equal(searching.start.hand.scale, np.asarray(first.factor).ravel())
    assert first.factor[0, 0] == first.factor[0, 1] and first.factor[1, 0] != first.factor[1, 1]


def test_both_steps_of_the_paper_s_form_pull_the_same_points_and_no_key_is_used_twice(model):
    problem, start = ball_scene(model, 1, 0)
    starts = jax.tree.map(lambda x: jnp.stack([x] * 2), start)
    config = replace(PAPER_CONTACT, steps_one=2)
    with jax.debug_key_reuse(True):
        first, searching = begun(problem, starts, jax.random.key(0), config)
    drawn = np.asarray(first.contacts.vertex)
    assert drawn.shape == (2, 2, 4) and (np.asarray(model.regions)[drawn] >= 0).all()
    np.testing.assert_array_equal(searching.contacts.vertex, drawn.reshape(4, 4))
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    assert not np.array_equal(drawn[0, 0], drawn[1, 0]), "each pose draws its own"


@pytest.fixture(scope="module")
def truth():
    return rendered()


@pytest.fixture(scope="module")
def scene(truth):
    return as_scene(truth)


def test_the_picture_says_which_vertices_it_shows(scene, truth):
    vertices, faces = np.asarray(truth.hand_vertices, float), np.asarray(truth.hand_faces)
    seen = vertices_seen(scene, vertices, faces)
    assert set(np.unique(seen)) == {-1, 0, 1}
    column, row = np.floor(np.asarray(project(truth.camera, jnp.asarray(vertices, jnp.float32)))).astype(int).T
    np.testing.assert_array_equal(seen == -1, scene.object_mask[row, column])
    shown = np.flatnonzero(seen == 1)
    assert scene.hand_mask[row[shown], column[shown]].all()
    # The rest of a pixel that a vertex shares may lie deeper or nearer: nine in ten agree.
    behind = vertices[:, 2] - truth.hand_depth[row, column]
    assert np.mean(np.abs(behind[shown]) < 0.007) > 0.9
    hidden = scene.hand_mask[row, column] & (seen == 0)
    assert np.mean(behind[hidden] > 0.007) > 0.9 and hidden.sum() > 300


def test_vertices_near_a_mask_s_border_say_nothing(scene):
    """A picture whose left half shows the hand and whose right half the object: they meet at 100, nothing ends at 0."""
    column, row = (axis.ravel() + 0.25 for axis in np.meshgrid(np.arange(1, 200, 3), np.arange(1, 200, 3)))
    vertices = np.stack([(column - 100) / 100, (row - 100) / 100, np.ones(len(row))], axis=1)
    left = np.broadcast_to(np.arange(200) < 100, (200, 200))
    camera = Camera(jnp.full(2, 100.0), jnp.full(2, 100.0))
    halves = replace(scene, camera=camera, hand_mask=left, object_mask=~left, image=None)
    border = 0.05 * np.ptp(column)
    assert 9 < border < 10.1
    for share, width in ((0.0, 0.0), (0.05, border)):
        seen = vertices_seen(halves, vertices, np.array([[0, 1, 2]]), share)
        expected = np.where(column + width < 100, 1, np.where(column - width >= 100, -1, 0))
        np.testing.assert_array_equal(seen, expected)
