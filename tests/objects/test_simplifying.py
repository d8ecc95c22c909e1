"""Meshes with fewer faces."""

from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree

from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.simplifying import simplify
from fgs_jax.objects.solid import exact_signed_distance
from tests.objects.shapes import ASIDE, BALL, BOX, HALF, OUTER, SHARED, cut_open, needs_data, together, volume


def test_a_simplified_mesh_keeps_its_shape():
    mesh = load_object(trimesh.creation.icosphere(subdivisions=5, radius=0.05))
    small = simplify(mesh, 1000)
    assert abs(len(small.faces) - 1000) <= 1 and small.watertight
    assert small.repairs == (f"simplified from 20480 to {len(small.faces)} faces, to within 0.3% of the extent",)
    assert volume(small) == pytest.approx(volume(mesh), rel=5e-3)
    assert np.abs(exact_signed_distance(small, mesh.vertices)).max() < 4e-4
    again = simplify(mesh, 1000)
    assert_array_equal(again.vertices, small.vertices)
    assert_array_equal(again.faces, small.faces)


def test_an_open_mesh_is_simplified_within_its_rim():
    mesh = load_object(trimesh.Trimesh(*HALF, process=False).subdivide(), surface="solid")
    small = simplify(mesh, 300)
    assert abs(len(small.faces) - 300) <= 1 and not small.watertight
    assert np.abs(exact_signed_distance(small, mesh.vertices)).max() < 1e-3
    assert_allclose(np.ptp(small.vertices, axis=0), np.ptp(mesh.vertices, axis=0), atol=1e-3)


# Two balls that touch in one vertex.
KISSING = together(OUTER, (BALL.vertices + BALL.vertices[0] - BALL.vertices[3], BALL.faces))


def test_parts_that_touch_are_simplified_and_reported_once():
    for source in (together(OUTER, ASIDE), KISSING):
        mesh = load_object(source)
        small = simplify(mesh, 600)
        assert abs(len(small.faces) - 600) <= 1 and small.watertight
        assert [repair for repair in small.repairs if repair.startswith("kept")] == ["kept 2 separate parts"]
        assert small.repairs[-1].startswith(f"simplified from 2560 to {len(small.faces)} faces, to within 0.")
        assert volume(small) == pytest.approx(2 * BALL.volume, rel=0.02)


def test_a_strip_with_one_side_is_simplified():
    turns = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    strip = [
        ((5 + s * np.cos(u / 2)) * np.cos(u), (5 + s * np.cos(u / 2)) * np.sin(u), s * np.sin(u / 2))
        for u in turns
        for s in (-1, 1)
    ]
    pairs = [(2 * i, 2 * i + 1, 2 * i + 2, 2 * i + 3) for i in range(99)] + [(198, 199, 1, 0)]
    faces = [face for a, b, c, d in pairs for face in ((a, b, c), (b, d, c))]
    moebius = load_object((np.array(strip) * 0.01, faces), surface="solid")
    small = simplify(moebius, 100)
    assert (len(moebius.faces), len(small.faces)) == (200, 100)
    assert np.abs(exact_signed_distance(small, moebius.vertices)).max() < 1e-3


def test_a_mesh_that_cannot_be_simplified_stays_as_it_is():
    # A wall between two rooms: cut apart along its rim, they would not close again.
    rooms = together((BOX.vertices, BOX.faces), (BOX.vertices + [0.1, 0, 0], BOX.faces))
    walled = load_object(trimesh.Trimesh(*rooms).subdivide().subdivide().subdivide())
    assert walled.watertight
    ball, sieve = load_object(BALL), load_object(cut_open(np.random.default_rng(1).random(1280) > 0.4))
    for mesh, faces in ((walled, 300), (sieve, 60), (ball, 1280), (ball, 5000), (ball, 20)):
        assert simplify(mesh, faces) is mesh


@needs_data
def test_real_objects_are_simplified():
    # The teapot has 413 vertices where several fans meet, the bowl is open.
    for name, watertight in (("teapot", True), ("bowl", False)):
        mesh = load_object(SHARED / "objects" / f"{name}.ply")
        small = simplify(mesh, 2000)
        assert abs(len(small.faces) - 2000) <= 1 and small.watertight == watertight
        assert volume(small) == pytest.approx(volume(mesh), rel=0.01)


def test_crumbs_are_left_out_and_named():
    crumb: Any = trimesh.creation.icosphere(subdivisions=2, radius=5e-4)
    aside = [(crumb.vertices + [0.06, 0.002 * k, 0], crumb.faces) for k in range(9)]
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.05)
    small = simplify(load_object(together((ball.vertices, ball.faces), *aside)), 500)
    assert len(small.faces) == 500 and small.watertight
    assert small.repairs[-2:][0] == "left out 2880 faces of crumbs"
    assert np.linalg.norm(small.vertices, axis=1).max() < 0.051


@pytest.mark.parametrize("count", [100, 2000])
def test_loose_triangles_and_many_parts_are_simplified_to_what_was_asked(count):
    corners = trimesh.creation.icosphere(subdivisions=4, radius=0.05).triangles
    middle = corners.mean(axis=1, keepdims=True)
    loose = load_object(((middle + 0.98 * (corners - middle)).reshape(-1, 3), np.arange(15360).reshape(-1, 3)))
    balls = load_object(together(*((BALL.vertices * 0.03 + place, BALL.faces) for place in PLACES)))
    for mesh in (loose, balls):
        small = simplify(mesh, count)
        assert 0.3 * count < len(small.faces) <= 1.5 * count
        assert small.repairs[-1].startswith(("simplified from", "it is no longer watertight"))
        away = KDTree(mesh.vertices).query(small.vertices)[0].max()
        assert away < 0.15 * np.ptp(mesh.vertices, axis=0).max()


PLACES = np.random.default_rng(1).uniform(-0.05, 0.05, (40, 3))
