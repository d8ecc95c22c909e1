"""The data that flows through the package, and the conventions that all of it keeps.

| what            | convention                                                                                         |
|-----------------|----------------------------------------------------------------------------------------------------|
| camera          | OpenCV: x right, y down, z forward; pixel (0, 0) is the top-left CORNER, so cx = W / 2 centres     |
| transforms      | `T_camera_object`: p_camera = R p_object + t                                                       |
| units           | metres, radians, pixels; results for people in mm, cm3, degrees                                    |
| signed distance | positive outside, negative inside; a sheet, hollow on purpose, has a wall and no inside            |
| hand            | right hand inside; a left one is mirrored on entry and back on exit, M = diag(-1, 1, 1)            |
| hand size       | v = s R (v_c - J0) + J0 + t, s = 1 unless said otherwise; `center_wrist`: without + J0             |
| hand pose       | axis-angle per joint (15, 3); zero is the flat hand                                                |
| root            | the hand turns about joint 0, not about the origin                                                 |
| joints          | 16, MANO: wrist, index 1-3, middle 1-3, pinky 1-3, ring 1-3, thumb 1-3                             |
| keypoints       | 21, OpenPose: wrist, then thumb, index, middle, ring, pinky, each from its base to its tip         |
| fingers         | thumb, index, middle, ring, pinky, wherever there are five of something                            |
| joint angles    | (twist, spread, bend) about the bone, the dorsal and the flexion axis; bend closes the hand        |
"""

from typing import Any, NamedTuple, TypeVar, dataclass_transform, no_type_check

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

Class = TypeVar("Class", bound=type)


@dataclass_transform(frozen_default=True, field_specifiers=(struct.field,))
def pytree(cls: Class) -> Class:
    """A frozen dataclass that JAX can transform.

    The shapes written on its fields are documentation: vmap and tree.map rebuild these objects with other shapes, so
    shapes are checked where functions take arrays, and never here (jaxtyping issues 177 and 277).
    """
    return no_type_check(struct.dataclass(cls))


def on_device(array: Any, dtype: Any = np.float32) -> Array:
    """`jnp.asarray`, converted on the host: that one compiles a program for each new shape that it converts."""
    return jnp.asarray(np.asarray(array, dtype), dtype)


@pytree
class Camera:
    """A pinhole camera without distortion."""

    focal: Float[Array, "2"]
    """Pixels."""
    principal: Float[Array, "2"]
    """Pixels, from the top-left corner of the picture."""


@pytree
class HandModel:
    """A hand of MANO's structure. `v` vertices, `b` shape directions, `c` pose components."""

    v_template: Float[Array, "v 3"]
    blend_directions: Float[Array, "b+135 3 v"]
    """`shapedirs`, then `posedirs`, turned so that the layer can use both in one matrix product."""
    weights: Float[Array, "v 16"]
    joint_regressor: Float[Array, "16 v"]
    joint_template: Float[Array, "16 3"]
    """`joint_regressor @ v_template`."""
    joint_shapedirs: Float[Array, "16 3 b"]
    """`joint_regressor @ shapedirs`."""
    faces: Int[Array, "f 3"]
    """Open at the wrist."""
    cap_faces: Int[Array, "k 3"]
    """Close the wrist without a new vertex."""
    wrist_loop: Int[Array, "l"]
    """Vertices of the open edge, in order."""
    tip_vertex_ids: Int[Array, "5"]
    regions: Int[Array, "v"]
    """Contact region of a vertex: 0 to 4 the finger pads, 5 the palm, -1 none (`REGION_NAMES`)."""
    bone_frames: Float[Array, "15 3 3"]
    """Rows per joint 1 to 15: bone axis (towards the parent), dorsal axis, flexion axis, at rest."""
    joint_limits: Float[Array, "15 3 2"]
    """Least and greatest (twist, spread, bend)."""
    pose_mean: Float[Array, "15 3"]
    pose_std: Float[Array, "15 3"]
    pose_components: Float[Array, "c 45"]
    pose_component_std: Float[Array, "c"]
    name: str = struct.field(pytree_node=False)
    side: str = struct.field(pytree_node=False)
    """"right" or "left"."""

    @property
    def closed_faces(self) -> Int[Array, "n 3"]:
        """The faces with those that close the wrist."""
        return jnp.concatenate([self.faces, self.cap_faces])

    @property
    def shapedirs(self) -> Float[Array, "v 3 b"]:
        """Vertex offsets per shape coefficient, in MANO's layout."""
        return self.blend_directions[:-135].T

    @property
    def posedirs(self) -> Float[Array, "v 3 135"]:
        """Vertex offsets per entry of R - I of joints 1 to 15, in MANO's layout."""
        return self.blend_directions[-135:].T


@pytree
class HandParams:
    """What moves a `HandModel`; the default is its flat hand at rest."""

    betas: Float[Array, "n"] = struct.field(default_factory=lambda: jnp.zeros(10))
    """The first n shape coefficients, in standard deviations; n is at most the model's."""
    pose: Float[Array, "15 3"] | Float[Array, "15 3 3"] = struct.field(default_factory=lambda: jnp.zeros((15, 3)))
    """Joints 1 to 15 against their parents: axis-angle, or rotation matrices."""
    rotation: Float[Array, "3"] | Float[Array, "3 3"] = struct.field(default_factory=lambda: jnp.zeros(3))
    """The whole hand about joint 0: axis-angle, or a rotation matrix."""
    translation: Float[Array, "3"] = struct.field(default_factory=lambda: jnp.zeros(3))
    scale: Float[Array, ""] = struct.field(default_factory=lambda: jnp.ones(()))


class Hand(NamedTuple):
    """A posed hand, in metres, in the frame that the translation is given in."""

    vertices: Float[Array, "v 3"]
    joints: Float[Array, "j 3"]
    """Of MANO's kind 16, in MANO's order."""
    keypoints: Float[Array, "k 3"]
    """Of MANO's kind 21, in OpenPose's order."""


@pytree
class Grasp:
    """A hand and an object in the camera's frame."""

    hand: Any
    """Parameters of the hand's kind: `HandParams`, axis-angle, for MANO's."""
    rotation: Float[Array, "3 3"]
    """Of the object: p_camera = rotation (scale p_object) + translation."""
    translation: Float[Array, "3"]
    scale: Float[Array, ""]
