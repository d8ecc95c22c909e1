"""Folders that are written whole or not at all."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path


def write_whole(folder: Path, write_files: Callable[[Path], None]) -> None:
    """A folder with all that `write_files` writes to the one it is given, or none.

    A folder that is there is replaced once the new one is whole. Raises OSError where it cannot be written.
    """
    mark = f"{os.getpid()}.{time.time_ns()}"
    temporary, former = (folder.with_name(f".{folder.name}.{mark}.{kind}") for kind in ("new", "old"))
    try:
        temporary.mkdir(parents=True)
        write_files(temporary)
        if folder.exists():
            folder.rename(former)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if former.exists() and not folder.exists():
            former.rename(folder)
        shutil.rmtree(former, ignore_errors=True)
