"""The main job on a small rendered scene: a good grasp from each form of hand, mirrored, of unknown size, from afar."""

import re
import shutil
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.scenes import make_scene
from fgs_jax import notes
from fgs_jax.errors import FgsError, SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.journal import Journal
from fgs_jax.picture.camera import project
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import mirrored
from fgs_jax.results import metrics
from fgs_jax.results import write as results
from fgs_jax.results.result import Result, object_at
from fgs_jax.stages.contact import closed_faces, vertices_seen
from fgs_jax.stages.refine import (
    grow_hand,
    keypoints_of_grown,
    mirrored_result,
    pose_hand,
    prepare,
    refine,
    refine_many,
    reframe,
)
from fgs_jax.types import Camera, Grasp
from tests.small_scene import SIZE, SMALL, as_scene, refined, rendered

M = np.array([-1.0, 1.0, 1.0])
module: Any = sys.modules["fgs_jax.stages.refine"]  # whose name is a function's, too


@pytest.fixture(scope="module")
def truth():
    return rendered()


@pytest.fixture(scope="module")
def scene(truth):
    return as_scene(truth)


@pytest.fixture(scope="module")
def result():
    return refined()


@contextmanager
def compilations(caplog):
    """The names of the programs that are compiled within, once it is over."""
    names = []
    caplog.clear()
    jax.config.update("jax_log_compiles", True)  # in all threads, which jax.log_compiles() is not
    try:
        yield names
    finally:
        jax.config.update("jax_log_compiles", False)
    texts = [record.getMessage() for record in caplog.records if record.name.startswith("jax")]
    names += [text.split()[1] for text in texts if text.startswith("Compiling ")]


def measures(result, when: int = 1) -> dict[str, Any]:
    """After, unless asked for before."""
    return result.metrics[when]


def iou_of_pose(result: Result, k: int) -> float:
    """Masked IoU of the given mesh in OPA's pose k, as `ObjectPoses` documents its fields."""
    scene, poses = result.scene, result.poses
    vertices = poses.scale[k] * scene.object.vertices @ poses.rotation[k].T + poses.translation[k]
    height, width = scene.object_mask.shape
    drawn = np.isfinite(depth_map(result.camera, (width, height), vertices, scene.object.faces))
    return metrics.masked_iou(drawn, scene.object_mask, scene.hand_mask)


PALM = [0, 5, 9, 13, 17]


def palm_size(result, when: int = 1) -> float:
    """Of the wrist and the four knuckles, metres."""
    points = result.hand_keypoints[when][PALM]
    return float(np.linalg.norm(points - points.mean(axis=0)))


