"""Cameras, pivots, poses and mirrors, against formulas, scipy and our own hand layer."""

from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_bridges import geometry
from fgs_bridges.types import HandEstimate
from fgs_jax.errors import BridgeError
from fgs_jax.hands.files import load_hand_model, mirror_hand_model
from fgs_jax.hands.mano import hand, pose_from_pca, wrist_at_rest
from fgs_jax.mirror import mirrored_box, mirrored_matrices, mirrored_pixels, mirrored_vectors
from fgs_jax.testing import synthetic_mano
from fgs_jax.testing import write_mano_npz as write_npz
from fgs_jax.types import HandModel, HandParams

WIDTH, HEIGHT = 640, 480


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HandModel:
    path = tmp_path_factory.mktemp("mano") / "MANO_RIGHT.npz"
    write_npz(path, synthetic_mano())
    return load_hand_model(path)


def posed(model: HandModel, estimate: HandEstimate) -> np.ndarray:
    names = ("betas", "pose", "rotation", "translation")
    params = HandParams(**{name: jnp.asarray(getattr(estimate, name), jnp.float32) for name in names})
    return np.asarray(jax.jit(hand)(model, params).vertices, float)


def random_estimate(rng: np.random.Generator) -> HandEstimate:
    return HandEstimate(
        side="right",
        K=geometry.camera_matrix(600.0, WIDTH, HEIGHT) + [[0, 0, 7.5], [0, 0, -3.0], [0, 0, 0]],
        keypoints_2d=rng.uniform(0, 480, (21, 2)),
        keypoint_confidence=rng.uniform(0, 1, 21),
        world_landmarks=rng.normal(0, 0.05, (21, 3)),
        pose=Rotation.from_rotvec(rng.normal(0, 0.4, (15, 3))).as_matrix(),
        rotation=Rotation.random(rng=rng).as_matrix(),
        translation=np.array([0.1, -0.05, 0.6]) + rng.normal(0, 0.02, 3),
        betas=rng.normal(size=10),
        vertices=rng.normal(0, 0.05, (778, 3)) + [0, 0, 0.6],
        faces=rng.integers(0, 778, (50, 3), dtype=np.int32),
    )


# --- cameras


def test_hamers_camera() -> None:
    assert geometry.hamer_focal(512, 512) == 10_000
    assert geometry.hamer_focal(640, 480) == geometry.hamer_focal(480, 640) == 12_500


def test_corner_convention() -> None:
    """The axis meets the picture's middle, and W / 2 to the right of it is the right border, not a pixel before."""
    K = geometry.camera_matrix(500.0, WIDTH, HEIGHT)
    np.testing.assert_array_equal(geometry.project(K, np.array([0.0, 0, 2])), [320, 240])
    np.testing.assert_allclose(geometry.project(K, np.array([0.32, 0.24, 0.5])), [640, 480])


def test_crop_camera_formula(rng: np.random.Generator) -> None:
    """A point in the hand's plane is where its crop shows it: centre + b/2 s (x + tx)."""
    camera = np.column_stack([rng.uniform(4, 8, 6), rng.normal(0, 0.05, (6, 2))])
    centre, size = rng.uniform(100, 500, (6, 2)), rng.uniform(80, 400, 6)
    focal = geometry.hamer_focal(WIDTH, HEIGHT)
    full = geometry.cam_crop_to_full(camera, centre, size, width=WIDTH, height=HEIGHT, focal=focal)
    plane = np.append(rng.uniform(-0.1, 0.1, 2), 0.0)
    seen = geometry.project(geometry.camera_matrix(focal, WIDTH, HEIGHT), plane + full)
    np.testing.assert_allclose(seen, centre + (size * camera[:, 0] / 2)[:, None] * (plane[:2] + camera[:, 1:]))
    np.testing.assert_allclose(full[:, 2], 2 * focal / (size * camera[:, 0]))


def test_reframed_camera(rng: np.random.Generator) -> None:
    """In the plane of the translation nothing moves; z scales with f, x and y stay; both cameras are told."""
    estimate = random_estimate(rng)
    assert estimate.K is not None and estimate.translation is not None
    far = replace(estimate, K=estimate.K * [[20], [20], [1]], translation=estimate.translation * [1, 1, 20])
    assert far.K is not None and far.translation is not None
    far.K[:2, 2] = estimate.K[:2, 2]
    plane = np.column_stack([rng.uniform(-0.1, 0.1, (9, 2)), np.zeros(9)])
    far = replace(far, vertices=far.translation + plane)
    near, report = geometry.reframe_camera(far, 600.0)
    assert near.K is not None and near.translation is not None and near.vertices is not None
    assert far.K is not None and far.translation is not None and far.vertices is not None
    np.testing.assert_allclose(near.K, estimate.K)
    np.testing.assert_allclose(near.translation, estimate.translation)
    np.testing.assert_allclose(geometry.project(near.K, near.vertices), geometry.project(far.K, far.vertices))
    assert report["tool"] == {"K": far.K.tolist(), "translation": far.translation.tolist()}
    assert report["reframed"] == {"K": near.K.tolist(), "translation": near.translation.tolist()}
    assert report["largest_shift_px"] < 1e-9
    np.testing.assert_array_equal(near.keypoints_2d, far.keypoints_2d)

    deep = replace(far, vertices=far.vertices + [0, 0, 0.03])
    shift = geometry.reframe_camera(deep, 600.0).report["largest_shift_px"]
    lateral = np.linalg.norm((far.translation + plane)[:, :2], axis=1).max()
    z = near.translation[2]
    expected = 600 * lateral * abs(1 / (z + 0.03) - 20 / (20 * z + 0.03))
    np.testing.assert_allclose(shift, expected, rtol=1e-9)


