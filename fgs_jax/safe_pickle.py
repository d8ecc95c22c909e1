"""Pickles of arrays, read without running them: Python 2's and 3's, with numpy, scipy.sparse and chumpy objects.

A pickle is a program, which can call whatever it names. Here the calls that it asks for are only written down, the few
that stand for arrays are allowed at all, and the arrays are made of the records afterwards. Neither scipy nor chumpy is
imported.
"""

import io
import pickle
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from fgs_jax.errors import HandFileError


def read_pickled_arrays(data: bytes, keys: Collection[str], path: Path) -> dict[str, np.ndarray]:
    """The arrays that a pickled dict has under these keys. `path` is for the messages.

    Raises HandFileError where it asks for anything but arrays, and for a damaged pickle or none at all.
    """
    try:
        content = _Unpickler(data, path).load()
    except HandFileError:
        raise
    except Exception as error:  # a damaged pickle can end in almost any of them
        if data[:1] != b"\x80":
            raise HandFileError(
                f"{path}: expected a MANO pickle or an npz, came a file that starts with {data[:16]!r}; "
                "download it again"
            ) from error
        raise HandFileError(
            f"{path}: expected a whole pickle, it is damaged or cut short ({first_line(error)}); download it again"
        ) from error
    if not isinstance(content, dict):
        raise HandFileError(f"{path}: expected a pickled dict with MANO's keys, came another object; check the file")
    arrays = {}
    for key in content.keys() & set(keys):
        try:
            arrays[key] = np.asarray(_built(content[key]))
        except Exception as error:  # as above
            raise HandFileError(
                f"{path}: expected numbers in {key}, came something else ({first_line(error)}); check the file"
            ) from error
    return arrays


class _Call:
    """One call that a pickle asks for, written down and not made."""

    kind = ""
    args: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *args: Any) -> "_Call":
        call = super().__new__(cls)
        call.args = args
        return call

    def __setstate__(self, state: Any) -> None:
        self.state = state


_CALLS = {
    ("numpy", "ndarray"): "array",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "bytes",
    ("copy_reg", "_reconstructor"): "object",
    ("copyreg", "_reconstructor"): "object",
    ("scipy.sparse.csc", "csc_matrix"): "sparse",
    ("scipy.sparse._csc", "csc_matrix"): "sparse",
}
for _core in ("numpy.core", "numpy._core"):
    _CALLS[f"{_core}.multiarray", "_reconstruct"] = "array"
    _CALLS[f"{_core}.multiarray", "scalar"] = "scalar"
    _CALLS[f"{_core}.numeric", "_frombuffer"] = "buffer"
_PLAIN_TYPES = {
    ("collections", "OrderedDict"): dict,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
}


class _Unpickler(pickle.Unpickler):
    """Knows no callable but dict, set, object and `_Call`, so that a pickle can run nothing."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.path = path

    def find_class(self, module_name: str, global_name: str, /) -> type:
        if plain := _PLAIN_TYPES.get((module_name, global_name)):
            return plain
        kind = "chumpy" if module_name.partition(".")[0] == "chumpy" else _CALLS.get((module_name, global_name))
        if kind is None:
            raise HandFileError(
                f"{self.path}: expected a pickle of arrays, it asks for {f'{module_name}.{global_name}'!r}; "
                "nothing was run; do not trust this file"
            )
        # A class, because some opcodes take nothing else; a new one, because it belongs to this pickle alone.
        return type("_Call", (_Call,), {"kind": kind})


def _built(value: Any) -> Any:
    """What the calls of a pickle stand for: arrays, numbers, bytes. Raises almost anything for a damaged one."""
    if not isinstance(value, _Call):
        return value
    args, state = [_built(argument) for argument in value.args], value.state or {}
    match args[0].kind if value.kind == "object" else value.kind:
        case "bytes":
            built = args[0].encode(args[1])
        case "dtype" if re.fullmatch(r"[fiu][1248]|[SU]\d+", args[0]):
            built = np.dtype(state[1].replace("|", "=") + args[0])
        case "scalar":
            built = _array(args[1], args[0], (), "C")
        case "buffer":
            data, dtype, shape, order, *axes = args
            built = (
                _array(data, dtype, shape, "C").transpose(*axes) if order == "K" else _array(data, dtype, shape, order)
            )
        case "array":
            _, shape, dtype, is_fortran, data = state
            built = _array(_built(data), _built(dtype), shape, "F" if is_fortran else "C")
        case "sparse":
            entries, rows, starts = (_built(state[key]) for key in ("data", "indices", "indptr"))
            built = np.zeros(state["_shape"] if "_shape" in state else state["shape"])
            np.add.at(built, (rows, np.repeat(np.arange(len(starts) - 1), np.diff(starts))), entries)
        case "chumpy" if "x" in state:
            built = _built(state["x"])
        case "chumpy" if "a" in state and "idxs" in state:
            built = _built(state["a"]).ravel()[_built(state["idxs"])]
            built = built.reshape(_built(state.get("preferred_shape", built.shape)))
        case kind:
            raise ValueError(f"a {kind} of an unknown form")
    return built


def _array(data: bytes | bytearray | str, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    # Python 2 wrote bytes as str, which come as latin1 text.
    data = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def first_line(error: Exception) -> str:
    """What an error says, cut to one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)
