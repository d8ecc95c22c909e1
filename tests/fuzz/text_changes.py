"""Changes within JSON, YAML, GLB and a PLY file's header."""

import json
import struct
from random import Random
from typing import Any

import yaml

from tests.fuzz.plain_changes import VALUES, change_bytes, change_text, change_values


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def change_json(random: Random, data: bytes, other: bytes) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return change_text(random, data, other)
    if random.random() < 0.1 and isinstance(value, dict) and value:  # a key twice
        key = random.choice(list(value))
        return b"{" + _dumped(key) + b": " + _dumped(random.choice(VALUES)) + b", " + _dumped(value)[1:]
    try:
        return _dumped(change_values(random, value))
    except (ValueError, RecursionError):
        return change_text(random, data, other)


def change_yaml(random: Random, data: bytes, other: bytes) -> bytes:
    try:
        value = yaml.safe_load(data)
        changed = change_values(random, value)
        style = random.choice((None, None, True))
        return yaml.safe_dump(changed, default_flow_style=style, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, KeyError):
        return change_text(random, data, other)


def change_glb(random: Random, data: bytes, other: bytes) -> bytes:
    size = int.from_bytes(data[12:16], "little")
    text, rest = data[20 : 20 + size], data[20 + size :]
    if random.random() < 0.85:
        text = change_json(random, text, other)
    else:
        rest = change_bytes(random, rest, other)
    text += b" " * (-len(text) % 4)
    return b"glTF" + struct.pack("<IIII", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def change_ply(random: Random, data: bytes, other: bytes) -> bytes:
    head, end, body = data.partition(b"end_header\n")
    return change_text(random, head, other.partition(b"end_header\n")[0]) + end + body
