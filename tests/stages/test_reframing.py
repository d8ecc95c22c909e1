"""Re-framing: which cameras stay, which ordinary one takes the place of another, and how things look in it."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand_program
from fgs_jax.picture.camera import project
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import mirrored
from fgs_jax.results.metrics import masked_iou
from fgs_jax.stages.hand_in_picture import pose_hand
from fgs_jax.stages.refine import refine
from fgs_jax.stages.reframing import reframe, whole_side
from fgs_jax.testing import as_scene
from fgs_jax.types import Camera
from tests.small_scene import SIZE, SMALL, rendered

HAMER = 5000 / 256
EAGER = replace(SMALL, reframe_below=100.0)
"""No outline moves by so much: what is replaced depends on the camera alone."""


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


@pytest.fixture(scope="module")
def scene():
    return as_scene(rendered())


def seen_by(scene, focal: float, principal=(SIZE[0] / 2, SIZE[1] / 2)):
    """The scene, whatever it shows, with another camera said."""
    return replace(scene, camera=Camera(jnp.full(2, focal), jnp.asarray(principal, jnp.float32)))


def reframed(scene, model, config=EAGER):
    return reframe(scene, model, pose_hand(scene, model), config)


@pytest.mark.parametrize(
    ("principal", "side"), [((80, 80), 160), ((0, 80), 320), ((230, 80), 460), ((80, -40), 400), ((100, 90), 200)]
)
def test_a_crop_is_of_a_picture_whose_middle_is_the_principal_point(scene, model, principal, side):
    """And its ordinary camera is that of the whole picture, so that nothing is seen at a wider angle than there."""
    far = seen_by(scene, 10_000.0, principal)
    assert whole_side(far) == side and whole_side(mirrored(far)) == side
    changed, moved, notes = reframed(far, model)
    np.testing.assert_allclose(changed.camera.focal, 1.2 * side, rtol=1e-6)
    np.testing.assert_array_equal(changed.camera.principal, principal)
    assert len(notes) == 1 and f"focal length 10000 px replaced by {1.2 * side:.0f} px" in notes[0]
    pixels = np.asarray(project(changed.camera, hand_program(model, moved).keypoints))
    assert np.linalg.norm(pixels - scene.keypoints_2d, axis=1).mean() < 3
    corners = np.array([[0, 0], [SIZE[0], 0], [0, SIZE[1]], SIZE]) - np.asarray(principal)
    assert np.abs(corners).max() / float(changed.camera.focal[0]) <= 1 / 2.4 + 1e-6


@pytest.mark.parametrize(("focal", "kept"), [(700.0, True), (767.0, True), (769.0, False), (HAMER * 160, False)])
def test_a_camera_that_a_photo_may_be_taken_with_stays(scene, model, focal, kept):
    """Up to four ordinary focal lengths of 192 px, however little depth is seen."""
    given = seen_by(scene, focal)
    changed, _, notes = reframed(given, model)
    assert (changed is given, notes == []) == (kept, kept)


def test_a_crop_s_own_camera_stays(scene, model):
    """A square of 128 pixels out of a photo of 350: 3.75 of its sides, and 1.4 of the photo's."""
    small = seen_by(scene, 480.0 * SIZE[0] / 128, (-100.0, 230.0))
    assert reframed(small, model)[0] is small


def test_a_calibrated_camera_stays_and_it_is_said_that_depth_is_not_seen(scene, model):
    far = as_scene(rendered(hamer_focal=True))
    given = replace(far, provenance={"K_source": "calibrated"})
    params = pose_hand(given, model)
    changed, same, notes = reframe(given, model, params, SMALL)
    assert changed is given and same is params
    [note] = notes
    assert note.startswith("a centimetre of depth moves the outline by 0.") and "px: the camera is calibrated" in note
    # Where depth is seen there is nothing to say; and another word is none for a calibrated camera.
    assert reframe(given, model, params, replace(SMALL, reframe_below=0.01))[2] == []
    assumed = replace(far, provenance={"K_source": "assumed"})
    assert "replaced by 192 px" in reframe(assumed, model, params, SMALL)[2][0]


def test_a_calibrated_camera_is_the_result_s():
    far = replace(as_scene(rendered(hamer_focal=True)), provenance={"K_source": "calibrated"})
    found = refine(far, SMALL)
    np.testing.assert_array_equal(found.camera.focal, far.camera.focal)
    assert "the camera is calibrated" in found.notes[0]


def test_the_true_object_keeps_its_silhouette_in_the_camera_of_a_crop(scene, model):
    """Of the ordinary scene, of which a crop is given with HaMeR's camera: the true one is found again."""
    truth = rendered()
    left, top = 30, 20
    crop = replace(
        scene,
        object_mask=scene.object_mask[top:, left:],
        hand_mask=scene.hand_mask[top:, left:],
        image=None,
        keypoints_2d=np.asarray(scene.keypoints_2d) - [left, top],
        camera=Camera(jnp.full(2, HAMER * 160), jnp.asarray([80.0 - left, 80.0 - top])),
    )
    changed, moved, _ = reframed(crop, model, SMALL)
    np.testing.assert_allclose(changed.camera.focal, truth.camera.focal, rtol=1e-6)
    wrist = np.asarray(hand_program(model, moved).joints)[0]
    assert np.linalg.norm(wrist - truth.hand_keypoints[0]) < 0.03
    vertices = truth.object_vertices @ truth.T_camera_object[:3, :3].T + truth.T_camera_object[:3, 3]
    drawn = drawn_by(changed, vertices)
    assert masked_iou(drawn, changed.object_mask, changed.hand_mask) > 0.99


def drawn_by(scene, vertices) -> np.ndarray:
    height, width = scene.object_mask.shape
    return np.isfinite(depth_map(scene.camera, (width, height), vertices, scene.object.faces))
