"""OPA: terms against their twin, signs, bits, and poses found in rendered pictures with known truth."""

import inspect
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from fgs_jax.config import FAST_OPA, PAPER_OPA
from fgs_jax.energies.image import L_cam, L_dep, L_dist
from fgs_jax.errors import ConfigError, SceneError
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.masks import mask_box
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene, camera_from_matrix
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.view import (
    ROUGH_VIEW_SIDE,
    masked_ious,
    picture_view,
)
from fgs_jax.results import metrics
from fgs_jax.solve.minimise import Solution
from fgs_jax.solve.restarts import random_rotations, run_blocks
from fgs_jax.stages import opa, opa_phases
from fgs_jax.stages.opa import approximate, compile_approximate, poses_of
from fgs_jax.stages.opa_phases import PhaseInputs, PhaseSettings, run_phase, run_start
from fgs_jax.stages.opa_problem import (
    GRID_SIDE,
    PoseState,
    pose_problem,
    start_translation,
)
from fgs_jax.stages.opa_terms import opa_terms
from fgs_jax.testing import add_s, diameter, make_scene
from fgs_jax.types import Camera
from tests.lowered import loops, lowered, sizes
from tests.reference import opa as twin

terms_of = jax.jit(opa_terms, static_argnames="paper_form")


@jax.jit
def total(state, problem, start):
    return sum(opa_terms(problem, start, state).values())


def as_scene(rendered, **changes) -> Scene:
    mesh = load_object((rendered.object_vertices, rendered.object_faces), name=rendered.name)
    hand = np.asarray(rendered.hand_vertices, float), np.asarray(rendered.hand_faces)
    scene = Scene(rendered.camera, rendered.object_mask, rendered.hand_mask, *hand, mesh)
    return replace(scene, **changes)


@pytest.fixture(scope="module")
def rendered():
    return make_scene("mug", 1, size=(160, 160))


@pytest.fixture(scope="module")
def scene(rendered):
    return as_scene(rendered)


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


def test_rates_go_from_the_first_to_the_last_as_in_table_2(problem):
    """Behind the camera the depth's gradient is constant, and a step of Adam is the rate itself."""
    run, steps, still = jax.jit(run_start, static_argnums=0), 20, jnp.full(2, 1e-9)
    rotation, translation = PAPER_OPA.phases[0].rotation_rate, PAPER_OPA.phases[0].translation_rate
    start = jnp.eye(3), PoseState(jnp.zeros(3), jnp.array([0.0, 0.0, -2.0]), None)
    inputs = PhaseInputs(problem, {"dist": 1.0, "dep": 0.0, "cam": 1e9}, still, jnp.asarray(translation))
    done = -np.diff(run(PhaseSettings(steps, 32, 32, False), inputs, start).history) / 1e9
    np.testing.assert_allclose(done, 1e-2 * 0.1 ** (np.arange(steps - 1) / steps), rtol=1e-3)
    inputs = inputs._replace(rotation_rate=jnp.asarray(rotation))
    turned = run(PhaseSettings(2, 32, 32, False), inputs, start).value.rotation
    np.testing.assert_allclose(np.abs(turned), 1e-2, rtol=1e-3)


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


def test_on_a_gpu_only_the_steps_are_a_loop(problem):
    """What would be a kernel for each of 24 turns, twice in every step."""
    inputs = PhaseInputs(problem, {"dist": 1.0, "dep": 0.1, "cam": 1.0, "size": 0.0}, jnp.ones(2), jnp.ones(2))
    starts = jnp.tile(jnp.eye(3), (8, 1, 1)), PoseState(jnp.zeros((8, 3)), jnp.ones((8, 3)), None)
    phase = jax.vmap(partial(run_start, PhaseSettings(40, 192, 192, False)), (None, 0))
    assert loops(lowered(phase, inputs, starts, platform="cuda")) == 1
    assert loops(lowered(phase, inputs, starts, platform="cpu")) > 1


@pytest.mark.parametrize("factor", [-0.5, 0.6], ids=["behind the camera", "in front of the hand"])
def test_signs(monkeypatch, rendered, scene, factor):
    """From behind the camera, and from before a hand that hides it, the object ends where it is."""
    monkeypatch.setattr(opa, "start_translation", lambda problem: factor * start_translation(problem))
    first, *later = FAST_OPA.phases
    # One first phase goes 0.36 m at most, and the next one has forgotten the gradients from behind the camera.
    config = replace(FAST_OPA, phases=(first, first, first, *later))
    found = approximate(scene, jax.random.key(0), 128, config=config)
    truth, middle = rendered.T_camera_object, rendered.object_vertices.mean(axis=0)
    place = found.rotation[0] @ middle + found.translation[0]
    assert np.linalg.norm(place - truth[:3, :3] @ middle - truth[:3, 3]) < 0.25 * diameter(rendered.object_vertices)
    assert found.masked_iou[0] > 0.9 and found.lost == 0


