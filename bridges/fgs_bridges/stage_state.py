"""Whether a stage of a run is made, and from what: marks of its inputs, its options and the files that these name."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgs_bridges.config import KEYS
from fgs_bridges.provenance import sha256, versions
from fgs_bridges.registry import PATHS
from fgs_bridges.run_folder import NEEDS, Run, check_types, read_values
from fgs_jax.config_files import load_config
from fgs_jax.errors import BridgeError
from fgs_jax.files import expanded
from fgs_jax.results.fingerprints import code_mark, config_mark, hand_mark

MOST_HASHED = 64 << 20
"""Bytes; of a larger input file, size and time stand for the content."""


def state(run: Run, stage: str) -> str:
    """ "missing", "stale" (made from other inputs or options), "edited" (by hand since it was made) or "made"."""
    folder, record = run.stage(stage), run.record(stage)
    if not folder.is_dir() or not record.is_file():
        return "missing"
    kept = read_values(record)
    check_types(record, kept, fingerprint=str, files=dict)
    now = hashes(folder)
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
        options["scene"].append([provenance_of(run, name) for name in NEEDS[stage]])
    read = {name: hashes(run.stage(name)) for name in NEEDS[stage]}
    words = [stage, versions("fgs-jax"), options[stage], read]
    return hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()


def provenance_of(run: Run, stage: str) -> dict[str, Any]:
    """What made a stage, and whether it was edited since."""
    record = read_values(run.record(stage))
    check_types(run.record(stage), record, files=dict, provenance=dict)
    edited = record["files"] != hashes(run.stage(stage))
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
    hand = read_values(path).get("hand") if path.is_file() else None
    model = hand.get("model") if isinstance(hand, Mapping) else None
    return hand_mark(model, missing="") if isinstance(model, str) else ""


def _listed(folder: Path) -> list[Path]:
    """The files directly in a folder: those of a model or of results; a tool's whole checkout is not walked."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _mark(path: Path) -> Any:
    status = path.stat()
    return sha256(path) if status.st_size <= MOST_HASHED else [status.st_size, status.st_mtime_ns]


def hashes(folder: Path) -> dict[str, str]:
    """Of the files in a stage's folder; those whose names begin with a dot are a viewer's or an editor's."""
    if not folder.is_dir():
        return {}
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."}
