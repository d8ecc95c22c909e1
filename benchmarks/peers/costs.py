"""What calls cost: seconds of the clock and of all threads, turn by turn, and the fastest of PyTorch's variants."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.peers.jobs import Variant
from benchmarks.timing import spread


class Cost(NamedTuple):
    """Medians, in seconds."""

    wall: float
    cpu: float
    """Of all threads: what other jobs disturb less, but do disturb where memory is the limit."""
    least: float
    most: float
    """Of the clock's."""

    def __str__(self) -> str:
        return spread((self.least, self.wall, self.most))


class Bar(NamedTuple):
    """Of the figure."""

    label: str
    seconds: float
    times: float
    """Ours on the same work."""


def bar_of(label: str, cost: Cost, ours: Cost) -> Bar:
    return Bar(label, cost.wall, cost.wall / ours.wall)


def scaled(cost: Cost, factor: float) -> Cost:
    return Cost(*(factor * seconds for seconds in cost))


def costs(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Cost]:
    """As `timing.interleaved_medians`, with the seconds of all threads beside those of the clock.

    Other jobs stretch both: the first by taking turns, the second, less, by taking the cache.
    """
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            before = time.perf_counter(), time.process_time()
            call()
            seen[name].append((time.perf_counter() - before[0], time.process_time() - before[1]))
    found = {}
    for name, values in seen.items():
        (wall, cpu), clock = np.median(values, axis=0).tolist(), [seconds for seconds, _ in values]
        found[name] = Cost(wall, cpu, min(clock), max(clock))
    return found


def fastest(variants: Iterable[Variant], prepare: Callable[[Variant], Callable[[], object]]) -> list[Variant]:
    """The fastest eager and the fastest compiled variant, by the best of three calls, each after another."""
    best: dict[bool, tuple[float, Variant]] = {}
    for variant in variants:
        torch.compiler.reset()
        torch.set_num_threads(variant.threads)  # compiled code keeps the number that it was compiled with
        try:
            call = prepare(variant)
            begin = time.perf_counter()
            call()
            first = time.perf_counter() - begin
        except Exception as error:  # torch.compile needs a C++ compiler and does not take everything
            print(f"  {variant}: does not run here: {str(error).splitlines()[0]}", flush=True)
            continue
        seconds = min(costs({"": call}, 1)[""].wall for _ in range(3))
        print(f"  {variant}: {seconds:.3g} s, the first call {first:.3g} s", flush=True)
        best[variant.compiled] = min(
            best.get(variant.compiled, (np.inf, variant)), (seconds, variant), key=lambda pair: pair[0]
        )
    torch.compiler.reset()
    return [best[compiled][1] for compiled in sorted(best)]
