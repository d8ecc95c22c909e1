"""Whether a result hangs on a seed, on the cores that compiled it, or on a version: `python -m benchmarks.steady`.

    python -m benchmarks.steady [--short] [--cores 1] [--only-made] [--compare out/steady/OTHER]

Nine photos and twenty made scenes are refined with eight seeds each, which draw different starts. Two runs give the
same answer where the object's surface is within 5 mm and the hand's keypoints are within 8 mm, on average. What has
been refined is kept in out/steady, for the sources, cores and versions as they are: a run goes on where one stopped.
"""

import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from jaxtyping import Bool, Float
from numpy import ndarray

from benchmarks.timing import machine, write_section
from benchmarks.truth import kept_results, mark_of
from benchmarks.truth_scenes import CASES, truth_of
from fgs_jax.config import FAST, RefineConfig
from fgs_jax.picture.scene import Scene
from fgs_jax.results.metrics.truth import keypoint_distance
from fgs_jax.results.result import Result, object_at
from fgs_jax.results.rivals import SAME_KEYPOINTS, SAME_SURFACE, apart
from fgs_jax.solve.ahead import cores, start_up
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages.refine import refine
from fgs_jax.stages.states import stage_keys
from fgs_jax.testing import HELD
from fgs_jax.testing.inputs import disturbed_scene
from tools.photos import exact_scenes

SEEDS, MADE_SEEDS, MADE = 8, (8, 9, 10, 11), 20
KEPT = Path("out/steady")
CASE = "exact keypoints"
AMBIGUOUS = {
    "s01_phone_350": "flips: front and back, top and bottom",
    "phone": "flips: front and back, top and bottom",
    "knife": "flips: a blade and a grip whose outlines are nearly the same from the other side",
    "soap": "turns of a rounded block by a right angle",
    "box": "turns of a block by a right angle, where few of its faces are seen",
    "small_box": "turns of a block by a right angle, where few of its faces are seen",
    "can": "which end is up",
}
"""Objects whose pose a silhouette cannot tell, by construction: they may be flagged."""
_POINTS = 400
"""Of a surface."""


class Answer(NamedTuple):
    """What one run has found, and may be compared with others."""

    surface: Float[ndarray, "p 3"]
    keypoints: Float[ndarray, "21 3"]
    ambiguous: bool

    def is_same(self, other: "Answer") -> bool:
        surface, keypoints = apart(self.surface, other.surface), keypoint_distance(self.keypoints, other.keypoints)
        return surface <= SAME_SURFACE and keypoints <= SAME_KEYPOINTS


def made_scenes() -> dict[str, tuple[Scene, Answer]]:
    """Scenes of natural grasps with their truth, on seeds that no other benchmark uses."""
    found: dict[str, tuple[Scene, Answer]] = {}
    for seed in MADE_SEEDS:
        for name in HELD:
            if len(found) == MADE:
                return found
            try:
                rendered = truth_of(name, seed, CASES[CASE])
            except ValueError:
                continue
            scene, factor = disturbed_scene(rendered, CASES[CASE].disturbance, seed)
            T = rendered.T_camera_object
            surface = factor * some_of(scene.object.vertices) @ T[:3, :3].T + T[:3, 3]
            found[f"{name} {seed}"] = scene, Answer(surface, rendered.hand_keypoints, ambiguous=False)
    return found


def some_of(vertices: Float[ndarray, "v 3"]) -> Float[ndarray, "p 3"]:
    """The same ones of the same mesh."""
    return vertices[np.linspace(0, len(vertices) - 1, _POINTS).astype(int)]


def values_of(result: Result) -> dict[str, Any]:
    """What is kept of a run, for JSON."""
    surface = object_at(result.after, some_of(result.scene.object.vertices))
    keypoints = result.hand_keypoints[1]
    return {"surface": surface.tolist(), "keypoints": keypoints.tolist(), "ambiguous": result.ambiguous}


def answer_of(values: dict[str, Any]) -> Answer:
    return Answer(np.array(values["surface"]), np.array(values["keypoints"]), values["ambiguous"])


def run_of(scene: Scene, config: RefineConfig, seed: int) -> dict[str, Any]:
    return values_of(refine(scene, config, jax.random.key(seed)))


def most_frequent(answers: Sequence[Answer]) -> Bool[ndarray, "n"]:
    """Which runs give the answer that most give."""
    same = np.array([[one.is_same(other) for other in answers] for one in answers])
    return same[same.sum(axis=1).argmax()]


