"""fit_hand: exact data comes back, real detections come close, and what cannot be fitted says why."""

import inspect
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_jax.errors import HandednessWarning, HandFitError, HandShapeWarning
from fgs_jax.hands import fit as hand_fit
from fgs_jax.hands.carry import carry_over
from fgs_jax.hands.files import load_hand_model, mirror_hand_model
from fgs_jax.hands.fit import _box_side, check_side, clearer_landmarks, fit_hand, side_evidence
from fgs_jax.hands.fit_checks import checked_given
from fgs_jax.hands.fit_shape import growth_by_shape
from fgs_jax.hands.mano import hand, hand_keypoints, joint_angles
from fgs_jax.picture.camera import project
from fgs_jax.testing import natural_hands
from fgs_jax.types import Camera, HandParams

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(
    not SHARED.exists(), reason=f"real inputs are not there: {SHARED.name} beside the repository"
)

CAMERA = Camera(focal=jnp.array([600.0, 600.0]), principal=jnp.array([320.0, 240.0]))


COUNT = 64
keypoints_of, posed_hands = (jax.jit(jax.vmap(layer, (None, 0))) for layer in (hand_keypoints, hand))
pixels_of = jax.jit(jax.vmap(project, (None, 0)))


@jax.jit
@partial(jax.vmap, in_axes=(None, 0, 0))
def space_program(model, keypoints, confidence):
    return fit_hand(model, keypoints_3d=keypoints, confidence=confidence)


def fit_in_space(model, keypoints):
    return space_program(model, keypoints, jnp.ones((len(keypoints), 21)))


@jax.jit
@partial(jax.vmap, in_axes=(None, 0, 0, 0, 0))
def picture_program(model, pixels, camera, landmarks, confidence):
    seen = {"keypoints_2d": pixels, "camera": camera, "world_landmarks": landmarks, "confidence": confidence}
    return fit_hand(model, **seen)


def fit_in_pictures(model, *arrays):
    """Pixels, cameras, landmarks and, if not all count, confidences of up to 16 hands: one program, whose lanes repeat
    the first hand where there are fewer."""
    if len(arrays) == 3:
        arrays = (*arrays, jnp.ones((len(arrays[0]), 21)))
    count = len(arrays[0])
    lanes = jnp.where(jnp.arange(16) < count, jnp.arange(16), 0)
    return jax.tree.map(lambda x: x[:count], picture_program(model, *jax.tree.map(lambda x: x[lanes], arrays)))


def cameras(count):
    return jax.tree.map(lambda x: jnp.tile(x, (count, 1)), CAMERA)


@pytest.fixture(scope="module")
def model():
    return load_hand_model("open_hand")


@pytest.fixture(scope="module")
def natural(model):
    return natural_hands(model, np.random.default_rng(3), COUNT)


def test_exact_keypoints_in_space_come_back(model, natural):
    keypoints = keypoints_of(model, natural)
    fits = fit_in_space(model, keypoints)
    found = keypoints_of(model, fits.params)
    errors = np.linalg.norm(found - keypoints, axis=-1).mean(axis=1)
    print(f"64 natural hands: mean error {1e3 * errors.mean():.2f} mm, worst hand {1e3 * errors.max():.2f} mm")
    assert errors.mean() < 4e-4 and errors.max() < 1e-3
    np.testing.assert_allclose(fits.error_3d, errors, atol=1e-6)
    np.testing.assert_allclose(fits.keypoints, found, atol=1e-6)
    assert np.isnan(fits.error_2d).all()


def test_a_mesh_of_the_same_topology_comes_back(model, natural):
    few = jax.tree.map(lambda x: x[:6], natural)
    vertices = posed_hands(model, few).vertices
    fits = jax.jit(jax.vmap(lambda model, v: fit_hand(model, vertices=v), (None, 0)))(model, vertices)
    found = posed_hands(model, fits.params).vertices
    errors = np.linalg.norm(found - vertices, axis=-1).mean(axis=1)
    assert errors.max() < 3e-4
    np.testing.assert_allclose(fits.error_3d, errors, atol=1e-6)
    np.testing.assert_allclose(fits.params.betas[:, 0], few.betas[:, 0], atol=0.1)


