"""What OPA works on: its targets, its grid where the picture ends, and its shapes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.config import FAST_OPA
from fgs_jax.picture.masks import mask_box
from fgs_jax.stages.opa_problem import GRID_SIDE, mask_targets, pose_problem, problem_shapes
from tests.mug_scene import mug_scene


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


def test_targets_lie_on_the_outline_that_is_seen(scene):
    targets = mask_targets(scene.object_mask, scene.hand_mask, 400, 0.75, jax.random.key(0))
    assert targets.shape == (400, 2)
    column, row = np.floor(targets).astype(int).T
    assert scene.object_mask[row, column].all() and np.allclose(targets - np.floor(targets), 0.5)
    padded = np.pad(scene.object_mask, 1, constant_values=True)
    beside_background = ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    on_outline = beside_background[row, column]
    assert 0.7 < on_outline.mean() < 0.9
    hand = np.argwhere(scene.hand_mask)
    distance = np.abs(hand[None] - np.stack([row, column], axis=1)[:, None]).sum(axis=-1).min(axis=1)
    assert (distance[on_outline] > 1).mean() > 0.95
    uniform = mask_targets(scene.object_mask, scene.hand_mask, 400, 0.0, jax.random.key(0))
    column, row = np.floor(uniform).astype(int).T
    assert abs(beside_background[row, column].mean() - beside_background[scene.object_mask].mean()) < 0.1


@pytest.mark.parametrize("edge", ["left", "top", "right", "bottom"])
def test_beyond_the_picture_s_edge_an_object_that_is_cut_costs_nothing(scene, edge):
    """Where its mask meets the edge, and there alone; and nowhere where nothing hides."""
    left, top, right, bottom = mask_box(scene.object_mask)
    cut = {"left": np.s_[:, left + 5 :], "right": np.s_[:, : right - 5]}
    cut |= {"top": np.s_[top + 5 :], "bottom": np.s_[: bottom - 5]}
    masks = {name: getattr(scene, name)[cut[edge]] for name in ("object_mask", "hand_mask")}
    shift = {"left": [left + 5, 0], "top": [0, top + 5]}.get(edge, [0, 0])
    camera = replace(scene.camera, principal=scene.camera.principal - jnp.asarray(shift, jnp.float32))
    moved = replace(scene, camera=camera, **masks)
    problem, _ = pose_problem(moved, jax.random.key(0))
    height, width = masks["object_mask"].shape
    steps = (np.arange(GRID_SIDE) + 0.5) * float(problem.cell)
    x, y = np.meshgrid(*(origin + steps for origin in np.asarray(problem.grid_origin)))
    beyond = {"left": x < 0, "right": x >= width, "top": y < 0, "bottom": y >= height}[edge]
    off = np.linalg.norm(np.asarray(problem.nearest_pixel) - np.stack([x, y], axis=-1), axis=-1)
    assert beyond.sum() > 1000 and (off[beyond] < 1e-3).all()
    elsewhere = {"left": x > width, "right": x < 0, "top": y > height, "bottom": y < 0}[edge] & ~beyond
    assert (off[elsewhere] >= 0.5).all()
    without, _ = pose_problem(moved, jax.random.key(0), replace(FAST_OPA, hand_hides=False))
    off = np.linalg.norm(np.asarray(without.nearest_pixel) - np.stack([x, y], axis=-1), axis=-1)
    assert (off[beyond] >= 0.49).all()


def test_programs_are_compiled_ahead_for_the_shapes_that_come(scene):
    def shapes(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    assert shapes(problem_shapes(FAST_OPA)) == shapes(pose_problem(scene, jax.random.key(0))[0])
