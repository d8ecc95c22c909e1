"""What a pose holds: components or angles, about the flat hand or the mean, said or not; and which hand it is of."""

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_bridges.hand_command import HandCommand
from fgs_bridges.hands import HandFile
from fgs_bridges.mediapipe_hands import read_landmarks
from fgs_bridges.show import words_of
from fgs_jax.errors import BridgeError, HandFileError, HandPoseWarning, HandShapeWarning, SceneError
from fgs_jax.hands import anatomy as hand_anatomy
from fgs_jax.hands.files import (
    check_hand_source,
    hand_is_here,
    hand_of_side,
    load_hand_model,
    located_hand,
    mirror_hand_model,
    same_hand,
)
from fgs_jax.hands.mano import joint_angles
from fgs_jax.hands.pose_words import read_pose
from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.stages.hand_in_picture import pose_hand
from fgs_jax.testing import mirrored_mano as mirrored
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.testing import write_mano_pickle as write_pickle
from fgs_jax.types import HandParams

TUMBLER = Path(__file__).parents[2] / "examples" / "scenes" / "tumbler"
PICTURE = np.zeros((480, 640, 3), np.uint8)
TURN = np.array([1.0, -1.0, -1.0])
MANO = synthetic_mano()
COMPONENTS = np.random.default_rng(1).normal(0, 1, 45)


@pytest.fixture(autouse=True)
def mano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mano").mkdir()
    write_npz(tmp_path / "mano" / "MANO_RIGHT.npz", MANO)
    monkeypatch.setenv("FGS_MANO_DIR", str(tmp_path / "mano"))
    return tmp_path / "mano" / "MANO_RIGHT.npz"


def meant(count: int, zero: str, side: str) -> np.ndarray:
    """h(c) = c . hands_components (+ hands_mean); of a left hand in the mirror."""
    pose = COMPONENTS[:count] @ MANO["hands_components"][:count] + (MANO["hands_mean"] if zero == "mean" else 0.0)
    return pose.reshape(15, 3) * (TURN if side == "left" else 1.0)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("zero", ["flat", "mean"])
@pytest.mark.parametrize("count", [1, 6, 12, 24, 44, 45])
def test_components_are_the_pose_they_mean(count: int, zero: str, side: str) -> None:
    pose, note = read_pose(COMPONENTS[:count], holds="components", zero=zero, source="mano", side=side)
    np.testing.assert_allclose(pose, meant(count, zero, side), atol=1e-5)
    assert note == ""


