"""The parts of the comparison, a table each: object pose, contact, hand and distances, by us and by others."""

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import jax
import numpy as np

from benchmarks.hand import measure
from benchmarks.opa_speed import bare, judged
from benchmarks.peers import distances, torch_opa
from benchmarks.peers.costs import Bar, Cost, bar_of, costs, fastest, scaled
from benchmarks.peers.jobs import (
    CONTACT_STEPS,
    HISTORY,
    PAPER_STEPS,
    PAPERS_LOSS,
    RESTARTS,
    SHAPE,
    STARTS,
    STEPS,
    ContactStarts,
    Variant,
    check,
    check_contact,
    check_opa,
    contact_starts,
    opa_energy,
    opa_starts,
    our_contact_call,
    our_paper,
    prepare_contact,
    prepare_opa,
    relative,
    scene_of,
    torch_contact_call,
    torch_opa_call,
)
from benchmarks.timing import peak_memory
from fgs_jax.config import FAST_OPA, PAPER_OPA
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.picture.scene import Scene
from fgs_jax.results.result import ObjectPoses
from fgs_jax.stages.opa import approximate
from fgs_jax.stages.opa_problem import pose_problem
from fgs_jax.testing.hands import synthetic_mano
from fgs_jax.testing.mano_files import write_mano_npz
from fgs_jax.testing.scenes import make_scene
from fgs_jax.testing.shapes import SHAPES

# Object pose


def paper_loss(scene: Scene, found: ObjectPoses) -> float:
    """Eq. 11 of the paper's form at the best pose, over the mask's area and on samples that no solver has seen."""
    problem, centre = pose_problem(scene, jax.random.key(99), PAPER_OPA)
    rotation = np.asarray(found.rotation[:1], np.float32)
    translation = np.asarray(found.translation[:1] + found.rotation[:1] @ centre, np.float32)
    energy, _ = opa_energy(problem, rotation, np.zeros((1, 3), np.float32), translation, True)
    return float(energy[0]) / float(problem.mask_area)


def losses(shapes: tuple[str, ...]) -> list[str]:
    """A row for each scene: what both of our solvers reach from the same starts, and the true pose."""
    rows = []
    what = ("fast", "in phases", "paper's solver", "true pose")
    lines = [
        f"| scene | paper's loss, {' | '.join(what)} | default's loss, {' | '.join(what)} |",
        "|---|" + 8 * "--:|",
    ]
    for shape in shapes:
        scene, truth = scene_of(shape), make_scene(shape, 0).T_camera_object
        configs = (FAST_OPA, PAPERS_LOSS, PAPER_OPA)
        found = [approximate(scene, jax.random.key(0), RESTARTS, config=bare(config)) for config in configs]
        found.append(found[0]._replace(rotation=truth[None, :3, :3], translation=truth[None, :3, 3]))
        rows.append([loss(scene, poses) for loss in (paper_loss, judged) for poses in found])
        lines.append(f"| {shape} | {' | '.join(f'{value:.3g}' for value in rows[-1])} |")
        print(lines[-1], flush=True)
    return [*lines, f"| median | {' | '.join(f'{value:.3g}' for value in np.median(rows, axis=0))} |"]


