"""Contact ratios and fingers."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.hands.anatomy import FINGERS
from fgs_jax.hands.files import load_hand_model
from fgs_jax.results.metrics import (
    Surface,
    contact_ratio,
    contact_ratio_hand_over_object,
    contact_ratio_of_vertices,
    fingers_in_contact,
    fingers_of_vertices,
    grasp_metrics,
    model_of_hand_mesh,
    sample_surface,
    signed_distances,
)
from tests.results.metrics.shapes import ball, box, fine_box, joined, open_hand


def test_points_are_spread_by_area():
    mesh = joined(box((0.02, 0.04, 0.06)), ball(0.01, (0.1, 0, 0)))
    points = sample_surface(mesh, 2000)
    assert points.shape == (2000, 3)
    assert_allclose(signed_distances(mesh, points), 0, atol=1e-9)
    areas = trimesh.Trimesh(*mesh, process=False).area_faces
    assert (points[:, 0] > 0.05).sum() == pytest.approx(2000 * areas[12:].sum() / areas.sum(), abs=1)
    # Each quarter of the largest side has a quarter of its points.
    side = points[np.isclose(points[:, 0], 0.01)]
    assert len(side) == pytest.approx(2000 * 0.0024 / areas.sum(), abs=1)
    quarters = np.bincount(2 * (side[:, 1] > 0) + (side[:, 2] > 0), minlength=4)
    assert_allclose(quarters, len(side) / 4, atol=0.03 * len(side))
    assert_array_equal(points, sample_surface(mesh, 2000))


def test_contact_ratios_of_a_plate():
    """A plate of 10 x 10 cm with a hand of 3 x 10 cm, 4 mm above one edge; vertices lie on a grid of 1 cm.

    10 mm reach sqrt(10^2 - 4^2) mm beyond the hand's edge on the upper side, sqrt(10^2 - 5^2) mm on the lower one.
    """
    plate, palm = fine_box((0.1, 0.1, 0.001), edge=0.015), box((0.03, 0.1, 0.02), (-0.035, 0, 0.0145))
    area = 2 * (0.01 + 2 * 0.1 * 0.001)
    reach = [0.03 + math.sqrt(1e-4 - gap**2) for gap in (0.004, 0.005)]
    sides = 0.1 * 0.001 + 2 * 0.001 * np.mean(reach)
    expected = (0.1 * sum(reach) + sides) / area
    assert contact_ratio(palm, plate) == pytest.approx(expected, abs=2e-3)
    x, _, z = plate.vertices.T
    gap = np.hypot(np.maximum(x + 0.02, 0), 0.0045 - z)
    assert_allclose(contact_ratio_of_vertices(palm, plate), (gap < 0.01).mean(), rtol=1e-12)
    assert 0.2 < (gap < 0.01).mean() < 0.8 and abs((gap < 0.01).mean() - expected) > 0.01
    # All four lower corners of the hand are 4 mm above the plate, of its eight.
    assert_allclose(contact_ratio_hand_over_object(palm, plate), 4 / len(plate.vertices), rtol=1e-12)
    assert contact_ratio(palm, plate, 0.003) == 0


def test_the_inside_of_the_hand_is_contact():
    """Points deeper than 10 mm are not outside."""
    assert contact_ratio(ball(0.05), ball(0.02)) == 1.0
    assert contact_ratio_of_vertices(ball(0.05), ball(0.02)) == 1.0
    found = grasp_metrics(ball(0.05), ball(0.02))
    assert found["contact_ratio"] == found["contact_ratio_paper"] == 1.0
    assert contact_ratio_hand_over_object(ball(0.02, subdivisions=2), ball(0.05, subdivisions=1)) == 162 / 42


def test_the_finger_of_a_vertex_is_that_of_its_greatest_weight():
    weights = np.zeros((7, 16))
    # Joints in MANO's order, fingers from thumb to pinky; the palm is the wrist's.
    for vertex, (joint, _) in enumerate(expected := [(0, -1), (13, 0), (1, 1), (5, 2), (12, 3), (9, 4), (15, 0)]):
        weights[vertex, joint] = 0.4
        weights[vertex, [6, 7]] += 0.3
    assert_array_equal(fingers_of_vertices(weights), [finger for _, finger in expected])


@pytest.mark.parametrize("name", ["open_hand", "open_hand_full"])
def test_a_tip_belongs_to_its_finger(name):
    model = load_hand_model(name)
    fingers = fingers_of_vertices(model.weights)
    assert_array_equal(fingers[np.asarray(model.tip_vertex_ids)], range(5))
    assert_array_equal(np.unique(fingers), range(-1, 5))
    pads = np.asarray(model.regions)
    for finger in range(5):
        assert (fingers[pads == finger] == finger).all()


def test_fingers_in_contact_are_those_at_the_object():
    """A small ball 2 mm before each fingertip of a flat hand, and 4 mm before it."""
    model, posed, closed = open_hand(jnp.zeros((15, 3)))
    fingers = fingers_of_vertices(model.weights)
    tips = np.asarray(posed.keypoints)[[4, 8, 12, 16, 20]]
    away = tips - np.asarray(posed.keypoints)[[3, 7, 11, 15, 19]]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    for chosen in ([], [1], [0, 4], [0, 1, 2, 3, 4]):
        gaps = np.where(np.isin(range(5), chosen), 0.002, 0.004)
        balls = []
        for tip, direction, gap in zip(tips, away, gaps, strict=True):
            # The tip is a vertex; another one may lie farther along, so the ball is moved until the gap is right.
            place = tip + direction * 0.02
            for _ in range(12):
                place += direction * (gap - signed_distances(ball(0.003, place), closed.vertices).min())
            balls.append(ball(0.003, place))
        thing = joined(*balls)
        touching = fingers_in_contact(signed_distances(thing, closed.vertices), fingers)
        assert [FINGERS[k] for k in np.flatnonzero(touching)] == [FINGERS[k] for k in chosen]
        found = grasp_metrics(closed, thing, fingers)
        assert found["fingers_in_contact"] == len(chosen)
        assert found["distance_mm"] == pytest.approx(2 if chosen else 4, abs=0.01)
        assert found["contact_5mm"] == 1.0


def test_the_mesh_of_an_open_hand_is_known_by_its_faces():
    for name in ("open_hand", "open_hand_full"):
        model, _, closed = open_hand(name=name)
        mirrored = Surface(closed.vertices * np.array([-1, 1, 1]), np.asarray(closed.faces)[::-1, ::-1])
        for mesh in (closed, Surface(closed.vertices, model.faces), mirrored):
            found = model_of_hand_mesh(mesh)
            assert found is not None and found.name == model.name
            assert_array_equal(fingers_of_vertices(found.weights), fingers_of_vertices(model.weights))
        order = np.roll(np.arange(len(closed.vertices)), 1)
        assert model_of_hand_mesh(Surface(closed.vertices, order[np.asarray(closed.faces)])) is None
    assert model_of_hand_mesh(ball(0.05)) is None
