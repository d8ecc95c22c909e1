"""One run at a time in a folder: a file says whose it is, and is touched as long as that run lives."""

import json
import os
import platform
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fgs_jax.errors import FgsError, ResultError

BEAT, STALE = 5.0, 60.0
"""Seconds between two touches, and from the last one until a run counts as gone."""


@dataclass(frozen=True)
class Holder:
    """Whose lock it is."""

    run: str = ""
    host: str = ""
    """Name of the machine, its start and the space of its process numbers; one machine where all are equal."""
    process: int = 0
    started: str = ""
    """When the process began, where that is known: numbers of processes are used again."""


class RunLock:
    """Keeps other runs out of a folder, from `with` until its block ends or the process is gone.

    `run`: the id of a run; workers that give the same one share its lock, and write folders of their own. `path`: of
    the lock's file, beside the folder unless given. `tell` hears, in a line, of a lock that a dead run has left.

    Entering raises `error` where another run is at work, and where the file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run: str | None = None,
        path: Path | None = None,
        error: type[FgsError] = ResultError,
        tell: Callable[[str], None] = print,
    ) -> None:
        self.folder = folder
        self.run = run or uuid.uuid4().hex
        self._path = path or folder.with_name(f".{folder.name}.lock")
        self._error, self._tell = error, tell
        self._owner, self._ended = False, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._made: list[Path] = []

    def __enter__(self) -> "RunLock":
        try:
            self._make_parents()
            self._acquire()
            self._thread.start()
        except BaseException as cause:  # Ctrl-C as well
            if self._owner:
                self._path.unlink(missing_ok=True)
            self._remove_parents()
            if isinstance(cause, OSError):
                raise self._error(
                    f"{self.folder}: cannot be written ({cause.strerror}); free space or give another --out"
                ) from cause
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        self._thread.join()
        if self._owner:
            with suppress(OSError):
                self._remove(self.run)
        self._remove_parents()

    def check(self) -> None:
        """Raises `error` where another run has taken over, for this one stood still for too long."""
        with suppress(OSError):
            if (holder := self._read()).run not in ("", self.run):
                raise self._error(
                    f"{self.folder}: this run stood still for over {STALE:.0f} s, and another one has taken over "
                    f"({_named(holder)}); wait for it, or give another --out"
                )

    def _acquire(self) -> None:
        for _ in range(20):
            if self._create():
                return
            try:
                holder, age = self._read(), self._age()
            except FileNotFoundError:  # it has just ended
                continue
            if holder.run == self.run:
                return
            if _gone(holder):
                reason = "its process is gone"
            elif age > STALE:
                reason = f"it gave no sign for {age:.0f} s"
            else:
                break
            if self._remove(holder.run):
                self._tell(f"{self.folder}: takes over from a run that did not end ({_named(holder)}): {reason}")
        else:
            holder = Holder()
        raise self._error(
            f"{self.folder}: another run is at work here ({_named(holder)}); wait for it, stop it, or give another "
            "folder"
        )

    def _create(self) -> bool:
        holder = Holder(self.run, _machine(), os.getpid(), _started(os.getpid()) or "")
        try:
            file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        self._owner = True
        with os.fdopen(file, "w", encoding="utf-8") as opened:
            json.dump(asdict(holder), opened)
        return True

    def _read(self, path: Path | None = None) -> Holder:
        """The holder; one without a name where the file says none, as while it is being written."""
        try:
            return Holder(**json.loads((path or self._path).read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            return Holder()

    def _age(self) -> float:
        """Seconds since the last touch, by the clock of the disk, which several machines may share."""
        probe = self._aside()
        probe.touch()
        try:
            return probe.stat().st_mtime - self._path.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _remove(self, run: str) -> bool:
        """Removes the lock if it is that run's; whether it was. Of two that do so at once one only succeeds."""
        aside = self._aside()
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return False
        removed = self._read(aside).run == run
        if not removed:  # another run was quicker, and has it back
            with suppress(OSError):
                os.link(aside, self._path)
        aside.unlink(missing_ok=True)
        return removed

    def _aside(self) -> Path:
        return self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex}")

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                if self._read().run == self.run:
                    os.utime(self._path)

    def _make_parents(self) -> None:
        parent = self._path.parent
        missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made.append(folder)

    def _remove_parents(self) -> None:
        """Those that were made for the lock and hold nothing."""
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()


def _named(holder: Holder) -> str:
    return f"process {holder.process} on {holder.host.split(' ')[0]}" if holder.process else "its lock says no more"


def _machine() -> str:
    words = [platform.node() or "?"]
    with suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        words.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115
    return " ".join(words)


def _gone(holder: Holder) -> bool:
    """Whether a process of this machine has ended; False where that cannot be told."""
    if holder.host != _machine() or sys.platform == "win32":  # there os.kill ends the process, whatever the signal
        return False
    try:
        os.kill(holder.process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is another user's
        pass
    started = _started(holder.process)
    return started is not None and started != (holder.started or started)


def _started(process: int) -> str | None:
    """When a process began, in ticks of the machine; "" for one that has ended, None where it cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None
