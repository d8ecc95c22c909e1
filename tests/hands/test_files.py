"""Hand model files: what is read is what was written, nothing is run, and every mistake is named in one line."""

import codecs
import os
import pickle
import re
import resource
import shlex
import socket
import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.sparse import csc_matrix

from fgs_jax.cli import main
from fgs_jax.errors import HandFileError, HandFileWarning
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands import files as hand_files
from fgs_jax.hands import pickle_records
from fgs_jax.hands.files import (
    hand_model,
    load_hand_model,
    locate_hand_file,
    mirror_hand_model,
    read_hand_file,
    write_hand_file,
)
from fgs_jax.hands.mano import hand
from fgs_jax.hands.safe_pickle import read_pickled_arrays
from fgs_jax.testing import mirrored_mano as mirrored
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.testing import write_mano_pickle as write_pickle
from fgs_jax.types import HandModel, HandParams

Arrays = dict[str, np.ndarray]
KEYS = ("v_template", "f", "weights", "J_regressor", "shapedirs", "posedirs", "kintree_table", "hands_mean")
KEYS = (*KEYS, "hands_components", "hands_coeffs")


@pytest.fixture(scope="module")
def right() -> Arrays:
    return synthetic_mano()


@pytest.fixture(scope="module")
def left(right: Arrays) -> Arrays:
    return mirrored(right)


@pytest.fixture(autouse=True)
def no_mano(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FGS_MANO_DIR", raising=False)


def with_wrong_x(arrays: Arrays) -> Arrays:
    """The defect of the official left file: x of the shape directions is the right hand's."""
    return arrays | {"shapedirs": arrays["shapedirs"] * np.array([-1, 1, 1])[:, None]}


def assert_same_model(a: HandModel, b: HandModel, tolerance: float = 0.0) -> None:
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, str):
            assert x == y, field.name
        elif tolerance:
            np.testing.assert_allclose(x, y, atol=tolerance, err_msg=field.name)
        else:
            assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), field.name


# The synthetic hand


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


def test_all_shape_directions_are_kept(right: Arrays, tmp_path: Path) -> None:
    shapedirs = np.concatenate([right["shapedirs"], 2 * right["shapedirs"]], axis=2)
    write_npz(tmp_path / "hand.npz", right | {"shapedirs": shapedirs})
    model = load_hand_model(tmp_path / "hand.npz")
    assert model.blend_directions.shape == (155, 3, 778)
    np.testing.assert_allclose(model.shapedirs, shapedirs, atol=1e-8)
    assert model.joint_shapedirs.shape == (16, 3, 20)


# The model


def test_the_model_has_the_arrays_of_the_file(right: Arrays, tmp_path: Path) -> None:
    write_pickle(tmp_path / "my_hand.pkl", right)
    model = load_hand_model(tmp_path / "my_hand.pkl")
    assert (model.name, model.side) == ("my_hand", "right")
    same = {"v_template": "v_template", "shapedirs": "shapedirs", "posedirs": "posedirs", "weights": "weights"}
    same |= {"joint_regressor": "J_regressor", "joint_template": "J", "pose_components": "hands_components"}
    for field, key in same.items():
        assert getattr(model, field).dtype == jnp.float32
        np.testing.assert_allclose(getattr(model, field), right[key], atol=1e-7, err_msg=field)
    np.testing.assert_array_equal(model.faces, right["f"])
    np.testing.assert_allclose(model.pose_mean.ravel(), right["hands_mean"], atol=1e-7)
    joint_shapedirs = np.stack([right["J_regressor"] @ right["shapedirs"][:, :, k] for k in range(10)], axis=2)
    np.testing.assert_allclose(model.joint_shapedirs, joint_shapedirs, atol=1e-8)
    frames = hand_anatomy.bone_frames(right["J"], right["v_template"][model.tip_vertex_ids])
    np.testing.assert_allclose(model.bone_frames, frames, atol=1e-6)
    np.testing.assert_allclose(model.joint_limits, hand_anatomy.joint_limits(), atol=1e-6)
    for ids in (model.faces, model.cap_faces, model.wrist_loop, model.tip_vertex_ids, model.regions):
        assert ids.dtype == jnp.int32


