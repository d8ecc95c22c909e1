"""Hands from any tool, by a command."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from fgs_bridges.hand_command import HandCommand
from fgs_bridges.types import Detection
from fgs_jax.errors import ConfigError
from tests.bridges.hands.recorded_hands import HAMER, PICTURE, fails


def test_any_tool_by_command(tmp_path: Path) -> None:
    """A program that checks what it is given and writes HaMeR's output."""
    program = tmp_path / "my tool.py"
    program.write_text(
        "import json, shutil, sys\n"
        "from pathlib import Path\n"
        "picture, boxes, out = map(Path, sys.argv[1:4])\n"
        "assert [p.name for p in picture.parent.iterdir()] == ['image.png']\n"
        "assert [b['side'] for b in json.loads(boxes.read_text())] == ['right', 'left']\n"
        f"shutil.copy({str(HAMER)!r}, out / 'hands.npz')\n"
    )
    hands = tuple(Detection(np.array([0.0, 0, 9, 9]), side=side) for side in ("right", "left"))
    tool = HandCommand([sys.executable, str(program), "{image}", "{boxes}", "{out}"], outputs=["*.npz"])
    assert [one.side for one in tool(PICTURE, hands)] == ["right", "left"]
    assert tool.provenance().backend == "command" and "my tool.py" in tool.provenance().model
    as_text = f"{sys.executable} {shlex.quote(str(program))} {{image}} {{boxes}} {{out}}"
    assert len(HandCommand(as_text, outputs=["*.npz"])(PICTURE, hands)) == 2
    fails("expected it to end with status 0, got status 1.*AssertionError", tool, PICTURE, hands[:1])


def test_tools_that_fail(tmp_path: Path) -> None:
    python = sys.executable
    write = "import sys; open(sys.argv[1] + '/hand.json', 'w').write('[]')"
    cases = {
        "expected it to write hand.npz": HandCommand([python, "-c", "pass"], outputs=["hand.npz"]),
        "expected an end within 0.5 s": HandCommand([python, "-c", "import time; time.sleep(60)"], timeout=0.5),
        "expected a hand, got none": HandCommand([python, "-c", write, "{out}"], outputs=["*.json"]),
        "cannot be started": HandCommand([str(tmp_path / "none")]),
    }
    for words, tool in cases.items():
        fails(words, tool, PICTURE)
    with pytest.raises(ConfigError, match="expected the option argv"):
        HandCommand()
