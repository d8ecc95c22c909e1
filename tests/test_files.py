"""Files that people give."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fgs_jax.errors import SceneError
from fgs_jax.files import read_input, read_npy, read_npz


def npz(**arrays: np.ndarray) -> bytes:
    np.savez_compressed(buffer := io.BytesIO(), allow_pickle=True, **arrays)
    return buffer.getvalue()


def test_a_regular_file_is_read(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"bytes")
    assert read_input(tmp_path / "a", "a file", SceneError) == b"bytes"


def test_what_is_no_file_gets_one_line(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"12345")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name, line in {
        "none": "there is none",
        ".": "came a folder; name the file in it",
        "pipe": "came a pipe; save what it brings as a file first",
        "/dev/zero": "came a device",
        "large": "of at most 0 MiB, came 0 MiB",
        "x" * 300: "cannot be read (File name too long)",
        "circle": "cannot be read (Too many levels of symbolic links)",
        "nu\0ll": "a name that no file can have",
    }.items():
        with pytest.raises(SceneError, match=r"^[^\n]*$") as caught:
            read_input(tmp_path / name, "a scene's file", SceneError, most=4)
        assert line in str(caught.value)


def test_arrays_come_back_to_the_bit():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.eye(2, 3)), "c": np.array(7)}
    read = read_npz(npz(**arrays))
    assert list(read) == ["a", "b", "c"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_no_room_is_made_for_what_a_header_promises():
    header = np.lib.format.header_data_from_array_1_0(np.zeros(3))
    np.lib.format.write_array_header_1_0(buffer := io.BytesIO(), header | {"shape": (10**13,)})
    with pytest.raises(ValueError, match=r"a header of shape \(10000000000000,\), and 24 bytes"):
        read_npy(buffer.getvalue() + bytes(24))
    with pytest.raises(ValueError, match="arrays of 64 MiB, 1 at most are read"):
        read_npz(npz(a=np.zeros(2**23)), most=2**20)


def test_objects_and_names_given_twice_are_refused():
    with pytest.raises(ValueError, match="objects in place of numbers"):
        read_npz(npz(a=np.array([{}], object)))
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        np.save(array := io.BytesIO(), np.zeros(1))
        archive.writestr("a.npy", array.getvalue())
        archive.writestr("a", array.getvalue())
    with pytest.raises(ValueError, match="the array a is there twice"):
        read_npz(buffer.getvalue())


def with_header(header: str, data: bytes) -> bytes:
    """An npy file of version 1 with this header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def test_an_array_of_python_2_is_read_without_a_warning():
    array = np.arange(6.0).reshape(2, 3)
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3L), }\n"
    np.testing.assert_array_equal(read_npy(with_header(header, array.tobytes())), array)


@pytest.mark.parametrize("header", ["", "\n  {'descr': '<f8'", "{'descr'; '<f8'}", 9000 * "-" + "1", 300 * "(", "1 L"])
def test_a_header_that_is_none_is_refused(header: str):
    with pytest.raises(ValueError, match=r"^[^\n]*$"):
        read_npy(with_header(header, bytes(48)))
