"""`fgs refine-grasp`: a hand at a ball, given in each way that it may be given; what is written, and each mistake."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from fgs_jax import command_refine_grasp
from fgs_jax.cli import main
from fgs_jax.command_refine_grasp import read_words
from fgs_jax.config import CONFIGS
from fgs_jax.errors import HandInputError, HandShapeWarning, SceneError
from fgs_jax.hands.mano import hand
from fgs_jax.objects.mesh import load_object
from fgs_jax.results.write import GRASP_FILES
from fgs_jax.stages.given_hand import hand_values, read_given_hand
from fgs_jax.testing import open_hand
from fgs_jax.types import HandParams

RADIUS = 0.04
SMALL = ["--contact.steps", "20", "--contact.places", "16", "--contact.object-points", "64", "--grid", "16"]
MIRROR, TURNED = np.array([-1.0, 1.0, 1.0]), np.array([1.0, -1.0, -1.0])


def given() -> HandParams:
    """The palm of a natural hand 3 mm above a ball, which is about the origin."""
    model = open_hand()
    palm = np.asarray(model.v_template)[np.asarray(model.regions) == 5].mean(axis=0)
    place = np.array([0.0, RADIUS + 0.003, 0.0]) - palm
    return HandParams(
        betas=jnp.linspace(-0.5, 0.5, 10), pose=model.pose_mean, translation=jnp.asarray(place, jnp.float32)
    )


def values_of(params: HandParams) -> dict[str, Any]:
    values = hand_values(params, np.zeros((21, 3)))
    return {name: value for name, value in values.items() if name != "keypoints_3d"}


def write(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a hand and a ball, and their mirror images."""
    folder = tmp_path_factory.mktemp("place")
    values = values_of(given())
    write(folder / "hand.json", values)
    write(folder / "far.json", values | {"translation": [0.5, 0.0, 0.0]})
    signs = {"pose": TURNED, "rotation": TURNED, "translation": MIRROR}
    left = {name: (np.array(values[name]) * sign).tolist() for name, sign in signs.items()}
    write(folder / "left.json", values | left | {"side": "left"})
    ball = trimesh.creation.icosphere(3, RADIUS)
    ball.export(folder / "ball.ply")
    trimesh.Trimesh(ball.vertices * MIRROR, ball.faces[:, ::-1], process=False).export(folder / "llab.ply")
    return folder


@pytest.fixture(scope="module")
def fgs(place):
    """Runs `fgs refine-grasp` in the folder: the exit status."""

    def fgs(*words: Any) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            return main(["refine-grasp", *map(str, words), *SMALL])

    return fgs


@pytest.fixture(scope="module")
def right(place, fgs):
    """The folder of a run."""
    assert fgs("hand.json", "ball.ply", "--out", "right") == 0
    return place / "right"


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return tuple(json.loads((folder / name).read_text()) for name in ("hand.json", "metrics.json"))  # pyright: ignore


def posed(values: dict[str, Any]) -> Any:
    params = HandParams(**{name: jnp.asarray(values[name]) for name in vars(HandParams())})
    return hand(open_hand(), params)


def test_the_refined_hand_is_written_in_the_objects_frame(right):
    assert {path.name for path in right.iterdir()} == GRASP_FILES
    values, measures = read(right)
    before, after = (np.array(each["keypoints_3d"]) for each in (values["before"], values))
    np.testing.assert_allclose(before, hand(open_hand(), given()).keypoints, atol=1e-6)
    np.testing.assert_allclose(after, posed(values).keypoints, atol=1e-6)
    for name, each in (("hand", values), ("hand_before", values["before"])):
        vertices = load_object(right / f"{name}.ply").vertices
        np.testing.assert_allclose(vertices, posed(each).vertices, atol=1e-6)
        depth = 1e3 * max(0.0, RADIUS - np.linalg.norm(vertices, axis=1).min())
        # The mesh of the ball is up to .3 mm within it.
        assert measures["before" if "before" in name else "after"]["mpd_mm"] == pytest.approx(depth, abs=0.3)
    moved = 1e3 * np.linalg.norm(after - before, axis=1)
    assert measures["keypoints_moved_mm"] == pytest.approx(moved.mean(), abs=1e-3)
    assert measures["keypoints_moved_most_mm"] == pytest.approx(moved.max(), abs=1e-3) and moved.mean() > 0.1
    assert measures["settings"]["contact"]["places"] == 16 and measures["settings"]["grid"] == 16
    assert (values["side"], values["hand_model"], measures["notes"]) == ("right", "open_hand", [])
    written, ball = (load_object(path).vertices for path in (right / "object.obj", right.parent / "ball.ply"))
    np.testing.assert_allclose(written, ball, atol=1e-7)


