"""Warnings that are passed on: to who listens in this thread, or as Python's own."""

import threading
import warnings
from pathlib import Path

import pytest

import fgs_jax
from fgs_jax.errors import HandFileWarning, HandShapeWarning
from fgs_jax.notes import heard, warn


def test_who_listens_hears_and_no_one_else():
    outer: list[str] = []
    inner: list[str] = []
    with heard(lambda warning: outer.append(f"{type(warning).__name__}: {warning}")):
        warn(HandFileWarning("one"))
        with heard(lambda warning: inner.append(str(warning))):
            warn(HandShapeWarning("two"))
        warn(HandShapeWarning("three"))
    assert outer == ["HandFileWarning: one", "HandShapeWarning: three"] and inner == ["two"]
    with pytest.warns(HandFileWarning, match="four"):
        warn(HandFileWarning("four"))


def test_another_thread_is_not_heard():
    said: list[str] = []
    with pytest.warns(HandFileWarning, match="elsewhere"), heard(lambda warning: said.append(str(warning))):
        thread = threading.Thread(target=lambda: warn(HandFileWarning("elsewhere")))
        thread.start()
        thread.join()
    assert said == []


def test_a_listener_that_fails_is_left_all_the_same():
    def failing(_: Warning) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), heard(failing):
        warn(HandFileWarning("one"))
    with warnings.catch_warnings(), pytest.raises(HandFileWarning):
        warnings.simplefilter("error")
        warn(HandFileWarning("two"))


def test_no_warning_of_this_package_goes_another_way():
    """Else a result would not have it among its notes."""
    folder = Path(fgs_jax.__file__).parent
    assert [path.name for path in folder.rglob("*.py") if "warnings.warn(" in path.read_text()] == ["notes.py"]
