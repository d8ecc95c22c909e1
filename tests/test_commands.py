"""Commands of other packages: listed, run, what goes on with them, and a line where one cannot be imported."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from fgs_jax import commands
from fgs_jax.cli import main
from fgs_jax.commands import Command, added_command, added_commands
from fgs_jax.errors import BridgeUnavailable, SceneError


def stop(words) -> int:
    raise KeyboardInterrupt


def refuse(words) -> int:
    raise SceneError(f"{words[1]}: expected another one")


counting = Command("Counts its words.", len, go_on="more words")
stopping = Command("Is stopped.", stop, go_on="more words")
refusing = Command("Refuses its word.", refuse)


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`add(name=target)`: commands as an installed package would add them, and no others."""

    def add(**targets: str) -> None:
        points = [EntryPoint(name, target, commands.GROUP) for name, target in targets.items()]
        monkeypatch.setattr(commands, "entry_points", lambda group: points if group == commands.GROUP else [])
        commands._entry_points.cache_clear()

    yield add
    commands._entry_points.cache_clear()


def test_the_commands_of_this_package_are_light_and_their_own():
    names = {"scene", "generate", "dreambooth", "text-to-grasp", "doctor"}
    assert names <= set(added_commands())
    assert added_command("dreambooth").go_on == "--resume" and "pictures" in added_command("dreambooth").help


def test_a_command_gets_all_words_and_gives_the_status(add, capsys):
    add(count=f"{__name__}:counting", refuse=f"{__name__}:refusing")
    assert main(["count", "--one", "two"]) == 3
    assert main(["refuse", "it"]) == 2
    assert capsys.readouterr().err == "fgs: it: expected another one\n"


def test_a_command_that_is_stopped_says_what_goes_on(add, capsys):
    add(stop=f"{__name__}:stopping")
    assert main(["stop"]) == 130
    assert capsys.readouterr().err == "fgs: stopped; go on with more words\n"


def test_the_list_of_commands_has_them_and_those_that_cannot_be_imported(add, capsys):
    add(count=f"{__name__}:counting", broken="no_such_package:command")
    assert main(["--help"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "Counts its words." in listed and "Refine scenes" in listed and "broken" in listed
    with pytest.raises(BridgeUnavailable, match=r"fgs broken: cannot be imported \(No module named 'no_such_package'"):
        added_command("broken")
    add(broken=f"{__name__}:nothing")
    assert main(["broken"]) == 2
    assert capsys.readouterr().err.endswith("install what its package needs\n")
