"""Which candidates are another answer, and as good as the best."""

from typing import Any

import numpy as np
import pytest

from fgs_jax.results.result import Candidate
from fgs_jax.results.rivals import SAME_KEYPOINTS, SAME_SURFACE, apart, rivals
from fgs_jax.testing.shapes import SHAPES
from fgs_jax.types import Grasp, HandParams

BOX = np.stack(np.meshgrid(*3 * [np.linspace(-0.03, 0.03, 9)]), axis=-1).reshape(-1, 3)
HAND = np.random.default_rng(0).normal(scale=0.05, size=(60, 3))


def candidate(score: float, object_moved: float = 0.0, hand_moved: float = 0.0, turn: np.ndarray | None = None):
    """One whose object and hand are moved so far along z, metres."""
    place = np.array([0.0, 0.0, 0.5 + object_moved])
    grasp = Grasp(HandParams(), np.eye(3) if turn is None else turn, place, 1.0)  # pyright: ignore
    return Candidate(0, 0, 1.0, score, 0.9, 1.0, score, grasp, HAND + [0.0, 0.0, hand_moved])


def test_surfaces_are_apart_by_how_far_they_moved():
    plane = np.stack(np.meshgrid(np.linspace(0, 1, 30), np.linspace(0, 1, 30), [0.0]), axis=-1).reshape(-1, 3)
    assert apart(plane, plane + [0.0, 0.0, 0.004]) == pytest.approx(0.004)
    assert apart(plane, plane[:1] + [0.0, 0.0, 0.5]) == apart(plane[:1] + [0.0, 0.0, 0.5], plane) > 0.7


def test_a_symmetric_object_turned_into_itself_is_where_it_was():
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert apart(BOX, BOX @ turn.T) < 1e-12
    vertices, _ = SHAPES["mug"]()
    assert apart(vertices, vertices @ turn.T) > 0.004  # its handle is elsewhere
    assert rivals([candidate(1.0), candidate(1.0, turn=turn)], BOX, 1.0) == ()


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ({"object_moved": 0.05}, (1,)),
        ({"hand_moved": 1.01 * SAME_KEYPOINTS}, (1,)),
        ({"hand_moved": 0.99 * SAME_KEYPOINTS}, ()),
        ({"object_moved": 0.9 * SAME_SURFACE}, ()),
    ],
)
def test_rivals_have_the_object_or_the_hand_elsewhere(moved: dict[str, Any], expected: tuple[int, ...]):
    assert rivals([candidate(10.0), candidate(10.5, **moved)], BOX, 1.0) == expected


def test_rivals_are_as_good_as_the_best():
    elsewhere = [candidate(score, hand_moved=0.02 * k) for k, score in enumerate((10.0, 10.9, 11.0, 11.1, np.inf))]
    assert rivals(elsewhere, BOX, 1.0) == (1, 2)
    assert rivals(elsewhere, BOX, 0.0) == ()
    assert rivals(elsewhere[:1], BOX, 1.0) == ()


def test_of_rivals_that_are_one_answer_the_first_stands_for_all():
    found = [candidate(10.0), candidate(10.1, hand_moved=0.02), candidate(10.2, hand_moved=0.021)]
    assert rivals([*found, candidate(10.3, hand_moved=0.04)], BOX, 1.0) == (1, 3)
