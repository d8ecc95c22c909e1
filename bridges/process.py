"""A stage's process: its device, its log, its end."""

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax


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
