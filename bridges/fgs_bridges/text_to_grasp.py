"""From texts to refined grasps: every stage of every text, in processes that end before the refinement starts."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fgs_bridges.config import Backends, GenerateConfig
from fgs_bridges.process import ended_as, keep_alone
from fgs_bridges.run_folder import RECORDS, STAGES, Run, write_run
from fgs_bridges.stage_state import state
from fgs_bridges.stages import run_stages
from fgs_jax.config_files import check_config, load_config
from fgs_jax.errors import BridgeError, ConfigError, FgsError
from fgs_jax.files import read_input
from fgs_jax.solve.solvers import check_solvers

LOCK = ".lock"


@dataclass(frozen=True)
class Prompt:
    """A functional text, and the object's name."""

    text: str
    object_name: str


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file: "TEXT | OBJECT" on each line; empty lines and those that begin with # are passed over.

    Raises ConfigError for a file or a line that is no such, and for a prompt that is there twice.
    """
    try:
        lines = read_input(path, "text", ConfigError, most=2**24).decode("utf-8-sig").splitlines()
    except (ConfigError, UnicodeDecodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).removeprefix(f"{path}: ")
        raise ConfigError(f"{path}: expected a file of prompts, cannot be read ({reason}); check the path") from error
    prompts = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        text, _, name = (part.strip() for part in line.rpartition("|"))
        if not text or not name:
            raise ConfigError(f'{path}, line {number}: expected "TEXT | OBJECT", got "{line.strip()}"; name the object')
        prompts.append(Prompt(text, name))
    if not prompts:
        raise ConfigError(f'{path}: expected lines "TEXT | OBJECT", got none; write some')
    if twice := [prompt for k, prompt in enumerate(prompts) if prompt in prompts[:k]]:
        raise ConfigError(f'{path}: "{twice[0].text}" is there twice; leave one out')
    return prompts


def folder_name(prompt: Prompt) -> str:
    """Of a prompt's run, among others: readable, and another one for another prompt."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.text.lower()).strip("-")[:48].rstrip("-")
    mark = hashlib.sha256(f"{prompt.text}\n{prompt.object_name}".encode()).hexdigest()[:6]
    return f"{words}-{mark}" if words else mark


def text_to_grasp(
    runs: Sequence[Run],
    *,
    until: str = "grasp",
    in_process: bool = False,
    tell: Callable[[str], None] = print,
) -> dict[Path, str]:
    """Makes all stages of all runs, up to `until`; returns what failed, by the run's folder, in one line each.

    A stage that is there, made from the same inputs and options, is kept; so is one that was edited by hand. A run that
    fails does not stop the others. Each stage has a process of its own for all runs, so that a back end is loaded once
    and its memory is given back; `in_process` does without them, with the same results.

    Raises ConfigError and BridgeUnavailable, before anything is made, for options and back ends that there are not, and
    BridgeError where another process is at work in a folder.
    """
    if until not in STAGES:
        raise ConfigError(f"until: expected one of {', '.join(STAGES)}, got {until}")
    stages = STAGES[: STAGES.index(until) + 1]
    for run in runs:
        check_stack(run.config, stages)
    failed: dict[Path, str] = {}
    with ExitStack() as stack:
        locks = []
        for run in runs:
            write_run_folder(run.folder)
            locks.append(stack.enter_context(_locked(run.folder, tell)))
            write_run(run)
        for stage in stages:
            waiting: list[Run] = []
            for run in runs:
                if run.folder in failed:
                    continue
                try:
                    found = state(run, stage)
                except FgsError as error:
                    failed[run.folder] = f"{stage}: {error}"
                    continue
                if found in ("made", "edited"):
                    tell(f"{run.folder.name}: {stage}: kept" + (", edited by hand" if found == "edited" else ""))
                else:
                    waiting.append(run)
            for folder, error in _make(stage, waiting, in_process, [lock.fileno() for lock in locks], tell).items():
                failed[folder] = f"{stage}: {error}"
    return failed


