"""The layer against body-models and against a plain float64 twin; the conventions of `types.py`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from fgs_jax.hands.files import load_hand_model, mirror_hand_model
from fgs_jax.hands.mano import (
    KEYPOINT_ORDERS,
    hand,
    hand_keypoints,
    joint_angles,
    pose_from_joint_angles,
    pose_from_pca,
    reorder_keypoints,
)
from fgs_jax.testing import mirrored_mano, synthetic_mano, write_mano_pickle
from fgs_jax.types import HandParams
from tests.reference import hand as twin

posed_hand, posed_hands = jax.jit(hand, static_argnames="center_wrist"), jax.jit(jax.vmap(hand, (None, 0)))


@pytest.fixture(scope="module")
def mano(tmp_path_factory):
    """Synthetic MANO files, right and left, and their arrays."""
    folder = tmp_path_factory.mktemp("mano")
    right = synthetic_mano()
    arrays = {"right": right, "left": mirrored_mano(right)}
    for side, content in arrays.items():
        write_mano_pickle(folder / f"MANO_{side.upper()}.pkl", content)
    return {side: (folder / f"MANO_{side.upper()}.pkl", content) for side, content in arrays.items()}


def random_parameters(rng, count):
    return {
        "betas": rng.normal(size=(count, 10)),
        "pose": rng.normal(size=(count, 15, 3)) * 0.6,
        "rotation": rng.normal(size=(count, 3)) * 1.5,
        "translation": rng.normal(size=(count, 3)) * 0.3,
    }


def as_params(values, **changes) -> HandParams:
    count = len(next(iter(values.values())))
    fields = {key: jnp.asarray(value) for key, value in values.items()} | {"scale": jnp.ones(count)} | changes
    return HandParams(**fields)


def body_models_mano(path, flat_hand_mean):
    from body_models.mano.jax import MANO  # noqa: PLC0415

    model = MANO(model_path=path, flat_hand_mean=flat_hand_mean)

    @jax.jit
    def vertices_and_joints(betas, pose, rotation, translation):
        with jax.numpy_rank_promotion("allow"):
            shared = {"shape": betas, "wrist_rotation": rotation, "global_translation": translation}
            joints = model.forward_skeleton(pose, **shared)[..., :3, 3]
            return model.forward_vertices(pose, **shared), joints

    return vertices_and_joints


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("flat_hand_mean", [True, False])
def test_equals_body_models_and_the_twin(mano, rng, side, flat_hand_mean):
    path, arrays = mano[side]
    model, values = load_hand_model(path, side), random_parameters(rng, 8)
    mean = np.zeros((15, 3)) if flat_hand_mean else np.asarray(arrays["hands_mean"]).reshape(15, 3)
    ours = posed_hands(model, as_params(values, pose=jnp.asarray(values["pose"] + mean)))

    theirs = body_models_mano(path, flat_hand_mean)(*(jnp.asarray(v) for v in values.values()))
    np.testing.assert_allclose(ours.vertices, theirs[0], atol=1e-6)
    np.testing.assert_allclose(ours.joints, theirs[1], atol=1e-6)
    for k in range(2):
        expected = twin.hand(
            arrays, values["betas"][k], values["pose"][k] + mean, values["rotation"][k], values["translation"][k]
        )
        np.testing.assert_allclose(ours.vertices[k], expected[0], atol=1e-6)
        np.testing.assert_allclose(ours.joints[k], expected[1], atol=1e-6)


@jax.jit
@jax.grad
def gradients(values, model, cotangent):
    return (posed_hands(model, as_params(values)).vertices * cotangent).sum()


@pytest.mark.parametrize("side", ["right", "left"])
def test_gradients_equal_body_models(mano, rng, side):
    path, _ = mano[side]
    model, values = load_hand_model(path, side), random_parameters(rng, 4)
    cotangent = jnp.asarray(rng.normal(size=(4, 778, 3)), jnp.float32)
    inputs = tuple(jnp.asarray(value) for value in values.values())
    theirs = body_models_mano(path, flat_hand_mean=True)

    def their_sum(*inputs):
        return (theirs(*inputs)[0] * cotangent).sum()

    with jax.numpy_rank_promotion("allow"):
        expected = jax.jit(jax.grad(their_sum, argnums=(0, 1, 2, 3)))(*inputs)
    found = gradients(dict(zip(values, inputs, strict=True)), model, cotangent)
    for name, other in zip(values, expected, strict=True):
        assert np.linalg.norm(found[name] - other) < 1e-5 * np.linalg.norm(other)


@jax.jit
def weighted(model, cotangent, size, values):
    params = HandParams(**values | {name: size * values[name] for name in ("pose", "rotation")})
    return (hand(model, params).vertices * cotangent).sum()


@pytest.mark.parametrize("size", [0.7, 1e-4, 1e-7, 0.0])
def test_gradients_are_numerical_ones(x64, mano, rng, size):
    path, _ = mano["right"]
    model = load_hand_model(path)
    values = {key: value[0] for key, value in random_parameters(rng, 1).items()} | {"scale": jnp.asarray(1.1)}
    cotangent = rng.normal(size=(778, 3))
    function = partial(weighted, model, cotangent, size)
    check_grads(function, (values,), order=1, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


def test_float64_twin_agrees_closely(x64, mano, rng):
    path, arrays = mano["right"]
    values = {key: value[0] for key, value in random_parameters(rng, 1).items()}
    params = HandParams(**{key: jnp.asarray(value) for key, value in values.items()}, scale=jnp.asarray(0.9))
    for center_wrist in (False, True):
        ours = posed_hand(load_hand_model(path), params, center_wrist=center_wrist)
        vertices, joints = twin.hand(arrays, *values.values(), scale=0.9, center_wrist=center_wrist)
        np.testing.assert_allclose(ours.vertices, vertices, atol=1e-12)
        np.testing.assert_allclose(ours.joints, joints, atol=1e-12)


def test_rotation_matrices_and_axis_angles_are_the_same_pose(rng):
    model, values = load_hand_model("open_hand"), {k: v[0] for k, v in random_parameters(rng, 1).items()}
    params = HandParams(**{key: jnp.asarray(value, jnp.float32) for key, value in values.items()})
    as_matrices = HandParams(
        betas=params.betas,
        pose=jnp.asarray(Rotation.from_rotvec(values["pose"]).as_matrix(), jnp.float32),
        rotation=jnp.asarray(Rotation.from_rotvec(values["rotation"]).as_matrix(), jnp.float32),
        translation=params.translation,
    )
    np.testing.assert_allclose(posed_hand(model, params).vertices, posed_hand(model, as_matrices).vertices, atol=1e-6)


def test_fewer_betas_are_the_rest_at_zero(rng):
    model = load_hand_model("open_hand")
    betas = jnp.asarray(rng.normal(size=4), jnp.float32)
    padded = jnp.concatenate([betas, jnp.zeros(6)])
    short, long = (posed_hand(model, HandParams(betas=b)).vertices for b in (betas, padded))
    np.testing.assert_array_equal(short, long)
    np.testing.assert_allclose(hand(model, HandParams(betas=jnp.zeros(0))).vertices, model.v_template, atol=1e-7)


@pytest.mark.parametrize("name", ["open_hand", "open_hand_full"])
def test_zero_pose_is_the_template(name):
    model = load_hand_model(name)
    posed = hand(model, HandParams())
    np.testing.assert_allclose(posed.vertices, model.v_template, atol=1e-7)
    np.testing.assert_allclose(posed.joints, model.joint_regressor @ model.v_template, atol=1e-6)


def test_turns_about_the_wrist_and_scales_about_it(rng):
    model = load_hand_model("open_hand")
    wrist = model.joint_template[0]
    turned = posed_hand(model, HandParams(rotation=jnp.array([0.3, -1.0, 0.4]), scale=jnp.asarray(1.3)))
    np.testing.assert_allclose(turned.joints[0], wrist, atol=1e-7)
    rotation = Rotation.from_rotvec([0.3, -1.0, 0.4]).as_matrix()
    expected = 1.3 * (np.asarray(model.v_template) - np.asarray(wrist)) @ rotation.T + np.asarray(wrist)
    np.testing.assert_allclose(turned.vertices, expected, atol=1e-6)
    centred = posed_hand(model, HandParams(translation=jnp.array([0.1, 0.2, 0.3])), center_wrist=True)
    np.testing.assert_allclose(centred.joints[0], [0.1, 0.2, 0.3], atol=1e-7)


@pytest.mark.parametrize("count", [600, 1024])
def test_many_hands_are_those_of_few(rng, count):
    """XLA has more than one kernel for a product of matrices, and takes another one for many."""
    model = load_hand_model("open_hand")
    pose = jnp.asarray(0.3 * rng.normal(size=(count, 15, 3)), jnp.float32)
    for layer in (
        lambda model, p: hand(model, HandParams(pose=p)).vertices,
        lambda model, p: hand_keypoints(model, HandParams(pose=p)),
    ):
        together = jax.jit(jax.vmap(layer, (None, 0)))
        many = together(model, pose)
        few = [together(model, pose[k : k + 8]) for k in (0, count - 8)]
        np.testing.assert_allclose(np.concatenate([many[:8], many[-8:]]), np.concatenate(few), atol=1e-6)


def test_alone_and_in_a_batch_are_the_same_hand(rng):
    model, values = load_hand_model("open_hand"), random_parameters(rng, 5)
    batch = posed_hands(model, as_params(values))
    for k in range(5):
        alone = posed_hand(model, HandParams(**{key: jnp.asarray(v[k], jnp.float32) for key, v in values.items()}))
        np.testing.assert_allclose(alone.vertices, batch.vertices[k], atol=2e-7)
        np.testing.assert_allclose(alone.keypoints, batch.keypoints[k], atol=2e-7)


def test_positive_bend_closes_every_finger():
    model = load_hand_model("open_hand")
    rest = posed_hand(model, HandParams())
    index = posed_hand(model, HandParams(pose=jnp.zeros((15, 3)).at[0, 2].set(np.pi / 2)))
    assert rest.keypoints[8, 1] - index.keypoints[8, 1] > 0.06, "MANO's +z at index1 flexes towards the palm, -y"
    for side in (model, mirror_hand_model(model)):
        flat = posed_hand(side, HandParams()).keypoints
        for finger in range(1, 5):
            joint = (13, 1, 4, 10, 7)[finger]
            angles = jnp.zeros((15, 3)).at[joint - 1, 2].set(1.0)
            bent = posed_hand(side, HandParams(pose=pose_from_joint_angles(side, angles))).keypoints
            assert flat[4 * finger + 4, 1] - bent[4 * finger + 4, 1] > 0.04


def test_keypoints_follow_openpose():
    model = load_hand_model("open_hand")
    posed = hand(model, HandParams())
    np.testing.assert_array_equal(posed.keypoints[0], posed.joints[0])
    for finger, joint in enumerate((13, 1, 4, 10, 7)):
        np.testing.assert_array_equal(posed.keypoints[1 + 4 * finger : 4 + 4 * finger], posed.joints[joint : joint + 3])
        tip = posed.vertices[model.tip_vertex_ids[finger]]
        np.testing.assert_array_equal(posed.keypoints[4 + 4 * finger], tip)
        # Along each finger keypoints lie ever farther from the wrist.
        keypoints = np.asarray(posed.keypoints)
        reach = np.linalg.norm(keypoints[1 + 4 * finger : 5 + 4 * finger] - keypoints[0], axis=1)
        assert (np.diff(reach) > 0.01).all()


def test_keypoints_alone_are_those_of_the_hand(rng):
    model = load_hand_model("open_hand")
    for center_wrist in (False, True):
        params = as_params(random_parameters(rng, 4), scale=jnp.full(4, 0.8))
        whole, alone = (
            jax.jit(jax.vmap(partial(layer, center_wrist=center_wrist), (None, 0)))(model, params)
            for layer in (hand, hand_keypoints)
        )
        np.testing.assert_allclose(alone, whole.keypoints, atol=2e-7)


def test_keypoint_orders(rng):
    keypoints = jnp.asarray(rng.normal(size=(21, 3)), jnp.float32)
    # The permutation that HaMeR applies to smplx's 16 joints and five tips.
    hamer = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
    np.testing.assert_array_equal(reorder_keypoints(keypoints, "mano", "openpose"), keypoints[np.array(hamer)])
    for order in KEYPOINT_ORDERS:
        there_and_back = reorder_keypoints(reorder_keypoints(keypoints, "openpose", order), order, "openpose")
        np.testing.assert_array_equal(there_and_back, keypoints)
        np.testing.assert_array_equal(reorder_keypoints(keypoints, order, order), keypoints)
    with pytest.raises(ValueError, match="unknown keypoint order 'coco'; the orders are openpose, mediapipe"):
        reorder_keypoints(keypoints, "coco", "mano")


def test_pose_components(mano, rng):
    path, arrays = mano["right"]
    model = load_hand_model(path)
    coefficients = rng.normal(size=6)
    flat = coefficients @ arrays["hands_components"][:6]
    given = jnp.asarray(coefficients, jnp.float32)
    np.testing.assert_allclose(pose_from_pca(model, given, add_mean=False).ravel(), flat, atol=1e-6)
    np.testing.assert_allclose(pose_from_pca(model, given).ravel(), flat + arrays["hands_mean"], atol=1e-6)
    np.testing.assert_allclose(pose_from_pca(model, jnp.zeros(45)), model.pose_mean, atol=1e-7)
    with pytest.raises(ValueError, match="45 pose components, got 46 coefficients"):
        pose_from_pca(model, jnp.zeros(46))


def test_joint_angles_and_back(x64, rng):
    model = load_hand_model("open_hand")
    angles = jnp.asarray(rng.uniform(-1.3, 1.3, size=(15, 3)))
    pose = pose_from_joint_angles(model, angles)
    np.testing.assert_allclose(joint_angles(model, pose), angles, atol=1e-12)
    # A bend beyond a right angle, as of a finger's middle joint, is no singularity.
    steep = angles.at[:, 2].set(1.9)
    np.testing.assert_allclose(joint_angles(model, pose_from_joint_angles(model, steep)), steep, atol=1e-12)
    axis_angle = jnp.asarray(Rotation.from_matrix(pose).as_rotvec())
    np.testing.assert_allclose(joint_angles(model, axis_angle), angles, atol=1e-9)
    # Rows of a frame: a turn about each axis alone is that angle alone.
    for axis in range(3):
        alone = 0.4 * model.bone_frames[:, axis]
        np.testing.assert_allclose(joint_angles(model, alone), 0.4 * np.eye(3)[[axis] * 15], atol=1e-9)


def test_joint_angles_have_finite_gradients_where_spread_is_a_right_angle():
    model = load_hand_model("open_hand")
    sum_of_angles = jax.jit(jax.grad(lambda p: joint_angles(model, p).sum()))
    for spread in (np.pi / 2, -np.pi / 2, 0.0):
        pose = pose_from_joint_angles(model, jnp.zeros((15, 3)).at[:, 1].set(spread))
        np.testing.assert_allclose(joint_angles(model, pose)[:, 1], spread, atol=1e-3)
        gradient = sum_of_angles(pose)
        assert np.isfinite(gradient).all()


def test_mirrored_hand_is_the_mirror_image(rng):
    model = load_hand_model("open_hand")
    left, mirror = mirror_hand_model(model), jnp.array([[-1.0, 1.0, 1.0]])
    values = {key: jnp.asarray(v[0], jnp.float32) for key, v in random_parameters(rng, 1).items()}
    sign = jnp.array([1.0, -1.0, -1.0])
    right_hand = posed_hand(model, HandParams(**values))
    left_hand = posed_hand(
        left,
        HandParams(
            betas=values["betas"],
            pose=values["pose"] * sign[None],
            rotation=values["rotation"] * sign,
            translation=values["translation"] * mirror[0],
        ),
    )
    np.testing.assert_allclose(left_hand.vertices, right_hand.vertices * mirror, atol=1e-6)
    np.testing.assert_allclose(left_hand.keypoints, right_hand.keypoints * mirror, atol=1e-6)
    pose = values["pose"] * 0.3
    flipped = joint_angles(model, pose) * jnp.array([[-1.0, -1.0, 1.0]])
    np.testing.assert_allclose(joint_angles(left, pose * sign[None]), flipped, atol=1e-5)
    for once, twice in zip(jax.tree.leaves(model), jax.tree.leaves(mirror_hand_model(left)), strict=True):
        np.testing.assert_array_equal(once, twice)


def test_leading_axes_compile_to_one_large_product(rng):
    """No per-hand loop and no (batch, v, k) intermediate: the blend is one product of all hands with the directions."""
    model = load_hand_model("open_hand")
    params = as_params({k: v.astype(np.float32) for k, v in random_parameters(rng, 7).items()})
    jaxpr = jax.make_jaxpr(jax.vmap(hand, (None, 0)))(model, params)
    sizes = [int(np.prod(v.aval.shape)) for eqn in jaxpr.jaxpr.eqns for v in eqn.outvars]
    largest_of_the_model = model.blend_directions.size
    assert max(sizes) <= max(7 * 12 * 782, largest_of_the_model)
