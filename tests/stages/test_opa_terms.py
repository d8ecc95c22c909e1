"""OPA's terms against their twin, by hand, and their signs; their derivatives against numerical ones."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from fgs_jax.config import FAST_OPA, PAPER_OPA
from fgs_jax.energies.image import L_cam, L_dep, L_dist
from fgs_jax.picture.render import depth_map
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages.opa_problem import GRID_SIDE, PoseState, pose_problem, start_translation
from fgs_jax.stages.opa_terms import opa_terms
from fgs_jax.types import Camera
from tests.lowered import lowered, sizes
from tests.mug_scene import mug_scene, rendered_mug
from tests.reference import opa as twin

terms_of = jax.jit(opa_terms, static_argnames="paper_form")


@jax.jit
def total(state, problem, start):
    return sum(opa_terms(problem, start, state).values())


@pytest.fixture(scope="module")
def rendered():
    return rendered_mug()


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


@pytest.fixture(scope="module")
def problem(scene):
    return pose_problem(scene, jax.random.key(0))[0]


def test_terms_equal_their_twin(x64, scene, rng):
    config = replace(PAPER_OPA, phases=(replace(PAPER_OPA.phases[0], points=40, targets=50),))
    problem, _ = pose_problem(scene, jax.random.key(2), config)
    problem = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), problem)
    start = np.asarray(Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix())
    depth = np.asarray(problem.hand_depth)
    assert float(problem.cell) == 1.0
    left, top = (int(x) for x in problem.grid_origin)
    image = np.zeros((400, 400))
    rows, columns = np.nonzero(depth)
    image[rows + top, columns + left] = depth[rows, columns]
    for depth_change in (0.0, -0.05, -2.0):
        translation = np.asarray(start_translation(problem)) + np.array([0.01, -0.02, depth_change])
        state = PoseState(jnp.array([0.1, 0.2, -0.1]), jnp.asarray(translation), None)
        ours = terms_of(problem, jnp.asarray(start), state, paper_form=True)
        rotation = start @ Rotation.from_rotvec([0.1, 0.2, -0.1]).as_matrix()
        targets = np.asarray(problem.targets)
        off_mask, off_points, dep, cam = twin.terms(
            {"f": np.asarray(problem.camera.focal), "c": np.asarray(problem.camera.principal)},
            np.asarray(problem.points),
            targets,
            rotation,
            translation,
            mask_pixels=np.argwhere(scene.object_mask),
            hand_depth=image,
        )
        if depth_change > -1:  # behind the camera points leave the grid, where the nearest pixel is of the last cell
            share = float(problem.mask_area) / len(targets)
            # The nearest point is one of those within 6e-5 of the least squared distance.
            np.testing.assert_allclose(ours["dist"], off_mask + share * off_points, rtol=6e-5)
            np.testing.assert_allclose(ours["dep"], dep, rtol=1e-6)
        np.testing.assert_allclose(ours["cam"], cam, rtol=1e-6, atol=1e-12)


def test_the_default_form_is_the_twin_s_means_where_cells_are_larger_than_pixels(x64, scene):
    """In a picture of five times the size: means over points and targets, over the mask's area, and over 10 cm."""
    camera = Camera(5 * scene.camera.focal, 5 * scene.camera.principal)
    finer = {name: np.kron(getattr(scene, name), np.ones((5, 5), bool)) for name in ("object_mask", "hand_mask")}
    config = replace(FAST_OPA, hand_hides=False, phases=(replace(FAST_OPA.phases[0], points=40, targets=50),))
    problem, _ = pose_problem(replace(scene, camera=camera, **finer), jax.random.key(2), config)
    problem = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), problem)
    assert float(problem.cell) > 1.5 and float(problem.mask_area) == 25 * scene.object_mask.sum()
    # The hand's depth stands where the picture shows it: as drawn in the picture itself, but for its edges.
    height, width = finer["hand_mask"].shape
    drawn = depth_map(camera, (width, height), *scene.posed_hand())
    steps = (np.arange(GRID_SIDE) + 0.5) * float(problem.cell)
    column, row = (np.floor(origin + steps).astype(int) for origin in np.asarray(problem.grid_origin))
    row, column = np.meshgrid(row, column, indexing="ij")
    within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row, column = np.where(within, row, 0), np.where(within, column, 0)
    expected = np.where(
        within & finer["hand_mask"][row, column] & np.isfinite(drawn[row, column]), drawn[row, column], 0
    )
    assert (expected > 0).sum() > 1000
    assert (np.abs(problem.hand_depth - expected) < 0.003)[expected > 0].mean() > 0.95
    assert ((expected > 0) != (problem.hand_depth > 0)).mean() < 0.01
    start = Rotation.from_rotvec([0.3, -0.8, 0.5])
    # Between the middle of its mask and that of the hand's, before the hand.
    middle = np.mean([np.argwhere(mask).mean(axis=0)[::-1] for mask in finer.values()], axis=0)
    ray = np.append((middle - np.asarray(camera.principal)) / np.asarray(camera.focal), 1.0)
    translation = ray * (float(problem.depth) - 0.05)
    size, turn = 1.2, np.array([0.1, 0.2, -0.1])
    state = PoseState(jnp.asarray(turn), jnp.asarray(translation), jnp.log(jnp.asarray(size)))
    ours = terms_of(problem, jnp.asarray(start.as_matrix()), state)
    off_mask, off_points, dep, cam = twin.terms(
        {"f": np.asarray(camera.focal), "c": np.asarray(camera.principal)},
        size * np.asarray(problem.points),
        np.asarray(problem.targets),
        start.as_matrix() @ Rotation.from_rotvec(turn).as_matrix(),
        translation,
        mask_pixels=np.argwhere(finer["object_mask"]),
        hand_depth=np.asarray(problem.hand_depth),
        origin=np.asarray(problem.grid_origin),
        cell=float(problem.cell),
    )
    assert off_mask > 0 and dep > 0
    np.testing.assert_allclose(ours["dist"], (off_mask / 40 + off_points / 50) / problem.mask_area, rtol=6e-5)
    np.testing.assert_allclose(ours["dep"], dep / 40 / 0.1, rtol=1e-6)
    np.testing.assert_allclose(ours["cam"], cam, atol=1e-12)