def check_stack(config: GenerateConfig, stages: Sequence[str] = STAGES) -> None:
    """Raises ConfigError or BridgeUnavailable for a back end that the stages need and that cannot be made here."""
    backends = Backends(config)
    needed = {
        "images": ("text_to_image", "object_picture"),
        "boxes": ("detector",),
        "hand": ("hand",),
        "masks": ("segmenter", "object_segmenter"),
        "object": ("object",),
    }
    for stage in stages:
        for key in needed.get(stage, ()):
            if key in backends:
                _ = backends[key]
    if "grasp" in stages:
        refinement = load_config(config.refine)
        check_config(refinement)
        check_solvers(refinement)


def write_run_folder(folder: Path) -> None:
    """Makes a run's folder. Raises BridgeError where it cannot, and for one that holds other things."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
        if names and RECORDS not in names:
            raise BridgeError(
                f"{folder}: expected an empty folder or one of a run, holds {names[0]}; give another --out"
            )
    except OSError as error:
        raise BridgeError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error


def _make(
    stage: str, runs: Sequence[Run], in_process: bool, locks: Sequence[int], tell: Callable[[str], None]
) -> dict[Path, str]:
    """One stage of some runs; what failed."""
    failed: dict[Path, str] = {}
    waiting = list(runs)
    while waiting:
        names = waiting[0].folder.name if len(waiting) == 1 else f"{len(waiting)} prompts"
        tell(f"{names}: {stage} ...")
        folders = [run.folder for run in waiting]
        for run in waiting:
            run.record(stage, "failed").unlink(missing_ok=True)
        if in_process:
            run_stages(stage, folders)
            died = "ended without a result"
        else:
            died = _child(stage, folders, locks)
        ended = [_outcome(run, stage) for run in waiting]
        tried = len(ended)
        for k, (run, error) in enumerate(zip(waiting, ended, strict=True)):
            if error is None:  # the process has ended here; those behind it were not tried
                failed[run.folder] = f"{died}; see {run.record(stage, 'log')}"
                tried = k + 1
                break
            if error:
                failed[run.folder] = error
            else:
                tell(f"{run.folder.name}: {stage}: done")
        waiting = waiting[tried:]
    return failed


def _outcome(run: Run, stage: str) -> str | None:
    """The error of a stage that has run, empty where it was made, None where it has not come to an end."""
    if (path := run.record(stage, "failed")).is_file():
        return path.read_text(encoding="utf-8").strip()
    return "" if state(run, stage) == "made" else None


def _child(stage: str, folders: Sequence[Path], locks: Sequence[int]) -> str:
    """Runs a stage in a process of its own; how it ended, should it not have come to its end."""
    environment = dict(os.environ)
    if stage != "grasp":  # what JAX there is runs on the host, and torch has the GPU for itself
        environment["JAX_PLATFORMS"] = "cpu"
    process = subprocess.Popen(
        [sys.executable, "-m", "fgs_bridges.stages", stage, *(str(folder) for folder in folders)],
        env=environment,
        stdin=subprocess.PIPE,  # its end tells the child that we are gone
        pass_fds=locks if os.name == "posix" else (),  # a child that outlives us keeps others out
    )
    try:
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
    return f"its process {'was ended by' if status < 0 else 'ended with'} {ended_as(status)}"


@contextmanager
def _locked(folder: Path, tell: Callable[[str], None]) -> Iterator[IO[bytes]]:
    """Keeps other processes out of a run's folder, until this one and its children have ended."""
    with (folder / LOCK).open("wb") as file:
        alone = keep_alone(file)
        if alone is False:
            raise BridgeError(f"{folder}: another process is at work here; wait for it, or stop it")
        if alone is None:
            tell(f"{folder.name}: this system has no locks of files: see to it that no other fgs runs here")
        yield file
