"""Step one of contact optimisation (App. B): hand and object brought to the same depth."""

import math
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from fgs_jax.checks import checked
from fgs_jax.config import MOST_SCAN, ContactConfig
from fgs_jax.energies.contact import (
    VERTICES,
    Contacts,
    E_dis,
    E_pen,
    flesh_depth,
    nearest_contacts,
    random_contacts,
)
from fgs_jax.energies.image import E_order
from fgs_jax.energies.terms import term_values, weighted_sum
from fgs_jax.solve.minimise import minimise
from fgs_jax.stages.contact_problem import (
    ContactProblem,
    SeenAs,
    context_of,
    object_distance,
    order_of,
    posed_hand,
    resized,
    resized_as_seen,
    seen_as,
)
from fgs_jax.types import Grasp


class Approach(NamedTuple):
    """What step one found: two valleys of depth, the better one first."""

    grasp: Grasp
    """Fields with a leading axis of two."""
    energy: Float[Array, "2"]
    distinct: Bool[Array, ""]
    """Whether there are two; otherwise the second is the first again."""
    factor: Float[Array, "2"]
    """By which the hand, or an object of unknown size, was resized."""
    seen: SeenAs
    """Of each grasp."""
    contacts: Contacts | None
    """Of each, where points were drawn: step two pulls the same ones."""


def scanned(index: Int[Array, "*k"], count: int | Int[Array, ""]) -> Float[Array, "*k"]:
    """Number `index` of `count` numbers from -3 to 3, evenly spaced, or one more where they are even.

    The middle one is 0.
    """
    half = count // 2
    return 3.0 * (index - half) / jnp.maximum(half, 1)


def at_the_end(factor: float, config: ContactConfig, sigma: float) -> bool:
    """Whether a factor is the least or the greatest of those that step one scans, where there are others."""
    half = config.scan // 2
    return config.step_one == "scan" and half > 0 and abs(math.log(factor)) > 3.0 * sigma * (half - 0.5) / half > 0


