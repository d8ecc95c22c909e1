"""Hand model files: what is read is what was written, names lead to files, and what is none is named in one line."""

import os
import pickle
import socket
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_matrix

from fgs_jax.errors import HandFileError
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands import files as hand_files
from fgs_jax.hands.files import load_hand_model, mirror_hand_model, read_hand_file, write_hand_file
from fgs_jax.testing import mirrored_mano as mirrored
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.testing import write_mano_pickle as write_pickle
from tests.hands.mano_arrays import KEYS, Arrays, assert_same_model


def test_the_synthetic_hand_is_a_hand(right: Arrays) -> None:
    assert right["v_template"].shape == (778, 3)
    assert right["f"].shape == (1538, 3)
    assert len(hand_anatomy.find_wrist_loop(right["f"].astype(int))) == 16
    np.testing.assert_allclose(right["J_regressor"].sum(axis=1), 1, atol=1e-12)
    assert right["J_regressor"].min() == 0
    assert (right["J_regressor"] > 0).sum(axis=1).max() <= 34
    np.testing.assert_allclose(right["hands_components"] @ right["hands_components"].T, np.eye(45), atol=1e-12)
    assert hand_anatomy.find_side(right["J"]) == "right"
    assert hand_anatomy.find_side(mirrored(right)["J"]) == "left"


# Round trips


