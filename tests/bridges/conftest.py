"""Settings for the tests of the bridges: no network, quiet libraries; modules are there or not as a test says."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`without(module, ...)`: modules that cannot be found or imported, whether they are installed or not."""

    def hide(*modules: str) -> None:
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)

    return hide


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """`found(module, ...)`: modules that can be found, whether they are installed or not; empty where they are not.

    For what asks whether a module is there and imports none of them.
    """

    def add(*modules: str) -> None:
        folder: Path = tmp_path_factory.mktemp("modules")
        for module in modules:
            (folder / f"{module}.py").write_text("")
        monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])  # after the real ones

    return add
