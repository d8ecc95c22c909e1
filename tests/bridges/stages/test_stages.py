"""A stage in its process: its records, a failure, a defect, a kill, the end of its parent."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from fgs_bridges import stage_state
from fgs_bridges.config import Backends
from fgs_bridges.run_folder import RECORDS, WORK, write_run
from fgs_bridges.stage_state import state
from fgs_bridges.stages import run_stage
from tests.bridges.stages.runs import TUMBLER, a_run, files, make, with_options


def test_records_say_what_made_a_stage(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    write_run(run)
    run_stage(run, "images", Backends(config))
    record = json.loads((run.folder / RECORDS / "images.json").read_text())
    assert set(record) == {"stage", "fingerprint", "files", "provenance", "seconds"}
    assert set(record["files"]) == {"interaction.png", "object.png"}
    assert stage_state.fingerprint(run, "images") == record["fingerprint"]


def test_a_stage_that_fails_keeps_what_it_made_before(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    make(run, until="masks")
    before = files(run.stage("masks"))
    failed, _ = make(replace(run, config=with_options(config, "object_segmenter", path="no.png")), until="masks")
    assert failed[run.folder].startswith("masks: ")
    assert files(run.stage("masks")) == before and state(run, "masks") == "made"


def test_a_defect_is_one_line_and_its_traceback_is_in_the_log(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    write_run(run)
    defect = "import sys, fgs_bridges.stages as s; s.read_run = lambda folder: None; sys.exit(s.main(sys.argv[1:]))"
    words = [sys.executable, "-c", defect, "images", str(run.folder)]
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    line = run.record("images", "failed").read_text()
    assert line.startswith("images: AttributeError: ") and line.count("\n") == 1
    assert "Traceback" in run.record("images", "log").read_text() and not ended.stderr
    assert not run.stage("images").exists()


@pytest.mark.parametrize("when", ["writing", "renaming"])
def test_a_killed_process_leaves_no_half_written_stage(config, tmp_path, when):
    """Killed as hard as can be, in the middle of its files and between its two renames."""
    run = a_run(tmp_path / "run", config)
    make(run, until="masks")
    before = files(run.stage("masks"))
    changed = replace(run, config=with_options(config, "segmenter", path=str(TUMBLER / "object_mask.png")))
    changed = replace(
        changed, config=with_options(changed.config, "object_segmenter", path=str(TUMBLER / "hand_mask.png"))
    )
    write_run(changed)
    kill = "lambda *a: __import__('os').kill(__import__('os').getpid(), 9)"
    patch = {
        "writing": f"s.stage_work._write_picture = lambda path, picture: (path.write_bytes(b'half'), ({kill})())",
        "renaming": f"rename = __import__('pathlib').Path.rename; "
        f"__import__('pathlib').Path.rename = lambda self, to: ({kill})() if self.name == 'out' else rename(self, to)",
    }[when]
    code = f"import fgs_bridges as s, fgs_bridges.stages\n{patch}\ns.stages.main(['masks', {str(run.folder)!r}])"
    died = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not run.stage("masks").exists() or files(run.stage("masks")) == before
    assert state(changed, "masks") in ("missing", "stale")
    failed, told = make(changed, until="masks")
    assert not failed and told[-1] == "run: masks: done" and files(run.stage("masks")) != before
    assert not (run.folder / WORK).exists() or not list((run.folder / WORK).iterdir())


def test_a_child_ends_with_its_parent(config, tmp_path):
    """Whoever holds the other end of its input is gone, so the stage must not go on."""
    run = a_run(tmp_path / "run", config)
    write_run(run)
    code = (
        "import fgs_bridges.stages as s, time\n"
        "s.run_stages = lambda *a, **b: (print('at work', flush=True), time.sleep(60))\n"
        f"s.main(['images', {str(run.folder)!r}])"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"at work\n"
    begin = time.monotonic()
    child.stdin.close()
    assert child.wait(timeout=30) == -signal.SIGTERM and time.monotonic() - begin < 30
    child.stdout.close()