def test_a_picture_with_landmarks_gives_the_pose_and_no_shape(model, natural):
    few = jax.tree.map(lambda x: x[:16], replace(natural, betas=jnp.zeros((64, 10))))
    keypoints = keypoints_of(model, few)
    pixels = pixels_of(CAMERA, keypoints)
    landmarks = 1.2 * (keypoints - keypoints.mean(axis=1, keepdims=True))
    fits = fit_in_pictures(model, pixels, cameras(16), landmarks)
    assert fits.params.betas.shape == (16, 0)
    box = np.asarray(pixels.max(axis=1) - pixels.min(axis=1)).max(axis=1)
    shares = np.asarray(fits.error_2d) / box
    assert np.median(shares) < 0.003 and shares.max() < 0.015
    assert np.abs(fits.keypoints[:, 0, 2] - keypoints[:, 0, 2]).max() < 0.03
    errors = np.linalg.norm(fits.keypoints - keypoints, axis=-1).mean(axis=1)
    assert np.median(errors) < 0.003


def test_pixels_alone_find_a_hand_that_looks_right(model, natural):
    few = jax.tree.map(lambda x: x[:4], replace(natural, betas=jnp.zeros((64, 10))))
    pixels = pixels_of(CAMERA, keypoints_of(model, few))
    fits = jax.jit(jax.vmap(lambda model, p: fit_hand(model, keypoints_2d=p, camera=CAMERA), (None, 0)))(model, pixels)
    box = np.asarray(pixels.max(axis=1) - pixels.min(axis=1)).max(axis=1)
    assert (np.asarray(fits.error_2d) < 0.02 * box).all()


def expected_residuals(model, x, turn, *, keypoints_3d=None, pixels=None, landmarks=None, vertices=None, weight):
    """Sum of squares of each part, in the standard deviations that `fgs_jax.hands.fit` names."""
    array = partial(np.asarray, dtype=float)
    rotation = array(turn) @ Rotation.from_rotvec(x[:3]).as_matrix()
    sized = keypoints_3d is not None and vertices is None
    unknowns, larger = (x[51:-1], x[-1]) if sized else (x[51:], 0.0)
    betas = 3 * np.tanh(unknowns / 3) if vertices is None else unknowns
    params = HandParams(betas=jnp.asarray(betas), pose=jnp.asarray(x[6:51].reshape(15, 3)))
    params = replace(params, rotation=jnp.asarray(rotation), scale=jnp.asarray(np.exp(0.2 * larger)))
    params = replace(params, translation=jnp.asarray(x[3:6]))
    posed = jax.jit(partial(hand, center_wrist=True))(model, params)
    keypoints, counted = array(posed.keypoints), weight > 0

    def centred(points):
        return points - np.average(points, axis=0, weights=weight)

    parts = {}
    if vertices is not None:
        parts["vertices"] = (((array(posed.vertices) - vertices) / 0.001) ** 2).sum()
    if keypoints_3d is not None:
        parts["3d"] = ((weight[:, None] * (keypoints - keypoints_3d) / 0.002)[counted] ** 2).sum()
    if pixels is not None:
        side = max(np.ptp(pixels[counted], axis=0).max(), 1.0)
        offset = keypoints[:, :2] / keypoints[:, 2:] * array(CAMERA.focal) + array(CAMERA.principal) - pixels
        parts["2d"] = ((weight[:, None] * offset / (0.018 * side))[counted] ** 2).sum()
    if landmarks is not None:
        shape, guess = centred(keypoints), centred(landmarks)
        size = (weight[:, None] * shape * guess).sum() / (weight[:, None] * guess**2).sum()
        parts["landmarks"] = ((weight[:, None] * (shape - size * guess) / 0.012) ** 2).sum()
    offset = x[6:51] - array(model.pose_mean).ravel()
    in_components = array(model.pose_components) @ offset
    parts["pose"] = (0.35**2 * in_components**2 / (array(model.pose_component_std) ** 2 + 0.05**2)).sum()
    angles, limits = array(jax.jit(joint_angles)(model, params.pose)), array(model.joint_limits)
    beyond = np.maximum(angles - limits[..., 1], 0) + np.maximum(limits[..., 0] - angles, 0)
    parts["limits"] = ((beyond / 0.1) ** 2).sum()
    parts["shape"] = (0.35**2 * unknowns**2).sum()
    if sized:
        doubt = 8 * parts["3d"] / (3 * (weight**2).sum())
        grown = array(growth_by_shape(model)) @ betas / [0.012, 0.05]
        parts["shape"] *= 1 + doubt
        parts |= {"growth": (0.03 + doubt) * (0.35**2 * grown**2).sum(), "size": (0.35 * larger) ** 2}
    return parts


