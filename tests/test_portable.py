"""Nothing in the package takes one system, one encoding or one place of installation for granted."""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from fgs_bridges.commands import installation_advice
from fgs_jax import shipped
from fgs_jax.shipped import shipped as named
from fgs_jax.shipped import shipped_path

ROOT = Path(__file__).parents[1]
PACKAGES = [str(ROOT), str(ROOT / "bridges")]
FILES = sorted([*(ROOT / "fgs_jax").glob("**/*.py"), *(ROOT / "bridges").glob("**/*.py")])
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
"""Modules that Windows' Python comes without."""
PLACES = r"\b(?:configs|docs|examples|tools|benchmarks|tests)/[\w./-]*\w"
"""Names of the repository's files."""


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path: Path) -> set[str]:
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_module_imports_what_posix_alone_has(path):
    assert imported(path) & POSIX == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_text_files_are_utf_8_on_every_system(path):
    """Else they are written and read as the system likes."""
    for node in nodes(path):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        mode = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else "r"
        library = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in (
            *("Image", "PIL.Image", "Pictures", "os", "webbrowser"),
        )
        text = name in ("read_text", "write_text") or (name == "open" and "b" not in str(mode) and not library)
        if text:
            assert "encoding" in {word.arg for word in node.keywords}, f"{path.name}, line {node.lineno}"


def test_every_file_that_a_message_names_is_there():
    """By its name in the repository, of which a wheel holds what pyproject.toml lists."""
    held = re.findall(r'^"([^"]+)" = "fgs_jax/assets/\1"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert len(held) >= 5
    mentioned = set()
    for path in FILES:
        docstrings = {
            ast.get_docstring(node, clean=False)
            for node in nodes(path)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and not path.name.startswith("command_")
        }
        for node in nodes(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docstrings:
                mentioned |= set(re.findall(PLACES, node.value))
    mentioned -= {"configs/image_cond_diffuser_asl/image-ASLDM-256.yaml"}  # of Michelangelo's checkout
    assert {"docs/bridges/hands.md", "configs/generate", "examples/scenes/tumbler"} <= mentioned
    for name in mentioned:
        assert (ROOT / name).exists(), name
        assert any(name == one or name.startswith(f"{one}/") for one in held), f"{name}: a wheel lacks it"


def test_what_ships_is_named_by_its_whole_path_where_the_package_is_installed(tmp_path, monkeypatch):
    assert named("configs/fast.yaml") == "configs/fast.yaml"
    assert shipped_path("configs/fast.yaml") == ROOT / "configs" / "fast.yaml"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "fast.yaml").write_text("")
    monkeypatch.setattr(shipped, "_INSTALLED", tmp_path)
    assert named("configs/fast.yaml") == str(tmp_path / "configs" / "fast.yaml")
    assert shipped_path("configs/fast.yaml") == tmp_path / "configs" / "fast.yaml"


@pytest.mark.parametrize("module", ["fcntl", "_lzma", "sqlite3", "ctypes.wintypes"])
def test_what_python_itself_lacks_is_not_to_be_installed_with_pip(module):
    line = installation_advice(module)
    assert line.startswith(f"needs {module} of Python's standard library, which this Python, on ")
    assert "pip" not in line
    assert installation_advice("torch") == 'needs torch, not installed here: pip install "fgs-jax[bridges]"'


def test_the_commands_start_where_posix_modules_and_calls_are_missing():
    program = f"""
import os, signal, sys
import jax, optax, trimesh, tyro  # others' packages may take what they find here
sys.modules |= dict.fromkeys({sorted(POSIX)!r})
for name in ("fork", "getuid", "geteuid", "killpg", "mkfifo", "sched_getaffinity", "setsid"):
    delattr(os, name) if hasattr(os, name) else None
del signal.SIGHUP
from fgs_jax.cli import main
import fgs_bridges.cli, fgs_bridges.text_to_grasp, fgs_bridges.dreambooth
sys.exit(main(["hand", "info"]) or main(["doctor"]) or main(["text-to-grasp", "--help"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "open_hand" in done.stdout and "python 3." in done.stdout and "--prompts" in done.stdout


def test_a_terminal_of_few_letters_ends_no_command(tmp_path):
    shutil.copytree(ROOT / "examples" / "scenes" / "tumbler", tmp_path / "größe ×")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    environment["PYTHONPATH"] = os.pathsep.join([*PACKAGES, os.environ.get("PYTHONPATH", "")])
    program = "import sys; from fgs_jax.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, "scene", "check", "größe ×"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"gr??e ?: is a scene that fgs refine takes" in done.stdout
