"""Thousands at once: object poses and grasps a second against how many there are, and how the cost grows.

python -m benchmarks.thousands [--most 100000] [--most-grasps 16384] [--parts throughput widths growth memory]
    [--directions "both directions" "hand in object only"] [--figure docs/thousands.png]
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import tyro

from benchmarks import shapes
from benchmarks.contact import starts as hands_about
from benchmarks.contact import thin_problem
from benchmarks.opa_speed import from_random_rotations, tumbler
from benchmarks.timing import machine, peak_memory, spread
from fgs_jax.config import FAST, FAST_OPA
from fgs_jax.hands.files import load_hand_model
from fgs_jax.objects.mesh import load_object
from fgs_jax.stages import opa
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.grasps import refine_grasps
from fgs_jax.stages.opa import approximate
from fgs_jax.types import Grasp

mpl.use("Agg")
import matplotlib.pyplot as plt

OBJECTS = ("can", "mug", "box", "bottle")
FULL = 0.9
"""Share of the greatest throughput from which the device counts as full."""
Curve = dict[int, float]
"""Median seconds of so many."""
Direction = Literal["both directions", "hand in object only"]
Part = Literal["throughput", "widths", "growth", "memory"]


def counts(most: int) -> list[int]:
    """1, 4, 16, ... and the most itself."""
    return sorted({min(4**k, most) for k in range(20)})


def timings(
    calls: Mapping[int, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[int, list[float]]:
    """Seconds of all in turn, after one call that compiles for all. What takes over a minute is timed once."""
    seconds: dict[int, list[float]] = {name: [] for name in calls}
    next(iter(calls.values()))()
    for _ in range(rounds):
        for name, call in calls.items():
            if not seconds[name] or seconds[name][0] < 60:
                begin = clock()
                call()
                seconds[name].append(clock() - begin)
    return seconds


def medians(seconds: Mapping[int, list[float]]) -> Curve:
    return {name: float(np.median(values)) for name, values in seconds.items()}


def cells(number: int, seconds: list[float]) -> str:
    """Median, least to greatest, and so many a second."""
    middle = float(np.median(seconds))
    return f"{spread(seconds) if len(seconds) > 1 else f'{middle:.3g} (once)'} | {number / middle:.3g}"


def exponent(curve: Curve) -> float:
    """Of seconds over number."""
    return float(np.polyfit(np.log(list(curve)), np.log(list(curve.values())), 1)[0])


def full_at(curve: Curve) -> int | None:
    """The least number whose throughput is `FULL` of the greatest; none where that of the most alone is."""
    rates = {number: number / seconds for number, seconds in curve.items()}
    full = min(number for number, rate in rates.items() if rate >= FULL * max(rates.values()))
    return full if full < max(curve) else None


def grasp_problems() -> tuple[list[ContactProblem], list[Any]]:
    model = load_hand_model(FAST.hand_model)
    meshes = [load_object(shapes.SHAPES[name](), name=name) for name in OBJECTS]
    return [thin_problem(model, mesh, FAST) for mesh in meshes], [model, meshes]


def grasps_about(made: list[Any], scenes: int, count: int) -> tuple[Grasp, np.ndarray]:
    """`count` open hands about the first so many objects; beyond 64 an object, the same again, a little aside."""
    model, meshes = made
    each = [hands_about(model, mesh, 64, np.random.default_rng(0)) for mesh in meshes[:scenes]]
    hands = jax.tree.map(lambda *x: np.stack([np.asarray(part) for part in x]), *each)
    scene, which = np.arange(count) % scenes, np.arange(count) // scenes
    hands = jax.tree.map(lambda x: x[scene, which % 64], hands)
    aside = 1e-3 * np.random.default_rng(1).normal(size=(count, 3)) * (which >= 64)[:, None]
    hands = replace(hands, translation=(hands.translation + aside).astype(np.float32))
    still = jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count)
    return Grasp(hands, *still), scene


def contact_config(steps: int, both: bool) -> Any:
    return replace(FAST.contact, steps=steps, both_directions=both, reach=0.06)


def contact_configs(directions: tuple[Direction, ...], steps: int) -> dict[str, Any]:
    return {name: contact_config(steps, name == "both directions") for name in directions}


def contact_call(count: int, steps: int, width: int) -> Callable[[], object]:
    """For a process of its own."""
    problems, made = grasp_problems()
    starts, _ = grasps_about(made, 1, count)
    return lambda: refine_grasps(problems[0], starts, jax.random.key(0), contact_config(steps, True), width=width)


def pose_call(count: int) -> Callable[[], object]:
    scene = tumbler()
    return lambda: approximate(scene, jax.random.key(0), count)


def draw(file: Path, poses: Curve, contact: dict[str, Curve], steps: int, device: str) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), constrained_layout=True)
    panels: list[tuple[Any, dict[str, Curve], str]] = [
        (axes[0], {"whole stage": poses}, "object poses"),
        (axes[1], contact, "grasps"),
    ]
    for axis, curves, what in panels:
        for (name, curve), colour in zip(curves.items(), ("#1f5fa8", "#c8641b"), strict=False):
            numbers = sorted(curve)
            axis.loglog(numbers, [k / curve[k] for k in numbers], "o-", color=colour, label=name, ms=4)
            full = full_at(curve)
            if full:
                axis.plot([full], [full / curve[full]], "o", ms=11, mfc="none", mec=colour, mew=1.5)
        axis.set_xlabel(f"{what} in one call")
        axis.set_ylabel(f"{what} a second" + (f", {steps} steps" if what == "grasps" else ""))
        axis.grid(alpha=0.3, which="major")
        axis.legend(frameon=False, loc="lower right")
    figure.suptitle(f"{device}; a ring marks where it is full ({FULL:.0%} of the most)", fontsize=10)
    figure.savefig(file, dpi=130)


def growth(width: int, steps: int, rounds: int, blocks: int, directions: tuple[Direction, ...]) -> None:
    """Exponents over whole blocks; on a CPU of the process's own seconds, so that other jobs hardly count."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    numbers = sorted({max(1, blocks // 8), max(1, blocks // 4), max(1, blocks // 2), blocks})
    problems, made = grasp_problems()
    print("\n| cost grows with | as its power | from | to |\n|---|--:|--:|--:|")

    def report(name: str, calls: dict[int, Any]) -> None:
        curve = medians(timings(calls, rounds, clock))
        print(f"| {name} | {exponent(curve):.2f} | {min(curve)} | {max(curve)} |", flush=True)

    most = replace(FAST_OPA.phases[0], points=2048, targets=2048)
    problem, _ = opa.pose_problem(tumbler(), jax.random.key(0), replace(FAST_OPA, phases=(most,)))
    report("rotations, first phase", {64 * n: partial(first_phase, problem, 64 * n, 192) for n in numbers})
    by_pairs = {n * n: partial(first_phase, problem, 64, n) for n in (256, 512, 1024, 2048)}
    for call in by_pairs.values():  # each is a program of its own
        call()
    report("OPA's points x targets", by_pairs)
    for name, config in contact_configs(directions, steps).items():
        calls = {}
        for n in numbers:
            starts, _ = grasps_about(made, 1, n * width)
            calls[n * width] = partial(refine_grasps, problems[0], starts, jax.random.key(0), config, width=width)
        report(f"grasps, {name}", calls)
    config, calls = contact_config(steps, True), {}
    for n in range(1, len(problems) + 1):
        starts, of = grasps_about(made, n, n * width)
        calls[n] = partial(refine_grasps, problems[:n], starts, jax.random.key(0), config, scene=of, width=width)
    report(f"scenes of {width} grasps", calls)


