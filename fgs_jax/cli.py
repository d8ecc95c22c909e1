"""The command line: `fgs`."""

import hashlib
import json
import os
import shutil
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from fgs_jax import ablate, hand_files, metrics
from fgs_jax.config import CONFIGS, FAST, RefineConfig, check_config, config_values, load_config
from fgs_jax.errors import ConfigError, FgsError, HandFileError, HandFileWarning, ResultError
from fgs_jax.hand_anatomy import FINGERS, REGION_NAMES
from fgs_jax.journal import Journal
from fgs_jax.objects import load_object
from fgs_jax.refine import Result, refine
from fgs_jax.results import check_folder, versions, write_result
from fgs_jax.scene import Scene, arrays_of
from fgs_jax.scene_files import load_scene

app = tyro.extras.SubcommandApp()
hand = tyro.extras.SubcommandApp()
app.command(hand, name="hand", help="Hand model files.")

Source = Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH")]
In = Annotated[str, tyro.conf.arg(metavar="IN")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT")]
HandMesh = Annotated[Path, tyro.conf.arg(metavar="HAND")]
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
def hand_convert(source: Positional[In], out: Positional[Out], overwrite: FlagCreatePairsOff[bool] = False) -> None:
    """Write a hand model as plain arrays, which need no pickle to be read, with all that the file may lack.

    Args:
        source: A hand model file (.pkl or .npz), or the name of a hand model.
        out: The .npz file to write.
        overwrite: Replace OUT if it is there.
    """
    _, path, _ = hand_files.locate_hand_file(source)
    hand_files.write_hand_file(out, hand_files.read_hand_file(path), overwrite=overwrite)
    print(f"wrote {out}")


@app.command(name="refine")
def refine_help() -> None:
    """Refine scenes: find the object's pose and a grasp, and write meshes, numbers and a report."""


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
    compilation_cache()
    chosen = load_config(config)
    out = out.expanduser().absolute()
    check_folder(out, overwrite=overwrite, names=ablate.FILES)
    given = load_scene(scene)
    print(ablate.markdown(ablate.HEAD), flush=True)

    def told(outcome: ablate.Outcome) -> None:
        print(ablate.markdown(ablate.cells(outcome, chosen.contact.weights)), flush=True)

    outcomes = ablate.ablate(given, chosen, told)
    ablate.write_ablation(outcomes, out, overwrite=overwrite, source=str(scene))
    print(f"\n{ablate.LEGEND}\nwrote {out / 'ablation.html'}")


@app.command(name="metrics")
def grasp_metrics(hand: Positional[HandMesh], object: Positional[ObjectFile], json_: Json = False) -> None:
    """Penetration, shared volume and contact of two meshes that stand in one frame, in metres.

    Args:
        hand: Mesh of the hand, closed at the wrist: obj, ply, stl, off, glb or gltf.
        object: Mesh of the object, likewise.
        json_: Print JSON in place of the table.
    """
    meshes = [load_object(path) for path in (hand, object)]
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
    if obstacle := metrics.solid_intersection_volume(surfaces[0], surfaces[1]).obstacle:
        print(f"siv_cm3 is left out: {obstacle}")
    if fingers is None:
        print("fingers_in_contact is left out: the hand's mesh is not one of open_hand or open_hand_full")


@dataclass(frozen=True)
class Refine:
    """Refine scenes: find the object's pose and a grasp, and write meshes, numbers and a report."""

    scenes: Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="SCENE")]]
    """Folders of scenes, as `load_scene` reads them."""
    config: Annotated[RefineConfig, tyro.conf.arg(name="")]
    out: Path
    """Folder of the result; of several scenes, a folder for each result."""
    resume: FlagCreatePairsOff[bool] = False
    """Go on with a run that was killed."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace results that are there."""


