"""The arrays of a hand file are checked: small faults are mended and said, every mistake is named in one line."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fgs_jax.errors import HandFileError, HandFileWarning
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands.files import load_hand_model, locate_hand_file, read_hand_file
from fgs_jax.testing import write_mano_npz as write_npz
from tests.hands.mano_arrays import Arrays, signed_volume


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
