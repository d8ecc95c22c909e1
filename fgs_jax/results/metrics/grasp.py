"""All measures of a grasp in one table."""

import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray

from fgs_jax.objects.checks import no_type_check
from fgs_jax.results.metrics.contact import CONTACT, fingers_in_contact
from fgs_jax.results.metrics.penetration import depth_of, depth_to_vertex
from fgs_jax.results.metrics.surface import (
    Surface,
    check_surfaces,
    check_winding,
    sample_surface,
    signed_distances,
    solid_of,
)
from fgs_jax.results.metrics.volume import (
    VOXEL,
    solid_intersection_volume,
    surface_voxel_intersection_volume,
    voxel_intersection_volume,
)

GRASP_METRICS = {
    "mpd_mm": "maximal penetration depth: deepest hand vertex inside the object (the paper, GraspTTA)",
    "mpd_beyond_margin_mm": "the same beyond what the skin's flesh gives: 2.5 mm at the pads, 2 mm in the palm",
    "mpd_to_vertex_mm": "the same, to the object's nearest vertex (CPF, OakInk)",
    "object_depth_mm": "deepest point of the object's surface inside the hand",
    "siv_cm3": "solid intersection volume, exact; what the hand overlaps itself in counts once",
    "siv_voxels_cm3": "the same, by solid voxels (CPF, OakInk)",
    "siv_surface_voxels_cm3": "voxels of 5 mm on the object's surface that are inside the hand (GraspTTA)",
    "contact_ratio": "share of the object's area within 10 mm of the hand",
    "contact_ratio_paper": "share of the object's vertices within 10 mm of the hand (the paper)",
    "contact_ratio_hand_over_object": "hand vertices within 10 mm of the object / all object vertices",
    "contact_5mm": "1 where a hand vertex is inside the object or within 5 mm of it, else 0 (GraspTTA)",
    "distance_mm": "least signed distance of a hand vertex to the object",
    "fingers_in_contact": "fingers less than 3 mm from the object",
}
"""What `grasp_metrics` returns, in this order."""


@no_type_check
def grasp_metrics(
    hand: Surface,
    object: Surface,
    fingers: Int[ndarray, "v"] | None = None,
    pitch: float = VOXEL,
    *,
    margin: Float[Array | ndarray, "v"] | None = None,
) -> dict[str, float | None]:
    """All of `GRASP_METRICS`, in the units of their names; shares are from 0 to 1.

    `fingers`: of each hand vertex, see `fingers_of_vertices`; `margin`: how far the flesh gives there, metres, as
    `HandKind.margin_of_vertices` has it. `fingers_in_contact` and `mpd_beyond_margin_mm` are None without, and
    `siv_cm3` is None where `solid_intersection_volume` gives a reason.

    Raises MeshError for a mesh without a face, with a vertex that is not finite, or closed and wound inside out.
    """
    check_surfaces(hand, object)
    for name, surface in (("hand", hand), ("object", object)):
        check_winding(surface, name)
    object = Surface(*solid_of(object))
    of_hand = signed_distances(object, hand.vertices)
    of_surface = signed_distances(hand, sample_surface(object))
    of_vertices = signed_distances(hand, object.vertices)
    volume = solid_intersection_volume(hand, object).volume
    touching = None if fingers is None else fingers_in_contact(of_hand, fingers)
    return {
        "mpd_mm": 1e3 * depth_of(of_hand),
        "mpd_beyond_margin_mm": None if margin is None else 1e3 * depth_of(of_hand + np.asarray(margin)),
        "mpd_to_vertex_mm": 1e3 * depth_to_vertex(object, np.asarray(hand.vertices)[of_hand < 0]),
        "object_depth_mm": 1e3 * depth_of(of_surface),
        "siv_cm3": None if volume is None else 1e6 * volume,
        "siv_voxels_cm3": 1e6 * voxel_intersection_volume(hand, object, pitch),
        "siv_surface_voxels_cm3": 1e6 * surface_voxel_intersection_volume(hand, object),
        "contact_ratio": float((of_surface < CONTACT).mean()),
        "contact_ratio_paper": float((of_vertices < CONTACT).mean()),
        "contact_ratio_hand_over_object": float((of_hand < CONTACT).sum() / len(of_vertices)),
        "contact_5mm": float(of_hand.min() < 0.005),
        "distance_mm": 1e3 * float(of_hand.min()),
        "fingers_in_contact": None if touching is None else float(touching.sum()),
    }
