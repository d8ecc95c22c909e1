"""The solvers that `benchmarks.optimizers` compares: plain values behind one interface, one registration each.

A solver is a function of one start, `(Local, x, rate, seed, budget) -> Trace`; `each_start` maps it over all of them.
One that looks at all starts together (halving, CMA-ES on the host) is written as `Run` itself. An evaluation is one
energy at one place, with whatever derivative the solver asks for there; a line search pays for its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from numpy import ndarray

from fgs_jax.solve.annealing import annealing
from fgs_jax.solve.bfgs import ABSOLUTE, RELATIVE, stepped
from fgs_jax.solve.least_squares import least_squares
from fgs_jax.solve.minimise import minimise
from fgs_jax.solve.restarts import best_of, kept
from fgs_jax.solve.solvers import solver_of


class Objective(NamedTuple):
    """What is minimised, as functions of `(shared, start, x)`; x = 0 is the start itself. Hashable."""

    energy: Callable[[Any, Any, Array], Array]
    dimension: int
    metres: tuple[int, ...] = ()
    """Which unknowns are a length; the others are angles, and the logarithm of a size."""
    residuals: Callable[[Any, Any, Array], Array] | None = None
    """Half of their squares' sum is the energy; None where it is no such sum."""


class Local(NamedTuple):
    """An objective at one start."""

    energy: Callable[[Array], Array]
    residuals: Callable[[Array], Array] | None
    metres: tuple[int, ...]


class Trace(NamedTuple):
    """What a solver did, per start along a leading axis."""

    x: Float[Any, "n d"]
    """The best place."""
    energy: Float[Any, "n k"]
    """At each record, of the place itself, not the best so far; what was never evaluated is infinite."""
    evaluations: Float[Any, "n k"]
    """Made until then; of a start's share where starts are dropped on the way. Never falls."""


class Run(Protocol):
    def __call__(
        self,
        objective: Objective,
        shared: Any,
        starts: Any,
        x: Float[ndarray, "n d"],
        *,
        rate: float,
        seed: int,
        budget: int,
    ) -> Trace: ...


@dataclass(frozen=True)
class Solver:
    """A value of the table `SOLVERS`."""

    run: Run
    rates: tuple[float, ...] = (1.0,)
    """What its one knob is tuned over: a learning rate, a damping, a first spread."""
    squares: bool = False
    """Whether it needs residuals."""
    drops: bool = False
    """Whether it gives starts up: only where one answer is sought from all."""
    package: str | None = None
    """A package that it needs and that may be missing."""


SOLVERS: dict[str, Solver] = {}


def register(name: str, run: Run, rates: tuple[float, ...] = (1.0,), **more: Any) -> None:
    """Adds a solver to the benchmark; the name must be new."""
    if name in SOLVERS:
        raise ValueError(f"solver {name}: expected a new name, there is one already; choose another")
    SOLVERS[name] = Solver(run, rates, **more)


Function = Callable[[Local, Array, Array, Array, int], Trace]


def each_start(function: Function) -> Run:
    """A solver of one start, mapped over all: the one place where that is done."""

    def run(
        objective: Objective,
        shared: Any,
        starts: Any,
        x: Float[ndarray, "n d"],
        *,
        rate: float,
        seed: int,
        budget: int,
    ) -> Trace:
        seeds = seed * 100_003 + np.arange(len(x))
        lanes = starts, np.asarray(x, np.float32), seeds
        return _all((function, objective, budget), shared, np.float32(rate), lanes)

    return run


@partial(jax.jit, static_argnums=0)
def _all(settings: tuple[Function, Objective, int], shared: Any, rate: Any, lanes: Any) -> Trace:
    function, objective, budget = settings

    def one(start: Any, x: Array, seed: Array) -> Trace:
        residuals = None if objective.residuals is None else partial(objective.residuals, shared, start)
        local = Local(partial(objective.energy, shared, start), residuals, objective.metres)
        return function(local, x, rate, seed, budget)

    return jax.vmap(one)(*lanes)


# --- solvers of the package, by their names there


def cosine(rate: Any, budget: int) -> Callable[[Any], Any]:
    return lambda step: 0.5 * rate * (1 + jnp.cos(jnp.pi * step / budget))


def exponential(rate: Any, budget: int, fall: float = 0.1) -> Callable[[Any], Any]:
    return lambda step: rate * fall ** (step / budget)


def of_package(solver: Any, schedule: Callable[[Any, int], Any] = cosine) -> Run:
    """A solver as `fgs_jax.solve.solvers.solver_of` takes it; one by its name has rates that follow the schedule."""

    def function(local: Local, x: Array, rate: Array, seed: Array, budget: int) -> Trace:
        return _minimised(local, solver_of(solver, schedule(rate, budget)), x, budget)

    return each_start(function)


def _minimised(local: Local, solver: Any, x: Array, budget: int) -> Trace:
    solution = minimise(lambda x: (local.energy(x), {}), solver, x, budget)
    return Trace(solution.value, solution.history, 1.0 + jnp.arange(budget))


