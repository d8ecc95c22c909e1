"""The public API as text: every name that a folder exports, with its signature, a line each.

Usage: python -m tools.api. Writes docs/api.txt, so that every change of the API is seen in a diff. The source is read,
not run: the text is the same under every version of Python and of the libraries.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fgs_jax.exports import listed

ROOT = Path(__file__).parents[1]
PACKAGE = "fgs_jax"
TABLE = ROOT / "docs" / "api.txt"
HEAD = (
    "# What fgs_jax exports: names and signatures, sorted. Written by python -m tools.api; a test holds it true.\n"
    "# After two spaces and a number sign: the module that it is defined in.\n"
)
FIELDS = ("pytree", "dataclass", "NamedTuple")
"""Decorators and bases that make a class of its annotated fields."""
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def text() -> str:
    """Of the whole file."""
    folders = {folder: listed(folder.read_text(encoding="utf-8")) for folder in (ROOT / PACKAGE).rglob("__init__.py")}
    lines = []
    for folder, names in folders.items():
        package = ".".join(folder.parent.relative_to(ROOT).parts)
        for name, module in names.items():
            elsewhere = module.rpartition(".")[0]
            if elsewhere != package and name in folders[ROOT.joinpath(*elsewhere.split("."), "__init__.py")]:
                lines.append(f"{package}.{name} = {elsewhere}.{name}")
            else:
                lines += described(package, name, module)
    return HEAD + "".join(f"{line}\n" for line in sorted(lines))


def described(package: str, name: str, module: str) -> Iterator[str]:
    """A line for a name, and one for each public method of a class."""
    module, definition = defined(module, name)
    place = f"  # {module}"
    if isinstance(definition, ast.FunctionDef):
        yield f"{package}.{name}{signature(definition)}{place}"
    elif isinstance(definition, ast.ClassDef):
        yield f"{package}.{name}{fields(definition)}{place}"
        for node in definition.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                is_property = any(ast.unparse(one) == "property" for one in node.decorator_list)
                what = f": {returned(node)}" if is_property else signature(node)
                yield f"{package}.{name}.{node.name}{what}{place}"
    elif isinstance(definition, ast.AnnAssign):
        yield f"{package}.{name}: {ast.unparse(definition.annotation)}{place}"
    else:
        yield f"{package}.{name}{place}"


def defined(module: str, name: str) -> tuple[str, Definition]:
    """The statement that defines a name, and the module that it stands in, which may be another one."""
    for node in statements(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id == name for target in targets for one in ast.walk(target)):
                return module, node
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}."):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return defined(node.module, alias.name)
    raise SystemExit(f"{module}: expected a definition of {name}, there is none: mend the __init__ that lists it")


@cache
def statements(module: str) -> list[ast.stmt]:
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8")).body


def signature(function: ast.FunctionDef) -> str:
    return f"({ast.unparse(function.args)}) -> {returned(function)}"


def returned(function: ast.FunctionDef) -> str:
    return ast.unparse(function.returns) if function.returns else "None"


def fields(definition: ast.ClassDef) -> str:
    """In brackets: the fields that make a class, or else what it is derived from."""
    bases = [ast.unparse(base) for base in definition.bases]
    makers = [ast.unparse(one).partition("(")[0].rpartition(".")[2] for one in definition.decorator_list] + bases
    if not set(makers) & set(FIELDS):
        return f"({', '.join(bases)})" if bases else ""
    annotated = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
    return f"({', '.join(ast.unparse(node) for node in annotated)})"


if __name__ == "__main__":
    TABLE.write_text(text(), encoding="utf-8")
