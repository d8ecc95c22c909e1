"""Hands from files, meshes, commands, WiLoR's and MediaPipe's results; a tool's parameters against its own mesh.

`recorded/hamer_synthetic.npz` is what HaMeR's own code gave with tiny random weights on a synthetic MANO hand;
`recorded/mediapipe_tumbler_072.json` what MediaPipe 0.10.21 found in a real frame.
"""

import json
import os
import pickle
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_bridges.geometry import camera_matrix, half_pose, hamer_focal, hand_transform, mirror_estimate, points_box
from fgs_bridges.hand_check import check_hand
from fgs_bridges.hand_command import HandCommand
from fgs_bridges.hands import HandFile, write_hands
from fgs_bridges.mediapipe_hands import MediaPipe, pictured_landmarks
from fgs_bridges.registry import create
from fgs_bridges.types import Detection, HandEstimate
from fgs_bridges.wilor import Wilor, wilor_estimate
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand, wrist_at_rest
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.types import HandModel, HandParams

RECORDED = Path(__file__).parent / "recorded"
HAMER, TUMBLER = RECORDED / "hamer_synthetic.npz", RECORDED / "mediapipe_tumbler_072.json"
SCENE = Path(__file__).parents[2] / "examples" / "scenes" / "tumbler"
WIDTH, HEIGHT = 640, 480
PICTURE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mano")
    write_npz(folder / "MANO_RIGHT.npz", synthetic_mano())
    return folder


@pytest.fixture(autouse=True)
def mano_folder(mano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGS_MANO_DIR", str(mano))


@pytest.fixture(scope="module")
def model(mano: Path) -> HandModel:
    return load_hand_model(mano / "MANO_RIGHT.npz")


@pytest.fixture
def estimates() -> list[HandEstimate]:
    return HandFile(str(HAMER))(PICTURE)


def posed(model: HandModel, estimate: HandEstimate) -> np.ndarray:
    names = ("betas", "pose", "rotation")
    params = HandParams(**{name: jnp.asarray(getattr(estimate, name), jnp.float32) for name in names})
    return np.asarray(jax.jit(hand)(model, params).vertices, float) + estimate.translation


def fails(words: str, call: Any, *arguments: Any) -> None:
    with pytest.raises(BridgeError, match=words) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)


# --- HaMeR's and WiLoR's results


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


def wilor_result(estimate: HandEstimate) -> dict[str, Any]:
    """The same hand as WiLoR-mini gives it: left hands un-mirrored, rotation vectors, vertices before translation."""
    assert estimate.pose is not None and estimate.rotation is not None and estimate.betas is not None
    assert estimate.K is not None and estimate.translation is not None and estimate.vertices is not None
    return {
        "hand_bbox": [1.0, 2.0, 3.0, 4.0],
        "is_right": float(estimate.side == "right"),
        "wilor_preds": {
            "global_orient": Rotation.from_matrix(estimate.rotation).as_rotvec().reshape(1, 1, 3),
            "hand_pose": Rotation.from_matrix(estimate.pose).as_rotvec()[None],
            "betas": estimate.betas[None],
            "pred_cam": np.ones((1, 3)),
            "pred_cam_t_full": estimate.translation[None],
            "scaled_focal_length": estimate.K[0, 0],
            "pred_vertices": (estimate.vertices - estimate.translation)[None],
            "pred_keypoints_2d": np.asarray(estimate.keypoints_2d)[None],
        },
    }


def test_wilors_result(estimates: list[HandEstimate], tmp_path: Path) -> None:
    for estimate in estimates:
        found = wilor_estimate(wilor_result(estimate), width=WIDTH, height=HEIGHT)
        assert found.side == estimate.side
        for name in ("pose", "rotation", "translation", "betas", "vertices", "K", "keypoints_2d"):
            np.testing.assert_allclose(getattr(found, name), getattr(estimate, name), atol=1e-5, err_msg=name)
    results = [wilor_result(estimate) for estimate in estimates]
    path = tmp_path / "wilor.json"
    path.write_text(json.dumps(results, default=lambda array: array.tolist()))
    read = HandFile(str(path))(PICTURE)
    assert [one.side for one in read] == ["right", "left"]
    assert check_hand(read[1]) < 0.05
    del results[0]["wilor_preds"]["pred_cam_t_full"]
    fails(
        "expected WiLoR-mini's result, got another .'pred_cam_t_full'",
        lambda: wilor_estimate(results[0], width=1, height=1),
    )


def test_wilor_runs_pickles_only_where_trusted(monkeypatch: pytest.MonkeyPatch, without: Callable[..., None]) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # of which it asks nothing before WiLoR itself
    without("wilor_mini")
    with pytest.raises(
        ConfigError, match=r"runs wilor_final\.ckpt, detector\.pt, MANO_RIGHT\.pkl as pickles.*trust_pickle"
    ):
        Wilor()(PICTURE, ())
    fails(
        r"wilor: cannot be imported \(No module named 'wilor_mini.*\): see docs",
        Wilor(trust_pickle=True, folder="x"),
        PICTURE,
        (),
    )


