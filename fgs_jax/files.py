"""Files that people give, read with care; folders that are written whole or not at all."""

import ast
import errno
import io
import math
import os
import re
import shutil
import stat
import time
import zipfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import numpy as np

from fgs_jax.errors import FgsError

MOST_BYTES = 2**29
"""Of a file that is read, and of the arrays in one, unless told."""
MOST_NAME = 180
"""Bytes in the name of a folder that is written: the names of what is put beside it meanwhile are longer."""
_MOST_HEADER = 10_000
"""Bytes of an npy file's header, as numpy has it."""
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


def expanded(path: str | Path) -> Path:
    """A path with the home in place of "~"; as it stands where there is no such home, so that no file is there."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises for the home of nobody


def is_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file or folder can have that name, so that it can be asked whether it is there."""
    name = os.fsencode(path)
    return len(name) < 3000 and b"\0" not in name and all(len(part) <= 255 for part in name.split(b"/"))


def output_folder(path: Path, error: type[FgsError], *, shared: bool = False) -> Path:
    """The absolute path of a folder that is to be made, or replaced, where `path` says, links followed.

    Raises `error`, in one line, for a path that no such folder can have, before anything is written: the root, the
    current folder or one that holds it (unless `shared`, for a folder to write others into), names that are too long,
    what lies in a file or where nothing may be written.
    """
    advice = "give another --out"
    try:
        folder = path.expanduser().resolve()
        parts = [len(os.fsencode(part)) for part in folder.parts]
        if len(os.fsencode(path)) + 2 * MOST_NAME > 4096 or max(parts) > 255 or parts[-1] > MOST_NAME:
            came = f"names of up to {max(parts)} bytes, {len(os.fsencode(path))} in all"
            raise error(f"{str(path)[:40]}...: expected a name of at most {MOST_NAME} bytes, came {came}; {advice}")
        if not folder.name or (not shared and Path.cwd().is_relative_to(folder)):
            came = "the current folder, or one that holds it," if folder.name else "the root of all folders"
            raise error(f"{path}: expected a folder of its own for the result, came {came}; {advice}")
        nearest = next(parent for parent in folder.parents if parent.exists())
        if not nearest.is_dir():
            raise error(f"{folder}: cannot be written ({os.strerror(errno.ENOTDIR)}); {advice}")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise error(f"{folder}: cannot be written ({os.strerror(errno.EACCES)}: {nearest}); {advice}")
    except (OSError, RuntimeError, ValueError) as cause:  # a loop of links, no such home, a null byte
        reason = getattr(cause, "strerror", None) or str(cause)
        raise error(f"{str(path)[:200]!r}: cannot be written ({reason}); {advice}") from cause
    return folder


def read_npz(data: bytes, most: int = MOST_BYTES, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The plain arrays of an npz file, each as large as its header says, `most` bytes in all; of these `names` alone.

    Raises ValueError for anything else: nothing is unpickled, and no room is made for what a header only promises. What
    zipfile, zlib and numpy raise for a damaged file comes through.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [e for e in archive.infolist() if names is None or e.filename.removesuffix(".npy") in names]
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
    data = _without_long_numbers(data)
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("objects in place of numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"a header of shape {shape}, and {len(data) - file.tell()} bytes")
    return np.load(io.BytesIO(data), allow_pickle=False)


def _without_long_numbers(data: bytes) -> bytes:
    """An npy file without the "L" that Python 2 wrote after numbers: of what it has to mend, numpy warns.

    Raises ValueError for a header that is no expression.
    """
    start, size = (10, 2) if data[6:7] == b"\1" else (12, 4)
    end = start + int.from_bytes(data[8 : 8 + size], "little")
    header = re.sub(rb"(?<=\d)L(?=[,) ])", b" ", data[start:end])
    try:
        ast.literal_eval(header[:_MOST_HEADER].decode("latin1"))
    except (SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"a header that is none: {header[:40]!r}") from None
    return data if header == data[start:end] else data[:start] + header + data[end:]


def write_file_whole(path: Path, data: bytes) -> None:
    """A file with these bytes, or what was there before. Raises OSError where it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.time_ns()}.new")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


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
