"""The long run: many inputs for each reader, in a process of its own with limits, and a folder for each that fails.

    python -m tests.fuzz.campaign --examples 20000 --seed 1 mesh scene

An input fails that ends in a traceback, that takes over 2 GB or 20 s, or whose error is no line for people. It is
shrunk to the changes that matter and kept under .cache/fuzz/, the first of each kind. Ends with 1 where one failed.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.fuzz.readers import READERS, Plan, fault_of, input_of, plans
from tests.fuzz.seeds import ROOT, found

MOST_BYTES, MOST_SECONDS = 2 * 2**30, 20
KEPT = ROOT / ".cache" / "fuzz"


class Worker:
    """A process that reads one input after the other, and is started anew after one that it did not survive."""

    def __init__(self, read: Callable[[Path], Any], most_seconds: int = MOST_SECONDS) -> None:
        self._read, self._most_seconds = read, most_seconds
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> tuple[BaseProcess, Connection]:
        if self._process is None or self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(self._read, self._most_seconds, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipe.recv()  # it is ready
            self._process = process
        return self._process, self._pipe

    def fault(self, path: Path) -> str:
        process, pipe = self.start()
        try:
            pipe.send(path)
            if pipe.poll(10 * self._most_seconds):
                return pipe.recv()
            fault = f"time: no answer in {10 * self._most_seconds} s"
        except EOFError:
            process.join()
            fault = f"killed: {process.exitcode} (-24: over {self._most_seconds} s of a processor)"
        self.stop()
        return fault

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None


def _serve(read: Callable[[Path], Any], most_seconds: int, pipe: Connection) -> None:
    with suppress(EOFError), Path(os.devnull).open("w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        pipe.send("ready")
        while True:
            path = pipe.recv()
            with limited(most_seconds):
                fault = fault_of(read, path)
            pipe.send(fault)


@contextmanager
def limited(most_seconds: int) -> Iterator[None]:
    """So much more memory than there is now, and so much time of a processor; where the system has such limits."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    space, time_limit = resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MOST_BYTES, space[1]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + most_seconds, time_limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, space)
        resource.setrlimit(resource.RLIMIT_CPU, time_limit)


def kind_of(fault: str) -> str:
    """Faults of one kind differ in numbers and names alone."""
    places = re.findall(r"\w+\.py:\d+", fault)
    return f"{fault.split(':', maxsplit=1)[0]} {places[0] if places else re.sub(r'[0-9]+', '#', fault)[:80]}"


def run(name: str, examples: int, seed: int, seconds: float) -> tuple[int, dict[str, Plan], float]:
    """How many inputs a reader was given, the first that failed of each kind, and the seconds of the slowest."""
    reader, failed = READERS[name], dict[str, Plan]()
    begun, count, slowest = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory() as made:
        files, worker = [*reader.files(Path(made)), *found(name)], Worker(reader.read)
        worker.start()

        def fault(plan: Plan) -> str:
            folder = Path(made) / "input"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            path, asked = input_of(files, plan, folder), time.monotonic()
            came = worker.fault(path)
            nonlocal slowest
            slowest = max(slowest, time.monotonic() - asked)
            return came

        for plan in islice(plans(len(files), seed), examples):
            if time.monotonic() - begun > seconds:
                break
            count += 1
            if not (came := fault(plan)) or (kind := kind_of(came)) in failed:
                continue
            least = plan  # without the changes that do not matter
            for k in reversed(range(len(plan.numbers))):
                fewer = least._replace(numbers=least.numbers[:k] + least.numbers[k + 1 :])
                if fewer.numbers and kind_of(fault(fewer)) == kind:
                    least = fewer
            failed[kind] = least
            _keep(name, kind, least, fault(least) or came, Path(made) / "input")
        worker.stop()
    return count, failed, slowest


def _keep(name: str, kind: str, plan: Plan, fault: str, made: Path) -> None:
    folder = KEPT / re.sub(r"[^\w.]+", "-", f"{name} {kind}")[:100]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder / "input")
    (folder / "plan.json").write_text(json.dumps({"reader": name, **plan._asdict(), "fault": fault}, indent=1))
    print(f"{name}: {fault}\n  kept in {folder.relative_to(ROOT)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Gives many changed files to each reader.")
    parser.add_argument("readers", nargs="*", default=list(READERS), metavar="READER", help=", ".join(READERS))
    parser.add_argument("--examples", type=int, default=2000, help="inputs for each reader")
    parser.add_argument("--seconds", type=float, default=1e9, help="for each reader at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failures = 0
    for name in options.readers:
        begun = time.monotonic()
        count, failed, slowest = run(name, options.examples, options.seed, options.seconds)
        failures += len(failed)
        took = f"{time.monotonic() - begun:.0f} s, the slowest {slowest:.1f} s"
        print(f"{name}: {count} inputs, {len(failed)} kinds of faults, {took}", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
