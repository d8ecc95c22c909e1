"""How true refined hands are: scenes whose truth is known, with a picture and without.

python -m benchmarks.truth [--short] [--half choose|report] [--config NAME, ROW or YAML] [--given NAME or YAML]

The scenes are in two halves by their seeds, one to choose settings on, one to report. What has been refined is kept in
out/truth, for the sources and the configuration as they are: a run goes on where one was stopped.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.contact import ROWS
from benchmarks.timing import machine, write_section
from benchmarks.truth_scenes import (
    CASES,
    KEPT,
    before_of,
    commit_rows,
    given_grasp,
    objects,
    posed,
    similarity,
    truth_of,
)
from fgs_jax.config import GIVEN as GIVEN_CONFIG
from fgs_jax.config import RefineConfig
from fgs_jax.config_files import config_values, load_config
from fgs_jax.errors import FgsError
from fgs_jax.hands.mano import mano_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.results.metrics import Placed, Surface, fingers_of_vertices, truth_metrics
from fgs_jax.solve.ahead import start_up
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.grasps import refine_grasps
from fgs_jax.stages.refine import refine
from fgs_jax.testing import HELD, open_hand
from fgs_jax.testing.inputs import disturbed_grasp, disturbed_scene
from fgs_jax.testing.shapes import symmetries
from fgs_jax.types import Grasp

Half = Literal["choose", "report"]
Values = dict[str, Any]
SHORT_CASES, SHORT_SCENES, SCENES = ("exact keypoints", "3 px", "6 px", "hands of other sizes"), 16, 64
GRASPS = 4
"""On each object, without a picture."""
SHALLOW = 0.5
"""Millimetres: a penetration that is less before and after counts as fallen, since one of nothing cannot fall."""
SEEDS = 4
"""In a row that are of one half; four seeds of an object have two to five fingers."""
GIVEN = {"exact grasp": 0.0, "disturbed grasp": 1.0}
"""Without a picture: shares of the disturbance."""
COLUMNS = {
    "in the camera, mm": "camera_mm",
    "relative to the wrist, mm": "wrist_mm",
    "aligned, mm": "aligned_mm",
    "in the object's frame, mm": "object_mm",
    "size off, %": "size_off",
    "fingers: precision": "finger_precision",
    "recall": "finger_recall",
    "F1": "finger_f1",
    "vertices: precision": "vertex_precision",
    "recall ": "vertex_recall",
    "F1 ": "vertex_f1",
    "penetration, mm": "penetration_mm",
    "off the truth's own, mm": "penetration_off",
    "ADD-S, mm": "add_s_mm",
}
NEED_A_CAMERA = ("camera_mm", "add_s_mm")
"""Without meaning where the scene was given another camera."""


def seeds_of(half: Half, count: int) -> list[tuple[str, int]]:
    """Objects and seeds: each object once, then each once more."""
    names, first = objects(), 0 if half == "choose" else SEEDS
    return [(names[k % len(names)], first + (k // len(names) + k) % SEEDS) for k in range(count)]


def measured(found: Placed, true: Placed, name: str) -> Values:
    fingers, surface = fingers_of_vertices(open_hand().weights), Surface(*HELD[name]())
    values: Values = truth_metrics(found, true, surface, fingers, symmetries(name))
    values["size_off"] = 100 * abs(values["size_ratio"] - 1)
    values["penetration_off"] = abs(values["penetration_over_truth_mm"])
    return values


def run_scene(case_name: str, name: str, seed: int, config: RefineConfig) -> Values:
    """The measures of one scene before and after."""
    case = CASES[case_name]
    rendered = truth_of(name, seed, case)
    true = Placed(rendered.hand_vertices, rendered.hand_keypoints, rendered.T_camera_object)
    before = measured(before_of(f"{case_name} {name} {seed}", rendered, case, seed), true, name)
    scene, factor = disturbed_scene(rendered, case.disturbance, seed)
    clock = time.perf_counter()
    try:
        result = refine(scene, config)
    except FgsError as error:
        return {"error": str(error)}
    seconds = time.perf_counter() - clock
    T = similarity(result.after.rotation, result.after.translation, factor * float(result.after.scale))
    after = measured(Placed(result.hand_vertices[1], result.hand_keypoints[1], T), true, name)
    if not np.allclose(result.camera.focal, scene.camera.focal):
        for values in (before, after):
            values.update(dict.fromkeys(NEED_A_CAMERA))
    return {"before": before, "after": after, "seconds": seconds}


def run_object(name: str, seeds: Sequence[int], config: RefineConfig) -> Values:
    """The measures of all grasps on one object, without a picture: lists for each of `GIVEN`."""
    mesh, model = load_object(HELD[name](), name=name), open_hand()
    there = _there(name, seeds)
    seeds, true = list(there), list(there.values())
    given = [
        disturbed_grasp(grasp, seed, share) for share in GIVEN.values() for grasp, seed in zip(true, seeds, strict=True)
    ]
    hands = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
    count = len(given)
    starts = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count))
    points = sample_points(mesh, config.contact.object_points, jax.random.key(0))
    problem = ContactProblem(mano_kind(model), distance_grid(mesh, config.grid), points)
    clock = time.perf_counter()
    found = refine_grasps(problem, starts, jax.random.key(config.seed), config.contact, width=count)
    found = jax.block_until_ready(found)
    seconds = (time.perf_counter() - clock) / count

    def placed(params: Any, T: Any = None) -> Placed:
        hand = posed(model, params)
        T = np.eye(4) if T is None else T
        return Placed(np.asarray(hand.vertices, float), np.asarray(hand.keypoints, float), T)

    results: dict[str, list[Values]] = {kind: [] for kind in GIVEN}
    for k, params in enumerate(given):
        truth = placed(true[k % len(true)])
        after, rotation, translation = jax.tree.map(
            lambda x, k=k: np.asarray(x)[k], (found.grasp.hand, found.grasp.rotation, found.grasp.translation)
        )
        pair = placed(params), placed(after, similarity(rotation, translation, float(found.grasp.scale[k])))
        before, after = (measured(each, truth, name) for each in pair)
        results[list(GIVEN)[k // len(true)]].append({"before": before, "after": after, "seconds": seconds})
    return results


def _there(name: str, seeds: Sequence[int]) -> dict[int, Any]:
    """The true grasps of these seeds; some objects have none for some."""
    found = {}
    for seed in seeds:
        try:
            found[seed] = given_grasp(name, seed)
        except ValueError as error:
            print(f"  left out: {error}", flush=True)
    return found


def row(name: str, results: Sequence[Values]) -> str:
    """Medians before and after."""
    good = [each for each in results if "error" not in each]
    cells = []
    for key in COLUMNS.values():
        values = np.array([[each[when][key] for when in ("before", "after")] for each in good], float).reshape(-1, 2)
        known = values[np.isfinite(values).all(axis=1)]
        digits = 2 if "_f1" in key or "precision" in key or "recall" in key else 1
        cells.append(" → ".join(f"{x:.{digits}f}" for x in np.median(known, axis=0)) if len(known) else "-")
    seconds = np.median([each["seconds"] for each in good]) if good else np.nan
    return f"| {name} | {len(good)} of {len(results)} | {' | '.join(cells)} | {seconds:.1f} |"


def falls(name: str, results: Sequence[Values]) -> str:
    """How many keypoint errors and depths fall, and their means."""
    object_mm, depth = (
        np.array([[each[when][key] for when in ("before", "after")] for each in results])
        for key in ("object_mm", "penetration_mm")
    )
    fall = [object_mm[:, 1] < object_mm[:, 0], (depth[:, 1] < depth[:, 0]) | (depth.max(axis=1) < SHALLOW)]
    means = [" → ".join(f"{x:.1f}" for x in values.mean(axis=0)) for values in (object_mm, depth)]
    shares = [f"{100 * share.mean():.0f} %" for share in (*fall, fall[0] & fall[1])]
    return f"| {name} | {len(results)} | {' | '.join(means + shares)} |"


def kept_results(folder: Path, name: str, make: Callable[[], Values]) -> Values:
    """The values in the folder under this name, or new ones."""
    path = folder / f"{name}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(make()), encoding="utf-8")
        part.rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def mark_of(config: RefineConfig) -> str:
    """Of the sources and the configuration as they are."""
    digest = hashlib.sha256(json.dumps(config_values(config), sort_keys=True, default=str).encode())
    for path in sorted(Path(__file__).parents[1].glob("fgs_jax/**/*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def folder_of(config: RefineConfig) -> Path:
    """For results of these."""
    return KEPT / mark_of(config)


def main(
    *,
    short: bool = False,
    half: Half = "choose",
    config: str = "fast",
    given: str = "given",
    cases: tuple[str, ...] | None = None,
    commit: bool = False,
    markdown: Path | None = None,
) -> None:
    """Prints the tables, and writes them into their section of a file.

    `short`: few cases and scenes. `config`: also a row of `benchmarks.contact.ROWS`. `given`: the configuration without
    a picture. `cases`: some of `CASES`, and "given". `commit`: what was made of truths and befores goes into the
    committed file.
    """
    start_up()
    with_picture = ROWS[config] if config in ROWS else load_config(config)
    without = load_config(given, GIVEN_CONFIG)
    chosen = cases or (*(SHORT_CASES if short else CASES), "given")
    header = f"| {' | '.join(('', 'scenes', *COLUMNS, 's'))} |\n|---|{'--:|' * (len(COLUMNS) + 2)}"
    rows, fallen, folders = [], [], (folder_of(with_picture), folder_of(without))
    for case in [case for case in chosen if case != "given"]:
        results = []
        for name, seed in seeds_of(half, SHORT_SCENES if short else SCENES):
            key = f"{case} {name} {seed}"
            results.append(kept_results(folders[0], key, partial(run_scene, case, name, seed, with_picture)))
            print(f"  {key}: {results[-1].get('error') or _line(results[-1])}", flush=True)
        rows.append(row(case, results))
        print(rows[-1], flush=True)
    if "given" in chosen:
        first, count = 0 if half == "choose" else SEEDS, GRASPS
        found = []
        for name in objects():
            key, seeds = f"given {name} {count} {half}", range(first, first + count)
            found.append(kept_results(folders[1], key, partial(run_object, name, seeds, without)))
            print(f"  {key}", flush=True)
        for kind in GIVEN:
            results = [each for values in found for each in values[kind]]
            rows.append(row(f"no picture, {kind}", results))
            fallen.append(falls(kind, results))
    how = f"{'short, ' if short else ''}configuration {config}, {given} without a picture"
    text = f"""## How true hands are, half to {half}, {how}

{header}
{chr(10).join(rows)}

Medians, before → after. Without a picture:

| | grasps | keypoints in the object's frame, mean, mm | penetration, mean, mm | keypoints fall | it falls | both |
|---|--:|--:|--:|--:|--:|--:|
{chr(10).join(fallen)}

{machine()}"""
    print(text)
    if markdown is not None:
        write_section(markdown, f"truth {half}", text)
    if commit:
        print(commit_rows(), "rows committed")


def _line(values: Values) -> str:
    keys = ("wrist_mm", "object_mm", "size_off", "finger_f1", "penetration_off")
    return ", ".join(f"{key} {values['before'][key]:.2f} → {values['after'][key]:.2f}" for key in keys)


if __name__ == "__main__":
    tyro.cli(main)
