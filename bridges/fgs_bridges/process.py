"""Processes: a stage's device, log and end; programs and their end; folders kept for one process. On any system.

What POSIX alone has (sessions, flock, SIGKILL) is asked for where it is used, and has another way on Windows.
"""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import jax

ENDED_AT = 10.0
"""Seconds within which Windows' own program must have ended another and all that it has started."""


def on_host() -> Any:
    """What JAX there is in a stage runs on the CPU, so that the same files come of it in any process."""
    return jax.default_device(jax.local_devices(backend="cpu")[0])


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """All that the process and its libraries print goes to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [os.dup(stream) for stream in (1, 2)]
    with path.open("wb", buffering=0) as file:
        try:
            _redirected([file.fileno()] * 2)
            yield
        finally:
            _redirected(kept)
            for stream in kept:
                os.close(stream)


def _redirected(targets: Sequence[int]) -> None:
    """Output and errors go to these files from now on."""
    sys.stdout.flush()
    sys.stderr.flush()
    for stream, target in zip((1, 2), targets, strict=True):
        os.dup2(target, stream)


def end_with_parent() -> None:
    """Ends this process, as SIGTERM does, when the one that holds the other end of its input ends."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def wait() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def ended_as(status: int) -> str:
    """A process's exit status in words: "status 3", or the signal that has ended it, which a shell counts from 128."""
    number = -status if status < 0 else status - 128
    name = signal.Signals(number).name if number in {item.value for item in signal.Signals} else ""
    word = name if status < 0 and name else f"status {status}"
    return word + (": out of memory?" if name == "SIGKILL" else "")


def end_with_children(process: "subprocess.Popen[Any]") -> None:
    """Ends a process that began a session of its own, if it has not ended, and all that it has started.

    Windows has no sessions: there, what a program has started is found only while the program runs.
    """
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # there is nobody left
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            words = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            subprocess.run(words, capture_output=True, check=False, timeout=ENDED_AT)
    if not hasattr(os, "killpg"):
        process.terminate()  # where it has ended, nothing
    process.wait()


def keep_alone(file: IO[bytes]) -> bool | None:
    """Keeps other processes from the same file until it is closed here, and in children that have it.

    False where another one has it; None where this system has no such locks.
    """
    try:
        try:
            locks: Any = import_module("fcntl")
            locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
        except ModuleNotFoundError:  # Windows
            locks = import_module("msvcrt")
            locks.locking(file.fileno(), locks.LK_NBLCK, 1)
    except ModuleNotFoundError:
        return None
    except OSError:
        return False
    return True
