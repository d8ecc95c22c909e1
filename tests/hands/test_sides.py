"""Right and left hands: mirror images of each other, the official left file repaired, the other side refused."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.errors import HandFileError, HandFileWarning
from fgs_jax.hands.files import load_hand_model, mirror_hand_model, read_hand_file, write_hand_file
from fgs_jax.hands.mano import hand
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.testing import write_mano_pickle as write_pickle
from fgs_jax.types import HandParams
from tests.hands.mano_arrays import Arrays, assert_same_model, signed_volume, with_wrong_x


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
