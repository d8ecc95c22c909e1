"""The optimizer benchmark: its solvers, its curves, its judges and its gate."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from benchmarks import solvers
from benchmarks.optimizers.gate import Metric, gate_metrics, regressions
from benchmarks.optimizers.grasps import good_grasp
from benchmarks.optimizers.poses import against_truth, pose_energy, pose_of, pose_residuals, rendered_problem
from benchmarks.optimizers.problem import Verdict
from benchmarks.optimizers.runs import Outcome, at, at_seconds, best_so_far
from benchmarks.optimizers.summary import Row, profiles
from benchmarks.solvers import SOLVERS, Objective, Trace, each_start, halved, register
from fgs_jax.results.metrics import Surface
from fgs_jax.testing import diameter, make_scene

SPREAD = jnp.array([1.0, 3.0, 0.5])
PLACES = np.array([[1.0, -2.0, 0.5], [0.2, 0.1, 3.0], [-1.0, 0.0, 0.4], [2.0, 2.0, -2.0]], np.float32)


def bowl_residuals(shared, start, x):
    return SPREAD * (start + x)


def bowl(shared, start, x):
    return 0.5 * jnp.sum(bowl_residuals(shared, start, x) ** 2)


BOWL = Objective(bowl, 3, (2,), bowl_residuals)


def on_bowl(name, rate=None, budget=60):
    solver = SOLVERS[name]
    rate = solver.rates[-1] if rate is None else rate
    trace = solver.run(BOWL, None, PLACES, np.zeros_like(PLACES), rate=rate, seed=0, budget=budget)
    return jax.tree.map(np.asarray, trace)


@pytest.mark.parametrize(
    ("name", "rate", "below"),
    [
        ("adam, cosine", 0.3, 1e-2),
        ("adam, exponential, halving", 0.3, 1e-2),
        ("momentum, cosine", 0.1, 1e-2),
        ("lbfgs", 1.0, 1e-8),
        ("levenberg_marquardt", 0.01, 1e-8),
        ("annealing", 0.1, 0.3),
    ],
)
def test_solvers_reach_the_bottom_of_a_bowl_and_return_the_place_they_claim(name, rate, below):
    trace = on_bowl(name, rate)
    least = trace.energy.min(axis=1)
    at_x = [float(bowl(None, place, x)) for place, x in zip(PLACES, trace.x, strict=True)]
    np.testing.assert_allclose(at_x, least, rtol=1e-3, atol=1e-6)
    assert least.min() < below
    np.testing.assert_allclose(trace.energy[:, 0], [float(bowl(None, p, jnp.zeros(3))) for p in PLACES], rtol=1e-5)
    assert (np.diff(trace.evaluations, axis=1) >= 0).all()
    assert 40 <= trace.evaluations[:, -1].max() <= 80 or name == "lbfgs"


def test_a_new_solver_takes_one_registration():
    def newton(local, x, rate, seed, budget):
        step = jnp.linalg.solve(jax.hessian(local.energy)(x), jax.grad(local.energy)(x))
        energies = jnp.stack([local.energy(x), local.energy(x - step)])
        return Trace(x - step, energies, jnp.array([1.0, 2.0]))

    register("Newton", each_start(newton))
    try:
        with pytest.raises(ValueError, match="expected a new name"):
            register("Newton", each_start(newton))
        trace = on_bowl("Newton")
    finally:
        del SOLVERS["Newton"]
    np.testing.assert_allclose(trace.x, -PLACES, atol=1e-5)
    assert (trace.energy[:, 1] < 1e-9).all()


def test_the_example_of_the_docs_registers_a_solver_that_runs():
    page = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    assert "\nmain(" in example
    exec(example.split("\nmain(")[0], {})
    try:
        trace = on_bowl("signs", rate=0.1, budget=120)
    finally:
        del SOLVERS["signs"]
    assert trace.energy[:, -1].max() < 0.01 < trace.energy[:, 0].min()
    at_x = [float(bowl(None, place, x)) for place, x in zip(PLACES, trace.x, strict=True)]
    np.testing.assert_allclose(at_x, trace.energy.min(axis=1), atol=1e-6)


def test_lbfgs_counts_what_its_line_search_asks_for():
    asked = []

    def counted(x):
        value = jnp.sum((x[1:] - x[:-1] ** 2) ** 2) + jnp.sum((1 - x) ** 2)
        jax.debug.callback(lambda v: asked.append(float(v)), value)
        return value

    trace = solvers.lbfgs(
        solvers.Local(counted, None, ()), jnp.array([-1.0, 2.0, 0.5]), jnp.ones(()), jnp.zeros(()), 30
    )
    jax.effects_barrier()
    # The start is asked for twice and counted once.
    assert len(asked) - 1 == int(trace.evaluations[-1])
    assert 30 <= trace.evaluations[-1] < 50


def test_halving_spends_the_budget_and_gives_up_the_worst():
    given = []

    def run(objective, shared, starts, x, *, rate, seed, budget):
        given.append((len(x), budget, rate))
        energy = np.abs(starts[:, :1]) / (1 + np.arange(budget))[None]
        return Trace(x, energy, np.tile(1.0 + np.arange(budget), (len(x), 1)))

    starts = np.arange(1.0, 17.0)[:, None]
    trace = halved(run)(BOWL, None, starts, np.zeros((16, 1)), rate=1.0, seed=0, budget=540)
    assert [(n, rate) for n, _, rate in given] == [(16, 1.0), (4, 0.3), (1, 0.2)]
    np.testing.assert_allclose([b for _, b, _ in given], [402, 402, 603], atol=2)
    np.testing.assert_allclose(trace.evaluations[0, -1], 540, atol=2)
    assert np.isfinite(trace.energy[0]).all() and not np.isfinite(trace.energy[15, given[0][1] :]).any()


def test_curves_never_rise_and_start_where_the_starts_are():
    rng = np.random.default_rng(0)
    energy = rng.uniform(1, 9, (5, 30))
    energy[2, 4], energy[3] = np.nan, np.inf
    trace = Trace(np.zeros((5, 2)), energy, np.cumsum(rng.integers(1, 4, (5, 30)), axis=1))
    first = np.full(5, 10.0)
    for pooled in (True, False):
        grid, cost = best_so_far(trace, pooled, first)
        assert (np.diff(cost) <= 0).all() and (np.diff(grid) == 1).all() and cost[0] <= 10
    assert best_so_far(trace, True, first)[1][-1] == np.nanmin(energy)
    expected = [np.nanmin(row) if np.isfinite(row).any() else 10.0 for row in energy]
    assert best_so_far(trace, False, first)[1][-1] == np.median(expected)


def made_up(solver, cost, seconds=1.0, problem="a"):
    cost = np.asarray(cost, float)
    return Outcome(problem, solver, 0, 1.0 + np.arange(len(cost)), cost, Verdict(1.0, 0.0), seconds)


def test_costs_at_evaluations_and_seconds_are_those_of_the_curve():
    one = made_up("a", [8, 4, 2, 1], seconds=2.0)
    assert [at(one, k) for k in (1, 2.5, 4, 9)] == [8, 4, 1, 1]
    assert [at_seconds(one, s) for s in (0.0, 1.0, 2.0, 9.0)] == [8, 4, 1, 1]


def test_profiles_are_the_factors_over_the_fastest():
    outcomes = [
        made_up("quick", [100, 0, 0, 0]),
        made_up("slow", [100, 50, 40, 0], seconds=4.0),
        made_up("never", [100, 50, 40, 30]),
    ]
    found = profiles(outcomes, "evaluations")
    assert {name: list(values) for name, values in found.items()} == {"quick": [1], "slow": [2], "never": [np.inf]}
    assert list(profiles(outcomes, "clock")["slow"]) == [8]


def row(cost=0.5, success=0.8, seconds=1.2):
    return Row((1.0, 1.0, cost), (cost, cost), (1.0, cost), success, 0.02, seconds, 3.0)


def test_the_gate_passes_on_equality_and_fails_on_a_regression():
    baseline = {"one": {k: m.value for k, m in gate_metrics(row()).items()}}

    def lines(**changes):
        return regressions({"one": gate_metrics(row(**changes))}, baseline)

    assert lines() == []
    assert lines(cost=0.3, success=1.0, seconds=0.2) == []
    assert lines(cost=0.7) == ["one: cost ratio 0.7, baseline 0.5"]
    assert lines(success=0.6) == ["one: success 0.6, baseline 0.8"]
    assert lines(seconds=3.0) == ["one: seconds ratio 3, baseline 1.2"]
    assert lines(cost=np.nan) == ["one: cost ratio nan, baseline 0.5"]
    assert regressions({"new": gate_metrics(row(cost=9.0))}, baseline) == []
    assert not Metric(1.14, False, 0.15).regressed(1.0) and Metric(1.16, False, 0.15).regressed(1.0)


@pytest.fixture(scope="module")
def rendered():
    return make_scene("mug", 0)


def test_a_pose_is_judged_against_the_truth(rendered):
    truth = rendered.T_camera_object
    assert against_truth(rendered, truth, 1.0) == Verdict(1.0, 0.0)
    shifted = truth.copy()
    shifted[:3, 3] += 0.5 * diameter(rendered.object_vertices) * np.array([1, 0, 0])
    success, share = against_truth(rendered, shifted, 1.0)
    assert success == 0 and 0.1 < share <= 0.5


def test_residuals_give_the_energy_and_the_truth_is_a_success(rendered):
    problem = rendered_problem("mug", rendered)
    starts = jax.tree.map(lambda field: field[:2], problem.starts(0))
    one = jax.tree.map(lambda field: jnp.asarray(field[0]), starts)
    x = jnp.asarray(0.2 * np.random.default_rng(0).normal(size=7), jnp.float32)

    def half_squares(x):
        return 0.5 * jnp.sum(pose_residuals(problem.shared, one, x) ** 2)

    by_terms = jax.jit(jax.value_and_grad(lambda x: pose_energy(problem.shared, one, x)))(x)
    by_residuals = jax.jit(jax.value_and_grad(half_squares))(x)
    assert by_terms[0] > 1e-3
    np.testing.assert_allclose(by_residuals[0], by_terms[0], rtol=1e-4)
    np.testing.assert_allclose(by_residuals[1], by_terms[1], rtol=1e-3, atol=1e-5)

    # The second start is moved to the true pose, in the solver's own unknowns; the first stays.
    truth, centre = rendered.T_camera_object, problem.shared.centre
    found = np.zeros((2, 7))
    found[1, :3] = Rotation.from_matrix(starts.rotation[1].T @ truth[:3, :3]).as_rotvec()
    found[1, 3:6] = (truth[:3, :3] @ centre + truth[:3, 3] - starts.translation[1]) / solvers.UNIT
    placed, _ = pose_of(problem.shared, jax.tree.map(lambda field: field[1], starts), found[1])
    np.testing.assert_allclose(placed, truth, atol=1e-5)
    assert problem.judge(starts, found, np.array([1.0, 0.5])).success == 1
    assert problem.judge(starts, found, np.array([1.0, 0.5])).quality < 1e-4
    assert problem.judge(starts, found, np.array([1.0, np.nan])).quality > 1e-2


def spheres(gap, fingers=3):
    """A ball of 30 mm, and small balls as the fingers of a hand, `gap` metres from it."""
    ball, small = trimesh.creation.icosphere(3, 0.03), trimesh.creation.icosphere(2, 0.008)
    directions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])[:fingers]
    vertices = np.concatenate([small.vertices + (0.038 + gap) * d for d in directions])
    faces = np.concatenate([small.faces + k * len(small.vertices) for k in range(fingers)])
    owner = np.repeat(np.arange(fingers), len(small.vertices))
    return Surface(vertices, faces), Surface(ball.vertices, ball.faces), owner


@pytest.mark.parametrize(
    ("gap", "fingers", "good"), [(0.001, 3, True), (0.001, 2, False), (0.01, 3, False), (-0.006, 3, False)]
)
def test_a_grasp_is_good_with_three_fingers_and_little_depth(gap, fingers, good):
    found, depth = good_grasp(*spheres(gap, fingers))
    assert found is good
    np.testing.assert_allclose(depth, max(0.0, -1e3 * gap), atol=0.5)
