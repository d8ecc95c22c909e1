"""The union of overlapping parts."""

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.objects.triangles import distances_to, net_edges, parts_of
from fgs_jax.objects.union import united
from fgs_jax.objects.winding import is_inside, winding_numbers
from fgs_jax.results.metrics import Surface, grasp_metrics
from tests.objects.shapes import ACROSS, ASIDE, BALL, BOX, HALF, INNER, OUTER, flipped, together

BOXES = (BOX.vertices, BOX.faces)
BESIDE = (BOX.vertices + [0.1, 0, 0], BOX.faces)
TINY = (BALL.vertices * 0.3 + [0.003, 0, 0], BALL.faces)


def volume(vertices, faces) -> float:
    return float(trimesh.Trimesh(vertices, faces, process=False).volume)


def signed(mesh, points) -> np.ndarray:
    vertices, faces = mesh
    distance = distances_to(vertices, faces, points)
    return np.where(is_inside(vertices, faces, points, distance), -distance, distance)


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ((OUTER, ACROSS), 1),
        ((OUTER, INNER), 1),
        ((BOXES, BESIDE), 1),
        ((OUTER, flipped(INNER)), 2),
        ((OUTER, flipped(INNER), TINY), 3),
        ((OUTER, flipped(INNER), ACROSS), 2),
        ((OUTER, INNER, flipped(TINY), ASIDE), 2),
        ((OUTER, ASIDE, ACROSS), 2),
    ],
    ids=["across", "nested", "touching", "hollow", "ball in hollow", "through a hollow", "hollow in full", "apart"],
)
def test_the_union_holds_what_the_parts_hold_and_has_no_face_inside(rng, parts, count):
    parts = together(*parts)
    vertices, faces = united(*parts)
    assert len(set(parts_of(faces))) == count
    assert not net_edges(faces)[1].any() and len(np.unique(faces)) == len(vertices)
    points = rng.uniform(parts[0].min(axis=0), parts[0].max(axis=0), (1500, 3))
    points = points[distances_to(*parts, points) > 1e-6]
    inside = winding_numbers(*parts, points) > 0.5
    assert_array_equal(winding_numbers(vertices, faces, points) > 0.5, inside)
    assert_allclose(winding_numbers(vertices, faces, points), inside, atol=1e-6)  # once, not twice
    outside = signed((vertices, faces), points[~inside])
    assert_allclose(outside, signed(parts, points[~inside]), atol=1e-7)


def test_volumes_of_unions_are_exact():
    assert_allclose(volume(*united(*together(BOXES, BESIDE))), 2 * BOX.volume, rtol=1e-9)
    half = (BOX.vertices + [0.05, 0, 0], BOX.faces)
    assert_allclose(volume(*united(*together(BOXES, half))), 1.5 * BOX.volume, rtol=1e-9)
    assert_allclose(volume(*united(*together(OUTER, flipped(INNER)))), (1 - 0.8**3) * BALL.volume, rtol=1e-6)


@pytest.mark.parametrize(
    "parts", [(OUTER,), (OUTER, ASIDE), (OUTER, HALF), (HALF, HALF)], ids=["one", "apart", "one open", "both open"]
)
def test_what_cannot_or_need_not_be_united_stays_as_it_is(parts):
    vertices, faces = together(*parts)
    found = united(vertices, faces)
    assert found[0] is vertices and found[1] is faces


def test_open_parts_and_crumbs_stay_beside_a_union():
    vertices, faces = united(*together(OUTER, ACROSS, HALF))
    assert net_edges(faces)[1].any()
    assert volume(vertices, faces) == pytest.approx(volume(*united(*together(OUTER, ACROSS))) + volume(*HALF), rel=1e-6)
    crumbs = together(*[OUTER] * 1001)
    assert united(*crumbs)[1] is crumbs[1]


def test_a_union_has_the_measures_of_its_parts():
    parts = together(OUTER, ACROSS, TINY)
    hand = Surface(BALL.vertices * 0.3 + [0.03, 0.045, 0], np.asarray(BALL.faces))
    found, expected = (
        {key: value for key, value in grasp_metrics(hand, Surface(*mesh)).items() if value is not None}
        for mesh in (parts, united(*parts))
    )
    assert found == pytest.approx(expected, rel=1e-6)
    assert found["siv_cm3"] > 1 and found["mpd_mm"] > 5
