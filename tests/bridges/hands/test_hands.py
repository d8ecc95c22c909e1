"""Hands from files: HaMeR's results, our own files, and one line for a file that means nothing."""

import json
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_bridges.geometry import camera_matrix, hamer_focal
from fgs_bridges.hand_check import check_hand
from fgs_bridges.hands import HandFile, write_hands
from fgs_bridges.registry import create
from fgs_bridges.types import Detection, HandEstimate
from fgs_jax.errors import BridgeError, ConfigError
from fgs_jax.types import HandModel
from tests.bridges.hands.recorded_hands import HAMER, HEIGHT, PICTURE, WIDTH, fails


def test_hamers_result_and_our_layer(estimates: list[HandEstimate], model: HandModel) -> None:
    """HaMeR's own MANO layer and ours, for a right and a left hand."""
    right, left = estimates
    assert (right.side, left.side) == ("right", "left")
    assert right.K is not None and left.keypoints_2d is not None and left.vertices is not None
    assert right.K[0, 0] == hamer_focal(WIDTH, HEIGHT) == 12_500
    assert check_hand(right) < 0.05 and check_hand(left, model) < 0.05
    # HaMeR's own keypoints, in its crops, of which the left one is flipped: half a percent of the hand is perspective.
    with np.load(HAMER) as file:
        for k, estimate in enumerate(estimates):
            in_crop = file["pred_keypoints_2d"][k] * [1 if file["right"][k] else -1, 1]
            seen = file["box_center"][k] + file["box_size"][k] * in_crop
            assert np.linalg.norm(seen - estimate.keypoints_2d, axis=1).max() < 0.01 * np.ptp(seen, axis=0).max()
    assert HandFile(str(HAMER)).provenance().weights.keys() == {"hamer_synthetic.npz"}


def test_result_of_another_picture_is_refused() -> None:
    fails("expected a hand of this picture, 100 x 90, got of 640 x 480", HandFile(str(HAMER)), PICTURE[:90, :100])


def test_one_hand_per_box() -> None:
    fails("expected 1 hands, one per box, got 2", HandFile(str(HAMER)), PICTURE, (Detection(np.ones(4)),))


def test_our_own_files_there_and_back(estimates: list[HandEstimate], tmp_path: Path) -> None:
    write_hands(tmp_path / "hands.json", estimates)
    for before, after in zip(estimates, HandFile(str(tmp_path / "hands.json"))(PICTURE), strict=True):
        assert (before.side, before.hand_model, before.score) == (after.side, after.hand_model, after.score)
        for name in ("pose", "rotation", "translation", "betas", "vertices", "K", "keypoints_2d"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)
    write_hands(tmp_path / "hand.npz", estimates[1:])
    np.testing.assert_array_equal(HandFile(str(tmp_path / "hand.npz"))(PICTURE)[0].pose, estimates[1].pose)


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_a_keypoint_that_was_not_found_may_be_nan(tmp_path, suffix):
    pixels, confidence = np.random.default_rng(0).uniform(50, 90, (21, 2)), np.ones(21)
    pixels[4], confidence[4] = np.nan, 0.0
    estimate = HandEstimate(side="right", keypoints_2d=pixels, keypoint_confidence=confidence)
    path = tmp_path / f"hand.{suffix}"
    write_hands(path, [estimate])
    (read,) = HandFile(str(path))(np.zeros((120, 160, 3), np.uint8), ())
    np.testing.assert_array_equal(read.keypoints_2d, pixels)
    confidence[4] = 0.5
    write_hands(path, [estimate])
    with pytest.raises(BridgeError, match=r"expected finite numbers of shape .* in keypoints_2d"):
        HandFile(str(path))(np.zeros((120, 160, 3), np.uint8), ())


def test_pose_about_the_mean_and_rotation_vectors(
    estimates: list[HandEstimate], model: HandModel, tmp_path: Path
) -> None:
    """The same hands as smplx's defaults say them, for both sides."""
    for estimate in estimates:
        assert estimate.pose is not None and estimate.rotation is not None
        mean = np.asarray(model.pose_mean) * ([1, 1, 1] if estimate.side == "right" else [1, -1, -1])
        values = {
            "side": estimate.side,
            "pose": (Rotation.from_matrix(estimate.pose).as_rotvec() - mean).ravel(),
            "rotation": Rotation.from_matrix(estimate.rotation).as_rotvec(),
            "translation": estimate.translation,
            "betas": estimate.betas,
            "vertices": estimate.vertices,
        }
        np.savez(tmp_path / "hand.npz", **values)
        found = HandFile(str(tmp_path / "hand.npz"), pose_zero="mean", focal=500.0)(PICTURE)[0]
        assert check_hand(found) < 0.05
        np.testing.assert_array_equal(found.K, camera_matrix(500.0, WIDTH, HEIGHT))
        wrong = HandFile(str(tmp_path / "hand.npz"))(PICTURE)[0]
        fails(r"likely cause is the pose mean: its pose zero is the mean pose \(pose_zero: mean\)", check_hand, wrong)