def test_literal_signs_push_the_object_to_the_camera(rendered):
    """Eq. 9 and 10 as printed, for a camera that looks along -z, do harm with one that looks along +z."""
    depth = jnp.linspace(0.3, 0.9, 50)
    printed = jax.grad(lambda z: jnp.sum(jnp.maximum(z - 0.5, 0.0)) + jnp.mean(jnp.maximum(z, 0.0)))(depth)
    ours = jax.grad(lambda z: L_dep(z, jnp.full(50, 0.5)) + L_cam(z))(depth)
    assert (printed > 0).all(), "descent on the printed form pulls everything towards the camera"
    assert (ours[depth < 0.5] < 0).all() and (ours[depth > 0.5] == 0).all()


def phase_inputs(problem):
    weights = {"dist": 1.0, "dep": 0.1, "cam": 1000.0, "size": 0.001}
    return PhaseInputs(problem, weights, jnp.array([0.05, 0.005]), jnp.array([0.01, 0.001]))


def starts_of(problem, count):
    rotations = np.asarray(random_rotations(jax.random.key(7), 0, count))
    translations = np.tile(np.asarray(start_translation(problem)), (count, 1))
    return rotations, PoseState(np.zeros((count, 3), np.float32), translations, None)


def test_bits_do_not_depend_on_company(problem):
    """Alone, among 1000, beside a NaN and in any lane, phase by phase."""
    rotations, state = starts_of(problem, 1000)
    for points, targets in ((128, 128), (256, 256)):
        settings, inputs = PhaseSettings(8, points, targets, False), phase_inputs(problem)
        among = run_blocks(run_start, settings, inputs, (rotations, state), 64)
        spoiled = state._replace(translation=state.translation.copy())
        spoiled.translation[10::64] = np.nan
        beside = run_blocks(run_start, settings, inputs, (rotations, spoiled), 64)
        for k in (0, 11, 517, 999):
            one = jax.tree.map(lambda x: x[k : k + 1], (rotations, state))  # noqa: B023
            alone = run_blocks(run_start, settings, inputs, one, 64)
            for whole, single, third in zip(*(jax.tree.leaves(x) for x in (among, alone, beside)), strict=True):
                np.testing.assert_array_equal(single[0], whole[k])
                np.testing.assert_array_equal(third[k], whole[k])
        other_lane = jax.tree.map(lambda x: np.roll(x, 5, axis=0), (rotations, state))
        rolled = run_blocks(run_start, settings, inputs, other_lane, 64)
        np.testing.assert_array_equal(np.roll(rolled.energy, -5), among.energy)
        assert np.isinf(beside.energy[10::64]).all()


def test_a_lost_start_is_reported_and_loses_alone(scene, monkeypatch):
    expected = approximate(scene, jax.random.key(1), 64, count=2, config=replace(FAST_OPA, polish_evaluations=0))

    def spoiled(key, first, count):
        rotations = random_rotations(key, first, count)
        rotations[63 if expected.start[0] != 63 else 62] = np.nan
        return rotations

    monkeypatch.setattr(opa, "random_rotations", spoiled)
    found = approximate(scene, jax.random.key(1), 64, count=2, config=replace(FAST_OPA, polish_evaluations=0))
    assert found.lost == 1 and expected.lost == 0
    np.testing.assert_array_equal(found.rotation[0], expected.rotation[0])
    monkeypatch.setattr(opa, "random_rotations", lambda key, first, count: np.full((count, 3, 3), np.nan))
    with pytest.raises(SceneError, match="no start of 64 ended with a finite energy"):
        approximate(scene, jax.random.key(1), 64)


