"""Skeletons of other proportions differ as they say, and hands that are none are told."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand, hand_keypoints
from fgs_jax.testing import natural_hands, other_bones, other_fingers, shape_report

STARTS = np.array([0 if k % 4 == 1 else k - 1 for k in range(1, 21)])


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


def bones_of(keypoints):
    return keypoints[:, 1:] - keypoints[:, STARTS]


def mean_bones(model, seed, count):
    hands = natural_hands(model, np.random.default_rng(seed), count)
    keypoints = jax.jit(jax.vmap(hand_keypoints, (None, 0)))(model, replace(hands, betas=jnp.zeros((count, 10))))
    return bones_of(np.asarray(keypoints, float))


def test_other_bones_have_their_directions_and_other_lengths(model):
    expected, found = mean_bones(model, 3, 64), bones_of(other_bones(model, np.random.default_rng(3), 64))
    ratios = (found * expected).sum(axis=-1) / (expected**2).sum(axis=-1)
    np.testing.assert_allclose(found, ratios[:, :, None] * expected, atol=1e-9)
    assert ratios.shape == (64, 20)
    np.testing.assert_allclose([ratios.mean(), ratios.std()], [1, 0.12], atol=0.01)


def test_other_fingers_are_longer_as_a_whole_and_palms_wider(model):
    expected, found = mean_bones(model, 3, 64), bones_of(other_fingers(model, np.random.default_rng(3), 64))
    ratios = np.linalg.norm(found, axis=-1) / np.linalg.norm(expected, axis=-1)
    fingers = ratios.reshape(64, 5, 4)[:, :, 1:]
    np.testing.assert_allclose(np.abs(fingers - 1), 0.12, atol=1e-4)
    np.testing.assert_allclose(fingers, np.broadcast_to(fingers[:, :, :1], fingers.shape), atol=1e-4)
    widths = [np.linalg.norm(bones[:, 4] - bones[:, 16], axis=-1) for bones in (found, expected)]
    np.testing.assert_allclose(np.abs(widths[0] / widths[1] - 1), 0.12, atol=1e-4)


def test_a_report_of_hands_and_of_what_is_none(model):
    hands = natural_hands(model, np.random.default_rng(3), 64)
    betas = jnp.zeros((64, 10)).at[1, 0].set(-2.0).at[2].set(jnp.array([-10.0, -16, -8, 9, 9, 3, -6, -1, -2, -3]))
    hands = replace(hands, betas=betas, scale=jnp.linspace(0.6, 1.4, 64))
    report = shape_report(model, hands)
    np.testing.assert_array_equal(report.beta[:4], [0, 2, 16, 0])
    np.testing.assert_allclose(report.volume[3:], 1, atol=1e-6)
    np.testing.assert_array_equal(report.turned_faces[[0, 1, *range(3, 64)]], 0)
    assert report.turned_faces[2] > 100 and report.volume[2] < 0.5

    closed = np.concatenate([model.faces, model.cap_faces])
    posed = jax.jit(jax.vmap(hand, (None, 0)))
    small, mean = (posed(model, x).vertices[1] for x in (hands, replace(hands, betas=0 * betas)))
    volumes = [trimesh.Trimesh(x, closed, process=False).volume for x in (small, mean)]
    np.testing.assert_allclose(report.volume[1], volumes[0] / volumes[1], rtol=1e-4)
    flat = replace(hands, pose=jnp.tile(jnp.eye(3), (64, 15, 1, 1)), scale=jnp.ones(64))
    rest = [np.asarray(posed(model, x).keypoints[1]) for x in (flat, replace(flat, betas=0 * betas))]
    spreads = [np.linalg.norm(x - x.mean(axis=0)) for x in rest]
    np.testing.assert_allclose(report.volume_of_size[1], report.volume[1] * (spreads[1] / spreads[0]) ** 3, rtol=1e-4)
    assert report.volume[1] < 0.8 and spreads[0] < 0.9 * spreads[1]
