"""Skinned meshes of any joints: against MANO's layer and its twin, and as hands of the contact stage."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from fgs_jax.config import FAST_CONTACT
from fgs_jax.errors import HandInputError
from fgs_jax.hands.anatomy import PARENTS
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.kind import HandKind
from fgs_jax.hands.mano import hand, mano_kind
from fgs_jax.hands.skinned import SkinnedModel, skinned_hand, skinned_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.grasps import refine_grasps
from fgs_jax.types import Grasp, HandParams


def as_skinned(model) -> SkinnedModel:
    """MANO's structure as a tree of joints."""
    return SkinnedModel(
        v_template=model.v_template,
        shapedirs=model.shapedirs,
        posedirs=model.posedirs,
        weights=model.weights,
        joint_regressor=model.joint_regressor,
        tip_vertices=model.tip_vertex_ids,
        pose_mean=model.pose_mean,
        pose_std=model.pose_std,
        parents=tuple(int(parent) for parent in PARENTS),
    )


def test_mano_s_own_tree_gives_mano_s_hand(rng):
    model = load_hand_model("open_hand")
    params = HandParams(
        betas=jnp.asarray(rng.normal(size=4), jnp.float32),
        pose=jnp.asarray(0.4 * rng.normal(size=(15, 3)), jnp.float32),
        rotation=jnp.asarray(rng.normal(size=3), jnp.float32),
        translation=jnp.array([0.1, -0.2, 0.5]),
        scale=jnp.asarray(1.2),
    )
    ours, expected = jax.jit(skinned_hand)(as_skinned(model), params), jax.jit(hand)(model, params)
    np.testing.assert_allclose(ours.vertices, expected.vertices, atol=2e-6)
    np.testing.assert_allclose(ours.joints, expected.joints, atol=2e-6)
    np.testing.assert_allclose(ours.keypoints[16:], expected.keypoints[jnp.array([4, 8, 12, 16, 20])], atol=2e-6)
    kinds = skinned_kind(as_skinned(model), np.zeros((1, 3), int), np.asarray(model.regions), np.zeros(21, int))
    similar = [kind.similarity(kind.data, params, jnp.asarray(1.3)) for kind in (kinds, mano_kind(model))]
    np.testing.assert_allclose(similar[0].translation, similar[1].translation, atol=1e-6)
    np.testing.assert_allclose(skinned_hand(kinds.data, similar[0]).vertices, 1.3 * ours.vertices, atol=5e-6)


