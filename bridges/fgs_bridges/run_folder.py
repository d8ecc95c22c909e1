"""The folder of a run from a text to a grasp: `run.json`, a folder for each stage, and `records` of their making."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from fgs_bridges.config import GenerateConfig, generate_config
from fgs_bridges.pretrained import first_line
from fgs_jax.errors import BridgeError
from fgs_jax.files import read_input
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
        write_json(run.folder / RUN, values)
    except (OSError, TypeError) as error:
        raise BridgeError(f"{run.folder}: cannot be written ({first_line(error)}); choose another --out") from error


def read_run(folder: Path) -> Run:
    """Raises BridgeError for a folder that `write_run` has not written."""
    values = read_values(folder / RUN)
    if values.get("format") != "fgs-run" or values.get("version") != 1:
        raise BridgeError(f"{folder / RUN}: expected a run of this program, came another; start with another folder")
    check_types(folder / RUN, values, text=str, object=str, side=(str, NoneType), config=dict)
    config = generate_config(values["config"], str(folder / RUN))
    return Run(folder, values["text"], values["object"], values["side"], config)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_text_file(path, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False))


def write_text_file(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def read_values(path: Path) -> dict[str, Any]:
    data = read_input(path, "this file", BridgeError, absent="run the stage that writes it")
    try:
        values = read_json(data)
    except ValueError as error:
        raise BridgeError(f"{path}: expected JSON, came none ({first_line(error)}); delete or mend it") from error
    if not isinstance(values, dict):
        raise BridgeError(f"{path}: expected an object {{...}}, came another value; delete or mend it")
    return values


def check_types(path: Path, values: Mapping[str, Any], **types: type | tuple[type, ...]) -> None:
    """Raises BridgeError where a value of a file is missing or of another type."""
    for name, kind in types.items():
        if name not in values or not isinstance(values[name], kind):
            came = f"{values[name]!r:.40}" if name in values else "none"
            raise BridgeError(f'{path}: expected a value of another type as "{name}", came {came}; mend it')
