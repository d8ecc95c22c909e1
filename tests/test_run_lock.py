"""One run at a time in a folder, whatever becomes of the others: killed, asleep, elsewhere, of the same run."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fgs_jax import run_lock
from fgs_jax.errors import BridgeError, ResultError
from fgs_jax.run_lock import Holder, RunLock

HOLD = """
import sys, time
from pathlib import Path
from fgs_jax.run_lock import RunLock
with RunLock(Path(sys.argv[1]), run=sys.argv[2] or None, tell=lambda line: print(line, flush=True)):
    print("held", flush=True)
    time.sleep(60)
"""


def holding(folder: Path, run: str = "") -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(folder), run]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def lock_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def write(folder: Path, holder: Holder, age: float = 0.0) -> None:
    path = lock_file(folder)
    path.write_text(json.dumps(asdict(holder)))
    make_old(path, age)


def make_old(path: Path, age: float) -> None:
    os.utime(path, (time.time() - age, time.time() - age))


def ours() -> Holder:
    return Holder("another", run_lock._machine(), os.getpid(), run_lock._started(os.getpid()) or "")


def test_a_second_run_is_refused_while_the_first_lives_and_no_longer(tmp_path):
    out = tmp_path / "out"
    with RunLock(out) as first:
        assert json.loads(lock_file(out).read_text())["run"] == first.run
        for error in (ResultError, BridgeError):
            with pytest.raises(error, match=rf"out: another run is at work here \(process {os.getpid()} on .*; wait"):
                RunLock(out, error=error).__enter__()
        first.check()
        assert list(tmp_path.iterdir()) == [lock_file(out)]
    assert list(tmp_path.iterdir()) == []
    with RunLock(out):
        pass


def test_folders_made_for_the_lock_go_with_it_unless_they_hold_something(tmp_path):
    with RunLock(tmp_path / "a" / "b" / "out"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with RunLock(tmp_path / "a" / "b" / "out"):
        (tmp_path / "a" / "result").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["result"]


def test_a_lock_of_a_process_that_was_killed_is_taken_over_at_once_with_a_line(tmp_path):
    out, told = tmp_path / "out", []
    process = holding(out)
    with pytest.raises(ResultError, match=f"process {process.pid} on"):
        RunLock(out).__enter__()
    ended(process)
    with RunLock(out, tell=told.append):
        pass
    assert len(told) == 1 and told[0].startswith(
        f"{out}: takes over from a run that did not end (process {process.pid}"
    )
    assert told[0].endswith("): its process is gone") and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs the start times of processes, of /proc")
def test_a_number_that_another_process_has_now_is_no_life(tmp_path):
    write(tmp_path / "out", replace(ours(), started="1"))
    told: list[str] = []
    with RunLock(tmp_path / "out", tell=told.append):
        assert told[0].endswith("its process is gone")


@pytest.mark.parametrize(
    ("holder", "age", "live"),
    [
        (Holder("r", "elsewhere", 1, ""), 50.0, True),
        (Holder("r", "elsewhere", 1, ""), 70.0, False),
        (Holder("r", "elsewhere", 2**31 - 1, "7"), 0.0, True),  # of which nothing is known here
        (ours(), 50.0, True),
        (ours(), 70.0, False),  # stands still
        (Holder(), 50.0, True),  # being written
        (Holder(), 70.0, False),
    ],
)
def test_a_run_that_gives_no_sign_for_a_minute_counts_as_gone(tmp_path, holder, age, live):
    out, told = tmp_path / "out", []
    write(out, holder, age)
    if live:
        with pytest.raises(ResultError, match="another run is at work here"):
            RunLock(out).__enter__()
        assert json.loads(lock_file(out).read_text()) == asdict(holder)
        return
    with RunLock(out, tell=told.append) as lock:
        lock.check()
        assert len(told) == 1 and "it gave no sign for 7" in told[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "x", "colour": 3}', "null"])
def test_a_lock_that_says_nothing_counts_by_its_age(tmp_path, text):
    path = lock_file(tmp_path / "out")
    path.write_text(text)
    with pytest.raises(ResultError, match="at work here"):
        RunLock(tmp_path / "out").__enter__()
    make_old(path, 100)
    with RunLock(tmp_path / "out", tell=lambda _: None):
        pass


def test_a_live_run_gives_signs(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "BEAT", 0.01)
    out = tmp_path / "out"
    with RunLock(out):
        os.utime(lock_file(out), (0, 0))
        while lock_file(out).stat().st_mtime == 0:
            time.sleep(0.01)
        with pytest.raises(ResultError, match="at work here"):
            RunLock(out).__enter__()


def test_workers_of_one_run_share_its_lock(tmp_path):
    out = tmp_path / "out"
    with RunLock(out) as first:
        process = holding(out, first.run)
        with RunLock(out, run=first.run) as second:
            second.check()
        assert lock_file(out).exists()  # it is the first one's
        ended(process)
        assert lock_file(out).exists()
        with RunLock(out / "scene", run=first.run) as scene, pytest.raises(ResultError, match="at work"):
            scene.check()
            RunLock(out / "scene").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_taken_over_learns_it_and_leaves_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "BEAT", 1e3)
    out = tmp_path / "out"
    with RunLock(out) as slept:
        make_old(lock_file(out), 100)
        with RunLock(out, tell=lambda _: None) as second:
            with pytest.raises(ResultError, match="this run stood still for over 60 s, and another one has taken over"):
                slept.check()
            slept.__exit__()
            assert json.loads(lock_file(out).read_text())["run"] == second.run
            second.check()
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_take_over_at_once_one_succeeds(tmp_path):
    out = tmp_path / "out"
    write(out, Holder("dead", "elsewhere", 1, ""), 100)
    held, refused, go = [], [], threading.Barrier(8)

    def run() -> None:
        go.wait()
        try:
            held.append(RunLock(out, tell=lambda _: None).__enter__())
        except ResultError:
            refused.append(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    true = [lock for lock in held if json.loads(lock_file(out).read_text())["run"] == lock.run]
    assert len(true) == 1 and len(held) + len(refused) == 8
    for lock in held:
        if lock not in true:
            with pytest.raises(ResultError):
                lock.check()
    for lock in held:
        lock.__exit__()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_line(tmp_path):
    (tmp_path / "a file").write_text("")
    with pytest.raises(ResultError, match=r"cannot be written \(Not a directory\)"):
        RunLock(tmp_path / "a file" / "out").__enter__()
    with pytest.raises(ResultError, match=r"cannot be written \(File name too long\)"):
        RunLock(tmp_path / ("n" * 255)).__enter__()
