"""`fgs refine` that is stopped or killed keeps what it has found, and goes on to the same bits."""

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from fgs_jax import command_refine
from fgs_jax.journal import Journal
from tests.programs import PROGRAMS
from tests.results.runs import FILES, without_run
from tests.small_scene import refined

KILLED = """
import functools, sys
from fgs_jax import cli, command_refine
every_part = functools.partial(command_refine.Journal, every=0.0)  # at once, for a kill within each stage
command_refine.Journal = every_part
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def result():
    return refined()


def entry(journals: Any) -> None:
    journals[0].run(lambda: {"found": np.arange(3)})


def test_what_was_found_is_kept_where_a_run_is_stopped(fgs, out, capsys, monkeypatch):
    def stopped(*_: Any, journals: Any, **__: Any) -> Any:
        entry(journals)
        raise KeyboardInterrupt

    monkeypatch.setattr(command_refine, "refine_many", stopped)
    assert fgs("scene", "--out", out) == 130
    assert capsys.readouterr() == ("", "fgs: stopped; go on with --resume\n")
    records = out.with_name(".out.journal")
    [folder] = records.iterdir()
    assert Journal(folder).recovered == 1 and [path.name for path in out.parent.glob(".*")] == [records.name]
    shutil.rmtree(records)


def test_what_was_found_is_kept_where_the_result_has_no_room(fgs, out, capsys, monkeypatch, result):
    def found(*_: Any, journals: Any, **__: Any) -> Any:
        entry(journals)
        return [result]

    resource = pytest.importorskip("resource", reason="this system has no limits of files' sizes")
    monkeypatch.setattr(command_refine, "refine_many", found)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert fgs("scene", "--out", out) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capsys.readouterr().err.startswith(f"fgs: {out}: cannot be written (File too large); free some space")
    assert fgs("scene", "--out", out, "--resume") == 0
    assert "scene: goes on after 1 parts" in capsys.readouterr().out and sorted(p.name for p in out.iterdir()) == FILES


@pytest.mark.parametrize(
    "moment", [*(pytest.param(x, marks=pytest.mark.long) for x in ("first checkpoint", "contact")), "object pose"]
)
def test_a_run_that_was_killed_goes_on_to_the_same_bits(fgs, out, capsys, written, moment):
    records = out.with_name(".out.journal")
    environment = os.environ | PROGRAMS
    command = [sys.executable, "-c", KILLED, "refine", "scene", "--config", "small.yaml", "--out", "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=out.parent) as run:
        assert run.stdout
        if moment == "first checkpoint":
            while run.poll() is None and not list(records.glob("*/[0-9]")):
                time.sleep(0.01)
        else:
            next(line for line in run.stdout if line.startswith(f"scene: {moment}"))
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert not out.exists() and len(list(records.iterdir())) == 1
    assert fgs("scene", "--out", "out", "--resume") == 0
    printed = capsys.readouterr()
    assert "scene: goes on after " in printed.out and printed.err == ""
    parts = int(printed.out.split("goes on after ")[1].split()[0])
    # A block of starts, the rough polish, silhouettes, the last polish: the object's pose; two rounds: the contact.
    assert parts in {"first checkpoint": range(1, 4), "object pose": range(4, 6), "contact": (6,)}[moment]
    assert without_run(out / "result.json") == without_run(written / "result.json")
    for name in set(FILES) - {"result.json", "report.html"}:
        assert (out / name).read_bytes() == (written / name).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == FILES and not records.exists()


@pytest.mark.skipif(os.name != "posix", reason="sends a signal, as a terminal does")
def test_ctrl_c_is_one_line_and_the_run_goes_on_to_the_same_bits(fgs, out, capsys, written):
    environment = os.environ | PROGRAMS
    command = [sys.executable, "-c", KILLED, "refine", "scene", "--config", "small.yaml", "--out", "out"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=out.parent) as run:
        while run.poll() is None and not list(out.with_name(".out.journal").glob("*/[0-9]")):
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGINT)
        error = run.communicate()[1]
    assert (run.returncode, error) == (130, "fgs: stopped; go on with --resume\n")
    assert [path.name for path in out.parent.glob(".*")] == [".out.journal"] and not out.exists()
    assert fgs("scene", "--out", "out", "--resume") == 0
    assert "scene: goes on after " in capsys.readouterr().out
    assert without_run(out / "result.json") == without_run(written / "result.json")


def test_a_reader_that_goes_away_does_not_lose_the_result(out, written):
    """As `fgs refine ... | head -1`."""
    environment = os.environ | PROGRAMS
    command = [sys.executable, "-m", "fgs_jax", "refine", "scene", "--config", "small.yaml", "--out", "out"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=out.parent) as run:
        assert run.stdout and run.stderr
        assert run.stdout.readline().startswith("scene: hand")
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == 0
    assert without_run(out / "result.json") == without_run(written / "result.json")


def test_a_scene_that_is_finished_is_left_as_it_is(fgs, written, capsys):
    before = {path: path.stat().st_mtime_ns for path in written.iterdir()}
    assert fgs("scene", "--out", written.name, "--resume") == 0
    assert "scene: is finished, in " in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in written.iterdir()} == before
    assert fgs("scene", "--out", written.name, "--resume", "--seed", "3") == 2
    assert "is there already" in capsys.readouterr().err
