"""nearest: against its definition, on both kinds of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.objects.neighbours import nearest, nearest_at_once, nearest_in_turn
from tests.lowered import loops, lowered, sizes
from tests.reference import distance as reference


@pytest.mark.parametrize(("queries", "targets", "dimensions"), [(50, 37, 3), (40, 513, 2), (9, 1, 3), (1, 2, 2)])
def test_nearest_is_the_least_distance(rng, queries, targets, dimensions):
    a, b = rng.normal(size=(queries, dimensions)), rng.normal(size=(targets, dimensions))
    index = np.asarray(nearest(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)))
    squared = reference.nearest_squared(a, b)
    assert index.shape == (queries,) and (index >= 0).all() and (index < targets).all()
    # The index stands in the lowest bits of the squared distance.
    chosen, least = squared[np.arange(queries), index], squared.min(axis=1)
    np.testing.assert_array_less(chosen, least * (1 + 4 * targets / 2**23) + 1e-12)


@pytest.mark.parametrize("targets", [2, 3, 4, 5, 9, 17, 65])
def test_nearest_has_room_for_the_last_index(rng, targets):
    """2^k targets fill k bits, and one more needs another."""
    points = jnp.asarray(rng.normal(size=(targets, 3)), jnp.float32)
    np.testing.assert_array_equal(nearest(points, points), np.arange(targets))


def test_nearest_tells_apart_what_differs_by_a_share_of_the_targets():
    """Of 64 targets one whose square is 64 / 2^23 of itself less, by a third more, and not the first of the two."""
    targets = jnp.full((64, 1), 9.0).at[3].set(np.sqrt(1 + 1e-5)).at[5].set(1.0)
    assert nearest(jnp.zeros((1, 1)), targets)[0] == 5


def test_nearest_takes_one_of_duplicates_and_finds_itself(rng):
    points = jnp.asarray(rng.normal(size=(300, 3)), jnp.float32)
    np.testing.assert_array_equal(nearest(points, points), np.arange(300))
    twice = jnp.concatenate([points, points])
    np.testing.assert_array_equal(nearest(points, twice) % 300, np.arange(300))


# -nan is what 0 / 0 gives on x86.
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_nearest_never_takes_a_target_that_is_not_finite(rng, bad):
    targets = rng.normal(size=(20, 3)).astype(np.float32)
    queries = targets + np.float32(1e-3)
    targets[::2, 1] = bad
    index = np.asarray(jax.jit(nearest)(jnp.asarray(queries), jnp.asarray(targets)))
    np.testing.assert_array_equal(index, np.nanargmin(reference.nearest_squared(queries, targets), axis=1))


def test_nearest_has_no_gradient_and_makes_no_product_array(rng):
    queries, targets = jnp.asarray(rng.normal(size=(101, 3))), jnp.asarray(rng.normal(size=(211, 3)))
    assert max(sizes(lowered(nearest, queries, targets, platform="cpu"))) == 211 * 3

    def total(x, y):
        return (y[nearest(x, y)] ** 2).sum() + (0 * x).sum()

    grads = jax.grad(total, argnums=(0, 1))(queries, targets)
    np.testing.assert_array_equal(grads[0], 0)
    chosen = np.bincount(np.asarray(nearest(queries, targets)), minlength=211)
    np.testing.assert_allclose(grads[1], 2 * targets * chosen[:, None], rtol=1e-6)


def test_other_devices_find_the_nearest_without_a_loop_and_find_the_same(rng):
    queries, targets = (jnp.asarray(rng.normal(size=(4, size, 3)), jnp.float32) for size in (101, 211))
    targets = targets.at[:, 3].set(jnp.nan)
    forms = [jax.jit(jax.vmap(form))(queries, targets) for form in (nearest_in_turn, nearest_at_once)]
    np.testing.assert_array_equal(*forms)
    assert loops(lowered(jax.vmap(nearest), queries, targets, platform="cpu")) == 1
    assert loops(lowered(jax.vmap(nearest), queries, targets, platform="cuda")) == 0


def test_nearest_alone_is_as_in_a_batch(rng):
    queries, targets = (jnp.asarray(rng.normal(size=(4, size, 3)), jnp.float32) for size in (30, 60))
    together = jax.jit(jax.vmap(nearest))(queries, targets)
    for row in range(4):
        np.testing.assert_array_equal(together[row], nearest(queries[row], targets[row]))
