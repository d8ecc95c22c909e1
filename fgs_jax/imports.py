"""What people name in their configurations as "module:attribute"."""

from functools import reduce
from importlib import import_module
from typing import Any

from fgs_jax.errors import ConfigError


def imported(name: str, where: str) -> Any:
    """The attribute of a module: "my_package.solvers:descent". `where`: what asks for it, for the message.

    Raises ConfigError for a text of another form, and for a module or an attribute that there is not.
    """
    module, separator, attribute = name.partition(":")
    if not (module and separator and attribute):
        raise ConfigError(f"{where}: expected module:attribute, got {name!r}: change it")
    try:
        return reduce(getattr, attribute.split("."), import_module(module))
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{where}: expected {name!r} to be importable, found no module {error.name}: install it, or add its folder "
            "to PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"{where}: expected {attribute} in the module {module}, got none: check {name!r}") from error
