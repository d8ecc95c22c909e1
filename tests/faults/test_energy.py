"""Energies of arrays that are no points."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
import trimesh

from fgs_jax.energies.contact import E_dis
from fgs_jax.errors import FgsError
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object


def test_a_wrong_shape_is_no_number(fault: Callable[..., Path]):
    fault("energy-wrong-shape-silent")
    mesh = load_object(trimesh.creation.icosphere(subdivisions=2, radius=0.05))
    grid, points, energy = distance_grid(mesh, 12), jnp.zeros((5, 3)), E_dis
    call: Any = energy
    for wrong in (jnp.zeros((5, 2)), jnp.zeros((3, 5)), jnp.zeros(3)):
        with pytest.raises(FgsError, match=r"E_dis: contact_points: expected floats of shape \(n, 3\), got float32 of"):
            call(wrong, grid)
    for arguments, message in (
        ((points, mesh), "objects.distance_grid"),
        ((grid, points), "got a DistanceGrid: check"),
    ):
        with pytest.raises(FgsError, match=message) as error:
            call(*arguments)
        assert "\n" not in str(error.value)
    assert call(points.tolist(), grid) == E_dis(points, grid) > 0.2, "a list of points is taken"