def paper_rates(local: Local, x: Array, rate: Array, budget: int) -> Callable[[Any], Any]:
    """Table 2's two schedules for the object's pose, stretched over the budget: 1e-2 to 1e-1 rad, 1e-2 to 1e-3 m a
    step; `rate` multiplies both."""
    metre = 1 / UNIT * jnp.zeros_like(x).at[jnp.array(local.metres, int)].set(1.0)

    def rates(step: Array) -> Array:
        share = step / budget
        return rate * 1e-2 * jnp.where(metre > 0, metre * 0.1**share, 10.0**share)

    return rates


def paper_adam(local: Local, x: Array, rate: Array, seed: Array, budget: int) -> Trace:
    """Adam with the schedules of Table 2."""
    return _minimised(local, solver_of("adam", paper_rates(local, x, rate, budget)), x, budget)


UNIT = 0.2
"""Metres that an unknown of length 1 stands for, so that one rate suits angles and lengths."""


# --- halving


def halved(run: Run, *, factors: tuple[float, ...] = (1.0, 0.3, 0.2), keep: float = 0.25) -> Run:
    """`run` on all starts, then on the best quarter of them, then on the best sixteenth, as FAST_OPA has it.

    The steps of the three stages are as 40 : 40 : 60; together they make `budget` evaluations for a start of all.
    `factors`: on the rate of each stage.
    """

    def halving(
        objective: Objective,
        shared: Any,
        starts: Any,
        x: Float[ndarray, "n d"],
        *,
        rate: float,
        seed: int,
        budget: int,
    ) -> Trace:
        count, alive, spent = len(x), np.arange(len(x)), 0.0
        x = np.array(x, np.float32)
        counts = [count, *(kept(count, keep**stage, 1) for stage in (1, 2))]
        unit = budget / sum(length * n / count for length, n in zip((40, 40, 60), counts, strict=True))
        energies, evaluations = [], []
        best = np.full(count, np.inf)
        for length, factor, n in zip((40, 40, 60), factors, counts, strict=True):
            alive = alive[best_of(best[alive], n)] if n < len(alive) else alive
            if not len(alive):
                break
            part = jax.tree.map(lambda leaf: np.asarray(leaf)[alive], starts)  # noqa: B023
            options = {"rate": factor * rate, "seed": seed, "budget": max(1, int(length * unit))}
            trace = jax.tree.map(np.asarray, run(objective, shared, part, x[alive], **options))
            record = np.full((count, trace.energy.shape[1]), np.inf)
            record[alive] = trace.energy
            energies.append(record)
            share = len(alive) / count
            evaluations.append(np.tile(spent + share * trace.evaluations.mean(axis=0), (count, 1)))
            spent = evaluations[-1][0, -1]
            least = np.nanmin(np.where(np.isnan(trace.energy), np.inf, trace.energy), axis=1)
            better = least < best[alive]
            x[alive[better]], best[alive[better]] = trace.x[better], least[better]
        return Trace(x, np.concatenate(energies, axis=1), np.concatenate(evaluations, axis=1))

    return halving


# --- second order


def lbfgs(local: Local, x: Array, rate: Array, seed: Array, budget: int) -> Trace:
    """optax's, with its zoom line search, until the budget is spent."""
    optimizer: Any = solver_of("lbfgs", lambda step: 1.0)
    value_and_gradient = optax.value_and_grad_from_state(local.energy)

    def going(carry: Any) -> Array:
        return carry[4][carry[5]] < budget

    def step(carry: Any) -> Any:
        x, state, best, energies, evaluations, k = carry
        value, gradient = value_and_gradient(x, state=state)
        updates, state = optimizer.update(gradient, state, x, value=value, grad=gradient, value_fn=local.energy)
        x = optax.apply_updates(x, updates)
        value = optax.tree.get(state, "value")
        searched = optax.tree.get(state, "info").num_linesearch_steps
        best = jax.tree.map(lambda new, old: jnp.where(value < best[1], new, old), (x, value), best)
        k = k + 1
        energies = energies.at[k].set(value)
        # A search that asks nothing would never end.
        return x, state, best, energies, evaluations.at[k].set(evaluations[k - 1] + jnp.maximum(searched, 1)), k

    value = local.energy(x)
    energies = jnp.full(budget + 1, jnp.inf).at[0].set(value)
    evaluations = jnp.full(budget + 1, jnp.inf).at[0].set(1.0)
    carry = x, optimizer.init(x), (x, value), energies, evaluations, jnp.zeros((), int)
    carry = jax.lax.while_loop(going, step, carry)
    last = carry[4][carry[5]]
    return Trace(carry[2][0], carry[3], jnp.where(jnp.isfinite(carry[4]), carry[4], last))


def levenberg_marquardt(
    objective: Objective, shared: Any, starts: Any, x: Float[ndarray, "n d"], *, rate: float, seed: int, budget: int
) -> Trace:
    """`fgs_jax.solve.least_squares.least_squares`; `rate` is its first damping, a number that is compiled in."""
    return _damped(rate)(objective, shared, starts, x, rate=rate, seed=seed, budget=budget)


