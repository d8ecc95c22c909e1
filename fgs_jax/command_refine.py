"""`fgs refine`: scenes to results on disk, in batches, each of which goes on where it was stopped."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax.config import CONFIGS, FAST, RefineConfig
from fgs_jax.config_files import check_config, load_config
from fgs_jax.errors import ConfigError, FgsError, ResultError
from fgs_jax.files import output_folder
from fgs_jax.journal import Journal
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.results.fingerprints import fingerprint
from fgs_jax.results.result import Result
from fgs_jax.results.write import check_apart, check_folder, comparison, finished_as, scene_name, write_result
from fgs_jax.run_lock import RunLock
from fgs_jax.shipped import shipped
from fgs_jax.solve.solvers import check_solvers
from fgs_jax.stages.refine import refine_many

MOST_BATCH = 256
"""Scenes at once."""


@dataclass(frozen=True)
class Refine:
    """Refine scenes: find the object's pose and a grasp, and write meshes, numbers and a report."""

    scenes: Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="SCENE")]]
    """Folders of scenes, as `load_scene` reads them."""
    config: Annotated[RefineConfig, tyro.conf.arg(name="")]
    out: Path
    """Folder of the result; of several scenes, a folder for each result."""
    batch: int | None = None
    """Scenes whose contact stages run as one program; by default 16 on a GPU and 1 on a CPU, which is as fast alone."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on with a run that was killed; scenes that it has finished are left as they are."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace results that are there."""


def refine_scenes(arguments: Refine) -> int:
    """Refines scenes in batches; one that fails does not stop the rest. The exit status."""
    check_config(arguments.config)
    check_solvers(arguments.config)
    if not arguments.scenes:
        raise ConfigError(
            f"refine: expected folders of scenes, got none; give one, such as {shipped('examples/scenes/tumbler')}"
        )
    names = [scene_name(scene) for scene in arguments.scenes]
    if len(set(names)) < len(names):
        raise ConfigError(f"refine: expected scenes of different names, got {', '.join(names)}; rename one")
    if arguments.batch is not None and not 1 <= arguments.batch <= MOST_BATCH:
        raise ConfigError(f"--batch: expected a number from 1 to {MOST_BATCH}, got {arguments.batch}")
    several = len(names) > 1
    out = output_folder(arguments.out, ResultError, shared=several)
    for scene in arguments.scenes:
        check_apart(out, scene)
    folders = [output_folder(out / name, ResultError) if several else out for name in names]
    width, failed = arguments.batch or (1 if jax.default_backend() == "cpu" else 16), 0
    with RunLock(out, path=out / ".lock" if several else None) as lock:
        for first in range(0, len(names), width):
            batch = slice(first, first + width)
            with ExitStack() as locks:
                runs: list[_Run] = []
                for path, folder in zip(arguments.scenes[batch], folders[batch], strict=True):
                    with _reporting() as errors:
                        each = locks.enter_context(RunLock(folder, run=lock.run)) if several else lock
                        runs += _open(path, folder, each, arguments)
                    failed += len(errors)
                failed += _refine_batch(runs, arguments)
    if several and failed:
        print(f"fgs: {failed} of {len(names)} scenes failed", file=sys.stderr)
    return 2 if failed else 0


@dataclass(frozen=True, eq=False)
class _Run:
    """A scene that is being refined."""

    path: Path
    out: Path
    scene: Scene
    mark: str
    journal: Journal
    lock: RunLock

    @property
    def records(self) -> Path:
        """Where its journal is."""
        return _records(self.out)


def _records(out: Path) -> Path:
    return out.with_name(f".{out.name}.journal")


@contextmanager
def _reporting() -> Iterator[list[FgsError]]:
    """Prints the error that ends the block, in one line, and collects it."""
    errors: list[FgsError] = []
    try:
        yield errors
    except FgsError as error:
        errors.append(error)
        print(f"fgs: {error}", file=sys.stderr)


def _open(path: Path, out: Path, lock: RunLock, arguments: Refine) -> list[_Run]:
    """A run of a scene; none where an earlier one has finished it."""
    records, scene = _records(out), None
    if arguments.resume and out.exists() and not arguments.overwrite:
        scene = load_scene(path)
        if finished_as(out) == fingerprint(scene, arguments.config):
            print(f"{path}: is finished, in {out}")
            return []
    check_folder(out, overwrite=arguments.overwrite)
    scene = load_scene(path) if scene is None else scene
    mark = fingerprint(scene, arguments.config)
    if not arguments.resume or not (records / mark).exists():
        if arguments.resume and records.exists():
            print(f"{path}: another scene or configuration than in the run that was killed: starts anew")
        shutil.rmtree(records, ignore_errors=True)
    try:
        journal = Journal(records / mark)
    except OSError as error:
        raise ResultError(f"{out}: cannot be written ({error.strerror}); free space or give another --out") from error
    if journal.recovered:
        print(f"{path}: goes on after {journal.recovered} parts")
    return [_Run(path, out, scene, mark, journal, lock)]


def _refine_batch(runs: list[_Run], arguments: Refine) -> int:
    """Refines scenes together and writes their results; how many have failed."""
    failed, kept = 0, list(runs)

    def progress(run: _Run, stage: str, seconds: float) -> None:
        print(f"{scene_name(run.path)}: {stage:<12}{seconds:6.1f} s", flush=True)

    try:
        scenes, journals = [run.scene for run in runs], [run.journal for run in runs]
        outcomes: list[Result | FgsError] = []
        with _reporting() as errors:
            outcomes = refine_many(
                scenes, arguments.config, journals=journals, progress=lambda k, *ended: progress(runs[k], *ended)
            )
        if errors:
            kept.clear()
            return len(runs)
        for run, outcome in zip(runs, outcomes, strict=True):
            with _reporting() as errors:
                if isinstance(outcome, FgsError):
                    kept.remove(run)
                    raise outcome
                run.lock.check()
                begin = time.perf_counter()
                write_result(
                    outcome, run.out, overwrite=arguments.overwrite, source=str(run.path), fingerprint=run.mark
                )
                kept.remove(run)
                progress(run, "report", time.perf_counter() - begin)
                print(comparison(outcome))
                for note in outcome.notes:
                    print(f"note: {note}")
                print(f"wrote {run.out / 'report.html'}")
            failed += len(errors)
        return failed
    finally:
        # What has no result yet goes on from its journal: where it was stopped, and where the result had no room.
        for run in runs:
            with suppress(Exception) if run in kept else nullcontext():
                if run in kept:
                    run.journal.flush()
                run.journal.close()
            if run not in kept:
                shutil.rmtree(run.records, ignore_errors=True)


OPTIONS = tyro.constructors.ConstructorRegistry()
"""Of types that tyro leaves out of the command line."""


@OPTIONS.primitive_rule
def _text_of_any(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    """A value of any type, as one of one's own terms is from Python, is a text on the command line: its name."""
    if info.type is not Any:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="MODULE:NAME",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


def take_config(words: list[str], otherwise: RefineConfig = FAST) -> tuple[RefineConfig, list[str]]:
    """The configuration that --config names, and the other words; it must be known before the rest is read.

    `otherwise`: where there is no --config, and what its file leaves out.
    """
    base, rest, following = otherwise, [], iter(words)
    for word in following:
        if word == "--config" or word.startswith("--config="):
            name = word.partition("=")[2] or next(following, None)
            if name is None:
                raise ConfigError(f"--config: expected {', '.join(CONFIGS)} or a YAML file, got nothing")
            base = load_config(name, otherwise)
        else:
            rest.append(word)
    return base, rest