# --- files


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


# --- meshes


def write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in faces + 1]
    path.write_text("\n".join(lines) + "\n")


def test_a_mesh_is_fitted(model: HandModel, tmp_path: Path, rng: np.random.Generator) -> None:
    """As HaMeR's demo saves a left hand: OpenGL's axes, faces reversed; the side is told by these alone."""
    right = HandEstimate(
        side="right",
        pose=Rotation.from_rotvec(np.asarray(model.pose_mean) + rng.normal(0, 0.1, (15, 3))).as_matrix(),
        rotation=Rotation.from_rotvec([0.3, 2.0, 0.5]).as_matrix(),
        translation=np.array([0.2, 0.1, 9.0]),
        betas=rng.normal(0, 0.7, 10),
        faces=np.asarray(model.faces),
    )
    left = mirror_estimate(replace(right, vertices=posed(model, right)), WIDTH)
    assert left.vertices is not None and left.faces is not None
    path = tmp_path / "hand_0.obj"
    write_obj(path, left.vertices * [1, -1, -1], left.faces)
    tool = HandFile(str(path), frame="opengl", focal="hamer")
    found = tool(PICTURE)[0]
    assert found.side == "left" and found.K is not None and found.K[0, 0] == 12_500
    assert found.vertices is not None
    np.testing.assert_allclose(found.vertices, left.vertices, atol=1e-6)
    assert check_hand(found) < 1.0
    assert "fitted to the mesh" in tool.provenance().notes[0]
    fails("got faces wound as a left one's", HandFile(str(path), frame="opengl", side="right"), PICTURE)
    fails("before the camera .*is its frame opengl", HandFile(str(path)), PICTURE)


