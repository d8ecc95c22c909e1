"""Shared volumes: against formulas, libigl, trimesh and manifold3d."""

import math
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.objects import voxels
from fgs_jax.results.metrics import (
    Surface,
    grasp_metrics,
    maximal_penetration_depth,
    signed_distances,
    solid_intersection_volume,
    surface_voxel_intersection_volume,
    voxel_intersection_volume,
)
from tests.results.metrics.shapes import TURN, ball, box, fist, joined, surface, volume_of


def test_what_a_hand_overlaps_itself_in_counts_once():
    """Two boxes of 2 cm, of which half of the one lies in the other; and a fist, whose fingers are in its palm."""
    twice = joined(box((0.02,) * 3), box((0.02, 0.02, 0.02), (0.01, 0, 0)))
    thing = box((0.1,) * 3)
    assert_allclose(volume_of(twice, thing), 12e-6, rtol=1e-5)
    assert_allclose(voxel_intersection_volume(twice, thing), 12e-6, rtol=1e-9)
    closed = fist()
    wrapped = Surface(thing.vertices * 5, thing.faces)
    once, exact = voxel_intersection_volume(closed, wrapped), volume_of(closed, wrapped)
    counted_again = trimesh.Trimesh(*closed, process=False).volume
    assert 0.5 < exact / counted_again < 0.98
    assert exact == pytest.approx(once, rel=2e-3)


def test_one_part_that_overlaps_itself_thrice_counts_once():
    """A square bar that goes around in a ring two and a half times."""
    angles = np.arange(61) * np.pi / 12
    corners = np.array([(0.02, -0.005), (0.03, -0.005), (0.03, 0.005), (0.02, 0.005)])
    rings = [np.stack([r * np.cos(angles), r * np.sin(angles), np.full(61, z)], axis=1) for r, z in corners]
    vertices = np.stack(rings, axis=1).reshape(-1, 3)
    faces = [(0, 1, 2), (0, 2, 3), (242, 241, 240), (243, 242, 240)]
    for start in range(0, 240, 4):
        for k in range(4):
            a, b = start + k, start + (k + 1) % 4
            faces += [(a, a + 4, b + 4), (a, b + 4, b)]
    bar, thing = Surface(vertices, np.array(faces)), box((0.1, 0.1, 0.004))
    ring = 12 * np.sin(np.pi / 12) * (0.03**2 - 0.02**2) * 0.004
    assert trimesh.Trimesh(*bar, process=False).volume == pytest.approx(2.5 * ring * 2.5, rel=1e-6)
    assert volume_of(bar, thing) == pytest.approx(ring, rel=0.01)
    assert volume_of(thing, bar) == pytest.approx(ring, rel=0.01)


def test_grid_winding_is_libigl_s(rng):
    import igl  # noqa: PLC0415

    mesh = joined(ball(4.0, (5, 5, 5), 2), ball(3.0, (7, 5, 5), 1), box((3.0, 4.0, 2.0), (4.1, 3.3, 5.2)))
    shape = (11, 9, 10)
    centres = np.argwhere(np.ones(shape, bool)) + 0.5
    for turn in (np.eye(3), TURN):
        vertices = (mesh.vertices - 5) @ turn + 5
        expected = np.rint(np.asarray(igl.winding_number(vertices, mesh.faces, centres))).reshape(shape)
        assert set(np.unique(expected)) >= {0, 1, 2}
        assert_array_equal(voxels.grid_winding(vertices, mesh.faces, shape), expected)


@pytest.mark.parametrize("half", [2.0, 2.5])
def test_grid_winding_where_edges_run_through_the_centres(half):
    """Columns of centres meet corners, edges and diagonals of an octahedron and a box: each counts once."""
    centre = np.array([3.5, 3.5, 3.5])
    corners = centre + half * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1.1], [0, 0, -1.1]])
    octahedron = surface(trimesh.convex.convex_hull(corners))
    at = np.argwhere(np.ones((7, 7, 7), bool)) + 0.5 - centre
    winding = voxels.grid_winding(octahedron.vertices, octahedron.faces, (7, 7, 7)).ravel()
    reach = (np.abs(at) / [1, 1, 1.1]).sum(axis=1)
    assert (winding[reach < half - 1e-9] == 1).all() and (winding[reach > half + 1e-9] == 0).all()
    cube = box((2 * half,) * 3, centre)
    winding = voxels.grid_winding(cube.vertices, cube.faces, (7, 7, 7)).ravel()
    assert set(np.unique(winding)) == {0, 1}
    # Of the centres on the box's sides, half-open as the rule is, one of each two belongs to it.
    assert winding.sum() == (125 if half == 2.5 else 64)


