"""Winding numbers: the fast way, and lids."""

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose

from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.solid import exact_signed_distance
from fgs_jax.objects.triangles import distances_to, is_balanced
from fgs_jax.objects.winding import close_to_lid, lid_of, winding_numbers
from tests.objects.shapes import ACROSS, BALL, HALF, HOLED, INNER, OUTER, flipped, together


def test_the_fast_side_of_a_point_is_the_exact_one(monkeypatch, rng):
    points = rng.uniform(-0.08, 0.08, (400, 3))
    points[:100] = BALL.vertices[:100] * (1 + rng.normal(size=(100, 1)) * 1e-4)
    for source in (OUTER, HOLED, HALF, together(OUTER, ACROSS), together(OUTER, flipped(INNER))):
        mesh = load_object((np.asarray(source[0]) + 3, source[1]))
        exact = exact_signed_distance(mesh, points + 3)
        grid = distance_grid(mesh, 16)
        monkeypatch.setattr("fgs_jax.objects.winding.exact_is_quick", lambda *_: False)
        assert_allclose(exact_signed_distance(mesh, points + 3), exact, atol=1e-9)
        assert_allclose(distance_grid(mesh, 16).values, grid.values, atol=1e-6)
        again = load_object((mesh.vertices, mesh.faces[:, ::-1]))
        assert again.repairs[0] == f"turned {len(mesh.faces)} faces of parts that were inside out"
        monkeypatch.undo()


def test_each_hole_has_a_lid_of_its_own_which_decides_nothing_far_away():
    ball = trimesh.creation.icosphere(3, 0.04)
    faces = np.asarray(ball.faces)[np.abs(ball.triangles_center[:, 2]) < 0.035]
    vertices, lid = lid_of(np.asarray(ball.vertices), faces)
    assert is_balanced(np.concatenate([faces, lid]))
    a, b, c = np.moveaxis(vertices[lid], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(2 * np.pi * (0.04**2 - 0.035**2), rel=0.2), "two discs, and no cone between them"
    points = np.random.default_rng(0).uniform(-0.06, 0.06, (4000, 3))
    close = close_to_lid(vertices, lid, distances_to(vertices, lid, points))
    winding = np.abs(winding_numbers(vertices, lid, points))
    assert winding[~close].max() < 0.5 and winding[close].max() > 0.4
    assert 0.05 < close.mean() < 0.5
