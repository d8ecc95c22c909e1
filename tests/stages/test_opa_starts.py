"""How starts run through a phase: at which rates, with the same bits in any company, as a program compiled ahead."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.config import FAST_OPA, PAPER_OPA
from fgs_jax.errors import ConfigError
from fgs_jax.solve.minimise import Solution
from fgs_jax.solve.restarts import random_rotations, run_blocks
from fgs_jax.stages import opa, opa_phases
from fgs_jax.stages.opa import compile_approximate
from fgs_jax.stages.opa_phases import PhaseInputs, PhaseSettings, run_phase, run_start
from fgs_jax.stages.opa_problem import PoseState, pose_problem, start_translation
from tests.lowered import loops, lowered
from tests.mug_scene import mug_scene


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


@pytest.fixture(scope="module")
def problem(scene):
    return pose_problem(scene, jax.random.key(0))[0]


def phase_inputs(problem):
    weights = {"dist": 1.0, "dep": 0.1, "cam": 1000.0, "size": 0.001}
    return PhaseInputs(problem, weights, jnp.array([0.05, 0.005]), jnp.array([0.01, 0.001]))


def starts_of(problem, count):
    rotations = np.asarray(random_rotations(jax.random.key(7), 0, count))
    translations = np.tile(np.asarray(start_translation(problem)), (count, 1))
    return rotations, PoseState(np.zeros((count, 3), np.float32), translations, None)


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


def test_on_a_gpu_only_the_steps_are_a_loop(problem):
    """What would be a kernel for each of 24 turns, twice in every step."""
    inputs = PhaseInputs(problem, {"dist": 1.0, "dep": 0.1, "cam": 1.0, "size": 0.0}, jnp.ones(2), jnp.ones(2))
    starts = jnp.tile(jnp.eye(3), (8, 1, 1)), PoseState(jnp.zeros((8, 3)), jnp.ones((8, 3)), None)
    phase = jax.vmap(partial(run_start, PhaseSettings(40, 192, 192, False)), (None, 0))
    assert loops(lowered(phase, inputs, starts, platform="cuda")) == 1
    assert loops(lowered(phase, inputs, starts, platform="cpu")) > 1


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


@pytest.mark.parametrize("name", ["rotation_rate", "translation_rate"])
@pytest.mark.parametrize("rates", [(0.0, 1e-3), (1e-3, 0.0), (0.0, 0.0)])
def test_a_phase_that_would_move_nothing_is_an_error(problem, name, rates):
    phase = replace(FAST_OPA.phases[0], **{name: rates})
    state = PoseState(np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32), None)
    with pytest.raises(ConfigError, match=f"{name}: expected rates above 0, got"):
        run_phase(problem, FAST_OPA, phase, np.stack([np.eye(3)] * 2), state)
