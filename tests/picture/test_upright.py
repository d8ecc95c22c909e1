"""What a lean costs, in numbers worked out by hand, and which directions can be said."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_jax.errors import SceneError
from fgs_jax.picture.upright import AXES, lean_cost, read_direction


def turns(axis: str, *degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, np.reshape(degrees, (-1, 1)), degrees=True).as_matrix()


def test_one_spread_is_worth_a_hundredth_of_masked_iou():
    """The object's -y axis is the picture's upward, as nothing is turned."""
    up = np.array([0.0, -2.0, 0.0])
    costs = lean_cost(up, None, turns("x", 0, 30, -45, 60, 90, 180))
    np.testing.assert_allclose(costs, [0.0, 0.01, 0.0225, 0.04, 0.04, 0.04], atol=1e-12)
    np.testing.assert_allclose(lean_cost(up, None, turns("y", 0, 50, 180)), 0.0, atol=1e-12)


def test_gravity_may_be_told_in_any_length():
    gravity = turns("z", 30)[0] @ [0.0, 5.0, 0.0]
    costs = lean_cost(np.array([0.0, -1.0, 0.0]), gravity, turns("z", 30, 0, -30))
    np.testing.assert_allclose(costs, [0.0, 0.01, 0.04], atol=1e-12)


def test_without_a_word_all_poses_are_alike():
    costs = lean_cost(None, np.array([0.0, 1.0, 0.0]), turns("x", 0, 90, 180))
    np.testing.assert_array_equal(costs, np.zeros(3))


@pytest.mark.parametrize("name", AXES)
def test_axes_by_name(name):
    expected = (-1.0 if name[0] == "-" else 1.0) * np.eye(3)["xyz".index(name[-1])]
    np.testing.assert_array_equal(read_direction("up", name), expected)


TOO_LONG, TOO_SHORT = [10**400, 0, 0], [1e-200, 0, 0]
NONE_AT_ALL = ["up", "", "--y", [1, 2], [0, 0, 0], [1, np.nan, 0], [], None, [[1, 0, 0]], {"x": 1}]


@pytest.mark.parametrize("value", [*NONE_AT_ALL, TOO_LONG, TOO_SHORT])
def test_what_is_no_direction_is_refused_in_one_line(value):
    with pytest.raises(SceneError, match=r"^up: expected x, y, z, -x, -y, -z or three numbers that are not all 0"):
        read_direction("up", value)