def refine_scenes(arguments: Refine) -> int:
    """Refines one scene after the other; one that fails does not stop the rest. The exit status."""
    check_config(arguments.config)
    if not arguments.scenes:
        raise ConfigError("refine: expected folders of scenes, got none; give one, such as examples/scenes/tumbler")
    names = [scene.resolve().name for scene in arguments.scenes]
    if len(set(names)) < len(names):
        raise ConfigError(f"refine: expected scenes of different names, got {', '.join(names)}; rename one")
    several, failed = len(names) > 1, 0
    for path, name in zip(arguments.scenes, names, strict=True):
        try:
            refine_one(path, arguments.out / name if several else arguments.out, arguments)
        except FgsError as error:
            failed += 1
            print(f"fgs: {error}", file=sys.stderr)
    if several and failed:
        print(f"fgs: {failed} of {len(names)} scenes failed", file=sys.stderr)
    return 2 if failed else 0


def refine_one(path: Path, out: Path, arguments: Refine) -> None:
    """Reads, refines and writes one scene."""
    out = out.expanduser().absolute()
    check_folder(out, overwrite=arguments.overwrite)
    scene = load_scene(path)
    records = out.with_name(f".{out.name}.journal")
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

    def progress(stage: str, seconds: float) -> None:
        print(f"{path.resolve().name}: {stage:<12}{seconds:6.1f} s", flush=True)

    try:
        result = refine(scene, arguments.config, journal=journal, progress=progress)
        begin = time.perf_counter()
        write_result(result, out, overwrite=arguments.overwrite, source=str(path))
        progress("report", time.perf_counter() - begin)
    except OSError as error:
        raise ResultError(f"{out}: cannot be written ({error.strerror}); free space or give another --out") from error
    finally:
        journal.close()
        if not isinstance(sys.exc_info()[1], KeyboardInterrupt):  # stopped by hand it may go on, as one that was killed
            shutil.rmtree(records, ignore_errors=True)
    print(comparison(result))
    for note in result.notes:
        print(f"note: {note}")
    print(f"wrote {out / 'report.html'}")


def comparison(result: Result) -> str:
    """Measures before and after, a line each."""
    meanings = metrics.GRASP_METRICS | metrics.PICTURE_METRICS
    lines = [f"{'':<32}{'before':>9}{'after':>9}"]
    for key, meaning in meanings.items():
        values = (("-" if (value := part[key]) is None else f"{value:.3f}") for part in result.metrics)
        lines.append(f"{key:<32}{next(values):>9}{next(values):>9}  {meaning}")
    return "\n".join(lines)


def fingerprint(scene: Scene, config: RefineConfig) -> str:
    """Of all that a result follows from."""
    words = [config_values(config), scene.side, scene.hand_model, scene.object.size, versions()]
    digest = hashlib.sha256(json.dumps(words).encode())
    arrays = arrays_of(scene) | {"object_mask": scene.object_mask, "hand_mask": scene.hand_mask}
    arrays |= {"vertices": scene.object.vertices, "faces": scene.object.faces, "focal": scene.camera.focal}
    arrays |= {"principal": scene.camera.principal}
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def compilation_cache() -> None:
    """Compiled programs are kept between runs, in JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "fgs_jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


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


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit status: 0, or 2 for what the user can mend, said in one line."""
    words = sys.argv[1:] if argv is None else argv
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"fgs: {message}", file=sys.stderr)
        warnings.simplefilter("always", HandFileWarning)
        try:
            if words[:1] == ["refine"]:
                base, rest = _take_config(words[1:])
                default = Refine((), base, Path("out"))
                compilation_cache()
                return refine_scenes(
                    tyro.cli(Refine, prog="fgs refine [--config NAME|FILE]", args=rest, default=default)
                )
            app.cli(prog="fgs", description="Hand-object grasp refinement.", args=words)
        except FgsError as error:
            print(f"fgs: {error}", file=sys.stderr)
            return 2
        except SystemExit as stop:  # tyro, after --help or a word that it does not know
            return stop.code if isinstance(stop.code, int) else 2
    return 0
