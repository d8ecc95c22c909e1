"""The programs that JAX compiles while a test does something."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import pytest


@contextmanager
def compilations(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The names of the programs that are compiled within, once it is over."""
    names = []
    caplog.clear()
    jax.config.update("jax_log_compiles", True)  # in all threads, which jax.log_compiles() is not
    try:
        yield names
    finally:
        jax.config.update("jax_log_compiles", False)
    texts = [record.getMessage() for record in caplog.records if record.name.startswith("jax")]
    names += [text.split()[1] for text in texts if text.startswith("Compiling ")]
