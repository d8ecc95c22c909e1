"""The stages from a text to a grasp, each with plain files as its input and output.

A run is a folder: `run.json` with the text and the options, one folder for each stage, and `records`, which holds a
stage's log, its provenance and what it was made from. `python -m fgs_bridges.stages STAGE RUN...` runs one stage of
several runs in one process, whose end gives the GPU back; `fgs_bridges.text_to_grasp` does that for all of them.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from PIL import Image as Pictures

from fgs_bridges import from_photo
from fgs_bridges.config import KEYS, Backends, GenerateConfig, generate_config
from fgs_bridges.geometry import as_floats
from fgs_bridges.hands import write_hands
from fgs_bridges.images import on_plain_background
from fgs_bridges.object_commands import ObjectCommand
from fgs_bridges.pretrained import first_line
from fgs_bridges.process import end_with_parent, logged, on_host
from fgs_bridges.provenance import sha256, versions
from fgs_bridges.registry import PATHS
from fgs_bridges.segment import read_mask
from fgs_bridges.text_to_image import generate, read_picture
from fgs_bridges.types import Detection, HandEstimate, Image
from fgs_jax import cli
from fgs_jax.command_ends import STOPPED
from fgs_jax.config import load_config
from fgs_jax.errors import BridgeError, ConfigError, FgsError
from fgs_jax.files import expanded, read_input
from fgs_jax.picture.scene_files import save_scene
from fgs_jax.results.fingerprints import code_mark, config_mark, hand_mark
from fgs_jax.strict import read_json

STAGES = ("images", "boxes", "hand", "masks", "object", "scene", "grasp")
NEEDS: dict[str, tuple[str, ...]] = {
    "images": (),
    "boxes": ("images",),
    "hand": ("images", "boxes"),
    "masks": ("images", "boxes", "hand"),
    "object": ("images",),
    "scene": ("images", "boxes", "hand", "masks", "object"),
    "grasp": ("scene",),
}
"""The stages whose files a stage reads."""
RECORDS, WORK, RUN = "records", ".work", "run.json"
MOST_HASHED = 64 << 20
"""Bytes; of a larger input file, size and time stand for the content."""


@dataclass(frozen=True)
class Run:
    """A text on its way to a grasp."""

    folder: Path
    text: str
    object_name: str
    side: str | None
    config: GenerateConfig

    def stage(self, name: str) -> Path:
        return self.folder / name

    def record(self, stage: str, kind: str = "json") -> Path:
        return self.folder / RECORDS / f"{stage}.{kind}"


def write_run(run: Run) -> None:
    """Writes run.json, by which a process finds everything. Raises BridgeError where it cannot."""
    values = {
        "format": "fgs-run",
        "version": 1,
        "text": run.text,
        "object": run.object_name,
        "side": run.side,
        "config": run.config.values(),
    }
    try:
        (run.folder / RECORDS).mkdir(parents=True, exist_ok=True)
        _write_json(run.folder / RUN, values)
    except (OSError, TypeError) as error:
        raise BridgeError(f"{run.folder}: cannot be written ({first_line(error)}); choose another --out") from error


def read_run(folder: Path) -> Run:
    """Raises BridgeError for a folder that `write_run` has not written."""
    values = _read_json(folder / RUN)
    if values.get("format") != "fgs-run" or values.get("version") != 1:
        raise BridgeError(f"{folder / RUN}: expected a run of this program, came another; start with another folder")
    _check_types(folder / RUN, values, text=str, object=str, side=(str, NoneType), config=dict)
    config = generate_config(values["config"], str(folder / RUN))
    return Run(folder, values["text"], values["object"], values["side"], config)


def state(run: Run, stage: str) -> str:
    """ "missing", "stale" (made from other inputs or options), "edited" (by hand since it was made) or "made"."""
    folder, record = run.stage(stage), run.record(stage)
    if not folder.is_dir() or not record.is_file():
        return "missing"
    kept = _read_json(record)
    _check_types(record, kept, fingerprint=str, files=dict)
    now = _hashes(folder)
    if not set(kept["files"]) <= set(now):
        return "missing"
    edited = kept["files"] != now
    if kept["fingerprint"] != fingerprint(run, stage):
        if edited:
            raise BridgeError(
                f"{folder}: was edited by hand, and what it was made from has changed since; "
                "delete the folder to make it again"
            )
        return "stale"
    return "edited" if edited else "made"


def fingerprint(run: Run, stage: str) -> str:
    """Of all that a stage follows from: options, files that they name by content, and the stages before it."""
    config = run.config
    backends = {kind: _by_content(value) for kind, value in config.values().items() if kind in KEYS}
    options: dict[str, Any] = {
        "images": [run.text, run.object_name, backends["text_to_image"], backends.get("object_picture"), config.seed],
        "boxes": [run.object_name, run.side, backends["detector"]],
        "hand": [run.side, backends["hand"]],
        "masks": [backends["segmenter"], backends.get("object_segmenter"), config.hand_mask],
        "object": [backends["object"], config.seed],
        "scene": [run.text, run.object_name, run.side, config.object_size, config.focal],
        "grasp": [config_mark(load_config(config.refine)), _hand_of(run), code_mark()] if stage == "grasp" else [],
    }
    if stage == "scene":  # it holds them
        options["scene"].append([_provenance(run, name) for name in NEEDS[stage]])
    read = {name: _hashes(run.stage(name)) for name in NEEDS[stage]}
    words = [stage, versions("fgs-jax"), options[stage], read]
    return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()


def run_stage(run: Run, stage: str, backends: Mapping[str, Any]) -> None:
    """Makes one stage's folder, whole or not at all, and then its record.

    Raises FgsError, in one line, where it fails; what was there before stays then.
    """
    work = run.folder / WORK / stage
    out = work / "out"
    mark, begin = fingerprint(run, stage), time.perf_counter()
    for name in ("out", "old"):
        shutil.rmtree(work / name, ignore_errors=True)
    try:
        work.mkdir(parents=True, exist_ok=True)
        with on_host() if stage != "grasp" else contextlib.nullcontext():
            made = _WORK[stage](run, out, backends)
        _write_json(work / "record.json", {
            "stage": stage,
            "fingerprint": mark,
            "files": _hashes(out),
            "provenance": made,
            "seconds": round(time.perf_counter() - begin, 1),
        })  # fmt: skip
        run.record(stage).unlink(missing_ok=True)
        if run.stage(stage).exists():
            run.stage(stage).rename(work / "old")
        out.rename(run.stage(stage))
        (work / "record.json").replace(run.record(stage))
    except FgsError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    except OSError as error:
        raise BridgeError(f"{run.folder}: cannot be written ({first_line(error)}); free space or move it") from error
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):  # another stage's is in it
        work.parent.rmdir()


def run_stages(stage: str, folders: Sequence[Path], *, log: bool = False) -> None:
    """One stage of several runs, the back ends made once; a run that fails leaves its error in records/STAGE.failed.

    `log`: whether all that is printed goes to records/STAGE.log.
    """
    cached: dict[str, Backends] = {}
    for folder in folders:
        failed = folder / RECORDS / f"{stage}.failed"
        with logged(folder / RECORDS / f"{stage}.log") if log else contextlib.nullcontext():
            try:
                failed.unlink(missing_ok=True)
                run = read_run(folder)
                key = json.dumps(run.config.values(), sort_keys=True, default=str)
                run_stage(run, stage, cached.setdefault(key, Backends(run.config)))
            except FgsError as error:
                _write_text(failed, " ".join(str(error).split()))
            except Exception as error:  # a defect, or a tool's error that its adapter does not know
                traceback.print_exc()
                where = f"; see {folder / RECORDS / f'{stage}.log'}" if log else ""
                _write_text(failed, f"{stage}: {type(error).__name__}: {first_line(error)}{where}")


# --- the work of each stage: reads the run's folders, writes `out`, gives provenance


def _images(run: Run, out: Path, backends: Mapping[str, Any]) -> dict[str, Any]:
    alone = backends.get("object_picture")
    made = generate(run.text, run.object_name, backends["text_to_image"], run.config.seed, alone)
    out.mkdir()
    _write_picture(out / "interaction.png", made.interaction)
    _write_picture(out / "object.png", made.object)
    return made.provenance


def _boxes(run: Run, out: Path, backends: Mapping[str, Any]) -> dict[str, Any]:
    hand, thing = from_photo.find_boxes(_interaction(run), run.object_name, run.side, backends["detector"])
    out.mkdir()
    _write_json(out / "boxes.json", {"hand": _box_values(hand), "object": _box_values(thing)})
    return backends["detector"].provenance().as_dict()


def _hand(run: Run, out: Path, backends: Mapping[str, Any]) -> dict[str, Any]:
    hand, _ = _read_boxes(run)
    estimate, notes = from_photo.estimate_hand(_interaction(run), hand, run.side, backends["hand"])
    out.mkdir()
    write_hands(out / "hand.json", [estimate])
    return from_photo.noted(backends["hand"], notes)


def _masks(run: Run, out: Path, backends: Mapping[str, Any]) -> dict[str, Any]:
    hand, thing = _read_boxes(run)
    found = from_photo.find_masks(
        _interaction(run),
        hand.box,
        thing.box,
        _read_hand(run),
        backends=backends,
        hand_mask_from=run.config.hand_mask,
    )
    out.mkdir()
    _write_picture(out / "hand_mask.png", np.where(found.hand, np.uint8(255), np.uint8(0)))
    _write_picture(out / "object_mask.png", np.where(found.object, np.uint8(255), np.uint8(0)))
    return found.provenance


def _object(run: Run, out: Path, backends: Mapping[str, Any]) -> dict[str, Any]:
    backend, path = backends["object"], run.stage("images") / "object.png"
    picture = read_picture(path)
    mask = on_plain_background(picture)
    if mask is None and getattr(backend, "background", "white") != "white":
        raise BridgeError(
            f"{path}: expected an object before a plain background, for {run.config.backends['object'].backend} takes "
            "it on another one; take another seed, or put it on white there"
        )
    with _kept_in(run.folder / RECORDS / "object", backend):
        mesh = backend(picture, mask, seed=run.config.seed)
    out.mkdir()
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(mesh.vertices, float).tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (np.asarray(mesh.faces) + 1).tolist()]
    _write_text(out / "object.obj", "\n".join(lines))
    return backend.provenance().as_dict()


def _scene(run: Run, out: Path, _: Mapping[str, Any]) -> dict[str, Any]:
    hand, thing = _read_boxes(run)
    masks = run.stage("masks")
    made = {{"images": "image"}.get(name, name): _provenance(run, name) for name in NEEDS["scene"]}
    scene = from_photo.scene_from_photo(
        _interaction(run),
        object_name=run.object_name,
        object_mesh=run.stage("object") / "object.obj",
        object_size=run.config.object_size,
        object_image=read_picture(run.stage("images") / "object.png"),
        side=run.side,
        hand_box=hand.box,
        object_box=thing.box,
        hand_mask=read_mask(str(masks / "hand_mask.png")),
        object_mask=read_mask(str(masks / "object_mask.png")),
        estimate=_read_hand(run),
        focal=run.config.focal,
        prompt=run.text,
        provenance=made,
    )
    save_scene(scene, out)
    return {}


def _grasp(run: Run, out: Path, _: Mapping[str, Any]) -> dict[str, Any]:
    words = ["refine", str(run.stage("scene")), "--out", str(out), "--config", run.config.refine, "--resume"]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        status = cli.main(words)
    if status in STOPPED.values():
        raise KeyboardInterrupt
    print(errors.getvalue(), end="", file=sys.stderr)
    if status:
        said = [line for line in errors.getvalue().splitlines() if line.startswith("fgs: ")]
        raise BridgeError(said[-1].removeprefix("fgs: ") if said else f"fgs refine ended with status {status}")
    return {}


_WORK: dict[str, Callable[[Run, Path, Mapping[str, Any]], dict[str, Any]]] = {
    "images": _images,
    "boxes": _boxes,
    "hand": _hand,
    "masks": _masks,
    "object": _object,
    "scene": _scene,
    "grasp": _grasp,
}


@contextlib.contextmanager
def _kept_in(folder: Path, backend: Any) -> Iterator[None]:
    """A program's picture, files and log stay with the run, where its user names no other folder."""
    if not isinstance(backend, ObjectCommand) or backend.folder:
        yield
        return
    backend.folder = str(folder)
    try:
        yield
    finally:
        backend.folder = ""  # the run's place is no part of what made the mesh


