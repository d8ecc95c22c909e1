"""OPA's solvers against each other on the same starts, against the dense form, and from 64 to 100,000 starts.

python -m benchmarks.opa_speed [--parts compile solvers dense thousands]
"""

import resource
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import optax
import tyro
from jaxtyping import Array, Float

from fgs_jax.config import FAST, FAST_OPA, PAPER_OPA, OpaConfig, Phase
from fgs_jax.hands.files import load_hand_model
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.results.result import ObjectPoses
from fgs_jax.solve.minimise import Solution
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages.hand_in_picture import pose_hand, with_hand
from fgs_jax.stages.opa import approximate
from fgs_jax.stages.opa_phases import run_phase
from fgs_jax.stages.opa_problem import PoseProblem, PoseState, pose_problem, start_translation
from fgs_jax.stages.opa_terms import opa_terms
from fgs_jax.testing import ASYMMETRIC, as_scene, make_scene
from tools.photos import SCENES

Part = Literal["compile", "solvers", "dense", "thousands"]


def bare(config: OpaConfig) -> OpaConfig:
    """Without the polish: the pose of least energy as the optimiser leaves it."""
    return replace(config, candidates=1, polish_evaluations=0)


def tumbler() -> Scene:
    scene, model = load_scene(SCENES / "tumbler"), load_hand_model(FAST.hand_model)
    return with_hand(scene, model, pose_hand(scene, model))


@jax.jit
def default_loss(problem: PoseProblem, rotation: Float[Array, "3 3"], translation: Float[Array, "3"]) -> Array:
    terms = opa_terms(problem, rotation, PoseState(jnp.zeros(3), translation, None))
    return terms["dist"] + FAST_OPA.lambda_dep * terms["dep"] + FAST_OPA.lambda_cam * terms["cam"]


def judged(scene: Scene, found: ObjectPoses) -> float:
    """The default's loss at the best pose, on samples that neither solver has seen."""
    problem, centre = pose_problem(scene, jax.random.key(99), FAST_OPA)
    rotation, translation = found.rotation[0], found.translation[0]
    middle = translation + rotation @ centre
    return float(default_loss(problem, jnp.asarray(rotation, jnp.float32), jnp.asarray(middle, jnp.float32)))


def compile_time() -> None:
    scene = tumbler()
    seconds = [timed(lambda: approximate(scene, jax.random.key(0), 1000))[1] for _ in range(4)]
    warm = float(np.median(seconds[1:]))
    print(f"\n1000 starts of the tumbler: {warm:.2f} s warm, {seconds[0] - warm:.1f} s more with compilation\n")


