"""Pickles are read and nothing in them is run: no call, no bomb, and arrays however they were saved."""

import codecs
import os
import pickle
import resource
import shlex
import struct
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse import csc_matrix

from fgs_jax.cli import main
from fgs_jax.errors import HandFileError
from fgs_jax.hands import pickle_records
from fgs_jax.hands.files import read_hand_file
from fgs_jax.hands.safe_pickle import read_pickled_arrays
from fgs_jax.testing import write_mano_pickle as write_pickle
from tests.hands.mano_arrays import Arrays


class Calls:
    """Pickles as a call."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def raw_pickle(module: str, name: str, command: str, opcode: str) -> bytes:
    """A call of module.name(command) by one of the opcodes that call."""
    target, argument = f"c{module}\n{name}\n", f"V{command}\n"
    return {
        "REDUCE": f"{target}({argument}tR.",
        "OBJ": f"({target}{argument}o.",
        "INST": f"({argument}i{module}\n{name}\n.",
        "NEWOBJ": f"\x80\x02{target}({argument}t\x81.",
        "BUILD": f"cchumpy.ch\nCh\n(tR}}(V__setstate__\n{target}ub(V{command}\ntb.",
        "STACK_GLOBAL": f"\x80\x04V{module}\nV{name}\n\x93({argument}tR.",
    }[opcode].encode("latin1")


@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, getattr, open, np.load, np.fromfile])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_call_is_refused(tmp_path: Path, function: object, protocol: int) -> None:
    marker = tmp_path / "marker"
    words = {eval: f"open({str(marker)!r}, 'w')", exec: f"open({str(marker)!r}, 'w')", open: str(marker)}
    arguments = (words.get(function, f"touch {marker}"), *(("w",) if function is open else ()))
    (tmp_path / "hand.pkl").write_bytes(pickle.dumps({"v_template": Calls(function, *arguments)}, protocol))
    name = getattr(function, "__name__", "")
    with pytest.raises(
        HandFileError, match=rf"hand\.pkl: expected a pickle of arrays, it asks for '.*{name}'; nothing was run"
    ):
        read_hand_file(tmp_path / "hand.pkl")
    assert not marker.exists()


@pytest.mark.parametrize("opcode", ["REDUCE", "OBJ", "INST", "NEWOBJ", "BUILD", "STACK_GLOBAL"])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "fromfile"),
        ("copyreg", "__newobj__"),
        ("chumpy.ch", "os.system"),
        ("chumpy", "ch.os.system"),
        ("chumpy.os", "system"),
    ],
)
def test_no_opcode_calls_anything(tmp_path: Path, module: str, name: str, opcode: str) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "hand.pkl"
    path.write_bytes(raw_pickle(module, name, f"touch {marker}", opcode))
    reason = "expected" if module.startswith("chumpy") else f"it asks for '{module}.{name}'; nothing was run"
    with pytest.raises(HandFileError, match=reason):
        read_hand_file(path)
    assert not marker.exists()


def test_the_same_opcodes_do_call_in_pickle(tmp_path: Path) -> None:
    """So that the test above can fail."""
    for opcode in ("REDUCE", "OBJ", "INST", "STACK_GLOBAL"):
        marker = tmp_path / opcode
        pickle.loads(raw_pickle("os", "mkdir", str(marker), opcode))
        assert marker.is_dir()


def test_a_pickle_leaves_nothing_behind(right: Arrays, tmp_path: Path) -> None:
    """Attributes set on the allowed classes must not reach the next file."""
    write_pickle(tmp_path / "right.pkl", right)
    for target in (b"cchumpy.ch\nCh\n", b"ccollections\nOrderedDict\n", b"c__builtin__\nset\n", b"cnumpy\nndarray\n"):
        (tmp_path / "bad.pkl").write_bytes(b"\x80\x02" + target + b"N}(Vkind\nVbytes\nV__new__\nNu\x86b.")
        with pytest.raises(HandFileError):
            read_hand_file(tmp_path / "bad.pkl")
    np.testing.assert_array_equal(read_hand_file(tmp_path / "right.pkl")["shapedirs"], right["shapedirs"])


def test_a_pickle_that_holds_itself_is_refused(tmp_path: Path) -> None:
    # {"v_template": Ch whose "x" is itself}
    chumpy = b"cchumpy.ch\nCh\n)\x81q\x01}Vx\nh\x01sb"
    (tmp_path / "hand.pkl").write_bytes(b"\x80\x02}Vv_template\n" + chumpy + b"s.")
    with pytest.raises(HandFileError, match=r"expected numbers in v_template, came something else \(maximum recursion"):
        read_hand_file(tmp_path / "hand.pkl")


@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "bsr", "dia", "dok"])
def test_sparse_arrays_of_all_kinds_are_read(form: str, protocol: int) -> None:
    random = np.random.default_rng(0)
    full = np.where(random.random((4, 6)) < 0.4, random.normal(size=(4, 6)), 0.0)
    for kind in ("matrix", "array"):
        made = getattr(scipy.sparse, f"{form}_{kind}")
        saved = made(full, blocksize=(2, 3)) if form == "bsr" else made(full)
        data = pickle.dumps({"weights": saved}, protocol)
        for module in (b"", b"_"):  # as older versions of scipy call it
            old = data.replace(f"scipy.sparse._{form}".encode(), b"scipy.sparse." + module + form.encode())
            old = old if protocol == 0 or module else data
            read = read_pickled_arrays(old, ["weights"], Path("hand.pkl"))["weights"]
            np.testing.assert_array_equal(read, full)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numbers_are_read_however_they_were_saved(protocol: int) -> None:
    values = np.random.default_rng(0).normal(size=(4, 6))
    kinds = [values.view(np.matrix), values.tolist(), list(values), [tuple(row) for row in values], values[::2]]
    kinds += [np.asfortranarray(values), values.astype(">f4"), np.float64(3), values.astype(np.int16)]
    for saved in kinds:
        for mapping in (dict, OrderedDict, lambda content: defaultdict(list, content)):
            content = {
                "weights": saved,
                "place": Path("/home"),
                "counts": Counter("ab"),
                7: {(1, 2): 3},
                "names": {"a"},
            }
            data = pickle.dumps(mapping(content), protocol)
            read = read_pickled_arrays(data, ["weights"], Path("hand.pkl"))
            np.testing.assert_array_equal(read["weights"], np.asarray(saved))
            assert read.keys() == {"weights"}


def test_a_pickle_of_numpy_1_and_of_2_is_the_same(right: Arrays, tmp_path: Path) -> None:
    data = pickle.dumps({"f": right["f"]}, 2)
    one, two = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
    for former in (data.replace(two, one), data.replace(one, two)):
        np.testing.assert_array_equal(read_pickled_arrays(former, ["f"], tmp_path)["f"], right["f"])


def test_texts_of_python_2_are_read() -> None:
    data = b"(dp0\nS'f'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\n"
    data += b"Rp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'|'\np13\nNNNI-1\nI-1\n"
    data += b"I0\ntp14\nbI00\nS'\\xff\\x01'\np15\ntp16\nbs."
    np.testing.assert_array_equal(read_pickled_arrays(data, ["f"], Path("hand.pkl"))["f"], [255, 1])


def test_what_is_not_needed_does_not_refuse_a_file_and_is_not_run(right: Arrays, tmp_path: Path) -> None:
    """And what is needed gets the line that converts a file one trusts, which does."""
    marker, path = tmp_path / "marker", tmp_path / "my hand.pkl"
    path.write_bytes(pickle.dumps(right | {"extra": Calls(os.mkdir, str(marker))}, 4))
    np.testing.assert_array_equal(read_hand_file(path)["weights"], right["weights"])
    path.write_bytes(pickle.dumps(right | {"hands_mean": Calls(np.ravel, right["hands_mean"])}, 4))
    with pytest.raises(
        HandFileError, match=r"asks for 'numpy\.ravel'; nothing was run; .* convert it: fgs hand"
    ) as caught:
        read_hand_file(path)
    assert not marker.exists()
    words = shlex.split(str(caught.value).partition("convert it: fgs ")[2])
    assert words[:3] == ["hand", "convert", str(path)] and words[-1] == "--trust-pickle"
    out = tmp_path / words[3]
    assert main([*words[:3], str(out), *words[4:]]) == 0
    np.testing.assert_array_equal(read_hand_file(out)["hands_mean"], right["hands_mean"])


def test_a_trusted_pickle_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "hand.pkl"
    path.write_bytes(b"\x80\x02cno_such_package\nThing\n)R.")
    with pytest.raises(HandFileError, match=r"^[^\n]*cannot be unpickled \(No module named 'no_such_package'\)[^\n]*$"):
        read_hand_file(path, trust_pickle=True)


DOUBLED = b"".join(b"]\x94(h" + bytes([k, ord("h"), k]) + b"e" for k in range(60))
DOUBLED_KEY = b"".join(b"h" + bytes([k]) + b"\x86\x94" for k in range(60))
BOMBS = {
    "bytes that are not there": b"}\x8c\x01f\x8e" + struct.pack("<Q", 10**12) + b"abc",
    "room that is not needed": b"}\x8c\x01f\x96" + struct.pack("<Q", 10**11) + b"abc",
    "a huge place in the memo": b"}r\xff\xff\xff\xff\x8c\x01f]s.",
    "a deep key": b"})" + b"\x85" * 10_000 + b"K\x01s\x8c\x01f]s.",
    "a deep list": b"}\x8c\x01f)" + b"\x85" * 10_000 + b"s.",
    "a list of itself twice, sixty times": b"}\x8c\x01f]\x94" + DOUBLED + b"s.",
    "a key of itself twice, sixty times": b"})\x94" + DOUBLED_KEY + b"K\x01s\x8c\x01f]s.",
    "a call for room": pickle.dumps({"f": Calls(bytearray, 10**12)}, 2)[2:],
    "a number of many digits": b"}\x8c\x01fL" + b"9" * 10**6 + b"L\ns.",
    "a codec": pickle.dumps({"f": Calls(codecs.encode, "abc", "idna")}, 2)[2:],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hand.pkl"
    path.write_bytes(b"\x80\x04" + BOMBS[name])
    limit, before = 2**30, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HandFileError, match=r"^[^\n]*hand\.pkl: expected [^\n]*$"):
        read_hand_file(path)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < limit


def test_opcodes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_records, "MOST_OPCODES", 1000)
    for count in (997, 1000):
        (tmp_path / "hand.pkl").write_bytes(b"\x80\x04" + b"}" * count + b".")
        line = "expected MANO's keys, missing" if count < 998 else r"cut short \(more than 1000 opcodes\)"
        with pytest.raises(HandFileError, match=line):
            read_hand_file(tmp_path / "hand.pkl")


@pytest.mark.parametrize("size", [10**6, 10**12])
def test_a_sparse_array_of_a_huge_shape_is_one_line(size: int, tmp_path: Path) -> None:
    sparse = csc_matrix(np.eye(3))
    sparse._shape = (size, size)  # pyright: ignore[reportAttributeAccessIssue]
    (tmp_path / "hand.pkl").write_bytes(pickle.dumps({"J_regressor": sparse}))
    with pytest.raises(HandFileError, match=rf"expected numbers in J_regressor, .*{size**2} numbers, 33554432 at most"):
        read_hand_file(tmp_path / "hand.pkl")


def test_an_unknown_chumpy_expression_is_named(right: Arrays, tmp_path: Path) -> None:
    text = pickle.dumps(right | {"weights": Calls(OrderedDict, [])}, 2)
    (tmp_path / "hand.pkl").write_bytes(text.replace(b"ccollections\nOrderedDict\n", b"cchumpy.ch\nadd\n"))
    with pytest.raises(
        HandFileError, match=r"expected numbers in weights, came something else \(a chumpy of an unknown form\)"
    ):
        read_hand_file(tmp_path / "hand.pkl")
