"""What the stages ask of a hand: parameters to points, with faces, keypoints, contact regions, fingers and limits.

MANO's structure is one kind (`mano.mano_kind`), a skinned mesh of any joints another (`skinned.skinned_kind`). A hand
of one's own is a `HandKind` made of one's own functions.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from fgs_jax.rotations import matrix_of, vector_of
from fgs_jax.types import Hand, pytree


class PosePrior(NamedTuple):
    """What E_prior compares: angles with their mean and spread, and the limited ones with their limits."""

    angles: Float[Array, "*n"]
    """Radians, as are all of these."""
    mean: Float[Array, "*n"]
    std: Float[Array, "*n"]
    limited: Float[Array, "*m"] | None = None
    """Angles as the limits mean them, which need not be the parameters; None where there are no limits."""
    limits: Float[Array, "*m 2"] | None = None
    """Least and greatest."""


class Change(NamedTuple):
    """What E_h is of: by how much a hand differs from the given one."""

    angles: Float[Array, "*n"]
    """Of the joints, radians."""
    turn: Float[Array, "3"]
    """Of the whole hand, a rotation vector, radians."""
    place: Float[Array, "3"]
    """Metres."""


@pytree
class Uncertainty:
    """How well a given hand is known: standard deviations of the parts of a `Change`."""

    angles: Float[Array, "*n"]
    """Radians, of each joint angle; or one number for all."""
    turn: Float[Array, "*t"]
    """Radians, about each of three axes of the hand; or one number for all."""
    place: Float[Array, "*p"]
    """Metres, along each of three axes of the camera; or one number for all."""


class HandState(NamedTuple):
    """What moves in step two where the parameters are `HandParams`."""

    pose: Float[Array, "*n"]
    """Joint angles, radians."""
    rotation: Float[Array, "3"]
    """Tangent vector at the start's rotation, radians."""
    translation: Float[Array, "3"]
    """Metres."""


