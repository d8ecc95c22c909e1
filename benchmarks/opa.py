"""Object pose from one rendered picture, with the truth known: success, accuracy and speed of OPA's solvers.

python -m benchmarks.opa [--poses 4] [--restarts 256] [--solvers fast paper] [--cases metric hamer unknown]
"""

import dataclasses
import resource
import time
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Key

from benchmarks.photos import DATA
from benchmarks.scenes import RenderedScene, add_s, diameter, make_scene, rotation_error
from benchmarks.shapes import ASYMMETRIC, SHAPES, Mesh
from fgs_jax.config import FAST_OPA, PAPER_OPA, OpaConfig
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.simplifying import simplify
from fgs_jax.picture.scene import Scene
from fgs_jax.results.result import ObjectPoses
from fgs_jax.stages.opa import PoseState, approximate, opa_terms, pose_problem

SOLVERS = {
    "fast": FAST_OPA,
    "paper": PAPER_OPA,
    "distinct in space": dataclasses.replace(FAST_OPA, distinct_in="space"),
}
Case = Literal["metric", "hamer", "unknown"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One scene, one solver."""

    name: str
    first: float
    """ADD-S of the first pose, as a share of the diameter."""
    best: float
    """The same of the best of all."""
    rotation: float
    """Degrees, of the best."""
    iou: float
    seconds: float
    """Warm."""
    why: str = ""
    """Of a miss: what the truth costs, and what was found instead."""


def as_scene(rendered: RenderedScene, *, size: str, factor: float) -> Scene:
    mesh = load_object((rendered.object_vertices * factor, rendered.object_faces), size=size, name=rendered.name)
    hand = np.asarray(rendered.hand_vertices, float), np.asarray(rendered.hand_faces)
    return Scene(rendered.camera, rendered.object_mask, rendered.hand_mask, *hand, mesh)


def judge(rendered: RenderedScene, found: ObjectPoses, case: Case, factor: float, seconds: float) -> Row:
    points = np.asarray(
        sample_points(load_object((rendered.object_vertices, rendered.object_faces)), 2000, jax.random.key(1))
    )
    truth, span = rendered.T_camera_object, diameter(rendered.object_vertices)
    shares, turns = [], []
    for k in range(len(found.translation)):
        estimate = np.eye(4)
        # Of the object at its true size: an unknown size also changes the estimate's own points.
        estimate[:3, :3], estimate[:3, 3] = found.rotation[k], found.translation[k]
        scale = factor * found.scale[k]
        if case != "metric":  # depth, and with it size, cannot be seen: compare after aligning them along the ray
            ratio = (truth[:3, 3] + truth[:3, :3] @ points.mean(0))[2] / (
                estimate[:3, 3] + scale * estimate[:3, :3] @ points.mean(0)
            )[2]
            estimate[:3, 3] *= ratio
            scale = scale * ratio if case == "unknown" else scale
        estimate[:3, :3] *= scale
        shares.append(add_s(points, estimate, truth) / span)
        turns.append(rotation_error(found.rotation[k], truth[:3, :3]))
    best = int(np.argmin(shares))
    return Row(rendered.name, shares[0], shares[best], turns[best], float(found.masked_iou[0]), seconds)


def scanned() -> dict[str, Mesh]:
    """Meshes of household objects from a folder that is not shipped; none where it is missing."""
    files = sorted((DATA / "objects").glob("*.ply"))
    meshes = {f"scanned {path.stem}": simplify(load_object(path), 2000) for path in files}
    return {name: (mesh.vertices, mesh.faces) for name, mesh in meshes.items()}


def run(case: Case, config: OpaConfig, poses: int, restarts: int, objects: dict[str, Mesh]) -> list[Row]:
    rows = []
    for name, mesh in objects.items():
        for seed in range(poses):
            try:
                rendered = make_scene(name if name in SHAPES else mesh, seed, hamer_focal=case == "hamer")
            except ValueError as error:
                print(f"  left out: {name} {error}", flush=True)
                continue
            rendered = dataclasses.replace(rendered, name=name)
            factor = 1.0 if case != "unknown" else float(np.exp(np.random.default_rng(seed).uniform(-0.3, 0.3)))
            scene = as_scene(rendered, size="unknown" if case == "unknown" else "metric", factor=factor)
            start = time.perf_counter()
            found = approximate(scene, jax.random.key(seed), restarts, config=config)
            row = judge(rendered, found, case, factor, time.perf_counter() - start)
            missed = row.best >= 0.1 and case == "metric"
            why = reason(rendered, scene, found, key=jax.random.key(seed), config=config) if missed else ""
            rows.append(dataclasses.replace(row, name=f"{name} {seed}", why=why))
    return rows


def reason(rendered: RenderedScene, scene: Scene, found: ObjectPoses, *, key: Key[Array, ""], config: OpaConfig) -> str:
    """Loss and masked IoU of the truth and of what was found; what could be seen of the object."""
    problem, centre = pose_problem(scene, jax.random.split(key)[0], config)
    T = rendered.T_camera_object
    state = PoseState(np.zeros(3, np.float32), (T[:3, 3] + T[:3, :3] @ centre).astype(np.float32), None)
    terms = opa_terms(problem, jnp.asarray(T[:3, :3], jnp.float32), state, paper_form=config.paper_form)
    truth = terms["dist"] + config.lambda_dep * terms["dep"] + config.lambda_cam * terms["cam"]
    return (
        f"loss {float(truth):.5f} at the truth, {found.energy[0]:.5f} found; masked IoU 1.000 and "
        f"{found.masked_iou[0]:.3f}; {rendered.object_visible:.0%} of it seen, {int(rendered.object_mask.sum())} pixels"
    )


def summary(solver: str, case: str, rows: list[Row], restarts: int) -> str:
    best, first = (np.array([getattr(row, field) for row in rows]) for field in ("best", "first"))
    iou, turn, seconds = (np.array([getattr(row, field) for row in rows]) for field in ("iou", "rotation", "seconds"))
    asymmetric = np.array([row.name.rsplit(" ", 1)[0] in ASYMMETRIC for row in rows])
    spin = np.median(turn[asymmetric]) if asymmetric.any() else np.nan
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return (
        f"| {solver} | {case} | {100 * (best < 0.1).mean():.0f} % | {100 * (first < 0.1).mean():.0f} % "
        f"| {100 * np.median(best):.1f} / {100 * np.median(first):.1f} | {spin:.1f} "
        f"| {np.median(iou):.3f} | {np.median(seconds):.2f} | {restarts / np.median(seconds):.0f} | {memory:.1f} |"
    )


def main(
    *,
    poses: int = 4,
    restarts: int = 256,
    solvers: tuple[Literal["fast", "paper", "distinct in space"], ...] = ("fast",),
    cases: tuple[Case, ...] = ("metric",),
    objects: tuple[Literal["made", "scanned"], ...] = ("made",),
    verbose: bool = False,
) -> None:
    """Prints a table; a scene succeeds where ADD-S is below 10 % of the diameter."""
    meshes = {name: make() for name, make in SHAPES.items()} if "made" in objects else {}
    meshes |= scanned() if "scanned" in objects else {}
    print(
        "| solver | case | success, best of 4 | first | ADD-S best / first, % | rotation, asymmetric, deg | masked IoU "
        "| s | restarts/s | memory, GB |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    for case in cases:
        for solver in solvers:
            rows = run(case, SOLVERS[solver], poses, restarts, meshes)
            print(summary(solver, case, rows, restarts), flush=True)
            for row in rows if verbose else [row for row in rows if row.best >= 0.1]:
                print(
                    f"  {row.name}: ADD-S {100 * row.best:.0f} / {100 * row.first:.0f} %, IoU {row.iou:.3f} {row.why}",
                    flush=True,
                )


if __name__ == "__main__":
    tyro.cli(main)
