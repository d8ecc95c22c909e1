"""The commands that this package adds to `fgs`. `fgs --help` imports no more of it."""

import platform
import sys
from collections.abc import Sequence

from fgs_jax.commands import Command
from fgs_jax.errors import BridgeUnavailable


def _run(words: Sequence[str]) -> int:
    try:
        from fgs_bridges.cli import main
    except ModuleNotFoundError as error:
        raise BridgeUnavailable(f"fgs {words[0]}: {installation_advice(str(error.name))}") from error
    return main(words)


def installation_advice(module: str) -> str:
    """What to do about a module that there is not: no package brings one of Python's own."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return (
            f"needs {module} of Python's standard library, which this Python, on {platform.system()}, comes without: "
            "take a whole Python on Linux"
        )
    return f'needs {module}, not installed here: pip install "fgs-jax[bridges]"'


scene = Command("Scenes: from a photo, checked, shown.", _run)
generate = Command("Pictures from a text.", _run)
dreambooth = Command("Tune a text-to-image model on pairs of pictures and functional texts.", _run, go_on="--resume")
text_to_grasp = Command("From texts to refined grasps.", _run, go_on="the same command")
doctor = Command("What is installed, what is missing, and the line that installs it.", _run)
