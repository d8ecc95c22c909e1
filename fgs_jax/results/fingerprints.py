"""Marks of what a result follows from: another mark, another result."""

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fgs_jax.config import RefineConfig
from fgs_jax.config_files import config_values
from fgs_jax.errors import HandFileError
from fgs_jax.extensions import imported
from fgs_jax.files import read_input
from fgs_jax.hands.files import locate_hand_file
from fgs_jax.picture.scene import Scene, arrays_of, is_calibrated
from fgs_jax.results.values import versions


def fingerprint(scene: Scene, config: RefineConfig) -> str:
    """Of all that a result follows from: scene, configuration, hand files, this package's code and its packages.

    Raises HandFileError where the configuration's hand file is not there.
    """
    hand = None if scene.hand_params is None else hand_mark(scene.hand_model, missing="")
    words = [config_mark(config), scene.side, hand, scene.object.size, is_calibrated(scene), versions(), code_mark()]
    digest = hashlib.sha256(json.dumps(words).encode())
    arrays = arrays_of(scene) | {"object_mask": scene.object_mask, "hand_mask": scene.hand_mask}
    arrays |= {"vertices": scene.object.vertices, "faces": scene.object.faces, "focal": scene.camera.focal}
    arrays |= {"principal": scene.camera.principal}
    directions = {"object_up": scene.object_up, "gravity": scene.gravity}
    arrays |= {name: np.asarray(value, float) for name, value in directions.items() if value is not None}
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def config_mark(config: RefineConfig) -> dict[str, Any]:
    """A configuration's values, the content of its hand file in place of that file's name, and that of its own code.

    Raises HandFileError where there is no such file, ConfigError for terms and solvers that cannot be imported.
    """
    return config_values(config) | {"hand_model": hand_mark(config.hand_model), "own": _own_marks(config)}


def _own_marks(config: RefineConfig) -> dict[str, str]:
    """Of the files of terms and solvers of one's own, by their modules."""
    modules = set[str]()
    for part in (config.opa, config.contact):
        modules |= {term.function.__module__ for term in part.own_terms().values()}
        if isinstance(part.solver, str) and ":" in part.solver:
            imported(part.solver, "solver")
            modules.add(part.solver.partition(":")[0])
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in sorted(modules)}
    return {name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for name, file in files.items() if file}


def hand_mark(source: str, missing: str | None = None) -> str:
    """Of a hand file's content; `missing` where it is not there, or else HandFileError."""
    try:
        _, path, _ = locate_hand_file(source)
        data = read_input(path, "a hand model file", HandFileError)
    except HandFileError:
        if missing is None:
            raise
        return missing
    return hashlib.sha256(data).hexdigest()


def code_mark() -> str:
    """Of this package's source files."""
    return _code_mark(Path(__file__).parents[1])


@cache
def _code_mark(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
