"""The model of a hand file: its arrays in the default float type, and the anatomy that is found in them."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.errors import HandFileError
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands.files import hand_model, load_hand_model, locate_hand_file, mirror_hand_model, read_hand_file
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.testing import write_mano_pickle as write_pickle
from tests.hands.mano_arrays import Arrays, assert_same_model


def test_all_shape_directions_are_kept(right: Arrays, tmp_path: Path) -> None:
    shapedirs = np.concatenate([right["shapedirs"], 2 * right["shapedirs"]], axis=2)
    write_npz(tmp_path / "hand.npz", right | {"shapedirs": shapedirs})
    model = load_hand_model(tmp_path / "hand.npz")
    assert model.blend_directions.shape == (155, 3, 778)
    np.testing.assert_allclose(model.shapedirs, shapedirs, atol=1e-8)
    assert model.joint_shapedirs.shape == (16, 3, 20)


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


def test_a_model_can_be_made_of_arrays(right: Arrays, tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", right)
    model = hand_model(read_hand_file(tmp_path / "hand.npz"), "hand")
    assert_same_model(model, load_hand_model(tmp_path / "hand.npz"))
