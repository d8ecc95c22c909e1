"""How deep hand and object are in each other."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.objects.checks import no_type_check
from fgs_jax.results.metrics.surface import (
    SURFACE_POINTS,
    Surface,
    check_surfaces,
    sample_surface,
    signed_distances,
    solid_of,
)


@no_type_check
def maximal_penetration_depth(hand: Surface, object: Surface) -> float:
    """MPD (Sec. 4.2), metres: how far the deepest hand vertex inside the object is from its surface; 0 without one.

    It cannot see an object that passes between the vertices: see `object_depth_in_hand`.
    """
    check_surfaces(hand, object)
    return depth_of(signed_distances(object, hand.vertices))


@no_type_check
def penetration_depth_to_vertex(hand: Surface, object: Surface) -> float:
    """`maximal_penetration_depth` to the object's nearest vertex (CPF, OakInk), which is never less; metres."""
    check_surfaces(hand, object)
    object = Surface(*solid_of(object))
    inside = signed_distances(object, hand.vertices) < 0
    return depth_to_vertex(object, np.asarray(hand.vertices)[inside])


@no_type_check
def object_depth_in_hand(hand: Surface, object: Surface, count: int = SURFACE_POINTS) -> float:
    """How far the deepest of `count` points of the object's surface lies inside the hand, metres; 0 without one."""
    check_surfaces(hand, object)
    return depth_of(signed_distances(hand, sample_surface(object, count)))


def depth_of(distances: Float[ndarray, "p"]) -> float:
    """How far the deepest point lies inside, in the unit of the signed distances; 0 where none does."""
    return max(0.0, -float(distances.min()))


def depth_to_vertex(object: Surface, inside: Float[ndarray, "p 3"]) -> float:
    """The greatest distance from the points `inside` to their nearest vertex, metres; 0 without a point."""
    return float(KDTree(np.asarray(object.vertices)).query(inside)[0].max(initial=0.0))
