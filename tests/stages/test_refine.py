"""The main job on a small rendered scene: a good grasp, of unknown size too, or a line that says why there is none."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.errors import FgsError, SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.camera import project
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import mirrored
from fgs_jax.results import metrics
from fgs_jax.results import write as results
from fgs_jax.results.result import Result, mirrored_result, object_at
from fgs_jax.results.rivals import rivals
from fgs_jax.stages.refine import refine
from fgs_jax.testing import as_scene
from fgs_jax.types import Camera
from tests.compilations import compilations
from tests.small_scene import SIZE, SMALL, refined, rendered
from tests.stages.result_parts import M, arrays, measures


@pytest.fixture(scope="module")
def truth():
    return rendered()


@pytest.fixture(scope="module")
def scene(truth):
    return as_scene(truth)


@pytest.fixture(scope="module")
def result():
    return refined()


def iou_of_pose(result: Result, k: int) -> float:
    """Masked IoU of the given mesh in OPA's pose k, as `ObjectPoses` documents its fields."""
    scene, poses = result.scene, result.poses
    vertices = poses.scale[k] * scene.object.vertices @ poses.rotation[k].T + poses.translation[k]
    height, width = scene.object_mask.shape
    drawn = np.isfinite(depth_map(result.camera, (width, height), vertices, scene.object.faces))
    return metrics.masked_iou(drawn, scene.object_mask, scene.hand_mask)


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
    assert list(result.seconds) == ["hand", "scale", "object pose", "contact", "metrics"]


def test_all_other_answers_are_rivals_within_a_wide_margin(scene, result):
    found = refine(scene, replace(SMALL, rival_margin=1e9))
    expected = rivals(found.candidates, scene.object.vertices, 1e9)
    assert found.ambiguous and found.rivals == expected and 0 not in expected
    assert [note.split(":")[0] for note in found.notes] == ["ambiguous"]
    assert f"{found.candidates[expected[0]].score:.1f} (candidate {expected[0] + 1})" in found.notes[0]
    assert not result.ambiguous and found.candidates[0].score == result.candidates[0].score


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
    np.testing.assert_array_equal(result.hand_faces, model.closed_faces)


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
    # OPA's view has other pixels than the picture.
    assert best.occlusion_agreement == pytest.approx(result.metrics[1]["occlusion_agreement"], abs=0.04)


def test_the_way_is_recorded(result):
    steps, contact = 100, SMALL.contact
    assert contact.steps == 98, "rounded up to whole searches for neighbours"
    assert (contact.rounds, replace(contact, steps=52).rounds) == (20, 11)
    assert result.history.shape == (steps,) and result.history[-1] < result.history[0]
    assert result.terms.keys() == contact.term_weights.keys()
    assert {values.shape for values in result.terms.values()} == {(steps // contact.refresh,)}
    first = sum(weight * result.terms[name][0] for name, weight in contact.term_weights.items())
    assert result.history[0] == pytest.approx(first, rel=1e-4)
    assert result.candidates[0].energy <= result.history.min() + contact.w_dis * contact.reach * 12 + 1e-3


@pytest.mark.long
def test_steps_are_rounded_up_to_searches_for_neighbours_only(scene):
    """Not to what the host sees at once. Compiles contact again."""
    again = refine(scene, replace(SMALL, contact=replace(SMALL.contact, steps=52)))
    assert again.history.shape == (55,) and {values.shape for values in again.terms.values()} == {(11,)}


def test_a_run_that_looks_for_nans_finds_none_and_the_same_bits(result, scene):
    jax.config.update("jax_debug_nans", True)  # in all threads, as JAX_DEBUG_NANS=1 is
    try:
        again = refine(scene, SMALL)
    finally:
        jax.config.update("jax_debug_nans", False)
    for name in ("before", "after", "hand_vertices", "poses", "candidates", "history", "terms"):
        for ours, expected in zip(arrays(getattr(again, name)), arrays(getattr(result, name)), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_a_mesh_of_unknown_size_finds_its_size(truth):
    found = refine(as_scene(truth, "unknown", 7.3), SMALL, jax.random.key(1))
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
    arrays_written = results.result_arrays(found)
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
