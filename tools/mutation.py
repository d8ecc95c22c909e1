"""Which small changes of a module its tests do not notice.

    .venv/bin/python -m pip install --group mutation
    .venv/bin/python -m tools.mutation                      # all modules: hours
    .venv/bin/python -m tools.mutation scale camera --seed 15

For each module some mutants are drawn, each at a place of its own, and the module's tests run against each in a copy of
the repository. What is known is kept in out/mutation, so that a campaign goes on where it was stopped; mutants that
survived are tried again when the tests have changed. Survivors are printed with their diffs, and the table of all
modules is written to benchmarks/mutation.md. Survivors that change nothing that can be seen are listed, with the
reason, in tools/mutation_equal.yaml; they do not count.
"""

import ast
import difflib
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import beartype  # noqa: F401  (what tests import, once for all)
import jax.numpy  # noqa: F401
import optax  # noqa: F401
import pytest
import scipy.optimize  # noqa: F401
import trimesh  # noqa: F401
import tyro
import yaml
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "out" / "mutation"
TABLE = ROOT / "benchmarks" / "mutation.md"
EQUAL = ROOT / "tools" / "mutation_equal.yaml"
SLOW = (
    "second_scene or many_scenes or batch_goes_on or rounded_up or few_programs or has_grown or hamers or cannot_touch"
)
"""Tests that refine scenes which no other test needs."""
FILES = {
    "scale": "stages/scale.py",
    "distance": "objects/distance.py",
    "opa": "stages/opa.py",
    "contact": "stages/contact.py",
    "refine": "stages/refine.py",
    "restarts": "solve/restarts.py",
    "camera": "picture/camera.py",
    "hand_fit": "hands/fit.py",
    "metrics": "results/metrics.py",
}
"""Where the modules are, in the package."""
CHECKS = "tests/test_checks.py"
"""Tests of the checks of arguments of several modules."""
TESTS: dict[str, tuple[str, ...]] = {
    "scale": ("tests/stages/test_scale.py", CHECKS),
    "distance": ("tests/objects/test_distance.py", CHECKS),
    "opa": ("tests/stages/test_opa.py", CHECKS),
    "contact": ("tests/stages/test_contact.py", CHECKS),
    "refine": ("tests/stages/test_refine.py", "-k", f"not ({SLOW})"),
    "restarts": ("tests/solve/test_restarts.py", CHECKS),
    "camera": ("tests/picture/test_camera.py", CHECKS),
    "hand_fit": ("tests/hands/test_fit.py",),
    "metrics": ("tests/results/test_metrics.py",),
}
"""What to give to pytest for each module: its own tests, the most direct ones first."""
LIMIT = 180
"""Seconds of processor time for the tests of one mutant. Those that take longer are noticed, since without it they end
well before."""

Place = tuple[int, int]
"""Line and column."""


class Mutation(NamedTuple):
    """What Cosmic Ray needs to change a text."""

    name: str
    operator: Operator
    occurrence: int
    place: Place


class Mutant(NamedTuple):
    key: str
    """Of the change and the definition that it is in, whatever else is in the module."""
    text: str
    """Of the whole module."""
    diff: str
    """The definition, and the lines that differ, each with - or + before it."""


def main(modules: tuple[str, ...] = tuple(TESTS), /, *, seed: int = 15, mutants: int = 20) -> None:
    """Runs the campaign.

    Args:
        modules: Those of `FILES` to change.
        seed: Which mutants are drawn.
        mutants: How many for each module.
    """
    if unknown := sorted(set(modules) - set(TESTS)):
        raise SystemExit(f"modules: expected names among {', '.join(TESTS)}, got {', '.join(unknown)}")
    warnings.filterwarnings("ignore", message=r"os\.fork\(\)")  # of JAX, which has no threads yet
    known = WORK / "results.json"
    results: dict[str, dict] = json.loads(known.read_text()) if known.exists() else {}
    tree = copied_tree()
    for module in modules:
        path = tree / "fgs_jax" / FILES[module]
        text, tests = path.read_text(encoding="utf-8"), TESTS[module]
        drawn = draw(module, text, seed, mutants)
        of_tests = digest(*tests, *((tree / name).read_text("utf-8") for name in tests if (tree / name).is_file()))
        todo = [
            mutant
            for mutant in drawn
            if (was := results.get(mutant.key)) is None or (was["outcome"] == "survived" and was["tests"] != of_tests)
        ]
        if todo:
            outcome, seconds = run_tests(tree, module)
            print(f"{module}: {len(todo)} mutants; without one its tests: {outcome}, {seconds:.0f} s", flush=True)
            if outcome != "survived":
                raise SystemExit(f"{module}: expected tests that pass without a mutant, see {WORK / 'output.txt'}")
        for mutant in todo:
            write(path, mutant.text)
            outcome, seconds = run_tests(tree, module)
            write(path, text)
            results[mutant.key] = {"outcome": outcome, "tests": of_tests, "seconds": round(seconds)}
            known.write_text(json.dumps(results, indent=1))
            print(f"{module}: {outcome}, {seconds:.0f} s\n{mutant.diff}", flush=True)
        TABLE.write_text(report(results, seed, mutants), encoding="utf-8")
    print(TABLE.read_text(encoding="utf-8"))


