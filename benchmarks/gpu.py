"""The main rows on the device that JAX finds, in a few minutes: grasps and object poses a second, the main job.

python -m benchmarks.gpu [--markdown benchmarks/results.md]

Meant for a GPU; on a CPU it takes fewer starts.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import tyro

from benchmarks.opa_speed import tumbler
from benchmarks.thousands import contact_config, grasp_problems, grasps_about
from benchmarks.timing import machine, spread, timed, write_section
from fgs_jax.config import FAST
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.results.result import Result
from fgs_jax.stages.grasps import refine_grasps
from fgs_jax.stages.opa import approximate
from fgs_jax.stages.refine import refine, refine_many
from tools.photos import SCENES, TUMBLERS

MEASURES = ("mpd_mm", "siv_cm3", "fingers_in_contact", "masked_iou", "occlusion_agreement")


def rows(calls: Mapping[tuple[str, int], Callable[[], object]], rounds: int) -> list[str]:
    """A row for each call: seconds of the first, which compiles, and of `rounds` more; how many a second."""
    lines = []
    for (name, number), call in calls.items():
        first = timed(call)
        seconds = [timed(call) for _ in range(rounds)]
        rate = number / statistics.median(seconds)
        lines.append(f"| {name} | {first:.2f} | {spread(seconds)} | {rate:.4g} |")
        print(lines[-1], flush=True)
    return lines


def contact_calls(numbers: tuple[int, ...], steps: int) -> dict[tuple[str, int], Callable[[], object]]:
    problems, made = grasp_problems()
    key, config = jax.random.key(0), contact_config(steps, True)
    calls: dict[tuple[str, int], Callable[[], object]] = {}
    for number in numbers:
        starts, _ = grasps_about(made, 1, number)
        calls[f"{number} grasps, both directions, {steps} steps", number] = partial(
            refine_grasps, problems[0], starts, key, config
        )
    scenes = len(problems)
    starts, of = grasps_about(made, scenes, 3 * scenes)
    calls[f"{3 * scenes} grasps, three on each of {scenes} objects", 3 * scenes] = partial(
        refine_grasps, problems, starts, key, config, scene=of
    )
    return calls


def main(
    grasps: tuple[int, ...] = (), rotations: tuple[int, ...] = (), rounds: int = 3, markdown: Path | None = None
) -> None:
    """Prints the tables, and writes them into their section of a file.

    Args:
        grasps: how many at once; by default 256, 1024 and 4096 on a GPU, 16 and 64 on a CPU.
        rotations: how many at once; by default 1000, 10,000 and 100,000 on a GPU, 1000 on a CPU.
        rounds: timed after the first call.
        markdown: file with the section.
    """
    here, cpu = machine("jax"), jax.default_backend() == "cpu"
    grasps = grasps or ((16, 64) if cpu else (256, 1024, 4096))
    rotations = rotations or ((1000,) if cpu else (1000, 10_000, 100_000))
    begin = time.perf_counter()
    scenes = [load_scene(SCENES / name) for name in TUMBLERS]
    lines = ["| work | first call, s | later, s | a second |", "|---|--:|--:|--:|"]
    print("\n".join(lines))
    results: list[Result] = []

    def job() -> None:
        results[:] = [refine(scenes[0])]

    lines += rows({("`refine`, the tumbler", 1): job}, rounds)
    lines += rows({(f"`refine_many`, {len(scenes)} scenes", len(scenes)): lambda: refine_many(scenes)}, rounds)
    scene, key = tumbler(), jax.random.key(0)
    poses = {(f"object pose from {n} rotations", n): partial(approximate, scene, key, n) for n in rotations}
    lines += rows(poses, rounds)
    lines += rows(contact_calls(grasps, FAST.contact.steps), rounds)
    after = results[0].metrics[1]
    quality = ", ".join(f"{name} {value:.3f}" for name in MEASURES if (value := after[name]) is not None)
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in results[0].seconds.items())
    device = jax.local_devices()[0].device_kind
    text = f"""## The main rows on {device}

{chr(10).join(lines)}

Medians of {rounds} calls after the first, least and greatest in brackets; the first compiles.  
The tumbler's last result: {quality}.  
Its stages: {stages}. All of it took {time.perf_counter() - begin:.0f} s.  
{here}"""
    print("\n" + text)
    if markdown is not None:
        write_section(markdown, "cpu" if cpu else "gpu", text)


if __name__ == "__main__":
    tyro.cli(main)
