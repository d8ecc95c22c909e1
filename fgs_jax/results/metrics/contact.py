"""How much of a hand and an object touch, and which fingers do."""

import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

from fgs_jax.errors import MeshError
from fgs_jax.hands.anatomy import FINGER_OF_JOINT, FINGERS
from fgs_jax.hands.files import load_hand_model, locate_hand_file, read_hand_file
from fgs_jax.objects.checks import no_type_check
from fgs_jax.results.metrics.surface import (
    Surface,
    check_surface,
    check_surfaces,
    sample_surface,
    signed_distances,
    solid_of,
)
from fgs_jax.types import HandModel

CONTACT = 0.01
"""Metres from the other surface within which the paper counts a vertex as in contact."""
FINGER_CONTACT = 0.003
"""Metres from the object within which a finger touches it."""


@no_type_check
def contact_ratio(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """Share of the object's area that is less than `within` metres from the hand, or inside it."""
    check_surfaces(hand, object)
    return float((signed_distances(hand, sample_surface(object)) < within).mean())


@no_type_check
def contact_ratio_of_vertices(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """CR as the paper defines it (supplement C): `contact_ratio` over object vertices in place of area.

    Vertices crowd where a mesh is fine, so this depends on how the object is cut into triangles.
    """
    check_surfaces(hand, object)
    return float((signed_distances(hand, solid_of(object)[0]) < within).mean())


@no_type_check
def contact_ratio_hand_over_object(hand: Surface, object: Surface, within: float = CONTACT) -> float:
    """The other reading of the paper: hand vertices in contact over all object vertices; it may exceed 1."""
    check_surfaces(hand, object)
    object = Surface(*solid_of(object))
    return float((signed_distances(object, hand.vertices) < within).sum() / len(object.vertices))


@no_type_check
def fingers_of_vertices(weights: Float[Array | ndarray, "v 16"]) -> Int[ndarray, "v"]:
    """The finger that moves each vertex most, as an index into `FINGERS`; -1 for the palm and the wrist.

    `weights`: `HandModel.weights`. A finger is all of its three joints, the ball of the thumb included.
    """
    if np.ndim(weights) != 2 or np.shape(weights)[1] != 16:
        raise MeshError(f"weights: expected an array of shape (v, 16), came {np.shape(weights)}; use HandModel.weights")
    return FINGER_OF_JOINT[np.argmax(np.asarray(weights), axis=1)]


@no_type_check
def model_of_hand_mesh(hand: Surface) -> HandModel | None:
    """The open hand model that a mesh was made with; None for any other mesh.

    Known by its faces: some file formats keep the number of vertices and not their order.
    """
    check_surface(hand, "hand")
    for name in ("open_hand", "open_hand_full"):
        arrays = read_hand_file(locate_hand_file(name)[1])
        if len(hand.vertices) == len(arrays["v_template"]):
            model, mesh = ({tuple(face) for face in np.sort(faces, axis=1)} for faces in (arrays["f"], hand.faces))
            if model <= mesh:
                return load_hand_model(name)
    return None


@no_type_check
def fingers_in_contact(
    distances: Float[ndarray, "v"], fingers: Int[ndarray, "v"], within: float = FINGER_CONTACT
) -> Bool[ndarray, "n"]:
    """Which fingers have a vertex less than `within` from the object, or inside it: of `FINGERS`, and any more.

    `distances`: `signed_distances` of the hand's vertices to the object. `fingers`: `fingers_of_vertices`, or the
    `finger_of_vertex` of a hand of another kind.
    """
    if np.ndim(distances) != 1 or np.shape(distances) != np.shape(fingers):
        raise MeshError(
            f"distances and fingers: expected one of each per vertex, came {np.shape(distances)} and "
            f"{np.shape(fingers)}; take both of one hand"
        )
    distances, fingers = np.asarray(distances), np.asarray(fingers)
    count = max(len(FINGERS), int(fingers.max(initial=-1)) + 1)
    return np.array([(distances[fingers == finger] < within).any() for finger in range(count)])
