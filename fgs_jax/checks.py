"""Shapes and types of what people pass, looked at where they call.

The annotations of a function say what it takes, and `checked` holds its callers to them: `Float[Array, "n 3"]` is taken
as it is written, and a letter means the same size in all arguments. Only shapes and types are looked at, which are
known while JAX traces: nothing is added to a program, and under vmap each example has its own shape.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import wraps
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import AbstractArray

from fgs_jax.errors import ArgumentError

P = ParamSpec("P")
R = TypeVar("R")

_NUMBERS = {
    "Float": ("floats", jnp.floating),
    "Int": ("integers", jnp.integer),
    "Bool": ("truth values", jnp.bool_),
    "Key": ("a random key", jax.dtypes.prng_key),
}
"""jaxtyping's names, in words and as types."""
_WORDS = {float: "a number", int: "a whole number", bool: "True or False", str: "a text", NoneType: "None"}
_HINTS = {
    "DistanceGrid": "objects.distance_grid makes a grid of a mesh",
    "Camera": "scene.camera_from_matrix makes one of a 3 x 3 matrix",
}
"""Where things come from that others are often passed for, by the names of their types."""
_PLAIN = {float: (int, float, np.integer, np.floating), int: (int, np.integer)}
"""What is taken for a number of Python."""
_OTHER = object()

Sizes = dict[str, Any]
"""What the letters of shapes stand for: a size, or a tuple of sizes where there may be any number of axes."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which raises ArgumentError for arguments that are not what its annotations say.

    Lists and numpy's arrays become JAX's where it takes those. Named tuples share the letters of the other arguments;
    pytrees have letters of their own.
    """
    signature = inspect.signature(function)
    name = getattr(function, "__name__", "function")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # Python says itself what is missing.
            return function(*args, **kwargs)
        sizes: Sizes = {}
        for key, value in bound.arguments.items():
            bound.arguments[key] = _taken(signature.parameters[key].annotation, f"{name}: {key}", value, sizes)
        return function(*bound.args, **bound.kwargs)

    return call