def test_an_official_pickle_holds_its_arrays(right: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    write_pickle(path, right)
    for name in (b"chumpy.ch\nCh", b"chumpy.reordering\nSelect", b"scipy.sparse.csc\ncsc_matrix", b"numpy.core."):
        assert name in path.read_bytes()
    arrays = read_hand_file(path)
    for key in KEYS:
        np.testing.assert_array_equal(arrays[key], right[key], err_msg=key)
        assert arrays[key].dtype == (np.int64 if key in ("f", "kintree_table") else np.float64)


def test_another_reader_finds_the_same_in_it(right: Arrays, tmp_path: Path) -> None:
    reader = pytest.importorskip("body_models.mano.numpy", reason="pip install body-models")
    write_pickle(tmp_path / "MANO_RIGHT.pkl", right)
    theirs = reader.MANO(model_path=tmp_path / "MANO_RIGHT.pkl", flat_hand_mean=True)
    betas = np.linspace(-1, 1, 10, dtype=np.float32)
    vertices = theirs.forward_vertices(np.zeros((15, 3), np.float32), shape=betas)
    np.testing.assert_allclose(vertices, right["v_template"] + right["shapedirs"] @ betas, atol=1e-6)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_python_3_pickle_holds_its_arrays(right: Arrays, tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "hand.pkl"
    content = OrderedDict(right, J_regressor=csc_matrix(right["J_regressor"]))
    content["posedirs"] = np.asfortranarray(right["posedirs"])
    path.write_bytes(pickle.dumps(content, protocol))
    arrays = read_hand_file(path)
    for key in KEYS:
        np.testing.assert_array_equal(arrays[key], right[key], err_msg=key)


def test_an_npz_holds_its_arrays(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right)
    arrays = read_hand_file(tmp_path / "hand.npz")
    for key in KEYS:
        np.testing.assert_array_equal(arrays[key], right[key], err_msg=key)


def test_what_is_written_is_read_again(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right | {"license": np.array("none")})
    arrays = read_hand_file(tmp_path / "hand.npz")
    write_hand_file(tmp_path / "ours.npz", arrays)
    again = read_hand_file(tmp_path / "ours.npz")
    assert again.keys() == arrays.keys()
    assert {"license", "tip_vertex_ids", "f_cap", "regions", "pose_std", "side"} <= again.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(again[key], array, err_msg=key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hand.npz", "ours.npz"]


def test_writing_overwrites_only_when_told(right: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "hand.npz"
    path.write_text("precious")
    with pytest.raises(HandFileError, match=r"hand\.npz: the file is there already; .*--overwrite"):
        write_hand_file(path, right)
    assert path.read_text() == "precious"
    write_hand_file(path, right, overwrite=True)
    np.testing.assert_array_equal(read_hand_file(path)["v_template"], right["v_template"])
    with pytest.raises(HandFileError, match=r"expected a name that ends in \.npz"):
        write_hand_file(tmp_path / "hand.pkl", right)
    with pytest.raises(HandFileError, match=r"cannot be written \(No such file or directory\)"):
        write_hand_file(tmp_path / "nowhere" / "hand.npz", right)
    with pytest.raises(HandFileError, match="expected plain arrays, came Python objects in f, weights"):
        write_hand_file(path, right | dict.fromkeys(("f", "weights"), np.array([None])), overwrite=True)


def test_a_write_that_fails_leaves_the_old_file(right: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "hand.npz"
    path.write_text("precious")
    with pytest.raises(UnicodeEncodeError):
        write_hand_file(path, right | {"\ud800": right["f"]}, overwrite=True)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", ["one axis", "two axes"])
def test_flat_blend_shapes_are_unfolded(right: Arrays, tmp_path: Path, form: str) -> None:
    flat = {key: right[key].reshape(-1, right[key].shape[2]) for key in ("shapedirs", "posedirs")}
    flat = {key: array.ravel() for key, array in flat.items()} if form == "one axis" else flat
    write_npz(tmp_path / "hand.npz", right | flat)
    arrays = read_hand_file(tmp_path / "hand.npz")
    np.testing.assert_array_equal(arrays["shapedirs"], right["shapedirs"])
    np.testing.assert_array_equal(arrays["posedirs"], right["posedirs"])


# Names and folders


def test_the_default_is_mano_where_it_is_set(
    right: Arrays, left: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_hand_model().name == "open_hand"
    monkeypatch.setenv("FGS_MANO_DIR", str(tmp_path))
    write_npz(tmp_path / "MANO_RIGHT.npz", right)
    model = load_hand_model()
    assert (model.name, model.side) == ("mano", "right")
    assert_same_model(load_hand_model(side="left"), mirror_hand_model(model))
    moved = left | {"v_template": left["v_template"] + [0, 0.125, 0]}
    write_pickle(tmp_path / "MANO_LEFT.pkl", moved)
    np.testing.assert_allclose(load_hand_model("mano", "left").v_template, moved["v_template"], atol=1e-7)
    assert load_hand_model("open_hand").name == "open_hand"


def test_a_name_says_what_is_missing(right: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        HandFileError, match=r"expected \$FGS_MANO_DIR to name the folder .* it is not set; .*'open_hand'"
    ):
        load_hand_model("mano")
    monkeypatch.setenv("FGS_MANO_DIR", str(tmp_path))
    with pytest.raises(HandFileError, match=rf"{tmp_path}: expected MANO_RIGHT\.pkl \(or \.npz\) .* came none; set"):
        load_hand_model("mano")
    with pytest.raises(HandFileError, match=r"many: expected one of open_hand, open_hand_full, mano, or the path"):
        load_hand_model("many")
    with pytest.raises(HandFileError, match="expected side 'right' or 'left', came 'both'"):
        load_hand_model("open_hand", "both")
    write_npz(tmp_path / "MANO_LEFT.npz", right)
    with pytest.raises(HandFileError, match=r"MANO_LEFT\.npz: expected a left hand, came a right one"):
        load_hand_model("mano", "left")


# What is no hand file


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pkl")
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(folder := Path.cwd())
        made.bind(str(tmp_path / "s"))
        for place, line in {
            "pipe.pkl": "expected a hand model file, came a pipe",
            "s": "expected a hand model file, came a socket",
            "/dev/zero": "expected a hand model file, came a device",
            "x" * 300 + ".npz": "cannot be read (File name too long)",
            "x" * 251 + "left": "there is none",
            "~no_such_user/hand.pkl": "there is no such home folder",
            "nu\0ll.npz": "a name that no file can have",
        }.items():
            path = place if place.startswith("~") else tmp_path / place
            for read in (read_hand_file, load_hand_model):
                with pytest.raises(HandFileError, match=r"^[^\n]*$") as caught:
                    read(path)
                assert line in str(caught.value)
    assert Path.cwd() == folder
    with pytest.raises(HandFileError, match="cannot be written"):
        write_hand_file(tmp_path / ("x" * 300 + ".npz"), {})


def test_an_npz_may_hold_other_things_and_no_bomb(
    right: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "hand.npz", right | {"notes": np.array([{"a": 1}], dtype=object)})
    np.testing.assert_array_equal(read_hand_file(tmp_path / "hand.npz")["weights"], right["weights"])
    monkeypatch.setattr(hand_files, "_MOST_BYTES", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", v_template=np.zeros((2**18, 3), np.float32))
    with pytest.raises(HandFileError, match=r"arrays of 3 MiB, 1 at most are read"):
        read_hand_file(tmp_path / "bomb.npz")


def test_a_path_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(HandFileError, match=r"gone\.pkl: expected a hand model file, there is none; check the path"):
        load_hand_model(tmp_path / "gone.pkl")
    with pytest.raises(HandFileError, match=r"expected a hand model file, came a folder; name the file in it"):
        load_hand_model(tmp_path)
    (tmp_path / "page.pkl").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(HandFileError, match=r"came a file that starts with b'<!DOCTYPE html><'; download it again"):
        load_hand_model(tmp_path / "page.pkl")
    (tmp_path / "empty.pkl").write_bytes(b"")
    with pytest.raises(HandFileError, match=r"expected a MANO pickle or an npz, came a file that starts with b''"):
        load_hand_model(tmp_path / "empty.pkl")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(HandFileError, match=r"expected a pickled dict with MANO's keys, came another object"):
        load_hand_model(tmp_path / "list.pkl")


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.999])
def test_a_file_that_was_cut_is_named(right: Arrays, tmp_path: Path, share: float) -> None:
    write_pickle(tmp_path / "hand.pkl", right)
    write_npz(tmp_path / "hand.npz", right)
    for name, message in (("hand.pkl", "expected a whole pickle"), ("hand.npz", "expected an npz of plain arrays")):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(share * len(data))])
        with pytest.raises(HandFileError, match=rf"{name}: {message}, it is damaged or .* \(.+\); download it again"):
            load_hand_model(tmp_path / name)


def test_a_damaged_npz_is_named(right: Arrays, tmp_path: Path) -> None:
    write_hand_file(tmp_path / "hand.npz", right)
    data = bytearray((tmp_path / "hand.npz").read_bytes())
    data[5000:6000] = bytes(1000)
    (tmp_path / "hand.npz").write_bytes(data)
    with pytest.raises(HandFileError, match=r"hand\.npz: expected an npz of plain arrays, it is damaged"):
        load_hand_model(tmp_path / "hand.npz")
