"""Problems of contact: made-up grasps, perturbed, and when one that was found is good."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from benchmarks.optimizers.problem import STARTS, Problem, Verdict
from benchmarks.solvers import UNIT, Objective
from fgs_jax.config import FAST
from fgs_jax.energies.contact import Contacts, nearest_contacts
from fgs_jax.energies.terms import term_values, weighted_sum
from fgs_jax.hands.kind import HandState, retract_params
from fgs_jax.hands.mano import hand, mano_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.results import metrics
from fgs_jax.stages.contact_problem import (
    ContactProblem,
    SeenAs,
    context_of,
    hand_neighbours,
    object_distance,
    posed_hand,
)
from fgs_jax.testing.grasps import open_hand, random_grasp
from fgs_jax.testing.shapes import SHAPES
from fgs_jax.types import Grasp, HandParams

OBJECT_POINTS = 512
"""Of the object that may be in the hand."""
PERTURBED = (0.15, 0.01, 0.15)
"""Standard deviations of a grasp's turn, radians; place, metres; and joint angles, radians."""


class ContactShared(NamedTuple):
    problem: ContactProblem
    weights: dict[str, float]


class ContactStart(NamedTuple):
    grasp: Grasp
    contacts: Contacts


def _grasp_at(start: ContactStart, x: Array) -> Grasp:
    given = start.grasp.hand
    state = HandState(given.pose + x[:45].reshape(15, 3), x[45:48], given.translation + UNIT * x[48:])
    return replace(start.grasp, hand=retract_params(None, given, state))


def contact_energy(shared: ContactShared, start: ContactStart, x: Float[Array, "51"]) -> Float[Array, ""]:
    """Eq. 12 without a picture; the neighbours of the object's points are found at every evaluation."""
    placed, problem = _grasp_at(start, x), shared.problem
    posed = posed_hand(problem, placed)
    known = hand_neighbours(problem, placed, posed.vertices)
    context = context_of(
        problem,
        placed,
        start.grasp.hand,
        start.contacts,
        seen=SeenAs(posed, None),
        posed=posed,
        known=known,
        config=FAST.contact,
    )
    terms = term_values(context, {})
    return weighted_sum({name: terms[name] for name in shared.weights}, shared.weights)


CONTACT = Objective(contact_energy, 51, (48, 49, 50))
WEIGHTS = {name: float(w) for name, w in FAST.contact.term_weights.items() if name not in ("keypoint", "order")}


@partial(jax.jit, static_argnames="reach")
def _contacts_of(problem: ContactProblem, grasps: Grasp, reach: float) -> Contacts:
    def one(placed: Grasp) -> Contacts:
        distance = object_distance(problem, placed, posed_hand(problem, placed).vertices)
        return nearest_contacts(distance, problem.hand.regions, FAST.contact.per_region, reach)

    return jax.vmap(one)(grasps)


_posed = jax.jit(jax.vmap(hand, (None, 0)))


def contact_problem_of(shape: str, seed: int) -> Problem:
    """A made-up grasp of a shape, perturbed; the object stays where it is."""
    vertices, faces = SHAPES[shape]()
    model, mesh = open_hand(), load_object((vertices, faces), size="metric", name=shape)
    base = jax.tree.map(np.asarray, random_grasp(vertices, faces, np.random.default_rng([seed, 11])))
    angles = Rotation.from_matrix(base.pose).as_rotvec()
    points = sample_points(mesh, OBJECT_POINTS, jax.random.key(0))
    problem = ContactProblem(mano_kind(model), distance_grid(mesh, FAST.grid), points)
    shared = ContactShared(problem, {name: jnp.float32(w) for name, w in WEIGHTS.items()})  # pyright: ignore
    surface, fingers = metrics.Surface(mesh.vertices, mesh.faces), metrics.fingers_of_vertices(model.weights)

    def starts(seed: int) -> ContactStart:
        count, rng = STARTS["contact"], np.random.default_rng([seed, 12])
        turn, place, bend = (
            sigma * rng.normal(size=(count, k)) for sigma, k in zip(PERTURBED, (3, 3, 45), strict=True)
        )
        hands = HandParams(
            betas=jnp.asarray(np.tile(base.betas, (count, 1)), jnp.float32),
            pose=jnp.asarray(angles + bend.reshape(count, 15, 3), jnp.float32),
            rotation=jnp.asarray(base.rotation @ Rotation.from_rotvec(turn).as_matrix(), jnp.float32),
            translation=jnp.asarray(base.translation + place, jnp.float32),
            scale=jnp.ones(count),
        )
        grasps = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count))
        return ContactStart(grasps, jax.tree.map(np.asarray, _contacts_of(problem, grasps, FAST.contact.reach)))

    def judge(starts: ContactStart, x: Float[ndarray, "n 51"], energy: Float[ndarray, "n"]) -> Verdict:
        placed = jax.vmap(_grasp_at)(starts, jnp.asarray(x, jnp.float32))
        hands = np.asarray(_posed(model, placed.hand).vertices, float)
        found = [good_grasp(metrics.Surface(v, np.asarray(model.closed_faces)), surface, fingers) for v in hands]
        return Verdict(float(np.mean([good for good, _ in found])), float(np.median([depth for _, depth in found])))

    return Problem(f"{shape} {seed}", "contact", CONTACT, shared, starts, False, judge)


def good_grasp(hand: metrics.Surface, object: metrics.Surface, fingers: Any) -> tuple[bool, float]:
    """MPD below 3 mm, SIV below 1 cm3 and at least three fingers in contact; and the MPD in mm."""
    distance = metrics.signed_distances(object, hand.vertices)
    depth = 1e3 * max(0.0, -float(distance.min()))
    touching = metrics.fingers_in_contact(distance, fingers).sum()
    volume = metrics.solid_intersection_volume(hand, object).volume
    return bool(depth < 3 and touching >= 3 and (volume is not None and volume < 1e-6)), depth
