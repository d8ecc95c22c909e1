"""The hand layer: MANO's function from shape and pose to vertices, joints and keypoints (Sec. 3.2).

Romero, Tzionas, Black, "Embodied Hands", 2017: linear shape directions, pose correctives linear in R - I, linear blend
skinning. Everything is pure and unbatched: `jax.vmap` it.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray

from fgs_jax.errors import HandInputError
from fgs_jax.hands.anatomy import FINGER_JOINTS, FINGER_OF_JOINT, REGION_NAMES
from fgs_jax.hands.kind import HandKind, PosePrior, similar_about_root
from fgs_jax.rotations import matrix_of
from fgs_jax.solve.ahead import jit_once
from fgs_jax.types import Hand, HandModel, HandParams, on_device

KEYPOINT_ORDERS = {
    "openpose": tuple(range(21)),
    "mediapipe": tuple(range(21)),
    "hamer": tuple(range(21)),
    "manotorch": tuple(range(21)),
    "mano": (0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20),
}
"""The orders of 21 keypoints in use; entry k is the place of the k-th keypoint in OpenPose's order.

"mano" is the 16 joints and then the tips of thumb, index, middle, ring and pinky, as smplx gives them.
"""

# Unsigned, so that JAX adds no step for negative indices.
_CHAINS = np.array(FINGER_JOINTS, np.uint32)
_OPENPOSE_FROM_MANO = np.argsort(KEYPOINT_ORDERS["mano"]).astype(np.uint32)
_MANO_FROM_LEVELS = np.argsort([0, *_CHAINS.T.ravel().tolist()]).astype(np.uint32)


class _Skeleton(NamedTuple):
    """A posed hand before skinning, about its wrist."""

    rotations: Float[Array, "16 3 3"]
    joints: Float[Array, "16 3"]
    rest_joints: Float[Array, "16 3"]
    blend_coefficients: Float[Array, "k"]
    wrist: Float[Array, "3"]
    """J0, where the wrist lies at rest."""


def hand(model: HandModel, params: HandParams, *, center_wrist: bool = False) -> Hand:
    """Vertices, joints and keypoints of the posed hand, in metres.

    v = s R (v_c - J0) + J0 + t, with v_c the skinned hand and J0 the wrist joint of the shaped hand at rest;
    `center_wrist` leaves out "+ J0" and so puts the wrist at t.

    Raises HandInputError, while tracing, for parameters of a shape that the model does not take.
    """
    params = checked_params(model, params)
    skeleton = _pose_skeleton(model, params)
    vertices = _skin(model.v_template, model.blend_directions, model.weights, skeleton)
    origin = params.translation if center_wrist else params.translation + skeleton.wrist
    vertices = params.scale * vertices + origin[:, None]
    joints = params.scale * skeleton.joints + origin[None]
    return Hand(vertices.T, joints, _keypoints(joints, vertices[:, model.tip_vertex_ids].T))


hand_program = jit_once(hand)
"""`hand` as a program of its own, for callers on the host."""


def wrist_at_rest(model: HandModel, betas: Float[Array, "n"]) -> Float[Array, "3"]:
    """J0: where the wrist of the shaped hand lies at rest, metres. Raises HandInputError as `hand` does."""
    betas = _checked_betas(model, betas)
    directions = model.joint_shapedirs[0, :, : betas.shape[0]]
    return model.joint_template[0] + jnp.matmul(directions, betas, precision="highest")


def hand_keypoints(model: HandModel, params: HandParams, *, center_wrist: bool = False) -> Float[Array, "21 3"]:
    """The keypoints of `hand` alone, in metres and OpenPose's order: skins five vertices in place of all.

    Raises HandInputError as `hand` does.
    """
    params = checked_params(model, params)
    skeleton = _pose_skeleton(model, params)
    ids = model.tip_vertex_ids
    tips = _skin(model.v_template[ids], model.blend_directions[:, :, ids], model.weights[ids], skeleton)
    origin = params.translation if center_wrist else params.translation + skeleton.wrist
    return _keypoints(params.scale * skeleton.joints + origin[None], params.scale * tips.T + origin[None])


def reorder_keypoints(keypoints: Float[Array, "21 d"], source: str, target: str) -> Float[Array, "21 d"]:
    """Keypoints given in the order `source` in the order `target` (`KEYPOINT_ORDERS`).

    Raises HandInputError for an unknown order, and for other than 21 keypoints.
    """
    for order in (source, target):
        if order not in KEYPOINT_ORDERS:
            raise HandInputError(f"unknown keypoint order {order!r}; the orders are {', '.join(KEYPOINT_ORDERS)}")
    keypoints = keypoints if isinstance(keypoints, np.ndarray) else as_numbers("keypoints", keypoints)
    if keypoints.ndim != 2 or len(keypoints) != 21:
        raise HandInputError(f"keypoints: expected shape (21, d), got {keypoints.shape}: for many frames use jax.vmap")
    in_openpose = np.argsort(KEYPOINT_ORDERS[source])
    return keypoints[in_openpose[np.array(KEYPOINT_ORDERS[target])]]


def pose_from_pca(model: HandModel, coefficients: Float[Array, "n"], *, add_mean: bool = True) -> Float[Array, "15 3"]:
    """The pose (axis-angle, radians) of the first n pose components; `add_mean` adds the model's mean pose.

    Raises HandInputError for more coefficients than the model has components, and for a batch of them.
    """
    _check_model(model)
    coefficients = as_numbers("coefficients", coefficients)
    if coefficients.ndim != 1:
        came = coefficients.shape
        raise HandInputError(f"coefficients: expected pose components (n,), got shape {came}: for a batch use jax.vmap")
    n, components = coefficients.shape[0], model.pose_components
    if n > components.shape[0]:
        raise HandInputError(
            f"{model.name} has {components.shape[0]} pose components, got {n} coefficients: pass fewer"
        )
    pose = jnp.matmul(coefficients, components[:n], precision="highest").reshape(15, 3)
    return pose + model.pose_mean if add_mean else pose


def joint_angles(model: HandModel, pose: Float[Array, "15 3"] | Float[Array, "15 3 3"]) -> Float[Array, "15 3"]:
    """(twist, spread, bend) of joints 1 to 15, in radians: the joint turns by twist, then spread, then bend.

    About the rows of `model.bone_frames`; bend is free of singularities, spread is within 90 degrees. Raises
    HandInputError for another shape.
    """
    _check_model(model)
    pose = _checked_rotations("pose", pose, ((15, 3), (15, 3, 3)))
    local = _in_bone_frames(model, _matrices(pose, 2))
    # At a spread of 90 degrees twist and bend are one angle: call both zero and keep the gradient finite.
    squared = local[:, 0, 0] ** 2 + local[:, 1, 0] ** 2
    regular = squared > 1e-10
    bend = jnp.arctan2(jnp.where(regular, local[:, 1, 0], 0.0), jnp.where(regular, local[:, 0, 0], 1.0))
    twist = jnp.arctan2(jnp.where(regular, local[:, 2, 1], 0.0), jnp.where(regular, local[:, 2, 2], 1.0))
    spread = jnp.arctan2(-local[:, 2, 0], jnp.sqrt(jnp.where(regular, squared, 1e-10)))
    return jnp.stack([twist, spread, bend], axis=-1)


def pose_from_joint_angles(model: HandModel, angles: Float[Array, "15 3"]) -> Float[Array, "15 3 3"]:
    """The pose, as rotation matrices, whose `joint_angles` these are. Raises HandInputError for another shape."""
    _check_model(model)
    angles = _checked_rotations("angles", angles, ((15, 3),))
    twist, spread, bend = (matrix_of(angles[:, k : k + 1] * jnp.eye(3)[k : k + 1]) for k in range(3))
    frames = model.bone_frames
    return jnp.einsum("jba,jbc,jcd,jde,jef->jaf", frames, bend, spread, twist, frames, precision="highest")


def _in_bone_frames(model: HandModel, rotations: Float[Array, "15 3 3"]) -> Float[Array, "15 3 3"]:
    frames = model.bone_frames
    turned = _product(rotations, frames.mT)
    return _product(frames, turned)


def _product(left: Float[Array, "j 3 3"], right: Float[Array, "j 3 3"]) -> Float[Array, "j 3 3"]:
    # By matrix products a CPU takes twice as long.
    first, second, third = (left[:, :, k, None] * right[:, k, None] for k in range(3))
    return first + second + third


def _matrices(rotations: Array, matrix_axes: int) -> Array:
    """Axis-angle vectors as matrices; rotations that have one axis more are matrices already."""
    return rotations if rotations.ndim > matrix_axes else matrix_of(rotations)


def checked_params(model: Any, params: Any) -> HandParams:
    """The parameters as floating-point arrays, if the model takes their shapes. Costs nothing within jit.

    Raises HandInputError.
    """
    _check_model(model)
    if not isinstance(params, HandParams):
        raise HandInputError(f"params: expected HandParams, got {type(params).__name__}: HandParams(pose=...)")
    translation, scale = as_numbers("translation", params.translation), as_numbers("scale", params.scale)
    if translation.shape != (3,):
        raise HandInputError(f"translation: expected (3,), got shape {translation.shape}")
    if scale.shape != ():
        raise HandInputError(f"scale: expected one number, got shape {scale.shape}")
    return replace(
        params,
        betas=_checked_betas(model, params.betas),
        pose=_checked_rotations("pose", params.pose, ((15, 3), (15, 3, 3))),
        rotation=_checked_rotations("rotation", params.rotation, ((3,), (3, 3))),
        translation=translation,
        scale=scale,
    )


def as_numbers(name: str, value: Any) -> Array:
    """A floating-point array of what JAX takes for numbers, lists too. Raises HandInputError for anything else."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise HandInputError(f"{name}: expected an array of numbers, got {type(value).__name__}") from error
    if array.dtype == bool or not jnp.issubdtype(array.dtype, jnp.number):
        raise HandInputError(f"{name}: expected an array of numbers, got {array.dtype}")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _check_model(model: Any) -> None:
    if not isinstance(model, HandModel):
        raise HandInputError(f"model: expected a HandModel, as load_hand_model gives, got {type(model).__name__}")


