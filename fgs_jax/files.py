"""Files that people give, read with care; folders that are written whole or not at all."""

import io
import math
import os
import shutil
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fgs_jax.errors import FgsError

MOST_BYTES = 2**29
"""Of a file that is read, and of the arrays in one, unless told."""
_NO_FILES = {
    stat.S_ISDIR: ("a folder", "name the file in it"),
    stat.S_ISFIFO: ("a pipe", "save what it brings as a file first"),
    stat.S_ISSOCK: ("a socket", "name a file"),
    stat.S_ISCHR: ("a device", "name a file"),
    stat.S_ISBLK: ("a device", "name a file"),
}


def read_input(
    path: Path, expected: str, error: type[FgsError], *, most: int = MOST_BYTES, absent: str = "check the path"
) -> bytes:
    """The bytes of a file that a person has named. `expected`: what it should be, such as "a mesh file"; `absent`: what
    to do where there is none. "~" is the home.

    Raises `error`, in one line, where there is none, where it is no regular file (a pipe would never end), where it has
    more than `most` bytes, and where it cannot be read.
    """
    try:
        path = path.expanduser()
        status = path.stat()
        for is_kind, (came, advice) in _NO_FILES.items():
            if is_kind(status.st_mode):
                raise error(f"{path}: expected {expected}, came {came}; {advice}")
        if status.st_size > most:
            came = f"{status.st_size / 2**20:.0f} MiB"
            raise error(f"{path}: expected {expected} of at most {most / 2**20:.0f} MiB, came {came}; make it smaller")
        return path.read_bytes()
    except FileNotFoundError as cause:
        raise error(f"{path}: expected {expected}, there is none; {absent}") from cause
    except OSError as cause:
        raise error(f"{str(path)[:200]}: cannot be read ({cause.strerror}); check the path") from cause
    except (ValueError, RuntimeError) as cause:  # a name with a null byte, the home of nobody
        raise error(f"{str(path)[:200]!r}: expected {expected}, came a name that no file can have") from cause


def read_npz(data: bytes, most: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """The plain arrays of an npz file, each as large as its header says, `most` bytes in all.

    Raises ValueError for anything else: nothing is unpickled, and no room is made for what a header only promises. What
    zipfile, zlib and numpy raise for a damaged file comes through.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if (size := sum(entry.file_size for entry in entries)) > most:
            raise ValueError(f"arrays of {size / 2**20:.0f} MiB, {most / 2**20:.0f} at most are read")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"the array {name} is there twice")
            arrays[name] = read_npy(archive.read(entry))
    return arrays


def read_npy(data: bytes) -> np.ndarray:
    """The array of an npy file. Raises ValueError for one of objects, and of another length than its header says."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("objects in place of numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"a header of shape {shape}, and {len(data) - file.tell()} bytes")
    return np.load(io.BytesIO(data), allow_pickle=False)


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
