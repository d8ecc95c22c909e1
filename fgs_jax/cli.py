"""The command line: `fgs`."""

import io
import platform
import sys
import warnings
from functools import partial
from pathlib import Path

import tyro

from fgs_jax.command_ablate import ablate_scene
from fgs_jax.command_ends import run_command
from fgs_jax.command_hand import hand_convert, hand_info
from fgs_jax.command_metrics import grasp_metrics
from fgs_jax.command_refine import Refine, refine_scenes, take_config
from fgs_jax.errors import BridgeUnavailable, FgsError
from fgs_jax.notes import heard
from fgs_jax.solve.ahead import start_up

app = tyro.extras.SubcommandApp()
hand = tyro.extras.SubcommandApp()
app.command(hand, name="hand", help="Hand model files.")
hand.command(name="info")(hand_info)
hand.command(name="convert")(hand_convert)

ELSEWHERE = {
    "refine": "Refine scenes: find the object's pose and a grasp, and write meshes, numbers and a report.",
    "scene": "Scenes: from a photo, checked, shown.",
    "generate": "Pictures from a text.",
    "dreambooth": "Tune a text-to-image model on pairs of pictures and functional texts.",
    "text-to-grasp": "From texts to refined grasps.",
    "doctor": "What is installed, what is missing, and the line that installs it.",
}
"""Commands that `main` hands on: `refine`, whose options are the configuration's, and those of the bridges."""
GO_ON = {"refine": "--resume", "dreambooth": "--resume", "text-to-grasp": "the same command"}
"""What goes on with a command that was stopped."""


def _listed(name: str, meaning: str) -> None:
    """Puts a command into the list of commands, for `fgs --help`."""

    def command() -> None:
        raise AssertionError(f"{name}: `main` hands it on before it comes here")

    command.__doc__ = meaning
    app.command(name=name)(command)


for _name, _meaning in ELSEWHERE.items():
    _listed(_name, _meaning)
app.command(name="ablate")(ablate_scene)
app.command(name="metrics")(grasp_metrics)


def _bridges(words: list[str]) -> int:
    """Hands a command over to the bridges, which may not be installed."""
    try:
        from bridges.cli import main as bridges_main  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BridgeUnavailable(f"fgs {words[0]}: {_lacks(str(error.name))}") from error
    return bridges_main(words)


def _lacks(module: str) -> str:
    """What to do about a module that there is not: no package brings one of Python's own."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return (
            f"needs {module} of Python's standard library, which this Python, on {platform.system()}, comes without: "
            "take a whole Python on Linux"
        )
    return f'needs {module}, not installed here: pip install "fgs-jax[bridges]"'


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit status: 0, or 2 for what the user can mend, said in one line, or 130 when stopped.

    Without `argv` it is the process's own command, which Ctrl-C and SIGTERM end.
    """
    words = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of few letters shows others as ? instead of ending us
        sys.stdout.reconfigure(errors="replace")
    if argv is None:  # for all threads, and for good
        warnings.showwarning = lambda message, *_: print(f"fgs: {message}", file=sys.stderr)
    return run_command(partial(_command, words), own=argv is None, go_on=GO_ON.get(words[0], "") if words else "")


def _command(words: list[str]) -> int:
    with heard(lambda warning: print(f"fgs: {warning}", file=sys.stderr)):
        try:
            if words[:1] == ["refine"]:
                base, rest = take_config(words[1:])
                default = Refine((), base, Path("out"))
                start_up()
                return refine_scenes(
                    tyro.cli(Refine, prog="fgs refine [--config NAME|FILE]", args=rest, default=default)
                )
            if words and words[0] in ELSEWHERE:
                return _bridges(words)
            app.cli(prog="fgs", description="Hand-object grasp refinement.", args=words)
        except FgsError as error:
            print(f"fgs: {error}", file=sys.stderr)
            return 2
        except SystemExit as stop:  # tyro, after --help or a word that it does not know
            return stop.code if isinstance(stop.code, int) else 2
    return 0
