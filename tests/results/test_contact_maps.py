"""The colours on the meshes, and the finer mesh that carries them."""

import numpy as np
import pytest
import trimesh

from fgs_jax.results.contact_maps import BARE, CONTACT_RAMP, DEPTH_RAMP, contact_colours, depth_colours, finer
from fgs_jax.results.metrics import Surface, signed_distances


def test_colours_follow_the_distances_of_a_ball_and_a_box():
    """A ball of 3 cm as the hand, 4 mm from the side of a box of 8 cm, and then 5 mm within."""
    box, ball = trimesh.creation.box(extents=[0.08] * 3), trimesh.creation.icosphere(subdivisions=4, radius=0.03)
    box_surface = finer(Surface(np.asarray(box.vertices), np.asarray(box.faces)), 0.005, 20_000)
    centre = np.array([0.04 + 0.004 + 0.03, 0, 0])
    hand_surface = Surface(np.asarray(ball.vertices) + centre, np.asarray(ball.faces))
    colours = contact_colours(signed_distances(hand_surface, box_surface.vertices))
    exact = np.linalg.norm(box_surface.vertices - centre, axis=1) - 0.03
    near = exact < 0.01
    assert 20 < near.sum() < 0.1 * len(near)
    np.testing.assert_array_equal(colours[exact > 0.0101], np.broadcast_to(BARE, (int((exact > 0.0101).sum()), 3)))
    first, last = np.array(CONTACT_RAMP)
    inner = exact < 0.0099
    np.testing.assert_allclose(colours[inner], first + 100 * exact[inner, None] * (last - first), atol=0.01)

    within = Surface(np.asarray(ball.vertices) + centre - [0.009, 0, 0], hand_surface.faces)
    colours = depth_colours(signed_distances(Surface(np.asarray(box.vertices), np.asarray(box.faces)), within.vertices))
    depth = 0.04 - np.asarray(within.vertices)[:, 0]
    first, last = np.array(DEPTH_RAMP)
    assert 0.0049 < depth.max() < 0.0051
    np.testing.assert_allclose(colours[depth > 0], first + 100 * depth[depth > 0, None] * (last - first), atol=1e-9)
    np.testing.assert_array_equal(colours[depth < 0], np.broadcast_to(BARE, (int((depth < 0).sum()), 3)))


def test_ramps_end_where_they_say():
    first, last = np.array(CONTACT_RAMP)
    np.testing.assert_allclose(
        contact_colours(np.array([-0.02, 0.0, 0.005, 0.01])), [first, first, (first + last) / 2, BARE], atol=1e-12
    )
    first, last = np.array(DEPTH_RAMP)
    np.testing.assert_allclose(
        depth_colours(np.array([0.0, -0.005, -0.01, -0.05])), [BARE, (first + last) / 2, last, last], atol=1e-12
    )


@pytest.mark.parametrize("most", [20_000, 500])
def test_a_finer_mesh_is_the_same_solid_without_cracks(most):
    solid = trimesh.creation.cylinder(radius=0.03, height=0.2, sections=12)
    vertices, faces = finer(Surface(np.asarray(solid.vertices), np.asarray(solid.faces)), 0.006, most)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(solid.volume, rel=1e-9) and mesh.area == pytest.approx(solid.area, rel=1e-9)
    longest = mesh.edges_unique_length.max()
    assert len(faces) <= most
    if most == 500:
        assert len(faces) > 400 and 0.006 < longest < 0.06
    else:
        assert longest <= 0.006


def test_a_fine_mesh_stays_as_it_is():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.01)
    vertices, faces = finer(Surface(np.asarray(ball.vertices), np.asarray(ball.faces)), 0.01, 100)
    np.testing.assert_array_equal(vertices, ball.vertices)
    np.testing.assert_array_equal(faces, ball.faces)
