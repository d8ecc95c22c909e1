"""Errors that reach people."""

import pickle

import pytest

from fgs_jax.errors import BridgeError, FgsError, SceneError


@pytest.mark.parametrize("what", ["\n", "\r\n", "\0", "\x1b[2J", "\x85", "\u2028", "\u202e", "\ud800", "\t"])
def test_what_a_file_holds_does_not_break_the_line(what: str):
    line = str(SceneError(f"a.json: expected a key, came {what!s}x"))
    assert line.startswith("a.json: expected a key, came ") and line.endswith("x")
    assert line.isprintable() and line.encode()


def test_a_long_line_keeps_its_beginning_and_its_advice():
    line = str(BridgeError(f"hand.json: expected a name, got {'y' * 10**6}: rename it"))
    assert len(line) < 2000
    assert line.startswith("hand.json: expected a name, got yyy") and line.endswith("yyy: rename it")


def test_other_lines_are_as_they_were_written():
    for line in ("", "Schüssel/mug.obj: 3 × 4 — größer", "expected \"a\"; give 'b'"):
        assert str(FgsError(line)) == line
    assert str(pickle.loads(pickle.dumps(SceneError("a\nb")))) == "a b"
