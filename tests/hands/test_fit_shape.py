"""Keypoints of other proportions than the model's: what is fitted to them is a hand, of their size."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from fgs_jax.errors import HandShapeWarning
from fgs_jax.hands.carry import carry_over
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.fit import fit_hand
from fgs_jax.hands.fit_shape import bounded, growth_by_shape, shape_prior, size_of
from fgs_jax.hands.mano import hand_keypoints
from fgs_jax.testing import natural_hands, other_bones, other_fingers, shape_report


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


@jax.jit
@partial(jax.vmap, in_axes=(None, 0, 0))
def space_program(model, keypoints, confidence):
    """The one of tests/hands/test_fit.py."""
    return fit_hand(model, keypoints_3d=keypoints, confidence=confidence)


def fit_in_space(model, keypoints):
    """Fits in blocks of 64, the last of them filled with the first hands."""
    blocks = np.resize(keypoints, (-(-len(keypoints) // 64), 64, 21, 3)).astype(np.float32)
    fits = [space_program(model, jnp.asarray(block), jnp.ones((64, 21))) for block in blocks]
    return jax.tree.map(lambda *x: jnp.concatenate(x)[: len(keypoints)], *fits)


@pytest.mark.parametrize("count", [32, pytest.param(200, marks=pytest.mark.long)])
def test_skeletons_of_other_proportions_give_hands(model, count):
    """No beta beyond 3, the volume of a hand of this size, no face turned inside out."""
    rng = np.random.default_rng(5)
    fits = fit_in_space(model, np.concatenate([other(model, rng, count) for other in (other_bones, other_fingers)]))
    report, scale = shape_report(model, fits.params), fits.params.scale
    print(f"scale {scale.min():.2f} to {scale.max():.2f}", {k: (v.min(), v.max()) for k, v in report._asdict().items()})
    assert report.beta.max() <= 3
    np.testing.assert_allclose(report.volume, 1, atol=0.15)
    np.testing.assert_allclose(report.volume_of_size, 1, atol=0.15)
    np.testing.assert_array_equal(report.turned_faces, 0)
    bones, fingers = np.split(1e3 * np.asarray(fits.error_3d), 2)
    print(f"mean error {bones.mean():.2f} mm where bones differ, {fingers.mean():.2f} mm where fingers do")
    assert bones.mean() < 4.5 and fingers.mean() < 1.6


def test_a_child_and_a_giant_are_the_mean_hand_in_another_size(model):
    hands = natural_hands(model, np.random.default_rng(6), 2)
    sizes = jnp.array([0.6, 1.4])
    hands = replace(hands, betas=jnp.zeros((2, 10)), scale=sizes)
    fits = fit_in_space(model, jax.jit(jax.vmap(hand_keypoints, (None, 0)))(model, hands))
    np.testing.assert_allclose(fits.params.scale, sizes, rtol=0.02)
    assert np.abs(fits.params.betas).max() < 0.4 and fits.error_3d.max() < 5e-4


def test_parameters_of_a_model_of_other_proportions_stay_a_hand(model):
    rng = np.random.default_rng(7)
    params = jax.tree.map(lambda x: x[0], natural_hands(model, rng, 1))
    posed = hand_keypoints(model, replace(params, betas=jnp.zeros(10)))
    wild = (posed - posed[:1]) * jnp.asarray(1 + 0.2 * rng.normal(size=(21, 1)), jnp.float32) * 1.1
    with pytest.warns(HandShapeWarning, match="refitted"):
        found = carry_over(model, params, wild)
    report = shape_report(model, jax.tree.map(lambda x: jnp.asarray(x)[None], found))
    assert report.beta < 3 and 0.95 < float(found.scale) < 1.25
    assert abs(report.volume - 1) < 0.15 and report.turned_faces == 0


def test_what_shapes_do_to_size_and_volume(model):
    size, volume = np.asarray(growth_by_shape(model))
    closed = np.concatenate([model.faces, model.cap_faces])
    joints, vertices = (np.asarray(x, float) for x in (model.joint_template, model.v_template))
    joint_moves, moves = (np.asarray(x, float) for x in (model.joint_shapedirs, model.shapedirs))
    tips, step = np.asarray(model.tip_vertex_ids), 1e-3

    def measured(beta, k):
        points = np.concatenate([joints + beta * joint_moves[..., k], (vertices + beta * moves[..., k])[tips]])
        spread = np.sqrt((np.linalg.norm(points - points[0], axis=1) ** 2).sum())
        solid = trimesh.Trimesh(vertices + beta * moves[..., k], closed, process=False)
        return np.log([spread, solid.volume])

    for k in range(10):
        expected = (measured(step, k) - measured(-step, k)) / (2 * step)
        np.testing.assert_allclose([size[k], volume[k]], expected, atol=2e-5)
    np.testing.assert_allclose([size[0], volume[0]], [0.06, 0.145], atol=1e-3)


def test_the_prior_of_shapes_by_hand():
    growth = jnp.array([[0.06, 0.0, 9.0], [0.15, 0.05, 9.0]])  # of three directions; two are fitted
    found = shape_prior(jnp.array([0.5, 1.5]), jnp.array([1.0, 2.0, -1.0]), growth, jnp.asarray(3.0))
    doubt, grown = 5.0, np.sqrt(24.03)  # the roots of 1 + 8 * 3 and of 0.03 + 8 * 3
    size, volume = 0.06 * 0.5 / 0.012, (0.15 * 0.5 + 0.05 * 1.5) / 0.05
    np.testing.assert_allclose(found, 0.35 * np.array([doubt, 2 * doubt, grown * size, grown * volume, -1]), rtol=1e-5)
    np.testing.assert_allclose(bounded(jnp.array([0.0, 0.01, 3.0, -300.0])), [0, 0.01, 3 * np.tanh(1), -3], rtol=1e-4)
    np.testing.assert_allclose(size_of(jnp.asarray(-2.0)), np.exp(-0.4), rtol=1e-6)