@pytest.mark.parametrize("shape", ["mug", "hammer"])
def test_finds_the_pose(shape):
    rendered = make_scene(shape, 0, size=(224, 224))
    found = approximate(as_scene(rendered), jax.random.key(0), 256)
    points, truth = rendered.object_vertices, rendered.T_camera_object
    shares = []
    for rotation, translation in zip(found.rotation, found.translation, strict=True):
        estimate = np.eye(4)
        estimate[:3, :3], estimate[:3, 3] = rotation, translation
        shares.append(add_s(points, estimate, truth) / diameter(points))
    assert min(shares) < 0.1 and found.masked_iou[0] > 0.95
    assert (np.diff(found.masked_iou) <= 0).all() and (found.scale == 1.0).all()
    assert len(found.history) == 3 and found.history[2].shape[1] == FAST_OPA.phases[2].steps
    total = found.terms["dist"] + 0.1 * found.terms["dep"] + 1000 * found.terms["cam"]
    np.testing.assert_allclose(total, found.energy, rtol=1e-5)
    np.testing.assert_allclose(found.history[2].min(axis=1), found.energy)
    for a in range(len(found.rotation)):
        for b in range(a):
            turn = Rotation.from_matrix(found.rotation[a] @ found.rotation[b].T).magnitude()
            assert np.rad2deg(turn) > 10, "two of the poses are the same"


def test_an_unknown_size_is_found_at_the_hands_depth():
    rendered = make_scene("mug", 0, size=(224, 224))
    scene = as_scene(rendered, object=load_object((rendered.object_vertices * 0.7, rendered.object_faces), "unknown"))
    found = approximate(scene, jax.random.key(0), 256)
    assert found.masked_iou[0] > 0.95
    assert abs(0.7 * found.scale[0] - 1) < 0.25
    middle = found.scale[0] * found.rotation[0] @ scene.object.vertices.mean(axis=0) + found.translation[0]
    assert abs(middle[2] - scene.posed_hand()[0][:, 2].mean()) < 0.1


@pytest.mark.parametrize("unknown_size", [False, True])
def test_every_phase_is_compiled_ahead(problem, monkeypatch, unknown_size):
    """With the settings that it runs with, for the shapes of its blocks."""
    compiled, run = [], []
    monkeypatch.setattr(opa, "compile_block", lambda *arguments: compiled.append(arguments))
    nothing = Solution(None, jnp.zeros(()), {}, jnp.zeros(0))
    monkeypatch.setattr(opa_phases, "run_blocks", lambda *arguments, **_: run.append(arguments) or nothing)
    compile_approximate(FAST_OPA, 256, unknown_size=unknown_size)
    for phase in FAST_OPA.phases:
        rotations, state = starts_of(problem, 256)
        state = state._replace(log_scale=np.zeros(256, np.float32) if unknown_size else None)
        run_phase(problem, FAST_OPA, phase, rotations, state)
    assert len(compiled) == len(run) == len(FAST_OPA.phases)
    for (*program, block), (*ran, starts, width) in zip(compiled, run, strict=True):
        assert program[:2] == ran[:2]
        ahead, asked = (jax.tree.map(np.shape, tree) for tree in (program[2], ran[2]))
        assert ahead == asked
        of_a_block = jax.tree.map(lambda x: (width, *x.shape[1:]), starts)  # noqa: B023
        assert jax.tree.map(lambda x: x.shape, block) == of_a_block


def test_camera_from_matrix():
    camera = camera_from_matrix(np.array([[500.0, 0, 64], [0, 510, 48], [0, 0, 1]]), integer_centres=True)
    np.testing.assert_allclose(camera.focal, [500, 510])
    np.testing.assert_allclose(camera.principal, [64.5, 48.5])
    assert mask_box(np.pad(np.ones((2, 3), bool), ((4, 5), (6, 7)))) == (6, 4, 9, 6)


def bad(scene, **changes):
    """A copy with changed fields, past the shape hook of these tests, which users do not have."""
    copy = replace(scene)
    for name, change in changes.items():
        object.__setattr__(copy, name, change(getattr(scene, name)))
    return copy


def far_corner(mask):
    other = np.zeros_like(mask)
    other[:6, :6] = True
    return other


