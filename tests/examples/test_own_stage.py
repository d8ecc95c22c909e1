"""The example of a stage of one's own: what it does to the hand before contact, and what contact makes of it."""

import jax.numpy as jnp
import numpy as np
import pytest

from examples.own_stage import BEND, QUICK, main
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import joint_angles

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def results():
    return main()


def bends(result, when):
    pose = jnp.asarray((result.before, result.after)[when].hand.pose)
    return np.asarray(joint_angles(load_hand_model(QUICK.hand_model), pose))[:12, 2]


def test_the_fingers_are_closed_before_contact_and_stay_more_closed(results):
    without, closed = results["without"], results["with"]
    np.testing.assert_allclose(bends(closed, 0) - bends(without, 0), BEND, atol=1e-4)
    assert (bends(closed, 1) > bends(without, 1)).sum() >= 8, "the picture pulls them back, not all the way"
    np.testing.assert_array_equal(closed.poses.rotation, without.poses.rotation)
    assert closed.notes == (*without.notes, "fingers: closed")
    assert list(closed.seconds) == ["hand", "scale", "object pose", "close fingers", "contact", "metrics"]


def test_the_grasp_is_as_good(results):
    for result in results.values():
        assert result.metrics[1]["mpd_mm"] < 2 and result.metrics[1]["fingers_in_contact"] >= 3
