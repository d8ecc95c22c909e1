"""Seconds of the main job from the start of Python to the files: nothing compiled, programs kept, and further scenes.

python -m benchmarks.job --markdown benchmarks/results.md
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from benchmarks.timing import machine, spread, write_section

_EVENTS = {
    "jaxpr_trace_duration": "trace",
    "jaxpr_to_mlir_module_duration": "lower",
    "backend_compile_duration": "compile",
}
PARTS = tuple(_EVENTS.values())


def run(started: float) -> None:
    """The three tumbler scenes in one process; prints its seconds as JSON."""
    import jax  # noqa: PLC0415

    from fgs_jax.cli import start_up  # noqa: PLC0415
    from fgs_jax.picture.scene_files import load_scene  # noqa: PLC0415
    from fgs_jax.results.write import write_result  # noqa: PLC0415
    from fgs_jax.stages.refine import refine  # noqa: PLC0415
    from tools.photos import SCENES, TUMBLERS  # noqa: PLC0415

    start_up()
    spent = dict.fromkeys(PARTS, 0.0)

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        part = _EVENTS.get(event.rsplit("/", 1)[-1])
        if part is not None:
            spent[part] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    values: dict[str, float] = {"start": time.time() - started}
    with tempfile.TemporaryDirectory() as folder:
        for name in TUMBLERS:
            begin = time.perf_counter()
            result = refine(load_scene(SCENES / name))
            values[f"{name} refined"] = time.perf_counter() - begin
            write_result(result, Path(folder) / name)
            values[f"{name} written"] = time.perf_counter() - begin
            values |= {f"{name} {part}": seconds for part, seconds in spent.items()}
            spent.update(dict.fromkeys(PARTS, 0.0))
    print(json.dumps(values))


def child(cache: str) -> dict[str, float]:
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"} | {"XDG_CACHE_HOME": cache}
    command = [sys.executable, "-m", "benchmarks.job", "--started", repr(time.time())]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, runs: list[dict[str, float]]) -> str:
    tenths = partial(spread, form=".1f")
    first, others = "tumbler", ("tumbler_005", "tumbler_199")
    warm = [statistics.median(each[f"{other} refined"] for other in others) for each in runs]
    written = [statistics.median(each[f"{other} written"] for other in others) for each in runs]
    cells = [
        tenths([each["start"] + each[f"{first} written"] for each in runs]),
        tenths([each["start"] + each[f"{first} refined"] for each in runs]),
        tenths([each[f"{first} refined"] - later for each, later in zip(runs, warm, strict=True)]),
        *(f"{statistics.median(each[f'{first} {part}'] for each in runs):.1f}" for part in PARTS),
        tenths(written),
        tenths(warm),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main(runs: int = 5, started: float | None = None, markdown: Path | None = None) -> None:
    """Prints a table, and writes it into its section of a file.

    `started`: when this process was begun, as the program calls itself.
    """
    if started is not None:
        run(started)
        return
    cold, kept = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(child(cache))
            kept.append(child(cache))
    rows = [row("nothing compiled yet", cold), row("programs kept from a run before", kept)]
    text = f"""## The main job, from the start of Python to the files: three frames of the tumbler in one process

| | first scene, s in all | before the report | more than a later one: compilation | traced | lowered | compiled \
| a later scene | before the report |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
{chr(10).join(rows)}

Medians of {runs} runs, least and greatest in brackets. Traced, lowered, compiled: seconds of each, as JAX reports them;
they go on beside each other and beside other work, so that they are no sum.

{machine()}"""
    print(text)
    if markdown is not None:
        write_section(markdown, "job", text)


if __name__ == "__main__":
    tyro.cli(main)
