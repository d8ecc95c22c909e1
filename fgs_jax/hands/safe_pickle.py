"""Pickles of arrays, read without running them: Python 2's and 3's, with numpy, scipy.sparse and chumpy objects.

A pickle is a program, which can call whatever it names. Here it is only written down (`pickle_records`), and the arrays
under the keys that are needed are made of the records afterwards. Neither scipy nor chumpy is imported; what stands
under other keys is never looked at.
"""

import pickle
import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from fgs_jax.errors import HandFileError
from fgs_jax.hands.pickle_records import Made, Named, Pairs, read_pickle

MOST_NUMBERS = 2**25
"""Of an array: posedirs of 80,000 vertices."""
_MOST_SAID = 300
"""Characters of what an error says of a file's content."""


class _UnknownNameError(ValueError):
    """A record that stands for no array that we know; the message is its name."""


def read_pickled_arrays(data: bytes, keys: Collection[str], path: Path) -> dict[str, np.ndarray]:
    """The arrays that a pickled dict has under these keys. `path` is for the messages.

    Raises HandFileError where what stands there is anything but arrays, and for a damaged pickle or none at all.
    """
    try:
        pickled = read_pickle(data)
    except Exception as error:  # a damaged pickle can end in almost any of them
        raise _damaged(data, error, path) from error
    if not isinstance(pickled.content, Pairs):
        if unknown := [name for name in pickled.names if _kind_of(Named(name)) is None]:
            raise _unsafe(unknown[0], path)
        raise HandFileError(f"{path}: expected a pickled dict with MANO's keys, came another object; check the file")
    arrays, builder = {}, _Builder()
    for key, value in pickled.content.by_text().items():
        if key not in keys:
            continue
        try:
            arrays[key] = builder.array(value)
        except _UnknownNameError as error:
            raise _unsafe(str(error), path) from error
        except Exception as error:  # as above
            raise HandFileError(
                f"{path}: expected numbers in {key}, came something else ({first_line(error)}); check the file"
            ) from error
    return arrays


