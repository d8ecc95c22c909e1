"""What stands in the source of a package: its modules and their imports, read without running it."""

import ast
import graphlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

Order = Sequence[Sequence[str]]
"""Floors, the lowest first: modules and folders, named without their package. The longest name that fits counts."""


class Import(NamedTuple):
    """A module of the tree that another one imports, wherever in its text."""

    line: int
    module: str
    name: str | None
    """What is taken from it; none where the module itself is."""


class Source(NamedTuple):
    path: Path
    tree: ast.Module

    @property
    def is_folder(self) -> bool:
        return self.path.name == "__init__.py"


@cache
def sources(root: Path, package: str) -> dict[str, Source]:
    """By the names of modules. A folder's is the text of its `__init__`."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if path.name == "__init__.py" else parts)
        found[name] = Source(path, ast.parse(path.read_text(encoding="utf-8")))
    return found


def imports(name: str, source: Source, modules: Mapping[str, object]) -> Iterator[Import]:
    """Of those modules, within functions too."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, None) for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            start = imported_from(name, source, node)
            for alias in node.names:
                if f"{start}.{alias.name}" in modules:
                    yield Import(node.lineno, f"{start}.{alias.name}", None)
                elif start in modules:
                    yield Import(node.lineno, start, alias.name)


def imported_from(name: str, source: Source, node: ast.ImportFrom) -> str:
    """The whole name, where it is written with leading dots too."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    folder = parts[: len(parts) + source.is_folder - node.level]
    return ".".join([*folder, *([node.module] if node.module else [])])


def out_of_order(root: Path, package: str, order: Order) -> list[str]:
    """Imports of what stands on a higher floor, or of a folder in place of a module; modules without a floor."""
    modules, faults = sources(root, package), []
    for name, source in modules.items():
        if source.is_folder:
            continue
        here = floor_of(name, package, order)
        if here is None:
            faults.append(f"{name}: has no place in the order")
            continue
        for line, target, taken in imports(name, source, modules):
            there = floor_of(target, package, order)
            if modules[target].is_folder:
                faults.append(f"{name}:{line}: takes {taken} from the folder {target}, not from a module")
            elif there is not None and there > here:
                faults.append(f"{name}:{line}: imports {target}, which stands above it")
    return faults


def floor_of(module: str, package: str, order: Order) -> int | None:
    short = module.removeprefix(f"{package}.")
    fits = [
        (len(place), floor)
        for floor, places in enumerate(order)
        for place in places
        if short == place or short.startswith(f"{place}.")
    ]
    return max(fits)[1] if fits else None


def circle(root: Path, package: str) -> list[str]:
    """Modules of which each imports the one before it, and the first the last; empty where there is no such circle."""
    modules = sources(root, package)
    graph = {
        name: {target for _, target, _ in imports(name, source, modules) if not modules[target].is_folder}
        for name, source in modules.items()
        if not source.is_folder
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def exports_otherwise(root: Path, package: str) -> list[str]:
    """Folders that import at once, or export what is not theirs, or under the name of a module."""
    modules, faults = sources(root, package), []
    for name, source in modules.items():
        if not source.is_folder:
            continue
        at_once = [node for node in source.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        lines = {node.lineno for node in at_once}
        for node in at_once:
            start = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
            if start not in ("typing", f"{package}.exports"):
                faults.append(f"{name}:{node.lineno}: imports {start} before it is used")
        for line, target, taken in imports(name, source, modules):
            if line in lines:
                continue
            if not target.startswith(f"{name}."):
                faults.append(f"{name}:{line}: exports {taken} of {target}, which is not in this folder")
            if f"{name}.{taken}" in modules:
                faults.append(f"{name}:{line}: exports {taken}, the name of a module")
    return faults


def private_names(package: str, ours: Mapping[str, Path]) -> list[str]:
    """Names with a leading underscore that are taken from another module of our packages, each with its root."""
    every = {name: source for one, root in ours.items() for name, source in sources(root, one).items()}
    faults = []
    for name, source in sources(ours[package], package).items():
        known = dict[str, str]()
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                known |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in every}
            elif isinstance(node, ast.ImportFrom):
                start = imported_from(name, source, node)
                modules = [alias for alias in node.names if f"{start}.{alias.name}" in every]
                known |= {alias.asname or alias.name: f"{start}.{alias.name}" for alias in modules}
                if start in every:
                    hidden = [alias.name for alias in node.names if is_private(alias.name)]
                    faults += [f"{name}:{node.lineno}: imports {start}.{one}" for one in hidden]
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in known:
                faults.append(f"{name}:{node.lineno}: uses {known[ast.unparse(node.value)]}.{node.attr}")
    return faults


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def outside(root: Path, package: str, banned: Sequence[str]) -> list[str]:
    """Imports of packages that are not to be imported."""
    faults = []
    for name, source in sources(root, package).items():
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            is_from = isinstance(node, ast.ImportFrom)
            starts = [imported_from(name, source, node)] if is_from else [alias.name for alias in node.names]
            faults += [f"{name}:{node.lineno}: imports {one}" for one in starts if one.partition(".")[0] in banned]
    return faults


def longer_than(root: Path, package: str, most: int) -> list[str]:
    """Files of more lines."""
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (root / package).rglob("*.py")}
    return sorted(f"{path.relative_to(root)}: {count} lines" for path, count in counts.items() if count > most)


def of_many_parameters(root: Path, package: str, most: int) -> list[str]:
    """Functions of more parameters; entries of a command line, whose parameters are its options, do not count."""
    faults = []
    for name, source in sources(root, package).items():
        entries = _command_entries(source.tree)
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name in entries:
                continue
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([one for one in every if one.arg not in ("self", "cls")])
            if count > most:
                faults.append(f"{name}:{node.lineno}: {node.name} has {count} parameters")
    return faults


def _command_entries(tree: ast.Module) -> set[str]:
    """Functions that tyro reads: those with a decorator `command`, and those passed to `tyro.cli`."""
    entries = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any("command" in ast.unparse(one) for one in node.decorator_list):
            entries.add(node.name)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "tyro.cli" and isinstance(node.args[0], ast.Name):
            entries.add(node.args[0].id)
    return entries
