"""Metrics of a grasp and of its picture: against formulas, and against trimesh, libigl, manifold3d and Open3D."""

import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.cli import main
from fgs_jax.errors import MeshError
from fgs_jax.hands.anatomy import FINGERS
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.objects import voxels, winding
from fgs_jax.results import metrics
from fgs_jax.results.metrics import (
    GRASP_METRICS,
    PICTURE_METRICS,
    Surface,
    contact_ratio,
    contact_ratio_hand_over_object,
    contact_ratio_of_vertices,
    fingers_in_contact,
    fingers_of_hand_mesh,
    fingers_of_vertices,
    grasp_metrics,
    hand_silhouette_iou,
    keypoint_error,
    masked_iou,
    maximal_penetration_depth,
    object_depth_in_hand,
    occlusion_agreement,
    penetration_depth_to_vertex,
    picture_metrics,
    sample_surface,
    signed_distances,
    solid_intersection_volume,
    surface_voxel_intersection_volume,
    voxel_intersection_volume,
)
from fgs_jax.types import Camera, HandParams


def surface(mesh, offset=(0.0, 0.0, 0.0)) -> Any:  # of numpy arrays, where a Surface may hold JAX's too
    return Surface(np.asarray(mesh.vertices, float) + offset, np.asarray(mesh.faces, np.int64))


def ball(radius, offset=(0.0, 0.0, 0.0), subdivisions=3) -> Any:
    return surface(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius), offset)


def box(size, offset=(0.0, 0.0, 0.0)) -> Any:
    """Between -size / 2 and size / 2 about the offset."""
    return surface(trimesh.creation.box(size), offset)


def fine_box(size, offset=(0.0, 0.0, 0.0), edge=0.004) -> Any:
    mesh = trimesh.creation.box(size)
    vertices, faces = trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.faces, edge)[:2]
    return surface(trimesh.Trimesh(vertices, faces), offset)


def joined(*parts) -> Any:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, starts[:-1], strict=True)]
    return Surface(np.concatenate([part.vertices for part in parts]), np.concatenate(faces))


def open_hand(pose=None, name="open_hand") -> Any:
    model = load_hand_model(name)
    posed = hand(model, HandParams(pose=model.pose_mean if pose is None else pose))
    faces = np.concatenate([model.faces, model.cap_faces])
    return model, posed, Surface(np.asarray(posed.vertices, float), faces)


def fist() -> Any:
    """The open hand, bent until the fingers run into the palm."""
    return open_hand(1.6 * load_hand_model("open_hand").pose_mean + jnp.array([0.0, 0.0, 0.7])[None])[2]


IN_THE_PALM = (0.035, -0.034, 0.005)
"""Of the open hand in its mean pose, for a ball of 3 cm that it grips a little too hard."""
TURN = np.asarray(trimesh.transformations.rotation_matrix(0.7, (1, 2, 3)))[:3, :3]


# --- depth


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


def volume_of(hand_, object_) -> float:
    volume, obstacle = solid_intersection_volume(hand_, object_)
    assert volume is not None and obstacle is None
    return volume


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


# --- volume


def test_what_a_hand_overlaps_itself_in_counts_twice_exactly_and_once_in_voxels():
    """Two boxes of 2 cm, of which a third of the one lies in the other."""
    twice = joined(box((0.02,) * 3), box((0.02, 0.02, 0.02), (0.01, 0, 0)))
    thing = box((0.1,) * 3)
    assert_allclose(volume_of(twice, thing), 16e-6, rtol=1e-5)
    assert_allclose(voxel_intersection_volume(twice, thing), 12e-6, rtol=1e-9)
    # Likewise a fist, whose fingers are in its palm.
    closed = fist()
    wrapped = Surface(thing.vertices * 5, thing.faces)
    once, exact = voxel_intersection_volume(closed, wrapped), volume_of(closed, wrapped)
    assert exact == pytest.approx(trimesh.Trimesh(*closed, process=False).volume, rel=1e-4)
    assert 0.5 < once / exact < 0.98


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


