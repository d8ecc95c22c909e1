"""Solvers of your own in object pose and contact: an optax transformation, and a function that jumps out of valleys."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fgs_jax import FAST_CONTACT, Grasp, load_hand_model, load_object
from fgs_jax.hands import mano_kind
from fgs_jax.objects import distance_grid, sample_points
from fgs_jax.solve import SOLVERS, Solution, register
from fgs_jax.solve.minimise import minimise
from fgs_jax.stages import ContactProblem, Grasps, refine_grasps
from fgs_jax.testing import SHAPES, hands_about

CLIPPED = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(5e-3, 300)))


def two_rates(energy: Callable[[Any], Any], start: Any, steps: int) -> Solution:
    """Half of the steps at a high rate, then the best of these goes on at a low one."""
    first = minimise(energy, optax.adam(1e-2), start, steps - steps // 2)
    second = minimise(energy, optax.adam(1e-3), first.value, steps // 2)
    better = second.energy < first.energy
    value, energies, terms = jax.tree.map(lambda a, b: jnp.where(better, a, b), second[:3], first[:3])
    return Solution(value, energies, terms, jnp.concatenate([first.history, second.history]))


def main(count: int = 8, steps: int = 300) -> dict[str, Grasps]:
    if "clipped" not in SOLVERS:
        register("clipped", lambda rates: CLIPPED)  # from now on a name, for YAML and for benchmarks.optimizers too
    mesh, model = load_object(SHAPES["can"](), name="can"), load_hand_model("open_hand")
    problem = ContactProblem(mano_kind(model), distance_grid(mesh), sample_points(mesh, 1000, jax.random.key(0)))
    hands = hands_about(model, mesh, count, np.random.default_rng(0))
    starts = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count))
    config = replace(FAST_CONTACT, reach=0.06, steps=steps)
    solvers = {"adam": "adam", "by name": "clipped", "optax": CLIPPED, "function": two_rates}
    found = {
        name: refine_grasps(problem, starts, jax.random.key(1), replace(config, solver=solver))
        for name, solver in solvers.items()
    }
    for name, grasps in found.items():
        print(f"{name:10} median energy {np.median(grasps.energy):.3f}, best {grasps.energy.min():.3f}")
    return found


if __name__ == "__main__":
    main()