BAD_SCENES = [
    ({"object_mask": np.zeros_like}, "object_mask: expected visible pixels of the object, got none"),
    ({"hand_mask": np.zeros_like}, "hand_mask: expected visible pixels of the hand, got none"),
    ({"object_mask": lambda m: m[:-1]}, "hand_mask: expected the size of the picture"),
    ({"object_mask": lambda m: m.astype(np.uint8)}, r"object_mask: expected booleans of shape \(h, w\), got uint8"),
    ({"object_mask": lambda m: m & (np.cumsum(m).reshape(m.shape) < 10)}, "expected at least 30 pixels, got 9"),
    ({"object_mask": far_corner}, "expected boxes that meet"),
    ({"image": lambda _: np.zeros((80, 80, 3), np.uint8)}, r"expected the size of the picture, \(80, 80\), got \(160"),
    ({"hand_vertices": lambda v: v * np.nan}, "hand_vertices: expected finite numbers"),
    ({"hand_vertices": lambda v: -v}, "hand_vertices: expected a hand before the camera"),
    (
        {"camera": lambda c: Camera(c.focal * jnp.nan, c.principal)},
        "camera: expected finite numbers and positive focal",
    ),
    ({"camera": lambda c: Camera(c.focal * 0, c.principal)}, "camera: expected finite numbers and positive focal"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_SCENES)
def test_a_scene_without_an_answer_is_refused_in_one_line(scene, changes, message):
    with pytest.raises(SceneError, match=message) as caught:
        inspect.unwrap(check_scene)(bad(scene, **changes))
    assert "\n" not in str(caught.value)


def test_identical_masks_are_refused(scene):
    with pytest.raises(SceneError, match="are identical: expected the visible part of each"):
        check_scene(replace(scene, hand_mask=scene.object_mask))


@pytest.mark.parametrize(
    ("K", "message"),
    [
        (np.diag([0.0, 500, 1]), "positive focal lengths"),
        (np.full((3, 3), np.nan), "positive focal lengths"),
        (np.array([[500.0, 3, 64], [0, 500, 48], [0, 0, 1]]), "undistort the picture"),
        (np.array([[500.0, 0, 64], [0, 500, 48], [0, 0, 0]]), "undistort the picture"),
    ],
)
def test_a_matrix_that_is_no_camera_is_refused(K, message):
    with pytest.raises(SceneError, match=message) as caught:
        camera_from_matrix(K)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rotation_rate", "translation_rate"])
@pytest.mark.parametrize("rates", [(0.0, 1e-3), (1e-3, 0.0), (0.0, 0.0)])
def test_a_phase_that_would_move_nothing_is_an_error(problem, name, rates):
    phase = replace(FAST_OPA.phases[0], **{name: rates})
    state = PoseState(np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32), None)
    with pytest.raises(ConfigError, match=f"{name}: expected rates above 0, got"):
        run_phase(problem, FAST_OPA, phase, np.stack([np.eye(3)] * 2), state)


def test_a_start_turns_about_the_centre_of_the_points(problem):
    state = PoseState(jnp.array([0.2, 0.1, -0.3]), start_translation(problem), None)
    by_state = terms_of(problem, jnp.eye(3), state)["dist"]
    by_start = terms_of(problem, jaxlie.SO3.exp(state.rotation).as_matrix(), state._replace(rotation=jnp.zeros(3)))
    np.testing.assert_allclose(by_state, by_start["dist"], rtol=1e-4)


def test_the_last_phase_takes_those_whose_silhouettes_fit(scene, monkeypatch):
    """Against silhouettes by the host's z-buffer, of the starts where the phase before it left them."""
    calls, given = [], run_phase

    def spy(problem, config, phase, rotations, state, **settings):
        found = given(problem, config, phase, rotations, state, **settings)
        calls.append((rotations, state, found))
        return found

    monkeypatch.setattr(opa, "run_phase", spy)
    config = replace(FAST_OPA, polish_evaluations=0)
    approximate(scene, jax.random.key(1), 256, config=config)
    _, centre = pose_problem(scene, jax.random.split(jax.random.key(1))[0], config)
    (rotations, _, before), (taken, *_) = calls[1:]
    height, width = scene.object_mask.shape
    ious = []
    for rotation, turn, translation in zip(rotations, before.value.rotation, before.value.translation, strict=True):
        turned = rotation @ Rotation.from_rotvec(turn).as_matrix()
        placed = (scene.object.vertices - centre) @ turned.T + translation
        drawn = np.isfinite(depth_map(scene.camera, (width, height), placed, scene.object.faces))
        ious.append(metrics.masked_iou(drawn, scene.object_mask, scene.hand_mask))
    is_taken = np.array([any(np.array_equal(rotation, one) for one in taken) for rotation in rotations])
    assert (len(rotations), is_taken.sum()) == (64, 32)
    rough = picture_view(scene, config.hand_hides, ROUGH_VIEW_SIDE)
    measured = masked_ious(rough, poses_of(rotations, before.value, centre))
    np.testing.assert_array_equal(np.flatnonzero(is_taken), np.sort(np.argsort(-measured, kind="stable")[:32]))
    by_silhouette, by_energy = (is_taken[np.argsort(order)[:32]].mean() for order in (-np.array(ious), before.energy))
    assert by_silhouette > 0.8 and by_silhouette > by_energy + 0.15, (by_silhouette, by_energy)
