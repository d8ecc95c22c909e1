"""Distance grids: the nodes, before and after they are fitted."""

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.errors import MeshError
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.solid import exact_signed_distance
from tests.objects.shapes import ACROSS, BOX, HALF, HOLED, INNER, MOST, OUTER, flipped, together
from tests.reference import distance as reference

SOUP = np.random.default_rng(5).normal(size=(90, 3)) * 0.05, np.arange(90).reshape(-1, 3)
SHEET = np.array([[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0, 0.1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize(
    "source",
    [OUTER, HOLED, HALF, MOST, together(OUTER, ACROSS), together(OUTER, flipped(INNER)), SOUP, SHEET, BOX],
    ids=["ball", "holes", "half", "most", "overlapping", "hollow", "soup", "sheet", "box"],
)
def test_the_nodes_of_a_grid_have_the_exact_distance_before_they_are_fitted(source, monkeypatch):
    # The box and the sheet end at nodes, and the half ball has its rim in a plane of nodes.
    mesh = load_object(source, surface="solid")
    fitted = distance_grid(mesh, 26)
    monkeypatch.setattr("fgs_jax.objects.grid._fitted", lambda mesh, exact, *_: exact)
    grid = distance_grid(mesh, 26)
    moved = np.abs(fitted.box() - grid.box()) / float(grid.voxel)
    assert moved.max() < 0.4 and np.mean(moved > 0) < 0.15
    nodes = np.indices(grid.box().shape).reshape(3, -1).T * float(grid.voxel) + np.asarray(grid.origin, float)
    exact = exact_signed_distance(mesh, nodes)
    found = grid.box().astype(float).ravel()
    assert_allclose(np.abs(found), np.abs(exact), atol=1e-8)
    # On the surface itself, or halfway between inside and outside, rounding decides.
    winding = reference.winding_number(mesh.vertices, mesh.faces, nodes[::11])
    decided = (np.abs(winding - 0.5) > 1e-9) & (np.abs(exact[::11]) > 1e-9)
    assert_array_equal(np.sign(found[::11])[decided], np.sign(exact[::11])[decided])
    assert_array_equal((found[::11] < 0)[decided], (winding > 0.5)[decided])


@pytest.mark.parametrize("margin", [2.0, 5.0, 0.0])
def test_the_box_holds_the_mesh_and_its_margin_with_the_finest_voxel_there_is(margin):
    mesh = load_object((BOX.vertices + [3, -2, 1], BOX.faces))
    grid = distance_grid(mesh, 30, margin)
    voxel, low, counts = float(grid.voxel), np.asarray(grid.origin, float), np.asarray(grid.counts)
    high = low + (counts - 1) * voxel
    free = np.stack([mesh.vertices.min(axis=0) - low, high - mesh.vertices.max(axis=0)]) / voxel
    assert (free > margin - 1e-3).all() and (free < margin + 0.501).all()
    assert_allclose((low + high) / 2, [3, -2, 1], atol=1e-5)
    finer = np.ceil(np.array([0.10, 0.06, 0.04]) / (voxel * 0.9999) + 2 * margin) + 1
    assert counts.prod() <= 30**3 < finer.prod()
    assert_array_equal(grid.values[counts.prod() :], 0)


def test_the_box_of_a_cube_is_a_cube():
    grid = distance_grid(load_object(trimesh.creation.box((0.1, 0.1, 0.1))), 30)
    assert_array_equal(grid.counts, 30)
    assert float(grid.voxel) == pytest.approx(0.1 / 25, rel=1e-6)


def test_a_grid_without_room_is_refused():
    with pytest.raises(MeshError, match="expected room for the object in the grid, came 5 nodes, a margin of 2; use"):
        distance_grid(load_object(BOX), 5)