def rotation_matrix(rotation: Float[Array, "3"] | Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Of an axis-angle vector; a matrix stays."""
    return matrix_of(rotation) if rotation.ndim == 1 else rotation


def fixed_rotation(data: Any, params: Any) -> Any:
    """`HandParams` with the rotation as a matrix, which is asked for at every step."""
    return replace(params, rotation=rotation_matrix(params.rotation))


def plain_rotation(data: Any, params: Any) -> Any:
    """`HandParams` with the rotation as an axis-angle vector."""
    return replace(params, rotation=vector_of(rotation_matrix(params.rotation)))


def start_state(data: Any, params: Any, closed: Float[Array, ""] | float) -> HandState:
    """Where step two starts: the parameters as they are, their joint angles times `closed`."""
    return HandState(closed * params.pose, jnp.zeros(3), params.translation)


def retract_params(data: Any, start: Any, state: HandState) -> Any:
    """`HandParams` of a state. The rotation is a matrix, whose gradient is right at any angle."""
    turn = matrix_of(state.rotation)
    rotation = jnp.matmul(rotation_matrix(start.rotation), turn, precision="highest")
    return replace(start, pose=state.pose, rotation=rotation, translation=state.translation)


def moved_params(data: Any, params: Any, turn: Float[Array, "3"], shift: Float[Array, "3"]) -> Any:
    """The hand turned about its root (a rotation vector in the outer frame, radians) and moved (metres)."""
    rotation = jnp.matmul(matrix_of(turn), rotation_matrix(params.rotation), precision="highest")
    rotation = vector_of(rotation) if params.rotation.ndim == 1 else rotation
    return replace(params, rotation=rotation, translation=params.translation + shift)


def similar_params(data: Any, params: Any, factor: Float[Array, ""]) -> Any:
    """x -> factor x about the camera's centre, for a hand that turns and grows about its translation."""
    return replace(params, translation=factor * params.translation, scale=factor * params.scale)


def similar_about_root(params: Any, root: Float[Array, "3"], factor: Float[Array, ""]) -> Any:
    """`similar_params` of a hand that turns and grows about its root, which lies at `root` where it is not moved."""
    # There and back rounds: no change is none to the bit.
    unchanged, changed = params.translation, factor * (root + params.translation) - root
    translation = jnp.where(factor == 1.0, unchanged, changed)
    return replace(params, translation=translation, scale=factor * params.scale)


def change_of_params(data: Any, params: Any, given: Any) -> Change:
    """Of `HandParams` against those given."""
    turn = jnp.matmul(rotation_matrix(given.rotation).T, rotation_matrix(params.rotation), precision="highest")
    return Change(params.pose - given.pose, vector_of(turn), params.translation - given.translation)


def size_of_params(data: Any, params: Any) -> Float[Array, ""]:
    """The hand's scale: 1 as the model is made."""
    return params.scale


STATE_LENGTHS: Any = HandState._make((False, False, True))
"""Which part of a `HandState` is a length."""


@pytree
class HandKind:
    """A hand as the stages see it: a pytree of arrays with static functions.

    The numbers of vertices, keypoints, regions, fingers and joints are its own. Each function gets `data` first. Where
    the parameters are `types.HandParams`, with `pose` any array of joint angles, `pose` and `prior` are all that has to
    be written. Two kinds share a compiled program where their functions are the same objects and their arrays have the
    same shapes: define functions once, at the top of a module.
    """

    data: Any
    """A pytree of what the functions need: a model's arrays."""
    faces: Int[Array, "f 3"]
    """A closed surface, wound outward."""
    regions: Int[Array, "v"]
    """Contact region of each vertex, from 0; -1 for none. E_dis pulls the nearest vertices of each region."""
    finger_of_keypoint: Int[Array, "k"]
    """From 0; -1 takes no part in E_spen."""
    finger_of_vertex: Int[Array, "v"]
    """From 0; -1 for the palm. What counts as a finger in contact."""
    region_count: int = struct.field(pytree_node=False)
    pose: Callable[[Any, Any], Hand] = struct.field(pytree_node=False)
    """`(data, params)` to vertices, joints and keypoints, metres, in the frame of the translation."""
    prior: Callable[[Any, Any], PosePrior] = struct.field(pytree_node=False)
    """`(data, params)` to what E_prior compares."""
    skin_margin: Float[Array, "r"] | None = None
    """How far the flesh of each region gives where it is pressed, metres, of a hand of scale 1; None: nowhere."""
    rim: Int[Array, "l"] | None = None
    """Vertices where the surface is cut, such as at the wrist: what is nearest to one of them is outside. None: no
    place."""
    start: Callable[[Any, Any, Any], Any] = struct.field(pytree_node=False, default=start_state)
    """`(data, params, closed)` to the state that step two moves, a pytree of floats; `closed` multiplies the joint
    angles (1: as they are, 0: open)."""
    retract: Callable[[Any, Any, Any], Any] = struct.field(pytree_node=False, default=retract_params)
    """`(data, start parameters, state)` to parameters."""
    lengths: Any = struct.field(pytree_node=False, default=STATE_LENGTHS)
    """A tree of the state's structure: True for what is a length in metres, False for angles. It says the rates."""
    similarity: Callable[[Any, Any, Any], Any] = struct.field(pytree_node=False, default=similar_params)
    """`(data, params, factor)` to the parameters of the hand x -> factor x about the camera's centre."""
    moved: Callable[[Any, Any, Any, Any], Any] = struct.field(pytree_node=False, default=moved_params)
    """`(data, params, turn, shift)` to the parameters of the hand turned about its root, joint 0, and moved."""
    change: Callable[[Any, Any, Any], Change] = struct.field(pytree_node=False, default=change_of_params)
    """`(data, params, given)` to by how much they differ: what E_h is of."""
    size: Callable[[Any, Any], Float[Array, ""]] = struct.field(pytree_node=False, default=size_of_params)
    """`(data, params)` to the hand's scale: lengths that belong to the hand grow with it."""
    inner: Callable[[Any, Any], Any] = struct.field(pytree_node=False, default=fixed_rotation)
    """`(data, params)` to the form of the parameters that is best posed at every step."""
    outer: Callable[[Any, Any], Any] = struct.field(pytree_node=False, default=plain_rotation)
    """And back, to the form that people are given."""

    def margin_of_vertices(self, size: Float[Array, ""]) -> Float[Array, "v"] | None:
        """How far the flesh of a hand of this size gives at each vertex, metres; 0 in no region."""
        # -1 for no region is the last entry.
        return None if self.skin_margin is None else size * jnp.append(self.skin_margin, 0.0)[self.regions]
