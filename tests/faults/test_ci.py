"""What other systems and an installed package lack: `windows-fcntl`, `wheel-lacks-configs`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fgs_bridges.config import load_generate_config
from tests.faults.conftest import FAULTS, PATHS, ROOT, TUMBLER


def test_on_a_system_without_fcntl_only_what_locks_would_miss_it() -> None:
    make = FAULTS / "windows-fcntl" / "make.py"
    if not make.is_file():
        pytest.skip("the inputs of windows-fcntl are not part of this repository")
    words = [sys.executable, str(make), str(TUMBLER)]
    environment = os.environ | {"PYTHONPATH": PATHS, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert [line.rpartition(" -> ")[2] for line in done.stdout.splitlines() if " -> " in line] == ["0", "0", "0"]
    assert "pip install" not in done.stderr and "Traceback" not in done.stderr


def test_the_stack_of_open_licences_is_named_without_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The rest of `wheel-lacks-configs` is in tests/test_wheel.py, which installs a wheel."""
    from_file = load_generate_config(ROOT / "configs" / "generate" / "open.yaml")
    monkeypatch.chdir(tmp_path)  # where there is no configs/
    assert load_generate_config("open") == from_file