def first_phase(problem: opa.PoseProblem, restarts: int, points: int) -> object:
    """OPA's first phase from so many starts, 64 at once, with as many points as targets."""
    phase = replace(FAST_OPA.phases[0], points=points, targets=points)
    return from_random_rotations(problem, FAST_OPA, phase, restarts)


def throughput(
    most: int,
    most_grasps: int,
    width: int,
    *,
    steps: int,
    rounds: int,
    directions: tuple[Direction, ...],
    figure: Path | None,
) -> None:
    scene = tumbler()
    seconds = timings({n: partial(approximate, scene, jax.random.key(0), n) for n in counts(most)}, rounds)
    poses = medians(seconds)
    print("| rotations | s | rotations/s |\n|--:|--:|--:|")
    for number, of_number in seconds.items():
        print(f"| {number} | {cells(number, of_number)} |", flush=True)
    problems, made = grasp_problems()
    contact: dict[str, Curve] = {}
    print(f"\n| grasps, {steps} steps | directions | s | grasps/s |\n|--:|---|--:|--:|")
    for name, config in contact_configs(directions, steps).items():
        calls = {}
        for n in counts(most_grasps):
            starts, _ = grasps_about(made, 1, n)
            calls[n] = partial(refine_grasps, problems[0], starts, jax.random.key(0), config, width=width)
        seconds = timings(calls, rounds)
        contact[name] = medians(seconds)
        for number, of_number in seconds.items():
            print(f"| {number} | {name} | {cells(number, of_number)} |", flush=True)
    full = {"rotations": full_at(poses)} | {name: full_at(curve) for name, curve in contact.items()}
    words = ", ".join(f"{name} {number or 'not yet'}" for name, number in full.items())
    print(f"\nThe device is full ({FULL:.0%} of the greatest throughput) from: {words}.")
    if figure:
        device = jax.devices()[0]
        cores = f"{len(os.sched_getaffinity(0))} CPU cores"
        draw(figure, poses, contact, steps, cores if device.platform == "cpu" else device.device_kind)


