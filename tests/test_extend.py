"""Every snippet of docs/extend.md runs as it stands, those of a section after one another."""

import re
from pathlib import Path

import pytest

import fgs_jax
from tests.small_scene import SMALL

TEXT = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")
SECTIONS = {
    section.partition("\n")[0]: re.findall(r"```python\n(.*?)```", section, re.S) for section in TEXT.split("\n## ")[1:]
}


@pytest.mark.long
@pytest.mark.parametrize("section", [name for name, snippets in SECTIONS.items() if snippets])
def test_the_snippets_of_a_section_run(section, capsys, monkeypatch):
    monkeypatch.setattr(fgs_jax, "FAST", SMALL)  # fewer starts and steps
    names = {"__name__": "snippet"}
    for number, snippet in enumerate(SECTIONS[section]):
        exec(compile(snippet, f"docs/extend.md, {section}, snippet {number}", "exec"), names)
    assert "nan" not in capsys.readouterr().out


def test_every_section_that_brings_something_has_a_snippet():
    assert {"An energy", "A hand", "An object", "A solver", "A stage"} <= {k for k, code in SECTIONS.items() if code}
