"""Changes within PNG, NPY, zip and pickle, which are put together again, and lies in a zip's headers."""

import io
import pickletools
import re
import struct
import zipfile
import zlib
from random import Random

import numpy as np

from tests.fuzz.plain_changes import change_bytes, change_text, special_number


def change_png(random: Random, data: bytes, other: bytes) -> bytes:
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


def change_npy(random: Random, data: bytes, other: bytes) -> bytes:
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


def change_archive(random: Random, data: bytes, other: bytes) -> bytes:
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
            files[k][1] = change_npy(random, files[k][1], other)
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


def change_zip_header(random: Random, data: bytes, other: bytes) -> bytes:
    """Lies in the headers of a zip archive: lengths, checksums, kinds of compression, places."""
    starts = [found.start() for found in re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06)", data)]
    at = random.choice(starts) + random.randrange(4, 46) if starts else 0
    new = special_number(random)[: random.choice((1, 2, 4, 8))]
    return data[:at] + new + data[at + len(new) :]


def change_pickle(random: Random, data: bytes, other: bytes) -> bytes:
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