def draw(module: str, text: str, seed: int, count: int) -> list[Mutant]:
    """`count` mutants of a module, each at another place as long as there are places.

    They are ordered by a hash of the seed and their line, so that a change elsewhere in the module leaves most of the
    draw as it was.
    """
    lines = text.split("\n")

    def order(place: Place, *of_mutation: object) -> str:
        line = lines[place[0] - 1]
        same_before = lines[: place[0] - 1].count(line)
        return digest(*map(str, (seed, module, line, same_before, place[1], *of_mutation)))

    at: dict[Place, list[Mutation]] = {}
    for mutation in mutations(text):
        at.setdefault(mutation.place, []).append(mutation)
    turns = [
        (turn, order(place), mutation)
        for place, several in at.items()
        for turn, mutation in enumerate(sorted(several, key=lambda x: order(x.place, x.name, at[x.place].index(x))))
    ]
    found: list[Mutant] = []
    for _, _, (name, operator, occurrence, place) in sorted(turns, key=lambda x: x[:2]):
        mutated = mutate_code(text, operator, occurrence)
        try:
            ast.parse(mutated)
        except SyntaxError:  # the star before keywords, taken for an operator
            continue
        diff = list(difflib.unified_diff(lines, mutated.split("\n"), n=0, lineterm=""))[2:]
        around, body = definition(text, place[0])
        key = digest(module, name, str(place[1]), *diff[1:], around, body)
        changed = [line for line in diff if not line.startswith("@@") and line != "-"]
        found.append(Mutant(key, mutated, "\n".join([f"in {around}:", *changed])))
        if len(found) == count:
            break
    return found


def definition(text: str, line: int) -> tuple[str, str]:
    """Name and text, without decorators, of what stands at the top of the module and holds the line."""
    for node in ast.parse(text).body:
        above = [decorator.lineno for decorator in getattr(node, "decorator_list", [])]
        if min([node.lineno, *above]) <= line <= (node.end_lineno or node.lineno):
            return getattr(node, "name", "the module"), ast.get_source_segment(text, node) or ""
    return "the module", ""


def mutations(text: str) -> Iterator[Mutation]:
    """All that can change what the code does."""
    tree, passive = get_ast(text), passive_ranges(text)
    provider = OperatorProvider()
    for name in provider:
        if not is_sensible(name):
            continue
        operator = provider[name]()
        positions = (place for node in ast_nodes(tree) for place, _ in operator.mutation_positions(node))
        for occurrence, place in enumerate(positions):
            if not any(start <= place < end for start, end in passive):
                yield Mutation(name, operator, occurrence, place)


def is_sensible(name: str) -> bool:
    """Leaves out what fails at once, as bits of floats do, and would only flatter the tests."""
    if name in ("VariableReplacer", "VariableInserter"):
        return False
    kinds = {"Add": 0, "Sub": 0, "Mul": 0, "Div": 0, "FloorDiv": 0, "Mod": 0, "Pow": 0, "RShift": 1, "LShift": 1}
    kinds |= {"BitOr": 2, "BitAnd": 2, "BitXor": 2, "Eq": 3, "NotEq": 3, "Lt": 3, "LtE": 3, "Gt": 3, "GtE": 3}
    kinds |= {"Is": 4, "IsNot": 4}
    if swap := re.fullmatch("Replace(?:Binary|Comparison)Operator_(.*)_(.*)", name):
        return kinds[swap[1]] == kinds[swap[2]]
    return not name.startswith("ReplaceUnaryOperator") or "_Delete_" in name


