"""Shapes are solids of real sizes, asymmetric where they say so."""

import igl
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from fgs_jax.results.metrics import Surface, signed_distances
from fgs_jax.testing import ASYMMETRIC, HELD, SHAPES
from fgs_jax.testing.shapes import symmetries

SIZES = {  # mm, smallest side of the bounding box first
    "mug": (82, 95, 118),
    "bottle": (72, 72, 240),
    "can": (66, 66, 123),
    "phone": (12, 72, 148),
    "hammer": (30, 136, 312),
    "scissors": (12, 105, 215),
    "wine_glass": (82, 82, 200),
    "box": (65, 90, 130),
    "bowl": (65, 146, 146),
    "pan": (59, 210, 382),
    "spray_bottle": (59, 104, 258),
    "camera": (86, 93, 130),
    "tumbler": (77, 77, 200),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_one_solid_of_a_real_size(name):
    vertices, faces = SHAPES[name]()
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert 500 <= len(faces) <= 4000
    np.testing.assert_allclose(np.sort(mesh.extents) * 1000, SIZES[name], atol=1)
    assert 0.05 * mesh.convex_hull.volume < mesh.volume <= mesh.convex_hull.volume
    np.testing.assert_allclose(mesh.center_mass, 0, atol=0.005)


@pytest.mark.parametrize("name", SHAPES)
def test_asymmetric_shapes_are_those_that_no_turn_brings_back(name):
    """Where a shape is like itself after any turn, it is so after half a turn about one of its principal axes."""
    vertices, faces = SHAPES[name]()
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    distances = []
    for axis in np.linalg.eigh(mesh.moment_inertia)[1].T:
        turned = Rotation.from_rotvec(np.pi * axis).apply(vertices - mesh.center_mass) + mesh.center_mass
        distances.append(np.sqrt(np.max(igl.point_mesh_squared_distance(turned, vertices, faces)[0])))
    if name in ASYMMETRIC:
        assert min(distances) > 0.002
    else:
        assert min(distances) < 1e-4


@pytest.mark.parametrize("name", HELD)
def test_a_held_shape_is_one_solid_that_its_symmetries_turn_into_itself(name):
    mesh = trimesh.Trimesh(*HELD[name](), process=False)
    assert mesh.is_watertight and mesh.volume > 0 and mesh.body_count == 1
    surface = Surface(*HELD[name]())
    for turn in symmetries(name, steps=4):
        assert np.abs(signed_distances(surface, surface.vertices @ turn.T)).max() < 1e-6
