"""Inputs that went wrong once. Where their folder is not there the tests skip."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = ROOT.parent / "shared" / "faults"
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "bridges"), os.environ.get("PYTHONPATH", "")])
"""PYTHONPATH of processes that run elsewhere."""
MOVED = {
    "benchmarks.scenes": "fgs_jax.testing",
    "bridges.from_photo": "fgs_bridges.from_photo",
    "bridges.geometry": "fgs_bridges.geometry",
    "bridges.hands": "fgs_bridges.hands",
    "bridges.types": "fgs_bridges.types",
    "fgs_jax.hand": "fgs_jax.hands.mano",
    "fgs_jax.hand_files": "fgs_jax.hands.files",
    "fgs_jax.refine": "fgs_jax.stages.refine",
    "fgs_jax.render": "fgs_jax.picture.render",
    "fgs_jax.scene": "fgs_jax.picture.scene",
    "fgs_jax.scene_files": "fgs_jax.picture.scene_files",
    "tests.synthetic_mano": "fgs_jax.testing",
}
"""Modules that were elsewhere when the cases were written."""
TUMBLER = ROOT / "examples" / "scenes" / "tumbler"


def script_of(name: str) -> str:
    """The make.py of a case, with imports from where things are today."""
    text = (FAULTS / name / "make.py").read_text(encoding="utf-8")
    for old, new in MOVED.items():
        text = text.replace(f"from {old} import", f"from {new} import")
    return text


@pytest.fixture
def fault(tmp_path: Path) -> Callable[..., Path]:
    """`fault(name, *arguments)`: a copy of a case's folder, in which its make.py has run with the arguments."""

    def made(name: str, *arguments: str | Path) -> Path:
        if not (FAULTS / name).is_dir():
            pytest.skip(f"the inputs of {name} are not part of this repository")
        folder = tmp_path / name
        shutil.copytree(FAULTS / name, folder)
        folder.chmod(0o755)
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if (folder / "make.py").exists():
            (folder / "make.py").write_text(script_of(name), encoding="utf-8")
            words = [sys.executable, "make.py", *map(str, arguments)]
            environment = os.environ | {"PYTHONPATH": PATHS, "JAX_PLATFORMS": "cpu"}
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return folder

    return made
