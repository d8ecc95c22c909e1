"""The measures of a pose against the true one give known values."""

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from fgs_jax.testing import add_s, diameter, rotation_error


def test_add_s_of_a_known_shift():
    grid = np.stack(np.meshgrid(*3 * [np.arange(5) * 0.1]), axis=-1).reshape(-1, 3)
    truth, shifted, turned = np.eye(4), np.eye(4), np.eye(4)
    truth[:3, 3] = [0.1, -0.2, 0.7]
    truth[:3, :3] = Rotation.from_rotvec([0.3, -1.0, 0.2]).as_matrix()
    assert add_s(grid, truth, truth) == 0
    shifted[:3, :3], shifted[:3, 3] = truth[:3, :3], truth[:3, 3] + [0, 0.03, 0]
    np.testing.assert_allclose(add_s(grid, shifted, truth), 0.03, atol=1e-9)
    one_cell = truth @ _translation(0.1, 0, 0)
    np.testing.assert_allclose(add_s(grid, one_cell, truth), 0.1 / 5, atol=1e-9)
    # A quarter turn about the middle brings a cube back.
    turned[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    about_the_middle = truth @ _translation(0.2, 0.2, 0.2) @ turned @ _translation(-0.2, -0.2, -0.2)
    np.testing.assert_allclose(add_s(grid, about_the_middle, truth), 0, atol=1e-9)
    np.testing.assert_allclose(rotation_error(about_the_middle[:3, :3], truth[:3, :3]), 90)


def _translation(*offset):
    T = np.eye(4)
    T[:3, 3] = offset
    return T


def test_diameter_of_a_box():
    np.testing.assert_allclose(diameter(trimesh.creation.box((0.1, 0.2, 0.2)).vertices), 0.3)