def opa_part(rounds: int, shapes: tuple[str, ...], threads: tuple[int, ...]) -> tuple[list[str], list[Bar]]:
    scene = scene_of(SHAPE)
    given = opa_starts(scene, STARTS)
    for form in torch_opa.FORMS:
        check_opa(given, form)
    ours = our_paper(given)
    for form in torch_opa.FORMS:
        history = torch_opa_call(given, Variant(form, False, STARTS, 1))().history.numpy()
        differences = np.abs(history / ours.history[:, :STEPS] - 1)
        check(f"OPA, {form}, {STEPS} steps of {STARTS} starts", np.median(differences, axis=0).max(), HISTORY)

    eager = product(torch_opa.FORMS, (False,), (1, 2, 4, 8, 16, 32, 64), threads)
    # The compiler unrolls chunks. The gradient through all pairs gains nothing by it and takes a minute to compile.
    through_compiler = product(torch_opa.FORMS[1:], (True,), (8, 16, 32, 64), threads)
    variants = [Variant(*options) for options in (*eager, *through_compiler)]
    best = fastest(variants, lambda variant: torch_opa_call(given, variant, 3))
    names = {f"PyTorch, paper's loop, {variant}": variant for variant in best}
    run = partial(approximate, scene, jax.random.key(0), RESTARTS)
    calls: dict[str, Callable[[], object]] = {name: torch_opa_call(given, v) for name, v in names.items()}
    calls["fgs_jax, the paper's solver"] = partial(our_paper, given, STEPS)
    looped = list(calls)
    calls["fgs_jax, the paper's loss in phases"] = partial(run, config=bare(PAPERS_LOSS))
    calls["fgs_jax, FAST_OPA"] = partial(run, config=bare(FAST_OPA))
    calls["fgs_jax, FAST_OPA with choice and polish by silhouette"] = run
    measured = costs(calls, rounds)
    lines = [
        "### Object pose, 1000 starts\n",
        "| solver | s | CPU s | times ours | CPU | memory, MB |\n|---|--:|--:|--:|--:|--:|",
    ]
    reference, bars = measured["fgs_jax, FAST_OPA"], []
    for name, cost in measured.items():
        scale = PAPER_STEPS / STEPS * RESTARTS / STARTS if name in looped else 1.0
        cells = [scale * cost.cpu, scale * cost.wall / reference.wall, scale * cost.cpu / reference.cpu]
        memory = ""
        if name in names or name == "fgs_jax, FAST_OPA":
            memory = f"{peak_memory(prepare_opa, names.get(name)):.0f}"
        lines.append(f"| {name} | {scaled(cost, scale)} | {' | '.join(f'{value:.3g}' for value in cells)} | {memory} |")
        bars.append(bar_of(name, scaled(cost, scale), reference))
    lines += [
        "",
        f"Scene {SHAPE}. The paper's loop: timed on {STEPS} steps of {STARTS} starts and scaled linearly to "
        f"{PAPER_STEPS} steps of {RESTARTS}. In phases, FAST_OPA: the whole call, warm, with making the problem. "
        f"Memory: of {STARTS} starts of PyTorch's, of all 1000 of ours, compilation included.  ",
        "",
        *losses(shapes),
        "",
        "Best of the same 1000 starts, on samples that no solver has seen. In phases: the paper's loss, minimised from "
        "ever fewer starts. Paper's solver: ours of the paper's form; "
        f"the energies of its first {STEPS} steps are those of PyTorch's loop. The paper's loss is over the mask's "
        "area.  ",
    ]
    return lines, bars


# Contact


