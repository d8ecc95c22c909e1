"""OPA as a whole: poses found in rendered pictures with known truth, from any side of the camera."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_jax.config import FAST_OPA
from fgs_jax.errors import SceneError
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.view import ROUGH_VIEW_SIDE, masked_ious, picture_view
from fgs_jax.results import metrics
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages import opa
from fgs_jax.stages.opa import approximate, poses_of
from fgs_jax.stages.opa_phases import run_phase
from fgs_jax.stages.opa_problem import pose_problem, start_translation
from fgs_jax.testing import add_s, diameter, make_scene
from tests.mug_scene import mug_scene, rendered_mug


def as_scene(rendered, **changes) -> Scene:
    mesh = load_object((rendered.object_vertices, rendered.object_faces), name=rendered.name)
    hand = np.asarray(rendered.hand_vertices, float), np.asarray(rendered.hand_faces)
    scene = Scene(rendered.camera, rendered.object_mask, rendered.hand_mask, *hand, mesh)
    return replace(scene, **changes)


@pytest.fixture(scope="module")
def rendered():
    return rendered_mug()


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


@pytest.mark.parametrize("factor", [-0.5, 0.6], ids=["behind the camera", "in front of the hand"])
def test_signs(monkeypatch, rendered, scene, factor):
    """From behind the camera, and from before a hand that hides it, the object ends where it is."""
    monkeypatch.setattr(opa, "start_translation", lambda problem: factor * start_translation(problem))
    first, *later = FAST_OPA.phases
    # One first phase goes 0.36 m at most, and the next one has forgotten the gradients from behind the camera.
    config = replace(FAST_OPA, phases=(first, first, first, *later))
    found = approximate(scene, jax.random.key(0), 128, config=config)
    truth, middle = rendered.T_camera_object, rendered.object_vertices.mean(axis=0)
    place = found.rotation[0] @ middle + found.translation[0]
    assert np.linalg.norm(place - truth[:3, :3] @ middle - truth[:3, 3]) < 0.25 * diameter(rendered.object_vertices)
    assert found.masked_iou[0] > 0.9 and found.lost == 0


def test_a_lost_start_is_reported_and_loses_alone(scene, monkeypatch):
    expected = approximate(scene, jax.random.key(1), 64, count=2, config=replace(FAST_OPA, polish_evaluations=0))

    def spoiled(key, first, count):
        rotations = random_rotations(key, first, count)
        rotations[63 if expected.start[0] != 63 else 62] = np.nan
        return rotations

    monkeypatch.setattr(opa, "random_rotations", spoiled)
    found = approximate(scene, jax.random.key(1), 64, count=2, config=replace(FAST_OPA, polish_evaluations=0))
    assert found.lost == 1 and expected.lost == 0
    np.testing.assert_array_equal(found.rotation[0], expected.rotation[0])
    monkeypatch.setattr(opa, "random_rotations", lambda key, first, count: np.full((count, 3, 3), np.nan))
    with pytest.raises(SceneError, match="no start of 64 ended with a finite energy"):
        approximate(scene, jax.random.key(1), 64)


@pytest.mark.parametrize("shape", ["mug", "hammer"])
def test_finds_the_pose(shape):
    rendered = make_scene(shape, 0, size=(224, 224))
    found = approximate(as_scene(rendered), jax.random.key(0), 256)
    points, truth = rendered.object_vertices, rendered.T_camera_object
    shares = []
    for rotation, translation in zip(found.rotation, found.translation, strict=True):
        estimate = np.eye(4)
        estimate[:3, :3], estimate[:3, 3] = rotation, translation
        shares.append(add_s(points, estimate, truth) / diameter(points))
    assert min(shares) < 0.1 and found.masked_iou[0] > 0.95
    assert (np.diff(found.masked_iou) <= 0).all() and (found.scale == 1.0).all()
    assert len(found.history) == 3 and found.history[2].shape[1] == FAST_OPA.phases[2].steps
    total = found.terms["dist"] + 0.1 * found.terms["dep"] + 1000 * found.terms["cam"]
    np.testing.assert_allclose(total, found.energy, rtol=1e-5)
    np.testing.assert_allclose(found.history[2].min(axis=1), found.energy)
    for a in range(len(found.rotation)):
        for b in range(a):
            turn = Rotation.from_matrix(found.rotation[a] @ found.rotation[b].T).magnitude()
            assert np.rad2deg(turn) > 10, "two of the poses are the same"


def test_an_unknown_size_is_found_at_the_hands_depth():
    rendered = make_scene("mug", 0, size=(224, 224))
    scene = as_scene(rendered, object=load_object((rendered.object_vertices * 0.7, rendered.object_faces), "unknown"))
    found = approximate(scene, jax.random.key(0), 256)
    assert found.masked_iou[0] > 0.95
    assert abs(0.7 * found.scale[0] - 1) < 0.25
    middle = found.scale[0] * found.rotation[0] @ scene.object.vertices.mean(axis=0) + found.translation[0]
    assert abs(middle[2] - scene.posed_hand()[0][:, 2].mean()) < 0.1


def test_the_last_phase_takes_those_whose_silhouettes_fit(scene, monkeypatch):
    """Against silhouettes by the host's z-buffer, of the starts where the phase before it left them."""
    calls, given = [], run_phase

    def spy(problem, config, phase, rotations, state, **settings):
        found = given(problem, config, phase, rotations, state, **settings)
        calls.append((rotations, state, found))
        return found

    monkeypatch.setattr(opa, "run_phase", spy)
    config = replace(FAST_OPA, polish_evaluations=0)
    approximate(scene, jax.random.key(1), 256, config=config)
    _, centre = pose_problem(scene, jax.random.split(jax.random.key(1))[0], config)
    (rotations, _, before), (taken, *_) = calls[1:]
    height, width = scene.object_mask.shape
    ious = []
    for rotation, turn, translation in zip(rotations, before.value.rotation, before.value.translation, strict=True):
        turned = rotation @ Rotation.from_rotvec(turn).as_matrix()
        placed = (scene.object.vertices - centre) @ turned.T + translation
        drawn = np.isfinite(depth_map(scene.camera, (width, height), placed, scene.object.faces))
        ious.append(metrics.masked_iou(drawn, scene.object_mask, scene.hand_mask))
    is_taken = np.array([any(np.array_equal(rotation, one) for one in taken) for rotation in rotations])
    assert (len(rotations), is_taken.sum()) == (64, 32)
    rough = picture_view(scene, config.hand_hides, ROUGH_VIEW_SIDE)
    measured = masked_ious(rough, poses_of(rotations, before.value, centre))
    np.testing.assert_array_equal(np.flatnonzero(is_taken), np.sort(np.argsort(-measured, kind="stable")[:32]))
    by_silhouette, by_energy = (is_taken[np.argsort(order)[:32]].mean() for order in (-np.array(ious), before.energy))
    assert by_silhouette > 0.8 and by_silhouette > by_energy + 0.15, (by_silhouette, by_energy)
