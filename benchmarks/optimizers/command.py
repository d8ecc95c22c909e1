"""The command: problems and solvers as asked for, the tables, the baseline and the gate."""

import json
from pathlib import Path

import numpy as np

from benchmarks.optimizers.gate import BASELINE, gate_metrics, load_baseline, regressions, settings
from benchmarks.optimizers.page import draw_profiles, table
from benchmarks.optimizers.problem import Kind
from benchmarks.optimizers.runs import Outcome, compared, tuned, usable
from benchmarks.optimizers.summary import REFERENCE, summarised
from benchmarks.solvers import SOLVERS
from benchmarks.timing import machine, write_section


def main(
    *,
    problems: tuple[Kind, ...] = ("rendered", "photos", "contact"),
    solvers: tuple[str, ...] = (),
    seeds: int = 2,
    tune: bool = False,
    keep: bool = False,
    gate: bool = False,
    markdown: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Prints a table for each kind of problem.

    solvers: names, all unless given; the reference always takes part. tune: tune the rates again. keep: write rates and
    results to baseline.json. gate: exit 1 where a ratio or a success got worse than there.
    """
    if unknown := sorted(set(solvers) - set(SOLVERS)):
        raise SystemExit(f"--solvers: expected names among {', '.join(SOLVERS)}, got {', '.join(unknown)}")
    asked = [name for name in SOLVERS if not solvers or name in (*solvers, REFERENCE)]
    baseline, last_line = load_baseline(), machine("jax", "optax")
    results: dict[str, list[Outcome]] = {}
    texts, worse = [], []
    for kind in problems:
        skipped = {name: reason for name in asked if (reason := usable(SOLVERS[name], kind))}
        names = [name for name in asked if name not in skipped]
        tuned_on = "contact" if kind == "contact" else "rendered"
        known = {} if tune else baseline.get(kind, {}).get("rates", {})
        rates = {name: known[name] if name in known else tuned(tuned_on, name) for name in names}
        outcomes, compilation = compared(kind, names, rates, seeds)
        rows = summarised(kind, outcomes, compilation)
        results[kind] = outcomes
        texts.append(table(kind, rows, rates, seeds, skipped))
        print(f"\n{texts[-1]}", flush=True)
        found = {name: gate_metrics(row) for name, row in rows.items()}
        if gate:
            before = baseline.get(kind, {})
            if before.get("settings") != settings(kind, seeds):
                print(f"gate: {kind} is not compared, its baseline is of other problems, seeds or budgets: run --keep")
            else:
                worse += [f"{kind}: {line}" for line in regressions(found, before["solvers"])]
        if keep:
            values = {n: {k: _rounded(m.value) for k, m in row.items()} for n, row in found.items()}
            before, now = baseline.get(kind, {}), settings(kind, seeds)
            if before.get("settings") == now:  # the solvers that were not run keep theirs
                rates, values = before["rates"] | rates, before["solvers"] | values
            baseline[kind] = {"settings": now, "rates": rates, "solvers": values}
            BASELINE.write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")
        if picture:
            draw_profiles(results, picture)
        if markdown:
            write_section(markdown, "optimizers", "\n\n".join(["## Optimizers", *texts, last_line]))
    print(f"\n{last_line}")
    if worse:
        raise SystemExit("regressed:\n" + "\n".join(worse))


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")
