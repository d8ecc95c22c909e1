"""Depths and signed distances: against formulas, trimesh and Open3D."""

import math

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose

from fgs_jax.results.metrics import (
    Surface,
    maximal_penetration_depth,
    object_depth_in_hand,
    penetration_depth_to_vertex,
    signed_distances,
    voxel_intersection_volume,
)
from tests.results.metrics.shapes import ball, box, fine_box, joined, surface, volume_of


def test_a_ball_within_a_ball():
    """Its deepest point is 10 mm from the centre of 50 mm, and none of the large one lies in the small one."""
    small, large = ball(0.02, (0.03, 0, 0)), ball(0.05, subdivisions=4)
    assert maximal_penetration_depth(small, large) == pytest.approx(0.04, rel=2e-3)
    assert object_depth_in_hand(small, large) == pytest.approx(0.0, abs=1e-4)
    assert maximal_penetration_depth(large, small) == 0.0
    # Of the large ball's surface the small one holds nothing; the other way round it holds everything.
    assert object_depth_in_hand(large, small) == pytest.approx(0.04, rel=5e-3)
    volume = trimesh.Trimesh(*small).volume
    assert volume_of(small, large) == pytest.approx(volume, rel=1e-5)
    assert voxel_intersection_volume(small, large) == pytest.approx(volume, rel=5e-3)


def test_two_balls_share_a_lens():
    """Two radii r at a distance d: V = pi (4 r + d) (2 r - d)^2 / 12, and the deepest point lies 2 r - d deep."""
    r, d = 0.04, 0.06
    one, other = ball(r, subdivisions=4), ball(r, (d, 0, 0), subdivisions=4)
    lens = math.pi * (4 * r + d) * (2 * r - d) ** 2 / 12
    assert volume_of(one, other) == pytest.approx(lens, rel=0.01)
    assert voxel_intersection_volume(one, other) == pytest.approx(lens, rel=0.01)
    assert voxel_intersection_volume(one, other, 0.0005) == pytest.approx(volume_of(one, other), rel=3e-3)
    assert maximal_penetration_depth(one, other) == pytest.approx(2 * r - d, rel=0.01)
    assert object_depth_in_hand(one, other) == pytest.approx(2 * r - d, rel=0.03)


def test_a_box_in_a_box():
    """The corner of a box of 4 cm reaches 1, 2 and 3 cm into another: depth 1 cm, 6 cm3."""
    finger, thing = box((0.04,) * 3), box((0.1,) * 3, (0.06, 0.05, 0.04))
    assert_allclose(maximal_penetration_depth(finger, thing), 0.01, rtol=1e-12)
    assert_allclose(volume_of(finger, thing), 6e-6, rtol=1e-5)
    assert_allclose(voxel_intersection_volume(finger, thing), 6e-6, rtol=1e-9)
    assert_allclose(voxel_intersection_volume(finger, thing, 0.007), 6e-6, rtol=1e-9)
    # The nearest vertex of the object is the corner at (1, 0, -1) cm; the hand's is at (2, 2, 2).
    assert_allclose(penetration_depth_to_vertex(finger, thing), math.sqrt(1 + 4 + 9) / 100, rtol=1e-12)


def test_vertices_do_not_see_a_thin_plate_and_its_points_do():
    """A capsule of 1 cm radius, whose vertices are at its ends, through a plate of 2 mm."""
    capsule = surface(trimesh.creation.capsule(height=0.06, radius=0.01, count=[64, 64]))
    plate = fine_box((0.05, 0.05, 0.002))
    assert maximal_penetration_depth(capsule, plate) == 0.0
    assert penetration_depth_to_vertex(capsule, plate) == 0.0
    assert object_depth_in_hand(capsule, plate) == pytest.approx(0.01, abs=0.0005)
    slice_ = math.pi * 0.01**2 * 0.002
    assert volume_of(capsule, plate) == pytest.approx(slice_, rel=5e-3)
    assert voxel_intersection_volume(capsule, plate) == pytest.approx(slice_, rel=0.02)


def test_distances_are_those_of_trimesh(rng):
    solid = ball(0.04, (0.01, 0, 0), subdivisions=1)
    points = rng.uniform(-0.06, 0.06, (200, 3))
    mesh = trimesh.Trimesh(*solid)
    count = len(mesh.faces)
    closest = trimesh.triangles.closest_point(np.tile(mesh.triangles, (200, 1, 1)), points.repeat(count, axis=0))
    expected = np.linalg.norm(closest.reshape(200, count, 3) - points[:, None], axis=2).min(axis=1)
    # A convex solid is where all its faces look away.
    heights = np.einsum("pfi,fi->pf", points[:, None] - mesh.triangles[:, 0], mesh.face_normals)
    expected = np.where((heights < 0).all(axis=1), -expected, expected)
    assert 20 < (expected < 0).sum() < 100
    assert_allclose(signed_distances(solid, points), expected, atol=1e-12)


def test_distances_are_those_of_open3d(rng):
    open3d = pytest.importorskip("open3d", reason="needs Open3D: pip install 'fgs-jax[open3d]'", exc_type=ImportError)
    solid = joined(ball(0.03, subdivisions=2), box((0.02, 0.03, 0.04), (0.06, 0, 0)))
    points = rng.uniform((-0.04, -0.04, -0.04), (0.08, 0.04, 0.04), (500, 3))
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(np.float32(solid.vertices), np.uint32(solid.faces))
    expected = scene.compute_signed_distance(open3d.core.Tensor(np.float32(points)), nsamples=5).numpy()
    assert_allclose(signed_distances(solid, points), expected, atol=1e-6)
    # The share of points in both solids is the volume that they share.
    other = ball(0.03, (0.03, 0.01, 0))
    many = rng.uniform(-0.03, 0.03, (40_000, 3))
    both = np.ones(len(many), bool)
    for mesh in (solid, other):
        scene = open3d.t.geometry.RaycastingScene()
        scene.add_triangles(np.float32(mesh.vertices), np.uint32(mesh.faces))
        both &= scene.compute_occupancy(open3d.core.Tensor(np.float32(many)), nsamples=3).numpy() > 0
    left = voxel_intersection_volume(Surface(solid.vertices[:162], solid.faces[:320]), other)
    assert left == pytest.approx(both.mean() * 0.06**3, rel=0.04)