@pytest.mark.usefixtures("x64")
def test_the_model_follows_the_default_float_type(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right)
    model = load_hand_model(tmp_path / "hand.npz")
    assert model.joint_template.dtype == jnp.float64
    np.testing.assert_array_equal(model.joint_template, right["J_regressor"] @ right["v_template"])
    assert model.faces.dtype == jnp.int32
    assert mirror_hand_model(model).blend_directions.dtype == jnp.float64


def test_the_anatomy_is_added(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right)
    arrays = read_hand_file(tmp_path / "hand.npz")
    directions = right["v_template"][arrays["tip_vertex_ids"]] - right["J"][[15, 3, 6, 12, 9]]
    bones = right["J"][[15, 3, 6, 12, 9]] - right["J"][[14, 2, 5, 11, 8]]
    reach = np.sum(directions * bones, axis=1) / np.linalg.norm(bones, axis=1)
    np.testing.assert_allclose(reach, [0.026, 0.024, 0.025, 0.025, 0.022], atol=5e-4)
    assert len(arrays["wrist_loop"]) == 16
    edges = np.concatenate(
        [np.concatenate([arrays["f"], arrays["f_cap"]])[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]
    )
    assert {(a, b) for a, b in edges.tolist()} == {(b, a) for a, b in edges.tolist()}
    assert (np.bincount(arrays["regions"] + 1)[1:] >= 10).all()
    poses = right["hands_coeffs"] @ right["hands_components"]
    np.testing.assert_allclose(arrays["pose_std"].ravel(), poses.std(axis=0))
    np.testing.assert_allclose(arrays["hands_components_std"], right["hands_coeffs"].std(axis=0))


def test_without_pose_samples_the_open_hand_lends_its_spread(right: Arrays, tmp_path: Path) -> None:
    del (right := dict(right))["hands_coeffs"]
    write_npz(tmp_path / "hand.npz", right)
    arrays = read_hand_file(tmp_path / "hand.npz")
    pose_std = read_hand_file(locate_hand_file("open_hand")[1])["pose_std"]
    np.testing.assert_array_equal(arrays["pose_std"], pose_std)
    draws = np.random.default_rng(0).normal(0, pose_std.ravel(), (20000, 45)) @ right["hands_components"].T
    np.testing.assert_allclose(arrays["hands_components_std"], draws.std(axis=0), rtol=0.03)


def test_fingertips_can_be_given(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right)
    given = [700, 350, 450, 550, 650]
    model = load_hand_model(tmp_path / "hand.npz", tip_vertex_ids=given)
    np.testing.assert_array_equal(model.tip_vertex_ids, given)
    bone = model.joint_template[15] - model.v_template[700]
    np.testing.assert_allclose(model.bone_frames[14, 0], bone / jnp.linalg.norm(bone), atol=1e-6)
    with pytest.raises(HandFileError, match="expected 0 to 777 in tip_vertex_ids, came 3 to 778"):
        load_hand_model(tmp_path / "hand.npz", tip_vertex_ids=[700, 778, 3, 4, 5])
    with pytest.raises(HandFileError, match=r"expected tip_vertex_ids of shape \(5,\), came \(2,\)"):
        load_hand_model(tmp_path / "hand.npz", tip_vertex_ids=[700, 77])


@pytest.mark.parametrize("name", ["open_hand", "open_hand_full"])
def test_the_open_hand_is_there(name: str) -> None:
    model = load_hand_model(name)
    assert (model.name, model.side) == (name, "right")
    length = jnp.linalg.norm(model.v_template[model.tip_vertex_ids[2]] - model.joint_template[0])
    assert 0.17 < length < 0.19
    assert_same_model(load_hand_model(name, "left"), mirror_hand_model(model))


# Names, folders and sides


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


def test_a_file_of_the_other_side_is_refused(right: Arrays, left: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", left)
    write_npz(tmp_path / "b.npz", right)
    write_npz(tmp_path / "c.npz", left | {"side": np.array("right")})
    with pytest.raises(HandFileError, match=r"a\.npz: expected a right hand, came a left one; .*mirror_hand_model"):
        load_hand_model(tmp_path / "a.npz")
    with pytest.raises(HandFileError, match=r"b\.npz: expected a left hand, came a right one; .*mirror_hand_model"):
        load_hand_model(tmp_path / "b.npz", "left")
    with pytest.raises(HandFileError, match=r"c\.npz: expected a right hand, as the file says, came a left one"):
        load_hand_model(tmp_path / "c.npz", "left")


# Mirror


def test_mirroring_twice_changes_no_bit() -> None:
    model = load_hand_model("open_hand")
    other = mirror_hand_model(model)
    assert other.side == "left"
    assert_same_model(mirror_hand_model(other), model)
    assert_same_model(jax.jit(mirror_hand_model)(model), other)


def test_the_mirror_image_is_the_left_file(right: Arrays, left: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "right.npz", right)
    write_npz(tmp_path / "left.npz", left)
    mirror = mirror_hand_model(load_hand_model(tmp_path / "right.npz"))
    loaded = load_hand_model(tmp_path / "left.npz", "left")
    # The loop may begin anywhere, and the cap with it.
    start = int(jnp.argmax(mirror.wrist_loop == loaded.wrist_loop[0]))
    np.testing.assert_array_equal(jnp.roll(mirror.wrist_loop, -start), loaded.wrist_loop)
    either = {"name": "hand", "wrist_loop": loaded.wrist_loop, "cap_faces": loaded.cap_faces}
    assert_same_model(replace(mirror, **either), replace(loaded, **either), 1e-6)
    assert float(signed_volume(mirror)) == pytest.approx(float(signed_volume(loaded)), rel=1e-2)
    assert float(signed_volume(mirror)) > 2e-4


def test_a_mirrored_hand_moves_as_the_mirror_image() -> None:
    random = np.random.default_rng(0)
    model = load_hand_model("open_hand")
    pose, rotation, translation = random.normal(0, 0.4, (15, 3)), random.normal(0, 1, 3), random.normal(0, 1, 3)
    betas, turn, mirror = random.normal(size=10), np.array([1, -1, -1]), np.array([-1, 1, 1])
    params = HandParams(jnp.asarray(betas), jnp.asarray(pose), jnp.asarray(rotation), jnp.asarray(translation))
    other = replace(params, pose=jnp.asarray(pose * turn), rotation=jnp.asarray(rotation * turn))
    other = replace(other, translation=jnp.asarray(translation * mirror))
    left, right = hand(mirror_hand_model(model), other), hand(model, params)
    np.testing.assert_allclose(left.vertices, np.asarray(right.vertices) * mirror, atol=1e-6)
    np.testing.assert_allclose(left.keypoints, np.asarray(right.keypoints) * mirror, atol=1e-6)


def signed_volume(model: HandModel) -> jax.Array:
    a, b, c = (model.v_template[jnp.concatenate([model.faces, model.cap_faces])[:, k]] for k in range(3))
    return jnp.sum(a * jnp.cross(b, c)) / 6


# The official left file


@pytest.mark.parametrize("has_right_file", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_left_file_is_repaired(
    right: Arrays, left: Arrays, tmp_path: Path, has_right_file: bool, sign: int
) -> None:
    left = left | {"shapedirs": sign * left["shapedirs"]}
    if has_right_file:
        write_pickle(tmp_path / "MANO_RIGHT.pkl", right | {"shapedirs": sign * right["shapedirs"]})
    write_pickle(tmp_path / "MANO_LEFT.pkl", with_wrong_x(left))
    with pytest.warns(HandFileWarning, match=r"^[^\n]*MANO_LEFT\.pkl: turned the sign of x in shapedirs[^\n]*$"):
        arrays = read_hand_file(tmp_path / "MANO_LEFT.pkl")
    np.testing.assert_array_equal(arrays["shapedirs"], left["shapedirs"])
    write_hand_file(tmp_path / "MANO_LEFT.npz", arrays)
    np.testing.assert_array_equal(read_hand_file(tmp_path / "MANO_LEFT.npz")["shapedirs"], left["shapedirs"])


def test_the_right_file_decides_where_size_does_not(right: Arrays, left: Arrays, tmp_path: Path) -> None:
    """Without a change of size the hand alone says nothing; the file beside it does."""
    sizeless = {"shapedirs": right["shapedirs"][:, :, 1:]}
    unsized = left | {"shapedirs": left["shapedirs"][:, :, 1:]}
    write_pickle(tmp_path / "hand_left.pkl", with_wrong_x(unsized))
    np.testing.assert_array_equal(
        read_hand_file(tmp_path / "hand_left.pkl")["shapedirs"], with_wrong_x(unsized)["shapedirs"]
    )
    write_pickle(tmp_path / "hand_right.pkl", right | sizeless)
    with pytest.warns(HandFileWarning):
        arrays = read_hand_file(tmp_path / "hand_left.pkl")
    np.testing.assert_array_equal(arrays["shapedirs"], unsized["shapedirs"])


@pytest.mark.parametrize("beside", ["right", "nothing", "rubbish", "another"])
def test_a_correct_left_file_is_left_alone(right: Arrays, left: Arrays, tmp_path: Path, beside: str) -> None:
    if beside == "right":
        write_pickle(tmp_path / "MANO_RIGHT.pkl", right)
    elif beside == "rubbish":
        (tmp_path / "MANO_RIGHT.pkl").write_bytes(b"rubbish")
    elif beside == "another":
        write_pickle(tmp_path / "MANO_RIGHT.pkl", right | {"shapedirs": synthetic_mano(1)["shapedirs"][:, :, 1:]})
    write_pickle(tmp_path / "MANO_LEFT.pkl", left)
    np.testing.assert_array_equal(read_hand_file(tmp_path / "MANO_LEFT.pkl")["shapedirs"], left["shapedirs"])


def test_a_right_file_is_never_turned(right: Arrays, tmp_path: Path) -> None:
    write_pickle(tmp_path / "MANO_RIGHT.pkl", with_wrong_x(right))
    read = read_hand_file(tmp_path / "MANO_RIGHT.pkl")["shapedirs"]
    np.testing.assert_array_equal(read, with_wrong_x(right)["shapedirs"])


# Nothing is run


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


# Mistakes


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


def test_faces_wound_inward_are_turned_and_said(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "right.npz", right)
    expected = load_hand_model(tmp_path / "right.npz")
    write_npz(tmp_path / "hand.npz", right | {"f": right["f"][:, ::-1]})
    with pytest.warns(HandFileWarning, match=r"^[^\n]*hand\.npz: turned the faces, which were wound inward$"):
        model = load_hand_model(tmp_path / "hand.npz")
    np.testing.assert_array_equal(model.faces, expected.faces)
    np.testing.assert_array_equal(model.regions, expected.regions)
    assert float(signed_volume(model)) == pytest.approx(float(signed_volume(expected)), rel=1e-2)


def test_weights_that_rounding_has_spoilt_are_mended_and_said(right: Arrays, tmp_path: Path) -> None:
    for name, weights in (("half", right["weights"].astype(np.float16)), ("below", right["weights"] - 1e-6)):
        write_npz(tmp_path / f"{name}.npz", right | {"weights": weights})
        with pytest.warns(HandFileWarning, match=rf"{name}\.npz: weights: .* that sum to 1$"):
            mended = read_hand_file(tmp_path / f"{name}.npz")["weights"]
        np.testing.assert_allclose(mended, right["weights"], atol=1e-3)
        np.testing.assert_allclose(mended.sum(axis=1), 1, atol=1e-12)
        assert mended.min() >= 0


def test_joints_that_never_move_borrow_their_spread(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right | {"hands_coeffs": right["hands_coeffs"][:1]})
    with pytest.warns(HandFileWarning, match="45 of 45 joint angles do not vary in hands_coeffs"):
        arrays = read_hand_file(tmp_path / "hand.npz")
    np.testing.assert_array_equal(arrays["pose_std"], read_hand_file(locate_hand_file("open_hand")[1])["pose_std"])


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


def changed(**changes: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {key: change(arrays[key].copy()) for key, change in changes.items()}


def put(index: tuple[int, ...], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


MISTAKES: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "two keys missing": (
        lambda arrays: {key: arrays[key] for key in arrays if key not in ("weights", "hands_mean")},
        r"expected MANO's keys, missing weights, hands_mean; check that the file is a MANO hand model",
    ),
    "template": (
        changed(v_template=lambda x: x[:, :2]),
        r"expected v_template of shape \(v, 3\), came \(778, 2\)",
    ),
    "no vertices": (changed(v_template=lambda x: x[:0]), r"expected v_template of shape \(v, 3\), came \(0, 3\)"),
    "weights": (changed(weights=lambda x: x[1:]), r"expected weights of shape \(778, 16\), came \(777, 16\)"),
    "regressor": (changed(J_regressor=lambda x: x.T), r"expected J_regressor of shape \(16, 778\), came \(778, 16\)"),
    "posedirs": (
        changed(posedirs=lambda x: x[:, :, :9]),
        r"expected posedirs of shape \(778, 3, 135\), came \(778, 3, 9\)",
    ),
    "shapedirs": (
        changed(shapedirs=lambda x: x.ravel()[1:]),
        r"expected shapedirs of shape \(778, 3, b\), came \(23339,\)",
    ),
    "a number": (changed(shapedirs=lambda x: x[0, 0, 0]), r"expected shapedirs of shape \(778, 3, b\), came \(\)"),
    "mean": (changed(hands_mean=lambda x: x[:6]), r"expected hands_mean of shape \(45,\), came \(6,\)"),
    "coefficients": (changed(hands_coeffs=lambda x: x[:, 1:]), r"hands_coeffs of shape \(n, 45\), came \(100, 44\)"),
    "nan": (changed(posedirs=put((5, 1, 2), np.nan)), r"expected finite numbers in posedirs, came nan or infinity"),
    "infinity": (changed(v_template=put((0, 0), np.inf)), r"expected finite numbers in v_template"),
    "face too high": (changed(f=put((3, 1), 778)), r"expected 0 to 777 in f, came 0 to 778"),
    "face below zero": (
        changed(f=lambda x: put((3, 1), -1)(x.astype(int))),
        r"expected 0 to 777 in f, came -1 to 777",
    ),
    "broken faces": (changed(f=lambda x: x + 0.5), r"expected whole numbers in f, came fractions"),
    "huge faces": (changed(f=lambda x: x + 1e300), r"expected whole numbers in f, came fractions"),
    "tree": (
        changed(kintree_table=put((0, 5), 1)),
        r"expected MANO's joint tree in kintree_table, parents \[0, 1, 2, 0, 4.*, came \[0, 1, 2, 0, 1, 5",
    ),
    "sums": (changed(weights=put((7, 0), 1.5)), r"expected rows of weights that sum to 1, came 1\.5 in row 7"),
    "text": (changed(weights=lambda x: x.astype(str)), r"expected numbers in weights, came the numpy type <U32"),
    "joint order": (
        lambda arrays: arrays | {"joint_names": np.array(hand_anatomy.JOINT_NAMES[::-1])},
        r"expected MANO's order in joint_names, wrist index1 .*, came thumb3 thumb2",
    ),
    "millimetres of nothing": (
        changed(J_regressor=lambda x: x[[0] * 16]),
        r"expected joints apart, came two within 0 mm",
    ),
    "two openings": (
        changed(f=lambda x: x[1:]),
        r"expected a hand that is open at the wrist, .*; expected one opening \(the wrist\), found more",
    ),
    "closed": (
        lambda arrays: arrays | {"f": closed(arrays["f"])},
        r"expected a hand that is open at the wrist, .*; the mesh is closed",
    ),
    "winding": (
        changed(f=lambda x: np.concatenate([x[:1, ::-1], x[1:]])),
        r"expected a hand that is open at the wrist, .*; (its open edges form no loop|expected one opening)",
    ),
    "negative weights": (
        changed(weights=lambda x: x + np.eye(16)[0] * 0.2 - np.eye(16)[1] * 0.2),
        r"expected no negative number in weights, came -0\.2",
    ),
    "regressor's sums": (changed(J_regressor=lambda x: 2 * x), r"rows of J_regressor that sum to 1, came 2 in row"),
    "no spread": (
        lambda arrays: arrays | {"pose_std": np.eye(15, 3)},
        r"expected positive numbers in pose_std, came 0; check",
    ),
    "spread in degrees": (
        lambda arrays: arrays | {"pose_std": np.full((15, 3), 20.0)},
        r"expected radians in pose_std, came 20; are they degrees\?",
    ),
    "mean in degrees": (changed(hands_mean=np.rad2deg), r"expected radians in hands_mean, came"),
    "negative deviations": (
        lambda arrays: arrays | {"hands_components_std": -np.ones(45)},
        r"expected no negative number in hands_components_std, came -1",
    ),
    "limits": (
        lambda arrays: arrays | {"joint_limits": hand_anatomy.joint_limits()[..., ::-1]},
        r"expected least < greatest in joint_limits, came 0\.3491 and -0\.3491 for twist of index1; swap them",
    ),
    "tips in another order": (
        lambda arrays: arrays | {"tip_vertex_ids": np.array([350, 700, 450, 550, 650])},
        r"expected tip_vertex_ids from thumb to pinky, came a vertex of index2 for the thumb; reorder them",
    ),
    "tips twice": (
        lambda arrays: arrays | {"tip_vertex_ids": np.array([700, 350, 350, 550, 650])},
        r"expected different vertices in tip_vertex_ids, came one twice",
    ),
    "a cap wound inward": (
        lambda arrays: arrays | {"f_cap": closed(arrays["f"])[len(arrays["f"]) :, ::-1]},
        r"expected f and f_cap to close the hand, each edge once in either direction",
    ),
    "millimetres": (
        changed(v_template=lambda x: 1000 * x),
        r"expected a hand of 0\.05 to 0\.4 m, wrist to middle fingertip, came 1\d\d; scale",
    ),
    "huge": (changed(shapedirs=put((5, 1, 2), 1e30)), r"expected numbers of a hand in shapedirs, came 1e\+30"),
    "no fingertip": (
        changed(weights=lambda x: x[:, [*range(15), 0]] * ([1.0] * 15 + [0]) + np.eye(16)[0] * x[:, 15:]),
        r"with skin at each last joint; no vertex is bound to joint thumb3",
    ),
}


def closed(faces: np.ndarray) -> np.ndarray:
    return np.concatenate([faces, hand_anatomy.close_wrist(hand_anatomy.find_wrist_loop(faces.astype(int)))])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(right: Arrays, tmp_path: Path, mistake: str) -> None:
    change, message = MISTAKES[mistake]
    path = tmp_path / "hand.npz"
    write_npz(path, change(right))
    with pytest.raises(HandFileError, match=message) as caught:
        load_hand_model(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert ";" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_of_objects_are_refused(right: Arrays, tmp_path: Path) -> None:
    objects = right | {"v_template": np.array([[1, None, "x"]], dtype=object)}
    (tmp_path / "hand.pkl").write_bytes(pickle.dumps(objects, 2))
    with pytest.raises(HandFileError, match=r"expected numbers in v_template, came something else \(.*dtype"):
        read_hand_file(tmp_path / "hand.pkl")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps(right | {"v_template": [[1, None, "x"]]}, 2))
    with pytest.raises(HandFileError, match=r"expected numbers in v_template, came the numpy type object"):
        read_hand_file(tmp_path / "list.pkl")
    write_npz(tmp_path / "hand.npz", objects)
    with pytest.raises(HandFileError, match=r"holds pickled objects \(objects in place of numbers"):
        read_hand_file(tmp_path / "hand.npz")


def test_an_unknown_chumpy_expression_is_named(right: Arrays, tmp_path: Path) -> None:
    text = pickle.dumps(right | {"weights": Calls(OrderedDict, [])}, 2)
    (tmp_path / "hand.pkl").write_bytes(text.replace(b"ccollections\nOrderedDict\n", b"cchumpy.ch\nadd\n"))
    with pytest.raises(
        HandFileError, match=r"expected numbers in weights, came something else \(a chumpy of an unknown form\)"
    ):
        read_hand_file(tmp_path / "hand.pkl")


def test_a_model_can_be_made_of_arrays(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right)
    model = hand_model(read_hand_file(tmp_path / "hand.npz"), "hand")
    assert_same_model(model, load_hand_model(tmp_path / "hand.npz"))


# The command line


def test_info_describes_the_hand(right: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pickle(tmp_path / "MANO_RIGHT.pkl", right)
    assert main(["hand", "info", str(tmp_path / "MANO_RIGHT.pkl")]) == 0
    table = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line)
    arrays = read_hand_file(tmp_path / "MANO_RIGHT.pkl")
    length = np.linalg.norm(arrays["v_template"][arrays["tip_vertex_ids"][2]] - right["J"][0])
    model = hand_model(arrays, "hand")
    assert table["name"] == "MANO_RIGHT"
    assert table["side"] == "right"
    assert table["vertices"] == "778"
    assert table["faces"] == "1538, and 14 that close the wrist"
    assert table["shape"] == "directions  10"
    assert table["pose"] == "components   45"
    assert table["length"] == f"{length * 1e3:.1f} mm, wrist to middle fingertip"
    assert float(table["volume"].split()[0]) == pytest.approx(float(signed_volume(model)) * 1e6, abs=0.1)
    assert table["regions"].startswith(f"thumb {np.sum(arrays['regions'] == 0)}, index")
    assert table["regions"].endswith(f"palm {np.sum(arrays['regions'] == 5)} vertices")
    assert table["licence"] == "not stated in the file"


def test_info_takes_names_and_left_hands(left: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hand", "info"]) == 0
    default = capsys.readouterr().out
    assert "licence           CC0-1.0\n" in default
    assert main(["hand", "info", "--hand-model", "open_hand"]) == 0
    assert capsys.readouterr().out == default
    write_npz(tmp_path / "left.npz", with_wrong_x(left))
    assert main(["hand", "info", str(tmp_path / "left.npz")]) == 0
    printed = capsys.readouterr()
    assert "side              left\n" in printed.out
    assert re.fullmatch(r"fgs: .*left\.npz: turned the sign of x in shapedirs, .*\n", printed.err)


def test_convert_writes_plain_arrays(right: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "MANO_RIGHT.pkl", tmp_path / "hand.npz"
    write_pickle(source, right)
    assert main(["hand", "convert", str(source), str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    with np.load(out, allow_pickle=False) as file:
        for key in KEYS:
            np.testing.assert_array_equal(file[key], right[key], err_msg=key)
    assert_same_model(load_hand_model(out), replace(load_hand_model(source), name="hand"))
    assert main(["hand", "convert", str(source), str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"fgs: {out}: the file is there already")
    assert main(["hand", "convert", str(out), str(out), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "gone.pkl"], "fgs: gone.pkl: expected a hand model file, there is none; check the path"),
        (["info", "a", "--hand-model", "b"], "fgs: expected one hand model, came a and b; leave one out"),
        (
            ["convert", "gone.pkl", "out.npz"],
            "fgs: gone.pkl: expected a hand model file, there is none; check the path",
        ),
    ],
)
def test_an_error_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["hand", *words]) == 2
    assert capsys.readouterr() == ("", message + "\n")


@pytest.mark.parametrize("words", [[], ["hand"], ["foot"], ["hand", "convert", "a"], ["hand", "info", "--no-such"]])
def test_unknown_words_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hand", "--help"]) == 0
    out = capsys.readouterr().out
    assert "info" in out
    assert "convert" in out
