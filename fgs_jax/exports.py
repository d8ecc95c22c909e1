"""Public names of a folder: listed once, in its `__init__`, and each loaded when it is first used.

A folder's `__init__` runs before any module of it. Were it to load them all, folders whose files stand between one
another's in the order of dependencies would be a circle: a hand needs the camera of `picture`, its scene needs a hand.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose `__init__` lists its names for type checkers, as `X as X`.

        if TYPE_CHECKING:
            from fgs_jax.picture.camera import project as project
        else:
            __getattr__, __dir__ = lazy_exports(__name__)

    Its modules are found by their names too, with no import of their own.
    """
    module = sys.modules[package]

    @cache
    def places() -> dict[str, str]:
        return listed(inspect.getsource(module))

    def found(name: str) -> Any:
        if not name.startswith("_"):
            if name in places():
                value = getattr(importlib.import_module(places()[name]), name)
                setattr(module, name, value)
                return value
            if find_spec(f"{package}.{name}"):
                return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(module), *places()})

    return found, names


def listed(source: str) -> dict[str, str]:
    """The names that the text of an `__init__` exports, each with the module that it comes from."""
    imports = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names if alias.name == alias.asname}
