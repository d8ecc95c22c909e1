"""Faults of how a run ends. Those that take a whole run are in tests/results/test_resume.py, on a small scene."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from fgs_jax.cli import main
from tests.faults.conftest import PATHS, TUMBLER

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell, in which `fgs` is this package's command, and the pipe's own status the line's."""
    script = f'set -o pipefail; fgs() {{ "{sys.executable}" -m fgs_jax "$@"; }}; {line}'
    environment = os.environ | {"PYTHONPATH": PATHS} | variables
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    return subprocess.run([bash, "-c", script], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    "line",
    [
        "fgs refine --help | head -3",
        "{ fgs doctor; } | head -3",
        "fgs hand info | true",
        "{ fgs hand info no_such_hand 2>&1 || true; } | true",
    ],
)
def test_pipe_closed_traceback(fault, line):
    fault("pipe-closed-traceback")
    done = shell(line)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == (3 if "head" in line else 0)


@pytest.mark.parametrize(("command", "line"), [("refine", "; go on with --resume"), ("ablate", "")])
def test_ctrl_c_traceback(fault, tmp_path, command, line):
    """Two at once, while the scene is read or posed."""
    fault("ctrl-c-traceback")
    code = "import sys; from fgs_jax.cli import main; print('ready', flush=True); sys.exit(main())"
    words = [sys.executable, "-c", code, command, str(TUMBLER), "--out", str(tmp_path / "out")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, **pipes, text=True, env=os.environ | {"PYTHONPATH": PATHS}) as run:  # pyright: ignore
        assert run.stdout is not None and run.stderr is not None and run.stdout.readline() == "ready\n"
        while run.poll() is None and not (tmp_path / ".out.lock").exists():
            pass
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGTERM)
        said = run.stderr.read().splitlines()
    assert said == [f"fgs: stopped{line}"] and run.returncode in (130, 143)
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.lock").exists()


def test_out_root_traceback(fault, capsys):
    fault("out-root-traceback")
    for command in ("refine", "ablate"):
        assert main([command, str(TUMBLER), "--out", "/"]) == 2
        assert capsys.readouterr() == (
            "",
            "fgs: /: expected a folder of its own for the result, came the root of all folders; give another --out\n",
        )


def test_grid_huge_traceback(fault, tmp_path, capsys):
    fault("grid-huge-traceback")
    assert main(["refine", str(TUMBLER), "--out", str(tmp_path / "o"), "--grid", "100000"]) == 2
    expected = "fgs: configuration: grid: expected at most 256, got 100000; change it\n"
    assert capsys.readouterr() == ("", expected) and not (tmp_path / "o").exists()
