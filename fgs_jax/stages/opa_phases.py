"""OPA's phases: starts through a solver, in blocks; all of it compiled once for a phase's counts, shapes and names."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from numpy import ndarray

from fgs_jax.config import OpaConfig, Phase
from fgs_jax.errors import ConfigError
from fgs_jax.extensions import within_program
from fgs_jax.journal import Journal
from fgs_jax.solve.minimise import Solution, minimise
from fgs_jax.solve.restarts import block_width, run_blocks
from fgs_jax.solve.solvers import solver_of
from fgs_jax.stages.opa_problem import PoseProblem, PoseState
from fgs_jax.stages.opa_terms import opa_energy, opa_terms
from fgs_jax.types import on_device

LANE_POINTS = 512
"""A phase of more points runs in as much narrower blocks."""


class PhaseSettings(NamedTuple):
    """What a phase is compiled for."""

    steps: int
    points: int
    targets: int
    paper_form: bool
    solver: Hashable = "adam"
    """As `solvers.solver_of` takes it."""
    terms: tuple[tuple[str, Callable[..., Any]], ...] = ()
    """Functions of one's own, with their names."""


class PhaseInputs(NamedTuple):
    """What it may change without being compiled again."""

    problem: PoseProblem
    weights: dict[str, Any]
    """Of all terms, by their names."""
    rotation_rate: Float[Array, "2"]
    translation_rate: Float[Array, "2"]
    data: dict[str, Any] | None = None
    """Of terms of one's own, by their names."""


def run_phase(
    problem: PoseProblem,
    config: OpaConfig,
    phase: Phase,
    rotations: Float[ndarray, "n 3 3"],
    state: PoseState,
    *,
    width: int | None = None,
    journal: Journal | None = None,
) -> Solution:
    """Starts through one phase, in blocks of `width`. `state` has a leading axis; so has what is found."""
    width = width or phase_width(phase, block_width(len(rotations)))
    return run_blocks(*phase_program(problem, config, phase), (rotations, state), width, journal=journal)


def phase_width(phase: Phase, width: int) -> int:
    """How many starts of a phase run at once, where `width` starts of few points do."""
    return max(1, width * LANE_POINTS // max(phase.points, LANE_POINTS))


def phase_program(problem: PoseProblem, config: OpaConfig, phase: Phase) -> tuple[Any, PhaseSettings, PhaseInputs]:
    """What `run_blocks` needs besides the starts.

    Raises ConfigError for a rate that moves nothing, and as `solver_of` and `named_terms` do.
    """
    for name in ("rotation_rate", "translation_rate"):
        if not min(getattr(phase, name)) > 0:
            raise ConfigError(f"phase: {name}: expected rates above 0, got {getattr(phase, name)}: change it")
    solver_of(config.solver, lambda step: None)
    own = config.own_terms()
    terms, data = tuple((name, own[name].function) for name in own), {name: own[name].data for name in own}
    settings = PhaseSettings(phase.steps, phase.points, phase.targets, config.paper_form, config.solver, terms)
    weights = {name: on_device(weight) for name, weight in config.term_weights.items()}
    rates = on_device(phase.rotation_rate), on_device(phase.translation_rate)
    return run_start, settings, PhaseInputs(problem, weights, *rates, data)


def run_start(settings: PhaseSettings, inputs: PhaseInputs, start: tuple) -> Solution:
    """One start, `(rotation, PoseState)`, through one phase."""
    points, targets = inputs.problem.points[: settings.points], inputs.problem.targets[: settings.targets]
    problem = replace(inputs.problem, points=points, targets=targets)
    rotation, state = start
    own = {name: within_program(name, function, (inputs.data or {}).get(name)) for name, function in settings.terms}

    def energy(state: PoseState) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        terms = opa_terms(problem, rotation, state, paper_form=settings.paper_form, own=own)
        return opa_energy(terms, inputs.weights), terms

    def rates(step: Int[Array, ""]) -> PoseState:
        first, last = jnp.stack([inputs.rotation_rate, inputs.translation_rate], axis=1)
        rotation, translation = first * (last / first) ** (step / settings.steps)
        return PoseState(rotation, translation, None if state.log_scale is None else rotation)

    return minimise(energy, solver_of(settings.solver, rates), state, settings.steps)
