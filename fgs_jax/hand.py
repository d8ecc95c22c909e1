"""The hand layer: MANO's function from shape and pose to vertices, joints and keypoints (Sec. 3.2).

Romero, Tzionas, Black, "Embodied Hands", 2017: linear shape directions, pose correctives linear in R - I, linear blend
skinning. Everything is pure and unbatched: `jax.vmap` it.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fgs_jax.hand_anatomy import FINGER_JOINTS
from fgs_jax.rotations import matrix_of
from fgs_jax.types import Hand, HandModel, HandParams

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

    Raises ValueError, while tracing, for parameters of a shape that the model does not take.
    """
    skeleton = _pose_skeleton(model, params)
    vertices = _skin(model.v_template, model.blend_directions, model.weights, skeleton)
    origin = params.translation if center_wrist else params.translation + skeleton.wrist
    vertices = params.scale * vertices + origin[:, None]
    joints = params.scale * skeleton.joints + origin[None]
    return Hand(vertices.T, joints, _keypoints(joints, vertices[:, model.tip_vertex_ids].T))


def wrist_at_rest(model: HandModel, betas: Float[Array, "n"]) -> Float[Array, "3"]:
    """J0: where the wrist of the shaped hand lies at rest, metres."""
    directions = model.joint_shapedirs[0, :, : betas.shape[0]]
    return model.joint_template[0] + jnp.matmul(directions, betas, precision="highest")


def hand_keypoints(model: HandModel, params: HandParams, *, center_wrist: bool = False) -> Float[Array, "21 3"]:
    """The keypoints of `hand` alone, in metres and OpenPose's order: skins five vertices in place of all."""
    skeleton = _pose_skeleton(model, params)
    ids = model.tip_vertex_ids
    tips = _skin(model.v_template[ids], model.blend_directions[:, :, ids], model.weights[ids], skeleton)
    origin = params.translation if center_wrist else params.translation + skeleton.wrist
    return _keypoints(params.scale * skeleton.joints + origin[None], params.scale * tips.T + origin[None])


def reorder_keypoints(keypoints: Float[Array, "21 d"], source: str, target: str) -> Float[Array, "21 d"]:
    """Keypoints given in the order `source` in the order `target` (`KEYPOINT_ORDERS`).

    Raises ValueError for an unknown order.
    """
    for order in (source, target):
        if order not in KEYPOINT_ORDERS:
            raise ValueError(f"unknown keypoint order {order!r}; the orders are {', '.join(KEYPOINT_ORDERS)}")
    in_openpose = np.argsort(KEYPOINT_ORDERS[source])
    return keypoints[in_openpose[np.array(KEYPOINT_ORDERS[target])]]


def pose_from_pca(model: HandModel, coefficients: Float[Array, "n"], *, add_mean: bool = True) -> Float[Array, "15 3"]:
    """The pose (axis-angle, radians) of the first n pose components; `add_mean` adds the model's mean pose.

    Raises ValueError for more coefficients than the model has components.
    """
    n, components = coefficients.shape[0], model.pose_components
    if n > components.shape[0]:
        raise ValueError(f"{model.name} has {components.shape[0]} pose components, got {n} coefficients: pass fewer")
    pose = jnp.matmul(coefficients, components[:n], precision="highest").reshape(15, 3)
    return pose + model.pose_mean if add_mean else pose


def joint_angles(model: HandModel, pose: Float[Array, "15 3"] | Float[Array, "15 3 3"]) -> Float[Array, "15 3"]:
    """(twist, spread, bend) of joints 1 to 15, in radians: the joint turns by twist, then spread, then bend.

    About the rows of `model.bone_frames`; bend is free of singularities, spread is within 90 degrees.
    """
    local = _in_bone_frames(model, _matrices(pose, 2))
    # At a spread of 90 degrees twist and bend are one angle: call both zero and keep the gradient finite.
    squared = local[:, 0, 0] ** 2 + local[:, 1, 0] ** 2
    regular = squared > 1e-10
    bend = jnp.arctan2(jnp.where(regular, local[:, 1, 0], 0.0), jnp.where(regular, local[:, 0, 0], 1.0))
    twist = jnp.arctan2(jnp.where(regular, local[:, 2, 1], 0.0), jnp.where(regular, local[:, 2, 2], 1.0))
    spread = jnp.arctan2(-local[:, 2, 0], jnp.sqrt(jnp.where(regular, squared, 1e-10)))
    return jnp.stack([twist, spread, bend], axis=-1)


def pose_from_joint_angles(model: HandModel, angles: Float[Array, "15 3"]) -> Float[Array, "15 3 3"]:
    """The pose, as rotation matrices, whose `joint_angles` these are."""
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


def _check_shapes(model: HandModel, params: HandParams) -> None:
    directions = model.joint_shapedirs.shape[-1]
    if params.betas.ndim != 1 or params.betas.shape[0] > directions:
        came = tuple(params.betas.shape)
        raise ValueError(f"betas: {model.name} takes at most {directions} shape coefficients, got shape {came}")
    if params.pose.shape not in ((15, 3), (15, 3, 3)):
        raise ValueError(
            f"pose: expected (15, 3) axis-angle or (15, 3, 3) matrices, got shape {tuple(params.pose.shape)}; "
            "for pose components use pose_from_pca, for a batch jax.vmap"
        )
    if params.rotation.shape not in ((3,), (3, 3)):
        raise ValueError(f"rotation: expected (3,) or (3, 3), got shape {tuple(params.rotation.shape)}")
    if params.translation.shape != (3,):
        raise ValueError(f"translation: expected (3,), got shape {tuple(params.translation.shape)}")


def _pose_skeleton(model: HandModel, params: HandParams) -> _Skeleton:
    _check_shapes(model, params)
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
