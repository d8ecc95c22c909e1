"""What holds a pose to a natural one, near the one that was seen, its fingers apart: against twins and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.energies.pose import LEAST_KEYPOINT_DISTANCE, E_h, E_prior, E_spen
from tests.energies.surfaces import FINGER
from tests.reference import contact as twin

self_penetration = jax.jit(E_spen)


def test_the_prior_equals_its_twin(rng):
    angles, mean, std = rng.normal(size=(15, 3)), rng.normal(size=(15, 3)), rng.uniform(0.1, 1, size=(15, 3))
    limited, limits = rng.normal(size=(5, 2)), np.stack([np.full((5, 2), -0.5), np.full((5, 2), 0.7)], axis=-1)
    ours = [jnp.asarray(x, jnp.float32) for x in (angles, mean, std, limited, limits)]
    np.testing.assert_allclose(E_prior(*ours), twin.E_prior(angles, mean, std, limited, limits), rtol=1e-5)
    np.testing.assert_allclose(E_prior(*ours[:3]), twin.E_prior(angles, mean, std), rtol=1e-5)
    assert twin.E_prior(angles, mean, std, limited, limits) > twin.E_prior(angles, mean, std) + 1


def test_the_prior_is_zero_at_the_mean_and_within_the_limits():
    mean, std = jnp.array([0.1, -0.2]), jnp.array([0.5, 0.1])
    limits = jnp.array([[-1.0, 1.0], [-0.2, 0.0]])  # the second lies exactly on its limit
    value, gradient = jax.value_and_grad(lambda x: E_prior(x, mean, std, x, limits))(mean)
    np.testing.assert_allclose(value, 0.0, atol=2e-6)
    np.testing.assert_array_equal(gradient, 0.0)
    np.testing.assert_allclose(E_prior(mean + std * jnp.array([3.0, 4.0]), mean, std), 5.0, rtol=1e-5)
    beyond = E_prior(mean, mean, std, jnp.array([1.5, -0.5]), limits)
    np.testing.assert_allclose(beyond, 0.5 + 0.3, rtol=1e-5)
    for one in ({"limited": mean}, {"limits": limits}):
        with pytest.raises(ValueError, match="expected limited and limits, or neither, got one of them"):
            E_prior(mean, mean, std, **one)


def test_self_penetration_equals_its_twin(rng):
    keypoints = (rng.normal(size=(21, 3)) * 0.012).astype(np.float32)
    keypoints[7], keypoints[12] = keypoints[20], keypoints[3]  # of other fingers
    for finger in (FINGER, np.zeros(21, int), np.arange(21) - 3):
        expected = twin.E_spen(keypoints, finger)
        np.testing.assert_allclose(
            self_penetration(jnp.asarray(keypoints), jnp.asarray(finger)), expected, rtol=1e-3, atol=1e-7
        )
    assert twin.E_spen(keypoints, FINGER) > 0.1 and twin.E_spen(keypoints, np.zeros(21, int)) == 0
    assert self_penetration(jnp.zeros((1, 3)), jnp.zeros(1, int)) == 0


def test_self_penetration_is_lowest_where_fingers_are_apart():
    finger = jnp.array([0, 0, 1, 1])

    def of_distance(d):
        return self_penetration(
            jnp.array([[0.0, 0, 0], [0.03, 0, 0], [0.0, 1, 0], [0.03, 1, 0]]) * jnp.stack([1, d, 1])[None], finger
        )

    energies = np.array([of_distance(jnp.asarray(d)) for d in (0.0, 0.005, 0.01, 0.015, 0.018, 0.02, 0.05)])
    np.testing.assert_allclose(
        energies, 2 * np.maximum(0.018 - np.array([0, 5, 10, 15, 18, 20, 50]) / 1e3, 0), atol=1e-5
    )
    assert (np.diff(energies[:5]) < 0).all() and (energies[4:] < 1e-8).all()
    assert jax.grad(of_distance)(jnp.asarray(0.01)) < 0, "the way down is apart"


def test_self_penetration_of_a_similar_hand_is_as_much_larger(rng):
    keypoints = jnp.asarray(rng.normal(size=(21, 3)) * 0.012, jnp.float32)
    whole = self_penetration(keypoints, jnp.asarray(FINGER), LEAST_KEYPOINT_DISTANCE)
    for k in (0.4, 1.7):
        similar = self_penetration(k * keypoints, jnp.asarray(FINGER), k * LEAST_KEYPOINT_DISTANCE)
        np.testing.assert_allclose(similar, k * whole, rtol=1e-4)
        assert abs(self_penetration(k * keypoints, jnp.asarray(FINGER)) - k * whole) > 0.1 * whole


def test_self_penetration_is_symmetric(rng):
    keypoints, order = rng.normal(size=(21, 3)).astype(np.float32) * 0.01, rng.permutation(21)
    expected = self_penetration(jnp.asarray(keypoints), jnp.asarray(FINGER))
    shuffled = self_penetration(jnp.asarray(keypoints[order]), jnp.asarray(FINGER[order]))
    np.testing.assert_allclose(shuffled, expected, rtol=1e-5)
    mirrored = self_penetration(jnp.asarray(keypoints * [-1, 1, 1], jnp.float32), jnp.asarray(FINGER))
    np.testing.assert_allclose(mirrored, expected, rtol=1e-5)
    gradient = jax.grad(E_spen)(jnp.asarray(keypoints), jnp.asarray(FINGER))
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-4)


def test_the_hand_stays_as_it_was_seen(rng):
    pose, given, t, t_given = (rng.normal(size=shape).astype(np.float32) for shape in ((16, 3), (16, 3), 3, 3))
    ours = E_h(*(jnp.asarray(x) for x in (pose, given, t, t_given)))
    np.testing.assert_allclose(ours, twin.E_h(pose, given, t, t_given), rtol=1e-5)
    assert E_h(*(jnp.asarray(x) for x in (pose, pose, t, t))) == (0.0, 0.0)
