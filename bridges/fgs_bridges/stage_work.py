"""The work of each stage: reads the run's folders, writes the one that it is given, and gives its provenance."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from fgs_bridges import from_photo
from fgs_bridges.estimates import read_estimate
from fgs_bridges.geometry import as_floats
from fgs_bridges.hands import write_hands
from fgs_bridges.images import on_plain_background
from fgs_bridges.object_commands import ObjectCommand
from fgs_bridges.run_folder import NEEDS, RECORDS, Run, read_values, write_json, write_text_file
from fgs_bridges.segment import read_mask
from fgs_bridges.stage_state import provenance_of
from fgs_bridges.text_to_image import generate, read_picture
from fgs_bridges.types import Detection, HandEstimate, Image
from fgs_jax.config_files import load_config
from fgs_jax.errors import BridgeError
from fgs_jax.journal import Journal
from fgs_jax.notes import heard
from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.results import fingerprints
from fgs_jax.results.write import comparison, write_result
from fgs_jax.stages.refine import refine


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
    write_json(out / "boxes.json", {"hand": _box_values(hand), "object": _box_values(thing)})
    return backends["detector"].provenance().as_dict()


def _hand(run: Run, out: Path, backends: Mapping[str, Any]) -> dict[str, Any]:
    hand, _ = read_boxes(run)
    estimate, notes = from_photo.estimate_hand(_interaction(run), hand, run.side, backends["hand"])
    out.mkdir()
    write_hands(out / "hand.json", [estimate])
    return from_photo.noted(backends["hand"], notes)


def _masks(run: Run, out: Path, backends: Mapping[str, Any]) -> dict[str, Any]:
    hand, thing = read_boxes(run)
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
    write_text_file(out / "object.obj", "\n".join(lines))
    return backend.provenance().as_dict()


def _scene(run: Run, out: Path, _: Mapping[str, Any]) -> dict[str, Any]:
    hand, thing = read_boxes(run)
    masks = run.stage("masks")
    made = {{"images": "image"}.get(name, name): provenance_of(run, name) for name in NEEDS["scene"]}
    scene = from_photo.scene_from_photo(
        _interaction(run),
        from_photo.Known(
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
        ),
    )
    save_scene(scene, out)
    return {}


def _grasp(run: Run, out: Path, _: Mapping[str, Any]) -> dict[str, Any]:
    """As `fgs refine --resume` does it: goes on where a run that was killed has left its journal."""
    source = run.stage("scene")
    config, scene = load_config(run.config.refine), load_scene(source)
    mark, records = fingerprints.fingerprint(scene, config), out.with_name("journal")
    if not (records / mark).exists():
        shutil.rmtree(records, ignore_errors=True)

    def progress(stage: str, seconds: float) -> None:
        print(f"{source.name}: {stage:<12}{seconds:6.1f} s", flush=True)

    with heard(lambda warning: print(f"fgs: {warning}", file=sys.stderr)), _journal(records / mark) as journal:
        result = refine(scene, config, journal=journal, progress=progress)
        write_result(result, out, source=str(source), fingerprint=mark)
    print("\n".join([comparison(result), *(f"note: {note}" for note in result.notes)]))
    return {}


@contextlib.contextmanager
def _journal(folder: Path) -> Iterator[Journal]:
    """A journal that has all on disk when its work is stopped."""
    journal = Journal(folder)
    try:
        yield journal
    except BaseException:
        with contextlib.suppress(Exception):
            journal.flush()
        raise
    finally:
        journal.close()


STAGE_WORK: dict[str, Callable[[Run, Path, Mapping[str, Any]], dict[str, Any]]] = {
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


def read_boxes(run: Run) -> tuple[Detection, Detection]:
    path = run.stage("boxes") / "boxes.json"
    values = read_values(path)
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
    return read_estimate(run.stage("hand") / "hand.json", _interaction(run), run.side)


def _write_picture(path: Path, picture: Image | np.ndarray) -> None:
    Pictures.fromarray(picture).save(path, "PNG")
