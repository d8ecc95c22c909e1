"""JSON and YAML that people write, read to the letter: what has two meanings, or none, is refused.

Both raise ValueError, in one line, for a key that is there twice, for values nested deeper than `DEEPEST`, and for
numbers that a float or 64 bits do not hold.
"""

import json
import math
import re
from typing import Any

import yaml

DEEPEST = 64
"""Values within values."""
MOST_VALUES = 100_000
"""Of a YAML file; an alias stands for as many as it repeats."""
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)
"""Texts, whose brackets mean nothing, and brackets."""
_SHORT = 40
"""Characters of a key or a value that an error shows."""


def read_json(data: bytes, *, constants: bool = False) -> Any:
    """The value of a JSON file. Refuses NaN and infinity, too, unless `constants`, and characters that no text has.

    `constants`: NaN, Infinity and -Infinity are read as Python's own json writes them, for what checks them itself.
    """
    text = _text(data, json.detect_encoding(data))
    _check_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_doubles,
            parse_constant=float if constants else _refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError as error:
        raise ValueError(f"values nested deeper than {DEEPEST}") from error
    if "\\u" in text:
        _check_characters(value)
    return value


def read_yaml(data: bytes) -> Any:
    """The value of a YAML file, by the core schema of YAML 1.2; None for an empty one.

    `yes`, `no`, `on`, `off`, dates, `1:30` and `1_000` are texts, `010` is ten and `1e-4` a number. Refuses tags
    and several documents, too.
    """
    text = _text(data, "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    try:
        value = yaml.load(text, Loader=_CoreLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if "\\" in text:
        _check_characters(value)
    return value


def _text(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"bytes that are no {error.encoding} ({error.reason} at {error.start})") from error


def _check_characters(value: Any) -> None:
    """Refuses half of a character, which an escape can name and no file can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half of a character (an escape from \\ud800 to \\udfff)") from error


def _check_depth(text: str) -> None:
    depth = 0
    for mark in _MARKS.finditer(text):
        bracket = mark[0][0]
        depth += (bracket in "[{") - (bracket in "]}")
        if depth > DEEPEST:
            raise ValueError(f"values nested deeper than {DEEPEST}")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key[:_SHORT]!r} is there twice")
        values[key] = value
    return values


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:_SHORT]} is too large a number")
    return value


def _whole(text: str, base: int = 10) -> int:
    if len(text) > _SHORT or not -(2**63) <= (value := int(text, base)) < 2**63:
        raise ValueError(f"{text[:_SHORT]} is too large a whole number")
    return value


def _place(part: yaml.Event | yaml.Node) -> str:
    return f" in line {part.start_mark.line + 1}" if part.start_mark else ""


class _CoreLoader(yaml.SafeLoader):
    """Plain values by the core schema of YAML 1.2 (10.3.2), mappings without double keys."""

    yaml_implicit_resolvers = {}  # noqa: RUF012
    yaml_constructors = dict(yaml.SafeLoader.yaml_constructors)  # noqa: RUF012
    _depth = 0

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._whole = dict[int, tuple[int, int]]()
        """Of each node that is composed, by its identity: its values, those of aliases counted anew, and its depth."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        alias, place = self.check_event(yaml.AliasEvent), _place(self.peek_event())
        node: Any = super().compose_node(parent, index)
        if not alias:
            parts = [] if isinstance(node, yaml.ScalarNode) else node.value
            inner = [self._whole[id(each)] for part in parts for each in (part if isinstance(part, tuple) else (part,))]
            count = 1 + sum(count for count, _ in inner)
            depth = 1 + max((depth for _, depth in inner), default=0)
            if count > MOST_VALUES or depth > DEEPEST + 1:
                raise ValueError(f"more than {MOST_VALUES} values, or nested deeper than {DEEPEST}, by aliases{place}")
            self._whole[id(node)] = count, depth
        elif id(node) not in self._whole:
            raise ValueError(f"a value that holds itself{place}")
        return node

    def get_event(self) -> Any:
        event = super().get_event()
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"could not determine a constructor for the tag {tag[:_SHORT]}{_place(event)}: no tags")
        self._depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if self._depth > DEEPEST:
            raise ValueError(f"values nested deeper than {DEEPEST}{_place(event)}")
        return event

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = [(self.construct_object(key, True), self.construct_object(value, deep)) for key, value in node.value]
        seen = set()
        for (key, _), (key_node, _) in zip(pairs, node.value, strict=True):
            if not isinstance(key, str | int | float | None):
                raise ValueError(f"a list or mapping as a key{_place(key_node)}")
            if key in seen:
                raise ValueError(f"the key {key!r:.{_SHORT}} is there twice, again{_place(key_node)}")
            seen.add(key)
        return dict(pairs)


def _constructor(read: Any) -> Any:
    return lambda loader, node: read(loader.construct_scalar(node))


def _yaml_whole(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return _whole(text[2:] if base != 10 else text, base)


def _yaml_float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan")) if text[-1] in "fFnN" else _finite(text)


for _tag, _pattern, _first, _read in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""], lambda text: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"], lambda text: text.lower() == "true"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"], _yaml_whole),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
        _yaml_float,
    ),
):
    _name = f"tag:yaml.org,2002:{_tag}"
    _CoreLoader.add_implicit_resolver(_name, re.compile(rf"(?:{_pattern})\Z", re.ASCII), _first)
    _CoreLoader.add_constructor(_name, _constructor(_read))
