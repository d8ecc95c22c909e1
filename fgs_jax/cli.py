"""The command line: `fgs`."""

import io
import json
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax.command_ends import run_command
from fgs_jax.commands import added_command, added_commands
from fgs_jax.config import CONFIGS, FAST, RefineConfig
from fgs_jax.config_files import check_config, load_config
from fgs_jax.errors import ConfigError, FgsError, HandFileError, MeshError, ResultError
from fgs_jax.files import output_folder
from fgs_jax.hands import files as hand_files
from fgs_jax.hands.anatomy import FINGERS, REGION_NAMES
from fgs_jax.journal import Journal
from fgs_jax.notes import heard
from fgs_jax.objects.mesh import LEAST_EXTENT, MOST_EXTENT, ObjectMesh, load_object
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.results import ablate, metrics
from fgs_jax.results.fingerprints import fingerprint
from fgs_jax.results.result import Result
from fgs_jax.results.write import check_apart, check_folder, comparison, finished_as, scene_name, write_result
from fgs_jax.run_lock import RunLock
from fgs_jax.shipped import shipped
from fgs_jax.solve.ahead import start_up
from fgs_jax.stages.refine import refine_many

app = tyro.extras.SubcommandApp()
hand = tyro.extras.SubcommandApp()
app.command(hand, name="hand", help="Hand model files.")

MOST_BATCH = 256