def solvers(restarts: int) -> None:
    print("| scene | loss, fast | loss, paper | masked IoU, fast | paper | s, fast | s, paper | ratio |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    scenes = {"tumbler photo": tumbler()}
    scenes |= {n: as_scene(make_scene(n, 0), hand="mesh") for n in (*ASYMMETRIC, "can", "wine_glass")}
    rows = []
    for name, scene in scenes.items():
        row: list[float] = []
        for config in (FAST_OPA, PAPER_OPA):
            run = partial(approximate, scene, jax.random.key(0), restarts, config=bare(config))
            runs = [timed(run) for _ in range(2)]
            row += [judged(scene, runs[1][0]), float(runs[1][0].masked_iou[0]), runs[1][1]]
        rows.append([row[0], row[3], row[1], row[4], row[2], row[5], row[5] / row[2]])
        print(f"| {name} | " + " | ".join(f"{value:.3g}" for value in rows[-1]) + " |", flush=True)
    print("| median | " + " | ".join(f"{value:.3g}" for value in np.median(rows, axis=0)) + " |", flush=True)


def dense_energy(problem: PoseProblem, start: Array, rotation: Array, translation: Array) -> Array:
    """Eq. 8, 9, 10 of the paper's form for all starts at once, as one writes them first."""
    turned = start @ jax.vmap(lambda r: jaxlie.SO3.exp(r).as_matrix())(rotation)
    placed = jnp.einsum("bij,nj->bni", turned, problem.points) + translation[:, None]
    depth = jnp.maximum(placed[..., 2:], 0.01)
    pixels = problem.camera.focal * placed[..., :2] / depth + problem.camera.principal
    squared = jnp.sum((pixels[:, :, None] - problem.targets[None, None]) ** 2, axis=-1)
    cell = jnp.clip(((pixels - problem.grid_origin) / problem.cell).astype(int), 0, problem.hand_depth.shape[0] - 1)
    hidden = jax.nn.relu(problem.hand_depth[cell[..., 1], cell[..., 0]] - placed[..., 2])
    behind = jax.nn.relu(0.01 - placed[..., 2])
    chamfer = squared.min(axis=2).sum(axis=1) + squared.min(axis=1).sum(axis=1)
    return jnp.sum(chamfer + 0.1 * hidden.sum(axis=1) + 1000 * behind.mean(axis=1))


def dense(restarts: int = 64, steps: int = 5) -> None:
    """Seconds a step of the paper's solver, ours and dense."""
    scene = tumbler()
    problem, _ = pose_problem(scene, jax.random.key(0), PAPER_OPA)
    problem = replace(problem, points=problem.points[:512], targets=problem.targets[:512])
    start = jnp.asarray(random_rotations(jax.random.key(0), 0, restarts))
    state = jnp.zeros((restarts, 3)), jnp.tile(start_translation(problem), (restarts, 1))
    adam = optax.adam(1e-2)

    @jax.jit
    def step(state: Any, moments: Any) -> Any:
        gradient = jax.grad(lambda s: dense_energy(problem, start, *s))(state)
        updates, moments = adam.update(gradient, moments)
        return optax.apply_updates(state, updates), moments

    carry = step(state, adam.init(state))
    seconds = [timed(lambda: jax.block_until_ready(step(*carry)))[1] for _ in range(steps)]
    config = replace(bare(PAPER_OPA), phases=(replace(PAPER_OPA.phases[0], steps=200),))
    ours = phase_seconds(scene, config, restarts)
    print(
        f"\npaper's solver, {restarts} starts, 512 points and targets: dense {1e3 * np.median(seconds):.0f} ms a step, "
        f"ours {1e3 * ours / 200:.2f} ms, {np.median(seconds) / (ours / 200):.0f} times less\n"
    )


def phase_seconds(scene: Scene, config: OpaConfig, restarts: int) -> float:
    problem, _ = pose_problem(scene, jax.random.key(0), config)
    run = partial(from_random_rotations, problem, config, config.phases[0], restarts)
    run()
    return float(np.median([timed(run)[1] for _ in range(3)]))


def from_random_rotations(problem: PoseProblem, config: OpaConfig, phase: Phase, restarts: int) -> Solution:
    """One phase of the object's pose, 64 starts at once."""
    rotations = np.asarray(random_rotations(jax.random.key(0), 0, restarts))
    translation = np.tile(start_translation(problem), (restarts, 1))
    return run_phase(problem, config, phase, rotations, PoseState(np.zeros_like(translation), translation, None))


def thousands() -> None:
    print("| starts | s | starts/s | masked IoU | peak memory, GB |\n|--:|--:|--:|--:|--:|")
    scene = tumbler()
    for restarts in (1, 64, 1000, 10_000, 100_000):
        if restarts < 10_000:
            approximate(scene, jax.random.key(0), restarts)
        found, seconds = timed(lambda: approximate(scene, jax.random.key(0), restarts))  # noqa: B023
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"| {restarts} | {seconds:.1f} | {restarts / seconds:.0f} | {found.masked_iou[0]:.3f} | {memory:.2f} |",
            flush=True,
        )


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = run()
    return result, time.perf_counter() - begin


def main(parts: tuple[Part, ...] = ("compile", "solvers", "dense", "thousands"), restarts: int = 256) -> None:
    """Prints a table or a line for each part."""
    if "compile" in parts:
        compile_time()
    if "solvers" in parts:
        solvers(restarts)
    if "dense" in parts:
        dense()
    if "thousands" in parts:
        thousands()


if __name__ == "__main__":
    tyro.cli(main)