def row(name: str, answers: Sequence[Answer], truth: Answer | None) -> tuple[str, dict[str, Any]]:
    """A line of the table, and its numbers."""
    same, flagged = most_frequent(answers), np.array([each.ambiguous for each in answers])
    first = answers[int(same.argmax())]
    spread = [apart(first.surface, each.surface) for each in answers]
    spread_hand = [keypoint_distance(first.keypoints, each.keypoints) for each in answers]
    right = None if truth is None else float(first.is_same(truth))
    numbers: dict[str, Any] = {
        "runs": len(answers),
        "same": int(same.sum()),
        "steady": int((same | flagged).sum()),
        "flagged": float(flagged.mean()),
        "right": right,
    }
    off = "" if truth is None else f"{1e3 * apart(first.surface, truth.surface):.1f}, "
    off += "" if truth is None else f"{1e3 * keypoint_distance(first.keypoints, truth.keypoints):.1f}"
    cells = (
        name,
        f"{numbers['same']} of {len(answers)}",
        f"{int(flagged.sum())}",
        f"{1e3 * max(spread):.1f}, {1e3 * max(spread_hand):.1f}",
        off,
    )
    return f"| {' | '.join(cells)} |", numbers


def folder_of(config: RefineConfig) -> Path:
    """For results of the sources, the configuration, the cores and the versions as they are."""
    python = ".".join(platform.python_version_tuple()[:2])
    return KEPT / f"{cores()}-cores-python-{python}-jax-{jax.__version__}-{mark_of(config)}"


def check_starts() -> None:
    """Asserts that the seeds draw different starts."""
    first = [np.asarray(random_rotations(stage_keys(jax.random.key(seed)).object_pose, 0, 4)) for seed in range(SEEDS)]
    assert all(np.abs(a - b).max() > 0.1 for k, a in enumerate(first) for b in first[:k])


def summary(rows: dict[str, dict[str, Any]]) -> str:
    plain = [each for name, each in rows.items() if name.split(" ")[0] not in AMBIGUOUS]
    made = [each["right"] for each in rows.values() if each["right"] is not None]
    runs, steady, same = (sum(each[key] for each in rows.values()) for key in ("runs", "steady", "same"))
    flagged = sum(each["flagged"] >= 0.5 for each in plain)
    return (
        f"Runs at the most frequent answer: {same:.0f} of {runs:.0f}; at it or flagged: {steady:.0f} "
        f"({100 * steady / runs:.0f} %). The most frequent answer is the truth in {sum(made):.0f} of {len(made)} "
        "made scenes. "
        f"Flagged in half of the runs or more, of scenes that are not ambiguous by construction: {flagged} of "
        f"{len(plain)}."
    )


def main(
    *,
    short: bool = False,
    cores: int | None = None,
    only_made: bool = False,
    compare: tuple[Path, ...] = (),
    markdown: Path | None = None,
) -> None:
    """Prints the table, and writes it into its section of a file.

    `short`: three seeds of every third scene. `cores`: that may be used, and so compile. `compare`: folders of other
    runs, whose answers are put beside these as if of other seeds.
    """
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    start_up()
    check_starts()
    pictures = {} if only_made else exact_scenes()
    scenes: dict[str, tuple[Scene, Answer | None]] = {name: (scene, None) for name, scene in pictures.items()}
    scenes |= made_scenes()
    if short:
        scenes = dict(list(scenes.items())[::3])
    config, seeds = FAST, range(3 if short else SEEDS)
    folders, lines, rows = [folder_of(config), *compare], [], {}
    for name, (scene, truth) in scenes.items():
        make: Callable[[int], Callable[[], dict[str, Any]]] = lambda seed: partial(run_of, scene, config, seed)  # noqa: B023, E731
        found = [kept_results(folder, f"{name} {seed}", make(seed)) for folder in folders for seed in seeds]
        line, rows[name] = row(name, [answer_of(each) for each in found], truth)
        lines.append(line)
        print(line, flush=True)
    text = f"""## How steady answers are: {len(seeds)} seeds{f" in {len(folders)} environments" if compare else ""}

| scene | runs with the most frequent answer | flagged | farthest, surface and keypoints, mm | from the truth, mm |
|---|--:|--:|--:|--:|
{chr(10).join(lines)}

{summary(rows)}

{machine("jax")}"""
    print(text)
    if markdown is not None:
        write_section(markdown, "steady", text)


if __name__ == "__main__":
    tyro.cli(main)
