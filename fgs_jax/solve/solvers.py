"""Solvers by name, for the stages and for `benchmarks.optimizers`; `register` adds one's own.

Each is made from a stage's rates and works on one start, so that every start has a memory of its own.
"""

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from fgs_jax.config import RefineConfig
from fgs_jax.errors import ArgumentError, ConfigError
from fgs_jax.extensions import imported
from fgs_jax.solve.annealing import annealing
from fgs_jax.solve.bfgs import bfgs
from fgs_jax.solve.minimise import Solver

Rates = Callable[[Int[Array, ""]], Any]
"""`rates(step)`: how far each number may move at a step, a tree of the structure of what moves."""

SOLVERS: dict[str, Callable[[Rates], Solver]] = {}
"""What makes each solver from a stage's rates, by name."""

REFUSED = {
    "levenberg_marquardt": "needs the residuals of a sum of squares, and a stage has an energy alone",
    "cma_es": "looks at all starts at once from the host, and a stage solves each by itself",
}
"""Names of the benchmark that no stage takes, and why."""


def register(name: str, make: Callable[[Rates], Solver]) -> None:
    """Adds a solver under a new name. Raises ArgumentError for one that is there already, or that holds a colon."""
    if name in SOLVERS or name in REFUSED or ":" in name:
        raise ArgumentError(f"register: name: expected a new name without a colon, got {name!r}: choose another")
    SOLVERS[name] = make


def solver_of(given: Any, rates: Rates, where: str = "solver") -> Solver:
    """The solver that is meant: a name of `SOLVERS`, "module:name", or the solver itself.

    A solver by its name takes the stage's rates. An `optax.GradientTransformation` has its own; so has a function
    `(energy, start, steps) -> Solution`.

    Raises ConfigError, which says `where`, for anything else.
    """
    if isinstance(given, str) and ":" not in given:
        if given not in SOLVERS:
            near = difflib.get_close_matches(given, SOLVERS, 1)
            advice = f"did you mean {near[0]}?" if near and given not in REFUSED else "choose another"
            came = f"{given}, which {REFUSED[given]}" if given in REFUSED else repr(given)
            raise ConfigError(f"{where}: expected {', '.join(sorted(SOLVERS))} or module:name, got {came}: {advice}")
        return SOLVERS[given](rates)
    solver: Any = imported(given, where) if isinstance(given, str) else given
    if not isinstance(solver, optax.GradientTransformation) and not callable(solver):
        raise ConfigError(
            f"{where}: expected a name, an optax.GradientTransformation or a function (energy, start, steps) -> "
            f"Solution, got {type(solver).__name__}: change it"
        )
    return cast(Solver, solver)


def check_solvers(config: RefineConfig) -> None:
    """Raises ConfigError for a solver of a stage that there is not, before any work."""
    for name, given in (("opa", config.opa.solver), ("contact", config.contact.solver)):
        solver_of(given, lambda step: None, f"{name}: solver")


def descent(direction: optax.GradientTransformation, rates: Rates) -> optax.GradientTransformation:
    """Steps against a direction, of the length that `rates` has for each number.

    `optax.partition` of an optimizer for each rate does the same with a state for each, and takes longer to compile.
    """

    def scaled(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda rate, update: -rate * update, rates(state), updates), state + 1

    by_rates = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), scaled)
    return optax.chain(direction, by_rates)


def adam(rates: Rates) -> optax.GradientTransformation:
    """Adam with a rate for each part of what moves."""
    return descent(optax.scale_by_adam(), rates)


def _register_descents() -> None:
    directions: dict[str, Callable[[], optax.GradientTransformation]] = {
        "adamw": lambda: optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(1e-4)),
        "amsgrad": optax.scale_by_amsgrad,
        "lion": lambda: optax.chain(optax.scale_by_lion(), optax.add_decayed_weights(1e-3)),
        "momentum": lambda: optax.trace(0.9),
        "nesterov": lambda: optax.trace(0.9, nesterov=True),
        "rmsprop": optax.scale_by_rms,
        "sgd": optax.identity,
        "yogi": optax.scale_by_yogi,
    }
    for name, direction in directions.items():
        register(name, partial(lambda make, rates: descent(make(), rates), direction))


register("adam", adam)
_register_descents()
register("annealing", annealing)
register("bfgs", lambda rates: bfgs)
register("lbfgs", lambda rates: optax.lbfgs())