def by_width(widths: tuple[int, ...], steps: int, rounds: int) -> None:
    problems, made = grasp_problems()
    (starts, _), config = grasps_about(made, 1, max(widths)), contact_config(steps, True)
    calls = {w: partial(refine_grasps, problems[0], starts, jax.random.key(0), config, width=w) for w in widths}
    for call in calls.values():  # each is a program of its own
        call()
    print(f"\n| {max(widths)} grasps in blocks of | s | grasps/s |\n|--:|--:|--:|")
    for one, seconds in timings(calls, rounds).items():
        print(f"| {one} | {cells(max(widths), seconds)} |", flush=True)


def memory(most: int, most_grasps: int, width: int, steps: int) -> None:
    print("\n| peak memory, a process of its own | MB |\n|---|--:|")
    for number in sorted({min(1000, most), most}):
        print(f"| {number} rotations | {peak_memory(pose_call, number):.0f} |", flush=True)
    for number in sorted({min(width, most_grasps), most_grasps}):
        print(f"| {number} grasps | {peak_memory(contact_call, number, steps, width):.0f} |", flush=True)


def main(
    *,
    most: int = 100_000,
    most_grasps: int = 16_384,
    widths: tuple[int, ...] = (16, 64, 256),
    width: int = 64,
    steps: int = FAST.contact.steps,
    rounds: int = 5,
    blocks: int = 16,
    parts: tuple[Part, ...] = ("throughput", "widths", "growth", "memory"),
    directions: tuple[Direction, ...] = ("both directions", "hand in object only"),
    figure: Path | None = None,
) -> None:
    """Prints a table for each part; what takes over a minute is timed once.

    Args:
        most: rotations.
        most_grasps: grasps.
        widths: of blocks of grasps, against each other.
        width: of the blocks elsewhere.
        steps: of the contact stage's step two.
        rounds: of which medians are taken.
        blocks: greatest number of them for the exponents.
        parts: what to measure.
        directions: of penetration.
        figure: a PNG of the throughput.
    """
    footer = machine("jax")
    if "throughput" in parts:
        throughput(most, most_grasps, width, steps=steps, rounds=rounds, directions=directions, figure=figure)
    if "widths" in parts:
        by_width(widths, steps, rounds)
    if "growth" in parts:
        growth(width, steps, rounds, blocks, directions)
    if "memory" in parts:
        memory(most, most_grasps, width, steps)
    print(f"\n{footer}")


if __name__ == "__main__":
    tyro.cli(main)