def test_a_fine_mesh_takes_the_work_of_a_coarse_one_and_has_its_measures(monkeypatch):
    """81,920 faces: what is exact at a cost of points times faces is asked next to the surface alone."""
    pairs = []
    exact = winding.winding_numbers

    def counted(vertices, faces, points):
        pairs.append(len(faces) * len(points))
        return exact(vertices, faces, points)

    monkeypatch.setattr(winding, "winding_numbers", counted)
    _, _, closed = open_hand()
    found = grasp_metrics(closed, ball(0.03, IN_THE_PALM, 6))
    assert sum(pairs) < 1e8
    coarse = grasp_metrics(closed, ball(0.03, IN_THE_PALM, 5))
    for key in ("mpd_mm", "object_depth_mm", "siv_cm3", "siv_voxels_cm3", "contact_ratio", "distance_mm"):
        assert found[key] == pytest.approx(coarse[key], rel=0.02, abs=0.02), key


LOOSE: Any = metrics
"""Called with what its types do not allow."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: LOOSE.grasp_metrics(b, b.vertices), "object: expected a Surface(vertices, faces), came ndarray"),
        (
            lambda b: LOOSE.grasp_metrics(Surface(b.vertices.T, b.faces), b),
            "hand: expected vertices of shape (v, 3), came (3",
        ),
        (
            lambda b: LOOSE.grasp_metrics(b, Surface(b.vertices, b.faces * 1.0)),
            "object: expected faces of shape (f, 3) and",
        ),
        (
            lambda b: LOOSE.grasp_metrics(b, Surface(b.vertices, b.faces + 9)),
            "object: expected faces of vertices 0 to 641",
        ),
        (lambda b: LOOSE.signed_distances(b, b.vertices.T), "points: expected an array of shape (p, 3), came (3, 642)"),
        (
            lambda b: LOOSE.maximal_penetration_depth(b, "a.obj"),
            "object: expected a Surface(vertices, faces), came str",
        ),
        (lambda b: LOOSE.sample_surface(b, 0), "count: expected a whole number from 1"),
        (lambda b: LOOSE.voxel_intersection_volume(b, b, 0.0), "pitch: expected a length in metres above 0, came 0.0"),
        (lambda b: LOOSE.surface_voxel_intersection_volume(b, b, -1.0), "pitch: expected a length in metres above 0"),
        (
            lambda b: LOOSE.fingers_of_vertices(np.zeros((5, 3))),
            "weights: expected an array of shape (v, 16), came (5, 3)",
        ),
        (
            lambda b: LOOSE.fingers_in_contact(np.zeros(5), np.zeros(4, int)),
            "distances and fingers: expected one of each",
        ),
        (lambda b: LOOSE.masked_iou(mask(), mask(), mask(shape=(2, 3))), "expected pictures of one height and width"),
        (
            lambda b: LOOSE.keypoint_error(np.zeros((21, 3)), np.zeros((21, 2))),
            "keypoints: expected two arrays of shape",
        ),
        (
            lambda b: LOOSE.hand_silhouette_iou(mask(), mask(), mask(), np.zeros((5, 2))),
            "keypoints: expected 21 of them",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(call, message):
    with pytest.raises(MeshError) as raised:
        call(ball(0.02))
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


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


# --- contact


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
        expected = fingers_of_vertices(model.weights)
        assert_array_equal(fingers_of_hand_mesh(closed), expected)
        assert_array_equal(fingers_of_hand_mesh(Surface(closed.vertices, model.faces)), expected)
        mirrored = Surface(closed.vertices * np.array([-1, 1, 1]), np.asarray(closed.faces)[::-1, ::-1])
        assert_array_equal(fingers_of_hand_mesh(mirrored), expected)
        order = np.roll(np.arange(len(expected)), 1)
        assert fingers_of_hand_mesh(Surface(closed.vertices, order[np.asarray(closed.faces)])) is None
    assert fingers_of_hand_mesh(ball(0.05)) is None


# --- all of a grasp


def test_grasp_metrics_are_the_single_ones_in_units_for_people():
    model, _, closed = open_hand()
    thing = ball(0.03, IN_THE_PALM)
    fingers = fingers_of_vertices(model.weights)
    found = grasp_metrics(closed, thing, fingers)
    assert tuple(found) == tuple(GRASP_METRICS)
    exact = volume_of(closed, thing)
    assert exact > 1e-7
    distances = signed_distances(thing, closed.vertices)
    expected = {
        "mpd_mm": 1e3 * maximal_penetration_depth(closed, thing),
        "mpd_to_vertex_mm": 1e3 * penetration_depth_to_vertex(closed, thing),
        "object_depth_mm": 1e3 * object_depth_in_hand(closed, thing),
        "siv_cm3": 1e6 * exact,
        "siv_voxels_cm3": 1e6 * voxel_intersection_volume(closed, thing),
        "siv_surface_voxels_cm3": 1e6 * surface_voxel_intersection_volume(closed, thing),
        "contact_ratio": contact_ratio(closed, thing),
        "contact_ratio_paper": contact_ratio_of_vertices(closed, thing),
        "contact_ratio_hand_over_object": contact_ratio_hand_over_object(closed, thing),
        "contact_5mm": 1.0,
        "distance_mm": 1e3 * distances.min(),
        "fingers_in_contact": fingers_in_contact(distances, fingers).sum(),
    }
    assert found == pytest.approx(expected)
    assert expected["mpd_to_vertex_mm"] >= expected["mpd_mm"] > 0.5
    assert expected["siv_voxels_cm3"] == pytest.approx(expected["siv_cm3"], rel=0.03)
    # float32 arrays of JAX, and arrays by columns, say the same, but for voxels at the surface.
    for convert in (jnp.asarray, np.asfortranarray):
        meshes = [Surface(convert(mesh.vertices), convert(mesh.faces)) for mesh in (closed, thing)]
        assert grasp_metrics(*meshes, fingers=fingers) == pytest.approx(found, rel=0.02)


def test_a_hand_far_away_has_zeros():
    _, _, closed = open_hand()
    thing = ball(0.03, np.asarray(closed.vertices).max(axis=0) + 10)
    found = grasp_metrics(closed, thing)
    distance, fingers = found.pop("distance_mm"), found.pop("fingers_in_contact")
    assert found == dict.fromkeys(found, 0.0)
    assert fingers is None
    corner = np.linalg.norm(np.asarray(closed.vertices) - thing.vertices.mean(axis=0), axis=1).min()
    assert distance == pytest.approx(1e3 * (corner - 0.03), abs=0.5)


def test_meshes_that_cannot_be_measured_are_refused():
    fine, bad = ball(0.02), ball(0.02)
    bad.vertices[5] = np.nan
    with pytest.raises(MeshError, match=r"^hand: expected a mesh of finite vertices, came nan"):
        grasp_metrics(bad, fine)
    with pytest.raises(MeshError, match=r"^object: expected a mesh of finite"):
        grasp_metrics(fine, Surface(fine.vertices, fine.faces[:0]))
    with pytest.raises(MeshError, match=r"^object: expected faces wound outward, came inward ones"):
        grasp_metrics(fine, Surface(fine.vertices + 3, fine.faces[:, ::-1]))
    # An open one has two sides and is taken as it is.
    assert grasp_metrics(fine, Surface(fine.vertices, fine.faces[:600, ::-1]))["siv_cm3"] is None


# --- the picture


def mask(*boxes, shape=(10, 12)):
    """Boxes of (top, bottom, left, right)."""
    drawn = np.zeros(shape, bool)
    for top, bottom, left, right in boxes:
        drawn[top:bottom, left:right] = True
    return drawn


def test_masked_iou_does_not_look_under_the_hand():
    drawn, seen, hidden = mask((0, 4, 0, 6)), mask((0, 4, 1, 4)), mask((0, 10, 3, 5))
    # Outside columns 3 and 4 the drawn one has columns 0, 1, 2, 5 and the mask 1 and 2.
    assert masked_iou(drawn, seen, hidden) == 0.5
    assert masked_iou(drawn, seen, mask()) == 0.5
    assert masked_iou(seen, seen, hidden) == 1.0
    assert masked_iou(mask(), mask((0, 1, 3, 5)), hidden) == 0.0


def hand_points(wrist, knuckle):
    points = np.zeros((21, 2))
    points[0], points[9] = wrist, knuckle
    return points


def test_hand_iou_does_not_count_the_forearm():
    """A hand in rows 0 to 5, its wrist at row 5, and a forearm below it."""
    drawn, seen = mask((0, 6, 4, 8)), mask((0, 10, 4, 8))
    nothing, points = mask(), hand_points((6, 5.0), (6, 1.0))
    # Row 5 lies beyond the line, is drawn and is in the mask: it counts; rows 6 to 9 do not.
    assert hand_silhouette_iou(drawn, seen, nothing, points) == 1.0
    # The same picture with the fingers below: then rows 6 to 9 are hand, and missing.
    assert hand_silhouette_iou(drawn, seen, nothing, hand_points((6, 1.0), (6, 5.0))) == pytest.approx(6 / 10)
    # Drawn beyond the wrist where no hand is seen is wrong.
    assert hand_silhouette_iou(mask((0, 8, 4, 8)), mask((0, 6, 4, 8)), nothing, points) == pytest.approx(6 / 8)
    # The line is at right angles to the hand's direction: a forearm to the side of a slanted hand.
    slanted = hand_points((6, 5.0), (8, 3.0))
    assert hand_silhouette_iou(drawn, mask((0, 6, 4, 8), (3, 10, 0, 4)), nothing, slanted) == 1.0
    assert hand_silhouette_iou(drawn, mask((0, 6, 4, 8), (0, 3, 8, 12)), nothing, slanted) == pytest.approx(24 / 36)
    # A hand that points at the camera has no forearm to leave out.
    assert hand_silhouette_iou(drawn, seen, nothing, hand_points((6, 5.0), (6.2, 4.9))) == pytest.approx(6 / 10)
    assert hand_silhouette_iou(nothing, nothing, nothing, points) == 0.0


def test_hand_iou_does_not_count_what_the_object_hides():
    drawn, seen, object_mask = mask((0, 6, 4, 8)), mask((0, 3, 4, 8)), mask((3, 8, 0, 12))
    points = hand_points((6, 5.0), (6, 1.0))
    assert hand_silhouette_iou(drawn, seen, object_mask, points) == 1.0
    assert hand_silhouette_iou(drawn, mask((0, 4, 4, 8)), object_mask, points) == 1.0
    assert hand_silhouette_iou(drawn, seen, mask((3, 5, 0, 12)), points) == pytest.approx(12 / 16)


def test_keypoint_error_in_pixels_and_of_the_box():
    detected = np.array([[0.0, 0.0], [40, 10], [20, 80], [np.nan, 5]])
    projected = detected + [3, 4]
    projected[2] += [3, 4]
    projected[3] = 1000
    assert keypoint_error(projected, detected) == pytest.approx((20 / 3, 20 / 3 / 80))
    assert keypoint_error(projected[3:], detected[3:]) == (None, None)
    assert keypoint_error(projected[:1], detected[:1]) == (5.0, None)


def test_occlusion_agreement_asks_where_both_are_drawn_and_the_masks_tell():
    hand_depth, object_depth = np.full((10, 12), np.inf), np.full((10, 12), np.inf)
    hand_depth[:, :8], object_depth[:, 4:] = 0.5, 0.6
    # Both are drawn in columns 4 to 7, the hand before the object.
    columns = ((0, 10, 4, 5), (0, 10, 5, 6), (0, 10, 6, 7), (0, 10, 7, 8))
    assert occlusion_agreement(hand_depth, object_depth, mask(columns[0]), mask(*columns[1:])) == 0.25
    assert occlusion_agreement(hand_depth + 0.2, object_depth, mask(columns[0]), mask(*columns[1:])) == 0.75
    # In neither mask, or in both: column 7, and column 6.
    assert occlusion_agreement(hand_depth + 0.2, object_depth, mask(columns[2]), mask(*columns[:3])) == 1.0
    assert occlusion_agreement(hand_depth, object_depth, mask((0, 10, 0, 4)), mask((0, 10, 8, 12))) is None


def test_picture_metrics_of_two_squares():
    """A camera of 10 pixels per metre at 1 m: a hand of 8 x 10 pixels before an object of 10 x 6 that it half hides."""
    camera = Camera(focal=jnp.array([10.0, 10.0]), principal=jnp.array([12.0, 8.0]))
    shape = (16, 24)
    palm = box((0.8, 1.0, 0.02), (-0.4, 0, 1.01))  # its front at 1 m: columns 4 to 12 and rows 3 to 13
    thing = box((2.0, 1.2, 0.02), (0, 0, 2.01))  # its front at 2 m: columns 7 to 17 and rows 5 to 11
    keypoints = np.tile([-0.4, 0.0, 1.0], (21, 1))
    keypoints[0], keypoints[9] = [-0.4, 0.5, 1.0], [-0.4, 0.0, 1.0]  # pixels (8, 13) and (8, 8)
    detected = np.tile([8.0, 8.0], (21, 1))
    detected[0] = [8.0, 18.0]
    hand_mask = mask((3, 16, 4, 12), shape=shape)  # and a forearm down to the picture's edge
    object_mask = mask((5, 11, 12, 18), shape=shape)
    masks = {"hand_mask": hand_mask, "object_mask": object_mask}
    found = picture_metrics(camera, palm, thing, **masks, keypoints=keypoints, detected=detected)
    assert tuple(found) == tuple(PICTURE_METRICS)
    expected = {
        "masked_iou": 30 / 36,  # columns 12 to 17 of 12 to 18
        "hand_iou": 1.0,
        "keypoint_error_px": 5 / 21,
        "keypoint_error_share": 5 / 21 / 10,
        "occlusion_agreement": 1.0,
    }
    assert found == pytest.approx(expected)
    # The object as seen before the hand, in three of the five columns that they share.
    masks = {
        "hand_mask": hand_mask & ~mask((5, 11, 7, 10), shape=shape),
        "object_mask": mask((5, 11, 7, 10), shape=shape),
    }
    found = picture_metrics(camera, palm, thing, **masks, keypoints=keypoints)
    assert found["occlusion_agreement"] == pytest.approx(2 / 5)
    assert found["keypoint_error_px"] is None and found["keypoint_error_share"] is None
    assert found["hand_iou"] == 1.0


# --- fgs metrics


def lines_of(text):
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: row[1] for row in rows if row[0] in GRASP_METRICS and row[1] != "is"}


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_fgs_metrics_prints_the_table(tmp_path, capsys, suffix):
    model, _, closed = open_hand()
    thing = ball(0.03, IN_THE_PALM)
    paths = [tmp_path / f"hand.{suffix}", tmp_path / f"thing.{suffix}"]
    for path, mesh in zip(paths, (closed, thing), strict=True):
        trimesh.Trimesh(*mesh, process=False).export(path)
    assert main(["metrics", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    expected = grasp_metrics(closed, thing, fingers_of_vertices(model.weights))
    table = lines_of(printed)
    assert tuple(table) == tuple(GRASP_METRICS)
    assert {key: float(value) for key, value in table.items()} == pytest.approx(expected, abs=0.002, rel=0.02)
    assert "left out" not in printed
    rows = printed.splitlines()
    assert len({row.index(GRASP_METRICS[row.split()[0]]) for row in rows}) == 1  # aligned
    assert main(["metrics", *map(str, paths), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected, abs=0.002, rel=0.02)


def test_fgs_metrics_says_what_it_leaves_out(tmp_path, capsys):
    model, _, closed = open_hand()
    paths = [str(tmp_path / "hand.stl"), str(tmp_path / "thing.ply")]  # stl files do not keep the order of vertices
    trimesh.Trimesh(closed.vertices, model.faces, process=False).export(paths[0])
    trimesh.Trimesh(*ball(0.03), process=False).export(paths[1])
    assert main(["metrics", *paths]) == 0
    printed = capsys.readouterr().out
    table = lines_of(printed)
    assert table["siv_cm3"] == table["fingers_in_contact"] == "-"
    assert "siv_cm3 is left out: the hand's mesh is open, so it has no exact boolean" in printed
    assert "fingers_in_contact is left out: the hand's mesh is not one of open_hand or open_hand_full" in printed
    assert f"{paths[0]}: merged " in printed


@pytest.mark.parametrize(
    "content", [None, "", "v 0 0 0\nv 1 0 0\nv 0 nan 1\nf 1 2 3\n", "v 0 0 0\nv 90 0 0\nv 0 99 0\nf 1 2 3\n"]
)
def test_fgs_metrics_refuses_a_bad_file_in_a_line(tmp_path, capsys, content):
    good, bad = tmp_path / "thing.obj", tmp_path / "bad.obj"
    trimesh.Trimesh(*ball(0.03), process=False).export(good)
    if content is not None:
        bad.write_text(content)
    for paths in ([bad, good], [good, bad]):
        assert main(["metrics", *map(str, paths)]) == 2
        streams = capsys.readouterr()
        assert streams.out == "" and streams.err.startswith(f"fgs: {bad}: expected ") and streams.err.count("\n") == 1
