import inspect
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from fgs_jax.config import FAST_CONTACT, GIVEN_CONTACT
from fgs_jax.errors import ArgumentError, SceneError
from fgs_jax.solve import restarts
from fgs_jax.stages import grasps as module
from fgs_jax.stages.grasps import Grasps, GraspSettings, refine_grasp, refine_grasps
from tests.lowered import loops, lowered
from tests.reference import contact as twin
from tests.solve.test_devices import grasp_starts

CONFIG = replace(FAST_CONTACT, steps=10, refresh=5, reach=0.06)
KEY = jax.random.key(0)
WIDTH = 2


@pytest.fixture(scope="module")
def found() -> Grasps:
    problems, starts, scene = grasp_starts()
    return refine_grasps(problems, starts, KEY, CONFIG, scene=scene, width=WIDTH)


def assert_same(ours: Grasps, expected: Grasps, chosen: np.ndarray) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b[chosen])


def test_a_grasp_has_the_same_bits_alone_and_in_company(found):
    problems, starts, scene = grasp_starts()
    for k in (0, 4, 8):
        one = jax.tree.map(lambda x: x[k : k + 1], starts)  # noqa: B023
        assert_same(refine_grasps(problems[scene[k]], one, KEY, CONFIG, width=WIDTH), found, np.array([k]))
    order = np.random.default_rng(0).permutation(len(scene))
    shuffled = jax.tree.map(lambda x: x[order], starts)
    ours = refine_grasps(problems, shuffled, KEY, CONFIG, scene=np.array(scene)[order], width=WIDTH)
    assert_same(ours, found, order)


def test_blocks_are_as_wide_as_the_starts_of_a_scene(found, monkeypatch):
    problems, starts, scene = grasp_starts()
    widths = []

    def seen(*arguments: Any, **more: Any) -> Any:
        widths.append(arguments[4])
        return restarts.run_blocks(*arguments, **more)

    monkeypatch.setattr(module, "run_blocks", seen)
    ours = refine_grasps(problems, starts, KEY, CONFIG, scene=scene)
    assert widths == [4], "four starts of one scene, five of the other"
    # Another width rounds differently, and no more.
    np.testing.assert_allclose(ours.energy, found.energy, rtol=1e-4)


def test_what_is_no_start_is_said_in_one_line():
    run: Any = inspect.unwrap(refine_grasps)  # as people have it, without the tests' type checker
    problems, starts, _ = grasp_starts()
    bad: dict[str, Any] = {
        "one leading axis, got shapes": replace(starts, scale=starts.scale[:3]),
        r"one of the starts.translation: expected floats of shape \(3,\)": replace(starts, translation=starts.rotation),
        "one of the starts: expected a Grasp, got a HandParams": starts.hand,
        "one of the starts.rotation: .* got int32": replace(starts, rotation=starts.rotation.astype(int)),
    }
    for message, wrong in bad.items():
        with pytest.raises(ArgumentError, match=message) as error:
            run(problems[0], wrong, KEY, CONFIG)
        assert "\n" not in str(error.value)
    other = replace(problems[0], object=None)
    with pytest.raises(ArgumentError, match=r"problems.object: expected a DistanceGrid.*, got None"):
        run(other, starts, KEY, CONFIG)
    with pytest.raises(ArgumentError, match=r"problems\[1\].object: expected a DistanceGrid.*, got None"):
        run([problems[0], other], starts, KEY, CONFIG)
    with pytest.raises(ArgumentError, match="key: expected a random key"):
        run(problems[0], starts, 0, CONFIG)
    for width in (0, -2, 1.5):
        with pytest.raises(ArgumentError, match=f"width: expected a whole number of at least 1, got {width}"):
            run(problems[0], starts, KEY, CONFIG, width=width)
    with pytest.raises(SceneError, match="expected for each start a scene from 0 to 0"):
        run(problems[0], starts, KEY, CONFIG, scene=np.zeros(9) + 0.5)


def test_a_preset_is_a_configuration_by_its_name(monkeypatch):
    problems, starts, _ = grasp_starts()
    ran = []

    def seen(function: Any, settings: GraspSettings, shared: Any, *arguments: Any, **more: Any) -> Any:
        ran.append((settings.config, shared[0][1]))
        raise SceneError("seen")

    monkeypatch.setattr(module, "run_blocks", seen)
    ways: list[dict[str, Any]] = [{"preset": "given"}, {"config": GIVEN_CONTACT}]
    for words in ways:
        with pytest.raises(SceneError, match="seen"):
            refine_grasps(problems[0], starts, KEY, **words)
    assert ran[0] == ran[1] == GIVEN_CONTACT.split()


def test_either_a_configuration_or_a_preset_is_asked_for():
    problems, starts, _ = grasp_starts()
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, r"expected config, or preset \(fast, paper, given\), got neither: give one of the two"),
        ({"config": CONFIG, "preset": "given"}, "got both"),
        ({"preset": "gave"}, "preset: expected one of fast, paper, given, got 'gave': choose one"),
    )
    for words, message in wrong:
        with pytest.raises(ArgumentError, match=message) as error:
            refine_grasps(problems[0], starts, KEY, **words)
        assert "\n" not in str(error.value)