@pytest.mark.parametrize("scale", [100.0, 1.3], ids=["a hand", "a speck"])
def test_what_is_minimised_equals_its_twin(model, natural, rng, scale):
    """Data in its noise and priors in their spread, with a keypoint that counts for half and one for nothing."""
    x = np.concatenate([[0.1, -0.2, 0.1], [0.02, 0.01, 0.6], rng.normal(size=45) * 0.5, rng.normal(size=11)])
    x[-1] = 1.3
    turn = Rotation.from_rotvec([0.4, 0.2, -0.3]).as_matrix()
    weight = np.ones(21)
    weight[3], weight[8] = 0.5, 0.0
    keypoints = np.asarray(keypoints_of(model, natural)[0], float)
    pixels = 320 + scale * rng.random((21, 2))
    pixels[8] = 0  # as `fit_hand` leaves out what does not count
    given = {"keypoints_3d": keypoints, "pixels": pixels, "landmarks": 1.3 * keypoints + 0.1 * rng.normal(size=(21, 3))}
    expected = expected_residuals(model, x, turn, **given, weight=weight)
    assert min(expected.values()) > 0.1

    @jax.jit
    def ours(x, pixels):
        arrays = [jnp.asarray(a, jnp.float32) for a in (keypoints, given["landmarks"], weight[:, None])]
        seen = hand_fit._Seen(arrays[0], pixels, CAMERA, arrays[1], None, arrays[2], growth_by_shape(model))
        return hand_fit._residuals(x, jnp.asarray(turn, jnp.float32), model, seen)

    found = np.asarray(ours(jnp.asarray(x, jnp.float32), jnp.asarray(pixels, jnp.float32)), float)
    sizes = {"3d": 63, "2d": 42, "landmarks": 63, "pose": len(model.pose_components), "limits": 45, "shape": 10}
    sizes |= {"growth": 2, "size": 1}
    ends = np.cumsum(list(sizes.values()))
    for name, part in zip(sizes, np.split(found, ends[:-1]), strict=True):
        np.testing.assert_allclose((part**2).sum(), expected[name], rtol=2e-3, err_msg=name)
    assert len(found) == ends[-1]


def test_the_first_place_is_right_for_a_hand_at_one_depth(rng):
    flat = np.append(rng.normal(size=(21, 2)) * 0.05, np.zeros((21, 1)), axis=1)
    place, weight = np.array([0.03, -0.02, 0.7]), np.ones((21, 1))
    weight[8] = 0
    pixels = np.asarray(project(CAMERA, jnp.asarray(flat + place, jnp.float32))).copy()
    pixels[8] = 0
    seen = hand_fit._Seen(None, jnp.asarray(pixels), CAMERA, None, None, jnp.asarray(weight, jnp.float32))
    np.testing.assert_allclose(hand_fit._weak_perspective(jnp.asarray(flat, jnp.float32), seen), place, rtol=1e-4)


