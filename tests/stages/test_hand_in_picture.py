"""The hand in its picture: from each form that it is given in, grown to its mask, and seen by an ordinary camera."""

import re
import sys
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.config import FAST
from fgs_jax.errors import SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.camera import project
from fgs_jax.stages.contact import contact_problem
from fgs_jax.stages.hand_in_picture import (
    grow_hand,
    hand_of_own_size,
    keypoints_of_grown,
    pose_hand,
    reframe,
    see_hand,
)
from fgs_jax.stages.refine import refine
from fgs_jax.stages.scale import size_object
from fgs_jax.testing import as_scene
from fgs_jax.types import Camera
from tests.small_scene import SIZE, SMALL, refined, rendered
from tests.stages.result_parts import arrays, measures

of_hand: Any = sys.modules["fgs_jax.stages.hand_in_picture"]  # whose name is a function's, too


@pytest.fixture(scope="module")
def truth():
    return rendered()


@pytest.fixture(scope="module")
def scene(truth):
    return as_scene(truth)


@pytest.fixture(scope="module")
def result():
    return refined()


PALM = [0, 5, 9, 13, 17]


def palm_size(result, when: int = 1) -> float:
    """Of the wrist and the four knuckles, metres."""
    points = result.hand_keypoints[when][PALM]
    return float(np.linalg.norm(points - points.mean(axis=0)))


def test_hand_parameters_are_taken_as_they_are(scene, truth, result):
    model = load_hand_model("open_hand")
    given = replace(scene, keypoints_2d=None, hand_params=truth.hand_params)
    params = pose_hand(given, model)
    assert params.rotation.shape == (3,) and params.pose.shape == (15, 3)
    posed = jax.jit(hand)(model, params)
    np.testing.assert_allclose(posed.vertices, truth.hand_vertices, atol=1e-5)
    # They win over keypoints that say something else.
    also = pose_hand(replace(given, keypoints_2d=scene.keypoints_2d + 30), model)
    for ours, expected in zip(arrays(also), arrays(params), strict=True):
        np.testing.assert_array_equal(ours, expected)
    fitted = jax.tree.map(jnp.asarray, result.before.hand)
    found = refine(replace(given, hand_params=fitted), SMALL)
    np.testing.assert_array_equal(found.hand_vertices[0], result.hand_vertices[0])
    assert measures(found)["mpd_mm"] < 2 and measures(found)["fingers_in_contact"] >= 3
    assert measures(found)["keypoint_error_px"] is None


def test_a_hand_that_is_given_does_not_grow(scene, truth):
    """Though its mask is larger, and its keypoints are there too."""
    small = replace(truth.hand_params, scale=jnp.asarray(0.93))
    state = see_hand(replace(scene, hand_params=small), SMALL, jax.random.key(0))
    assert state.notes == ()
    np.testing.assert_array_equal(state.params.scale, small.scale)
    assert grow_hand(scene, state.model, state.params, 0.1)[1] > 1.03


def test_a_posed_mesh_is_fitted(scene, truth):
    model = load_hand_model("open_hand")
    mesh = {"hand_vertices": np.asarray(truth.hand_vertices, float), "hand_faces": np.asarray(truth.hand_faces)}
    posed = jax.jit(hand)(model, pose_hand(replace(scene, keypoints_2d=None, **mesh), model))
    np.testing.assert_allclose(posed.vertices, truth.hand_vertices, atol=1e-4)
    other = {"hand_vertices": mesh["hand_vertices"][:-1], "hand_faces": np.asarray([[0, 1, 2]])}
    with pytest.raises(SceneError, match="hand: expected its parameters, 21 keypoints, or a mesh of the model's own"):
        pose_hand(replace(scene, keypoints_2d=None, **other), model)