def test_a_program_that_looks_for_nans_finds_none(found):
    problems, starts, scene = grasp_starts()
    with jax.debug_nans(True):
        again = refine_grasps(problems, starts, KEY, CONFIG, scene=scene, width=WIDTH)
    assert_same(again, found, np.arange(len(scene)))


def test_a_lost_grasp_loses_alone(found):
    problems, starts, scene = grasp_starts()
    spoiled = replace(starts, hand=replace(starts.hand, pose=starts.hand.pose.at[4, 2, 0].set(np.nan)))
    beside = refine_grasps(problems, spoiled, KEY, CONFIG, scene=scene, width=WIDTH)
    assert beside.energy[4] == np.inf and np.isfinite(found.energy).all()
    assert np.isnan(beside.hand_vertices[4]).all() and all(np.isnan(term[4]) for term in beside.terms.values())
    others = np.flatnonzero(np.arange(len(scene)) != 4)
    assert_same(jax.tree.map(lambda x: x[others], beside), found, others)


def test_each_grasp_is_of_its_own_scene(found):
    """The balls differ: a hand's deepest vertex is as deep as the ball of its own scene says."""
    problems, starts, scene = grasp_starts()
    reach = np.linalg.norm(found.hand_vertices - np.asarray(starts.translation)[:, None], axis=-1)
    radius = np.array([0.03, 0.045])[np.array(scene)]
    regions = np.asarray(problems[0].hand.regions)
    depth = np.array([twin.flesh_depths(lane, regions, 1.0).sum() for lane in reach - radius[:, None]])
    depth *= 778 / reach.shape[1]
    # On nodes 1 cm apart a ball is 0.4 mm too small in the middle of a cell.
    assert (found.terms["pen"] >= 0.8 * depth - 1e-3).all()
    swapped = refine_grasps(problems[::-1], starts, KEY, CONFIG, scene=1 - np.array(scene), width=WIDTH)
    assert_same(swapped, found, np.arange(len(scene)))


def test_on_a_gpu_only_the_rounds_and_their_steps_are_loops():
    problems, starts, _ = grasp_starts()
    static, numbers = CONFIG.split()
    shared = problems[0], numbers, np.asarray(jax.random.key_data(KEY))
    settings = GraspSettings(static, str(jax.random.key_impl(KEY)))
    program = jax.vmap(partial(refine_grasp, settings), (None, 0))
    text = lowered(program, shared, (starts, np.arange(len(starts.scale))), platform="cuda")
    assert loops(text) == 2


def test_energies_of_starts_out_of_reach_are_comparable(found):
    problems, starts, scene = grasp_starts()
    away = replace(starts, translation=starts.translation + np.array([[0.0, 0.0, 1.0]], np.float32))
    lost = refine_grasps(problems, away, KEY, CONFIG, scene=scene, width=WIDTH)
    assert (lost.terms["dis"] == 0).all()
    rest = sum(CONFIG.term_weights[name] * values for name, values in lost.terms.items())
    np.testing.assert_allclose(lost.energy, rest + 12 * CONFIG.w_dis * CONFIG.reach, rtol=1e-5)


def test_other_weights_and_more_starts_compile_nothing(found):
    problems, starts, scene = grasp_starts()
    programs: Any = restarts._run_block
    compiled = programs._cache_size()
    more = jax.tree.map(lambda x: np.concatenate([x, x]), starts)
    heavier = replace(CONFIG, w_pen=10 * CONFIG.w_pen)
    ours = refine_grasps(problems, more, KEY, heavier, scene=scene * 2, width=WIDTH)
    assert programs._cache_size() == compiled
    assert not np.array_equal(ours.energy[: len(scene)], found.energy)
    np.testing.assert_array_equal(ours.energy[: len(scene)], ours.energy[len(scene) :])


def test_no_lane_copies_its_scene_s_grid():
    problems, starts, _ = grasp_starts()
    static, numbers = CONFIG.split()
    settings = GraspSettings(static, "threefry2x32")
    shared = problems[0], numbers, np.zeros(2, np.uint32)
    lanes = jax.tree.map(lambda x: x[:7], starts), np.arange(7)
    text = restarts._run_block.lower(refine_grasp, settings, shared, lanes).as_text()
    assert "tensor<4913xf32>" in text and "tensor<7x" in text
    for copy in ("7x17x17x17x", "7x4913x", "4913x7x"):
        assert copy not in text


def test_what_cannot_be_refined_is_said_in_one_line():
    problems, starts, scene = grasp_starts()
    with pytest.raises(SceneError, match="expected for each start a scene from 0 to 0"):
        refine_grasps(problems[0], starts, KEY, CONFIG, scene=scene)
    with pytest.raises(SceneError, match="number 1 differs from the first"):
        other = replace(problems[1], object_points=problems[1].object_points[:50])
        refine_grasps([problems[0], other], starts, KEY, CONFIG, scene=scene)
    with pytest.raises(SceneError, match="got 0 starts"):
        refine_grasps(problems[0], jax.tree.map(lambda x: x[:0], starts), KEY, CONFIG)