def test_alone_and_among_others_are_the_same_fit(model, natural):
    keypoints = keypoints_of(model, natural)
    together = fit_in_space(model, keypoints)
    alone = fit_in_space(model, keypoints[2:3])
    np.testing.assert_allclose(alone.keypoints[0], together.keypoints[2], atol=2e-4)
    spoiled = fit_in_space(model, keypoints.at[1].set(jnp.nan))
    for k in (0, 2, 63):
        np.testing.assert_array_equal(spoiled.keypoints[k], together.keypoints[k])
    assert np.isinf(spoiled.cost[1])


def test_missing_keypoints_are_left_out(model, natural):
    keypoints = keypoints_of(model, natural)[:1]
    confidence = jnp.ones((1, 21)).at[0, jnp.array([8, 20])].set(0.0)
    expected = space_program(model, keypoints, confidence)
    spoiled = space_program(model, keypoints.at[0, 8].set(jnp.nan).at[0, 20].add(5.0), confidence)
    np.testing.assert_array_equal(spoiled.keypoints, expected.keypoints)
    kept = np.asarray(confidence) > 0
    assert np.linalg.norm((spoiled.keypoints - keypoints)[kept], axis=-1).mean() < 1e-3


def test_a_mirrored_hand_fits_with_the_left_model(model, natural):
    left, mirror = mirror_hand_model(model), jnp.array([[[-1.0, 1.0, 1.0]]])
    keypoints = keypoints_of(model, natural)
    fits, right = fit_in_space(left, keypoints * mirror), fit_in_space(model, keypoints)
    np.testing.assert_allclose(fits.keypoints * mirror, right.keypoints, atol=5e-4)


def test_parameters_of_another_model_keep_their_pose(model, natural):
    other = load_hand_model("open_hand_full")
    other = replace(
        other,
        blend_directions=other.blend_directions.at[:10].multiply(-0.5),
        joint_shapedirs=-0.5 * other.joint_shapedirs,
    )
    params, keypoints = jax.tree.map(lambda x: x[0], natural), keypoints_of(other, natural)[0]
    with pytest.warns(HandShapeWarning, match="betas of another model mean nothing to open_hand: refitted"):
        found = carry_over(model, params, keypoints)
    np.testing.assert_array_equal(found.pose, params.pose)
    np.testing.assert_array_equal(found.rotation, params.rotation)
    np.testing.assert_allclose(found.betas[:2], -0.5 * params.betas[:2], atol=0.05)
    assert np.linalg.norm(hand_keypoints(model, found) - keypoints, axis=-1).mean() < 1e-3
    with pytest.warns(HandShapeWarning, match="are dropped: give its keypoints"):
        dropped = carry_over(model, params)
    np.testing.assert_array_equal(dropped.betas, np.zeros(10))
    np.testing.assert_array_equal(dropped.pose, params.pose)


def test_the_side_shows_in_landmarks(model, natural):
    keypoints = keypoints_of(model, natural)[:8]
    evidence_of = jax.jit(jax.vmap(side_evidence, (None, 0)))
    evidence = np.asarray(evidence_of(model, keypoints))
    assert (evidence > 1.5).all()
    np.testing.assert_allclose(evidence_of(mirror_hand_model(model), keypoints), 1 / evidence, rtol=0.05)
    assert check_side(model, keypoints[0]) == pytest.approx(evidence[0], rel=1e-3)
    with pytest.warns(HandednessWarning, match="speak against a left hand") as caught:
        check_side(mirror_hand_model(model), keypoints[0])
    assert "\n" not in str(caught[0].message)
    flat = keypoints[0] * jnp.array([[1.0, 1.0, 0.0]])  # a flat picture has no side
    with pytest.warns(HandednessWarning, match="hardly speak for a right hand"):
        check_side(model, flat)


def test_the_least_and_the_most_numbers_are_taken(model):
    given = {"confidence": np.ones(21), "keypoints_3d": np.ones((21, 3))}
    given |= dict.fromkeys(("keypoints_2d", "world_landmarks", "vertices"))
    for shape_coefficients, steps in ((0, 1), (10, 10_000), (None, 40)):
        found = checked_given(model, given, None, shape_coefficients, steps)
        assert found["keypoints_3d"].shape == (21, 3) and found["vertices"] is None
    for shape_coefficients, steps in ((-1, 1), (11, 1), (0, 0), (0, 10_001), (0.0, 1), (0, True + 0.0)):
        with pytest.raises(HandFitError, match=r"expected a whole number from [01] to 10"):
            checked_given(model, given, None, shape_coefficients, steps)


