"""How thick walls are, and what is said of grids that are too coarse for them."""

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose

from fgs_jax.errors import MeshError
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.walls import grid_notes, wall_thickness
from fgs_jax.testing.shapes import mug, wine_glass
from tests.objects.shapes import ACROSS, BALL, BOX, INNER, OUTER, flipped, together

SHEET = np.array([[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0, 0.1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
TURN = trimesh.transformations.rotation_matrix(1, [1, 2, 3], [4, 5, 6])
KNIFE = trimesh.creation.box((0.3, 0.02, 0.002))
WALLS = {
    "knife": (KNIFE, 0.002),
    "knife elsewhere": (KNIFE.copy().apply_transform(TURN), 0.002),
    "a shell of a centimetre": (together(OUTER, flipped(INNER)), 0.01),
    "mug": (mug(), 0.004),
    "ball": (BALL, 0.1),
    "box": (BOX, 0.04),
    "parts that overlap": (together(OUTER, ACROSS), 0.1),
}


@pytest.mark.parametrize("name", WALLS)
def test_a_wall_is_as_thick_as_it_was_made(name):
    source, thickness = WALLS[name]
    assert_allclose(wall_thickness(load_object(source)), thickness, rtol=0.03)


def test_an_open_sheet_has_no_wall():
    assert wall_thickness(load_object(SHEET, surface="solid")) == np.inf
    with pytest.raises(MeshError, match="expected a mesh that load_object has read"):
        wall_thickness(None)  # pyright: ignore[reportArgumentType]


def test_a_grid_too_coarse_for_a_wall_is_told_with_one_that_is_not():
    glass = load_object(wine_glass())
    grid = distance_grid(glass, 24)
    assert 0.005 < float(grid.voxel) < 0.008
    expected = (
        f"object: its wall is 1.5 mm thick, and a voxel of its distance grid {1e3 * float(grid.voxel):.1f} mm wide"
    )
    [note] = grid_notes(glass, grid)
    assert note.startswith(f"{expected}: a finger may sink into it unnoticed; a grid of ")
    knife = load_object(KNIFE)
    [note] = grid_notes(knife, distance_grid(knife, 24))
    enough = int(note.split("a grid of ")[1].split()[0])
    assert 30 < enough < 64
    assert grid_notes(knife, distance_grid(knife, enough)) == []
    assert len(grid_notes(knife, distance_grid(knife, int(0.8 * enough)))) == 1


def test_no_grid_is_named_that_may_not_be_had():
    foil = load_object(trimesh.creation.box((0.1, 0.1, 0.00001)).apply_transform(TURN))
    [note] = grid_notes(foil, distance_grid(foil, 8))
    assert note.startswith("object: its wall is 0.0 mm thick") and note.endswith("sink into it unnoticed")
