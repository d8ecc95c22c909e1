"""The house and its rules: who may import whom, how long a file may be, and what is private."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import house

ROOT = Path(__file__).parents[1]
ORDER = [
    floor.split()
    for floor in """
    exports types errors notes shipped
    checks strict extensions
    files run_lock journal
    checked_values config config_bounds config_files
    rotations mirror
    solve
    picture.camera picture.masks
    hands
    objects
    picture
    energies
    results.result results.metrics results.measure results.rivals
    stages
    results
    testing
    commands command_ablate command_ends command_hand command_metrics command_refine command_refine_grasp cli __main__
    """.strip().splitlines()
]
"""The order of dependencies, the lowest floor first. What stands in one line may use one another, but in no circle."""
BRIDGES = "fgs_bridges"
OURS = {"fgs_jax": ROOT, BRIDGES: ROOT / "bridges"} | dict.fromkeys(("tools", "benchmarks", "examples", "tests"), ROOT)
"""Our packages, and the folder that each is imported from."""
NOT_TESTS = [package for package in OURS if package != "tests"]
MOST_LINES = 400
MOST_PARAMETERS = 8
"""Of a function; more make an object. A dataclass may have more fields, and a command more options."""
OF_MANY_PARAMETERS = {"fgs_jax": ["fit_hand has 9", "refine_grasps has 9"], "tests": ["terms has 10"]}
"""What is seen of one hand, by its names; a twin that takes its arrays one by one."""


def test_nothing_imports_what_stands_above_it():
    assert house.out_of_order(ROOT, "fgs_jax", ORDER) == []


@pytest.mark.parametrize("package", ["fgs_jax", BRIDGES])
def test_no_circle(package):
    assert house.circle(OURS[package], package) == []


def test_folders_export_names_of_their_own_and_load_them_when_used():
    assert house.exports_otherwise(ROOT, "fgs_jax") == []


@pytest.mark.parametrize("package", OURS)
def test_files_are_short(package):
    assert house.longer_than(OURS[package], package, MOST_LINES) == []


@pytest.mark.parametrize("package", OURS)
def test_functions_have_few_parameters(package):
    faults = house.of_many_parameters(OURS[package], package, MOST_PARAMETERS)
    assert [fault.split(": ")[1] for fault in faults] == [
        f"{name} parameters" for name in OF_MANY_PARAMETERS.get(package, [])
    ]


@pytest.mark.parametrize("package", NOT_TESTS)
def test_no_private_name_of_another_module(package):
    assert house.private_names(package, OURS) == []


@pytest.mark.parametrize(
    ("package", "banned"),
    [
        ("fgs_jax", ("tools", "benchmarks", "examples", "tests")),
        ("fgs_jax", (BRIDGES,)),
        (BRIDGES, ("tools", "benchmarks", "examples", "tests")),
        ("examples", ("benchmarks", "tests")),
        ("tools", ("benchmarks", "tests")),
        ("benchmarks", ("tests",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_package_imports_one_that_stands_on_it(package, banned):
    assert house.outside(OURS[package], package, banned) == []


def test_tests_stand_on_the_package_not_on_benchmarks():
    about_them = [f"tests.benchmarks{end}" for end in (".", ":")]
    faults = house.outside(ROOT, "tests", ("benchmarks",))
    assert [fault for fault in faults if not fault.startswith(tuple(about_them))] == []


def test_the_package_needs_nothing_that_only_developers_install():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = project["dependency-groups"], project["project"]["optional-dependencies"]
    needs = [need for name in ("test", "benchmarks", "lint", "mutation") for need in groups[name]]

    def names_of(lines):
        return {re.split(r"[<>=!\[; ]", line)[0].replace("-", "_") for line in lines if isinstance(line, str)}

    names = sorted(names_of(needs) - names_of(extras["solvers"]))
    assert {"pytest", "hypothesis", "beartype"} <= set(names)
    assert house.outside(ROOT, "fgs_jax", names) == []


def test_every_module_is_imported_from_scratch():
    """Each folder with nothing of the package loaded, its modules from the last to the first."""
    program = """
import importlib, sys
for folder in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fgs_jax"]:
        del sys.modules[name]
    for module in folder.split(","):
        importlib.import_module(module)
