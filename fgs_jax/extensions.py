"""What people bring of their own, by name: energies and solvers, imported from their packages, and what goes wrong."""

import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping

from fgs_jax.errors import ArgumentError, ConfigError, FgsError

TERMS_GROUP = "fgs_jax.terms"
"""Entry points of packages that bring terms: the name of a term, and "module:function"."""
_CALLERS = {Path(file).parent for file in (__file__, jax.__file__, jaxtyping.__file__)}


@dataclass(frozen=True, eq=False)
class Term:
    """An energy of one's own: `function(context)`, or `function(context, data)` where data go with it, to a scalar.

    `data` is a pytree of arrays. They are arguments of what is compiled, so others of the same shapes compile nothing.
    Terms are equal where function and data are the same objects.
    """

    function: Callable[..., Any]
    data: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self.function is other.function and self.data is other.data

    def __hash__(self) -> int:
        return hash(self.function)


class Named(dict[str, Any]):
    """A dict that is not changed after it was made, and may so be a static argument of a program."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash(frozenset(self.items()))


def name_of(given: Any) -> str:
    """ "module:name" of a function or of a term's."""
    function = given.function if isinstance(given, Term) else given
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', type(function).__name__)}"


def imported(text: str, where: str) -> Any:
    """What "module:name" names. Raises ConfigError, which says `where`."""
    module, separator, name = text.partition(":")
    if not (separator and module and name):
        raise ConfigError(f"{where}: expected module:name, got {text[:80]!r}: name the module that it is imported from")
    try:
        source = import_module(module)
    except Exception as error:  # whatever a module does when it is run
        absent = isinstance(error, ModuleNotFoundError)
        advice = "install it, or set PYTHONPATH to the folder that it is in" if absent else "mend it"
        raise ConfigError(
            f"{where}: expected a module that can be imported, got {text} ({_first_line(error)}): {advice}"
        ) from error
    if not hasattr(source, name):
        raise ConfigError(f"{where}: expected a name of {module}, got {name}: check its spelling")
    return getattr(source, name)


def called(where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the user's returns. Where it raises, ArgumentError says so, with `where` and the line."""
    try:
        return function(*arguments)
    except FgsError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{where}: expected a function that can be traced, got {_first_line(error)}{_line_of(error)}: mend it"
        ) from error


def within_program(name: str, function: Callable[..., Any], data: Any) -> Term:
    """A term while a program is traced: what its function raises is said with the term's name."""
    return Term(partial(called, f"term {name}", partial(_array_of, function)), data)


def _array_of(function: Callable[..., Any], *arguments: Any) -> Any:
    return jnp.asarray(function(*arguments))


def _line_of(error: Exception) -> str:
    """The first line on the way to the error that is neither ours nor of what calls functions for us."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = (each for each in frames if each.filename[0] != "<" and not _CALLERS & set(Path(each.filename).parents))
    return next((f" in {Path(frame.filename).name}, line {frame.lineno}" for frame in theirs), "")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def named_terms(
    terms: Mapping[str, Any], weights: Collection[str], builtin: Collection[str], where: str = "configuration"
) -> dict[str, Term]:
    """The terms of one's own by their names: functions, `Term`s, or texts such as "module:function".

    A weight without a term stands for the entry point of its name in the group `fgs_jax.terms`. Raises ConfigError for
    a weight that has neither, for a term without a weight, for the name of a term that there is already, and for what
    cannot be imported or called.
    """
    known = dict(terms)
    if set(weights) - set(terms):  # looking through what is installed takes its time
        points = {point.name: point.value for point in entry_points(group=TERMS_GROUP)}
        known = {name: points[name] for name in weights if name in points} | known
    unknown, missing = sorted(set(weights) - set(known)), sorted(set(known) - set(weights))
    if unknown or missing:
        advice = [f"give terms: {name}, or remove its weight" for name in unknown]
        advice += [f"give weights: {name}" for name in missing]
        got = f"terms {', '.join(sorted(known)) or 'none'} and weights {', '.join(sorted(weights)) or 'none'}"
        raise ConfigError(
            f"{where}: terms and weights: expected the same names in both, got {got}: {'; '.join(advice)}"
        )
    if taken := sorted(set(known) & set(builtin)):
        raise ConfigError(f"{where}: terms: expected names that are not taken, got {', '.join(taken)}: rename them")
    return {name: _term(given, f"{where}: terms: {name}") for name, given in known.items()}


def _term(given: Any, where: str) -> Term:
    given = imported(given, where) if isinstance(given, str) else given
    function = given.function if isinstance(given, Term) else given
    if not callable(function):
        raise ConfigError(f"{where}: expected a function of a context, got {type(function).__name__}: pass one")
    return given if isinstance(given, Term) else Term(function)
