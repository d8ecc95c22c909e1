"""What a run has computed so far, on disk, so that a killed run goes on where it was, to the same bits.

A run is a sequence of expensive parts, each a function of what came before. The journal holds their results in order;
a run that starts again takes what is there and computes the rest.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy import ndarray

from fgs_jax.errors import ResultError

Entry = dict[str, ndarray]
"""The result of one part: arrays of at least one axis and one element."""
ROOM = 1_000_000
"""Bytes that a checkpoint may take beside its arrays. On a full disk orbax fails in its threads, with their traces."""


class Journal:
    """Entries in a folder of orbax checkpoints, each written whole or not at all.

    `every`: seconds between two checkpoints within a stage; the end of a stage is always one.
    """

    def __init__(self, folder: Path, every: float = 5.0) -> None:
        import orbax.checkpoint as ocp  # noqa: PLC0415

        options = ocp.CheckpointManagerOptions(create=True, enable_async_checkpointing=False)
        self._folder = folder.absolute()
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._save, self._restore = ocp.args.PyTreeSave, ocp.args.PyTreeRestore
        self._every, self._last, self._next = every, time.monotonic(), 0
        self._new: list[Entry] = []
        self._whole = True
        """Whether all that came before `_new` is on disk."""
        self._known: list[Entry] = []
        for step in sorted(self._manager.all_steps()):
            tree: Any = self._manager.restore(step, args=self._restore())
            self._known += [tree[name] for name in sorted(tree)]
        self.recovered = len(self._known)
        """Entries that an earlier run has left."""

    def run(self, part: Callable[[], Entry]) -> Entry:
        """The next entry: from the journal if it is there, else from `part`."""
        index, self._next = self._next, self._next + 1
        if index < len(self._known):
            return self._known[index]
        entry = {name: np.asarray(value) for name, value in part().items()}
        self._new.append(entry)
        if time.monotonic() - self._last > self._every:
            self.flush()
        return entry

    def run_tree(self, part: Callable[[], Any], like: Any) -> Any:
        """As `run`, for a part whose result is any tree of arrays; `like` has its structure, shapes and types."""
        leaves, structure = jax.tree.flatten(like)

        def named() -> Entry:  # orbax takes no empty arrays
            return {f"{k:03d}": np.asarray(x) for k, x in enumerate(jax.tree.leaves(part())) if x.size}

        entry = self.run(named)
        values = [np.asarray(entry.get(f"{k:03d}", []), x.dtype).reshape(x.shape) for k, x in enumerate(leaves)]
        return jax.tree.unflatten(structure, values)

    def flush(self) -> None:
        """Writes what is not yet on disk. Raises ResultError where it cannot be written.

        Where that was broken off, by Ctrl-C perhaps, nothing more is written: entries must follow each other.
        """
        self._last = time.monotonic()
        if not (self._new and self._whole):
            return
        new, self._new, self._whole = self._new, [], False
        try:
            if shutil.disk_usage(self._folder).free < 2 * sum(_size(entry) for entry in new) + ROOM:
                raise ResultError(f"{self._folder}: cannot be written (no space left); free some space")
            latest = self._manager.latest_step()
            tree = {f"{k:06d}": entry for k, entry in enumerate(new)}
            self._manager.save(0 if latest is None else latest + 1, args=self._save(tree))
        except OSError as error:
            raise ResultError(
                f"{self._folder}: cannot be written ({error.strerror}); free space or give another --out"
            ) from error
        self._whole = True

    def close(self) -> None:
        """What is not flushed is lost, as it would be were the run killed."""
        self._manager.close()


def _size(entry: Entry) -> int:
    return sum(array.nbytes for array in entry.values())


def recorded(journal: Journal | None, part: Callable[[], Entry]) -> Entry:
    """`part()`, by way of the journal where there is one."""
    return part() if journal is None else journal.run(part)