def arrays(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_a_grasp_is_found(result):
    before, after = result.metrics
    assert before["mpd_mm"] > 5 and after["mpd_mm"] < 2
    assert before["siv_cm3"] > 1 and after["siv_cm3"] < 0.2
    assert after["fingers_in_contact"] >= max(3, before["fingers_in_contact"])
    assert result.poses.masked_iou[0] > 0.9
    assert after["masked_iou"] >= result.poses.masked_iou[0] - 0.005
    assert after["keypoint_error_share"] < 0.06
    assert after["occlusion_agreement"] > 0.85
    assert result.notes == ()
    assert list(result.seconds) == ["hand", "object pose", "contact", "metrics"]


def test_the_measures_are_those_of_the_meshes(result, scene):
    assert [list(part) for part in result.metrics] == [[*metrics.GRASP_METRICS, *metrics.PICTURE_METRICS]] * 2
    for when in range(2):
        object_surface = metrics.Surface(result.object_vertices(when), scene.object.faces)
        hand_surface = metrics.Surface(result.hand_vertices[when], result.hand_faces)
        assert result.metrics[when]["mpd_mm"] == 1e3 * metrics.maximal_penetration_depth(hand_surface, object_surface)
        pixels = np.asarray(project(result.camera, jnp.asarray(result.hand_keypoints[when], jnp.float32)))
        error = np.linalg.norm(pixels - scene.keypoints_2d, axis=1).mean()
        assert result.metrics[when]["keypoint_error_px"] == pytest.approx(error, rel=1e-4)


def test_before_is_the_hand_as_it_was_seen_with_the_best_pose_of_the_object(result, truth):
    seen = np.asarray(project(truth.camera, jnp.asarray(truth.hand_keypoints)))
    fitted = np.asarray(project(truth.camera, jnp.asarray(result.hand_keypoints[0], jnp.float32)))
    assert np.linalg.norm(fitted - seen, axis=1).mean() < 1
    np.testing.assert_array_equal(result.before.rotation, result.poses.rotation[0].astype(np.float32))
    np.testing.assert_array_equal(result.before.translation, result.poses.translation[0].astype(np.float32))
    assert result.before.hand.scale == result.before.scale == 1
    # A metric object stays where the picture shows it; the hand comes to it.
    np.testing.assert_array_equal(result.object_vertices(0), result.object_vertices(1))
    assert result.after.scale == 1 and result.after.hand.scale != 1
    assert np.abs(result.hand_vertices[1] - result.hand_vertices[0]).max() > 0.005


def test_the_parameters_give_the_vertices(result):
    model = load_hand_model("open_hand")
    for when, grasp in enumerate((result.before, result.after)):
        posed = jax.jit(hand)(model, jax.tree.map(jnp.asarray, grasp.hand))
        np.testing.assert_allclose(posed.vertices, result.hand_vertices[when], atol=1e-6)
        np.testing.assert_allclose(posed.keypoints, result.hand_keypoints[when], atol=1e-6)
    np.testing.assert_array_equal(result.hand_faces, closed_faces(model))


def test_the_candidates_stand_by_score_and_the_first_has_won(result):
    scores = [candidate.score for candidate in result.candidates]
    assert len(scores) >= 2 and scores == sorted(scores) and np.isfinite(scores).all()
    assert len({(candidate.pose, candidate.valley) for candidate in result.candidates}) == len(scores)
    best = result.candidates[0]
    for ours, chosen in zip(arrays(best.grasp), arrays(result.after), strict=True):
        np.testing.assert_array_equal(ours, chosen)
    np.testing.assert_allclose(best.hand_vertices, result.hand_vertices[1], atol=1e-6)
    for candidate in result.candidates:
        assert candidate.pose in range(SMALL.candidates) and candidate.valley in (0, 1)
        assert candidate.grasp.hand.scale == pytest.approx(candidate.factor, rel=1e-6)
        np.testing.assert_array_equal(
            candidate.grasp.rotation, result.poses.rotation[candidate.pose].astype(np.float32)
        )
        assert 0 <= candidate.masked_iou <= 1 and 0 <= candidate.occlusion_agreement <= 1
    plain = best.energy + SMALL.w_mask * (1 - best.masked_iou) + SMALL.w_agreement * (1 - best.occlusion_agreement)
    assert best.score == pytest.approx(plain, rel=1e-5)


def test_the_way_is_recorded(result):
    steps, contact = SMALL.contact.steps, SMALL.contact
    assert result.history.shape == (steps,) and result.history[-1] < result.history[0]
    assert result.terms.keys() == contact.weights.keys()
    assert {values.shape for values in result.terms.values()} == {(steps // contact.refresh,)}
    first = sum(weight * result.terms[name][0] for name, weight in contact.weights.items())
    assert result.history[0] == pytest.approx(first, rel=1e-4)
    assert result.candidates[0].energy <= result.history.min() + contact.w_dis * contact.reach * 12 + 1e-3


def test_progress_is_told_stage_by_stage_and_the_same_key_gives_the_same_bits(result, scene):
    told, clock = [], time.perf_counter()
    again = refine(scene, SMALL, jax.random.key(SMALL.seed), progress=lambda *stage: told.append(stage))
    assert told == list(again.seconds.items())
    assert 0 < sum(again.seconds.values()) <= time.perf_counter() - clock
    for name in ("before", "after", "hand_vertices", "hand_keypoints", "poses", "candidates", "history", "terms"):
        for ours, expected in zip(arrays(getattr(again, name)), arrays(getattr(result, name)), strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert again.metrics == result.metrics


def test_a_run_that_looks_for_nans_finds_none_and_the_same_bits(result, scene):
    jax.config.update("jax_debug_nans", True)  # in all threads, as JAX_DEBUG_NANS=1 is
    try:
        again = refine(scene, SMALL)
    finally:
        jax.config.update("jax_debug_nans", False)
    for name in ("before", "after", "hand_vertices", "poses", "candidates", "history", "terms"):
        for ours, expected in zip(arrays(getattr(again, name)), arrays(getattr(result, name)), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_warnings_of_others_are_not_swallowed_and_ours_are_notes(scene, result, monkeypatch):
    """Both come up while the hand is posed, as threads compile."""

    real = pose_hand

    def posed(*arguments: Any) -> Any:
        warnings.warn("a library's own", FutureWarning, stacklevel=1)
        return real(*arguments)

    monkeypatch.setattr(module, "pose_hand", posed)
    fitted = jax.tree.map(jnp.asarray, result.before.hand)
    given = replace(scene, keypoints_2d=None, hand_params=fitted, hand_model="open_hand_full")
    filters, show = list(warnings.filters), warnings.showwarning
    heard: list[str] = []
    with pytest.warns(FutureWarning) as caught, notes.heard(lambda warning: heard.append(str(warning))):
        found = refine(given, SMALL)
    assert [str(each.message) for each in caught] == ["a library's own"] and heard == []
    assert len(found.notes) == 1 and found.notes[0].startswith("betas of another model mean nothing to open_hand")
    assert (list(warnings.filters), warnings.showwarning) == (filters, show)


def test_what_work_ahead_raises_ends_the_run(scene, result, monkeypatch):
    def failing(*_: Any, **__: Any) -> None:
        raise MemoryError("of a compiler")

    for name in ("compile_approximate", "compile_contact"):
        with monkeypatch.context() as patch, pytest.raises(MemoryError, match="of a compiler"):
            patch.setattr(module, name, failing)
            refine(scene, SMALL)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_a_left_hand_is_the_mirror_image_to_the_bit(result, scene):
    left = mirrored(scene)
    found = refine(left, SMALL)
    assert found.scene is left and left.side == "left"
    for when in range(2):
        np.testing.assert_array_equal(found.hand_vertices[when], result.hand_vertices[when] * M)
        np.testing.assert_array_equal(found.hand_keypoints[when], result.hand_keypoints[when] * M)
        np.testing.assert_array_equal(found.object_vertices(when), result.object_vertices(when) * M)
        grasp, expected = ((r.before, r.after)[when] for r in (found, result))
        np.testing.assert_array_equal(grasp.hand.pose, expected.hand.pose * [1, -1, -1])
        np.testing.assert_array_equal(grasp.rotation, expected.rotation * np.outer(M, M))
    np.testing.assert_array_equal(found.hand_faces, result.hand_faces[:, ::-1])
    np.testing.assert_array_equal(found.camera.principal, [SIZE[0] - result.camera.principal[0], SIZE[1] / 2])
    assert found.metrics == result.metrics
    assert [candidate.score for candidate in found.candidates] == [candidate.score for candidate in result.candidates]
    model = load_hand_model("open_hand", side="left")
    posed = jax.jit(hand)(model, jax.tree.map(jnp.asarray, found.after.hand))
    np.testing.assert_allclose(posed.vertices, found.hand_vertices[1], atol=1e-6)
    twice = mirrored_result(found, SIZE[0])
    for item in fields(Grasp):
        for ours, expected in zip(
            arrays(getattr(twice.after, item.name)), arrays(getattr(result.after, item.name)), strict=True
        ):
            np.testing.assert_array_equal(ours, expected)


def test_a_mirrored_result_has_every_array_mirrored(result):
    """By hand, field by field, and back again."""
    width = SIZE[0] + 7
    found = mirrored_result(result, width)
    matrix = np.outer(M, M)

    def mirrored_grasp(grasp):
        return {
            "betas": grasp.hand.betas,
            "pose": grasp.hand.pose * [1, -1, -1],
            "rotation of the hand": grasp.hand.rotation * [1, -1, -1],
            "translation of the hand": grasp.hand.translation * M,
            "scale of the hand": grasp.hand.scale,
            "rotation": grasp.rotation * matrix,
            "translation": grasp.translation * M,
            "scale": grasp.scale,
        }

    def parts(grasp):
        hand = grasp.hand.betas, grasp.hand.pose, grasp.hand.rotation, grasp.hand.translation, grasp.hand.scale
        return dict(zip(mirrored_grasp(grasp), (*hand, grasp.rotation, grasp.translation, grasp.scale), strict=True))

    def check(ours, grasp):
        for name, expected in mirrored_grasp(grasp).items():
            np.testing.assert_array_equal(parts(ours)[name], expected, err_msg=name)

    check(found.before, result.before)
    check(found.after, result.after)
    np.testing.assert_array_equal(found.camera.focal, result.camera.focal)
    np.testing.assert_allclose(found.camera.principal, [width - result.camera.principal[0], result.camera.principal[1]])
    for name in ("hand_vertices", "hand_keypoints"):
        for ours, expected in zip(getattr(found, name), getattr(result, name), strict=True):
            np.testing.assert_array_equal(ours, expected * M)
    np.testing.assert_array_equal(found.hand_faces, result.hand_faces[:, ::-1])
    np.testing.assert_array_equal(found.poses.rotation, result.poses.rotation * matrix)
    np.testing.assert_array_equal(found.poses.translation, result.poses.translation * M)
    for name in set(result.poses._fields) - {"rotation", "translation"}:
        assert getattr(found.poses, name) is getattr(result.poses, name), name
    assert len(found.candidates) == len(result.candidates) > 1
    for ours, expected in zip(found.candidates, result.candidates, strict=True):
        check(ours.grasp, expected.grasp)
        np.testing.assert_array_equal(ours.hand_vertices, expected.hand_vertices * M)
        for name in set(expected._fields) - {"grasp", "hand_vertices"}:
            assert getattr(ours, name) == getattr(expected, name), name
    turned = {"camera", "before", "after", "hand_vertices", "hand_faces", "hand_keypoints", "poses", "candidates"}
    kept = {"scene", "config", "metrics", "scale", "history", "terms", "notes", "seconds"}
    assert {item.name for item in fields(Result)} == turned | kept, "a new field turns with the result, or does not"
    for name in kept:
        assert getattr(found, name) is getattr(result, name), name
    twice = mirrored_result(found, width)
    for name in turned:
        for ours, expected in zip(arrays(getattr(twice, name)), arrays(getattr(result, name)), strict=True):
            np.testing.assert_array_equal(ours, expected, err_msg=name)


def test_a_mesh_of_unknown_size_finds_its_size(truth):
    found = refine(as_scene(truth, "unknown", 7.3), SMALL)
    assert 7.3 * float(found.after.scale) == pytest.approx(1, abs=0.25)
    assert found.after.hand.scale == 1
    assert np.ptp(found.object_vertices(), axis=0).max() == pytest.approx(
        np.ptp(truth.object_vertices, axis=0).max(), rel=0.35
    )
    assert found.scale["k_scale"] == pytest.approx(found.scale["k3D"] / found.scale["k2D"])
    assert measures(found)["mpd_mm"] < 2 and measures(found)["fingers_in_contact"] >= 3
    vertices, faces = np.asarray(found.scene.object.vertices, float), found.scene.object.faces
    for candidate in found.candidates:
        assert candidate.grasp.hand.scale == 1
        # At the size of the scene's own mesh the object is where its picture is.
        placed = object_at(candidate.grasp, vertices)
        drawn = np.isfinite(depth_map(found.camera, SIZE, placed, faces))
        iou = metrics.masked_iou(drawn, found.scene.object_mask, found.scene.hand_mask)
        assert iou == pytest.approx(candidate.masked_iou, abs=0.03) and iou > 0.5
    # All poses are of the mesh as it was given, and say what their silhouettes are.
    for k, claimed in enumerate(found.poses.masked_iou):
        assert iou_of_pose(found, k) == pytest.approx(claimed, abs=0.002)
    assert found.poses.scale[0] == pytest.approx(float(found.before.scale), rel=1e-6)
    for candidate in found.candidates:
        assert float(candidate.grasp.scale) == pytest.approx(
            candidate.factor * found.poses.scale[candidate.pose], rel=1e-5
        )
    arrays_written = results._arrays(found)
    np.testing.assert_array_equal(arrays_written["poses_scale"], found.poses.scale)
    mirror = mirrored_result(found, SIZE[0])
    flipped = replace(mirror, scene=replace(found.scene, object=mirrored(found.scene).object))
    np.testing.assert_array_equal(mirror.poses.scale, found.poses.scale)
    for k in range(len(found.poses.scale)):
        placed = found.poses.scale[k] * found.scene.object.vertices @ found.poses.rotation[k].T
        turned = mirror.poses.scale[k] * flipped.scene.object.vertices @ mirror.poses.rotation[k].T
        np.testing.assert_allclose(
            turned + mirror.poses.translation[k], (placed + found.poses.translation[k]) * M, atol=1e-9
        )


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
    prepared = prepare(replace(scene, hand_params=small), SMALL, jax.random.key(0))
    assert prepared.scene.hand_params is not None and prepared.notes == ()
    np.testing.assert_array_equal(prepared.scene.hand_params.scale, small.scale)
    assert grow_hand(scene, prepared.model, prepared.scene.hand_params, 0.1)[1] > 1.03


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
    prepared = prepare(replace(scene, side="left", **gaps), SMALL, jax.random.key(0))
    assert [note.partition(" (")[0] for note in prepared.notes if "speak" in note] == [
        "the keypoints speak against a left hand"
    ]
    assert all(np.isfinite(part).all() for part in arrays(prepared.task.params))
    assert (picture := prepared.task.problem.picture) and np.isfinite(picture.keypoints).all()


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints_2d": None}, "expected the hand as keypoints_2d, hand_params or hand_vertices, got none"),
        ({"keypoints_2d": np.full((21, 2), np.nan)}, "keypoints_2d: expected finite numbers, got NaN"),
        ({"side": "both"}, 'side: expected "right" or "left", got \'both\''),
        ({"camera": Camera(jnp.array([jnp.nan, 1.0]), jnp.ones(2))}, "camera: expected finite numbers"),
        ({"pose": np.nan}, "hand_pose: expected finite numbers, got NaN or infinity"),
        ({"depth": -2.0}, r"hand_translation: expected a hand before the camera \(z > 0\)"),
        ({"object_mask": np.zeros(SIZE, bool)}, "object_mask: expected visible pixels of the object, got none"),
    ],
)
def test_a_bad_scene_is_one_line_before_anything_is_compiled(scene, truth, changes, message, caplog):
    params, changes = truth.hand_params, dict(changes)
    if "pose" in changes:
        changes["hand_params"] = replace(params, pose=params.pose.at[0].add(changes.pop("pose")))
    if "depth" in changes:
        changes["hand_params"] = replace(params, translation=params.translation.at[2].set(changes.pop("depth")))
    bad, key = replace(scene, **changes), jax.random.key(0)
    with compilations(caplog) as compiled, pytest.raises(FgsError, match=message) as caught:
        refine(bad, SMALL, key)
    assert "\n" not in str(caught.value)
    assert not [name for name in compiled if name.startswith(("jit(_fit", "jit(_run", "jit(_begin"))]


@pytest.mark.parametrize("offset", [(0, 0, 3.0), (3.0, 0, 0)])
def test_a_hand_that_cannot_touch_is_a_diagnosis(scene, result, offset):
    fitted = jax.tree.map(jnp.asarray, result.before.hand)
    away = replace(fitted, translation=fitted.translation + jnp.array(offset))
    with pytest.raises(
        SceneError, match=r"hand and object: expected a distance of at most 30 mm at some depth, got \d+"
    ):
        refine(replace(scene, keypoints_2d=None, hand_params=away), SMALL)


def test_a_scene_of_hamers_focal_length_gets_an_ordinary_camera():
    far = as_scene(rendered(hamer_focal=True))
    found = refine(far, SMALL)
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
    changed, _, notes = reframe(scene, model, params, replace(SMALL, reframe_below=100.0, ordinary_focal=0.6))
    assert len(notes) == 1 and float(changed.camera.focal[0]) == pytest.approx(96)
    # There is nothing to gain from a camera that is as near already.
    assert reframe(scene, model, params, replace(SMALL, reframe_below=100.0))[2] == []


def test_the_picture_says_which_vertices_it_shows(scene, truth):
    vertices, faces = np.asarray(truth.hand_vertices, float), np.asarray(truth.hand_faces)
    seen = vertices_seen(scene, vertices, faces)
    assert set(np.unique(seen)) == {-1, 0, 1}
    column, row = np.floor(np.asarray(project(truth.camera, jnp.asarray(vertices, jnp.float32)))).astype(int).T
    np.testing.assert_array_equal(seen == -1, scene.object_mask[row, column])
    shown = np.flatnonzero(seen == 1)
    assert scene.hand_mask[row[shown], column[shown]].all()
    # The rest of a pixel that a vertex shares may lie deeper or nearer: nine in ten agree.
    behind = vertices[:, 2] - truth.hand_depth[row, column]
    assert np.mean(np.abs(behind[shown]) < 0.007) > 0.9
    hidden = scene.hand_mask[row, column] & (seen == 0)
    assert np.mean(behind[hidden] > 0.007) > 0.9 and hidden.sum() > 300


def test_the_second_scene_of_a_run_compiles_nothing(result, caplog):
    other = as_scene(make_scene("mug", 1, (200, 140)))
    with compilations(caplog) as compiled:
        found = refine(other, SMALL)
    assert measures(found)["fingers_in_contact"] >= 1
    assert compiled == []
    with compilations(caplog) as compiled:  # and it would be noticed
        jax.jit(lambda x: x + 1)(jnp.zeros(17))
    assert any("lambda" in name for name in compiled)


def test_many_scenes_run_as_one_and_a_bad_one_does_not_disturb_them(result, scene):
    away = replace(result.before.hand, translation=result.before.hand.translation + np.array([3.0, 0, 0], np.float32))
    left = mirrored(scene)
    told = []
    found = refine_many(
        [scene, replace(scene, hand_params=away), replace(scene, object_mask=scene.hand_mask), left],
        SMALL,
        progress=lambda index, stage, _: told.append((index, stage)),
    )
    assert isinstance(found[1], SceneError) and "expected a distance of at most" in str(found[1])
    assert isinstance(found[2], SceneError) and "identical" in str(found[2])
    assert [stage for index, stage in told if index == 3] == ["hand", "object pose", "contact", "metrics"]
    for outcome, sign in ((found[0], 1), (found[3], -1)):
        assert isinstance(outcome, Result)
        assert [c.pose for c in outcome.candidates] == [c.pose for c in result.candidates]
        np.testing.assert_array_equal(outcome.poses.translation * [sign, 1, 1], result.poses.translation)
        np.testing.assert_allclose(outcome.hand_vertices[1] * [sign, 1, 1], result.hand_vertices[1], atol=2e-4)
        for key in ("mpd_mm", "siv_cm3", "fingers_in_contact", "masked_iou"):
            assert outcome.metrics[1][key] == pytest.approx(result.metrics[1][key], abs=0.2)


def test_a_batch_goes_on_from_journals_of_different_lengths(scene, result, tmp_path):
    journals = [Journal(tmp_path / name) for name in "ab"]
    whole = refine_many([scene, scene], SMALL, journals=journals)
    for journal in journals:
        journal.close()
    shutil.rmtree(tmp_path / "b")
    again = [Journal(tmp_path / name) for name in "ab"]
    assert [journal.recovered for journal in again] == [6, 0]
    for first, second in zip(whole, refine_many([scene, scene], SMALL, journals=again), strict=True):
        assert isinstance(first, Result) and isinstance(second, Result)
        np.testing.assert_array_equal(first.hand_vertices[1], second.hand_vertices[1])
    for journal in again:
        journal.close()


def test_steps_are_rounded_up_to_searches_for_neighbours_only(scene):
    again = refine(scene, replace(SMALL, contact=replace(SMALL.contact, steps=52)))
    assert again.history.shape == (55,) and {values.shape for values in again.terms.values()} == {(11,)}


def test_a_first_scene_compiles_few_programs(scene, caplog):
    jax.clear_caches()
    with compilations(caplog) as names:
        refine(scene, SMALL)
    assert {"_fit_to_keypoints", "_run_block", "_begin", "_run_rounds"} <= {name.strip("jit()") for name in names}
    assert len(names) <= 20, names
