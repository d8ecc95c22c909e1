"""Changes of real files, each decided by a number: of their bytes, of their words, and of what they are made of.

A format that has an inside (JSON, YAML, zip, PNG, GLB, pickle) is changed there, too, and put together again, so that a
change gets past the checksums and lengths that would stop it at the door.
"""

import io
import json
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import yaml

Change = Callable[[Random, bytes, bytes], bytes]
"""Of a file's bytes, and those of another one."""

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
_VALUES: tuple[Any, ...] = (
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
        return [_archive] * 6 + [_zip_header, change_bytes]
    if data[:4] == b"glTF":
        return [_glb] * 6 + [change_bytes]
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return [_png] * 5 + [change_bytes]
    if data[:6] == b"\x93NUMPY":
        return [_npy] * 3 + [change_bytes]
    if data[:1] == b"\x80":
        return [_pickle] * 6 + [change_bytes]
    if b"end_header\n" in data:
        return [_ply_header, _ply_header, change_bytes, change_text if b"ascii" in data[:40] else change_bytes]
    if b"\0" in data or not data:
        return [change_bytes]
    if data.lstrip()[:1] in (b"{", b"["):
        return [_json] * 5 + [change_text, change_text, change_bytes]
    if re.search(rb"^\w+:", data, re.MULTILINE):
        return [_yaml] * 4 + [change_text, change_text, change_bytes]
    return [change_text] * 4 + [change_bytes]


def _place(random: Random, length: int) -> int:
    if random.random() < 0.5:
        near = random.randrange(min(length, _HEAD) + 1)
        return near if random.random() < 0.6 else length - near
    return random.randrange(length + 1)


def _special(random: Random) -> bytes:
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
            special = _special(random)
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
        return random.choice(_VALUES)
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
            part[key] = random.choice(_VALUES)
    return value


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _json(random: Random, data: bytes, other: bytes) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return change_text(random, data, other)
    if random.random() < 0.1 and isinstance(value, dict) and value:  # a key twice
        key = random.choice(list(value))
        return b"{" + _dumped(key) + b": " + _dumped(random.choice(_VALUES)) + b", " + _dumped(value)[1:]
    try:
        return _dumped(change_values(random, value))
    except (ValueError, RecursionError):
        return change_text(random, data, other)


def _yaml(random: Random, data: bytes, other: bytes) -> bytes:
    try:
        value = yaml.safe_load(data)
        changed = change_values(random, value)
        style = random.choice((None, None, True))
        return yaml.safe_dump(changed, default_flow_style=style, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, KeyError):
        return change_text(random, data, other)


def _glb(random: Random, data: bytes, other: bytes) -> bytes:
    size = int.from_bytes(data[12:16], "little")
    text, rest = data[20 : 20 + size], data[20 + size :]
    if random.random() < 0.85:
        text = _json(random, text, other)
    else:
        rest = change_bytes(random, rest, other)
    text += b" " * (-len(text) % 4)
    return b"glTF" + struct.pack("<IIII", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def _ply_header(random: Random, data: bytes, other: bytes) -> bytes:
    head, end, body = data.partition(b"end_header\n")
    return change_text(random, head, other.partition(b"end_header\n")[0]) + end + body


def _png(random: Random, data: bytes, other: bytes) -> bytes:
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    if not chunks:
        return change_bytes(random, data, other)
    k = random.randrange(len(chunks))
    kind, body = chunks[k]
    match random.randrange(6):
        case 0:
            del chunks[k]
        case 1:
            chunks.insert(random.randrange(len(chunks) + 1), [kind, body])
        case 2 if kind == b"IDAT":
            try:
                chunks[k][1] = zlib.compress(change_bytes(random, zlib.decompress(body), other))
            except zlib.error:
                chunks[k][1] = change_bytes(random, body, other)
        case 3:
            orientation = struct.pack(">HHI", 0x0112, 3, 1) + struct.pack(">HH", random.randrange(300), 0)
            exif = b"MM\0*\0\0\0\x08\0\x01" + orientation + bytes(4)
            bomb = b"a\0\0" + zlib.compress(bytes(2**22))
            extra = random.choice(
                (
                    [b"eXIf", change_bytes(random, exif, other)],
                    [b"eXIf", exif],
                    [b"zTXt", bomb],
                    [b"iCCP", bomb],
                    [b"tRNS", random.randbytes(random.randrange(7))],
                    [b"PLTE", random.randbytes(random.randrange(30))],
                    [b"acTL", struct.pack(">II", random.choice((0, 1, 2, 2**31)), 0)],
                )
            )
            chunks.insert(random.randrange(len(chunks)), extra)
        case 4:
            header = bytearray(chunks[0][1][:13].ljust(13, b"\0"))
            which = random.choice((0, 4, 8, 9, 10, 11, 12))
            new = struct.pack(">I", random.choice((0, 1, 7, 3000, 50000, 2**31 - 1, 2**32 - 1)))
            header[which : which + 4 if which < 8 else which + 1] = new if which < 8 else bytes([random.randrange(20)])
            chunks[0][1] = bytes(header)
        case _:
            chunks[k][1] = change_bytes(random, body, other)
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return data[:8] + b"".join(parts)


_DTYPES = ("f2", "f4", "f8", ">f8", "i1", "i8", "u8", "?", "c16", "U3", "S3", "O", "M8[s]", "m8[s]", "V3")


def _change_array(random: Random, array: np.ndarray) -> np.ndarray:  # noqa: PLR0911
    match random.randrange(8):
        case 0:
            with np.errstate(all="ignore"):
                try:
                    return array.astype(random.choice(_DTYPES))
                except (TypeError, ValueError):
                    return array[None]
        case 1:
            return random.choice(
                (array[None], array.T, array.ravel(), array[..., None], array[:0] if array.ndim else array)
            )
        case 2 if array.ndim and len(array):
            return random.choice((array[:-1], array[::-1], np.concatenate([array, array[:1]]), array[..., :-1]))
        case 3:
            record = np.zeros(3, [("a", "f4"), ("b", "i4")])
            return random.choice((np.array([{}], object), record, np.zeros((0, 3)), np.array("right"), np.array(0.0)))
        case 4 if array.dtype.kind in "fiu":
            factor = random.choice((0, -1, 1000, 1e30, 1e300))
            with np.errstate(all="ignore"):
                return (array * factor).astype(array.dtype)
        case _ if array.size and array.dtype.kind in "fiu":
            changed = array.copy()
            value = random.choice(
                (0, 1, -1, 2, 255, 2**31 - 1, -(2**31), 2**63, 0.5, 1e-30, 1e30, 1e300, np.nan, np.inf)
            )
            with np.errstate(all="ignore"):
                many = random.random() < 0.2
                flat = np.array(value, float).astype(changed.dtype)
                changed.reshape(-1)[slice(None) if many else random.randrange(changed.size)] = flat
            return changed
    return array


def _saved(array: np.ndarray) -> bytes:
    np.save(buffer := io.BytesIO(), array, allow_pickle=True)
    return buffer.getvalue()


def _npy(random: Random, data: bytes, other: bytes) -> bytes:
    """The array itself, the words of its header, or its bytes."""
    choice = random.random()
    try:
        if choice < 0.6:
            with np.errstate(all="ignore"):
                return _saved(_change_array(random, np.load(io.BytesIO(data), allow_pickle=False)))
        if choice < 0.85:
            size = int.from_bytes(data[8:10], "little")
            header = change_text(random, data[10 : 10 + size], other).ljust(size)
            return data[:8] + struct.pack("<H", min(len(header), 65535)) + header + data[10 + size :]
    except Exception:  # it is no array any more
        pass
    return change_bytes(random, data, other)


def _archive(random: Random, data: bytes, other: bytes) -> bytes:
    """The files in a zip archive, checksums and lengths as they should be."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [[name, archive.read(name)] for name in archive.namelist()]
        k = random.randrange(len(files))
    except Exception:  # it is none any more
        return change_bytes(random, data, other)
    match random.randrange(10):
        case 0:
            del files[k]
        case 1:
            m = random.randrange(len(files))
            files[k][1], files[m][1] = files[m][1], files[k][1]
        case 2:
            strange = (files[k][0], "x.npy", "../x.npy", "", "x", "hand_pose.npy", "\n.npy", "x" * 3000)
            files.append([random.choice(strange), files[k][1]])
        case 3:
            files[k][0] = random.choice(("x.npy", "", files[k][0].removesuffix(".npy"), files[k][0].upper()))
        case _:
            files[k][1] = _npy(random, files[k][1], other)
    kind = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", kind) as archive:
        names = set()
        for name, body in files:
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.compress_type = kind
            if name not in names or random.random() < 0.5:
                names.add(name)
                archive.NameToInfo.pop(name, None)  # so that a name may be there twice without a warning
                archive.writestr(entry, body)
    return buffer.getvalue()


def _zip_header(random: Random, data: bytes, other: bytes) -> bytes:
    """Lies in the headers of a zip archive: lengths, checksums, kinds of compression, places."""
    starts = [found.start() for found in re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06)", data)]
    at = random.choice(starts) + random.randrange(4, 46) if starts else 0
    new = _special(random)[: random.choice((1, 2, 4, 8))]
    return data[:at] + new + data[at + len(new) :]


def _pickle(random: Random, data: bytes, other: bytes) -> bytes:
    """Opcodes left out, doubled, in another order, in place of others, and with other arguments."""
    try:
        starts = [at for _, _, at in pickletools.genops(data)]
    except Exception:  # it is none any more
        return change_bytes(random, data, other)
    ops = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
    k, m = random.randrange(len(ops)), random.randrange(len(ops))
    match random.randrange(8):
        case 0:
            del ops[k]
        case 1:
            ops.insert(m, ops[k])
        case 2:
            ops[k], ops[m] = ops[m], ops[k]
        case 3:
            ops[k] = ops[m]
        case 4:
            ops[k] = bytes([random.choice([ord(op.code) for op in pickletools.opcodes])]) + ops[k][1:]
        case 5:
            names = (
                "os\nsystem",
                "numpy\nndarray",
                "numpy\ndtype",
                "builtins\neval",
                "collections\nOrderedDict",
                "a\nb",
            )
            ops[k] = b"c" + random.choice(names).encode() + b"\n"
        case 6:
            simple = (
                b"N",
                b"(",
                b"}",
                b"]",
                b")",
                b"K\x05",
                b"J\xff\xff\xff\x7f",
                b"G\x7f\xf8" + bytes(6),
                b"U\x03abc",
                b"0",
                b"2",
            )
            ops.insert(k, random.choice(simple) * random.choice((1, 1, 1, 500)))
        case _:
            ops[k] = ops[k][:1] + change_bytes(random, ops[k][1:], other)
    return b"".join(ops)