def test_pickle_is_refused_and_the_line_converts_it(estimates: list[HandEstimate], tmp_path: Path) -> None:
    with np.load(HAMER) as file:
        arrays = {name: file[name] for name in file.files}
    nested = {name: arrays.pop(name) for name in ("global_orient", "hand_pose", "betas")}
    path = tmp_path / "my hand.pkl"
    path.write_bytes(pickle.dumps(arrays | {"pred_mano_params": nested}))
    with pytest.raises(
        BridgeError, match="came a pickle, which runs programs: where you trust it, convert it: python -c"
    ) as caught:
        HandFile(str(path))(PICTURE)
    words = shlex.split(str(caught.value).partition("convert it: ")[2])
    subprocess.run([sys.executable, *words[1:]], check=True)
    converted = HandFile(f"{path}.npz")(PICTURE)
    np.testing.assert_array_equal(converted[1].vertices, estimates[1].vertices)

    np.savez(tmp_path / "objects.npz", side="right", pose=np.array([{"a": 1}], dtype=object))
    fails("it cannot be read .*convert it", HandFile(str(tmp_path / "objects.npz")), PICTURE)


def test_files_that_mean_nothing(tmp_path: Path) -> None:
    keypoints = np.zeros((21, 2)).tolist()
    cases = {
        "there is none": None,
        "neither an object nor a list": "3",
        "cannot be read": "{",
        "expected a hand's fields, got int": "[3]",
        "expected a hand, got none": "[]",
        'expected side "right" or "left", got none': json.dumps({"keypoints_2d": keypoints}),
        "got fingers: rename it": json.dumps({"side": "left", "fingers": 5}),
        "lacks rotation": json.dumps({"side": "left", "pose": np.zeros((15, 3)).tolist()}),
        "got none: check the file": json.dumps({"side": "left"}),
        r"of shape \(21, 2\) in keypoints_2d": json.dumps({"side": "left", "keypoints_2d": keypoints[:5]}),
        r"of shape \(n, 3\) in faces": json.dumps({"side": "left", "vertices": [[0, 0, 1]], "faces": [[0, 0.5, 0]]}),
        "faces of vertices 0 to 0, got -1 to 0": json.dumps(
            {"side": "left", "vertices": [[0, 0, 1]], "faces": [[0, -1, 0]]}
        ),
        r"of shape \(21, 2\) in keypoints": json.dumps({"side": "left", "keypoints_2d": [[1e300, 0]] * 21}),
        "expected WiLoR-mini's result": json.dumps({"is_right": 1, "wilor_preds": [1]}),
        "expected rotations in pose": json.dumps(
            {
                "side": "left",
                "pose": (2 * np.tile(np.eye(3), (15, 1, 1))).tolist(),
                "rotation": [0, 0, 0],
                "translation": [0, 0, 1],
                "betas": [0],
            }
        ),
    }
    for number, (words, text) in enumerate(cases.items()):
        path = tmp_path / f"{number}.json"
        if text is not None:
            path.write_text(text)
        fails(words, HandFile(str(path)), PICTURE)
    (tmp_path / "hand.txt").write_text("")
    fails("expected a name that ends in", HandFile(str(tmp_path / "hand.txt")), PICTURE)
    (tmp_path / "side.json").write_text(json.dumps({"side": "left", "keypoints_2d": keypoints}))
    fails("right as the options say", HandFile(str(tmp_path / "side.json"), side="right"), PICTURE)


@pytest.mark.parametrize("change", [{"pred_cam": [[1e-300, 0, 0]]}, {"pred_cam": [[0.9, 1e300, 0]]}], ids=str)
def test_numbers_that_come_to_nothing_finite_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    output = {"global_orient": [[np.eye(3).tolist()]], "hand_pose": [[np.eye(3).tolist()] * 15], "betas": [[0.0] * 10]}
    output |= {"pred_cam": [[0.9, 0.0, 0.0]], "box_center": [[300, 200]], "box_size": [200], "right": [1]}
    path = tmp_path / "hamer.json"
    path.write_text(json.dumps(output))
    assert len(HandFile(str(path))(PICTURE)) == 1
    path.write_text(json.dumps(output | change))
    fails("finite", HandFile(str(path)), PICTURE)
    path.write_text(json.dumps(output | {"pred_keypoints_3d": [[[0, 0, 1]] * 3]}))
    fails(r"expected what gives keypoints_2d, came arrays for \(3, 2\)", HandFile(str(path)), PICTURE)


@pytest.mark.parametrize(
    "options", [{"side": "both"}, {"pose_zero": "half"}, {"frame": "blender"}, {"focal": "wide"}], ids=str
)
def test_options_that_mean_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"hand file: {next(iter(options))}: expected"):
        create("hand", "file", path="x.npz", **options)