def test_nothing_to_reframe(rng: np.random.Generator) -> None:
    estimate = random_estimate(rng)
    with pytest.raises(BridgeError, match="expected K and a translation, got none"):
        geometry.reframe_camera(replace(estimate, K=None), 500.0)
    with pytest.raises(BridgeError, match="expected a positive focal length in pixels, got -1"):
        geometry.reframe_camera(estimate, -1.0)


# --- rotations and poses


def test_rotations_there_and_back(rng: np.random.Generator) -> None:
    axes = rng.normal(size=(40, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.concatenate([[0, 1e-9, 1e-5, np.pi - 1e-9, np.pi - 1e-4], rng.uniform(0, np.pi, 35)])
    vectors = axes * angles[:, None]
    matrices = geometry.rotation_matrices(vectors)
    np.testing.assert_allclose(matrices, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(geometry.rotation_vectors(matrices), vectors, atol=1e-7)
    np.testing.assert_allclose(geometry.rotation_vectors(matrices[3]), vectors[3], atol=1e-7)


def test_mean_pose_is_added(model: HandModel, rng: np.random.Generator) -> None:
    """smplx's layer has components about the mean; ours, with `add_mean`, the same pose about the flat hand."""
    coefficients = jnp.asarray(rng.normal(size=6), jnp.float32)
    ours = pose_from_pca(model, coefficients)
    theirs = np.asarray(pose_from_pca(model, coefficients, add_mean=False))
    np.testing.assert_allclose(geometry.flat_pose(theirs, np.asarray(model.pose_mean)), ours, atol=1e-6)


def test_pivot_is_joint_0(model: HandModel, rng: np.random.Generator) -> None:
    """R v_c + t of the paper is our layer, which turns about joint 0; about the origin it is centimetres off."""
    estimate = random_estimate(rng)
    assert estimate.rotation is not None and estimate.translation is not None
    canonical = posed(model, replace(estimate, rotation=np.eye(3), translation=np.zeros(3)))
    wrist = np.asarray(wrist_at_rest(model, jnp.asarray(estimate.betas, jnp.float32)), float)
    rotation, translation = geometry.hand_transform(estimate.rotation, estimate.translation, wrist)
    np.testing.assert_allclose(canonical @ rotation.T + translation, posed(model, estimate), atol=2e-6)
    about_origin = canonical @ rotation.T + estimate.translation
    assert np.linalg.norm(about_origin - posed(model, estimate), axis=1).min() > 0.01


# --- mirrors


def test_mirror_twice_is_the_same_hand(rng: np.random.Generator) -> None:
    estimate = random_estimate(rng)
    once = geometry.mirror_estimate(estimate, WIDTH)
    twice = geometry.mirror_estimate(once, WIDTH)
    assert (once.side, twice.side) == ("left", "right")
    for field in fields(HandEstimate):
        before, after = getattr(estimate, field.name), getattr(twice, field.name)
        if isinstance(before, np.ndarray):
            np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)
            changed = field.name not in ("betas", "keypoint_confidence")
            assert np.array_equal(getattr(once, field.name), before) != changed, field.name


def test_left_hand_end_to_end(model: HandModel, rng: np.random.Generator) -> None:
    """The mirrored parameters pose the left model to the mirrored mesh, and it is seen at W - u."""
    right = random_estimate(rng)
    right = replace(right, vertices=posed(model, right), faces=np.asarray(model.faces))
    left = geometry.mirror_estimate(right, WIDTH)
    assert left.vertices is not None and left.K is not None and right.K is not None and right.vertices is not None
    np.testing.assert_allclose(posed(mirror_hand_model(model), left), left.vertices, atol=2e-6)
    seen, mirrored = geometry.project(right.K, right.vertices), geometry.project(left.K, left.vertices)
    np.testing.assert_allclose(mirrored, mirrored_pixels(seen, WIDTH), atol=1e-9)
    box, flipped = geometry.points_box(seen), geometry.points_box(mirrored)
    np.testing.assert_allclose(mirrored_box(box, WIDTH), flipped, atol=1e-9)
    corners, others = right.vertices[right.faces], left.vertices[left.faces]
    volumes = [np.einsum("fa,fa->", x[:, 0], np.cross(x[:, 1], x[:, 2])) for x in (corners, others)]
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=1e-9)


def test_vectors_and_matrices_are_mirrored_alike(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(7, 3))
    mirrored = mirrored_matrices(geometry.rotation_matrices(vectors))
    np.testing.assert_allclose(geometry.rotation_matrices(mirrored_vectors(vectors)), mirrored, atol=1e-12)
    mirror = np.diag([-1.0, 1, 1])
    np.testing.assert_array_equal(mirrored, mirror @ geometry.rotation_matrices(vectors) @ mirror)


# --- boxes


def test_boxes_of_the_same_hand_are_matched() -> None:
    forearm, other = np.array([0.0, 0, 100, 300]), np.array([200.0, 0, 300, 100])
    fingers, shifted = np.array([10.0, 0, 90, 90]), np.array([210.0, 5, 310, 105])
    assert geometry.match_boxes([forearm, other], [shifted, fingers]) == [1, 0]
    assert geometry.match_boxes([other, other + 2.0], [shifted]) == [None, 0]
    assert geometry.match_boxes([forearm], []) == [None]
    assert geometry.match_boxes([forearm], [np.array([90.0, 290, 200, 400])]) == [None]
