"""Levenberg-Marquardt on fixed correspondences in place of OPA's first phase: does it pay?

python -m benchmarks.opa_lm [--poses 2] [--steps 10]
"""

import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import tyro
from jaxtyping import Array, Float

from benchmarks.opa import as_scene
from benchmarks.scenes import add_s, diameter, make_scene
from benchmarks.shapes import SHAPES
from fgs_jax.config import FAST_OPA
from fgs_jax.objects.neighbours import nearest
from fgs_jax.solve.minimise import Solution, least_squares
from fgs_jax.solve.restarts import best_of, kept, random_rotations, run_blocks
from fgs_jax.stages import opa
from fgs_jax.stages.opa import PoseProblem, PoseState, opa_terms, pose_problem, run_phase, start_translation

FIRST, SECOND, LAST = FAST_OPA.phases
WEIGHTS = {"dep": FAST_OPA.lambda_dep, "cam": FAST_OPA.lambda_cam, "size": FAST_OPA.lambda_size}


def levenberg_marquardt(steps: int, problem: PoseProblem, start: tuple) -> Solution:
    """`steps` times: match, then one damped step on the matched residuals of Eq. 8; as a first phase."""
    rotation, state = start
    part = replace(problem, points=problem.points[: FIRST.points], targets=problem.targets[: FIRST.targets])
    n, m = FIRST.points, FIRST.targets

    def energy(x: Float[Array, "6"]) -> Array:
        terms = opa_terms(part, rotation, PoseState(x[:3], x[3:], None))
        return terms["dist"] + WEIGHTS["dep"] * terms["dep"] + WEIGHTS["cam"] * terms["cam"]

    def step(carry: tuple, _: None) -> tuple:
        x, best, least = carry
        placed = opa._place(_turned(rotation, x[:3]), x[3:], part.points.T)
        matched = part.points.T[:, nearest(part.targets, opa._project(part.camera, placed).T)]

        def residuals(x: Float[Array, "6"]) -> Float[Array, "r"]:
            turned = _turned(rotation, x[:3])
            pixels = opa._project(part.camera, opa._place(turned, x[3:], part.points.T))
            off = opa._off_mask(part, pixels, opa._cell(part, pixels)) / jnp.sqrt(n)
            back = (opa._project(part.camera, opa._place(turned, x[3:], matched)) - part.targets.T) / jnp.sqrt(m)
            return jnp.concatenate([off.ravel(), back.ravel()]) / jnp.sqrt(part.mask_area)

        x = least_squares(residuals, x, 1, damping=0.1).value
        value = energy(x)
        return (x, jnp.where(value < least, x, best), jnp.minimum(value, least)), value

    x = jnp.concatenate([state.rotation, state.translation])
    (_, best, least), history = jax.lax.scan(step, (x, x, energy(x)), length=steps)
    return Solution(PoseState(best[:3], best[3:], None), least, {}, history)


def _turned(rotation: Float[Array, "3 3"], x: Float[Array, "3"]) -> Float[Array, "3 3"]:
    return jnp.matmul(rotation, jaxlie.SO3.exp(x).as_matrix(), precision="highest")


def solve(scene: Any, seed: int, restarts: int, steps: int | None) -> tuple[list[np.ndarray], float, float]:
    """The four best poses after all phases, the least energy, and the seconds that the phases took."""
    sample_key, rotation_key = jax.random.split(jax.random.key(seed))
    problem, centre = pose_problem(scene, sample_key)
    rotations = np.asarray(random_rotations(rotation_key, 0, restarts))
    translation = np.tile(np.asarray(start_translation(problem)), (restarts, 1))
    state: Any = PoseState(np.zeros((restarts, 3), np.float32), translation, None)
    begin = time.perf_counter()
    energies: Any = np.zeros(restarts)
    for phase in (FIRST, SECOND, LAST):
        chosen = best_of(energies, kept(len(energies), phase.keep, phase.least))
        rotations, state = rotations[chosen], jax.tree.map(lambda x: x[chosen], state)  # noqa: B023
        if phase is FIRST and steps:
            found = run_blocks(levenberg_marquardt, steps, problem, (rotations, state), 64)
        else:
            found = run_phase(problem, FAST_OPA, phase, rotations, state)
        state, energies = found.value, found.energy
    seconds = time.perf_counter() - begin
    poses = []
    for k in best_of(energies, 4):
        T = np.eye(4)
        T[:3, :3] = rotations[k] @ np.asarray(jaxlie.SO3.exp(jnp.asarray(state.rotation[k])).as_matrix())
        T[:3, 3] = state.translation[k] - T[:3, :3] @ centre
        poses.append(T)
    return poses, float(np.nanmin(energies)), seconds


def main(poses: int = 2, restarts: int = 256, steps: tuple[int, ...] = (10, 20)) -> None:
    """A row for each first phase: Adam as it is, and Levenberg-Marquardt of so many steps."""
    print("| first phase | success of the four of least energy | of the first | least energy, median | s, median |")
    print("|---|--:|--:|--:|--:|")
    for kind in (None, *steps):
        best, first, energies, seconds = [], [], [], []
        for shape in SHAPES:
            for seed in range(poses):
                rendered = make_scene(shape, seed)
                scene = as_scene(rendered, size="metric", factor=1.0)
                found, energy, time_taken = solve(scene, seed, restarts, kind)
                span = diameter(rendered.object_vertices)
                shares = [add_s(rendered.object_vertices, T, rendered.T_camera_object) / span for T in found]
                best.append(min(shares))
                first.append(shares[0])
                energies.append(energy)
                seconds.append(time_taken)
        name = "Adam, 40 steps" if kind is None else f"Levenberg-Marquardt, {kind} steps"
        rate = [f"{100 * (np.array(x) < 0.1).mean():.0f} %" for x in (best, first)]
        print(f"| {name} | {rate[0]} | {rate[1]} | {np.median(energies):.2e} | {np.median(seconds):.2f} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
