"""OPA's phases: any solver, terms of one's own, and numbers that compile nothing."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.spatial.transform import Rotation

from fgs_jax.config import FAST_OPA, Phase
from fgs_jax.errors import ConfigError
from fgs_jax.extensions import Term
from fgs_jax.solve.minimise import Solution
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages.opa import approximate, compile_approximate
from fgs_jax.stages.opa_phases import run_phase
from fgs_jax.stages.opa_problem import PoseState, pose_problem, start_translation
from tests.compilations import compilations
from tests.mug_scene import mug_scene

SHORT = Phase(1.0, 1, 12, 64, 64, rotation_rate=(1e-1, 2e-2), translation_rate=(2e-2, 3e-3))
SMALL = replace(FAST_OPA, phases=(SHORT, replace(SHORT, keep=0.5, least=4)), candidates=4, polish_evaluations=8)


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


@pytest.fixture(scope="module")
def problem(scene):
    return pose_problem(scene, jax.random.key(0), SMALL)[0]


def starts(problem, count=8):
    rotations = np.asarray(random_rotations(jax.random.key(7), 0, count))
    translations = np.tile(np.asarray(start_translation(problem)), (count, 1))
    return rotations, PoseState(np.zeros((count, 3), np.float32), translations, None)


def still(energy, start, steps):
    """A solver that stays where it is."""
    value, terms = energy(start)
    return Solution(start, value, terms, jnp.full(steps, value))


def upright(context):
    """How far the object's y axis is from the picture's."""
    return 1.0 - context.rotation[1, 1]


def at_depth(context, depth):
    return jnp.mean(jnp.abs(context.placed[2] - depth))


@pytest.mark.parametrize("solver", ["rmsprop", optax.adam(2e-2), "tests.stages.test_opa_phases:still", still])
def test_any_solver_descends(problem, solver):
    config = replace(SMALL, solver=solver)
    found = run_phase(problem, config, SHORT, *starts(problem))
    assert found.history.shape == (8, SHORT.steps)
    if solver is still or (isinstance(solver, str) and ":" in solver):
        np.testing.assert_array_equal(found.history, np.tile(found.energy[:, None], SHORT.steps))
        np.testing.assert_array_equal(found.value.translation, starts(problem)[1].translation)
    else:
        assert (found.energy < found.history[:, 0]).all() and found.energy.sum() < 0.5 * found.history[:, 0].sum()


def test_a_solver_by_its_name_takes_the_rates_of_the_phase(problem):
    """The first step of Lion is the rate itself."""
    phase = replace(SHORT, steps=2, rotation_rate=(1e-3, 1e-4), translation_rate=(1e-4, 1e-5))
    found = run_phase(problem, replace(SMALL, solver="lion"), phase, *starts(problem))
    moved = found.value.translation - starts(problem)[1].translation
    stepped = found.history[:, 1] < found.history[:, 0]  # then the second iterate is the best one
    assert stepped.sum() >= 6
    np.testing.assert_allclose(np.abs(moved[stepped]), 1e-4, rtol=2e-3)
    np.testing.assert_allclose(np.abs(found.value.rotation[stepped]), 1e-3, rtol=1e-4)


def test_terms_of_one_s_own_are_minimised_and_reported(problem):
    terms = {"upright": upright, "far": Term(at_depth, jnp.asarray(0.9))}
    config = replace(SMALL, terms=terms, weights={"upright": 0.5, "far": 2.0})
    rotations, state = starts(problem)
    found, plain = (run_phase(problem, given, SHORT, rotations, state) for given in (config, SMALL))
    assert set(found.terms) == {"dist", "dep", "cam", "upright", "far"}
    total = sum(config.term_weights[name] * values for name, values in found.terms.items())
    np.testing.assert_allclose(found.energy, total, rtol=1e-5)
    turned = rotations @ Rotation.from_rotvec(found.value.rotation).as_matrix()
    np.testing.assert_allclose(found.terms["upright"], 1 - turned[:, 1, 1], atol=1e-5)
    middle = np.mean(np.abs(found.value.translation[:, 2] - 0.9))
    assert middle < np.mean(np.abs(plain.value.translation[:, 2] - 0.9)) - 0.05
    named = replace(SMALL, terms={"upright": f"{__name__}:upright"}, weights={"upright": 0.0})
    by_name = run_phase(problem, named, SHORT, rotations, state)
    np.testing.assert_allclose(by_name.energy, plain.energy, rtol=1e-5)


WRONG = {
    "without a weight": ({"one": upright}, {}, "expected the same names in both, got terms one and weights none"),
    "without a term": ({}, {"two": 1.0}, "expected the same names in both, got terms none and weights two"),
    "taken": ({"dist": upright}, {"dist": 1.0}, "terms: expected names that are not taken, got dist: rename them"),
    "not there": (
        {"one": "no_such:term"},
        {"one": 1.0},
        "terms: one: expected a module that can be imported, got no_such",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_terms_that_do_not_fit_are_refused_before_anything_compiles(problem, name):
    terms, weights, message = WRONG[name]
    with pytest.raises(ConfigError, match=message) as caught:
        run_phase(problem, replace(SMALL, terms=terms, weights=weights), SHORT, *starts(problem))
    assert "\n" not in str(caught.value)


def test_a_solver_that_there_is_not_is_refused_before_anything_compiles(scene, caplog):
    config = replace(SMALL, solver="adams")
    with compilations(caplog) as compiled, pytest.raises(ConfigError, match=r"got 'adams': did you mean adam\?"):
        compile_approximate(config, 16, unknown_size=False)
    with pytest.raises(ConfigError, match=r"got 'adams': did you mean adam\?"):
        approximate(scene, jax.random.key(0), 16, config=config)
    assert compiled == []


def test_a_sweep_over_any_number_compiles_nothing(scene, caplog):
    given = replace(SMALL, terms={"upright": upright}, weights={"upright": 0.1})

    def run(config):
        return approximate(scene, jax.random.key(0), 16, count=2, config=config)

    first = run(given)
    sweep: list[dict] = [{"lambda_dep": 0.7}, {"lambda_cam": 10.0}, {"lambda_size": 0.1}, {"contour": 0.2}]
    sweep += [{"weights": {"upright": 7.0}}, {"distinct_angle": 40.0}, {"distinct_share": 0.2}]
    sweep += [{"distinct_in": "space"}, {"hand_hides": False}, {"polish_evaluations": 12}]
    phase = replace(SHORT, rotation_rate=(5e-2, 1e-2), translation_rate=(1e-2, 1e-3))
    sweep += [{"phases": (phase, replace(phase, keep=0.25))}]
    energies = []
    with compilations(caplog) as compiled:
        for changes in sweep:
            energies.append(float(run(replace(given, **changes)).energy[0]))
    assert compiled == []
    changed = [energy != float(first.energy[0]) for energy in energies]
    assert changed[3] and changed[4] and changed[-1], "and they do change the result"
    with compilations(caplog) as compiled:  # and it would be noticed
        run(replace(given, phases=(replace(SHORT, steps=3),)))
    assert any("run_block" in name for name in compiled)
