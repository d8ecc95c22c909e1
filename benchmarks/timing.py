"""What the benchmarks share: equal threads, fair rounds, peak memory, the machine in words, the results file."""

import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax


def limit_threads(threads: int | None) -> None:
    """Starts the program again on this many cores, so that every library counts these alone when it is imported."""
    cores = sorted(os.sched_getaffinity(0))
    if threads is not None and threads != len(cores):
        if not 0 < threads < len(cores):
            raise SystemExit(f"--threads: expected 1 to {len(cores)}, the cores of this machine, came {threads}")
        os.sched_setaffinity(0, cores[:threads])
        os.execv(sys.executable, sys.orig_argv)


def interleaved(calls: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each call; every round times all of them, so that drift of the machine hits all alike.

    The untimed call before each timed one gives it caches and thread pools that no other call has just used.
    """
    seconds = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            seconds[name].append(timed(call))
    return seconds


def interleaved_medians(calls: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """The medians of `interleaved`."""
    return {name: statistics.median(values) for name, values in interleaved(calls, rounds).items()}


def timed(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values: Sequence[float], form: str = ".3g") -> str:
    """The median, and the least and greatest in brackets."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def peak_memory(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """MB by which memory grows at most in the first call of `prepare(*arguments)`, made in a process of its own.

    Device memory where JAX runs on a GPU, else resident host memory, the compiler's own included.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_growth, prepare, arguments).result() / 1e6


def _growth(prepare: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> int:
    call = prepare(*arguments)
    if jax.default_backend() == "cpu":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak of the imports
    before = _peak_bytes()
    call()
    return _peak_bytes() - before


def _peak_bytes() -> int:
    if jax.default_backend() == "cpu":
        # Not getrusage's ru_maxrss: a new process starts with its parent's.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status)[0])
    torch = sys.modules.get("torch")
    of_torch = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else 0
    return of_torch + (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def machine(*packages: str) -> str:
    """The machine, its load, the versions and the command, in one line of Markdown."""
    device = jax.local_devices()[0]
    name = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    words = [f"{name[0] if name else 'unknown CPU'}, cores used: {len(os.sched_getaffinity(0))}"]
    words += [device.device_kind] if device.platform != "cpu" else []
    words += [f"load {os.getloadavg()[0]:.1f} at the start", f"Python {sys.version.split()[0]}"]
    words += [f"{package} {version(package)}" for package in packages]
    return f"{', '.join(words)}; `python {' '.join(sys.orig_argv[1:])}`"


def write_section(path: Path, name: str, text: str) -> None:
    """Puts the text between the markers `<!-- name -->` and `<!-- /name -->`, which are added at the end if absent."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    section = f"{start}\n{text.strip()}\n{end}"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: section, before)
    else:
        after = f"{before.rstrip()}\n\n{section}\n".lstrip()
    path.write_text(after, encoding="utf-8")
