"""Hands against the true ones, on numbers that can be worked out by hand."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from fgs_jax.errors import MeshError
from fgs_jax.results.metrics import (
    TRUTH_METRICS,
    Placed,
    contact_agreement,
    hand_size_ratio,
    keypoint_distance,
    keypoint_distance_about_wrist,
    keypoint_distance_aligned,
    keypoint_distance_in_object,
    object_distance,
    penetration_over_truth,
    touching_fingers,
    touching_vertices,
    truth_metrics,
)
from tests.results.metrics.shapes import TURN, box

HAND = np.random.default_rng(0).normal(size=(21, 3)) / 20


def pose(rotation=None, translation=(0.0, 0.0, 0.0), scale=1.0):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = scale * (np.eye(3) if rotation is None else rotation), translation
    return T


def test_keypoints_in_the_camera():
    """Two points off by 3-4-5 and by nothing."""
    found = np.array([[0.003, 0.004, 0.0], [1.0, 1.0, 1.0]])
    assert_allclose(keypoint_distance(found, np.array([[0, 0, 0], [1, 1, 1]])), 0.0025)


def test_the_wrist_carries_a_shift_away():
    """The second of three points is 2 cm farther from the wrist than it should be."""
    true = np.array([[0, 0, 0], [0.05, 0, 0], [0, 0.05, 0]])
    found = true + [1, 2, 3] + np.array([[0, 0, 0], [0.02, 0, 0], [0, 0, 0]])
    assert_allclose(keypoint_distance_about_wrist(found, true), 0.02 / 3)


def test_procrustes_undoes_a_similarity_and_no_mirror():
    assert_allclose(keypoint_distance_aligned(1.3 * HAND @ TURN.T + [1, 2, 3], HAND), 0, atol=1e-12)
    assert keypoint_distance_aligned(HAND * [1, 1, -1], HAND) > 0.005


def test_procrustes_leaves_what_no_similarity_undoes():
    """A square with sides 2, one diagonal's ends raised by h and the other's lowered: the best map is the flat one.

    True (±1, ±1, 0), found the same with z = ±h: the scale is 4 * 2 / (4 * (2 + h^2)), and each corner is off by
    sqrt(2 (1 - s)^2 + (s h)^2).
    """
    true = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]], float)
    h = 0.5
    s = 2 / (2 + h**2)
    found = true + np.array([[0, 0, h], [0, 0, -h], [0, 0, h], [0, 0, -h]])
    assert_allclose(keypoint_distance_aligned(found, true), math.sqrt(2 * (1 - s) ** 2 + (s * h) ** 2))


def test_points_without_an_extent_are_only_moved():
    assert_allclose(keypoint_distance_aligned(np.ones((4, 3)), np.zeros((4, 3))), 0, atol=1e-12)


def test_the_objects_frame():
    """Hand and object moved together are right; an object 1 cm off, with a right hand, is 1 cm wrong."""
    T = pose(TURN, (0.1, 0.2, 0.6))
    together = HAND @ TURN.T + [0.1, 0.2, 0.6]
    assert_allclose(keypoint_distance_in_object(together, HAND, T, np.eye(4)), 0, atol=1e-12)
    assert_allclose(keypoint_distance_in_object(HAND, HAND, pose(translation=(0, 0, 0.01)), np.eye(4)), 0.01)
    # An object found twice as large, the hand with it: on the object it is the same grasp.
    assert_allclose(keypoint_distance_in_object(2 * HAND, HAND, pose(scale=2.0), np.eye(4)), 0, atol=1e-12)


def test_a_symmetric_object_may_be_found_turned():
    """About its axis by one of its turns: nothing is wrong; about another axis it is."""
    quarters = Rotation.from_rotvec(np.arange(4)[:, None] * [0, 0, np.pi / 2]).as_matrix()
    poses = [pose(Rotation.from_euler(axis, 90, degrees=True).as_matrix()) for axis in "zx"]
    errors = [keypoint_distance_in_object(HAND, HAND, T, np.eye(4), quarters) for T in poses]
    assert_allclose(errors[0], 0, atol=1e-12)
    assert errors[1] > 0.02


def test_a_larger_hand():
    bent = HAND @ Rotation.from_euler("z", 40, degrees=True).as_matrix().T
    assert_allclose(hand_size_ratio(1.08 * bent + 1.0, HAND), 1.08)


def test_contact_of_vertices_and_fingers():
    """4 mm is the border, inside is contact; the palm is no finger."""
    distances = np.array([0.0039, 0.0041, -0.02, 0.1, 0.001])
    fingers = np.array([0, 1, 1, 2, -1])
    assert touching_vertices(distances).tolist() == [True, False, True, False, True]
    assert touching_fingers(distances, fingers).tolist() == [True, True, False, False, False]


def test_precision_recall_and_f1():
    """Three found, of which two are true; four are true: 2/3, 2/4, 2 * 2 / 7."""
    found = np.array([1, 1, 1, 0, 0], bool)
    true = np.array([1, 1, 0, 1, 1], bool)
    assert contact_agreement(found, true) == pytest.approx((2 / 3, 1 / 2, 4 / 7))
    nothing = np.zeros(5, bool)
    assert contact_agreement(nothing, true) == (None, 0.0, 0.0)
    assert contact_agreement(found, nothing) == (0.0, None, 0.0)
    assert contact_agreement(nothing, nothing) == (None, None, 1.0)


def test_penetration_against_the_truths_own():
    assert_allclose(penetration_over_truth(np.array([-0.005, 0.1]), np.array([0.0, -0.002])), 0.003)
    assert_allclose(penetration_over_truth(np.array([0.005, 0.1]), np.array([-0.002])), -0.002)


def test_add_s_does_not_ask_which_vertex_is_which():
    cube = box((0.2, 0.2, 0.2)).vertices
    turned = cube @ Rotation.from_euler("z", 90, degrees=True).as_matrix().T
    assert_allclose(object_distance(turned, cube), 0, atol=1e-12)
    assert_allclose(object_distance(cube + [0.01, 0, 0], cube), 0.01)


def test_all_in_one_table():
    """A box of 10 cm; in truth one vertex is 3 mm inside, one 3 mm outside, one far away. Found: all 2 mm higher."""
    surface, fingers = box((0.1,) * 3), np.array([0, 1, 2])
    vertices = np.array([[0, 0, 0.047], [0, 0, 0.053], [0, 0, 0.2]])
    T = pose(TURN, (0.0, 0.0, 0.5))
    true = Placed(vertices @ TURN.T + T[:3, 3], HAND @ TURN.T + T[:3, 3], T)
    up = 0.002 * TURN[:, 2]
    found = Placed(true.hand_vertices + up, true.keypoints + up, T)
    values = truth_metrics(found, true, surface, fingers)
    assert list(values) == list(TRUTH_METRICS)
    expected = {
        **{"camera_mm": 2, "wrist_mm": 0, "aligned_mm": 0, "object_mm": 2, "size_ratio": 1},
        **{"finger_precision": 1, "finger_recall": 0.5, "finger_f1": 2 / 3},
        **{"vertex_precision": 1, "vertex_recall": 0.5, "vertex_f1": 2 / 3},
        **{"penetration_mm": 1, "penetration_over_truth_mm": -2, "add_s_mm": 0},
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=1e-9), name


def test_a_found_size_counts_in_metres():
    """A box found twice as large: the skin 1 cm above its side is 1 cm away, not half of it."""
    surface = box((0.1,) * 3)
    placed = Placed(np.array([[0, 0, 0.11], [0, 0, 0.098]]), HAND, pose(scale=2.0))
    true = Placed(np.array([[0, 0, 0.06], [0, 0, 0.05]]), HAND, np.eye(4))
    assert truth_metrics(placed, true, surface)["penetration_mm"] == pytest.approx(2)
    assert truth_metrics(placed, true, surface)["finger_f1"] is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: keypoint_distance(HAND, HAND[:3]), "keypoints: expected two arrays"),
        (lambda: hand_size_ratio(HAND[:3], HAND[:3]), "expected 21"),
        (lambda: contact_agreement(np.ones(3, bool), np.ones(4, bool)), "of one shape"),
        (lambda: keypoint_distance_in_object(HAND, HAND, np.zeros((4, 4)), np.eye(4)), "expected a 4x4 matrix"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(MeshError, match=message):
        call()