"""
    folders = dict[str, list[str]]()
    for name, source in house.sources(ROOT, "fgs_jax").items():
        if name != "fgs_jax.__main__":
            folders.setdefault(str(source.path.parent), []).insert(0, name)
    assert len(folders) >= 7
    words = [",".join(names) for names in folders.values()]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_errors_are_imported_without_jax():
    program = "import sys, fgs_jax.errors; print('jax' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "False"]


# --- the checks themselves, on small trees that break each rule once


@pytest.fixture
def planted(tmp_path):
    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / "p" / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in [path.parent, *path.parents]:
                if folder.is_relative_to(tmp_path / "p") and not (folder / "__init__.py").exists():
                    (folder / "__init__.py").write_text("")
            path.write_text(text)
        return tmp_path

    return write


SMALL_ORDER = [["a", "b"], ["f.low"], ["g"], ["f"]]


@pytest.mark.parametrize(
    "text",
    [
        "from p.g.x import y",
        "import p.g.x",
        "import p.g.x as z",
        "from p.g import x",
        "from .g import x",
        "def f():\n    from p.g.x import y",
    ],
)
def test_a_wrong_import_is_found_however_it_is_written(planted, text):
    root = planted(a=text, g__x="y = 1")
    assert house.out_of_order(root, "p", SMALL_ORDER) == [
        f"p.a:{text.count(chr(10)) + 1}: imports p.g.x, which stands above it"
    ]


def test_the_longest_name_in_the_order_counts(planted):
    root = planted(
        f__low="import p.a", g__x="from p.f.low import y", f__high="from p.g import x\nfrom p.f import low", a=""
    )
    assert house.out_of_order(root, "p", SMALL_ORDER) == []
    root = planted(f__low="from p.f import high")
    house.sources.cache_clear()
    assert house.out_of_order(root, "p", SMALL_ORDER) == ["p.f.low:1: imports p.f.high, which stands above it"]


def test_names_are_taken_from_modules_not_from_folders(planted):
    root = planted(g__x="from p.f import low_one", f__low="low_one = 1", h="")
    assert house.out_of_order(root, "p", SMALL_ORDER) == [
        "p.g.x:1: takes low_one from the folder p.f, not from a module",
        "p.h: has no place in the order",
    ]


def test_a_circle_is_found(planted):
    root = planted(a="from p.b import x", b="def f():\n    from p import c", c="import p.a")
    assert set(house.circle(root, "p")) == {"p.a", "p.b", "p.c"}


def test_no_circle_is_found_where_there_is_none(planted):
    root = planted(a="from p.b import x\nimport p.c", b="from p import c", c="import os")
    assert house.circle(root, "p") == []


def test_a_folder_that_imports_at_once_is_found(planted):
    text = """
from typing import TYPE_CHECKING
from p.exports import exports
from p.f.low import x
if TYPE_CHECKING:
    from p.f.low import x as x
    from p.f.low import low as low
    from p.a import y as y
"""
    root = planted(f__low="low, x = 1, 2", a="y = 1")
    (root / "p" / "f" / "__init__.py").write_text(text)
    assert house.exports_otherwise(root, "p") == [
        "p.f:4: imports p.f.low before it is used",
        "p.f:7: exports low, the name of a module",
        "p.f:8: exports y of p.a, which is not in this folder",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("from p.b import _x", "1: imports p.b._x"),
        ("from p.b import _x as x", "1: imports p.b._x"),
        ("from .b import _x", "1: imports p.b._x"),
        ("from p import b\nb._x()", "2: uses p.b._x"),
        ("import p.b\nprint(p.b._x)", "2: uses p.b._x"),
        ("import p.b as c\ndef f():\n    return c._x", "3: uses p.b._x"),
    ],
)
def test_a_private_name_of_another_module_is_found(planted, text, fault):
    root = planted(a=text, b="_x = 1")
    assert house.private_names("p", {"p": root}) == [f"p.a:{fault}"]


def test_private_names_of_one_s_own_and_of_others_are_none_of_ours(planted):
    text = "import os\nfrom p import b\n_y = b.x\n_y._replace\nos._exit\nb.__name__\nfrom p import __version__"
    assert house.private_names("p", {"p": planted(a=text, b="x = 1")}) == []


def test_packages_that_are_not_to_be_imported_are_found(planted):
    root = planted(a="import q.r\ndef f():\n    from q import s\nimport qq\nfrom . import b", b="")
    assert house.outside(root, "p", ["q"]) == ["p.a:1: imports q.r", "p.a:3: imports q"]


def test_long_files_are_found(planted):
    assert house.longer_than(planted(a="x\n" * 5, b="x\n" * 4), "p", 4) == ["p/a.py: 5 lines"]


def test_functions_of_many_parameters_are_found_and_commands_are_none(planted):
    text = """
def f(self, a, b, /, c, *rest, d=1, **more): pass
def g(a, b, c): pass
@app.command(name="x")
def h(a, b, c, d): pass
def main(a, b, c, d): pass
tyro.cli(main)
"""
    assert house.of_many_parameters(planted(a=text), "p", 3) == ["p.a:2: f has 4 parameters"]