def chain(count: int = 9) -> tuple[SkinnedModel, np.ndarray]:
    """A bar along z of `count` joints, two of them side branches, each vertex held by the two joints next to it."""
    bar = trimesh.creation.capsule(height=0.1, radius=0.01, count=[24, 24])
    vertices, parents = np.asarray(bar.vertices), (-1, 0, 1, 2, 3, 4, 2, 6, 0)[:count]
    places = np.stack([np.zeros(count), np.zeros(count), np.linspace(-0.05, 0.05, count)], axis=1)
    weights = np.exp(-(((vertices[:, None, 2] - places[None, :, 2]) / 0.01) ** 2)) + 1e-6
    weights /= weights.sum(axis=1, keepdims=True)
    regressor = np.exp(-(((vertices[None, :, 2] - places[:, None, 2]) / 0.005) ** 2)) + 1e-9
    arrays = {
        "v_template": vertices,
        "shapedirs": np.stack([0.1 * vertices, vertices * [1, 0, 0]], axis=-1),
        "posedirs": 1e-3 * np.random.default_rng(0).normal(size=(len(vertices), 3, 9 * (count - 1))),
        "weights": weights,
        "joint_regressor": regressor / regressor.sum(axis=1, keepdims=True),
    }
    floats = {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
    tips = jnp.array([int(np.argmax(vertices[:, 2])), int(np.argmin(vertices[:, 2]))])
    rest = jnp.zeros((count - 1, 3))
    model = SkinnedModel(**floats, tip_vertices=tips, pose_mean=rest, pose_std=rest + 0.3, parents=parents)
    return model, np.asarray(bar.faces)


def twin(model: SkinnedModel, params: HandParams) -> tuple[np.ndarray, np.ndarray]:
    """Vertex by vertex and joint by joint, in float64."""
    array = {name: np.asarray(getattr(model, name), float) for name in ("v_template", "shapedirs", "posedirs")}
    shaped = array["v_template"] + array["shapedirs"] @ np.asarray(params.betas, float)
    rest = np.asarray(model.joint_regressor, float) @ shaped
    turns = Rotation.from_rotvec(np.vstack([params.rotation, params.pose])).as_matrix()
    shaped = shaped + array["posedirs"] @ (turns[1:] - np.eye(3)).ravel()
    whole = []
    for joint, parent in enumerate(model.parents):
        own = np.eye(4)
        own[:3, :3], own[:3, 3] = turns[joint], rest[joint] - (rest[parent] if parent >= 0 else rest[0])
        whole.append(own if parent < 0 else whole[parent] @ own)
    vertices = np.zeros_like(shaped)
    for k, vertex in enumerate(shaped):
        for joint, weight in enumerate(np.asarray(model.weights, float)[k]):
            vertices[k] += weight * (whole[joint][:3, :3] @ (vertex - rest[joint]) + whole[joint][:3, 3])
    origin = np.asarray(params.translation, float) + rest[0]
    return float(params.scale) * vertices + origin, float(params.scale) * np.array([w[:3, 3] for w in whole]) + origin


def test_any_tree_equals_its_twin(rng):
    model, _ = chain()
    params = HandParams(
        betas=jnp.array([0.3, -0.2]),
        pose=jnp.asarray(0.5 * rng.normal(size=(8, 3)), jnp.float32),
        rotation=jnp.asarray(rng.normal(size=3), jnp.float32),
        translation=jnp.array([0.1, 0.2, 0.4]),
        scale=jnp.asarray(0.9),
    )
    posed = jax.jit(skinned_hand)(model, params)
    vertices, joints = twin(model, params)
    np.testing.assert_allclose(posed.vertices, vertices, atol=2e-6)
    np.testing.assert_allclose(posed.joints, joints, atol=2e-6)
    np.testing.assert_array_equal(posed.keypoints[:9], posed.joints)
    np.testing.assert_array_equal(posed.keypoints[9:], posed.vertices[model.tip_vertices])


def bar_kind() -> HandKind:
    model, faces = chain()
    heights = np.asarray(model.v_template)[:, 2]
    regions = np.where(heights > 0.02, 0, np.where(heights < -0.02, 1, -1))
    return skinned_kind(model, faces, regions, np.array([-1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1]))


@pytest.mark.long
def test_a_mesh_of_another_number_of_joints_goes_through_step_two():
    ball = load_object(trimesh.creation.icosphere(3, 0.04), name="ball")
    problem = ContactProblem(bar_kind(), distance_grid(ball, 32), sample_points(ball, 300, jax.random.key(0)))
    count, none = 4, jnp.zeros((4, 3))
    place = jnp.array([[0.06, 0.0, 0.05]]) + 0.003 * jax.random.normal(jax.random.key(1), (count, 3))
    hands = HandParams(jnp.zeros((count, 2)), jnp.zeros((count, 8, 3)), none, place, jnp.ones(count))
    starts = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), none, jnp.ones(count))
    config = replace(FAST_CONTACT, steps=60, reach=0.1)
    grasps = refine_grasps(problem, starts, jax.random.key(2), config)
    assert grasps.grasp.hand.pose.shape == (count, 8, 3) and np.isfinite(grasps.energy).all()
    one = refine_grasps(problem, starts, jax.random.key(2), replace(config, steps=1, refresh=10))
    assert (grasps.energy < 0.8 * one.energy).all()
    gap = np.linalg.norm(np.asarray(grasps.hand_vertices), axis=2).min(axis=1) - 0.04
    assert (grasps.terms["dis"] < 0.7 * one.terms["dis"]).all() and (gap > -0.001).all() and gap.min() < 0.003


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parents": (0, -1, 1, 2, 3, 4, 2, 6, 0)}, "parents: expected -1 and then earlier joints"),
        ({"parents": (-1, 0, 3, 2, 3, 4, 2, 6, 0)}, "parents: expected -1 and then earlier joints"),
        ({"tip_vertices": jnp.array([1])}, "finger_of_keypoint: expected 10, of joints and tips, got 11"),
    ],
)
def test_what_is_no_tree_is_one_line(change, message):
    model, faces = chain()
    with pytest.raises(HandInputError, match=message) as error:
        skinned_kind(replace(model, **change), faces, np.zeros(len(model.v_template), int), np.zeros(11, int))
    assert "\n" not in str(error.value)
    with pytest.raises(HandInputError, match=r"pose: expected axis-angle of shape \(8, 3\), got \(15, 3\)"):
        skinned_hand(model, HandParams(betas=jnp.zeros(2)))