def test_components_of_a_left_file_are_its_own(mano: Path) -> None:
    left = mirrored(MANO)
    left["hands_components"] = -left["hands_components"]
    write_npz(mano.with_name("MANO_LEFT.npz"), left)
    pose, _ = read_pose(COMPONENTS, holds="components", zero="flat", source="mano", side="left")
    np.testing.assert_allclose(pose, -meant(45, "flat", "left"), atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("shape", [(45,), (15, 3)])
def test_angles_that_do_not_say_so_are_read_and_said(shape: tuple[int, ...], side: str) -> None:
    mean = MANO["hands_mean"].reshape(15, 3) * (TURN if side == "left" else 1.0)
    for zero, added, words in (("", 0.0, "the flat hand"), ("flat", 0.0, "the flat hand"), ("mean", mean, "the mean")):
        pose, note = read_pose(0.1 * mean.reshape(shape), zero=zero, source="mano", side=side)
        np.testing.assert_allclose(pose, 0.1 * mean + added, atol=1e-6)
        assert note.startswith(f"45 numbers were read as angles about {words}")
        assert read_pose(0.1 * mean.reshape(shape), holds="angles", zero=zero, source="mano", side=side)[1] == ""


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("beyond", [28, 32])
def test_a_joint_may_be_30_degrees_beyond_its_limit(beyond: int, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the open hand, which stands for a MANO that is not here."""
    monkeypatch.delenv("FGS_MANO_DIR")
    model = load_hand_model("open_hand")
    pose = np.zeros((15, 3))
    pose[4] = np.deg2rad(115 + beyond) * np.asarray(model.bone_frames)[4, 2]  # the bend of middle2
    pose = pose * (TURN if side == "left" else 1.0)
    if beyond < 30:
        np.testing.assert_array_equal(read_pose(pose, source="mano", side=side)[0], pose)
        return
    with pytest.raises(
        ValueError, match=r"^[^\n]*turn the bend of middle2 32 degrees beyond its limit; say pose: comp"
    ):
        read_pose(pose, source="mano", side=side)
    known: dict[str, Any]
    for known in ({"holds": "angles"}, {"compared": True}):
        np.testing.assert_array_equal(read_pose(pose, source="mano", side=side, **known)[0], pose)


def test_angles_on_the_host_are_those_of_the_layer() -> None:
    model = load_hand_model("open_hand")
    rotations = Rotation.random(15, rng=np.random.default_rng(0)).as_matrix()
    found = hand_anatomy.joint_angles(np.asarray(model.bone_frames, float), rotations)
    np.testing.assert_allclose(found, joint_angles(model, jnp.asarray(rotations, jnp.float32)), atol=1e-4)


@pytest.mark.parametrize(
    ("pose", "words", "line"),
    [
        (
            np.zeros(6),
            {},
            "expected 45 angles, came 6 numbers; for pose components say pose: components, and pose_zero",
        ),
        (np.zeros(24), {"holds": "angles"}, "expected 45 angles, came 24 numbers"),
        (np.zeros(48), {}, "came 48 numbers; is the hand's own rotation among them?"),
        (np.zeros(46), {"holds": "components"}, r"expected up to 45 pose components, came numbers of shape \(46,\)"),
        (np.zeros((15, 3, 3)), {"holds": "components"}, "expected up to 45 pose components"),
        (np.zeros(45), {"holds": "pca"}, "expected pose: angles or components, came 'pca'; choose one"),
        (np.zeros(45), {"zero": "half"}, "expected pose_zero: flat or mean, came 'half'; choose one"),
    ],
)
def test_what_cannot_be_read_is_one_line(pose: np.ndarray, words: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=rf"^[^\n]*{line}[^\n]*$"):
        read_pose(pose, source="mano", **words)


# --- hand files


def hand_file(folder: Path, **values: Any) -> str:
    known: dict[str, Any] = {"side": "right", "rotation": np.zeros(3), "betas": np.zeros(10)}
    known |= {"translation": np.array([0.0, 0.0, 0.5])} | values
    np.savez(folder / "hand.npz", **known)
    return str(folder / "hand.npz")


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("count", [6, 45])
def test_a_hand_file_says_what_its_pose_holds(count: int, side: str, tmp_path: Path) -> None:
    """By an option of its reader, or in itself."""
    expected = Rotation.from_rotvec(meant(count, "mean", side)).as_matrix()
    plain = hand_file(tmp_path, pose=COMPONENTS[:count], side=side)
    reader = HandFile(plain, pose="components", pose_zero="mean")
    np.testing.assert_allclose(np.asarray(reader(PICTURE)[0].pose), expected, atol=1e-5)
    assert reader.provenance().notes == ()
    said = hand_file(tmp_path, pose=COMPONENTS[:count], side=side, pose_holds="components", pose_zero="mean")
    np.testing.assert_allclose(np.asarray(HandFile(said)(PICTURE)[0].pose), expected, atol=1e-5)
    with pytest.raises(BridgeError, match="pose: expected angles, as the options say, got components: choose one"):
        HandFile(said, pose="angles")(PICTURE)


def test_a_hand_file_that_says_nothing_is_said_so(tmp_path: Path) -> None:
    reader = HandFile(hand_file(tmp_path, pose=0.1 * COMPONENTS))
    reader(PICTURE)
    assert reader.provenance().notes == (
        "pose: 45 numbers were read as angles about the flat hand; say pose: angles, or components",
    )
    for pose in (COMPONENTS, COMPONENTS[:12]):
        with pytest.raises(BridgeError, match=r"hand\.npz: pose: .*say pose: components.*pose_holds and pose_zero in"):
            HandFile(hand_file(tmp_path, pose=pose))(PICTURE)


def test_a_command_takes_the_same_words(tmp_path: Path) -> None:
    source = hand_file(tmp_path, pose=COMPONENTS[:6])
    words = ["cp", source, "{out}/hand.npz"]
    [found] = HandCommand(words, outputs=["*.npz"], pose="components", pose_zero="mean")(PICTURE)
    np.testing.assert_allclose(
        np.asarray(found.pose), Rotation.from_rotvec(meant(6, "mean", "right")).as_matrix(), atol=1e-5
    )


def test_a_hand_file_of_an_unknown_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match=r"^[^\n]*hand\.npz: hand_model: .*foo: no such hand model[^\n]*$"):
        HandFile(hand_file(tmp_path, pose=np.zeros((15, 3)), hand_model="foo"))(PICTURE)
    with pytest.raises(BridgeError, match="expected a finite number as score, got 'high'"):
        HandFile(hand_file(tmp_path, pose=np.zeros((15, 3)), score="high"))(PICTURE)


@pytest.mark.parametrize("name", ["pipe.npz", "pipe.json", "pipe.obj"])
def test_a_pipe_is_no_hand_file(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(BridgeError, match=r"^[^\n]*pipe\.\w+: expected [^\n]*$"):
        HandFile(str(tmp_path / name))(PICTURE)
    with pytest.raises(
        BridgeError, match=r"^[^\n]*pipe\.\w+: expected MediaPipe's landmarks as JSON, got none .*came a pipe[^\n]*$"
    ):
        read_landmarks(tmp_path / name, "", PICTURE)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin1")]
)
def test_a_text_that_is_no_json_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "hand.json").write_text(text, encoding="latin1")
    for read in (
        HandFile(str(tmp_path / "hand.json")),
        lambda image: read_landmarks(tmp_path / "hand.json", "", image),
    ):
        with pytest.raises(BridgeError, match=r"^[^\n]*hand\.json: expected [^\n]*$"):
            read(PICTURE)


# --- scenes


def scene_of(folder: Path, hand: dict[str, str], pose: Any, side: str = "right", **changes: Any) -> Path:
    """The tumbler's scene with hand parameters, as a person writes it."""
    scene = folder / "scene"
    shutil.rmtree(scene, ignore_errors=True)
    shutil.copytree(TUMBLER, scene)
    meta = json.loads((scene / "scene.json").read_text())
    del meta["files"]
    meta |= {"hand": hand, "hand_pose": np.asarray(pose).tolist(), "side": side}
    meta |= {"hand_rotation": [0, 0, 0], "hand_translation": [0, 0, 0.5]} | changes
    (scene / "scene.json").write_text(json.dumps({key: value for key, value in meta.items() if value is not None}))
    return scene


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("count", "zero"), [(6, "mean"), (45, "flat")])
def test_a_scene_says_what_its_pose_holds(count: int, zero: str, side: str, tmp_path: Path) -> None:
    words = {"model": "mano", "pose": "components", "pose_zero": zero}
    scene = load_scene(scene_of(tmp_path, words, COMPONENTS[:count], side))
    assert scene.hand_params is not None and "hand_pose" not in scene.provenance
    np.testing.assert_allclose(scene.hand_params.pose, meant(count, zero, side), atol=1e-5)
    save_scene(scene, tmp_path / "saved")
    meta = json.loads((tmp_path / "saved" / "scene.json").read_text())
    assert meta["hand"] == {"model": "mano", "pose": "angles", "pose_zero": "flat"}
    again = load_scene(tmp_path / "saved").hand_params
    assert again is not None
    np.testing.assert_array_equal(again.pose, scene.hand_params.pose)


def test_a_pose_about_the_mean_in_a_scene(tmp_path: Path) -> None:
    words = {"model": "mano", "pose": "angles", "pose_zero": "mean"}
    for side in ("right", "left"):
        params = load_scene(scene_of(tmp_path, words, np.zeros((15, 3)), side)).hand_params
        assert params is not None
        np.testing.assert_allclose(params.pose, meant(0, "mean", side), atol=1e-6)


def test_a_scene_that_says_nothing_is_said_so(tmp_path: Path) -> None:
    scene = load_scene(scene_of(tmp_path, {"model": "mano"}, 0.1 * COMPONENTS))
    note = "45 numbers were read as angles about the flat hand; say pose: angles, or components"
    assert scene.provenance["hand_pose"] == note and f"hand: {note}" in words_of(scene)
    with pytest.warns(HandPoseWarning, match=f"^hand: {note}$"):
        pose_hand(scene, load_hand_model("mano"))
    for pose in (COMPONENTS, COMPONENTS.reshape(15, 3), COMPONENTS[:6], np.zeros(24)):
        with pytest.raises(SceneError, match=r"^[^\n]*hand_pose: [^\n]*say pose: components[^\n]*$"):
            load_scene(scene_of(tmp_path, {"model": "mano"}, pose))
    with pytest.raises(SceneError, match="hand_pose: expected pose: angles or components, came 'pca'; choose one"):
        load_scene(scene_of(tmp_path, {"pose": "pca"}, COMPONENTS))


def test_components_of_a_hand_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FGS_MANO_DIR")
    scene = load_scene(scene_of(tmp_path, {"model": "mano", "pose": "components"}, COMPONENTS))
    assert scene.hand_params is None and scene.keypoints_2d is not None
    assert scene.provenance["hand_pose"] == "components of mano, which is not here: parameters left out"
    folder = scene_of(tmp_path, {"model": "mano", "pose": "components"}, COMPONENTS)
    with zipfile.ZipFile(folder / "arrays.npz") as archive:
        assert "keypoints_2d.npy" in archive.namelist()
    (folder / "arrays.npz").unlink()
    with pytest.raises(SceneError, match=r"hand_pose: mano: expected \$FGS_MANO_DIR to name the folder"):
        load_scene(folder)


# --- which hand it is


def test_a_path_in_a_scene_counts_from_its_folder(mano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scene_of(tmp_path, {"model": "hands/mine.npz", "pose": "angles"}, np.zeros((15, 3)))
    (folder / "hands").mkdir()
    shutil.copy(mano, folder / "hands" / "mine.npz")
    monkeypatch.chdir(folder.parent)
    for place in (folder, Path(folder.name)):
        scene = load_scene(place)
        assert scene.hand_model == str(folder / "hands" / "mine.npz")
    save_scene(scene, tmp_path / "saved")
    assert load_scene(tmp_path / "saved").hand_model == scene.hand_model
    monkeypatch.chdir(mano.parent)
    save_scene(replace(scene, hand_model=mano.name), tmp_path / "saved", overwrite=True)
    assert load_scene(tmp_path / "saved").hand_model == str(mano)
    with pytest.raises(SceneError, match="hand: model: foo: no such hand model"):
        save_scene(replace(scene, hand_model="foo"), tmp_path / "other")


def test_hand_models_are_here_or_not(mano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(hand_is_here, ("open_hand", "mano", mano, str(mano))))
    assert located_hand("mano", tmp_path) == "mano"
    assert located_hand("a/b.npz", tmp_path) == str(tmp_path / "a" / "b.npz")
    for source in ("open_hand", "open_hand_full", "mano", str(mano)):
        check_hand_source(source)
    monkeypatch.delenv("FGS_MANO_DIR")
    assert not any(map(hand_is_here, ("mano", "foo", tmp_path / "foo.npz")))
    check_hand_source("mano")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    for source, line in {"foo": "no such hand model", str(tmp_path / "bad.npz"): "expected an npz"}.items():
        with pytest.raises(HandFileError, match=line):
            check_hand_source(source)


def params(**changes: Any) -> HandParams:
    betas = jnp.asarray(np.linspace(-1, 1, 10), jnp.float32)
    return replace(HandParams(betas=betas, translation=jnp.array([0.0, 0.0, 0.5])), **changes)


def test_the_same_hand_keeps_its_betas_under_any_name(mano: Path, tmp_path: Path) -> None:
    copied = shutil.copy(mano, tmp_path / "mine.npz")
    write_pickle(tmp_path / "pickled.pkl", MANO)
    write_npz(tmp_path / "left.npz", mirrored(MANO))
    write_npz(
        tmp_path / "single.npz", MANO | {key: MANO[key].astype(np.float32) for key in ("v_template", "shapedirs")}
    )
    scene = replace(load_scene(TUMBLER), hand_params=params())
    for source in ("mano", str(mano), str(copied), *(str(tmp_path / name) for name in ("pickled.pkl", "left.npz"))):
        for ours in ("mano", str(copied), str(tmp_path / "single.npz")):
            found = pose_hand(replace(scene, hand_model=source), load_hand_model(ours))
            np.testing.assert_array_equal(found.betas, params().betas)


def test_another_hand_of_the_same_name_does_not(tmp_path: Path) -> None:
    changed = MANO | {"shapedirs": 0.5 * MANO["shapedirs"]}
    write_npz(tmp_path / "mano.npz", changed)
    model = load_hand_model(tmp_path / "mano.npz")
    assert model.name == "mano" and not same_hand(model, load_hand_model("mano"), 1)
    assert same_hand(model, load_hand_model("mano"), 0)
    scene = replace(load_scene(TUMBLER), hand_params=params(), hand_model="mano")
    with pytest.warns(HandShapeWarning, match="betas of another model mean nothing to mano and are dropped"):
        np.testing.assert_array_equal(pose_hand(scene, model).betas, 0)


def test_a_left_file_is_mirrored_where_a_right_hand_is_asked_for(tmp_path: Path) -> None:
    write_npz(tmp_path / "left.npz", mirrored(MANO))
    write_npz(tmp_path / "right.npz", MANO)
    right, left = (hand_of_side(tmp_path / f"{side}.npz") for side in ("right", "left"))
    assert left.side == right.side == "right" and same_hand(left, right, 10)
    assert same_hand(hand_of_side(tmp_path / "right.npz", "left"), mirror_hand_model(right), 10)


def test_too_many_betas_are_one_line() -> None:
    scene = replace(load_scene(TUMBLER), hand_params=params(betas=jnp.zeros(11)))
    with pytest.raises(SceneError, match=r"^hand_betas: expected at most 10, as open_hand has, got 11: leave the rest"):
        pose_hand(scene, load_hand_model("open_hand"))


def test_parameters_of_a_hand_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keypoints take their place, else the mesh, else they are all that there is."""
    monkeypatch.delenv("FGS_MANO_DIR")
    model, scene = load_hand_model("open_hand"), load_scene(TUMBLER)
    given = replace(scene, hand_params=params(), hand_model="mano")
    expected = pose_hand(scene, model)
    with pytest.warns(HandShapeWarning, match="^hand: parameters of mano, which is not here: fitted to its keypoints"):
        found = pose_hand(given, model)
    np.testing.assert_array_equal(found.pose, expected.pose)
    without = replace(given, keypoints_2d=None, world_landmarks=None)
    vertices = np.asarray(model.v_template, float) + [0.0, 0.0, 0.7]
    meshed = replace(without, hand_vertices=vertices, hand_faces=np.asarray(model.faces))
    with pytest.warns(HandShapeWarning, match="which is not here: fitted to its mesh instead$"):
        np.testing.assert_allclose(pose_hand(meshed, model).translation, [0, 0, 0.7], atol=2e-3)
    strange = replace(meshed, hand_faces=np.asarray(model.faces)[:, [1, 0, 2]])
    for scene in (without, strange):
        with pytest.warns(HandShapeWarning, match="betas of another model mean nothing to open_hand and are dropped"):
            np.testing.assert_array_equal(pose_hand(scene, model).translation, params().translation)