def test_keypoints_with_confidence_are_fitted_where_they_were_seen(scene, truth):
    model = load_hand_model("open_hand")
    wrong = scene.keypoints_2d.copy()
    wrong[8] += 60  # the tip of the index finger
    trusted = np.ones(21)
    trusted[8] = 0
    posed = jax.jit(hand)(model, pose_hand(replace(scene, keypoints_2d=wrong, keypoint_confidence=trusted), model))
    error = np.linalg.norm(np.asarray(project(truth.camera, posed.keypoints)) - scene.keypoints_2d, axis=1)
    assert np.delete(error, 8).max() < 1


def test_what_was_not_found_may_be_nan_and_a_doubt_names_the_side_that_was_said(scene, truth):
    found = np.arange(21) != 8
    landmarks = np.asarray(truth.hand_keypoints, float) - np.asarray(truth.hand_keypoints, float).mean(axis=0)
    gaps = {
        "keypoints_2d": np.where(found[:, None], scene.keypoints_2d, np.nan),
        "world_landmarks": np.where(found[:, None], landmarks, np.nan),
        "keypoint_confidence": 1.0 * found,
    }
    state = see_hand(replace(scene, side="left", **gaps), SMALL, jax.random.key(0))
    assert [note.partition(" (")[0] for note in state.notes if "speak" in note] == [
        "the keypoints speak against a left hand"
    ]
    assert all(np.isfinite(part).all() for part in arrays(state.params))
    sized = size_object(state, SMALL, jax.random.key(0))
    problem = contact_problem(sized.scene, sized.model, SMALL, jax.random.key(0))
    assert problem.picture is not None and np.isfinite(problem.picture.keypoints).all()


