"""Detection-assisted scale alignment (Eq. 4-6): how much to scale an object of unknown size against the hand.

`align` is pure JAX: the faces of the convex hulls come from the host (`align_scale`), their volumes are sums over them.
"""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from fgs_jax.checks import check_value, checked
from fgs_jax.config import RefineConfig
from fgs_jax.objects.solid import convex_hull
from fgs_jax.picture.camera import project
from fgs_jax.picture.masks import mask_box
from fgs_jax.picture.scene import Scene
from fgs_jax.solve.ahead import jit_once
from fgs_jax.stages.states import HandSeen, Sized
from fgs_jax.types import Camera, on_device

HULL_FACES = 1024
"""Hulls are filled up to a multiple of so many faces, so that few shapes are compiled."""


class ScaleAlignment(NamedTuple):
    """The ratios of hand to object, in the picture and in space, and the factor on the object that makes them equal."""

    k2D: Float[Array, ""]
    k3D: Float[Array, ""]
    k_scale: Float[Array, ""]


def size_object(state: HandSeen, config: RefineConfig, key: Key[Array, ""]) -> Sized:
    """The size of the object that its pose is sought with: k_scale times the mesh's own where that is unknown."""
    check_value("size_object: state", state, HandSeen)
    scene, alignment = state.scene, align_scale(state.scene)
    factor = alignment["k_scale"] if scene.object.size == "unknown" else 1.0
    scene = replace(scene, object=replace(scene.object, vertices=factor * scene.object.vertices))
    return Sized(**{**vars(state), "scene": scene}, alignment=alignment, factor=factor)


def align_scale(scene: Scene) -> dict[str, float]:
    """k2D, k3D, k_scale (Eq. 4-6) of a scene with a posed hand; the object's box is the detector's if there is one."""
    vertices, _ = scene.posed_hand()
    object_box = mask_box(scene.object_mask) if scene.object_box is None else scene.object_box
    hulls = _hull(vertices), _hull(scene.object.vertices)
    alignment = _aligned(scene.camera, on_device(vertices), on_device(object_box), *hulls)
    return {name: float(value) for name, value in alignment._asdict().items()}


@checked
def align(
    hand_box: Float[Array, "4"],
    object_box: Float[Array, "4"],
    hand_hull: tuple[Float[Array, "v 3"], Int[Array, "f 3"]],
    object_hull: tuple[Float[Array, "w 3"], Int[Array, "g 3"]],
) -> ScaleAlignment:
    """Eq. 6: k_scale = k3D / k2D; the object's mesh times k_scale has the hand's scale.

    Boxes are (left, top, right, bottom) in pixels; take the hand's from its projected mesh, since a mask may hold the
    forearm. Hulls are vertices (any unit, the hand's in metres) and the hull's faces, wound outward.
    """
    k2D = box_ratio(hand_box, object_box)
    k3D = volume_ratio(hull_volume(*hand_hull), hull_volume(*object_hull))
    return ScaleAlignment(k2D, k3D, k3D / k2D)


@checked
def box_ratio(hand_box: Float[Array, "4"], object_box: Float[Array, "4"]) -> Float[Array, ""]:
    """Eq. 4: k2D = sqrt(S(B_h) / S(B_o))."""
    return jnp.sqrt(_box_area(hand_box) / _box_area(object_box))


@checked
def volume_ratio(hand_volume: Float[Array, ""], object_volume: Float[Array, ""]) -> Float[Array, ""]:
    """Eq. 5: k3D = cbrt(V(C_h) / V(C_o))."""
    return jnp.cbrt(hand_volume / object_volume)


@checked
def hull_volume(vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> Float[Array, ""]:
    """Volume within closed faces that are wound outward, in the vertices' unit cubed."""
    # About a vertex of the hull: far from the origin the signed tetrahedra would cancel.
    a, b, c = (vertices[faces[:, k]] - vertices[faces[:1, 0]] for k in range(3))
    return jnp.sum(a * jnp.cross(b, c)) / 6.0


def _box_area(box: Float[Array, "4"]) -> Float[Array, ""]:
    return (box[2] - box[0]) * (box[3] - box[1])


def _hull(vertices: Float[ndarray, "v 3"]) -> tuple[Float[Array, "w 3"], Int[Array, "f 3"]]:
    """The hull's triangles, filled up to a multiple of `HULL_FACES` with ones of no volume."""
    corners = vertices[convex_hull(vertices)].reshape(-1, 3)
    count = 3 * HULL_FACES * -(-len(corners) // (3 * HULL_FACES))
    padded = np.concatenate([corners, np.repeat(corners[:1], count - len(corners), axis=0)])
    return on_device(padded), on_device(np.arange(count).reshape(-1, 3), np.int32)


@jit_once
def _aligned(
    camera: Camera,
    hand_vertices: Float[Array, "v 3"],
    object_box: Float[Array, "4"],
    hand_hull: tuple[Float[Array, "a 3"], Int[Array, "f 3"]],
    object_hull: tuple[Float[Array, "b 3"], Int[Array, "g 3"]],
) -> ScaleAlignment:
    """Eq. 4-6 with the box of the projected hand."""
    pixels = project(camera, hand_vertices)
    return align(jnp.concatenate([pixels.min(axis=0), pixels.max(axis=0)]), object_box, hand_hull, object_hull)
