import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial import ConvexHull

from fgs_jax.objects.solid import convex_hull
from fgs_jax.stages.scale import align, box_ratio, hull_volume, volume_ratio


@pytest.fixture
def clouds(rng):
    """Points of a hand-sized and of an object-sized cloud, far from the origin, and the faces of their hulls."""
    hand = rng.normal(size=(60, 3)) * 0.05 + np.array([0.1, -0.2, 0.7])
    thing = rng.normal(size=(80, 3)) * 0.3
    return hand, convex_hull(hand), thing, convex_hull(thing)


def test_boxes_and_volumes_by_hand():
    assert box_ratio(jnp.array([0.0, 0.0, 20.0, 10.0]), jnp.array([5.0, 5.0, 10.0, 15.0])) == pytest.approx(2.0)
    # A box's place does not matter: 20 by 10 and 5 by 10 again, far from the corner of the picture.
    assert box_ratio(jnp.array([3.0, 7.0, 23.0, 17.0]), jnp.array([40.0, 30.0, 45.0, 40.0])) == pytest.approx(2.0)
    assert volume_ratio(jnp.asarray(8.0), jnp.asarray(1.0)) == pytest.approx(2.0)


def test_volume_equals_scipy(clouds):
    for vertices, faces in (clouds[:2], clouds[2:]):
        volume = hull_volume(jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
        assert volume == pytest.approx(ConvexHull(vertices).volume, rel=1e-5)


def test_a_known_scale_comes_back(clouds):
    """Where picture and space agree (boxes of one depth), an object made 7 times too small gets the factor 7."""
    hand, hand_faces, thing, thing_faces = (jnp.asarray(x) for x in clouds)
    boxes = jnp.array([0.0, 0.0, 30.0, 30.0]), jnp.array([0.0, 0.0, 60.0, 60.0])
    k3D = np.cbrt(ConvexHull(clouds[0]).volume / ConvexHull(clouds[2]).volume)
    for shrink in (1.0, 7.0):
        result = align(*boxes, (hand, hand_faces), (thing / shrink, thing_faces))
        assert result.k2D == pytest.approx(0.5) and result.k3D == pytest.approx(k3D * shrink, rel=1e-5)
        assert result.k_scale == pytest.approx(2 * k3D * shrink, rel=1e-5)


def test_is_differentiable_and_batched(x64, clouds):
    hand, hand_faces, thing, thing_faces = clouds

    def k_scale(hand, thing, box):
        other = jnp.array([0.0, 0.0, 30.0, 20.0])
        hand, thing, box = (jnp.asarray(x) for x in (hand, thing, box))
        return align(box, other, (hand, jnp.asarray(hand_faces)), (thing, jnp.asarray(thing_faces))).k_scale

    box = jnp.array([3.0, 4.0, 50.0, 60.0])
    check_grads(k_scale, (jnp.asarray(hand), jnp.asarray(thing), box), order=1, modes=("fwd", "rev"), rtol=1e-6)
    boxes = jnp.stack([box, box * 2])
    together = jax.vmap(k_scale, (None, None, 0))(jnp.asarray(hand), jnp.asarray(thing), boxes)
    np.testing.assert_allclose(together, [k_scale(jnp.asarray(hand), jnp.asarray(thing), b) for b in boxes])
    assert together[1] == pytest.approx(float(together[0]) / 2)
