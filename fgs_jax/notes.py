"""Warnings that a command or a result passes on, heard by whoever asks for them and by no other thread.

`warnings.catch_warnings` changes what all threads do with all warnings, and would swallow those of other packages.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[Warning], None] | None] = ContextVar("listener", default=None)


def warn(warning: Warning, stacklevel: int = 2) -> None:
    """Tells who listens in this thread, or else warns as Python does. `stacklevel`: as `warnings.warn` takes it."""
    listener = _listener.get()
    if listener is None:
        warnings.warn(warning, stacklevel=stacklevel + 1)
    else:
        listener(warning)


@contextmanager
def heard(listener: Callable[[Warning], None]) -> Iterator[None]:
    """Within the block, `listener` gets what `warn` is given, in place of Python's warnings."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
