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

import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import beartype  # noqa: F401  (what tests import, once for all)
import jax.numpy  # noqa: F401
import optax  # noqa: F401
import pytest
import scipy.optimize  # noqa: F401
import trimesh  # noqa: F401
import tyro
import yaml

from tools.mutants import Mutant, digest, draw

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "out" / "mutation"
TABLE = ROOT / "benchmarks" / "mutation.md"
EQUAL = ROOT / "tools" / "mutation_equal.yaml"
SLOW = {
    "contact": "be_cut or what_is_lost or lost_start or shaken_grasp or in_reach_the_hand or hundreds or are_numerical",
    "refine": "second_scene or many_scenes or batch_goes_on or rounded_up or few_programs or has_grown or hamers"
    " or cannot_touch",
}
"""Tests that compile step two, or refine scenes, for themselves alone."""
FILES: dict[str, tuple[str, ...]] = {
    "scale": ("stages/scale.py",),
    "distance": ("objects/distance.py", "objects/neighbours.py"),
    "opa": (
        *("stages/opa.py", "stages/opa_problem.py", "stages/opa_terms.py", "stages/opa_phases.py"),
        *("stages/opa_polish.py", "picture/view.py"),
    ),
    "contact": (
        *("energies/contact.py", "energies/image.py", "energies/pose.py", "energies/terms.py"),
        *("stages/contact_problem.py", "stages/step_one.py", "stages/step_two.py"),
    ),
    "refine": tuple(
        f"stages/{name}.py" for name in ("ahead", "contact", "finish", "hand_in_picture", "refine", "states")
    ),
    "restarts": ("solve/restarts.py",),
    "camera": ("picture/camera.py",),
    "hand_fit": ("hands/fit.py", "hands/fit_checks.py", "hands/fit_shape.py"),
    "metrics": tuple(
        f"results/metrics/{name}.py" for name in ("contact", "grasp", "penetration", "picture", "surface", "volume")
    ),
}
"""Where the modules are, in the package."""
CHECKS = "tests/test_checks.py"
"""Tests of the checks of arguments of several modules."""
TESTS: dict[str, tuple[str, ...]] = {
    "scale": ("tests/stages/test_scale.py", CHECKS),
    "distance": ("tests/objects/test_distance.py", "tests/objects/test_neighbours.py", CHECKS),
    "opa": (
        *("tests/stages/test_opa_problem.py", "tests/stages/test_opa_phases.py", "tests/stages/test_opa_polish.py"),
        *("tests/stages/test_opa_terms.py", "tests/stages/test_opa_starts.py", "tests/picture/test_view.py"),
        *("tests/stages/test_opa.py", CHECKS),
    ),
    "contact": (
        *("tests/energies/test_contact.py", "tests/energies/test_neighbours.py", "tests/energies/test_pose.py"),
        *("tests/energies/test_image.py", "tests/energies/test_terms.py", "tests/stages/test_contact_problem.py"),
        *("tests/stages/test_step_one.py", "tests/stages/test_step_two.py", CHECKS),
        *("-k", f"not ({SLOW['contact']})"),
    ),
    "refine": (
        *("tests/stages/test_refine.py", "tests/stages/test_refine_stages.py"),
        *("tests/stages/test_hand_in_picture.py", "tests/results/test_mirrored_result.py"),
        *("tests/stages/test_refine_together.py", "-k", f"not ({SLOW['refine']})"),
    ),
    "restarts": ("tests/solve/test_restarts.py", CHECKS),
    "camera": ("tests/picture/test_camera.py", CHECKS),
    "hand_fit": ("tests/hands/test_fit.py", "tests/hands/test_fit_shape.py"),
    "metrics": ("tests/results/metrics",),
}
"""What to give to pytest for each module: its own tests, the most direct ones first."""
LIMIT = 180
"""Seconds of processor time for the tests of one mutant. Those that take longer are noticed, since without it they end
well before."""