def _checked_betas(model: HandModel, betas: Any) -> Array:
    _check_model(model)
    betas, directions = as_numbers("betas", betas), model.joint_shapedirs.shape[-1]
    if betas.ndim != 1 or betas.shape[0] > directions:
        raise HandInputError(
            f"betas: {model.name} takes at most {directions} shape coefficients, got shape {betas.shape}"
        )
    return betas


def _checked_rotations(name: str, value: Any, shapes: tuple[tuple[int, ...], ...]) -> Array:
    array = as_numbers(name, value)
    if array.shape in shapes:
        return array
    came = f"got shape {array.shape}"
    if name == "rotation":
        raise HandInputError(f"rotation: expected (3,) or (3, 3), {came}")
    if name == "angles":
        raise HandInputError(f"angles: expected (twist, spread, bend) of 15 joints, (15, 3), {came}")
    raise HandInputError(
        f"pose: expected (15, 3) axis-angle or (15, 3, 3) matrices, {came}; for pose components use pose_from_pca, "
        "for 45 angles reshape(15, 3), for a batch jax.vmap"
    )


def _pose_skeleton(model: HandModel, params: HandParams) -> _Skeleton:
    missing = model.joint_shapedirs.shape[-1] - params.betas.shape[0]
    betas = jnp.pad(params.betas, (0, missing))
    joints = model.joint_template + jnp.matmul(model.joint_shapedirs, betas, precision="highest")
    rest = joints - joints[:1]

    root, local = _matrices(params.rotation, 1), _matrices(params.pose, 2)
    # MANO's joints 1 to 15 are five fingers of three each, so slices do where gathers would.
    turns, places = local.reshape(5, 3, 3, 3), rest[1:].reshape(5, 3, 3)
    orientation, position = jnp.broadcast_to(root, (5, 3, 3)), jnp.zeros((5, 3), rest.dtype)
    rotations, positions, parent = [], [], jnp.zeros((5, 3), rest.dtype)
    for level in range(3):
        bone = places[:, level] - parent
        position = position + jnp.einsum("fab,fb->fa", orientation, bone, precision="highest")
        orientation = jnp.matmul(orientation, turns[:, level], precision="highest")
        rotations.append(orientation)
        positions.append(position)
        parent = places[:, level]
    return _Skeleton(
        rotations=jnp.concatenate([root[None], jnp.stack(rotations, axis=1).reshape(15, 3, 3)]),
        joints=jnp.concatenate([jnp.zeros((1, 3), rest.dtype), jnp.stack(positions, axis=1).reshape(15, 3)]),
        rest_joints=rest,
        blend_coefficients=jnp.concatenate([betas, (local - jnp.eye(3)[None]).ravel()]),
        wrist=joints[0],
    )


