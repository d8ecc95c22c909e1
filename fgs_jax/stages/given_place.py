"""Where a hand is that was given near its object with a known uncertainty: moved as a whole, before any joint bends.

Random places of the hand are weighed by how well the whole of it then touches: skin at the surface or away from it, not
within it, pads that face the object. The mean of them is nearer to the truth than the best of them.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from fgs_jax.checks import checked
from fgs_jax.config import ContactConfig
from fgs_jax.energies.contact import vertex_normals
from fgs_jax.hands.kind import Uncertainty
from fgs_jax.rotations import matrix_of
from fgs_jax.stages.contact_problem import ContactProblem, placed_object, posed_hand
from fgs_jax.types import Grasp

LEVELS = (0.02, 0.1, 0.2, 0.35, 0.6, 1.0)
"""Shares of the uncertainty that are thought equally likely: how much of it there is shows in the grasp itself."""
SKIN_NOISE, JOINT_NOISE = 0.002, 0.015
"""Metres. Standard deviation of the distance to the object of skin that touches: of a hand that is right but for its
place, and what is added where its joints are as uncertain as they may be."""
PRESSED = 0.0015
"""Metres that skin which touches is within the object, on average."""
TOUCHING_SHARE, AWAY = 0.6, 0.05
"""Share of the regions that touch; those that do not are anywhere up to so many metres away."""
FACING = 3.0
"""How much the pads that touch face the surface (concentration of von Mises and Fisher's distribution)."""
BLOCK = 8
"""Places that are tried at once."""


class GivenPlace(NamedTuple):
    """A given grasp with the hand moved as a whole, and what is known of it then."""

    grasp: Grasp
    touch: Float[Array, "r"]
    """How likely each region touches."""
    uncertainty: Uncertainty
    """What is left of it."""


@checked
def place_given(
    problem: ContactProblem, grasp: Grasp, key: Key[Array, ""], config: ContactConfig, uncertainty: Uncertainty
) -> GivenPlace:
    """The mean of `config.places` random places of the hand, each weighed by its likelihood. Unbatched.

    The hand turns about its root and moves, both by draws from normal distributions of a share of the `uncertainty`
    (`LEVELS`). A likelihood is of each region's nearest vertex, which touches and faces the surface or is away from it,
    and of the deepest vertex of each finger. What is left of the uncertainty is what the places say of turn and place,
    and of the angles the mean share, all times that share once more: a grasp that needs no move is trusted.
    """
    kind, posed = problem.hand, posed_hand(problem, grasp)
    root, placed = posed.joints[0], placed_object(problem, grasp)
    offsets = posed.vertices - root[None]
    normals = vertex_normals(offsets, kind.faces)
    there = jnp.stack([jnp.any(kind.regions == k) for k in range(kind.region_count)])
    groups = jnp.where(kind.finger_of_vertex < 0, kind.region_count, kind.finger_of_vertex)

    def likelihood(turn: Float[Array, "3"], shift: Float[Array, "3"], share: Float[Array, ""]) -> tuple[Any, Any]:
        rotation = matrix_of(turn)
        vertices = jnp.matmul(offsets, rotation.T, precision="highest") + (root + shift)[None]
        distance = placed.distance(vertices)
        nearest = jnp.stack(
            [jnp.argmin(jnp.where(kind.regions == k, distance, jnp.inf)) for k in range(kind.region_count)]
        )
        deepest = jax.ops.segment_min(distance, groups, kind.region_count + 1)
        away, outward = placed.distance_and_normal(vertices[nearest])
        facing = -jnp.sum(outward * jnp.matmul(normals[nearest], rotation.T, precision="highest"), axis=1)
        noise = jnp.sqrt(SKIN_NOISE**2 + (JOINT_NOISE * share) ** 2)
        at_surface = jnp.exp(-(((away + PRESSED) / noise) ** 2) / 2.0) / (noise * jnp.sqrt(2.0 * jnp.pi))
        touches = TOUCHING_SHARE * at_surface * FACING * jnp.exp(FACING * facing) / jnp.sinh(FACING)
        within = jnp.exp(-((jax.nn.relu(-away) / noise) ** 2) / 2.0)
        free = (1.0 - TOUCHING_SHARE) / AWAY * within
        either = touches + free + 1e-30
        pierced = jnp.sum(jnp.where(jnp.isfinite(deepest), jax.nn.relu(-deepest - PRESSED) / noise, 0.0) ** 2) / 2.0
        return jnp.sum(jnp.where(there, jnp.log(either), 0.0)) - pierced, jnp.where(there, touches / either, 0.0)

    def block(so_far: Any, index: Any) -> tuple[Any, None]:
        most, total, sums = so_far
        share = jnp.asarray(LEVELS)[(index * BLOCK + jnp.arange(BLOCK)) % len(LEVELS)]
        turn_key, shift_key = jax.random.split(jax.random.fold_in(key, index))
        turn = share[:, None] * uncertainty.turn * jax.random.normal(turn_key, (BLOCK, 3))
        shift = share[:, None] * uncertainty.place * jax.random.normal(shift_key, (BLOCK, 3))
        logs, touch = jax.vmap(likelihood)(turn, shift, share)
        # A running mean under weights that are relative to the greatest so far.
        greatest = jnp.maximum(most, jnp.max(jnp.where(jnp.isfinite(logs), logs, -jnp.inf)))
        kept = jnp.where(jnp.isfinite(most), jnp.exp(most - greatest), 0.0)
        weight = jnp.where(jnp.isfinite(logs), jnp.exp(logs - greatest), 0.0)
        values = (turn, shift, share[:, None], touch, turn**2, shift**2)
        added = [kept * old + jnp.sum(weight[:, None] * new, axis=0) for old, new in zip(sums, values, strict=True)]
        return (greatest, kept * total + jnp.sum(weight), added), None

    zeros = [jnp.zeros(3), jnp.zeros(3), jnp.zeros(1), jnp.zeros(kind.region_count), jnp.zeros(3), jnp.zeros(3)]
    start = (jnp.asarray(-jnp.inf), jnp.zeros(()), zeros)
    (_, total, sums), _ = jax.lax.scan(block, start, jnp.arange(-(-config.places // BLOCK)))
    turn, shift, share, touch, turn_squared, shift_squared = (x / jnp.maximum(total, 1e-30) for x in sums)
    share = jnp.maximum(share, LEVELS[0])
    spreads = share[0] * uncertainty.angles, _spread(turn_squared, turn), _spread(shift_squared, shift)
    left = jax.tree.map(lambda x: share[0] * x, Uncertainty(*spreads))
    return GivenPlace(replace(grasp, hand=kind.moved(kind.data, grasp.hand, turn, shift)), touch, left)


def _spread(squared: Float[Array, "3"], mean: Float[Array, "3"]) -> Float[Array, ""]:
    """Standard deviation along an axis, of the mean of squares and the mean; not quite 0."""
    return jnp.sqrt(jnp.maximum(jnp.mean(squared - mean**2), 1e-8))
