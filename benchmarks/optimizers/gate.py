"""The gate: what may not get worse than in the baseline, and by how much."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.optimizers.problem import BUDGET, STARTS, Kind
from benchmarks.optimizers.runs import problems
from benchmarks.optimizers.summary import Row

BASELINE = Path(__file__).parents[1] / "baseline.json"


class Metric(NamedTuple):
    """A number that may not get worse than the baseline's by more than its tolerances."""

    value: float
    higher_is_better: bool
    relative: float
    absolute: float = 0.0

    def regressed(self, baseline: float) -> bool:
        if np.isnan(baseline):
            return False
        allowed = self.relative * abs(baseline) + self.absolute
        worse = baseline - self.value if self.higher_is_better else self.value - baseline
        return bool(np.isnan(worse) or worse > allowed)


def gate_metrics(row: Row) -> dict[str, Metric]:
    """Ratios and success; seconds only as a ratio, and loosely."""
    return {
        "cost ratio": Metric(row.cost[-1], False, 0.15),
        "success": Metric(row.success, True, 0.0, 0.1),
        "seconds ratio": Metric(row.seconds, False, 1.0, 0.2),
    }


def regressions(rows: dict[str, dict[str, Metric]], baseline: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """One line for each metric that got worse; a solver that the baseline does not know is none."""
    lines = []
    for name, found in rows.items():
        for key, metric in found.items():
            before = baseline.get(name, {}).get(key)
            if before is not None and metric.regressed(before):
                lines.append(f"{name}: {key} {metric.value:.3g}, baseline {before:.3g}")
    return lines


def settings(kind: Kind, seeds: int) -> dict[str, Any]:
    """What must be equal for two runs to be compared."""
    names = [problem.name for problem in problems(kind)]
    return {"problems": names, "seeds": seeds, "starts": STARTS[kind], "budget": BUDGET[kind]}


def load_baseline() -> dict[str, Any]:
    return json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