def contact_part(rounds: int, grasps: int, threads: tuple[int, ...]) -> tuple[list[str], list[Bar]]:
    given = contact_starts(grasps)
    small = jax.tree.map(lambda x: x[:16], (given.grasps, given.searching))
    few = ContactStarts(given.problem, *small)
    for form in ("cdist", "difference"):
        check_contact(few, form)
        for refresh in (1, 10):
            theirs = torch_contact_call(few, Variant(form, False, 16, 1), refresh)()
            name = f"contact, {form}, {STEPS} steps, neighbours every {refresh}"
            check(name, relative(theirs, our_contact_call(few, refresh)()), HISTORY)

    # Written out, the pairs are three times slower than cdist without the compiler, and faster with it.
    forms = (("cdist", False), ("difference", True))
    variants = [Variant(*form, chunk, count) for form in forms for chunk in (1, 2, 4, 16, 64, 256) for count in threads]
    best = fastest(variants, lambda variant: torch_contact_call(given, variant, 1, 1))
    calls: dict[str, Callable[[], object]] = {}
    for refresh in (1, 10):
        every = "every step" if refresh == 1 else f"every {refresh} steps"
        for variant in best:
            steps = 2 if refresh == 1 else 10
            calls[f"PyTorch, {variant}; neighbours {every}"] = torch_contact_call(given, variant, refresh, steps)
        calls[f"fgs_jax; neighbours {every}"] = our_contact_call(given, refresh)
    measured = costs(calls, rounds)
    lines = [
        f"### Contact, {grasps} grasps, {CONTACT_STEPS} steps\n",
        "| | s | CPU s | times ours, same work | CPU | times ours, neighbours every 10 steps | memory, MB |\n"
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    bars = []
    default = per_step("fgs_jax; neighbours every 10 steps", measured)
    for name in measured:
        cost, same = per_step(name, measured), per_step(f"fgs_jax; {name.split('; ')[1]}", measured)
        cells = [CONTACT_STEPS * cost.cpu, cost.wall / same.wall, cost.cpu / same.cpu, cost.wall / default.wall]
        memory = ""
        if name.endswith("10 steps"):
            variant = next((v for v in best if f"PyTorch, {v};" in name), None)
            memory = f"{peak_memory(prepare_contact, variant, grasps):.0f}"
        whole = scaled(cost, CONTACT_STEPS)
        lines.append(f"| {name} | {whole} | {' | '.join(f'{value:.3g}' for value in cells)} | {memory} |")
        bars.append(bar_of(name, whole, scaled(same, CONTACT_STEPS)))
    lines += [
        "",
        f"Timed on {STEPS} steps of ours, 2 or 10 of PyTorch's, and scaled linearly to {CONTACT_STEPS}, all counted as "
        "steps of step two. DexGraspNet finds the neighbours at every step. Ours also records the keypoint and order "
        "terms, whose weight is zero.  ",
    ]
    return lines, bars


def per_step(name: str, measured: dict[str, Cost]) -> Cost:
    steps = STEPS if name.startswith("fgs_jax") else 2 if name.endswith("every step") else 10
    return scaled(measured[name], 1 / steps)


# Hand and distances


def hand_part() -> list[str]:
    lines = [
        "### Hand, 1024 of them\n",
        "| layer | forward, ms | times ours | forward + backward, ms | times ours |\n|---|--:|--:|--:|--:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MANO_RIGHT.npz"
        write_mano_npz(path, synthetic_mano())
        names = ["fgs_jax", "body-models JAX", "body-models torch", "body-models torch.compile"]
        medians, _ = measure(path, names, 1024)
    for name in names:
        cells = []
        for kind in ("forward", "backward"):
            cells += [1e3 * medians[name, kind], medians[name, kind] / medians["fgs_jax", kind]]
        lines.append(f"| {name} | {' | '.join(f'{value:.3g}' for value in cells)} |")
    return lines


def distances_part(rounds: int) -> list[str]:
    mesh = load_object(SHAPES["mug"](), name="mug")
    grid = distance_grid(mesh)
    given = contact_starts(64)
    vertices = np.asarray(given.searching.search.last.vertices)
    queries = np.asarray(sample_points(mesh, 2000, jax.random.key(0)))
    calls = distances.nearest_calls(queries, vertices)
    check("nearest, distances", distances.nearest_error(calls, queries, vertices), 1e-3)
    measured = costs(calls, rounds)
    lines = [
        "### Distances\n",
        "| nearest of 778 vertices to 2000 points, 64 hands | ms | times ours | CPU |\n|---|--:|--:|--:|",
    ]
    lines += _compared(measured, "fgs_jax")

    points = np.asarray(vertices.reshape(-1, 3), float)
    calls = distances.signed_calls(mesh, grid, points)
    exact, ours = distances.signed_errors(calls)
    voxel = float(grid.voxel)
    check("signed distance, libigl and Open3D, metres", exact, 1e-5)
    low, high = np.asarray(grid.origin), np.asarray(grid.origin) + voxel * (np.asarray(grid.counts) - 1)
    within = ((points >= low) & (points <= high)).all(axis=1)
    check("signed distance in the grid, voxels from exact", ours[within].max() / voxel, 0.5)
    measured = costs(calls, rounds)
    lines += [
        "",
        f"| signed distance of {len(points)} points to a mesh of {len(mesh.faces)} faces | ms | times ours | CPU |",
        "|---|--:|--:|--:|",
        *_compared(measured, "fgs_jax grid"),
        "",
        f"Ours is interpolated in a grid of 64^3 nodes: in its box off by {1e3 * ours[within].mean():.2f} mm on "
        f"average and {1e3 * ours[within].max():.2f} mm at most (voxel {1e3 * voxel:.2f} mm); the others are exact and "
        "have no gradient. Making the grid is not counted, nor is Open3D's tree.  ",
    ]
    return lines


def _compared(measured: dict[str, Cost], ours: str) -> list[str]:
    reference = measured[ours]
    return [
        f"| {name} | {scaled(cost, 1e3)} | {cost.wall / reference.wall:.3g} | {cost.cpu / reference.cpu:.3g} |"
        for name, cost in measured.items()
    ]
