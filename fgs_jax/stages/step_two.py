"""Step two of contact optimisation (Eq. 12, App. B): fingers close on the object without entering it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from fgs_jax.checks import checked
from fgs_jax.config import ContactConfig
from fgs_jax.energies.contact import Contacts, Neighbours, nearest_contacts, random_contacts
from fgs_jax.energies.terms import term_values, weighted_sum
from fgs_jax.solve.minimise import Search, Solution, advance, begin, nan_where_lost
from fgs_jax.solve.solvers import solver_of
from fgs_jax.stages.contact_problem import (
    ContactProblem,
    SeenAs,
    context_of,
    hand_neighbours,
    object_distance,
    seen_as,
)
from fgs_jax.types import Grasp


class Evaluated(NamedTuple):
    """What an evaluation of step two's energy leaves behind."""

    terms: Float[Array, "n"]
    """In the order of `ContactConfig.term_weights`: as one array, so that what keeps and records them is compiled
    once, not once for each."""
    vertices: Float[Array, "v 3"]
    """Of the hand."""


class GraspSearch(NamedTuple):
    """Step two under way: what `grasp_round` carries on."""

    start: Grasp
    """Its hand is also the one that E_h holds on to."""
    contacts: Contacts
    seen: SeenAs
    """The hand as it was given."""
    search: Search
    """Its iterates come with what they `Evaluated` to; before the first that is the hand as it was given."""


@checked
def begin_grasp(
    problem: ContactProblem,
    grasp: Grasp,
    key: Key[Array, ""],
    config: ContactConfig,
    *,
    closed: float | Float[Array, ""] = 1.0,
    seen: SeenAs | None = None,
    drawn: Contacts | None = None,
    touch: Float[Array, "r"] | None = None,
) -> GraspSearch:
    """Step two before its first step: the contact points are chosen, the fingers opened as configured. Unbatched.

    `closed`: factor on the joint angles to start from, besides the configuration's. `seen`: the hand as it is given,
    posed; computed unless given. `drawn`: the random contact points of step one, drawn here unless given.
    `touch`: how likely each region touches, which its contact points weigh; 1 unless given.
    """
    kind = problem.hand
    seen = seen_as(problem, grasp) if seen is None else seen
    grasp = replace(grasp, hand=kind.inner(kind.data, grasp.hand))
    distance = object_distance(problem, grasp, seen.posed.vertices)
    if config.contacts == "random":
        contacts = drawn or random_contacts(key, distance, kind.regions, config.random_contacts)
    else:
        contacts = nearest_contacts(distance, kind.regions, config.per_region, config.reach, kind.region_count)
        if touch is not None:
            contacts = contacts._replace(weight=contacts.weight * jnp.repeat(touch, config.per_region))
    state = kind.start(kind.data, grasp.hand, config.pose_start * closed)

    def energy(state: Any) -> tuple[Float[Array, ""], Evaluated]:
        known = _neighbours(problem, grasp, seen.posed.vertices, config)
        return _energy(problem, grasp, contacts, seen, config=config, known=known)(state)

    search = begin(energy, _solver(problem, config), state)
    last = search.last._replace(vertices=seen.posed.vertices)
    return GraspSearch(grasp, contacts, seen, search._replace(last=last))


@checked
def grasp_round(
    problem: ContactProblem, searching: GraspSearch, config: ContactConfig, rounds: int
) -> tuple[GraspSearch, Float[Array, "steps"], Float[Array, "{rounds} n"]]:
    """`rounds` times `refresh` steps of step two; the energy at each step and the terms at each round's start.

    The neighbours of the object's points are found once a round, on the hand of the step before.
    """

    start, contacts, seen, _ = searching

    def one(search: Search, _: None) -> tuple[Search, tuple]:
        known = _neighbours(problem, start, search.last.vertices, config)
        energy = _energy(problem, start, contacts, seen, config=config, known=known)
        search, (history, terms) = advance(energy, _solver(problem, config), search, config.refresh, lambda x: x.terms)
        return search, (history, terms[0])

    search, (history, terms) = jax.lax.scan(one, searching.search, length=rounds)
    return searching._replace(search=search), history.ravel(), terms


@checked
def grasp(problem: ContactProblem, start: Grasp, key: Key[Array, ""], config: ContactConfig) -> tuple[Grasp, Solution]:
    """Step two: fingers close on the object without entering it. Unbatched; the best iterate is kept.

    Takes `config.steps`, rounded up to whole rounds of `config.refresh`. Raises ConfigError as `config.split`.
    """
    static, numbers = config.split()
    config = static.joined(jax.tree.map(jnp.asarray, numbers))
    searching = begin_grasp(problem, start, key, config)
    searching, history, _ = grasp_round(problem, searching, config, config.rounds)
    state, energy, evaluated = searching.search.best
    terms = dict(zip(config.term_weights, nan_where_lost(energy, evaluated.terms), strict=True))
    return best_grasp(problem, searching), Solution(state, energy, terms, history)


@checked
def best_grasp(problem: ContactProblem, searching: GraspSearch) -> Grasp:
    """The best grasp so far, the hand's parameters in the form that people are given."""
    kind = problem.hand
    params = kind.retract(kind.data, searching.start.hand, searching.search.best[0])
    return replace(searching.start, hand=kind.outer(kind.data, params))


def _neighbours(
    problem: ContactProblem, start: Grasp, vertices: Float[Array, "v 3"], config: ContactConfig
) -> Neighbours | None:
    return hand_neighbours(problem, start, vertices) if config.both_directions else None


def _energy(
    problem: ContactProblem,
    start: Grasp,
    contacts: Contacts,
    seen: SeenAs,
    *,
    config: ContactConfig,
    known: Neighbours | None,
) -> Callable[[Any], tuple[Float[Array, ""], Evaluated]]:
    kind, weights = problem.hand, config.term_weights

    def energy(state: Any) -> tuple[Float[Array, ""], Evaluated]:
        params = kind.retract(kind.data, start.hand, state)
        posed, placed = kind.pose(kind.data, params), replace(start, hand=params)
        context = context_of(problem, placed, start.hand, contacts, seen=seen, posed=posed, known=known, config=config)
        terms = term_values(context, config.terms)
        return weighted_sum(terms, weights), Evaluated(jnp.stack([terms[name] for name in weights]), posed.vertices)

    return energy


def _solver(problem: ContactProblem, config: ContactConfig) -> Any:
    fall = optax.cosine_decay_schedule(1.0, config.steps) if config.schedule == "cosine" else lambda step: 1.0

    def rates(step: Int[Array, ""]) -> Any:
        angle, metres = (jnp.asarray(fall(step) * rate) for rate in (config.angle_rate, config.translation_rate))
        return jax.tree.map(lambda length: metres if length else angle, problem.hand.lengths)

    return solver_of(config.solver, rates)
