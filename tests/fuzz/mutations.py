"""Changes of real files, each decided by a number: of their bytes, of their words, and of what they are made of.

A format that has an inside (JSON, YAML, zip, PNG, GLB, pickle) is changed there, too, and put together again, so that a
change gets past the checksums and lengths that would stop it at the door.
"""

import re
from collections.abc import Callable
from random import Random

from tests.fuzz.packed_changes import change_archive, change_npy, change_pickle, change_png, change_zip_header
from tests.fuzz.plain_changes import change_bytes, change_text
from tests.fuzz.text_changes import change_glb, change_json, change_ply, change_yaml

Change = Callable[[Random, bytes, bytes], bytes]
"""Of a file's bytes, and those of another one."""


def mutated(data: bytes, other: bytes, numbers: list[int]) -> bytes:
    """The file after one change for each number."""
    for number in numbers:
        random = Random(number)
        change = random.choice(_changes(data))
        data = change(random, data, other)[: 2**21]
    return data


def _changes(data: bytes) -> list[Change]:  # noqa: PLR0911
    """Those that fit what a file is; those of its inside are tried most."""
    if data[:2] == b"PK":
        return [change_archive] * 6 + [change_zip_header, change_bytes]
    if data[:4] == b"glTF":
        return [change_glb] * 6 + [change_bytes]
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return [change_png] * 5 + [change_bytes]
    if data[:6] == b"\x93NUMPY":
        return [change_npy] * 3 + [change_bytes]
    if data[:1] == b"\x80":
        return [change_pickle] * 6 + [change_bytes]
    if b"end_header\n" in data:
        return [change_ply, change_ply, change_bytes, change_text if b"ascii" in data[:40] else change_bytes]
    if b"\0" in data or not data:
        return [change_bytes]
    if data.lstrip()[:1] in (b"{", b"["):
        return [change_json] * 5 + [change_text, change_text, change_bytes]
    if re.search(rb"^\w+:", data, re.MULTILINE):
        return [change_yaml] * 4 + [change_text, change_text, change_bytes]
    return [change_text] * 4 + [change_bytes]
