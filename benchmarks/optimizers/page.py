"""The page: a table for each kind of problem, and a picture of the profiles."""

from pathlib import Path

import numpy as np

from benchmarks.optimizers.problem import BUDGET, STARTS, Kind
from benchmarks.optimizers.runs import Outcome, problems
from benchmarks.optimizers.summary import Row, profiles
from benchmarks.solvers import SOLVERS


def draw_profiles(results: dict[str, list[Outcome]], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    words = {"evaluations": "evaluations", "clock": "seconds"}
    figure, axes = plt.subplots(
        len(results), 2, figsize=(11, 3.4 * len(results)), squeeze=False, sharey=True, layout="constrained"
    )
    names = list(dict.fromkeys(o.solver for outcomes in results.values() for o in outcomes))
    styles = {name: (f"C{k % 10}", "-" if k < 10 else "--") for k, name in enumerate(names)}
    for row, (kind, outcomes) in zip(axes, results.items(), strict=True):
        for panel, axis in zip(row, ("evaluations", "clock"), strict=True):
            for name, factors in profiles(outcomes, axis).items():
                colour, style = styles[name]
                finite = factors[np.isfinite(factors)]
                steps = np.concatenate([[1.0], finite, [64.0]])
                share = np.concatenate([[0.0], np.arange(1, len(finite) + 1), [len(finite)]]) / len(factors)
                panel.step(steps, share, where="post", color=colour, linestyle=style, label=name, linewidth=1.4)
            panel.set(xscale="log", xlim=(1, 64), ylim=(-0.02, 1.02))
            panel.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"], minor=False)
            panel.minorticks_off()
            panel.set_title(f"{kind}: {words[axis]}", fontsize=10)
            panel.grid(alpha=0.3)
        row[0].set_ylabel("share of problems done")
    for panel in axes[-1]:
        panel.set_xlabel("times the fastest solver's")
    handles = {
        label: line for panel in axes.ravel() for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def table(kind: Kind, rows: dict[str, Row], rates: dict[str, float], seeds: int, skipped: dict[str, str]) -> str:
    has_truth = kind != "photos"
    quality = {"rendered": "ADD-S, %", "photos": "masked IoU", "contact": "MPD, mm"}[kind]
    budget = BUDGET[kind]
    head = (
        f"| {kind} | rate | cost at {budget // 4} | at {budget // 2} | at {budget} evaluations | seeds "
        f"| cost at half of the seconds | at all | {'success | ' if has_truth else ''}{quality} "
        f"| seconds | compile, s |\n|---|--:|--:|--:|--:|--:|--:|--:|{'--:|' * has_truth}--:|--:|--:|"
    )
    lines = [head]
    for name, row in sorted(rows.items(), key=lambda item: item[1].cost[-1]):
        value = f"{100 * row.quality:.1f}" if kind == "rendered" else f"{row.quality:.3f}"
        success = [f"{100 * row.success:.0f} %"] if has_truth else []
        grid = SOLVERS[name].rates
        rate = f"{rates[name]:g}{'*' * (rates[name] in (grid[0], grid[-1]))}" if len(grid) > 1 else "-"
        cells = [name, rate, *(f"{v:.2f}" for v in row.cost), f"{row.spread[0]:.2f} to {row.spread[1]:.2f}"]
        cells += [*(f"{v:.2f}" for v in row.cost_seconds), *success, value, f"{row.seconds:.2f}"]
        lines.append(f"| {' | '.join([*cells, f'{row.compilation:.1f}'])} |")
    names = ", ".join(problem.name for problem in problems(kind))
    lines += [
        "",
        f"{len(problems(kind))} problems ({names}), {seeds} seeds, {STARTS[kind]} starts; *: at an end of its grid.  ",
    ]
    lines += [f"Left out: {name} {reason}.  " for name, reason in skipped.items()]
    return "\n".join(lines)
