"""Commands that packages add to `fgs`, by entry points of the group `fgs_jax.commands`, each with the command's name:

[project.entry-points."fgs_jax.commands"]
scene = "fgs_bridges.commands:scene"
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from fgs_jax.errors import BridgeUnavailable

GROUP = "fgs_jax.commands"


@dataclass(frozen=True)
class Command:
    """A command of a package, which is imported for the list of commands, too: what is heavy belongs into `run`."""

    help: str
    """What the list of commands says of it."""
    run: Callable[[Sequence[str]], int]
    """Takes all words of the command line, the command's name first; gives the exit status."""
    go_on: str = ""
    """What goes on with it after it was stopped, such as "--resume"."""


def added_commands() -> list[str]:
    """The names of the commands that packages have added."""
    return list(_entry_points())


def added_command(name: str) -> Command:
    """A command by its name. Raises BridgeUnavailable where what it needs is not installed."""
    try:
        return _entry_points()[name].load()
    except (ImportError, AttributeError) as error:
        raise BridgeUnavailable(f"fgs {name}: cannot be imported ({error}): install what its package needs") from error


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
