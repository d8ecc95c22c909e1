"""The terms of Eq. 12 by their names, what they are functions of, and their weighted sum.

A term is a function of a `Context` to a scalar, unweighted. The stages minimise the weighted sum of those here and of
those that a configuration brings (`ContactConfig.terms`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.checks import checked
from fgs_jax.energies.contact import (
    FARTHEST_INSIDE,
    POINTS,
    VERTICES,
    Contacts,
    E_dis,
    E_pen,
    distance_to_neighbours,
    flesh_depth,
    neighbours,
    weight_of_vertices,
)
from fgs_jax.energies.image import E_keypoint, E_order, Order
from fgs_jax.energies.pose import LEAST_KEYPOINT_DISTANCE, E_h, E_prior, E_spen
from fgs_jax.errors import ArgumentError, ConfigError
from fgs_jax.extensions import Term
from fgs_jax.hands.kind import HandKind, Uncertainty
from fgs_jax.objects.distance import DistanceGrid, signed_distance_at
from fgs_jax.objects.surfaces import SignedDistance
from fgs_jax.picture.camera import project
from fgs_jax.types import Camera, Hand, pytree

Weights = Mapping[str, float | Float[Array, ""]]
"""Of the terms, by their names."""


@pytree
class PlacedObject:
    """The object where it is: p_camera = rotation (scale p_object) + translation."""

    surface: DistanceGrid | SignedDistance
    """Signed distances in the object's own frame, before any scale."""
    rotation: Float[Array, "3 3"]
    translation: Float[Array, "3"]
    """Metres."""
    scale: Float[Array, ""]
    points: Float[Array, "n 3"]
    """Samples of its surface, metres, camera frame."""

    def distance(self, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
        """Signed distance of points in the camera's frame to the object, metres, positive outside."""
        offset = points.T - self.translation[:, None]
        local = jnp.matmul(self.rotation.T, offset, precision="highest") / self.scale
        surface = self.surface
        is_grid = isinstance(surface, DistanceGrid)
        return self.scale * (signed_distance_at(surface, local) if is_grid else surface.distance_at(local))

    def distance_and_normal(self, points: Float[Array, "p 3"]) -> tuple[Float[Array, "p"], Float[Array, "p 3"]]:
        """`distance` of few points, and the direction in which each grows, of length one."""
        away, outward = jax.vmap(jax.value_and_grad(lambda point: self.distance(point[None])[0]))(points)
        return away, outward / jnp.maximum(jnp.linalg.norm(outward, axis=1, keepdims=True), 1e-9)


@pytree
class SeenHand:
    """What the picture says about the hand."""

    camera: Camera
    keypoints: Float[Array, "k 2"]
    """Where they are seen, pixels, in the order of the hand's own."""
    confidence: Float[Array, "k"]
    """Zero where a keypoint was not seen."""
    size: Float[Array, ""]
    """Longer side of the box of all keypoints of the hand as it was given, pixels."""
    order: Order


@pytree
class Context:
    """What a term is a function of: a hand and an object at one moment, unbatched. Metres, radians, camera's frame."""

    kind: HandKind
    params: Any
    """The hand's parameters now: `HandParams` for MANO's kind, the rotation as a matrix."""
    given: Any
    """And as they were given to step two."""
    hand: Hand
    """Posed: vertices (v, 3), joints (j, 3), keypoints (k, 3)."""
    given_hand: Hand
    """As it was given."""
    object: PlacedObject
    distance: Float[Array, "v"]
    """Signed distance of each hand vertex to the object."""
    points_distance: Float[Array, "n"] | None
    """Signed distance of each of `object.points` to the hand, right close to it; None where it is not asked for."""
    contacts: Contacts
    """The hand vertices that shall touch."""
    picture: SeenHand | None
    """None without one."""
    uncertainty: Uncertainty
    """Of the hand as it was given; 1 radian and 1 metre where E_h is as printed."""
    margin: Float[Array, "v"] | None = None
    """How far the flesh gives at each vertex, metres; None: nowhere."""
    points_margin: Float[Array, "n"] | None = None
    """And where each of `object.points` is nearest to the hand."""

    def distance_to_hand(self, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
        """Signed distance of any points to the hand, right close to it.

        Looks for the nearest vertex of each, which `points_distance` does only every few steps.
        """
        known = neighbours(points, self.hand.vertices, self.kind.faces, self.kind.rim)
        farthest = FARTHEST_INSIDE * self.kind.size(self.kind.data, self.params)
        return distance_to_neighbours(points, self.hand.vertices, known, farthest)


def dis(context: Context) -> Float[Array, ""]:
    """E_dis of the contact points, metres."""
    vertices = context.hand.vertices
    # By the distances of all vertices, which pen needs too.
    return E_dis(vertices, context.distance, weight_of_vertices(context.contacts, len(vertices)))


def pen(context: Context) -> Float[Array, ""]:
    """E_pen of hand vertices in the object and, where asked for, of object points in the hand, metres."""
    inside_object = E_pen(context.hand.vertices, flesh_depth(context.distance, context.margin), VERTICES)
    if context.points_distance is None:
        return inside_object
    inside_hand = flesh_depth(context.points_distance, context.points_margin)
    return inside_object + E_pen(context.object.points, inside_hand, POINTS)


def prior(context: Context) -> Float[Array, ""]:
    """E_prior, radians over radians."""
    return E_prior(*context.kind.prior(context.kind.data, context.params))


def spen(context: Context) -> Float[Array, ""]:
    """E_spen, metres."""
    kind = context.kind
    least = LEAST_KEYPOINT_DISTANCE * kind.size(kind.data, context.params)
    return E_spen(context.hand.keypoints, kind.finger_of_keypoint, least)


def theta(context: Context) -> Float[Array, ""]:
    """E_h's part for the angles, the whole hand's rotation among them, each over its uncertainty, squared."""
    return _change(context)[0]


def t(context: Context) -> Float[Array, ""]:
    """E_h's part for the place, over its uncertainty, squared."""
    return _change(context)[1]


def _change(context: Context) -> tuple[Float[Array, ""], Float[Array, ""]]:
    change, sigma = context.kind.change(context.kind.data, context.params, context.given), context.uncertainty
    angles = jnp.append((change.angles / sigma.angles).ravel(), change.turn / sigma.turn)
    return E_h(angles, jnp.zeros_like(angles), change.place / sigma.place, jnp.zeros(3))


def keypoint(context: Context) -> Float[Array, ""]:
    """E_keypoint, a share squared; zero without a picture."""
    picture = context.picture
    if picture is None:
        return jnp.zeros(())
    pixels = project(picture.camera, context.hand.keypoints)
    return E_keypoint(pixels, picture.keypoints, picture.confidence, picture.size)


def order(context: Context) -> Float[Array, ""]:
    """E_order, metres; zero without a picture."""
    picture = context.picture
    return jnp.zeros(()) if picture is None else E_order(context.hand.vertices[:, 2], picture.order, VERTICES)


CONTACT_TERMS: dict[str, Callable[[Context], Float[Array, ""]]] = {
    function.__name__: function for function in (dis, pen, prior, spen, theta, t, keypoint, order)
}
"""The terms of step two, in the order of arrays of them; terms of one's own follow."""


def term_values(
    context: Any, own: Mapping[str, Term], builtin: Mapping[str, Callable[[Any], Any]] = CONTACT_TERMS
) -> dict[str, Float[Array, ""]]:
    """Every term of a context, unweighted. Raises ArgumentError for a term that is no scalar."""
    values = {name: function(context) for name, function in builtin.items()}
    for name, term in own.items():
        value = term.function(context) if term.data is None else term.function(context, term.data)
        if jnp.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            came = f"{jnp.result_type(value)} of shape {jnp.shape(value)}"
            raise ArgumentError(f"term {name}: expected one floating-point number, got {came}: sum it")
        values[name] = jnp.asarray(value)
    return values


@checked
def weighted_sum(terms: Mapping[str, Float[Array, ""]], weights: Weights) -> Float[Array, ""]:
    """The energy: the sum of the terms, each times the weight of its name; a weight of 0 leaves a term out.

    Raises ConfigError for a weight of a term that there is not, and for a term without a weight.
    """
    unknown, missing = sorted(set(weights) - set(terms)), sorted(set(terms) - set(weights))
    if unknown or missing:
        advice = [f"rename or remove {', '.join(unknown)}"] if unknown else []
        advice += [f"add {', '.join(missing)}, 0 to leave a term out"] if missing else []
        raise ConfigError(
            f"weights: expected names among {', '.join(sorted(terms))}, and all of them, got "
            f"{', '.join(sorted(weights)) or 'none'}: {'; '.join(advice)}"
        )
    return sum((weights[name] * terms[name] for name in terms), jnp.zeros(()))
