"""What tests of written results share: the names of files, what is in a folder."""

import json
from pathlib import Path

from fgs_jax.results.write import RUN

FILES = sorted(
    [f"{name}.{kind}" for name in ("hand", "hand_before", "object", "object_before") for kind in ("obj", "ply")]
    + ["grasp.glb", "picture.jpg", "report.html", "result.json", "result.npz"]
)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_run(path: Path) -> dict:
    values = json.loads(path.read_text())
    del values[RUN]
    return values
