"""How a command ends: its output may be closed or full, and a person may stop it. No work is lost, nothing shouts."""

import contextlib
import errno
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""The exit status of a command that was stopped by a signal, as a shell has it."""


def run_command(command: Callable[[], int], *, own: bool, go_on: str = "") -> int:
    """The exit status of a command: its own, or 2 where what it prints finds no room, or that of a signal.

    `own`: whether the process is this command's alone, so that signals end it. `go_on`: what goes on after that.
    """
    stopped = False
    with standard_streams() as output:
        try:
            with stoppable() if own else contextlib.nullcontext():
                status = command()
        except KeyboardInterrupt as stop:
            stopped, status = True, stop.status if isinstance(stop, Stopped) else STOPPED[signal.SIGINT]
            print(f"fgs: stopped{f'; go on with {go_on}' if go_on else ''}", file=sys.stderr)
        output.flush()
        if output.error is not None:
            print(f"fgs: standard output: cannot be written ({output.error.strerror}); free space", file=sys.stderr)
            status = status or 2
    if own and stopped:
        os._exit(status)  # threads that compile cannot be stopped, and nobody waits for them
    return status


AGAIN = 5.0
"""Seconds after a signal until another one is heeded."""


class Stopped(KeyboardInterrupt):
    """A command is to end, by Ctrl-C or by SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = STOPPED[signal.Signals(number)]


class Stream:
    """A stream whose other end may be closed: what cannot be written is dropped, and the work goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._failed = stream, False
        self.error: OSError | None = None
        """What has kept it from being written, where that is not simply that nobody reads on."""

    def write(self, text: str) -> int:
        self._try(self._write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:  # of a file's name, or on a terminal of few characters
            self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))

    def _try(self, call: Callable[..., Any], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            call(*arguments)
        except (OSError, ValueError) as error:  # ValueError: of a file that is closed
            self._failed = True
            if isinstance(error, OSError) and error.errno in _FULL:
                self.error = error
            # What stays in the buffers is written when Python ends, and would fail once more.
            with contextlib.suppress(OSError, ValueError):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, self._stream.fileno())
                os.close(nothing)


@contextlib.contextmanager
def standard_streams() -> Iterator[Stream]:
    """Standard output and standard error are `Stream`s within the block; gives the former."""
    with contextlib.ExitStack() as opened:
        output, errors = (
            Stream(opened.enter_context(open(os.devnull, "w", encoding="utf-8")) if stream is None else stream)  # noqa: PTH123
            for stream in (sys.stdout, sys.stderr)
        )
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):  # pyright: ignore
            try:
                yield output
            finally:
                output.flush()
                errors.flush()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise `Stopped` within the block; more of them change nothing for `AGAIN` seconds.

    In the main thread; in another one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    last = -math.inf

    def stop(number: int, _: Any) -> None:
        nonlocal last
        if time.monotonic() - last > AGAIN:  # a second one is not to disturb how the work ends, unless that hangs
            last = time.monotonic()
            raise Stopped(number)

    # One that is ignored already stays so: of a job in the background, or under nohup.
    former = {each: signal.getsignal(each) for each in STOPPED}
    for each in (each for each, handler in former.items() if handler != signal.SIG_IGN):
        signal.signal(each, stop)
    try:
        yield
    finally:
        if not isinstance(sys.exc_info()[1], Stopped):  # then the process ends, which nothing is to disturb
            for each, handler in former.items():
                signal.signal(each, signal.SIG_DFL if handler is None else handler)