@checked
def approach(
    problem: ContactProblem, grasp: Grasp, key: Key[Array, ""], config: ContactConfig, *, unknown_size: bool
) -> Approach:
    """Step one: hand and object brought to the same depth. Unbatched.

    The energy over depth has two valleys, the object before the fingers and behind them, so it is scanned, with no
    change in the middle; of equal energies the least change wins. In the paper's form the object's depth takes noise
    and then `steps_one` Adam steps, from where both valleys are the same.
    """
    if config.step_one == "adam":
        return _descent(problem, grasp, key, config)
    sigma = jnp.asarray(config.object_sigma if unknown_size else config.hand_sigma)
    spread = jnp.where(sigma > 0, sigma, 1.0)  # where no size is to be tried but the one that is
    seen, middle = seen_as(problem, grasp), config.scan // 2
    count = 2 * middle + 1

    def energy(log: Float[Array, ""]) -> Float[Array, ""]:
        similar = _similar_energy(problem, grasp, seen, jnp.exp(log), config, unknown_size=unknown_size)
        return similar + config.w_size * (log / spread) ** 2

    def add(index: Int[Array, ""], energies: Float[Array, "s"]) -> Float[Array, "s"]:
        value = energy(sigma * scanned(index, count))
        return energies.at[index].set(jnp.where(jnp.isfinite(value), value, jnp.inf))

    # Room for any number of sizes, so that another number compiles nothing.
    index = jnp.arange(MOST_SCAN)
    energies = jax.lax.fori_loop(0, count, add, jnp.full(MOST_SCAN, jnp.inf))
    higher = jnp.concatenate([jnp.array([jnp.inf]), energies, jnp.array([jnp.inf])])
    valley = (energies <= higher[:-2]) & (energies <= higher[2:])
    change = jnp.abs(index - middle)
    first = jnp.argmin(jnp.where((energies == jnp.min(energies)) & (index < count), change, MOST_SCAN))
    # A step of the scan is a few millimetres: neighbouring samples of a rough floor are one valley.
    apart = jnp.abs(index - first) > jnp.maximum(1, count // 24)
    others = jnp.where(valley & apart, energies, jnp.inf)
    second = jnp.argmin(others)
    distinct = jnp.isfinite(others[second])
    chosen = jnp.stack([first, jnp.where(distinct, second, first)])
    factors = jnp.exp(sigma * scanned(chosen, count))
    grasps = jax.vmap(lambda k: resized(problem, grasp, k, unknown_size=unknown_size))(factors)
    each = jax.vmap(lambda k: resized_as_seen(seen, k, unknown_size=unknown_size))(factors)
    return Approach(grasps, energies[chosen], distinct, factors, each, None)


def _similar_energy(
    problem: ContactProblem,
    grasp: Grasp,
    seen: SeenAs,
    factor: Float[Array, ""],
    config: ContactConfig,
    *,
    unknown_size: bool,
) -> Float[Array, ""]:
    """The energy of a grasp whose hand, or object, is resized; but for what the change of size costs."""
    kind = problem.hand
    similar = resized_as_seen(seen, factor, unknown_size=unknown_size)
    vertices = similar.posed.vertices
    distance = (
        # The hand against an object of factor k is, k times larger, the hand of factor 1 / k against the object.
        factor * object_distance(problem, grasp, vertices / factor)
        if unknown_size
        else object_distance(problem, grasp, vertices)
    )
    contacts = nearest_contacts(distance, kind.regions, config.per_region, jnp.inf, kind.region_count)
    size = kind.size(kind.data, grasp.hand) * (1.0 if unknown_size else factor)
    margin = kind.margin_of_vertices(size) if config.flesh else None
    energy = config.w_dis_one * E_dis(vertices[contacts.vertex], distance[contacts.vertex], contacts.weight)
    energy += config.w_pen_one * E_pen(vertices, flesh_depth(distance, margin), VERTICES)
    if similar.order is not None:
        energy += config.w_order_one * E_order(vertices[:, 2], similar.order, VERTICES)
    if config.weights_one:
        at_size = resized(problem, grasp, factor, unknown_size=unknown_size)
        context = context_of(
            problem, at_size, at_size.hand, contacts, seen=similar, posed=similar.posed, known=None, config=config
        )
        own = {name: config.terms[name] for name in config.weights_one}
        energy += weighted_sum(term_values(context, own, {}), config.weights_one)
    return energy


def _descent(problem: ContactProblem, grasp: Grasp, key: Key[Array, ""], config: ContactConfig) -> Approach:
    """As the paper has it: of the object's depth alone, from a noisy start."""
    posed = posed_hand(problem, grasp)
    noise_key, contact_key = jax.random.split(key)
    noise = config.depth_noise * jax.random.normal(noise_key)
    distance = object_distance(problem, grasp, posed.vertices)
    contacts = random_contacts(contact_key, distance, problem.hand.regions, config.random_contacts)

    def shifted(depth: Float[Array, ""]) -> Grasp:
        return replace(grasp, translation=grasp.translation.at[2].add(depth))

    def energy(depth: Float[Array, ""]) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        distance = object_distance(problem, shifted(depth), posed.vertices)
        touching = posed.vertices[contacts.vertex]
        dis = E_dis(touching, distance[contacts.vertex], contacts.weight)
        return config.w_dis_one * dis + config.w_pen_one * E_pen(posed.vertices, distance, VERTICES), {}

    solution = minimise(energy, optax.adam(config.rate_one), noise, config.steps_one)
    shift = shifted(solution.value)
    once = shift, solution.energy, contacts, SeenAs(posed, order_of(problem, shift, posed))
    both, energies, contacts, seen = jax.tree.map(lambda x: jnp.stack([x, x]), once)
    return Approach(both, energies, jnp.asarray(False), jnp.ones(2), seen, contacts)