def _skin(
    v_template: Float[Array, "v 3"],
    blend_directions: Float[Array, "k 3 v"],
    weights: Float[Array, "v 16"],
    skeleton: _Skeleton,
) -> Float[Array, "3 v"]:
    """Blend and skin the vertices, about the wrist.

    Coordinates lie apart and vertices together, (3, v): under vmap each product then becomes one large matrix product,
    and the blended transforms are applied without a transpose. Written (v, 3), 1024 hands with their gradient took
    three times as long.
    """
    directions = blend_directions.reshape(blend_directions.shape[0], -1)
    offsets = jnp.matmul(skeleton.blend_coefficients, directions, precision="highest").reshape(3, -1)
    rest = v_template.T + offsets - skeleton.wrist[:, None]
    rotated_rest = jnp.einsum("jab,jb->ja", skeleton.rotations, skeleton.rest_joints, precision="highest")
    transforms = jnp.concatenate([skeleton.rotations, (skeleton.joints - rotated_rest)[:, :, None]], axis=2)
    blended = jnp.matmul(transforms.reshape(16, 12).T, weights.T, precision="highest").reshape(3, 4, -1)
    # Not jnp.sum over that axis: XLA for CPUs (jaxlib 0.10.2) makes one kernel of product and sum, which is wrong for
    # some hundreds of hands and few vertices.
    return sum(blended[:, k] * rest[k][None] for k in range(3)) + blended[:, 3]


