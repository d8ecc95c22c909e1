"""What holds a grasp to its picture, keypoints and the order of hand and object: against twins and by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from fgs_jax.energies.image import E_keypoint, E_order, Order
from tests.reference import contact as twin

keypoint_term = jax.jit(E_keypoint)


def test_the_keypoint_term_equals_its_twin(rng):
    seen = rng.uniform(0, 300, size=(21, 2)).astype(np.float32)
    pixels = (seen + rng.normal(size=(21, 2)) * 5).astype(np.float32)
    all_seen, some = np.ones(21), np.where(np.arange(21) % 3, rng.uniform(0.2, 1, 21), 0)
    one, none = np.eye(21)[4], np.zeros(21)
    for confidence in (all_seen, some, one, none):
        ours = keypoint_term(jnp.asarray(pixels), jnp.asarray(seen), jnp.asarray(confidence, jnp.float32))
        np.testing.assert_allclose(ours, twin.E_keypoint(pixels, seen, confidence), rtol=1e-4)
    np.testing.assert_allclose(
        keypoint_term(jnp.asarray(pixels), jnp.asarray(seen)), twin.E_keypoint(pixels, seen, all_seen), rtol=1e-4
    )
    # A box of less than a pixel counts as one, one of a pixel and a half as it is.
    for shrink in (0.005, 0.001):
        small, small_seen = ((shrink * array).astype(np.float32) for array in (pixels, seen))
        ours = keypoint_term(jnp.asarray(small), jnp.asarray(small_seen))
        np.testing.assert_allclose(ours, twin.E_keypoint(small, small_seen, all_seen), rtol=1e-4)
    # A keypoint that was not seen may be anywhere, and is not in the box.
    unseen = seen.copy()
    unseen[some == 0] = np.nan
    unseen[0] = 1e6
    value, gradient = jax.jit(jax.value_and_grad(E_keypoint))(
        jnp.asarray(pixels), jnp.asarray(unseen), jnp.asarray(some, jnp.float32)
    )
    np.testing.assert_allclose(value, twin.E_keypoint(pixels, seen, some), rtol=1e-4)
    assert np.isfinite(gradient).all() and (np.asarray(gradient)[some == 0] == 0).all()


def test_one_keypoint_says_as_much_as_one_of_21_and_one_elsewhere_does_not_draw_the_hand():
    seen = jnp.zeros((21, 2))
    one = jnp.where(jnp.arange(21) == 8, 1.0, 0.0)
    off = seen.at[8, 0].set(10.0)
    # Ten pixels of a hand of two hundred, whether the others were seen right or not at all.
    for confidence in (one, jnp.ones(21)):
        value = keypoint_term(off, seen, confidence, jnp.asarray(200.0))
        np.testing.assert_allclose(value, (10 / 200) ** 2 / 21, rtol=1e-5)
    pull = jax.jit(jax.grad(lambda x: E_keypoint(seen.at[8, 0].set(x), seen, one, jnp.asarray(200.0))))
    np.testing.assert_allclose([pull(18.0), pull(1000.0)], 2 * 0.09 / 200 / 21, rtol=1e-4)


def test_the_keypoint_term_does_not_depend_on_the_picture_s_size(rng):
    seen, pixels = rng.uniform(50, 300, size=(21, 2)), rng.uniform(50, 300, size=(21, 2))
    small, large = (
        keypoint_term(jnp.asarray(k * pixels, jnp.float32), jnp.asarray(k * seen, jnp.float32)) for k in (1, 8)
    )
    np.testing.assert_allclose(small, large, rtol=1e-5)


def test_the_order_equals_its_twin(rng):
    depth = rng.uniform(0.4, 0.6, size=50).astype(np.float32)
    front, back = (np.where(rng.random(50) < 0.5, rng.uniform(0.4, 0.6, 50), 0).astype(np.float32) for _ in range(2))
    ours = E_order(jnp.asarray(depth), Order(jnp.asarray(front), jnp.asarray(back)))
    np.testing.assert_allclose(ours, twin.E_order(depth, front, back), rtol=1e-5)
    # Before the front, and behind the back, nothing is wrong; nor where the picture says nothing.
    right = Order(jnp.array([0.5, 0.0, 0.0]), jnp.array([0.0, 0.5, 0.0]))
    assert E_order(jnp.array([0.4, 0.6, 9.0]), right) == 0
    np.testing.assert_allclose(E_order(jnp.array([0.53, 0.45, 9.0]), right), 0.08, rtol=1e-5)