def test_a_wall_that_is_thinner_than_two_voxels_is_a_note(fgs, place, capsys):
    ball, inner = (trimesh.creation.icosphere(3, radius) for radius in (RADIUS, RADIUS - 0.001))
    inner.invert()
    trimesh.util.concatenate([ball, inner]).export(place / "shell.ply")
    assert fgs("hand.json", "shell.ply", "--out", "shell") == 0
    *_, note = read(place / "shell")[1]["notes"]
    assert note.startswith("object: its wall is 1.0 mm thick, and a voxel of its distance grid 7.3 mm wide: a finger ")
    assert f"note: {note}" in capsys.readouterr().out.splitlines()


def test_a_left_hand_is_its_mirror_image(fgs, place, right, capsys):
    assert fgs("left.json", "llab.ply", "--out", "left") == 0
    (values, measures), (expected, same) = read(place / "left"), read(right)
    assert values["side"] == "left"
    for ours, theirs in ((values, expected), (values["before"], expected["before"])):
        np.testing.assert_array_equal(ours["keypoints_3d"], np.array(theirs["keypoints_3d"]) * MIRROR)
        np.testing.assert_array_equal(ours["pose"], np.array(theirs["pose"]) * TURNED)
    assert {**measures, "notes": 0} == {**same, "notes": 0}
    mesh, other = (load_object(folder / "hand.ply") for folder in (place / "left", right))
    np.testing.assert_allclose(mesh.vertices, other.vertices * MIRROR, atol=1e-7)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["before", "after"]
    assert printed[1].split()[:3] == ["mpd_mm", *(f"{measures[when]['mpd_mm']:.3f}" for when in ("before", "after"))]
    assert printed[-2].startswith("keypoints moved by ") and printed[-1] == "wrote left"


def test_what_was_written_and_npz_are_read_again(right, tmp_path):
    values, _ = read(right)
    found = read_given_hand(right / "hand.json")
    arrays: dict[str, Any] = {name: np.array(values[name]) for name in vars(HandParams())}
    np.savez(tmp_path / "hand.npz", side="right", **arrays)
    again = read_given_hand(tmp_path / "hand.npz")
    for name, value in vars(found.params).items():
        np.testing.assert_allclose(value, values[name], rtol=1e-6)
        np.testing.assert_array_equal(value, getattr(again.params, name))
    assert not found.notes and "45 numbers were read as angles" in again.notes[0]


def test_keypoints_of_any_unit_and_with_gaps_make_a_hand(tmp_path):
    keypoints = np.asarray(hand(open_hand(), given()).keypoints, float)
    gaps: list[Any] = (1e3 * keypoints * MIRROR).tolist()
    gaps[7] = [None, None, None]
    confidence = [float(k != 7) for k in range(21)]
    path = write(tmp_path / "keypoints.json", {"keypoints_3d": gaps, "confidence": confidence, "side": "left"})
    found = read_given_hand(path, metres=0.001)
    assert found.side == "left" and found.notes[0].startswith("hand: fitted to its keypoints, 0.")
    np.testing.assert_allclose(found.posed.keypoints, keypoints, atol=2e-3)


def test_a_mesh_of_the_model_makes_a_hand(right):
    found = read_given_hand(right / "hand_before.ply")
    np.testing.assert_allclose(found.posed.vertices, hand(open_hand(), given()).vertices, atol=1e-3)


def test_betas_of_a_model_that_is_not_here_are_dropped(tmp_path, monkeypatch):
    monkeypatch.delenv("FGS_MANO_DIR", raising=False)
    path = write(tmp_path / "mano.json", values_of(given()) | {"hand_model": "mano"})
    with pytest.warns(HandShapeWarning, match="dropped"):
        found = read_given_hand(path)
    assert not np.any(found.params.betas)
    np.testing.assert_array_equal(found.params.pose, given().pose)


def test_what_is_known_of_each_joint_reaches_the_problem(place, fgs, monkeypatch):
    sigma = np.full((15, 3), 0.2)
    sigma[3] = 0.01
    write(place / "known.json", values_of(given()) | {"angle_sigma": sigma.tolist()})
    problems = []

    def seen(problem: Any, *arguments: Any, **more: Any) -> Any:
        problems.append(problem)
        raise SceneError("seen")

    monkeypatch.setattr(command_refine_grasp, "refine_grasps", seen)
    assert fgs("known.json", "ball.ply", "--out", "known", "--contact.place-sigma", "0.03") == 2
    uncertainty = problems[0].uncertainty
    np.testing.assert_allclose(uncertainty.angles, sigma, rtol=1e-6)
    assert (float(uncertainty.place), float(uncertainty.turn)) == pytest.approx((0.03, 0.175))
    assert not (place / "known").exists()