def _keypoints(joints: Float[Array, "16 3"], tips: Float[Array, "5 3"]) -> Float[Array, "21 3"]:
    return jnp.concatenate([joints, tips])[_OPENPOSE_FROM_MANO]


SKIN_MARGIN = (*5 * (0.0025,), 0.002)
"""Metres by which flesh gives: of the pads of the five fingers, and of the palm."""


def skin_margins(model: HandModel, size: float = 1.0) -> Float[ndarray, "v"]:
    """How far the flesh gives at each vertex of a hand of this size, metres; without a program of JAX."""
    return size * np.append(SKIN_MARGIN, 0.0)[np.asarray(model.regions)]


def mano_kind(model: HandModel) -> HandKind:
    """A model of MANO's structure as the stages see it: closed at the wrist, six contact regions, five fingers."""
    return HandKind(
        data=model,
        faces=model.closed_faces,
        regions=model.regions,
        finger_of_keypoint=jnp.asarray([-1, *(k // 4 for k in range(20))], jnp.int32),
        finger_of_vertex=on_device(FINGER_OF_JOINT[np.argmax(np.asarray(model.weights), axis=1)], np.int32),
        region_count=len(REGION_NAMES),
        pose=hand,
        prior=_prior,
        similarity=_similar,
        skin_margin=on_device(SKIN_MARGIN),
        rim=model.wrist_loop,
    )


def _prior(model: HandModel, params: HandParams) -> PosePrior:
    angles = joint_angles(model, params.pose)
    return PosePrior(params.pose, model.pose_mean, model.pose_std, angles, model.joint_limits)


def _similar(model: HandModel, params: HandParams, factor: Float[Array, ""]) -> HandParams:
    return similar_about_root(params, wrist_at_rest(model, params.betas), factor)