@pytest.mark.filterwarnings("error")
def test_evidence_is_enough_from_the_least_on(model):
    hand_fit.warn_of_side(model, 1.5)
    for evidence, least, verdict in (
        (1.49, 1.5, "hardly speak for"),
        (0.5, 2.0, "hardly"),
        (0.49, 2.0, "speak against"),
    ):
        with pytest.raises(HandednessWarning, match=verdict):
            hand_fit.warn_of_side(model, evidence, least)


@needs_data
def test_real_keypoints_in_space():
    """621 frames of MediaPipe's world landmarks of one right hand."""
    model = load_hand_model("open_hand")
    frames = jnp.asarray(np.load(SHARED / "hand_keypoints" / "human_joint_right.npz")["keypoints21"], jnp.float32)
    blocks = np.resize(frames, (10, COUNT, 21, 3))  # the first ones again where there are no more
    residual = np.concatenate([fit_in_space(model, jnp.asarray(block)).error_3d for block in blocks])[: len(frames)]
    print(f"621 frames: mean residual {1e3 * residual.mean():.2f} mm, worst frame {1e3 * residual.max():.2f} mm")
    assert residual.shape == (621,) and residual.mean() < 0.0025 and residual.max() < 0.005


def detections():
    """Name, side, camera (corner convention), pixels and world landmarks of the photos and the tumbler's frames."""
    for folder, key, corner in (("tumbler", "K_assumed", 0.0), ("photos", "K_focal480", 0.5)):
        for name, entry in json.loads((SHARED / folder / "meta.json").read_text()).items():
            K, detection = np.array(entry[key]), entry["mediapipe"][0]
            mirrored_label = {"Left": "right", "Right": "left"}[detection["mediapipe_label"]]
            side = entry.get("appearance_hand", mirrored_label)
            camera = Camera(jnp.array([K[0, 0], K[1, 1]]), jnp.array([K[0, 2] + corner, K[1, 2] + corner]))
            pixels, landmarks = (jnp.array(detection[k]) for k in ("landmarks_px", "world_landmarks_m"))
            yield name, side, camera, pixels, landmarks