@pytest.mark.parametrize("thickness", [0.0002, 0.001, 0.005])
def test_a_thin_overlap_has_its_volume_in_voxels(thickness):
    """A turned slab, and the lens of two balls: V = pi d^2 (l^2 + 2 l (R + r) - 3 (R - r)^2) / 12 l."""
    one, other = box((0.06, 0.05, 0.04)), box((0.03, 0.04, 0.02), (0.004, 0.003, 0.03 - thickness))
    turned = [Surface(each.vertices @ TURN.T, each.faces) for each in (one, other)]
    assert voxel_intersection_volume(turned[0], turned[1]) == pytest.approx(0.03 * 0.04 * thickness, rel=0.02)
    if thickness < 0.001:
        return  # less than the balls' faces are off
    large, small, apart = 0.04, 0.03, 0.07 - thickness
    one, other = ball(large, subdivisions=5), ball(small, (apart, 0, 0), 5)
    lens = math.pi * thickness**2 * (apart**2 + 2 * apart * (large + small) - 3 * (large - small) ** 2) / (12 * apart)
    turned = [Surface(each.vertices @ TURN.T, each.faces) for each in (one, other)]
    assert voxel_intersection_volume(turned[0], turned[1]) == pytest.approx(lens, rel=0.04)
    assert voxel_intersection_volume(turned[0], turned[1]) == pytest.approx(volume_of(turned[0], turned[1]), rel=0.02)


def test_thin_overlaps_at_two_places_are_both_counted():
    bar = box((0.1, 0.01, 0.01))
    ends = joined(
        *(
            box(
                (0.02, 0.02, 0.02),
                (x, 0, 0.0148),
            )
            for x in (-0.03, 0.03)
        )
    )
    turned = [Surface(each.vertices @ TURN.T, each.faces) for each in (bar, ends)]
    assert voxel_intersection_volume(turned[0], turned[1]) == pytest.approx(2 * 0.02 * 0.01 * 0.0002, rel=0.05)
    above = [turned[0], Surface((ends.vertices + [0, 0, 0.0004]) @ TURN.T, ends.faces)]
    assert voxel_intersection_volume(above[0], above[1]) == 0


def test_an_open_mesh_has_voxels_and_no_exact_volume():
    """A box without its lid, and a finger in its other end."""
    whole = box((0.06, 0.06, 0.06))
    normals = trimesh.Trimesh(*whole, process=False).face_normals
    openbox = Surface(whole.vertices, whole.faces[normals[:, 2] < 0.5])
    finger = box((0.02, 0.02, 0.03), (0, 0, -0.03))
    assert len(openbox.faces) == 10
    for hand_, object_, name in ((finger, openbox, "object"), (openbox, finger, "hand")):
        volume, obstacle = solid_intersection_volume(hand_, object_)
        assert volume is None
        assert obstacle == f"the {name}'s mesh is open, so it has no exact boolean"
        assert_allclose(voxel_intersection_volume(hand_, object_), 6e-6, rtol=1e-9)
    assert maximal_penetration_depth(finger, openbox) == pytest.approx(0.015)
    found = grasp_metrics(finger, openbox)
    assert found["siv_cm3"] is None and found["siv_voxels_cm3"] == pytest.approx(6.0)


def test_an_open_mesh_s_voxels_are_those_inside_by_its_winding_number(rng):
    import igl  # noqa: PLC0415

    whole = ball(0.03)
    torn = Surface(whole.vertices, whole.faces[rng.random(len(whole.faces)) < 0.7])
    probe = box((0.04, 0.05, 0.06), (0.01, 0, 0))
    volume = voxel_intersection_volume(probe, torn, 0.002)
    low, high = np.array([-0.01, -0.025, -0.03]), np.array([0.03, 0.025, 0.03])
    low, high = np.maximum(low, torn.vertices.min(axis=0)), np.minimum(high, torn.vertices.max(axis=0))
    shape = np.ceil((high - low) / 0.002).astype(int)
    centres = low + (np.argwhere(np.ones(shape, bool)) + 0.5) * (high - low) / shape
    inside = np.asarray(igl.winding_number(torn.vertices, torn.faces, centres)) > 0.5
    assert 0.2 < inside.mean() < 0.9
    assert_allclose(volume, inside.mean() * (high - low).prod(), rtol=1e-3)


def test_a_fine_pitch_does_not_fill_the_memory():
    finger, thing = ball(0.02), box((0.1,) * 3)
    assert voxel_intersection_volume(finger, thing, 1e-7) == pytest.approx(trimesh.Trimesh(*finger).volume, rel=1e-3)


def test_surface_voxels_are_trimesh_s():
    """And they are blind to what is deep inside."""
    palm = box((0.051, 0.052, 0.053), (0.02, 0.01, 0.005))
    for mesh in (trimesh.creation.icosphere(3, 0.03), trimesh.creation.cylinder(0.025, 0.09, sections=40)):
        voxels: Any = mesh.apply_translation((0.003, 0.001, 0.0)).voxelized(0.005)
        inside = (signed_distances(palm, np.asarray(voxels.points)) < 0).sum()
        assert inside > 100
        assert surface_voxel_intersection_volume(palm, surface(mesh)) == pytest.approx(inside * 0.005**3, rel=0.02)
    assert surface_voxel_intersection_volume(ball(0.01), ball(0.04)) == 0.0
    assert voxel_intersection_volume(ball(0.01), ball(0.04)) > 4e-6
    # Long thin faces are cut until they fill every voxel that they pass: 7 x 7 of them on each side of the plate.
    slab = surface_voxel_intersection_volume(box((0.031, 0.031, 0.1)), box((0.9, 0.9, 0.002)))
    assert_allclose(slab, 49 * 0.005**3)
