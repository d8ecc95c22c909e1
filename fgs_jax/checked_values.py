"""Plain values, as YAML holds them, against dataclasses: each mistake is one line, with the nearest name that there is.

Own code: msgspec passes over a dataclass's unknown keys and takes no `float | Array`, each of pydantic's errors would
have to be worded anew, and neither fills up what a file leaves out from another configuration.
"""

import contextlib
import difflib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from fgs_jax.errors import ConfigError

Config = TypeVar("Config")


class Bounds(NamedTuple):
    """What a number may be, both ends included."""

    least: int | float
    most: int | float
    share: bool = False
    open: bool = False
    """Whether the number must be more than the least one."""


@dataclass(frozen=True)
class Rules:
    """What the numbers of a configuration may be; never negative, and never NaN."""

    bounds: Mapping[str, Bounds | None]
    """Of the numbers of a field, by the field's name; of the count of its parts where the field is a list of others;
    None where whoever takes them checks them."""
    otherwise: Bounds
    """Of numbers whose field is not named."""
    example: str
    """A file that shows such a configuration."""


def from_values(kind: type[Config], values: Any, rules: Rules, where: str, base: Config | None = None) -> Config:
    """A dataclass of plain values; what they leave out is that of `base`, or else the field's default.

    A field may be a text, number, truth value, dataclass, `Literal`, tuple, list, mapping, or a union of these; other
    members of a union, such as the arrays of `float | Array`, come from Python alone. Raises ConfigError for an unknown
    key, a value of another type, a number out of its bounds, and, without a base, for what is missing.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected names and values, got {values!r:.40}; see {rules.example}")
    config = _dataclass(kind, values, where, base)
    check_numbers(config, rules, where)
    return config


def check_numbers(config: Any, rules: Rules, where: str) -> None:
    """Raises ConfigError for a number of a dataclass that is out of its bounds. Arrays pass, for they may be traced."""
    for item in fields(config):
        value: Any = getattr(config, item.name)
        name, bounds = f"{where}: {item.name}", rules.bounds.get(item.name, rules.otherwise)
        if bounds is None:
            continue
        if is_dataclass(value):
            check_numbers(value, rules, name)
            continue
        if isinstance(value, Mapping):
            parts = {f"{name}: {key}": part for key, part in value.items()}
        else:
            listed = isinstance(value, tuple | list)
            parts = {f"{name}[{k}]": part for k, part in enumerate(value)} if listed else {name: value}
        numbers = [part for part in parts.values() if isinstance(part, int | float)]
        for place, part in parts.items():
            if is_dataclass(part):
                check_numbers(part, rules, place)
            elif isinstance(part, int | float) and not isinstance(part, bool):
                _check_number(part, bounds, place if isinstance(value, Mapping) else name)
        if isinstance(value, tuple | list) and not numbers and item.name in rules.bounds:
            _check_number(len(parts), bounds, name)


def read_as(kind: Any, value: Any, where: str, base: Any = None) -> Any:
    """A plain value as an annotation says. Raises ConfigError where it is of another type."""
    try:
        return _converted(kind, value, where, base)
    except _OtherTypeError:
        expected = _in_words(kind) or getattr(kind, "__name__", str(kind))
        raise ConfigError(f"{where}: expected {expected}, got {value!r:.40}; change it") from None


def suggestion(name: Any, known: Iterable[str]) -> str:
    """ "did you mean ...?" with the nearest known name; "" where none is near."""
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f"did you mean {near[0]}?" if near else ""


def check_names(names: Iterable[Any], known: Iterable[str], where: str) -> None:
    """Raises ConfigError for a name that is not known, with the nearest one, else with all of them."""
    known = list(known)
    for name in names:
        if name not in known:
            advice = suggestion(name, known) or f"expected one of {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {name}; {advice}")


class _OtherTypeError(Exception):
    """A value is not of the type that its annotation says."""


_PLAIN = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "nothing"}


def _dataclass(kind: Any, values: dict[Any, Any], where: str, base: Any) -> Any:
    known = {item.name: item for item in fields(kind) if item.init}
    check_names(values, known, where)
    kinds = get_type_hints(kind)
    given = {
        name: read_as(kinds[name], value, f"{where}: {name}", getattr(base, name, None))
        for name, value in values.items()
    }
    if base is not None:
        return replace(base, **given)
    needed = [name for name, item in known.items() if item.default is item.default_factory is MISSING]
    if missing := sorted(set(needed) - set(given)):
        raise ConfigError(f"{where}: expected all of {', '.join(needed)}, missing {', '.join(missing)}; add them")
    return kind(**given)


def _converted(kind: Any, value: Any, where: str, base: Any) -> Any:
    """The value as `kind`. Raises _OtherTypeError where it is another, ConfigError for a mistake inside of it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for part in inner:
            with contextlib.suppress(_OtherTypeError):
                return _converted(part, value, where, base)
        raise _OtherTypeError
    if origin in (tuple, list, dict, Mapping):
        return _collection(origin, inner, value, where)
    if is_dataclass(kind) and isinstance(value, dict):
        return _dataclass(kind, value, where, base)
    if kind in _PLAIN:
        return _plain(kind, value)
    if origin is Literal:
        fits = any(value == one and type(value) is type(one) for one in inner)
    else:
        fits = kind is Any or (isinstance(kind, type) and isinstance(value, kind))
    if not fits:
        raise _OtherTypeError
    return value


def _collection(kind: Any, inner: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple if kind in (tuple, list) else dict):
        raise _OtherTypeError
    if isinstance(value, dict):
        keys, values = inner
        return {read_as(keys, key, where): read_as(values, part, f"{where}: {key}") for key, part in value.items()}
    if kind is tuple and Ellipsis not in inner and len(value) != len(inner):
        raise _OtherTypeError
    return kind(read_as(inner[0], part, f"{where}[{k}]") for k, part in enumerate(value))


def _plain(kind: Any, value: Any) -> Any:
    if kind is float and isinstance(value, str):  # in quotes, or nan
        with contextlib.suppress(ValueError):
            return float(value)
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, (int, float) if kind is float else kind) or (kind is not bool and isinstance(value, bool)):
        raise _OtherTypeError
    return value if kind is NoneType else kind(value)


def _in_words(kind: Any) -> str:
    """What an annotation takes from a file; "" where it takes nothing from one."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(word for part in inner if (word := _in_words(part))))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (tuple, list):
        return "a list" if origin is list or Ellipsis in inner else f"a list of {len(inner)}"
    if origin in (dict, Mapping) or is_dataclass(kind):
        return "names and values"
    return _PLAIN.get(kind, "")


def _check_number(value: int | float, bounds: Bounds, name: str) -> None:
    if not (value >= 0 and value != math.inf):
        raise ConfigError(f"{name}: expected a number that is not negative, got {value}; change it")
    if bounds.open and value <= bounds.least:
        raise ConfigError(f"{name}: expected more than {bounds.least}, got {value}; change it")
    if value < bounds.least:
        raise ConfigError(f"{name}: expected at least {bounds.least}, got {value}; change it")
    if value > bounds.most:
        kind = "a share of " if bounds.share else ""
        raise ConfigError(f"{name}: expected {kind}at most {bounds.most}, got {str(value)[:40]}; change it")
