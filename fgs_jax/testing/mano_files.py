"""Files of MANO's format, as converters and as Python 2 wrote them, from arrays under MANO's keys."""

import io
import pickle
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def write_mano_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An npz of MANO's keys, as converters write it."""
    keywords: dict[str, Any] = dict(arrays)
    np.savez(path, **keywords)


def write_mano_pickle(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A pickle as Python 2 wrote MANO's: protocol 2, byte strings, objects of chumpy and scipy.sparse.csc."""
    stream = io.BytesIO()
    with _old_modules():
        old = dict(arrays) | {"bs_style": "lbs", "bs_type": "lrotmin"}
        for key in ("v_template", "posedirs", "weights"):
            old[key] = _chumpy("ch", "Ch", x=arrays[key])
        old["shapedirs"] = _chumpy_selection(arrays["shapedirs"])
        old["J_regressor"] = _sparse(arrays["J_regressor"])
        _Python2Pickler(stream, protocol=2).dump(old)
    path.write_bytes(stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


_PythonPickler: Any = pickle._Pickler


class _Python2Pickler(_PythonPickler):
    """Writes str and bytes as Python 2's one string type."""

    dispatch = _PythonPickler.dispatch.copy()

    def save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


@contextmanager
def _old_modules() -> Iterator[None]:
    """The modules of the old classes, for as long as the pickle is written: classes are pickled by name."""
    names = {"chumpy": "", "chumpy.ch": "Ch", "chumpy.reordering": "Select", "scipy.sparse.csc": "csc_matrix"}
    before = {name: sys.modules.get(name) for name in names}
    for name, class_name in names.items():
        sys.modules[name] = ModuleType(name)
        if class_name:
            setattr(sys.modules[name], class_name, type(class_name, (), {"__module__": name}))
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _instance(module: str, name: str, state: dict[str, Any]) -> Any:
    made = getattr(sys.modules[module], name)()
    made.__dict__.update(state)
    return made


def _chumpy(module: str, name: str, **terms: Any) -> Any:
    state = {
        "_dirty_vars": set(terms),
        "_itr": None,
        "_depends_on_deps": {},
        "_make_dense": False,
        "_make_sparse": False,
    }
    return _instance(f"chumpy.{module}", name, state | terms)


def _chumpy_selection(array: np.ndarray) -> Any:
    """`whole[:, :, :n]` as chumpy has it: an index into a longer array."""
    whole = np.concatenate([array, np.full((*array.shape[:2], 2), 7.0)], axis=2)
    chosen = np.arange(whole.size).reshape(whole.shape)[:, :, : array.shape[2]]
    terms = {"a": _chumpy("ch", "Ch", x=whole), "idxs": chosen.ravel(), "preferred_shape": chosen.shape}
    return _chumpy("reordering", "Select", **terms)


def _sparse(array: np.ndarray) -> Any:
    columns, rows = np.nonzero(array.T)
    starts = np.searchsorted(columns, np.arange(array.shape[1] + 1)).astype(np.int32)
    entries = {"data": array[rows, columns], "indices": rows.astype(np.int32), "indptr": starts}
    return _instance("scipy.sparse.csc", "csc_matrix", entries | {"_shape": array.shape, "maxprint": 50})