def passive_ranges(text: str) -> list[tuple[Place, Place]]:
    """From where to where the module has annotations, unions of types and formatted messages."""
    passive: list[ast.AST | None] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.arg | ast.AnnAssign):
            passive.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            passive.append(node.returns)
        elif isinstance(node, ast.JoinedStr) or (isinstance(node, ast.BinOp) and names_types(node)):
            passive.append(node)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))  # pyright: ignore
        for node in passive
        if node is not None
    ]


def names_types(union: ast.BinOp) -> bool:
    """Whether it is one such as `Array | None`."""
    return isinstance(union.op, ast.BitOr) and any(
        isinstance(side, ast.Subscript | ast.Constant)
        or (isinstance(side, ast.Name) and side.id[0].isupper() and not side.id.isupper())
        for side in (union.left, union.right)
    )


def copied_tree() -> Path:
    """The repository as it is, without what git ignores; its compiled programs are kept from run to run."""
    tree = WORK / "repository" / "fgs_jax"
    shutil.rmtree(tree, ignore_errors=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    (WORK / "cache").mkdir(exist_ok=True)
    (tree / ".cache").symlink_to(WORK / "cache")
    return tree


def write(path: Path, text: str) -> None:
    """A module anew, and without its byte code, which stands for any text of its size and second."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
    path.write_text(text, encoding="utf-8")


class QuickestFirst:
    """A plugin of pytest: tests in the order of the seconds that they took when it last saw all of them."""

    def __init__(self, known: Path) -> None:
        self.known, self.seconds = known, json.loads(known.read_text()) if known.exists() else {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))
        self.seconds = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == 0:
            self.known.write_text(json.dumps(self.seconds))


def run_tests(tree: Path, module: str) -> tuple[str, float]:
    """killed, timeout or survived, and the seconds that it took."""
    clock = time.perf_counter()
    process = multiprocessing.get_context("fork").Process(target=_run_pytest, args=(tree, module))
    process.start()
    process.join(20 * LIMIT)  # for one that waits for ever
    process.kill()
    process.join()
    if process.exitcode in (3, 4, 5):  # pytest's own errors
        raise SystemExit(f"pytest: expected tests that run, got {process.exitcode}: see {WORK / 'output.txt'}")
    slow = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
    outcome = "timeout" if slow else "killed" if process.exitcode else "survived"
    return outcome, time.perf_counter() - clock


def _run_pytest(tree: Path, module: str) -> None:
    """In a process of its own, which has what takes long to import, and nothing of the package."""
    os.chdir(tree)
    sys.path[:1] = [str(tree), str(tree / "bridges")]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    output = os.open(WORK / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    order = QuickestFirst(WORK / f"seconds_{module}.json")
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore:Module already imported"]
    os._exit(pytest.main([*options, *TESTS[module]], plugins=[order]))


def report(results: dict[str, dict], seed: int, count: int) -> str:
    """The table of all modules that are known, and every survivor with its diff."""
    reasons: dict[str, list[dict[str, str]]] = yaml.safe_load(EQUAL.read_text(encoding="utf-8")) or {}
    rows, survivors = [], []
    for module in TESTS:
        drawn = draw(module, (ROOT / "fgs_jax" / FILES[module]).read_text(encoding="utf-8"), seed, count)
        outcomes = [results.get(mutant.key, {}).get("outcome") for mutant in drawn]
        if None in outcomes:
            continue
        why = {entry["diff"].rstrip("\n"): entry["why"] for entry in reasons.get(module, [])}
        alive = [mutant.diff for mutant, outcome in zip(drawn, outcomes, strict=True) if outcome == "survived"]
        equal, killed = sum(diff in why for diff in alive), len(drawn) - len(alive)
        share = f"{killed / max(len(drawn) - equal, 1):.0%}"
        rows.append(f"| {module} | {len(drawn)} | {killed} | {len(alive) - equal} | {equal} | {share} |")
        survivors += [
            f"{module}, {'called equal: ' + why[diff] if diff in why else 'survived'}\n\n```diff\n{diff}\n```\n"
            for diff in alive
        ]
    head = f"""# Mutants that the tests notice

`python -m tools.mutation --seed {seed} --mutants {count}`: small changes of each module, drawn by the seed, against
that module's own tests. Killed: a test fails, or the tests take more than {LIMIT} s of processor time. The share
leaves out those called equal, which change nothing that can be seen.

| module | mutants | killed | survived | called equal | share |
|---|---|---|---|---|---|
"""
    return head + "\n".join(rows) + "\n\n## Survivors\n\n" + "\n".join(survivors)


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


if __name__ == "__main__":
    tyro.cli(main)