def check_count(where: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A whole number within bounds. Raises ArgumentError, which says `where`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ArgumentError(f"{where}: expected a whole number {bounds}, got {_described(value)}: change it")
    return int(value)


def check_value(where: str, value: Any, kind: Any) -> Any:
    """The value as the annotation `kind` has it. Raises ArgumentError, which says `where`."""
    return _taken(kind, where, value, {})


def _taken(kind: Any, where: str, value: Any, sizes: Sizes) -> Any:
    """The value as one of the kinds that the annotation allows."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for option in options:
        taken = _as(option, where, value, sizes)
        if taken is not _OTHER:
            return taken
    words = dict.fromkeys(_in_words(option, sizes) for option in options)
    raise ArgumentError(f"{where}: expected {' or '.join(words)}, got {_described(value)}: {_hint(options, value)}")


def _as(kind: Any, where: str, value: Any, sizes: Sizes) -> Any:
    """The value as the function shall get it where it is of the kind, else `_OTHER`."""
    arguments = get_args(kind)
    wanted = _PLAIN.get(kind, get_origin(kind) or kind)
    if _is_array(kind):
        array = _array(kind, value)
        found = None if array is None else _sizes(np.shape(array), kind.dim_str, sizes)
        sizes |= found or {}
        return _OTHER if found is None else array
    if wanted in (Any, inspect.Parameter.empty) or not isinstance(wanted, type | tuple):
        return value  # of any type
    if not isinstance(value, wanted) or (isinstance(value, bool | str) and (kind in _PLAIN or wanted is Sequence)):
        return _OTHER
    if wanted is tuple and isinstance(value, tuple):
        return (
            _OTHER
            if len(value) != len(arguments)
            else tuple(_taken(arguments[k], f"{where}[{k}]", part, sizes) for k, part in enumerate(value))
        )
    if isinstance(value, Mapping) and arguments:
        return {key: _taken(arguments[1], f"{where}[{key!r}]", part, sizes) for key, part in value.items()}
    return _looked_into(value, where, sizes)


def _looked_into(value: Any, where: str, sizes: Sizes) -> Any:
    """A named tuple or a pytree of this package, whose fields are what their annotations say; others as they are."""
    if isinstance(value, np.integer):
        return int(value)
    if hasattr(value, "_flax_dataclass"):
        names, sizes = [item.name for item in fields(value)], {}
    elif hasattr(value, "_fields") and type(value).__module__.startswith("fgs_jax."):
        names = value._fields
    else:
        return value
    kinds, given = inspect.get_annotations(type(value)), {name: getattr(value, name) for name in names}
    taken = {name: _taken(kinds[name], f"{where}.{name}", part, sizes) for name, part in given.items()}
    if all(taken[name] is part for name, part in given.items()):
        return value
    return replace(value, **taken) if hasattr(value, "_flax_dataclass") else value._replace(**taken)


def _is_array(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, AbstractArray)


def _number(kind: Any) -> tuple[str, Any]:
    return _NUMBERS[kind.__name__.split("[")[0]]


def _array(kind: Any, value: Any) -> Any:
    """The value as an array of the kind; None where it is none, or holds something else."""
    make, type_of_number = (np.asarray if kind.array_type is np.ndarray else jnp.asarray), _number(kind)[1]
    array, plain = value, not hasattr(value, "dtype")
    if plain and not isinstance(value, list | tuple | int | float | complex) and not hasattr(value, "__array__"):
        return None
    if not isinstance(value, kind.array_type | Tracer | jax.ShapeDtypeStruct):
        try:
            array = make(value)
        except (TypeError, ValueError, RuntimeError):
            return None
    if plain and type_of_number is jnp.floating and jnp.issubdtype(array.dtype, jnp.integer):
        array = make(array, float)  # written without a point
    return array if jnp.issubdtype(array.dtype, type_of_number) else None


def _sizes(shape: tuple[int, ...], dims: str, sizes: Sizes) -> Sizes | None:
    """What the letters stand for if a shape is as `dims` says; None if it is not."""
    words, parts = dims.split(), list[Any](shape)
    several = next((k for k, word in enumerate(words) if word.startswith("*")), None)
    if several is not None:
        end = several + len(shape) - len(words) + 1
        if end < several:
            return None
        parts[several:end] = [shape[several:end]]
    if len(parts) != len(words):
        return None
    found = dict(sizes)
    for word, size in zip(words, parts, strict=True):
        if size != (int(word) if word.isdigit() else found.setdefault(word, size)):
            return None
    return found


def _in_words(kind: Any, sizes: Sizes) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if _is_array(kind):
        words = kind.dim_str.split()
        shape = f"({', '.join(words)}{',' * (len(words) == 1)})"
        known = [f"{word} = {sizes[word]}" for word in dict.fromkeys(words) if word in sizes]
        return f"{_number(kind)[0]} of shape {shape}{' with ' * bool(known)}{', '.join(known)}"
    if origin is tuple:
        return f"a tuple of {len(arguments)}"
    if origin is Sequence:
        return "a list"
    if isinstance(origin, type):
        return "names and values" if issubclass(origin, Mapping) else "a function"
    return _WORDS.get(kind) or _with_article(kind.__name__)


def _described(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | complex | str):
        return repr(value)[:80]
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return _with_article(type(value).__name__)


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def _hint(options: Sequence[Any], value: Any) -> str:
    """What to do about it."""
    for option in options:
        if not _is_array(option):
            if getattr(option, "__name__", "") in _HINTS:
                return _HINTS[option.__name__]
            continue
        array, dims = _array(option, value), option.dim_str
        if _number(option)[0] == "a random key":
            return "pass jax.random.key(seed)"
        if array is None and hasattr(value, "dtype"):
            return "convert it"
        if array is not None and _sizes(np.shape(array)[::-1], dims, {}) and np.ndim(array) > 1:
            return "check its sizes, or transpose it"
        if array is not None and np.ndim(array) > len(dims.split()):
            return "check its axes; jax.vmap goes through leading ones"
    return "check the arguments and their order"