def main(modules: tuple[str, ...] = tuple(TESTS), /, *, seed: int = 15, mutants: int = 20, jobs: int = 1) -> None:
    """Runs the campaign.

    Args:
        modules: Those of `FILES` to change.
        seed: Which mutants are drawn.
        mutants: How many for each module.
        jobs: Mutants that are tried at once, each on a core of its own.
    """
    if unknown := sorted(set(modules) - set(TESTS)):
        raise SystemExit(f"modules: expected names among {', '.join(TESTS)}, got {', '.join(unknown)}")
    warnings.filterwarnings("ignore", message=r"os\.fork\(\)")  # of JAX, which has no threads yet
    known = WORK / "results.json"
    results: dict[str, dict] = json.loads(known.read_text()) if known.exists() else {}
    todo: list[tuple[str, Mutant]] = []
    marks = {
        module: digest(*TESTS[module], *(test.read_text("utf-8") for test in test_files(module))) for module in modules
    }
    for module in modules:
        fresh = [
            mutant
            for mutant in draw(module, texts_of(module), seed, mutants)
            if (was := results.get(mutant.key)) is None
            or (was["outcome"] == "survived" and was["tests"] != marks[module])
        ]
        todo += [(module, mutant) for mutant in fresh]
    broken = set[str]()
    for module, _, outcome, seconds in run_all([(module, None) for module in dict(todo)], jobs):  # compiles, too
        print(f"{module}: without a mutant its tests: {outcome}, {seconds:.0f} s", flush=True)
        broken |= {module} if outcome != "survived" else set()
    for module, mutant, outcome, seconds in run_all([task for task in todo if task[0] not in broken], jobs):
        assert mutant is not None
        results[mutant.key] = {"outcome": outcome, "tests": marks[module], "seconds": round(seconds)}
        known.write_text(json.dumps(results, indent=1))
        print(f"{module}: {outcome}, {seconds:.0f} s\n{mutant.diff}", flush=True)
    if broken:
        raise SystemExit(f"{', '.join(sorted(broken))}: expected tests that pass without a mutant, see {WORK}")
    TABLE.write_text(report(results, seed, mutants), encoding="utf-8")
    print(TABLE.read_text(encoding="utf-8"))


def texts_of(module: str) -> dict[str, str]:
    return {file: (ROOT / "fgs_jax" / file).read_text(encoding="utf-8") for file in FILES[module]}


def test_files(module: str) -> list[Path]:
    return [ROOT / name for name in TESTS[module] if (ROOT / name).is_file()]


def run_all(todo: Sequence[tuple[str, Mutant | None]], jobs: int) -> Iterator[tuple[str, Mutant | None, str, float]]:
    """What becomes of each mutant, and of no mutant: module, mutant, outcome and seconds, in any order."""
    forks: Any = multiprocessing.get_context("fork")
    waiting, done = forks.Queue(), forks.Queue()
    for task in [*enumerate(todo), *[None] * jobs]:
        waiting.put(task)
    (WORK / "cache").mkdir(parents=True, exist_ok=True)
    workers = [forks.Process(target=_work, args=(copied_tree(k), k, waiting, done)) for k in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        for _ in todo:
            k, outcome, seconds = done.get()
            yield *todo[k], outcome, seconds
    finally:
        for worker in workers:
            worker.kill()


def _work(tree: Path, number: int, waiting: Any, done: Any) -> None:
    """Tries mutants one after the other, in a tree and on a core of its own."""
    if hasattr(os, "sched_setaffinity") and number:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})
    while (task := waiting.get()) is not None:
        k, (module, mutant) = task
        path = tree / "fgs_jax" / (mutant.file if mutant else FILES[module][0])
        text = path.read_text(encoding="utf-8")
        write(path, mutant.text if mutant else text)
        outcome = run_tests(tree, module)
        write(path, text)
        done.put((k, *outcome))


def copied_tree(number: int) -> Path:
    """The repository as it is, without what git ignores; its compiled programs are kept from run to run."""
    tree = WORK / f"repository_{number}" / "fgs_jax"
    shutil.rmtree(tree, ignore_errors=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
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
        raise SystemExit(f"pytest: expected tests that run, got {process.exitcode}: see output.txt beside {tree}")
    slow = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
    outcome = "timeout" if slow else "killed" if process.exitcode else "survived"
    return outcome, time.perf_counter() - clock


def _run_pytest(tree: Path, module: str) -> None:
    """In a process of its own, which has what takes long to import, and nothing of the package."""
    os.chdir(tree)
    sys.path[:1] = [str(tree), str(tree / "bridges")]
    os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path[:2], *filter(None, [os.environ.get("PYTHONPATH")])])
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    output = os.open(tree.parent / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
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
        drawn = draw(module, texts_of(module), seed, count)
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


if __name__ == "__main__":
    tyro.cli(main)
