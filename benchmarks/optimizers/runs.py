"""Runs: every solver on every problem from the same starts, timed, with the cost after each evaluation."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from benchmarks.optimizers.grasps import contact_problem_of
from benchmarks.optimizers.poses import photo_problems, rendered_problem
from benchmarks.optimizers.problem import BUDGET, STARTS, Kind, Problem, Verdict
from benchmarks.solvers import SOLVERS, Solver, Trace, energies_of
from fgs_jax.testing.scenes import make_scene

TEST = {
    "rendered": ("mug", "hammer", "camera", "spray_bottle", "phone", "wine_glass"),
    "contact": ("mug", "can", "hammer"),
}
TUNING = {"rendered": ("pan", "bottle", "scissors"), "contact": ("bottle",)}
"""Shapes that are in no test."""
FLOOR = 1e-9
"""Costs below this are equal."""


@cache
def problems(kind: Kind, purpose: Literal["test", "tuning"] = "test") -> tuple[Problem, ...]:
    """Photos have no tuning scenes: they take the rates of rendered ones."""
    if kind == "photos":
        return tuple(photo_problems())
    shapes, seed = (TEST, 0) if purpose == "test" else (TUNING, 7)
    if kind == "contact":
        return tuple(contact_problem_of(shape, seed) for shape in shapes[kind])
    return tuple(rendered_problem(f"{shape} {seed}", make_scene(shape, seed)) for shape in shapes[kind])


@dataclass(frozen=True, eq=False)
class Outcome:
    """One problem, one solver, one seed."""

    problem: str
    solver: str
    seed: int
    evaluations: Float[ndarray, "k"]
    """Per start, rising."""
    cost: Float[ndarray, "k"]
    """Best so far after each; never rises."""
    verdict: Verdict
    seconds: float
    """Warm."""

    @property
    def clock(self) -> Float[ndarray, "k"]:
        """Seconds after each."""
        return self.seconds * self.evaluations / self.evaluations[-1]


def best_so_far(trace: Trace, pooled: bool, first: Float[ndarray, "n"]) -> tuple[ndarray, ndarray]:
    """Evaluations of a start, on the grid of whole ones, and the cost of the best place until then.

    Cost: the least of all starts where they are `pooled`, else their median; `first`: at the starts themselves.
    """
    energy, evaluations = np.asarray(trace.energy, float), np.asarray(trace.evaluations, float)
    energy = np.minimum.accumulate(np.where(np.isfinite(energy), energy, np.inf), axis=1)
    grid = np.arange(1, int(np.ceil(evaluations[:, -1].max() - 1e-6)) + 1)
    rows = []
    for values, made, begin in zip(energy, evaluations, first, strict=True):
        last = np.searchsorted(made, grid + 1e-6, side="right") - 1
        rows.append(np.minimum(np.where(last >= 0, values[np.maximum(last, 0)], np.inf), begin))
    return grid.astype(float), np.min(rows, axis=0) if pooled else np.median(rows, axis=0)


def run(problem: Problem, name: str, solver: Solver, rate: float, seed: int, *, judged: bool = True) -> Outcome:
    """One run, timed; call it once before, so that it is compiled."""
    starts = problem.starts(seed)
    x = np.zeros((STARTS[problem.kind], problem.objective.dimension), np.float32)
    begin = time.perf_counter()
    trace = solver.run(problem.objective, problem.shared, starts, x, rate=rate, seed=seed, budget=BUDGET[problem.kind])
    trace = jax.tree.map(np.asarray, jax.block_until_ready(trace))
    seconds = time.perf_counter() - begin
    first = np.asarray(energies_of(problem.objective, problem.shared, starts, x), float)
    grid, cost = best_so_far(trace, problem.pooled, first)
    energy = np.min(np.where(np.isfinite(trace.energy), trace.energy, np.inf), axis=1)
    verdict = problem.judge(starts, np.asarray(trace.x, float), energy) if judged else Verdict(np.nan, np.nan)
    return Outcome(problem.name, name, seed, grid, cost, verdict, seconds)


def usable(solver: Solver, kind: Kind) -> str | None:
    """Why a solver takes no part; None where it does."""
    if solver.package and find_spec(solver.package) is None:
        return f"needs {solver.package}: pip install {solver.package}"
    if solver.squares and kind == "contact":
        return "needs a sum of squares; Eq. 12 is none"
    if solver.drops and kind == "contact":
        return "gives starts up; contact asks for a grasp from each"
    return None


@cache
def tuned(kind: Kind, name: str) -> float:
    """The rate of least mean logarithm of the cost at the whole budget, over the tuning scenes."""
    solver = SOLVERS[name]
    if len(solver.rates) == 1:
        return solver.rates[0]
    scores = []
    for rate in solver.rates:
        found = [run(p, name, solver, rate, 0, judged=False) for p in problems(kind, "tuning")]
        scores.append(np.mean([np.log(max(at(o, BUDGET[kind]), FLOOR)) for o in found]))
    return solver.rates[int(np.argmin(scores))]


def at(outcome: Outcome, evaluations: float) -> float:
    """The cost after so many evaluations; a curve that ends sooner keeps its last."""
    return float(outcome.cost[np.searchsorted(outcome.evaluations, evaluations + 1e-6, side="right") - 1])


def at_seconds(outcome: Outcome, seconds: float) -> float:
    """The same after so many seconds, of which a solver slower than its first evaluation has only its start."""
    index = np.searchsorted(outcome.clock, seconds * (1 + 1e-9), side="right") - 1
    return float(outcome.cost[max(index, 0)])


def compared(kind: Kind, names: Sequence[str], rates: dict[str, float], seeds: int) -> tuple[list[Outcome], dict]:
    """All runs, solvers in turn within each problem and seed; and the seconds that each one's compilation took."""
    first = problems(kind)[0]
    compilation = {}
    for name in names:
        begin = time.perf_counter()
        run(first, name, SOLVERS[name], rates[name], 0, judged=False)
        whole = time.perf_counter() - begin
        compilation[name] = max(0.0, whole - run(first, name, SOLVERS[name], rates[name], 0, judged=False).seconds)
    outcomes = []
    for seed in range(seeds):
        for problem in problems(kind):
            outcomes += [run(problem, name, SOLVERS[name], rates[name], seed) for name in names]
    return outcomes, compilation