def test_what_a_file_of_ones_own_leaves_out_is_the_presets(tmp_path):
    (tmp_path / "mine.yaml").write_text("contact: {steps: 20}\ngrid: 32")
    found = read_words(["hand.json", "ball.ply", "--config", str(tmp_path / "mine.yaml"), "--seed", "3"])
    assert found.contact == replace(CONFIGS["given"].contact, steps=20) and (found.grid, found.seed) == (32, 3)
    assert read_words(["hand.json", "ball.ply"]).contact == CONFIGS["given"].contact


GOOD = {"keypoints_3d": np.zeros((21, 3)).tolist()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keypoints_3d": np.zeros((20, 3)).tolist()}, r"keypoints_3d: expected numbers of shape \(21, 3\).*\(20, 3\)"),
        (GOOD, "expected a hand of 5 to 40 cm, came 0 m: give the file's unit"),
        (GOOD | {"confidence": [0.0] * 21}, "keypoints_3d: expected 4 or more that were found, came 0"),
        ({"keypoints_3d": [[np.nan] * 3] * 21}, "keypoints_3d: expected finite numbers, got NaN or infinity"),
        ({"keypoints_3d": [["a"] * 3] * 21}, "keypoints_3d: expected numbers in rows of one length"),
        (GOOD | {"side": "both"}, "side: expected right or left, came 'both'"),
        (GOOD | {"joints": []}, "expected names among .*, came 'joints': rename it"),
        ({"betas": [0.0]}, "expected keypoints_3d, or pose, rotation, translation, came no pose: give all of one kind"),
        ({"pose": [0.0] * 48}, "pose: expected 45 angles, came 48 numbers; is the hand's own rotation among them"),
        ({"pose": [np.inf] * 45}, "pose: expected finite numbers"),
        (GOOD | {"angle_sigma": [0.1] * 45}, "angle_sigma: expected 15 x 3 positive numbers"),
        ([1], "expected a hand's values by name, came list"),
    ],
)
def test_a_bad_hand_is_one_line(tmp_path, values, message):
    path = write(tmp_path / "hand.json", values)
    with pytest.raises(HandInputError, match=message) as error:
        read_given_hand(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_too_many_betas_and_pickles_are_refused(tmp_path):
    path = write(tmp_path / "hand.json", values_of(given()) | {"betas": [0.0] * 11})
    with pytest.raises(HandInputError, match="betas: expected at most 10, as open_hand has, came 11"):
        read_given_hand(path)
    with pytest.raises(HandInputError, match=r'hand.pkl: expected a file of .json, .npz, .obj, .*, came ".pkl"'):
        read_given_hand(tmp_path / "hand.pkl")
    (tmp_path / "hand.npz").write_bytes(b"no zip")
    with pytest.raises(HandInputError, match=r"hand.npz: expected an npz of plain arrays, came none"):
        read_given_hand(tmp_path / "hand.npz")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.json", "ball.ply"], "nowhere.json: expected a hand's file, there is none; check the path"),
        (["hand.json", "nowhere.ply"], "nowhere.ply: expected a mesh file, there is none; check the path"),
        (["ball.ply", "ball.ply"], "expected a mesh that open_hand has posed (782 vertices), came 642 vertices"),
        (["hand.json", "ball.ply", "--object-unit", "mm"], "expected an object of 5 mm to 3 m, came 8e-05 m"),
        (["far.json", "ball.ply"], "hand and object: expected a distance of at most 90 mm, got"),
        (["left.json", "ball.ply", "--side", "right"], "side: expected right, as was said, came left"),
        (["hand.json", "ball.ply", "--hand-model", "paw"], "paw: expected one of open_hand"),
        (["hand.json", "ball.ply", "--contact.place-sigma", "0"], "place_sigma"),
        (["hand.json", "ball.ply", "--config", "gave"], "gave: expected fast, paper, given or a YAML file"),
        (["hand.json", "ball.ply", "--out", "right"], "is there already; give another --out, or --overwrite"),
    ],
)
def test_a_mistake_is_one_line(fgs, right, capsys, words, message):
    words = words if "--out" in words else [*words, "--out", "bad"]
    capsys.readouterr()
    assert fgs(*words) == 2
    line = capsys.readouterr().err
    assert line.startswith("fgs: ") and message in line and line.count("\n") == 1
    assert not (right.parent / "bad").exists()


def test_an_unknown_unit_is_named(fgs, capsys):
    assert fgs("hand.json", "ball.ply", "--unit", "inch") == 2
    assert "inch" in capsys.readouterr().err