def test_keypoints_that_were_not_found_have_no_part_in_another_camera():
    far = as_scene(rendered(hamer_focal=True))
    found, model = 1.0 * (np.arange(21) != 8), load_hand_model("open_hand")
    assert far.keypoints_2d is not None
    outcomes = []
    for elsewhere in (0.0, 1e4):
        seen = np.where(found[:, None] > 0, far.keypoints_2d, elsewhere)
        given = replace(far, keypoints_2d=seen, keypoint_confidence=found)
        outcomes.append(reframe(given, model, pose_hand(given, model), SMALL))
    assert outcomes[0][2] == outcomes[1][2]
    assert re.search(r"keypoint error \d\.\d px by \d\.\d px$", outcomes[0][2][0])
    for ours, theirs in zip(arrays(outcomes[0][1]), arrays(outcomes[1][1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("within", "least", "most"), [(1.0, 1.0, 1.0), (1.09, 1.07, 1.1), (0.95, 0.94, 0.97)])
def test_a_hand_on_landmarks_within_the_flesh_grows_to_its_mask(scene, truth, within, least, most):
    model, seen = load_hand_model("open_hand"), scene.keypoints_2d
    middle = seen.mean(axis=0)
    confidence = np.where(np.arange(21) == 8, 0.0, 1.0)
    shrunk = middle + (seen - middle) / within
    shrunk[8] = np.nan
    landmarks = replace(scene, keypoints_2d=shrunk, keypoint_confidence=confidence)
    params = pose_hand(landmarks, model)
    grown, factor = grow_hand(landmarks, model, params, 0.1)
    assert least <= factor <= most
    np.testing.assert_allclose(grown.scale, factor, rtol=1e-6)
    error = np.asarray(project(truth.camera, jax.jit(hand)(model, grown).keypoints)) - seen
    assert np.abs(np.delete(error, 8, axis=0)).max() < 1
    wanted = keypoints_of_grown(landmarks, factor)
    assert wanted is not None
    assert np.abs(np.delete(wanted - seen, 8, axis=0)).max() < 0.5 and np.isnan(wanted[8]).all()
    # Not past the limit, not without leave, and not where no pixel tells.
    little = {1.0: 1.0, 1.09: 1.02, 0.95: 1 / 1.02}[within]
    assert grow_hand(landmarks, model, params, 0.02)[1] == pytest.approx(little, abs=0.003)
    nothing = replace(landmarks, hand_mask=np.zeros_like(scene.hand_mask))
    for unchanged in (grow_hand(landmarks, model, params, 0.0), grow_hand(nothing, model, params, 0.1)):
        assert unchanged[1] == 1
        np.testing.assert_allclose(unchanged[0].translation, params.translation, atol=1e-7)


def test_a_hand_is_compared_in_at_most_256_pixels_along_a_side(scene, truth, monkeypatch):
    """However large its picture is: here one that the hand reaches beyond on all sides."""
    side, focal, shapes = 513, 20 * np.asarray(scene.camera.focal), []
    middle = np.asarray(truth.hand_vertices, float).mean(axis=0)
    camera = Camera(jnp.asarray(focal), jnp.asarray(side / 2 - focal * middle[:2] / middle[2], jnp.float32))
    nothing = np.zeros((side, side), bool)
    large = replace(scene, camera=camera, image=None, hand_mask=~nothing, object_mask=nothing)
    monkeypatch.setattr(of_hand, "hand_silhouette_iou", lambda drawn, *_: shapes.append(drawn.shape) or 1.0)
    assert grow_hand(large, load_hand_model("open_hand"), truth.hand_params, 0.1)[1] == 1
    assert len(shapes) > 10 and set(shapes) == {(171, 171)}


@pytest.mark.parametrize(("within", "larger"), [(1.09, "larger"), (0.95, "smaller")])
def test_a_note_says_which_way_a_hand_grew(scene, within, larger):
    middle = scene.keypoints_2d.mean(axis=0)
    landmarks = replace(scene, keypoints_2d=middle + (scene.keypoints_2d - middle) / within)
    [note] = see_hand(landmarks, SMALL, jax.random.key(0)).notes
    assert re.fullmatch(rf"hand: [4-9] % {larger} than its keypoints alone say, to fill its mask", note)


def test_contact_gets_a_hand_that_has_grown_in_its_own_size_and_nearer(scene, truth):
    middle = scene.keypoints_2d.mean(axis=0)
    landmarks = replace(scene, keypoints_2d=middle + (scene.keypoints_2d - middle) / 1.09)
    state = see_hand(landmarks, SMALL, jax.random.key(0))
    own = hand_of_own_size(state)
    assert state.growth > 1.05
    np.testing.assert_allclose(own.scale * state.growth, state.params.scale, rtol=1e-6)
    grown, nearer = (jax.jit(hand)(state.model, params) for params in (state.params, own))
    np.testing.assert_allclose(nearer.vertices * state.growth, grown.vertices, atol=1e-6)
    # Beside an object of unknown size the grown hand is the measure; and a given hand is as large as it is.
    unknown = see_hand(replace(landmarks, object=replace(scene.object, size="unknown")), SMALL, jax.random.key(0))
    given = see_hand(replace(scene, hand_params=truth.hand_params), SMALL, jax.random.key(0))
    assert unknown.growth == state.growth and hand_of_own_size(unknown) is unknown.params
    assert given.growth == 1 and hand_of_own_size(given) is given.params


def test_a_hand_that_has_grown_is_said_so_and_keeps_its_size(scene, result):
    middle = scene.keypoints_2d.mean(axis=0)
    found = refine(replace(scene, keypoints_2d=middle + (scene.keypoints_2d - middle) / 1.09), SMALL)
    assert found.notes == ("hand: 8 % larger than its keypoints alone say, to fill its mask",)
    without = refine(found.scene, replace(SMALL, growth=0.0))
    before, before_without = measures(found, 0), measures(without, 0)
    assert before["hand_iou"] > 0.9 and before["keypoint_error_share"] > 0.01
    assert without.notes == () and before_without["hand_iou"] < before["hand_iou"] - 0.05
    # Contact does not pull the grown hand back to the landmarks as they are. How far it bends the fingers hangs on the
    # last bits of many steps; the palm is rigid, so its size over its depth is the hand's size in the picture.
    sizes = [palm_size(r) / r.hand_keypoints[1][PALM, 2].mean() for r in (found, result, without)]
    assert palm_size(found, 0) / found.hand_keypoints[0][PALM, 2].mean() == pytest.approx(sizes[0], rel=0.06)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.04) and sizes[2] < sizes[0] / 1.04


def test_parameters_of_another_model_are_carried_over_and_said_so(scene, truth):
    given = replace(scene, hand_params=truth.hand_params, hand_model="open_hand_full")
    model = load_hand_model("open_hand")
    with pytest.warns(match="betas of another model mean nothing to open_hand"):
        params = pose_hand(given, model)
    np.testing.assert_array_equal(params.betas, 0)
    np.testing.assert_array_equal(params.translation, truth.hand_params.translation)


def test_a_scene_of_hamers_focal_length_gets_an_ordinary_camera():
    far = as_scene(rendered(hamer_focal=True))
    found = refine(far, replace(SMALL, opa=FAST.opa, restarts=FAST.restarts))
    assert len(found.notes) == 2
    note = r"a centimetre of depth moves the outline by 0\.\d\d px: focal length 3125 px replaced by 192 px, depth \d"
    assert re.match(note, found.notes[0])
    assert found.notes[1] == "hand: 3 % smaller than its keypoints alone say, to fill its mask"
    np.testing.assert_allclose(found.camera.focal, SMALL.ordinary_focal * max(SIZE), rtol=1e-6)
    assert found.scene is far and float(far.camera.focal[0]) == 3125
    assert found.hand_keypoints[0][0, 2] < 1
    before, after = found.metrics[0], measures(found)
    assert before["keypoint_error_px"] == pytest.approx(1, abs=1)
    assert after["mpd_mm"] < 2 and after["fingers_in_contact"] >= 3 and after["masked_iou"] > 0.85


def test_a_hand_seen_by_an_ordinary_camera_stands_on_the_keypoints_that_were_seen():
    """Not on those of its parameters, where they differ; and one that was not seen may be anything."""
    far, model = as_scene(rendered(hamer_focal=True)), load_hand_model("open_hand")
    params = pose_hand(far, model)
    assert far.keypoints_2d is not None
    seen, confidence = far.keypoints_2d + [4.0, -3.0], np.where(np.arange(21) == 8, 0.0, 1.0)
    seen[8] = np.nan
    moved = replace(far, keypoints_2d=seen, keypoint_confidence=confidence)
    without = replace(far, keypoints_2d=None, hand_params=params)
    for given, wanted in ((moved, seen), (without, far.keypoints_2d)):
        changed, nearer, notes = reframe(given, model, params, SMALL)
        assert len(notes) == 1
        pixels = np.asarray(project(changed.camera, jax.jit(hand)(model, nearer).keypoints))
        assert np.delete(np.linalg.norm(pixels - wanted, axis=1), 8).mean() < 1.5


def test_a_scene_of_an_ordinary_camera_keeps_it(scene, result):
    model = load_hand_model("open_hand")
    given, params, notes = reframe(scene, model, jax.tree.map(jnp.asarray, result.before.hand), SMALL)
    assert given is scene and notes == []
    # A centimetre at 0.4 m moves an outline of 100 px by more than a pixel: the threshold decides.
    changed, _, notes = reframe(scene, model, params, replace(SMALL, reframe_below=100.0, ordinary_focal=0.25))
    assert len(notes) == 1 and float(changed.camera.focal[0]) == pytest.approx(40)
    # There is nothing to gain from a camera that is as near already.
    assert reframe(scene, model, params, replace(SMALL, reframe_below=100.0))[2] == []
    # Nor is there need of one where a centimetre is seen, however far away the camera is.
    far = as_scene(rendered(hamer_focal=True))
    there = pose_hand(far, model)
    assert len(reframe(far, model, there, SMALL)[2]) == 1
    assert reframe(far, model, there, replace(SMALL, reframe_below=0.01))[2] == []