def test_meshes_that_are_no_hand(model: HandModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = np.asarray(model.v_template, float) + [0, 0, 1], np.asarray(model.faces)
    cases = {
        "expected 778 vertices, as mano has, got 700": (vertices[:700], faces[(faces < 700).all(axis=1)]),
        "expected a hand in metres, got one of 202 m": (vertices * 1000, faces),
        "which tell no side: say side": (vertices, faces[:, [1, 0, 2]][:1]),
    }
    for number, (words, mesh) in enumerate(cases.items()):
        write_obj(tmp_path / f"{number}.obj", *mesh)
        fails(words, HandFile(str(tmp_path / f"{number}.obj")), PICTURE)
    fails("expected a mesh, there is none", HandFile(str(tmp_path / "none.ply")), PICTURE)
    (tmp_path / "bad.ply").write_text("not a mesh")
    fails("it cannot be read", HandFile(str(tmp_path / "bad.ply")), PICTURE)
    monkeypatch.delenv("FGS_MANO_DIR")
    fails("a mesh is fitted with its model: mano: expected", HandFile(str(tmp_path / "0.obj")), PICTURE)


# --- our layer against the tool's mesh


def test_check_names_the_cause(estimates: list[HandEstimate], model: HandModel) -> None:
    right, left = estimates
    assert right.betas is not None and right.rotation is not None and right.translation is not None
    assert right.vertices is not None and left.vertices is not None and left.translation is not None
    assert right.pose is not None
    wrist = np.asarray(wrist_at_rest(model, jnp.asarray(right.betas, jnp.float32)), float)
    pivoted = hand_transform(right.rotation, right.translation, wrist)[1]
    gentle = replace(right, pose=half_pose(half_pose(right.pose)))  # an angle past pi is another one's vector
    gentle = replace(gentle, vertices=posed(model, gentle))
    assert gentle.pose is not None
    added = Rotation.from_rotvec(Rotation.from_matrix(gentle.pose).as_rotvec() + np.asarray(model.pose_mean))
    raw = mirror_estimate(left, WIDTH)
    cases = {
        "the side: it is a right hand": replace(right, side="left"),
        "the side: its parameters are those of the hand in a mirror": replace(
            left, pose=raw.pose, rotation=raw.rotation
        ),
        "the pose mean: it was added": replace(gentle, pose=added.as_matrix()),
        "the pivot: it turns about the origin": replace(right, translation=pivoted),
        "the pivot: its translation is the wrist's place": replace(right, translation=right.translation + wrist),
        "the translation": replace(right, translation=right.translation + [0.0, 0.02, 0.5]),
        "another hand model": replace(right, vertices=right.vertices * 1.1),
    }
    for words, wrong in cases.items():
        fails(f"expected our layer within 1 mm of the tool's own vertices, got .*{words}", check_hand, wrong)
    fails("some are missing", check_hand, replace(right, vertices=None))
    fails("778 vertices, got 700 vertices", check_hand, replace(right, vertices=right.vertices[:700]))


# --- commands


def test_any_tool_by_command(tmp_path: Path) -> None:
    """A program that checks what it is given and writes HaMeR's output."""
    program = tmp_path / "my tool.py"
    program.write_text(
        "import json, shutil, sys\n"
        "from pathlib import Path\n"
        "picture, boxes, out = map(Path, sys.argv[1:4])\n"
        "assert [p.name for p in picture.parent.iterdir()] == ['image.png']\n"
        "assert [b['side'] for b in json.loads(boxes.read_text())] == ['right', 'left']\n"
        f"shutil.copy({str(HAMER)!r}, out / 'hands.npz')\n"
    )
    hands = tuple(Detection(np.array([0.0, 0, 9, 9]), side=side) for side in ("right", "left"))
    tool = HandCommand([sys.executable, str(program), "{image}", "{boxes}", "{out}"], outputs=["*.npz"])
    assert [one.side for one in tool(PICTURE, hands)] == ["right", "left"]
    assert tool.provenance().backend == "command" and "my tool.py" in tool.provenance().model
    as_text = f"{sys.executable} {shlex.quote(str(program))} {{image}} {{boxes}} {{out}}"
    assert len(HandCommand(as_text, outputs=["*.npz"])(PICTURE, hands)) == 2
    fails("expected it to end with status 0, got status 1.*AssertionError", tool, PICTURE, hands[:1])


def test_tools_that_fail(tmp_path: Path) -> None:
    python = sys.executable
    write = "import sys; open(sys.argv[1] + '/hand.json', 'w').write('[]')"
    cases = {
        "expected it to write hand.npz": HandCommand([python, "-c", "pass"], outputs=["hand.npz"]),
        "expected an end within 0.5 s": HandCommand([python, "-c", "import time; time.sleep(60)"], timeout=0.5),
        "expected a hand, got none": HandCommand([python, "-c", write, "{out}"], outputs=["*.json"]),
        "cannot be started": HandCommand([str(tmp_path / "none")]),
    }
    for words, tool in cases.items():
        fails(words, tool, PICTURE)
    with pytest.raises(ConfigError, match="expected the option argv"):
        HandCommand()


# --- MediaPipe


def test_recorded_landmarks_are_the_example_scenes() -> None:
    """The label is swapped: MediaPipe says Left of this right hand. Keypoints and landmarks are the scene's."""
    tool = create("hand", "mediapipe", landmarks=str(TUMBLER))
    (found,) = tool(PICTURE, ())
    scene = load_scene(SCENE)
    assert json.loads(TUMBLER.read_text())["mediapipe"][0]["mediapipe_label"] == "Left"
    assert found.side == scene.side == "right"
    assert found.pose is None and found.vertices is None
    assert found.keypoints_2d is not None and scene.keypoints_2d is not None
    assert found.world_landmarks is not None and scene.world_landmarks is not None
    np.testing.assert_allclose(found.keypoints_2d, scene.keypoints_2d, atol=0.01)
    shapes = [points - points.mean(axis=0) for points in (found.world_landmarks, scene.world_landmarks)]
    np.testing.assert_allclose(shapes[0] / shapes[0].std(), shapes[1] / shapes[1].std(), atol=1e-3)
    made = tool.provenance()
    assert made.versions == {"mediapipe": "0.10.21"}
    assert "it is no MANO regression" in made.notes[0]
    (in_box,) = tool(PICTURE, (Detection(points_box(found.keypoints_2d) + [-20, -30, 40, 10]),))
    np.testing.assert_array_equal(in_box.keypoints_2d, found.keypoints_2d)


def test_landmarks_in_space_as_chosen() -> None:
    record = json.loads(TUMBLER.read_text())["mediapipe"][0]
    world = np.array(record["world_landmarks_m"])
    found = MediaPipe(landmarks=str(TUMBLER), landmarks_3d="world")(PICTURE, ())[0]
    np.testing.assert_array_equal(found.world_landmarks, world)
    pictured = MediaPipe(landmarks=str(TUMBLER), landmarks_3d="pictured")(PICTURE, ())[0].world_landmarks
    assert pictured is not None
    pixels, depth = np.array(record["landmarks_px"]), np.array(record["landmarks_rel_z_px"])
    np.testing.assert_array_equal(pictured, pictured_landmarks(pixels, depth, world))
    np.testing.assert_allclose(pictured.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(pictured.std(), (world - world.mean(axis=0)).std())
    # One factor from the picture: nothing is turned or stretched.
    factor = (pictured[5] - pictured[0]) / np.append(pixels[5] - pixels[0], depth[5] - depth[0])
    np.testing.assert_allclose(factor, factor[0])
    with pytest.raises(ConfigError, match="landmarks_3d: expected clearer, world, pictured, got best"):
        MediaPipe(landmarks_3d="best")


def test_records_that_mean_nothing(tmp_path: Path) -> None:
    record = json.loads(TUMBLER.read_text())
    path = tmp_path / "landmarks.json"
    hand = record["mediapipe"][0]
    cases: dict[str, Any] = {
        "expected landmarks of this picture, 640 x 480, got of 10 x 10": record | {"size": [10, 10]},
        "expected a hand, found none": record | {"mediapipe": []},
        "expected landmarks of this picture, 640 x 480, got of none": record | {"size": None},
        "expected a list of hands for each crop": record | {"crops": None},
        "a list of hands for each crop under crops": record | {"crops": [3]},
        "expected a list under mediapipe": {"tumbler": record},
        "expected a mediapipe_label": record | {"mediapipe": [hand | {"mediapipe_label": "right"}]},
        "expected a mediapipe_label Left or Right": record | {"mediapipe": [hand | {"mediapipe_label": {}}]},
        r"of shape \(21, 2\) in landmarks_px": record | {"mediapipe": [hand | {"landmarks_px": [[1, 2]]}]},
    }
    for words, content in cases.items():
        path.write_text(json.dumps(content))
        fails(words, MediaPipe(landmarks=str(path)), PICTURE, ())
    path.write_text(json.dumps(record | {"crops": [[], []]}))
    box = Detection(np.array([1.0, 1.0, 9.0, 9.0]))
    fails("expected 1 crops, one per box, got 2", MediaPipe(landmarks=str(path)), PICTURE, (box,))
    fails("expected an entry cup, got size", MediaPipe(landmarks=str(TUMBLER), entry="cup"), PICTURE, ())
    fails("as JSON, got none", MediaPipe(landmarks=str(tmp_path / "none.json")), PICTURE, ())
    far = Detection(np.array([0.0, 0, 50, 50]))
    fails(r"expected a hand in box \[0, 0, 50, 50\], found none", MediaPipe(landmarks=str(TUMBLER)), PICTURE, (far,))
    path.write_text(json.dumps({"tumbler": record}))
    assert MediaPipe(landmarks=str(path), entry="tumbler", landmarks_3d="world")(PICTURE, ())[0].side == "right"


@pytest.fixture
def python_without_mediapipe(tmp_path: Path) -> str:
    """An interpreter with our packages, in which MediaPipe cannot be imported, whether it is installed or not."""
    folder = tmp_path / "without mediapipe"
    venv.create(folder)
    places = {"base": str(folder), "platbase": str(folder)}
    packages, programs = (Path(sysconfig.get_path(name, "venv", places)) for name in ("purelib", "scripts"))
    (packages / "ours.pth").write_text(str(Path(np.__file__).parents[1]))
    (packages / "mediapipe.py").write_text("raise ImportError('not for this test')")
    return str(programs / Path(sys.executable).name)


def test_without_mediapipe_the_line_installs_it(monkeypatch: pytest.MonkeyPatch, python_without_mediapipe: str) -> None:
    monkeypatch.delenv("FGS_MEDIAPIPE_PYTHON", raising=False)
    with pytest.raises(BridgeUnavailable, match=r"expected the option python.*pip install mediapipe==0\.10\.21"):
        MediaPipe()(PICTURE, ())
    fails(
        "mediapipe: .*status 1.*cannot be imported.*pip install mediapipe==0.10.21",
        MediaPipe(python_without_mediapipe),
        PICTURE,
        (),
    )
    fails("mediapipe: .*cannot be started", MediaPipe("/no/python"), PICTURE, ())


@pytest.mark.skipif(
    not os.environ.get("FGS_MEDIAPIPE_PYTHON"),
    reason="$FGS_MEDIAPIPE_PYTHON is not set: docs/bridges/hands.md says how to install MediaPipe",
)
def test_mediapipe_finds_the_recorded_hand() -> None:
    image = load_scene(SCENE).image
    assert image is not None
    recorded = MediaPipe(landmarks=str(TUMBLER))(image, ())[0]
    assert recorded.keypoints_2d is not None and recorded.world_landmarks is not None
    box = Detection(points_box(recorded.keypoints_2d))
    for hands in ((), (box,)):
        (found,) = MediaPipe()(image, hands)
        assert found.side == "right"
        assert found.keypoints_2d is not None and found.world_landmarks is not None
        np.testing.assert_allclose(found.keypoints_2d, recorded.keypoints_2d, atol=0.05)
        np.testing.assert_allclose(found.world_landmarks, recorded.world_landmarks, atol=1e-3)
    fails("found none", MediaPipe(), PICTURE, ())
