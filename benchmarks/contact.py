"""The main job on real pictures and on thin objects: the default, the paper's form, and each change taken back.

python -m benchmarks.contact [--cases photos unknown similar thin] [--rows default paper ...]
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array

from fgs_jax.config import FAST, PAPER, ContactConfig, RefineConfig
from fgs_jax.energies.contact import out_of_reach
from fgs_jax.errors import SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand, mano_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import ObjectMesh, load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.results import metrics
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.refine import refine
from fgs_jax.stages.step_two import begin_grasp, best_grasp, grasp_round
from fgs_jax.testing.scenes import of_unknown_size
from fgs_jax.testing.starts import hands_about
from fgs_jax.types import Grasp, HandModel
from tools.photos import DATA, exact_scenes, photo_scene, photos

THIN = ("wineglass", "scissors", "knife")
Case = Literal["photos", "unknown", "similar", "thin"]


def changed(**contact: Any) -> RefineConfig:
    return replace(FAST, contact=replace(FAST.contact, **contact))


ROWS: dict[str, RefineConfig] = {
    "default": FAST,
    "paper": PAPER,
    "step one: Adam with depth noise": changed(step_one="adam"),
    "random contact points": changed(contacts="random"),
    "four contact points a region": changed(per_region=4),
    "hand vertices in the object only": changed(both_directions=False),
    "no keypoint term": changed(w_keypoint=0.0),
    "w_keypoint 3000": changed(w_keypoint=3000.0),
    "w_dis_one 1": changed(w_dis_one=1.0),
    "every region within reach touches": changed(across_sigma=0.0, along_sigma=0.0),
    "the order in depth up to the masks' borders": changed(label_border=0.0),
    "flesh does not give": changed(flesh=False),
    "angles known to .3 radians": changed(angle_sigma=0.3),
    "no order term": replace(changed(w_order=0.0, w_order_one=0.0), w_agreement=0.0),
    "half the pose to start from": changed(pose_start=0.5),
    "w_pen 200": changed(w_pen=200.0),
    "w_theta 5": changed(w_theta=5.0),
    "constant rates, 1e-4, 3000 steps": changed(
        steps=3000, schedule="constant", angle_rate=1e-4, translation_rate=1e-4
    ),
    "the hand's size as its keypoints have it": replace(FAST, growth=0.0),
    "one object pose": replace(FAST, candidates=1),
    "object poses distinct in space": replace(FAST, opa=replace(FAST.opa, distinct_in="space")),
}
NEED_A_PICTURE = (
    "step one: Adam with depth noise",
    "no keypoint term",
    "w_keypoint 3000",
    "w_dis_one 1",
    "every region within reach touches",
    "the order in depth up to the masks' borders",
    "no order term",
    "the hand's size as its keypoints have it",
    "one object pose",
    "object poses distinct in space",
)
"""Rows that change nothing for thin objects."""
COLUMNS = (
    "mpd_mm",
    "siv_cm3",
    "object_depth_mm",
    "fingers_in_contact",
    "keypoint_error_share",
    "masked_iou",
    "mpd_beyond_margin_mm",
)
HEADER = (
    "| configuration | scenes | MPD, mm, mean (max) | beyond the margin | SIV, cm3 | object in hand, mm "
    "| fingers | keypoints, % | masked IoU | of it lost | occlusion agreement, before → after "
    "| found size off by, median % | s |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def run_scenes(case: Case, config: RefineConfig, verbose: bool) -> str:
    scenes = {name: photo_scene(name) for name in photos(exact=False)} if case == "similar" else exact_scenes()
    rows, lost, agreement, off, seconds = [], [], [], [], []
    for seed, (name, given) in enumerate(scenes.items()):
        scene, factor = of_unknown_size(given, seed) if case == "unknown" else (given, 1.0)
        if case == "similar":  # the size of another object is no knowledge of this one's
            scene = replace(scene, object=replace(scene.object, size="unknown"))
        begin = time.perf_counter()
        try:
            result = refine(scene, config)
        except SceneError as error:
            print(f"  left out: {name}: {error}", flush=True)
            continue
        seconds.append(time.perf_counter() - begin)
        before, after = result.metrics
        rows.append([np.nan if after[name] is None else after[name] for name in COLUMNS])
        lost.append((before["masked_iou"] or 0.0) - (after["masked_iou"] or 0.0))
        agreement.append(
            [np.nan if m["occlusion_agreement"] is None else m["occlusion_agreement"] for m in result.metrics]
        )
        # Depth was not known either: a size is right if it is that of the mesh, in metres.
        off.append(abs(float(result.after.scale) * factor - 1))
        if verbose:
            print("   ", name, np.round(rows[-1], 3), np.round(agreement[-1], 2), f"off {off[-1]:.2f}", flush=True)
    values, (first, last) = np.array(rows, float), np.nanmean(agreement, axis=0)
    mean = np.nanmean(values, axis=0)
    found_size = f"{100 * np.median(off):.0f}" if case == "unknown" else "-"
    return (
        f"{len(rows)} | {mean[0]:.2f} ({np.nanmax(values[:, 0]):.2f}) | {mean[6]:.2f} | {mean[1]:.3f} | {mean[2]:.2f} "
        f"| {mean[3]:.1f} "
        f"| {100 * mean[4]:.1f} | {mean[5]:.3f} | {max(lost):.3f} | {first:.2f} → {last:.2f} | {found_size} "
        f"| {np.median(seconds):.1f} |"
    )


def thin_problem(model: HandModel, mesh: ObjectMesh, config: RefineConfig) -> ContactProblem:
    """A problem without a picture."""
    points = sample_points(mesh, config.contact.object_points, jax.random.key(0))
    return ContactProblem(mano_kind(model), distance_grid(mesh, config.grid), points)


def run_thin(name: str, config: RefineConfig, count: int = 32) -> str:
    model, mesh = load_hand_model(config.hand_model), load_object(DATA / "objects" / f"{name}.ply")
    contact = replace(config.contact, reach=0.06, steps=max(500, config.contact.steps))
    problem, hands = thin_problem(model, mesh, config), hands_about(model, mesh, count, np.random.default_rng(0))
    still = jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count)
    step: Callable[..., Any] = jax.jit(lambda problem, grasps, keys: run_lanes(problem, grasps, keys, contact))
    keys = jax.random.split(jax.random.key(1), count)
    jax.block_until_ready(step(problem, Grasp(hands, *still), keys))
    begin = time.perf_counter()
    grasps = jax.block_until_ready(step(problem, Grasp(hands, *still), keys))
    seconds = time.perf_counter() - begin
    surface, fingers = metrics.Surface(mesh.vertices, mesh.faces), metrics.fingers_of_vertices(model.weights)
    posed = jax.jit(jax.vmap(hand, (None, 0)))(model, grasps.hand)
    found_grasps = [
        metrics.grasp_metrics(
            metrics.Surface(np.asarray(vertices, float), np.asarray(model.closed_faces)), surface, fingers
        )
        for vertices in posed.vertices
    ]
    depth, volume, mpd, touching = (
        np.array([np.nan if m[key] is None else m[key] for m in found_grasps], float)
        for key in ("object_depth_mm", "siv_cm3", "mpd_mm", "fingers_in_contact")
    )
    good = (mpd < 3) & (volume < 1) & (touching >= 3)
    return (
        f"{np.median(mpd):.2f} | {np.median(depth):.2f} | {np.median(volume):.3f} | {np.median(touching):.0f} "
        f"| {100 * good.mean():.0f} % | {count / seconds:.1f} |"
    )


def run_lanes(problem: ContactProblem, grasps: Grasp, keys: Any, contact: ContactConfig) -> Grasp:
    """The better end of each start's two lanes, as `refine` has them: as it is and with the fingers half open."""

    def lane(grasp: Grasp, key: Any, closed: Array) -> tuple[Grasp, Array]:
        searching = begin_grasp(problem, grasp, key, contact, closed=closed)
        searching, _, _ = grasp_round(problem, searching, contact, contact.rounds)
        missing = out_of_reach(searching.contacts, contact.w_dis, contact.reach)
        return best_grasp(problem, searching), searching.search.best[1] + missing

    lanes = jnp.ones(1) if contact.step_one == "adam" else jnp.array([1.0, 0.5])
    count = len(keys)
    each, keys = jax.tree.map(lambda x: jnp.repeat(x, len(lanes), axis=0), (grasps, keys))
    ends, energies = jax.vmap(lane)(each, keys, jnp.tile(lanes, count))
    best = jnp.argmin(energies.reshape(count, -1), axis=1) + len(lanes) * jnp.arange(count)
    return jax.tree.map(lambda x: x[best], ends)


def main(
    cases: tuple[Case, ...] = ("photos", "unknown", "similar", "thin"),
    rows: tuple[str, ...] = tuple(ROWS),
    verbose: bool = False,
) -> None:
    """Prints a table for each case."""
    for case in cases:
        if case == "thin":
            print(
                "\n| thin objects, 32 starts | configuration | MPD, mm, median | object in hand, mm | SIV, cm3 "
                "| fingers | MPD < 3, SIV < 1, fingers >= 3 | grasps/s |\n|---|---|--:|--:|--:|--:|--:|--:|"
            )
            for name in THIN:
                for row in [row for row in rows if row not in NEED_A_PICTURE]:
                    print(f"| {name} | {row} | {run_thin(name, ROWS[row])}", flush=True)
            continue
        print(f"\n{case}\n\n{HEADER}")
        for row in rows:
            print(f"| {row} | {run_scenes(case, ROWS[row], verbose)}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
