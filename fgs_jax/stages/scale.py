"""Detection-assisted scale alignment (Eq. 4-6): how much to scale an object of unknown size against the hand.

Pure JAX: the faces of the convex hulls come from the host (`objects.convex_hull`), their volumes are sums over them.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fgs_jax.checks import checked


class ScaleAlignment(NamedTuple):
    """The ratios of hand to object, in the picture and in space, and the factor on the object that makes them equal."""

    k2D: Float[Array, ""]
    k3D: Float[Array, ""]
    k_scale: Float[Array, ""]


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
