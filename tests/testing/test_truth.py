"""True grasps have what they say, by another library's distances, and know no energy of the method."""

import ast
from pathlib import Path

import igl
import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fgs_jax.hands.anatomy import FINGER_OF_JOINT
from fgs_jax.hands.mano import hand
from fgs_jax.results.metrics import hand_size_ratio
from fgs_jax.testing import grasps, open_hand, true_grasp, truth
from fgs_jax.types import HandParams

FINGERS = FINGER_OF_JOINT[np.argmax(np.asarray(open_hand().weights), axis=1)]
PRESSED, TOUCHES = ("tumbler", 0), ("can", 0)


@pytest.mark.parametrize(("name", "seed"), [PRESSED, TOUCHES, ("small_box", 0)])
def test_a_true_grasp_touches_as_deep_and_with_the_fingers_that_it_says(name, seed):
    grasp = true_grasp(name, seed)
    kind = igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
    mesh = grasp.object_vertices, grasp.object_faces
    distances = np.asarray(igl.signed_distance(grasp.hand_vertices, *mesh, sign_type=kind)[0], float)
    assert grasp.depth == 0 or 0.002 <= grasp.depth <= 0.006
    assert -distances.min() == pytest.approx(grasp.depth, abs=0.001)
    for finger, touches in enumerate(grasp.fingers):
        nearest = distances[finger == FINGERS].min()
        assert -nearest == pytest.approx(grasp.depth, abs=0.001) if touches else nearest > 0.006
    at_border = np.abs(distances - 0.004) < 1e-5
    assert_array_equal(grasp.touching[~at_border], distances[~at_border] < 0.004)
    assert 2 <= grasp.fingers.sum() <= 5


def test_depths_and_fingers_differ():
    assert true_grasp(*PRESSED).depth > 0.002 and true_grasp(*TOUCHES).depth == 0
    assert {int(true_grasp(name, 0).fingers.sum()) for name in ("can", "small_box")} == {2, 4}


def test_the_vertices_are_those_of_the_parameters():
    grasp = true_grasp(*PRESSED)
    posed = jax.jit(hand)(open_hand(), grasp.params)
    assert np.abs(posed.vertices - grasp.hand_vertices).max() < 1e-6
    assert np.abs(posed.keypoints - grasp.hand_keypoints).max() < 1e-6


def test_the_same_seed_is_the_same_grasp_and_another_is_another():
    first, again, other = (true_grasp("small_box", seed) for seed in (0, 0, 4))
    assert_array_equal(first.hand_vertices, again.hand_vertices)
    assert np.abs(first.hand_vertices - other.hand_vertices).max() > 0.01


def test_a_hand_of_another_size():
    mean = jax.jit(hand)(open_hand(), HandParams()).keypoints
    assert hand_size_ratio(true_grasp("small_box", 0).hand_keypoints, mean) == pytest.approx(1, abs=1e-5)
    assert hand_size_ratio(true_grasp("small_box", 0, 1.08).hand_keypoints, mean) == pytest.approx(1.08, abs=1e-5)


@pytest.mark.parametrize("module", [truth, grasps])
def test_no_energy_and_no_stage_is_known(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imports = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    imports += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    assert imports and not [name for name in imports if name.startswith(("fgs_jax.energies", "fgs_jax.stages"))]