# --- files


def _interaction(run: Run) -> Image:
    return read_picture(run.stage("images") / "interaction.png")


def _box_values(detection: Detection) -> dict[str, Any]:
    values = {
        "box": [float(x) for x in detection.box],
        "score": round(float(detection.score), 4),
        "label": detection.label,
        "side": detection.side,
    }
    return {name: value for name, value in values.items() if value not in ("", None)}


def _read_boxes(run: Run) -> tuple[Detection, Detection]:
    path = run.stage("boxes") / "boxes.json"
    values = _read_json(path)
    try:
        hand, thing = (
            replace(Detection(as_floats(values[name].pop("box"))), **values[name]) for name in ("hand", "object")
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BridgeError(f'{path}: expected "hand" and "object", each with a "box" of 4 numbers; mend it') from error
    for name, found in (("hand", hand), ("object", thing)):
        from_photo.check_box(f"{path}: {name}", found.box)
    return hand, thing


def _read_hand(run: Run) -> HandEstimate:
    return from_photo.read_estimate(run.stage("hand") / "hand.json", _interaction(run), run.side)


def _provenance(run: Run, stage: str) -> dict[str, Any]:
    """What made a stage, and whether it was edited since."""
    record = _read_json(run.record(stage))
    _check_types(run.record(stage), record, files=dict, provenance=dict)
    edited = record["files"] != _hashes(run.stage(stage))
    return record["provenance"] | ({"edited": "by hand"} if edited else {})


def _by_content(options: Any, name: str = "") -> Any:
    """Options of a back end, with its content in place of each file and folder that one names."""
    if isinstance(options, Mapping):
        return {key: _by_content(item, str(key)) for key, item in options.items()}
    if isinstance(options, list | tuple):
        return [_by_content(item, name) for item in options]
    if not isinstance(options, str) or not _is_path(options, name):
        return options
    path = expanded(options)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # a text that is none after all
        if path.is_file():
            return {"file": _mark(path)}
        if path.is_dir():
            return {"folder": [[str(file.relative_to(path)), _mark(file)] for file in _listed(path)]}
    return options


def _is_path(text: str, name: str) -> bool:
    """Whether an option's text may be a path. A plain word is none, though a file here may have that name."""
    parted = "/" in text or os.sep in text or text.startswith("~")
    return len(text) < 1024 and (parted or name in PATHS or (name == "argv" and bool(Path(text).suffix)))


def _hand_of(run: Run) -> str:
    """The mark of the hand file that a run's scene has its parameters for, if any."""
    path = run.stage("scene") / "scene.json"
    hand = _read_json(path).get("hand") if path.is_file() else None
    model = hand.get("model") if isinstance(hand, Mapping) else None
    return hand_mark(model, missing="") if isinstance(model, str) else ""


def _listed(folder: Path) -> list[Path]:
    """The files directly in a folder: those of a model or of results; a tool's whole checkout is not walked."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _mark(path: Path) -> Any:
    status = path.stat()
    return sha256(path) if status.st_size <= MOST_HASHED else [status.st_size, status.st_mtime_ns]


def _hashes(folder: Path) -> dict[str, str]:
    """Of the files in a stage's folder; those whose names begin with a dot are a viewer's or an editor's."""
    if not folder.is_dir():
        return {}
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."}


def _write_picture(path: Path, picture: Image | np.ndarray) -> None:
    Pictures.fromarray(picture).save(path, "PNG")


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False))


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    data = read_input(path, "this file", BridgeError, absent="run the stage that writes it")
    try:
        values = read_json(data)
    except ValueError as error:
        raise BridgeError(f"{path}: expected JSON, came none ({first_line(error)}); delete or mend it") from error
    if not isinstance(values, dict):
        raise BridgeError(f"{path}: expected an object {{...}}, came another value; delete or mend it")
    return values


def _check_types(path: Path, values: Mapping[str, Any], **types: type | tuple[type, ...]) -> None:
    """Raises BridgeError where a value of a file is missing or of another type."""
    for name, kind in types.items():
        if name not in values or not isinstance(values[name], kind):
            came = f"{values[name]!r:.40}" if name in values else "none"
            raise BridgeError(f'{path}: expected a value of another type as "{name}", came {came}; mend it')


def main(words: list[str]) -> int:
    """STAGE RUN...: the exit status is 0 where all runs were tried; which of them failed, their records say."""
    if len(words) < 2 or words[0] not in STAGES:
        raise ConfigError(f"expected one of {', '.join(STAGES)}, and folders of runs, got {' '.join(words) or 'none'}")
    end_with_parent()
    cli.start_up()
    try:
        run_stages(words[0], [Path(word) for word in words[1:]], log=True)
    except KeyboardInterrupt:  # which the process that has started this one hears, too
        return STOPPED[signal.SIGINT]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
