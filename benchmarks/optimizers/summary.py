"""Solvers compared: ratios to the reference, and performance profiles."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy import ndarray

from benchmarks.optimizers.problem import BUDGET, Kind
from benchmarks.optimizers.runs import FLOOR, Outcome, at, at_seconds

REFERENCE = "adam, cosine"
"""Ratios are to this one."""
CLOSE = 0.01
"""A solver is done where all but this share of the way from the start to the best of all solvers is behind it."""


class Row(NamedTuple):
    """One solver on one kind of problem; ratios are to the reference, geometric means over problems and seeds."""

    cost: tuple[float, float, float]
    """At a quarter, half and all of the evaluations."""
    spread: tuple[float, float]
    """Of the last: least and greatest over the seeds."""
    cost_seconds: tuple[float, float]
    """At half and all of the reference's seconds."""
    success: float
    quality: float
    seconds: float
    """Ratio."""
    compilation: float
    """Seconds more in the first call."""


def geometric(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios)))) if len(ratios) else float("nan")


def summarised(kind: Kind, outcomes: list[Outcome], compilation: dict[str, float]) -> dict[str, Row]:
    names = list(dict.fromkeys(o.solver for o in outcomes))
    by = {(o.solver, o.problem, o.seed): o for o in outcomes}
    instances = [(o.problem, o.seed) for o in outcomes if o.solver == REFERENCE]
    seeds = sorted({seed for _, seed in instances})
    rows, budget = {}, BUDGET[kind]

    def ratio(one: float, mine: float) -> float:
        return max(mine, FLOOR) / max(one, FLOOR)

    for name in names:

        def over(value: Callable[[Outcome, Outcome], float], only: int | None = None) -> float:
            pairs = [(by[REFERENCE, p, s], by[name, p, s]) for p, s in instances if only in (None, s)]  # noqa: B023
            return geometric([value(a, b) for a, b in pairs])

        cost = tuple(over(lambda a, b, e=e: ratio(at(a, e), at(b, e))) for e in (budget / 4, budget / 2, budget))
        by_seed = [over(lambda a, b: ratio(at(a, budget), at(b, budget)), seed) for seed in seeds]
        timed = tuple(
            over(lambda a, b, f=f: ratio(at_seconds(a, f * a.seconds), at_seconds(b, f * a.seconds))) for f in (0.5, 1)
        )
        verdicts = [by[name, p, s].verdict for p, s in instances]
        rows[name] = Row(
            cost,  # pyright: ignore[reportArgumentType]
            (min(by_seed), max(by_seed)),
            timed,  # pyright: ignore[reportArgumentType]
            float(np.mean([v.success for v in verdicts])),
            float(np.median([v.quality for v in verdicts])),
            over(lambda a, b: b.seconds / a.seconds),
            compilation[name],
        )
    return rows


def profiles(outcomes: list[Outcome], axis: Literal["evaluations", "clock"]) -> dict[str, ndarray]:
    """Dolan and Moré's: by solver, of each (problem, seed), the factor by which it took more than the fastest.

    To be done is to be within `CLOSE` of the way from the start's cost to the best that any solver found; the factor is
    infinite for a solver that never is.
    """
    names = list(dict.fromkeys(o.solver for o in outcomes))
    factors: dict[str, list[float]] = {name: [] for name in names}
    for key in dict.fromkeys((o.problem, o.seed) for o in outcomes):
        found = {o.solver: o for o in outcomes if (o.problem, o.seed) == key}
        least, start = min(o.cost[-1] for o in found.values()), max(o.cost[0] for o in found.values())
        target = least + CLOSE * (start - least)
        taken = {}
        for name, outcome in found.items():
            done = outcome.cost <= target
            taken[name] = getattr(outcome, axis)[np.argmax(done)] if done.any() else np.inf
        fastest = min(taken.values())
        for name in names:
            factors[name].append(taken[name] / fastest)
    return {name: np.sort(values) for name, values in factors.items()}
