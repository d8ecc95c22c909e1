"""The stages from a text to a grasp, each with plain files as its input and output.

A run is a folder: `run.json` with the text and the options, one folder for each stage, and `records`, which holds a
stage's log, its provenance and what it was made from. `python -m fgs_bridges.stages STAGE RUN...` runs one stage of
several runs in one process, whose end gives the GPU back; `fgs_bridges.text_to_grasp` does that for all of them.
"""

import contextlib
import json
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgs_bridges.config import Backends
from fgs_bridges.pretrained import first_line
from fgs_bridges.process import end_with_parent, logged, on_host
from fgs_bridges.run_folder import RECORDS, STAGES, WORK, Run, read_run, write_json, write_text_file
from fgs_bridges.stage_state import fingerprint, hashes
from fgs_bridges.stage_work import STAGE_WORK
from fgs_jax.command_ends import STOPPED
from fgs_jax.errors import BridgeError, ConfigError, FgsError
from fgs_jax.solve.ahead import start_up


def run_stage(run: Run, stage: str, backends: Mapping[str, Any]) -> None:
    """Makes one stage's folder, whole or not at all, and then its record.

    Raises FgsError, in one line, where it fails; what was there before stays then.
    """
    work = run.folder / WORK / stage
    out = work / "out"
    mark, begin = fingerprint(run, stage), time.perf_counter()
    for name in ("out", "old"):
        shutil.rmtree(work / name, ignore_errors=True)
    try:
        work.mkdir(parents=True, exist_ok=True)
        with on_host() if stage != "grasp" else contextlib.nullcontext():
            made = STAGE_WORK[stage](run, out, backends)
        write_json(work / "record.json", {
            "stage": stage,
            "fingerprint": mark,
            "files": hashes(out),
            "provenance": made,
            "seconds": round(time.perf_counter() - begin, 1),
        })  # fmt: skip
        run.record(stage).unlink(missing_ok=True)
        if run.stage(stage).exists():
            run.stage(stage).rename(work / "old")
        out.rename(run.stage(stage))
        (work / "record.json").replace(run.record(stage))
    except FgsError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    except OSError as error:
        raise BridgeError(f"{run.folder}: cannot be written ({first_line(error)}); free space or move it") from error
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):  # another stage's is in it
        work.parent.rmdir()


def run_stages(stage: str, folders: Sequence[Path], *, log: bool = False) -> None:
    """One stage of several runs, the back ends made once; a run that fails leaves its error in records/STAGE.failed.

    `log`: whether all that is printed goes to records/STAGE.log.
    """
    cached: dict[str, Backends] = {}
    for folder in folders:
        failed = folder / RECORDS / f"{stage}.failed"
        with logged(folder / RECORDS / f"{stage}.log") if log else contextlib.nullcontext():
            try:
                failed.unlink(missing_ok=True)
                run = read_run(folder)
                key = json.dumps(run.config.values(), sort_keys=True, default=str)
                run_stage(run, stage, cached.setdefault(key, Backends(run.config)))
            except FgsError as error:
                write_text_file(failed, " ".join(str(error).split()))
            except Exception as error:  # a defect, or a tool's error that its adapter does not know
                traceback.print_exc()
                where = f"; see {folder / RECORDS / f'{stage}.log'}" if log else ""
                write_text_file(failed, f"{stage}: {type(error).__name__}: {first_line(error)}{where}")


def main(words: list[str]) -> int:
    """STAGE RUN...: the exit status is 0 where all runs were tried; which of them failed, their records say."""
    if len(words) < 2 or words[0] not in STAGES:
        raise ConfigError(f"expected one of {', '.join(STAGES)}, and folders of runs, got {' '.join(words) or 'none'}")
    end_with_parent()
    start_up()
    try:
        run_stages(words[0], [Path(word) for word in words[1:]], log=True)
    except KeyboardInterrupt:  # which the process that has started this one hears, too
        return STOPPED[signal.SIGINT]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
