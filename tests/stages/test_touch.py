"""How likely each region touches: beside the outline, along the line of sight, within the object, without vertices."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from fgs_jax.config import FAST_CONTACT
from fgs_jax.energies.terms import PlacedObject
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import mano_kind
from fgs_jax.objects.surfaces import SignedDistance
from fgs_jax.stages.touch import touch_probabilities

RADIUS, DEPTH = 0.03, 0.5
CONFIG = replace(FAST_CONTACT, across_sigma=0.004, along_sigma=0.008)


def to_ball(coordinates):
    return jnp.linalg.norm(coordinates, axis=1) - RADIUS


def without_gradient(coordinates):
    return jnp.where(coordinates[:, 0] == 0, jnp.sqrt(coordinates[:, 0] * 0.0) + 0.01, 1.0)


def placed(function):
    place = jnp.array([0.0, 0.0, DEPTH]), jnp.ones(()), jnp.zeros((1, 3))
    return PlacedObject(SignedDistance.from_function(function), jnp.eye(3), *place)


def kind_of(regions, count):
    fingers = jnp.zeros(len(regions), jnp.int32)
    kind = mano_kind(load_hand_model("open_hand"))
    return replace(kind, regions=jnp.asarray(regions), finger_of_vertex=fingers, region_count=count)


likely = jax.jit(touch_probabilities, static_argnums=3)
VERTICES = jnp.array(
    [
        [RADIUS + 0.01, 0.0, DEPTH],  # a centimetre beside the outline
        [0.0, 0.0, DEPTH - RADIUS - 0.01],  # a centimetre before it
        [0.0, 0.0, DEPTH - RADIUS - 0.05],  # of the same region, farther away
        [0.0, 0.0, DEPTH + RADIUS - 0.002],  # within, at the back
        [0.0, 0.0, DEPTH],  # of no region
    ]
)


def test_what_is_seen_beside_the_object_does_not_touch_and_what_may_be_nearer_perhaps():
    found = likely(kind_of([0, 1, 1, 2, -1], 4), VERTICES, placed(to_ball), CONFIG)
    # The line of sight grazes the ball there, 5 degrees off the tangent.
    along = ((RADIUS + 0.01) / np.hypot(RADIUS + 0.01, DEPTH)) ** 2
    beside = np.sqrt((1 - along) * 0.004**2 + along * 0.008**2)
    expected = [norm.cdf(-0.006 / beside), norm.cdf(-0.006 / 0.008), norm.cdf(0.006 / 0.008), 0.0]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[0] < 0.08 and found[1] > 0.2


def test_without_uncertainty_or_a_gradient_every_region_touches():
    certain = replace(CONFIG, across_sigma=0.0, along_sigma=0.0)
    np.testing.assert_array_equal(
        likely(kind_of([0, 1, 1, 2, -1], 4), VERTICES, placed(to_ball), certain), [1, 1, 1, 0]
    )
    assert np.isnan(jax.grad(lambda x: without_gradient(x[None])[0])(jnp.zeros(3))).any()
    np.testing.assert_array_equal(
        likely(kind_of([0, 0, 0, 0, 0], 1), VERTICES, placed(without_gradient), CONFIG), [1.0]
    )


def test_a_vertex_without_a_distance_is_in_no_region():
    vertices = VERTICES.at[0].set(jnp.nan)
    found = likely(kind_of([0, 1, 1, 2, -1], 3), vertices, placed(to_ball), CONFIG)
    np.testing.assert_allclose(found, np.array([0.0, norm.cdf(-0.75), norm.cdf(0.75)]), rtol=1e-4)
    beside_others = likely(kind_of([1, 1, 1, 2, -1], 3), vertices, placed(to_ball), CONFIG)
    np.testing.assert_array_equal(beside_others, found)