def test_an_unknown_size_is_held_to_the_hand_s_depth_by_5_cm(problem):
    translation = start_translation(problem)
    for off, expected in ((0.0, 0.0), (0.05, 1.0), (-0.1, 4.0)):
        translation[2] = problem.depth + np.float32(off)
        found = terms_of(problem, jnp.eye(3), PoseState(jnp.zeros(3), jnp.asarray(translation), jnp.zeros(())))
        np.testing.assert_allclose(found["size"], expected, rtol=1e-4, atol=1e-9)
    assert "size" not in terms_of(problem, jnp.eye(3), PoseState(jnp.zeros(3), jnp.asarray(translation), None))


def test_terms_by_hand():
    assert L_dist(jnp.array([[3.0, 0.0], [4.0, 0.0]]), jnp.array([[1.0], [2.0]])) == 30.0
    # The hand lies at 0.5 m. A point before it is pushed back, one behind it is not, nor one seen beside the hand.
    assert L_dep(jnp.array([0.4, 0.6, 0.1]), jnp.array([0.5, 0.5, 0.0])) == pytest.approx(0.1)
    assert L_cam(jnp.array([-0.09, 0.5])) == pytest.approx(0.05)
    assert jax.grad(lambda z: L_cam(z[None]))(jnp.asarray(-0.1)) < 0, "the way out is forward"


@pytest.mark.parametrize("scaled", [False, True])
def test_gradients_are_numerical_ones(x64, problem, scaled):
    problem = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), problem)
    problem = replace(problem, points=problem.points[:60], targets=problem.targets[:60])
    start = jnp.asarray(random_rotations(jax.random.key(5), 0, 1)[0], jnp.float64)
    state = PoseState(jnp.array([0.1, 0.2, -0.1]), start_translation(problem), jnp.asarray(0.1) if scaled else None)

    check_grads(
        lambda state: total(state, problem, start), (state,), order=1, modes=("rev",), atol=1e-4, rtol=1e-4, eps=1e-7
    )


def test_gradients_are_finite_anywhere(problem):
    for translation in ([0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 0.0, 0.01], [50.0, 0.0, 1.0], [0.0, 0.0, 1e4]):
        state = PoseState(jnp.zeros(3), jnp.array(translation), jnp.zeros(()))
        gradient = jax.jit(jax.grad(total))(state, problem, jnp.eye(3))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)), translation


def test_nothing_of_points_by_targets_is_made(problem):
    state = PoseState(jnp.zeros(3), start_translation(problem), None)
    text = lowered(jax.grad(lambda s: opa_terms(problem, jnp.eye(3), s)["dist"]), state, platform="cpu")
    tables = {problem.nearest_pixel.size, problem.nearest_pixel.size // 2}
    assert max(sizes(text) - tables) < len(problem.points) * len(problem.targets) / 8


def test_literal_signs_push_the_object_to_the_camera(rendered):
    """Eq. 9 and 10 as printed, for a camera that looks along -z, do harm with one that looks along +z."""
    depth = jnp.linspace(0.3, 0.9, 50)
    printed = jax.grad(lambda z: jnp.sum(jnp.maximum(z - 0.5, 0.0)) + jnp.mean(jnp.maximum(z, 0.0)))(depth)
    ours = jax.grad(lambda z: L_dep(z, jnp.full(50, 0.5)) + L_cam(z))(depth)
    assert (printed > 0).all(), "descent on the printed form pulls everything towards the camera"
    assert (ours[depth < 0.5] < 0).all() and (ours[depth > 0.5] == 0).all()


def test_a_start_turns_about_the_centre_of_the_points(problem):
    state = PoseState(jnp.array([0.2, 0.1, -0.3]), start_translation(problem), None)
    by_state = terms_of(problem, jnp.eye(3), state)["dist"]
    by_start = terms_of(problem, jaxlie.SO3.exp(state.rotation).as_matrix(), state._replace(rotation=jnp.zeros(3)))
    np.testing.assert_allclose(by_state, by_start["dist"], rtol=1e-4)
