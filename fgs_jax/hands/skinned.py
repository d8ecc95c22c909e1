"""A skinned mesh of any joints as a hand: linear blend skinning over a tree, as MANO, SMPL-H and SMPL-X have it.

Loper et al., "SMPL", 2015: linear shape directions, pose correctives linear in R - I, linear blend skinning. The layer
in `mano` is the same for MANO's own tree, written for speed.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int
from numpy import ndarray

from fgs_jax.errors import HandInputError
from fgs_jax.hands.kind import HandKind, PosePrior, rotation_matrix, similar_about_root
from fgs_jax.rotations import matrix_of
from fgs_jax.types import Hand, HandParams, pytree


@pytree
class SkinnedModel:
    """A skinned mesh. `v` vertices, `j` joints, the first of which is the root; `b` shape directions."""

    v_template: Float[Array, "v 3"]
    """Metres, at rest."""
    shapedirs: Float[Array, "v 3 b"]
    posedirs: Float[Array, "v 3 p"]
    """Vertex offsets per entry of R - I of all joints but the root, p = 9 (j - 1); or none, p = 0."""
    weights: Float[Array, "v j"]
    joint_regressor: Float[Array, "j v"]
    tip_vertices: Int[Array, "t"]
    """Vertices that follow the joints as keypoints."""
    pose_mean: Float[Array, "j-1 3"]
    """Axis-angle, radians, as is the spread."""
    pose_std: Float[Array, "j-1 3"]
    parents: tuple[int, ...] = struct.field(pytree_node=False)
    """Of each joint, an earlier one; -1 for the root."""


def skinned_hand(model: SkinnedModel, params: HandParams) -> Hand:
    """Vertices, joints and keypoints (joints, then tips) of the posed mesh, metres.

    v = s R (v_c - J0) + J0 + t, with v_c the skinned mesh and J0 its root at rest, as for MANO. Raises HandInputError,
    while tracing, for a pose of another number of joints.
    """
    count = len(model.parents)
    if params.pose.shape != (count - 1, 3):
        raise HandInputError(
            f"pose: expected axis-angle of shape {(count - 1, 3)}, got {params.pose.shape}: reshape it"
        )
    shaped = model.v_template + jnp.matmul(model.shapedirs[..., : len(params.betas)], params.betas, precision="highest")
    rest = jnp.matmul(model.joint_regressor, shaped, precision="highest")
    local = matrix_of(params.pose)
    rotations, places = [rotation_matrix(params.rotation)], [jnp.zeros(3)]
    for joint in range(1, count):
        parent = model.parents[joint]
        bone = jnp.matmul(rotations[parent], rest[joint] - rest[parent], precision="highest")
        places.append(places[parent] + bone)
        rotations.append(jnp.matmul(rotations[parent], local[joint - 1], precision="highest"))
    if model.posedirs.shape[-1]:
        bent = (local - jnp.eye(3)[None]).ravel()
        shaped = shaped + jnp.matmul(model.posedirs, bent, precision="highest")
    turns, joints = jnp.stack(rotations), jnp.stack(places)
    shifts = joints - jnp.einsum("jab,jb->ja", turns, rest - rest[:1], precision="highest")
    blended = jnp.einsum("vj,jab->vab", model.weights, turns, precision="highest")
    offset = jnp.matmul(model.weights, shifts, precision="highest")
    vertices = jnp.einsum("vab,vb->va", blended, shaped - rest[:1], precision="highest") + offset
    origin = (params.translation + rest[0])[None]
    vertices, joints = params.scale * vertices + origin, params.scale * joints + origin
    return Hand(vertices, joints, jnp.concatenate([joints, vertices[model.tip_vertices]]))


def skinned_kind(
    model: SkinnedModel,
    faces: Int[ndarray, "f 3"],
    regions: Int[ndarray, "v"],
    finger_of_keypoint: Int[ndarray, "k"],
) -> HandKind:
    """A skinned mesh as the stages see it. `faces`: closed, wound outward; the others as `HandKind` has them.

    A vertex is of the finger of the joint that moves it most. Raises HandInputError where the parents are no tree in
    order, or the numbers of keypoints differ.
    """
    parents, count = model.parents, len(model.parents) + len(model.tip_vertices)
    if parents[:1] != (-1,) or any(not 0 <= parent < joint for joint, parent in enumerate(parents) if joint):
        raise HandInputError(f"parents: expected -1 and then earlier joints, got {parents}: sort the joints")
    if len(finger_of_keypoint) != count:
        raise HandInputError(
            f"finger_of_keypoint: expected {count}, of joints and tips, got {len(finger_of_keypoint)}: give one of each"
        )
    finger_of_joint = np.asarray(finger_of_keypoint)[: len(parents)]
    return HandKind(
        data=model,
        faces=jnp.asarray(faces, jnp.int32),
        regions=jnp.asarray(regions, jnp.int32),
        finger_of_keypoint=jnp.asarray(finger_of_keypoint, jnp.int32),
        finger_of_vertex=jnp.asarray(finger_of_joint[np.argmax(np.asarray(model.weights), axis=1)], jnp.int32),
        region_count=int(np.max(regions)) + 1,
        pose=skinned_hand,
        prior=_prior,
        similarity=_similar,
    )


def _prior(model: SkinnedModel, params: Any) -> PosePrior:
    return PosePrior(params.pose, model.pose_mean, model.pose_std)


def _similar(model: SkinnedModel, params: HandParams, factor: Float[Array, ""]) -> HandParams:
    betas = params.betas
    shaped = model.v_template + jnp.matmul(model.shapedirs[..., : len(betas)], betas, precision="highest")
    return similar_about_root(params, jnp.matmul(model.joint_regressor[0], shaped, precision="highest"), factor)
