"""Changes of a file's bytes and words, and of a tree of values, each decided by a random number."""

import json
import re
import struct
from random import Random
from typing import Any

_NUMBER = re.compile(rb"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_WORD = re.compile(rb"[^\s,:;=\[\]{}\"']+")
_HEAD = 512
"""Bytes at either end that are changed more often than others."""
_NUMBERS = (
    *("0", "-0", "1", "-1", "2", "3", "4", "7", "255", "256", "-2147483648", "2147483647", "2147483648", "4294967295"),
    *("4294967296", "9223372036854775807", "-9223372036854775808", "18446744073709551616", "1" + 400 * "0", "0.5"),
    *("1e-320", "1e-30", "-1e30", "1e38", "1e39", "1e308", "1e999", "-1e999", "nan", "NaN", "-nan", "inf", "-Infinity"),
    *("", "''", "0x10", "010", "1_000", "1:30", "1,5", "१", "null", "true", "1e", "--1", "+", "."),
)
_STRANGE = (
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\r",
    b"\n",
    b"\t",
    b'"',
    b"\\",
    b"\xed\xa0\x80",
    b"\x1b[2J",
    b"%",
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 0.5, -0.5, 2**31, -(2**31), 2**32, 2**63, 2**64, 10**400, 1e-320, 1e30, -1e38),
    *(1e308, float("nan"), float("inf"), -float("inf")),
    *("", "nan", "0", "a", "right", "left", "\0", "\ud800", "\n", "../x", "/", "~nobody/x", "x" * 5000, "\u202e", "%s"),
    *(
        [],
        {},
        [[]],
        [None],
        [0],
        [1, 2, 3],
        ["a", "b"],
        [{}],
        {"": None},
        {"a": {"b": [1]}},
        [[1, 2], [3]],
        [[0.0] * 21] * 2,
    ),
)


def _place(random: Random, length: int) -> int:
    if random.random() < 0.5:
        near = random.randrange(min(length, _HEAD) + 1)
        return near if random.random() < 0.6 else length - near
    return random.randrange(length + 1)


def special_number(random: Random) -> bytes:
    """A number as it lies in memory, larger or stranger than most."""
    kind, values = random.choice(
        (
            ("B", (0, 1, 127, 128, 255)),
            ("H", (0, 1, 0x7FFF, 0x8000, 0xFFFF)),
            ("I", (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 10**8, 10**6)),
            ("Q", (0, 1, 2**63 - 1, 2**63, 2**64 - 1, 2**40)),
            ("f", (float("nan"), float("inf"), -float("inf"), 1e38, -1e38, 1e-40)),
            ("d", (float("nan"), float("inf"), 1e308, -1e308, 1e-310)),
        )
    )
    return struct.pack(random.choice("<>") + kind, random.choice(values))


def change_bytes(random: Random, data: bytes, other: bytes) -> bytes:  # noqa: PLR0911
    at = _place(random, len(data))
    length = random.choice((1, 1, 2, 4, 8, 40, 400))
    match random.randrange(9):
        case 0 if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + random.randbytes(length) + data[at:]
        case 3:
            return data[:at] + data[at : at + length] * random.choice((2, 2, 3, 1000)) + data[at + length :]
        case 4:
            return data[:at]
        case 5:
            return data[:at] + other[_place(random, len(other)) :]
        case 6:
            return data[:at] + bytes(length) + data[at + length :]
        case 7:
            return data[:at] + random.choice(_STRANGE) + data[at:]
        case _:
            special = special_number(random)
            return data[:at] + special + data[at + len(special) :]


def change_text(random: Random, data: bytes, other: bytes) -> bytes:
    """Of words, numbers and lines."""
    numbers, words = list(_NUMBER.finditer(data)), list(_WORD.finditer(data))
    lines = data.splitlines(keepends=True)
    choice = random.randrange(9)
    if choice < 4 and numbers:
        found = random.choice(numbers)
        return data[: found.start()] + random.choice(_NUMBERS).encode() + data[found.end() :]
    if choice < 6 and words:
        found, second = random.choice(words), random.choice(words)
        new = random.choice((b"", second[0], second[0] + b" " + found[0], found[0] * 3, found[0].swapcase()))
        return data[: found.start()] + new + data[found.end() :]
    if choice < 8 and lines:
        k, m = random.randrange(len(lines)), random.randrange(len(lines))
        match random.randrange(5):
            case 0:
                del lines[k]
            case 1:
                lines.insert(m, lines[k])
            case 2:
                lines[k], lines[m] = lines[m], lines[k]
            case 3:
                lines[k] = lines[k] * random.choice((2, 2000))
            case _:
                lines[k:k] = random.sample(others, min(len(others), 3)) if (others := other.splitlines(True)) else []
        return b"".join(lines)
    return change_bytes(random, data, other)


def change_values(random: Random, value: Any) -> Any:
    """Of a tree of objects and lists: a part is taken out, doubled, put elsewhere, wrapped or of another type."""
    places: list[tuple[Any, Any]] = []

    def collect(part: Any) -> None:
        for key in part if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list) and part[key]:
                collect(part[key])

    if isinstance(value, dict | list):
        collect(value)
    if not places:
        return random.choice(VALUES)
    # The outer parts as often as the many numbers within.
    few = [place for place in places if not isinstance(place[0], list)]
    part, key = random.choice(few if few and random.random() < 0.6 else places)
    match random.randrange(10):
        case 0:
            del part[key]
        case 1 if isinstance(part, list):
            part[key:key] = [part[key]] * random.choice((1, 1, 300))
        case 1 | 2:
            other = random.choice(places)
            part[key] = json.loads(json.dumps(other[0].get(other[1]) if isinstance(other[0], dict) else None))
        case 3:
            for _ in range(random.choice((1, 1, 2, 70, 3000))):
                part[key] = [part[key]] if random.random() < 0.5 else {"a": part[key]}
        case 4 if isinstance(part, dict):
            part[random.choice((f"{key} ", str(key).upper(), "", "\n", "x" * 3000, "mesh", "__class__"))] = part.pop(
                key
            )
        case 5 if isinstance(part[key], list) and part[key]:
            part[key] = random.choice((part[key][:-1], part[key][::-1], part[key] + part[key][:1], part[key][:1]))
        case 6 if isinstance(part[key], int | float):
            part[key] = random.choice((-part[key], part[key] * 1000, part[key] / 1000, part[key] + 1, str(part[key])))
        case _:
            part[key] = random.choice(VALUES)
    return value
