"""Other people's programs, run as they are: a list of arguments, a time-out, a log, and files that they must write."""

import glob
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Formatter
from types import FrameType

from fgs_bridges.process import end_with_children, ended_as
from fgs_jax.errors import BridgeError, ConfigError

_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Ours, which would lead another interpreter to our packages."""


def run_command(
    argv_template: Sequence[str],
    values: Mapping[str, str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float,
    outputs: Sequence[str],
    log: Path,
    folder: Path | None = None,
) -> list[Path]:
    """The files that a program has written, in the order of `outputs` and, within each, of their names.

    The {placeholders} of the arguments, of `env` and of `outputs` are filled from `values`; "{{" is a brace. There is
    no shell, so spaces and semicolons in a value are safe. The program runs in `cwd`, in a process group of its own,
    which is killed when the program ends, after `timeout` seconds, or when we are interrupted; it reads nothing from
    the keyboard, has our environment with `env` and without our Python's paths, and its output goes to `log`.
    `outputs` are glob patterns relative to `folder` (`cwd` unless given; made where there is none), each of which must
    match a file that was not there, or was another, before the start.

    Raises ConfigError for a placeholder without a value, and BridgeError for a program that is not there, ends with
    another status than 0, takes too long or has not written its files.
    """
    argv = [fill(item, values) for item in argv_template]
    if not argv or not argv[0]:
        raise ConfigError("argv: expected a program and its arguments, got none: name the program first")
    patterns = [fill(item, {name: glob.escape(value) for name, value in values.items()}) for item in outputs]
    if bad := [pattern for pattern in patterns if not pattern or Path(pattern).is_absolute()]:
        raise ConfigError(f'outputs: expected patterns within a folder, such as "*.obj", got "{bad[0]}"')
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environment |= {name: fill(value, values) for name, value in (env or {}).items()}
    if not cwd.is_dir():
        raise BridgeError(f"{argv[0]}: expected the folder {cwd} to run in, there is none: check the path")
    folder = folder or cwd
    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)

    before = {path: state for pattern in patterns for path, state in _matches(folder, pattern, log)}
    _run(argv, cwd, environment, timeout, log)
    written: dict[Path, None] = {}
    for pattern in patterns:
        found = _matches(folder, pattern, log)
        fresh = [path for path, state in found if before.get(path) != state]
        if not fresh:
            came = f"only {found[0][0].name}, which is older than this run" if found else "none"
            raise BridgeError(f"{argv[0]}: expected it to write {pattern} in {folder}, got {came}{_end_of(log)}")
        written |= dict.fromkeys(fresh)
    return list(written)


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its {placeholders} filled. Raises ConfigError for one without a value."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f'"{template}": expected {{placeholders}}, got a lone brace: write it twice') from error
    for _, name, specification, conversion in parts:
        if name is not None and (name not in values or specification or conversion):
            known = ", ".join(f"{{{known}}}" for known in values) or "none"
            raise ConfigError(f'"{template}": expected placeholders among {known}, got {{{name}}}: correct it')
    return "".join(text + (values[name] if name is not None else "") for text, name, _, _ in parts)


def _run(argv: list[str], cwd: Path, env: dict[str, str], timeout: float, log: Path) -> None:
    program = argv[0]
    with log.open("wb") as output, _terminated_by_exception():
        try:
            # A session is a process group that the keyboard's interrupt does not reach: we pass it on by killing.
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BridgeError(f"{program}: cannot be started ({reason}): check the program's path") from error
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            output.flush()
            raise BridgeError(
                f"{program}: expected an end within {timeout:g} s, it was stopped: raise the time-out{_end_of(log)}"
            ) from error
        finally:
            end_with_children(process)
    if status:
        raise BridgeError(f"{program}: expected it to end with status 0, got {ended_as(status)}{_end_of(log)}")


@contextmanager
def _terminated_by_exception() -> Iterator[None]:
    """Where a signal to end would end us at once, and leave the program running, it raises SystemExit instead."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    changed = []
    if threading.current_thread() is threading.main_thread():  # others may not set handlers
        numbers = (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))  # Windows has no SIGHUP
        changed = [number for number in numbers if number and signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _matches(folder: Path, pattern: str, log: Path) -> list[tuple[Path, tuple[int, int, int]]]:
    """Files of a pattern, with what changes when a file is written."""
    states = [(path, path.stat()) for path in sorted(folder.glob(pattern)) if path.is_file() and path != log]
    return [(path, (state.st_mtime_ns, state.st_size, state.st_ino)) for path, state in states]


def _end_of(log: Path) -> str:
    """The last line of a log that says something, and where the log is."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.read().decode(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = f'"{lines[-1][:200]}"' if lines else "it printed nothing"
    return f"; last line: {said}; log: {log}"
