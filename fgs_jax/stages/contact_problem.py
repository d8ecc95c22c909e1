"""What contact optimisation is given: a hand, an object, what the picture says; and the context of its terms."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.checks import checked
from fgs_jax.config import ContactConfig
from fgs_jax.energies.contact import FARTHEST_INSIDE, Contacts, Neighbours, distance_to_neighbours, neighbours
from fgs_jax.energies.image import Order
from fgs_jax.energies.terms import Context, PlacedObject, SeenHand
from fgs_jax.hands.kind import HandKind, Uncertainty
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.objects.surfaces import SignedDistance
from fgs_jax.picture.camera import inverse_depths, project
from fgs_jax.types import Camera, Grasp, Hand, pytree


@pytree
class Picture:
    """What a picture says of a hand and an object."""

    camera: Camera
    keypoints: Float[Array, "k 2"]
    """Pixels, in the order of the hand's own: OpenPose's for MANO's kind."""
    confidence: Float[Array, "k"]
    """Zero where a keypoint was not seen."""
    seen: Float[Array, "v"]
    """Of each hand vertex: 1 where the picture shows the hand and nothing of the hand is nearer, -1 where it shows the
    object, 0 where it says nothing."""
    corners: Float[Array, "f 3 3"]
    """Of the object's triangles, simplified; object frame."""


@pytree
class ContactProblem:
    """What the terms need besides the grasp, in arrays of the same shapes for every scene of one kind of hand."""

    hand: HandKind
    object: DistanceGrid | SignedDistance
    """Object frame, before any scale."""
    object_points: Float[Array, "n 3"]
    """Samples of the object's surface, object frame."""
    picture: Picture | None = None
    uncertainty: Uncertainty | None = None
    """Of the hand as it is given; None: that of the configuration."""


class SeenAs(NamedTuple):
    """A hand posed as it was given, and the order in depth that the picture asks of it."""

    posed: Hand
    order: Order | None
    """None without a picture."""


@checked
def placed_object(problem: ContactProblem, grasp: Grasp) -> PlacedObject:
    """The object where a grasp has it."""
    points = grasp.scale * problem.object_points.T
    placed = (jnp.matmul(grasp.rotation, points, precision="highest") + grasp.translation[:, None]).T
    return PlacedObject(problem.object, grasp.rotation, grasp.translation, grasp.scale, placed)


@checked
def object_distance(problem: ContactProblem, grasp: Grasp, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Signed distance from points in the camera's frame to the object where it is."""
    return placed_object(problem, grasp).distance(points)


def posed_hand(problem: ContactProblem, grasp: Grasp) -> Hand:
    """The hand of a grasp, posed, metres, camera frame."""
    return problem.hand.pose(problem.hand.data, grasp.hand)


@checked
def order_of(problem: ContactProblem, grasp: Grasp, posed: Hand) -> Order | None:
    """The order that the picture asks for, with the object where it is and the hand's vertices where they are seen."""
    picture = problem.picture
    if picture is None:
        return None
    corners = grasp.scale * picture.corners.reshape(-1, 3)
    placed = jnp.matmul(corners, grasp.rotation.T, precision="highest") + grasp.translation[None]
    drawn = placed, jnp.arange(len(placed)).reshape(-1, 3), project(picture.camera, posed.vertices)
    near, back = inverse_depths(picture.camera, *drawn)
    front = jnp.where((picture.seen > 0) & (near > 0), 1.0 / jnp.maximum(near, 1e-6), 0.0)
    return Order(front, jnp.where((picture.seen < 0) & (back > 0), 1.0 / jnp.maximum(back, 1e-6), 0.0))


@checked
def seen_as(problem: ContactProblem, grasp: Grasp) -> SeenAs:
    """The hand of a grasp, posed, and its order with the object where it is."""
    posed = posed_hand(problem, grasp)
    return SeenAs(posed, order_of(problem, grasp, posed))


@checked
def hand_neighbours(problem: ContactProblem, grasp: Grasp, vertices: Float[Array, "v 3"]) -> Neighbours:
    """The hand vertex nearest to each sample of the object's surface."""
    return neighbours(placed_object(problem, grasp).points, vertices, problem.hand.faces, problem.hand.rim)


@checked
def context_of(
    problem: ContactProblem,
    grasp: Grasp,
    given: Any,
    contacts: Contacts,
    *,
    seen: SeenAs,
    posed: Hand,
    known: Neighbours | None,
    config: ContactConfig,
) -> Context:
    """What the terms are functions of, for a grasp whose hand is `posed`.

    `given`, `seen`: the hand as it was given, and posed so. `known`: the neighbours of the object's points; without
    them E_pen is as printed, of hand vertices alone. `config`: says whether the hand's flesh gives, and how
    well the given hand is known unless the problem does.
    """
    kind, placed, picture = problem.hand, placed_object(problem, grasp), problem.picture
    size, points_distance = kind.size(kind.data, grasp.hand), None
    margin = kind.margin_of_vertices(size) if config.flesh else None
    points_margin = None if margin is None or known is None else margin[known.vertex]
    if known is not None:
        points_distance = distance_to_neighbours(placed.points, posed.vertices, known, FARTHEST_INSIDE * size)
    return Context(
        kind=kind,
        params=grasp.hand,
        given=given,
        hand=posed,
        given_hand=seen.posed,
        object=placed,
        distance=placed.distance(posed.vertices),
        points_distance=points_distance,
        contacts=contacts,
        picture=None
        if picture is None or seen.order is None
        else SeenHand(
            picture.camera, picture.keypoints, picture.confidence, box_side(picture.camera, seen.posed), seen.order
        ),
        uncertainty=problem.uncertainty or uncertainty_of(config),
        margin=margin,
        points_margin=points_margin,
    )


def uncertainty_of(config: ContactConfig) -> Uncertainty:
    """Of a given hand of which no more is known, by the configuration."""
    return Uncertainty(*map(jnp.asarray, (config.angle_sigma, config.turn_sigma, config.place_sigma)))


def box_side(camera: Camera, posed: Hand) -> Float[Array, ""]:
    """Longer side of the box about a hand's projected keypoints, pixels."""
    pixels = project(camera, posed.keypoints)
    return jnp.max(jnp.max(pixels, axis=0) - jnp.min(pixels, axis=0))


@checked
def resized(problem: ContactProblem, grasp: Grasp, factor: Float[Array, ""], *, unknown_size: bool) -> Grasp:
    """A similarity x -> factor x about the camera's centre of what has the uncertain size: no pixel changes.

    An object of unknown size is scaled; otherwise the hand is.
    """
    if unknown_size:
        return replace(grasp, translation=factor * grasp.translation, scale=factor * grasp.scale)
    return replace(grasp, hand=problem.hand.similarity(problem.hand.data, grasp.hand, factor))


@checked
def resized_as_seen(seen: SeenAs, factor: Float[Array, ""], *, unknown_size: bool) -> SeenAs:
    """What a hand is seen as once what has the uncertain size is `resized`."""
    of_object, of_hand = (factor, 1.0) if unknown_size else (1.0, factor)
    return SeenAs(
        *(jax.tree.map(lambda x, k=k: k * x, part) for k, part in ((of_hand, seen.posed), (of_object, seen.order)))
    )
