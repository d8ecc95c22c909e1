"""The public API is what docs/api.txt says, and each name can be had."""

import difflib
import importlib
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import fgs_jax
from fgs_jax import exports
from tools import api

FOLDERS = ["fgs_jax", *sorted(f"fgs_jax.{path.parent.name}" for path in (api.ROOT / "fgs_jax").glob("*/__init__.py"))]


def test_the_listing_is_that_of_the_code():
    changes = difflib.unified_diff(
        api.TABLE.read_text(encoding="utf-8").splitlines(),
        api.text().splitlines(),
        "docs/api.txt",
        "code",
        "",
        "",
        0,
        "",
    )
    said = "\n".join(changes)
    assert not said, f"the API has changed; if that is meant, run: python -m tools.api\n{said}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_name_is_there_and_no_module(folder):
    package = importlib.import_module(folder)
    names = exports.listed(inspect.getsource(package))
    assert names and set(names) <= set(dir(package))
    for name, module in names.items():
        value = getattr(package, name)
        assert value is getattr(importlib.import_module(module), name), name
        assert not isinstance(value, ModuleType), f"{name}: export it under another name than a module's"


def test_a_name_that_is_not_there_is_an_error_as_ever():
    with pytest.raises(AttributeError, match="module 'fgs_jax' has no attribute 'nonsense'"):
        fgs_jax.nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(fgs_jax, "_nonsense")
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec("from fgs_jax.hands import nonsense")


def test_modules_are_found_through_their_folder():
    program = "import fgs_jax; print(fgs_jax.hands.anatomy.FINGERS[0], fgs_jax.errors.FgsError.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=api.ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["thumb", "FgsError"]


def test_signatures_as_they_are_written():
    lines = list(api.described("fgs_jax", "Camera", "fgs_jax.types"))
    assert lines == ["fgs_jax.Camera(focal: Float[Array, '2'], principal: Float[Array, '2'])  # fgs_jax.types"]
    assert list(api.described("fgs_jax", "project", "fgs_jax.picture.camera")) == [
        "fgs_jax.project(camera: Camera, points: Float[Array, 'n 3']) -> Float[Array, 'n 2']  # fgs_jax.picture.camera"
    ]
    assert "fgs_jax.HandModel.shapedirs: Float[Array, 'v 3 b']  # fgs_jax.types" in list(
        api.described("fgs_jax", "HandModel", "fgs_jax.types")
    )
    assert list(api.described("fgs_jax", "SceneError", "fgs_jax.errors")) == [
        "fgs_jax.SceneError(FgsError)  # fgs_jax.errors"
    ]
    with pytest.raises(SystemExit, match="expected a definition of nonsense"):
        api.defined("fgs_jax.types", "nonsense")