Source = Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH")]
In = Annotated[str, tyro.conf.arg(metavar="IN")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]
HandMesh = Annotated[Path, tyro.conf.arg(metavar="HAND")]
Unit = Literal["m", "cm", "mm"]
METRES: dict[Unit, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
Json = Annotated[FlagCreatePairsOff[bool], tyro.conf.arg(name="json")]
ObjectFile = Annotated[Path, tyro.conf.arg(metavar="OBJECT")]
SceneFolder = Annotated[Path, tyro.conf.arg(metavar="SCENE")]
ConfigName = Annotated[str, tyro.conf.arg(metavar="NAME|FILE")]


@hand.command(name="info")
def hand_info(source: Positional[Source] = None, hand_model: Source = None) -> None:
    """Describe a hand model.

    Args:
        source: open_hand, open_hand_full, mano, or the path of a hand model file.
        hand_model: The same, as an option.
    """
    if source and hand_model:
        raise HandFileError(f"expected one hand model, came {source} and {hand_model}; leave one out")
    name, path, _ = hand_files.locate_hand_file(source or hand_model)
    arrays = hand_files.read_hand_file(path)
    vertices, faces, cap = arrays["v_template"], arrays["f"], arrays["f_cap"]
    tip = vertices[arrays["tip_vertex_ids"][FINGERS.index("middle")]]
    length = np.linalg.norm(tip - arrays["J_regressor"][0] @ vertices)
    a, b, c = (vertices[np.concatenate([faces, cap])[:, k]] for k in range(3))
    volume = np.sum(a * np.cross(b, c)) / 6  # tetrahedra between the faces and the origin
    sizes = np.bincount(arrays["regions"] + 1, minlength=len(REGION_NAMES) + 1)[1:]
    table = {
        "name": name,
        "file": path,
        "side": arrays["side"],
        "vertices": len(vertices),
        "faces": f"{len(faces)}, and {len(cap)} that close the wrist",
        "shape directions": arrays["shapedirs"].shape[2],
        "pose components": len(arrays["hands_components"]),
        "length": f"{length * 1e3:.1f} mm, wrist to middle fingertip",
        "volume": f"{volume * 1e6:.1f} cm3, wrist closed",
        "regions": ", ".join(f"{region} {size}" for region, size in zip(REGION_NAMES, sizes, strict=True))
        + " vertices",
        "licence": arrays.get("license", "not stated in the file"),
    }
    for label, value in table.items():
        print(f"{label:<18}{value}")


@hand.command(name="convert")
def hand_convert(
    source: Positional[In],
    out: Positional[Out],
    overwrite: FlagCreatePairsOff[bool] = False,
    trust_pickle: FlagCreatePairsOff[bool] = False,
) -> None:
    """Write a hand model as plain arrays, which need no pickle to be read, with all that the file may lack.

    Args:
        source: A hand model file (.pkl or .npz), or the name of a hand model.
        out: The .npz file to write.
        overwrite: Replace OUT if it is there.
        trust_pickle: Run the pickle, which can do anything: only for a file that you trust.
    """
    _, path, _ = hand_files.locate_hand_file(source)
    arrays = hand_files.read_hand_file(path, trust_pickle=trust_pickle)
    hand_files.write_hand_file(out, arrays, overwrite=overwrite)
    print(f"wrote {out}")


@app.command(name="ablate")
def ablate_scene(
    scene: Positional[SceneFolder], out: Path, config: ConfigName = "fast", overwrite: FlagCreatePairsOff[bool] = False
) -> None:
    """Refine a scene without OPA, scale alignment, the hand prior, energies: a table, and ablation.html with pictures.

    Args:
        scene: Folder of a scene, as `fgs refine` takes it.
        out: Folder to write.
        config: fast, paper, or a YAML file.
        overwrite: Replace OUT if it is there.
    """
    start_up()
    chosen = load_config(config)
    out = output_folder(out, ResultError)
    check_apart(out, scene)
    with RunLock(out) as lock:
        check_folder(out, overwrite=overwrite, names=ablate.FILES)
        given = load_scene(scene)
        print(ablate.markdown(ablate.HEAD), flush=True)

        def told(outcome: ablate.Outcome) -> None:
            print(ablate.markdown(ablate.cells(outcome, chosen.contact.term_weights)), flush=True)

        outcomes = ablate.ablate(given, chosen, told)
        lock.check()
        ablate.write_ablation(outcomes, out, overwrite=overwrite, source=str(scene))
    print(f"\n{ablate.LEGEND}\nwrote {out / 'ablation.html'}")


@app.command(name="metrics")
def grasp_metrics(
    hand: Positional[HandMesh],
    object: Positional[ObjectFile],
    json_: Json = False,
    *,
    unit: Unit = "m",
    hand_unit: Unit | None = None,
    object_unit: Unit | None = None,
) -> None:
    """Penetration, shared volume and contact of two meshes that stand in one frame.

    Args:
        hand: Mesh of the hand, closed at the wrist: obj, ply, stl, off, glb or gltf.
        object: Mesh of the object, likewise.
        json_: Print JSON in place of the table.
        unit: Of the numbers in both files.
        hand_unit: Of those in HAND, where it is another.
        object_unit: Of those in OBJECT, where it is another.
    """
    units: dict[str, Unit] = {"hand": hand_unit or unit, "object": object_unit or unit}
    meshes = [_mesh_in(path, units[name], name) for name, path in (("hand", hand), ("object", object))]
    surfaces = [metrics.Surface(mesh.vertices, mesh.faces) for mesh in meshes]
    fingers = metrics.fingers_of_hand_mesh(surfaces[0])
    values = metrics.grasp_metrics(surfaces[0], surfaces[1], fingers)
    if json_:
        print(json.dumps(values, indent=2))
        return
    for key, meaning in metrics.GRASP_METRICS.items():
        value = values[key]
        print(f"{key:<32}{'-' if value is None else f'{value:.3f}':>9}  {meaning}")
    for mesh, path in zip(meshes, (hand, object), strict=True):
        for repair in mesh.repairs:
            print(f"{path}: {repair}")
    if values["siv_cm3"] is None:
        print(f"siv_cm3 is left out: {metrics.solid_intersection_volume(surfaces[0], surfaces[1]).obstacle}")
    if fingers is None:
        print("fingers_in_contact is left out: the hand's mesh is not one of open_hand or open_hand_full")


def _mesh_in(path: Path, unit: Unit, name: str) -> ObjectMesh:
    """A mesh in metres, of a file in another unit."""
    given = load_object(path, size="unknown")
    mesh = replace(given, vertices=METRES[unit] * given.vertices)
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    if not LEAST_EXTENT <= extent <= MOST_EXTENT:
        raise MeshError(
            f"{path}: expected {'a hand' if name == 'hand' else 'an object'} of 5 mm to 3 m, came {extent:.4g} m; give "
            f"the file's unit by --{name}-unit, or by --unit where both files have it: m, cm or mm (came {unit})"
        )
    return mesh


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
            with ExitStack() as held:
                runs: list[_Run] = []
                for path, folder in zip(arguments.scenes[batch], folders[batch], strict=True):
                    with _reporting() as errors:
                        each = held.enter_context(RunLock(folder, run=lock.run)) if several else lock
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
                scenes, arguments.config, journals=journals, progress=lambda k, *told: progress(runs[k], *told)
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


def _take_config(words: list[str]) -> tuple[RefineConfig, list[str]]:
    """The configuration that --config names, and the other words; it must be known before the rest is read."""
    base, rest, following = FAST, [], iter(words)
    for word in following:
        if word == "--config" or word.startswith("--config="):
            name = word.partition("=")[2] or next(following, None)
            if name is None:
                raise ConfigError(f"--config: expected {', '.join(CONFIGS)} or a YAML file, got nothing")
            base = load_config(name)
        else:
            rest.append(word)
    return base, rest


def _go_on(words: list[str]) -> str:
    """What goes on with a command that was stopped."""
    if words[:1] == ["refine"]:
        return "--resume"
    with suppress(FgsError):
        return added_command(words[0]).go_on if words and words[0] in added_commands() else ""
    return ""


def _list_commands() -> None:
    """Puts the commands that `_command` hands on into the list of `fgs --help`."""

    def handed_on() -> None:
        raise AssertionError("`_command` hands this command on before it comes here")

    app.command(name="refine", help=Refine.__doc__)(handed_on)
    for name in added_commands():
        try:
            meaning = added_command(name).help
        except FgsError as error:
            meaning = str(error)
        app.command(name=name, help=meaning)(handed_on)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit status: 0, or 2 for what the user can mend, said in one line, or 130 when stopped.

    Without `argv` it is the process's own command, which Ctrl-C and SIGTERM end.
    """
    words = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of few letters shows others as ? instead of ending us
        sys.stdout.reconfigure(errors="replace")
    if argv is None:  # for all threads, and for good
        warnings.showwarning = lambda message, *_: print(f"fgs: {message}", file=sys.stderr)
    return run_command(partial(_command, words), own=argv is None, go_on=_go_on(words))


def _command(words: list[str]) -> int:
    with heard(lambda warning: print(f"fgs: {warning}", file=sys.stderr)):
        try:
            if words[:1] == ["refine"]:
                base, rest = _take_config(words[1:])
                default = Refine((), base, Path("out"))
                start_up()
                return refine_scenes(
                    tyro.cli(Refine, prog="fgs refine [--config NAME|FILE]", args=rest, default=default)
                )
            if words and words[0] in added_commands():
                return added_command(words[0]).run(words)
            _list_commands()
            app.cli(prog="fgs", description="Hand-object grasp refinement.", args=words)
        except FgsError as error:
            print(f"fgs: {error}", file=sys.stderr)
            return 2
        except SystemExit as stop:  # tyro, after --help or a word that it does not know
            return stop.code if isinstance(stop.code, int) else 2
    return 0