@needs_data
def test_real_detections_in_pictures():
    shares, found = {}, list(detections())
    for side in ("right", "left"):
        of_side = [rest for _, its_side, *rest in found if its_side == side]
        seen = jax.tree.map(lambda *x: jnp.stack(x), *of_side)
        camera, pixels, landmarks = seen
        fits = fit_in_pictures(load_hand_model("open_hand", side), pixels, camera, landmarks)
        boxes = np.ptp(pixels, axis=1).max(axis=1)
        names = [name for name, its_side, *_ in found if its_side == side]
        shares |= dict(zip(names, (np.asarray(fits.error_2d) / boxes).tolist(), strict=True))
        depths = np.asarray(fits.keypoints[:, 0, 2])
        assert ((depths > 0.2) & (depths < 1.3)).all(), f"{names}: a wrist's depth is out of reach: {depths}"
    print({name: f"{100 * share:.2f} %" for name, share in shares.items()})
    assert len(shares) == 9 and max(shares.values()) <= 0.035


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to fit to: give keypoints_3d, keypoints_2d with a camera, or vertices"),
        ({"keypoints_2d": jnp.zeros((21, 2))}, "keypoints_2d: expected the camera they were seen by as well"),
        ({"keypoints_3d": jnp.zeros((20, 3))}, r"keypoints_3d: expected shape \(21, 3\), got \(20, 3\)"),
        ({"keypoints_3d": jnp.zeros((2, 21, 3))}, r"got \(2, 21, 3\): for many frames use jax.vmap"),
        ({"vertices": jnp.zeros((778, 3))}, r"vertices: expected shape \(782, 3\), got \(778, 3\): open_hand has 782"),
        ({"keypoints_3d": jnp.full((21, 3), jnp.nan)}, "keypoints_3d: expected finite numbers.*confidence 0"),
        ({"vertices": jnp.full((782, 3), jnp.inf)}, "vertices: expected finite numbers, got NaN or infinity$"),
        (  # keypoints may be negative, whatever is wrong with what comes after them
            {"keypoints_3d": jnp.full((21, 3), -0.1), "vertices": jnp.full((782, 3), jnp.inf)},
            "vertices: expected finite numbers, got NaN or infinity$",
        ),
        ({"keypoints_3d": jnp.zeros((21, 3)), "confidence": jnp.ones(20)}, r"confidence: expected shape \(21,\), got"),
        ({"keypoints_3d": jnp.zeros((3, 21))}, r"expected shape \(21, 3\), got \(3, 21\): transpose it"),
        ({"keypoints_3d": jnp.zeros((21, 3)), "confidence": jnp.ones((21, 1))}, r"confidence: .* got \(21, 1\)"),
        ({"keypoints_3d": jnp.zeros((21, 3)), "confidence": jnp.zeros(21)}, "confidence: expected numbers from 0 up"),
        ({"keypoints_3d": jnp.zeros((21, 3)), "confidence": -jnp.ones(21)}, "confidence: expected numbers from 0 up"),
        ({"keypoints_3d": "points"}, "keypoints_3d: expected an array of numbers, got str"),
        ({"keypoints_2d": jnp.zeros((21, 2)), "camera": 600.0}, "camera: expected a Camera, got float"),
        ({"keypoints_3d": jnp.zeros((21, 3)), "shape_coefficients": 11}, "shape_coefficients: .* from 0 to 10, got 11"),
        ({"keypoints_3d": jnp.zeros((21, 3)), "steps": 0}, "steps: expected a whole number from 1 to 10000, got 0"),
    ],
)
def test_what_cannot_be_fitted_says_why(model, given, message):
    unchecked = inspect.unwrap(fit_hand)  # what users have: without the tests' shape hook, which would answer first
    with pytest.raises(HandFitError, match=message) as caught:
        unchecked(model, **given)
    assert "\n" not in str(caught.value)


def test_other_functions_say_what_they_take(model):
    for call, message in (
        (lambda: inspect.unwrap(side_evidence)(model, jnp.zeros((21, 2))), r"landmarks: expected shape \(21, 3\), got"),
        (lambda: inspect.unwrap(carry_over)(model, HandParams(), jnp.zeros((3, 21))), r"keypoints_3d: expected shape"),
        (lambda: clearer_landmarks(model), "landmarks: expected one or more guesses"),
        (lambda: inspect.unwrap(fit_hand)("mano", vertices=jnp.zeros((778, 3))), "model: expected a HandModel"),
    ):
        with pytest.raises(HandFitError, match=message):
            call()


@pytest.mark.parametrize("count", [21, 4])
def test_no_nan_stands_for_what_is_not_yet_known(model, natural, count):
    """With `jax_debug_nans` each array that a program gives is looked at."""
    points = keypoints_of(model, replace(natural, betas=jnp.zeros((64, 10))))[:1]
    confidence = jnp.asarray(np.arange(21) < count, jnp.float32)[None]
    with jax.debug_nans(True):
        found = fit_in_pictures(model, pixels_of(CAMERA, points), cameras(1), points - points[:, :1], confidence)
        assert np.isfinite(jax.tree.leaves(found)[0]).all() and found.distance_3d is None
    assert np.isnan(found.error_3d).all() and np.isfinite(found.error_2d).all()


def test_the_box_is_of_the_points_that_count():
    points = jnp.array([[1.0, 2.0], [4.0, 3.0], [900.0, -900.0]])
    assert float(_box_side(points, jnp.array([[1.0], [0.5], [0.0]]))) == 3.0
