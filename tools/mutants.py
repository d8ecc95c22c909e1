"""Small changes of a module, drawn by a seed, for `tools.mutation`."""

import ast
import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

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
    file: str
    text: str
    """Of the whole file."""
    diff: str
    """The definition, and the lines that differ, each with - or + before it."""


def draw(module: str, texts: Mapping[str, str], seed: int, count: int) -> list[Mutant]:
    """`count` mutants of a module's files, each at another place as long as there are places.

    They are ordered by a hash of the seed and their line, so that a change elsewhere leaves most of the draw as it was.
    """
    turns = [
        (turn, order, file, mutation)
        for file, text in texts.items()
        for turn, order, mutation in _turns(module, text, seed)
    ]
    found: list[Mutant] = []
    for _, _, file, (name, operator, occurrence, place) in sorted(turns, key=lambda x: x[:2]):
        text = texts[file]
        lines, mutated = text.split("\n"), mutate_code(text, operator, occurrence)
        try:
            ast.parse(mutated)
        except SyntaxError:  # the star before keywords, taken for an operator
            continue
        diff = list(difflib.unified_diff(lines, mutated.split("\n"), n=0, lineterm=""))[2:]
        around, body = definition(text, place[0])
        key = digest(module, name, str(place[1]), *diff[1:], around, body)
        changed = [line for line in diff if not line.startswith("@@") and line != "-"]
        found.append(Mutant(key, file, mutated, "\n".join([f"in {around}:", *changed])))
        if len(found) == count:
            break
    return found


def _turns(module: str, text: str, seed: int) -> Iterator[tuple[int, str, Mutation]]:
    """The mutations of a file: whether it is the first at its place, and where in the draw it stands."""
    lines = text.split("\n")

    def order(place: Place, *of_mutation: object) -> str:
        line = lines[place[0] - 1]
        same_before = lines[: place[0] - 1].count(line)
        return digest(*map(str, (seed, module, line, same_before, place[1], *of_mutation)))

    at: dict[Place, list[Mutation]] = {}
    for mutation in mutations(text):
        at.setdefault(mutation.place, []).append(mutation)
    for place, several in at.items():
        ordered = sorted(several, key=lambda x: order(x.place, x.name, at[x.place].index(x)))
        for turn, mutation in enumerate(ordered):
            yield turn, order(place), mutation


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


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