def run_pickled_arrays(data: bytes, keys: Collection[str], path: Path) -> dict[str, np.ndarray]:
    """`read_pickled_arrays` by `pickle` itself, which RUNS what the file says: only for a file that is trusted.

    Raises HandFileError for whatever stops it, such as a package that is not installed.
    """
    try:
        content = pickle.loads(data, encoding="latin1")
        return {key: _numbers_of(content[key]) for key in content if key in keys}
    except Exception as error:  # anything may have been run
        raise HandFileError(
            f"{path}: expected a pickled dict of arrays, it cannot be unpickled ({first_line(error)}); "
            "install what it names, or save it again as an npz"
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, cut to one line, and to what a person reads of it."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return line if len(line) <= _MOST_SAID else f"{line[:_MOST_SAID]}..."


def _damaged(data: bytes, error: Exception, path: Path) -> HandFileError:
    if data[:1] != b"\x80":
        return HandFileError(
            f"{path}: expected a MANO pickle or an npz, came a file that starts with {data[:16]!r}; download it again"
        )
    return HandFileError(
        f"{path}: expected a whole pickle, it is damaged or cut short ({first_line(error)}); download it again"
    )


def _unsafe(name: str, path: Path) -> HandFileError:
    line = f"fgs hand convert {shlex.quote(str(path))} {shlex.quote(f'{path.stem}.npz')} --trust-pickle"
    return HandFileError(
        f"{path}: expected a pickle of arrays, it asks for {name[:80]!r}; nothing was run; where you trust the file, "
        f"convert it: {line}"
    )


def _numbers_of(value: Any) -> np.ndarray:
    """Of an unpickled array of whatever package: a sparse one, chumpy's, torch's, anything that numpy takes."""
    for method in ("toarray", "detach"):
        if hasattr(value, method):
            value = getattr(value, method)()
    if hasattr(value, "cpu"):
        value = value.cpu()
    if type(value).__module__.partition(".")[0] == "chumpy":
        value = value.r
    return np.asarray(value)


_SPARSE = ("csr", "csc", "coo", "lil", "bsr", "dia", "dok")
_KINDS = {
    "numpy.ndarray": "array",
    "numpy.matrix": "array",
    "numpy.matrixlib.defmatrix.matrix": "array",
    "numpy.memmap": "array",
    "numpy.dtype": "dtype",
    "_codecs.encode": "bytes",
    "builtins.bytes": "bytes",
    "__builtin__.bytes": "bytes",
    "builtins.bytearray": "bytes",
    "copy_reg._reconstructor": "object",
    "copyreg._reconstructor": "object",
    "builtins.object": "plain",
    "__builtin__.object": "plain",
    "builtins.set": "plain",
    "__builtin__.set": "plain",
    **{f"{core}.multiarray._reconstruct": "array" for core in ("numpy.core", "numpy._core")},
    **{f"{core}.multiarray.scalar": "scalar" for core in ("numpy.core", "numpy._core")},
    **{f"{core}.numeric._frombuffer": "buffer" for core in ("numpy.core", "numpy._core")},
    **{f"{core}.memmap.memmap": "array" for core in ("numpy.core", "numpy._core")},
    **{
        f"scipy.sparse.{module}{form}_{what}": form
        for form in _SPARSE
        for module in ("", f"{form}.", f"_{form}.")
        for what in ("matrix", "array")
    },
}


def _kind_of(maker: Any) -> str | None:
    """What the thing that a record is made by stands for; None where we do not know."""
    if not isinstance(maker, Named):
        return None
    return "chumpy" if maker.name.partition(".")[0] == "chumpy" else _KINDS.get(maker.name)


_BUSY = object()


class _Builder:
    """Makes of records what they stand for: arrays, numbers, bytes, lists of them.

    Raises almost anything for a damaged file, and ValueError for more numbers than a hand has.
    """

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        """By identity of the record: what a file holds many times is built once."""
        self.size = 0
        """Numbers of all arrays so far."""

    def array(self, value: Any) -> np.ndarray:
        built = self.built(value)
        _limit(_count(built, {}))
        return np.asarray(built)

    def built(self, value: Any) -> Any:
        if not isinstance(value, (Made, list, tuple)):
            return value
        if (found := self.made.get(id(value))) is _BUSY:
            raise RecursionError("maximum recursion: it holds itself")
        if found is None:
            self.made[id(value)] = _BUSY
            found = self._object(value) if isinstance(value, Made) else [self.built(part) for part in value]
            self.made[id(value)] = found
            if isinstance(found, np.ndarray):
                self.size += found.size
                _limit(self.size)
        return found

    def _object(self, record: Made) -> Any:
        maker: Any = record.maker
        arguments: tuple[Any, ...] = record.arguments if isinstance(record.arguments, tuple) else ()
        if _kind_of(maker) == "object":
            maker, arguments = arguments[0], ()
        match _kind_of(maker):
            case None:
                raise _UnknownNameError(maker.name if isinstance(maker, Named) else "something that it makes itself")
            case "bytes":
                built = _encoded(*arguments)
            case "dtype":
                built = _dtype(arguments[0], record.state)
            case "scalar":
                dtype, data = self.built(arguments)
                built = _array(data, dtype, (), "C")
            case "buffer":
                built = _of_buffer(*self.built(arguments))
            case "array":
                if arguments and _kind_of(arguments[0]) != "array":  # the class of array to make
                    raise _UnknownNameError(arguments[0].name)
                *_, shape, dtype, is_fortran, data = self.built(record.state)
                built = _array(data, dtype, shape, "F" if is_fortran else "C")
            case "chumpy" | "plain" as kind:
                built = self._chumpy(_state_of(record), kind)
            case form:
                built = self._sparse(form, _state_of(record))
        return built

    def _chumpy(self, state: dict[str, Any], kind: str) -> Any:
        if "x" in state:
            return self.built(state["x"])
        if "a" in state and "idxs" in state:
            chosen = np.asarray(self.built(state["a"])).ravel()[self.array(state["idxs"])]
            return chosen.reshape(self.built(state["preferred_shape"])) if "preferred_shape" in state else chosen
        raise ValueError(f"a {kind} of an unknown form")

    def _sparse(self, form: str, state: dict[str, Any]) -> np.ndarray:
        """The full array of a sparse one."""
        shape = tuple(int(size) for size in self.built(state["_shape"] if "_shape" in state else state["shape"]))
        if len(shape) != 2 or min(shape) < 0:
            raise ValueError(f"a {form} array of shape {shape}")
        _limit(shape[0] * shape[1])
        full = np.zeros(shape)
        if form in ("lil", "dok"):
            for row, column, value in self._listed(state) if form == "lil" else self._keyed(state):
                full[row, column] += value
            return full
        values = self.array(state["data"])
        if form == "dia":
            for offset, diagonal in zip(self.array(state["offsets"]), values, strict=True):
                columns = np.arange(max(offset, 0), min(shape[1], shape[0] + offset, len(diagonal)))
                full[columns - offset, columns] += diagonal[columns]
            return full
        if form == "coo":
            rows, columns = self.built(state["coords"]) if "coords" in state else map(self.built, _two(state))
            np.add.at(full, (np.asarray(rows), np.asarray(columns)), values)
            return full
        inner, starts = self.array(state["indices"]), self.array(state["indptr"])
        outer = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        inner, values = inner[: len(outer)], values[: len(outer)]
        if form == "bsr":
            blocks = full.reshape(len(starts) - 1, values.shape[1], -1, values.shape[2])
            np.add.at(blocks.transpose(0, 2, 1, 3), (outer, inner), values)
        else:
            np.add.at(full, (outer, inner) if form == "csr" else (inner, outer), values)
        return full

    def _listed(self, state: dict[str, Any]) -> list[tuple[int, int, float]]:
        """Row, column and value of a lil array: arrays of lists, which are no arrays of numbers."""
        (*_, columns), (*_, values) = state["rows"].state, state["data"].state
        return [
            (row, int(column), float(value))
            for row, pair in enumerate(zip(self.built(columns), self.built(values), strict=True))
            for column, value in zip(*pair, strict=True)
        ]

    def _keyed(self, state: dict[str, Any]) -> list[tuple[int, int, float]]:
        """The same of a dok array."""
        entries = ((*self.built(key), self.built(value)) for key, value in state["_dict"].pairs)
        return [(int(row), int(column), float(value)) for row, column, value in entries]


def _two(state: dict[str, Any]) -> tuple[Any, Any]:
    return state["row"], state["col"]


def _state_of(record: Made) -> dict[str, Any]:
    return record.state.by_text() if isinstance(record.state, Pairs) else {}


def _encoded(text: Any = b"", encoding: Any = "latin1") -> bytes:
    if isinstance(text, (bytes, bytearray)):
        return bytes(text)
    if encoding not in ("latin1", "utf-8", "ascii"):
        raise ValueError(f"bytes of {encoding!r:.40}")
    return text.encode(encoding)


def _dtype(name: Any, state: Any) -> np.dtype:
    if not (isinstance(name, str) and re.fullmatch(r"[fiu][1248]|[SU]\d{1,6}", name)):
        raise ValueError("a dtype of an unknown form")
    order = state[1] if isinstance(state, tuple) else "="
    return np.dtype(order.replace("|", "=") + name)


def _of_buffer(data: Any, dtype: Any, shape: Any, order: Any, *axes: Any) -> np.ndarray:
    # In the order K the axes that follow say how it lay in memory.
    return _array(data, dtype, shape, "C").transpose(*axes) if order == "K" else _array(data, dtype, shape, order)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    # Python 2 wrote bytes as str, which come as latin1 text.
    data = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(dtype, np.dtype):
        raise ValueError("a dtype of an unknown form")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _limit(count: int) -> None:
    if count > MOST_NUMBERS:
        raise ValueError(f"{count} numbers, {MOST_NUMBERS} at most are read")


def _count(value: Any, counted: dict[int, int]) -> int:
    """Numbers in lists of lists, before they are spread out: the same list may stand in them many times."""
    if not isinstance(value, list):
        return value.size if isinstance(value, np.ndarray) else 1
    if id(value) not in counted:
        counted[id(value)] = sum(_count(part, counted) for part in value)
    return counted[id(value)]
