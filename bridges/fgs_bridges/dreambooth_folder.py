"""The folder of a training: whose it is, its checkpoints, and how far its result has come."""

import contextlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fgs_bridges.dreambooth_config import FREE, KINDS, PRIOR, Dreambooth
from fgs_bridges.provenance import sha256
from fgs_jax.errors import ConfigError
from fgs_jax.strict import read_json


def claim(config: Dreambooth, output: Path) -> None:
    """Notes what is trained in `output`; raises ConfigError where what was made there is of something else."""
    record = output / "config.json"
    values = {name: value for name, value in plain_values(config).items() if name not in FREE}
    values["pictures"] = picture_hashes(config)
    try:
        former = read_json(record.read_bytes()) if record.is_file() else values
        if checkpoints(output) or any((output / name).exists() for name in ("model", "lora")):
            changed = [name for name in values if former.get(name) != values[name]]
        elif any(output.glob("prior/*/*.png")):
            changed = [name for name in PRIOR if former[name] != values[name]]
            changed += [name for name in KINDS if former[name]["class_prompt"] != values[name]["class_prompt"]]
        else:
            changed = []
        if changed:
            raise ConfigError(f"{output}: holds a run with other {', '.join(changed)}; give another output")
        output.mkdir(parents=True, exist_ok=True)
        temporary = output / "config.json.new"
        temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
        temporary.replace(record)
    except ValueError as error:
        raise ConfigError(f"{record}: expected JSON, came none ({error}); delete it, or give another output") from error
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written ({error.strerror}); give another output") from error


def picture_hashes(config: Dreambooth) -> list[str]:
    return [sha256(Path(pair.image)) for name in KINDS for pair in getattr(config, name).pairs]


def plain_values(config: Dreambooth) -> dict[str, Any]:
    """As plain values."""
    return json.loads(json.dumps(asdict(config)))


def checkpoint_folder(output: Path, step: int) -> Path:
    return output / "checkpoints" / f"step-{step:06d}"


def checkpoints(output: Path) -> list[int]:
    """The steps that have one, in their order."""
    return sorted(int(path.name.removeprefix("step-")) for path in (output / "checkpoints").glob("step-*"))


def last_checkpoint(output: Path) -> int:
    """Its step, or 0. What a killed run had begun to write is deleted."""
    for folder in (output, output / "checkpoints"):
        for part in (*folder.glob(".*.new"), *folder.glob(".*.old")):
            shutil.rmtree(part, ignore_errors=True)
    return max(checkpoints(output), default=0)


def steps_of(result: Path) -> int:
    """Of a result that is there, or 0."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return read_json((result / "provenance.json").read_bytes())["options"]["steps"]
    return 0
