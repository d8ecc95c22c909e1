"""The command line: `fgs`."""

import io
import sys
import warnings
from contextlib import suppress
from functools import partial
from pathlib import Path

import tyro

from fgs_jax.command_ablate import ablate_scene
from fgs_jax.command_ends import run_command
from fgs_jax.command_hand import hand_convert, hand_info
from fgs_jax.command_metrics import compare_meshes
from fgs_jax.command_refine import OPTIONS, Refine, refine_scenes, take_config
from fgs_jax.command_refine_grasp import RefineGrasp, read_words, refine_given
from fgs_jax.commands import added_command, added_commands
from fgs_jax.errors import FgsError
from fgs_jax.notes import heard
from fgs_jax.solve.ahead import start_up

app = tyro.extras.SubcommandApp()
hand = tyro.extras.SubcommandApp()
app.command(hand, name="hand", help="Hand model files.")
hand.command(name="info")(hand_info)
hand.command(name="convert")(hand_convert)

app.command(name="ablate")(ablate_scene)
app.command(name="metrics")(compare_meshes)


def _go_on(words: list[str]) -> str:
    """What goes on with a command that was stopped."""
    if words[:1] == ["refine"]:
        return "--resume"
    with suppress(FgsError):
        return added_command(words[0]).go_on if words and words[0] in added_commands() else ""
    return ""


def _list_commands() -> None:
    """Puts the commands that `_command` hands on into the list of `fgs --help`."""

    def handed_on() -> None:
        raise AssertionError("`_command` hands this command on before it comes here")

    app.command(name="refine", help=Refine.__doc__)(handed_on)
    app.command(name="refine-grasp", help=RefineGrasp.__doc__)(handed_on)
    for name in added_commands():
        try:
            meaning = added_command(name).help
        except FgsError as error:
            meaning = str(error)
        app.command(name=name, help=meaning)(handed_on)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit status: 0, or 2 for what the user can mend, said in one line, or 130 when stopped.

    Without `argv` it is the process's own command, which Ctrl-C and SIGTERM end.
    """
    words = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of few letters shows others as ? instead of ending us
        sys.stdout.reconfigure(errors="replace")
    if argv is None:  # for all threads, and for good
        warnings.showwarning = lambda message, *_: print(f"fgs: {message}", file=sys.stderr)
    return run_command(partial(_command, words), own=argv is None, go_on=_go_on(words))


def _command(words: list[str]) -> int:
    with heard(lambda warning: print(f"fgs: {warning}", file=sys.stderr)):
        try:
            if words[:1] == ["refine"]:
                base, rest = take_config(words[1:])
                default = Refine((), base, Path("out"))
                start_up()
                return refine_scenes(
                    tyro.cli(
                        Refine, prog="fgs refine [--config NAME|FILE]", args=rest, default=default, registry=OPTIONS
                    )
                )
            if words[:1] == ["refine-grasp"]:
                start_up()
                return refine_given(read_words(words[1:]))
            if words and words[0] in added_commands():
                return added_command(words[0]).run(words)
            _list_commands()
            app.cli(prog="fgs", description="Hand-object grasp refinement.", args=words)
        except FgsError as error:
            print(f"fgs: {error}", file=sys.stderr)
            return 2
        except SystemExit as stop:  # tyro, after --help or a word that it does not know
            return stop.code if isinstance(stop.code, int) else 2
    return 0