@cache
def _damped(damping: float) -> Run:
    """Correspondences are fixed within a step, and found again for the next."""

    def function(local: Local, x: Array, rate: Array, seed: Array, budget: int) -> Trace:
        found = least_squares(_residuals(local), x, budget - 1, damping)
        history = jnp.concatenate([local.energy(x)[None], found.history])
        return Trace(found.value, history, 1.0 + jnp.arange(budget))

    return each_start(function)


def _residuals(local: Local) -> Callable[[Array], Array]:
    if local.residuals is None:
        raise ValueError("this solver needs residuals: run it on a problem that is a sum of squares")
    return local.residuals


def optimistix_lm(local: Local, x: Array, rate: Array, seed: Array, budget: int) -> Trace:
    """optimistix's, one evaluation a step; `rate` has no meaning for it."""
    import optimistix  # noqa: PLC0415

    method = optimistix.LevenbergMarquardt(rtol=RELATIVE, atol=ABSOLUTE)
    best, _, history = stepped(method, _residuals(local), x, budget)
    return Trace(best, history, 1.0 + jnp.arange(budget))


# --- annealing and sampling


def dexgraspnet(local: Local, x: Array, rate: Array, seed: Array, budget: int) -> Trace:
    """Annealing with the periods of Wang et al. (2023), their 6000 steps shrunk to the budget.

    Steps fall by 0.95 in each of 120 periods, the temperature in each of 200.
    """

    def falling(periods: int) -> Callable[[Any], Any]:
        return lambda step: 0.95 ** jnp.floor(periods * (step / budget))

    solver = annealing(lambda step: rate * falling(120)(step), falling(200), jax.random.key(seed))
    return _minimised(local, solver, x, budget)


def cma_es(
    objective: Objective, shared: Any, starts: Any, x: Float[ndarray, "n d"], *, rate: float, seed: int, budget: int
) -> Trace:
    """CMA-ES of the package `cma`, one search for each start, their generations evaluated together.

    `rate` is the first spread. Without a gradient; the population is the package's default.
    """
    import cma  # noqa: PLC0415

    options = {"verbose": -9, "maxfevals": np.inf, "tolfun": 0, "tolx": 0, "tolfunhist": 0, "tolflatfitness": np.inf}
    searches = [
        cma.CMAEvolutionStrategy(row, rate, {**options, "seed": 1 + seed * 100_003 + k}) for k, row in enumerate(x)
    ]
    population = searches[0].popsize
    repeated = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), population, axis=0), starts)

    def evaluated(starts: Any, places: Float[ndarray, "n d"]) -> ndarray:
        found = np.asarray(energies_of(objective, shared, starts, places.astype(np.float32)))
        return np.where(np.isfinite(found), found, 1e30).astype(float)

    best, least = np.array(x, float), evaluated(starts, np.asarray(x))
    energies = [least]
    for _ in range(max(1, (budget - 1) // population)):
        asked = [search.ask() for search in searches]
        values = evaluated(repeated, np.concatenate([np.stack(places) for places in asked])).reshape(len(x), -1)
        for search, places, found in zip(searches, asked, values, strict=True):
            search.tell(places, list(found))
        first = values.argmin(axis=1)
        lowest = values.min(axis=1)
        places = np.stack([rows[k] for rows, k in zip(asked, first, strict=True)])
        best = np.where((lowest < least)[:, None], places, best)
        least = np.minimum(lowest, least)
        energies.append(lowest)
    evaluations = 1.0 + population * np.arange(len(energies))
    return Trace(best, np.stack(energies, axis=1), np.tile(evaluations, (len(x), 1)))


@partial(jax.jit, static_argnums=0)
def energies_of(objective: Objective, shared: Any, starts: Any, x: Any) -> Float[Array, "n"]:
    """The energy at one place for each start."""
    return jax.vmap(objective.energy, (None, 0, 0))(shared, starts, x)


ADAM_RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
register("adam, paper's schedules", each_start(paper_adam), (0.03, 0.1, 0.3, 1.0, 3.0, 10.0))
register("adam, cosine", of_package("adam"), ADAM_RATES)
register(
    "adam, exponential, halving", halved(of_package("adam", partial(exponential, fall=0.2))), ADAM_RATES, drops=True
)
register("adamw, cosine", of_package("adamw"), ADAM_RATES)
register("lion, cosine", of_package("lion"), (0.001, 0.003, 0.01, 0.03, 0.1))
register("rmsprop, cosine", of_package("rmsprop"), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3))
register("momentum, cosine", of_package("momentum"), (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0))
register("lbfgs", each_start(lbfgs))
DAMPINGS = (0.01, 0.1, 1.0, 10.0)
register("levenberg_marquardt", levenberg_marquardt, DAMPINGS, squares=True)
register(
    "levenberg_marquardt, halving",
    halved(levenberg_marquardt, factors=(1.0, 1.0, 1.0)),
    DAMPINGS,
    squares=True,
    drops=True,
)
register("bfgs", of_package("bfgs"), package="optimistix")
register("levenberg_marquardt (optimistix)", each_start(optimistix_lm), squares=True, package="optimistix")
register("annealing", each_start(dexgraspnet), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3))
register("cma_es", cma_es, (0.01, 0.03, 0.1, 0.3), package="cma")
