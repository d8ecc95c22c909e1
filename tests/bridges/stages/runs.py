"""Runs of the shipped tumbler from a text to a scene."""

from dataclasses import replace
from pathlib import Path

from fgs_bridges.config import Choice
from fgs_bridges.run_folder import STAGES, Run
from fgs_bridges.text_to_grasp import text_to_grasp

TUMBLER = Path(__file__).parents[3] / "examples" / "scenes" / "tumbler"
UNTIL_SCENE = STAGES[:-1]


def a_run(folder: Path, config, text: str = "a hand drinks from a travel tumbler") -> Run:
    return Run(folder, text, "travel tumbler", None, config)


def make(*runs: Run, until: str = "scene", in_process: bool = True) -> tuple[dict[Path, str], list[str]]:
    told: list[str] = []
    return text_to_grasp(runs, until=until, in_process=in_process, tell=told.append), told


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def with_options(config, kind: str, **options):
    choice = config.backends[kind]
    return replace(config, **{kind: Choice(choice.backend, choice.options | options)})
