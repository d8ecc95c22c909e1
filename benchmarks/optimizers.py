"""Optimizers against each other: cost at matched evaluations and at matched seconds, success, profiles, a gate.

python -m benchmarks.optimizers [--problems rendered photos contact] [--solvers NAME ...] [--seeds N]
                                [--gate] [--markdown FILE] [--tune] [--keep] [--picture FILE]

How to read it, and how to add a solver: docs/optimizers.md. Every solver gets the same starts, the same energy and the
same number of evaluations; its one knob is tuned (`--tune`) on scenes that are not in the test set.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import tyro
from jaxtyping import Array, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from benchmarks.grasps import grasp, open_hand
from benchmarks.opa import as_scene
from benchmarks.photos import SCENES, TUMBLERS, exact_scenes, photo_scene, photos
from benchmarks.scenes import RenderedScene, add_s, diameter, make_scene
from benchmarks.shapes import SHAPES
from benchmarks.solvers import SOLVERS, UNIT, Objective, Solver, Trace, energies_of
from benchmarks.timing import machine, write_section
from fgs_jax.config import FAST, FAST_OPA
from fgs_jax.energies.contact import Contacts, nearest_contacts
from fgs_jax.energies.terms import term_values, weighted_sum
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.kind import HandState, retract_params
from fgs_jax.hands.mano import hand, mano_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.neighbours import nearest
from fgs_jax.objects.sample import sample_points
from fgs_jax.picture.scene import Scene, mirrored
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.results import metrics
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages import opa
from fgs_jax.stages.contact import closed_faces
from fgs_jax.stages.contact_problem import (
    ContactProblem,
    SeenAs,
    context_of,
    hand_neighbours,
    object_distance,
    posed_hand,
)
from fgs_jax.stages.opa import PoseProblem, PoseState, opa_terms, pose_problem, start_translation
from fgs_jax.stages.refine import align_scale, pose_hand, with_hand
from fgs_jax.types import Grasp, HandParams

Kind = Literal["rendered", "photos", "contact"]

BASELINE = Path(__file__).with_name("baseline.json")
REFERENCE = "Adam, cosine"
"""Ratios are to this one."""
STARTS = {"rendered": 64, "photos": 64, "contact": 8}
BUDGET = {"rendered": 96, "photos": 96, "contact": 150}
"""Evaluations of each start."""
SAMPLES = 256
"""Of the object's surface, and of its mask."""
OBJECT_POINTS = 512
"""Of the object that may be in the hand."""
TEST = {
    "rendered": ("mug", "hammer", "camera", "spray_bottle", "phone", "wine_glass"),
    "contact": ("mug", "can", "hammer"),
}
TUNING = {"rendered": ("pan", "bottle", "scissors"), "contact": ("bottle",)}
"""Shapes that are in no test."""
PERTURBED = (0.15, 0.01, 0.15)
"""Standard deviations of a grasp's turn, radians; place, metres; and joint angles, radians."""
FLOOR = 1e-9
"""Costs below this are equal."""
CLOSE = 0.01
"""A solver is done where all but this share of the way from the start to the best of all solvers is behind it."""


class Verdict(NamedTuple):
    """What a result is worth, whatever its cost."""

    success: float
    """Share of what was asked for; NaN where no truth is known."""
    quality: float
    """Object pose: ADD-S as a share of the diameter, on a photo masked IoU; contact: MPD, mm, median."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One problem: `starts(seed)` of it, and what a result is worth."""

    name: str
    kind: Kind
    objective: Objective
    shared: Any
    starts: Callable[[int], Any]
    pooled: bool
    """Whether one answer is sought, the best of all starts; otherwise one for each."""
    judge: Callable[[Any, Float[ndarray, "n d"], Float[ndarray, "n"]], Verdict]
    """Of the starts, what was found for each, and its energy."""


# --- the object's pose


class PoseShared(NamedTuple):
    problem: PoseProblem
    centre: Float[ndarray, "3"]
    """What the problem's points were taken about, object frame."""
    free: Float[Array, ""]
    """1 where the object's size is unknown, else 0."""


class PoseStart(NamedTuple):
    rotation: Any
    translation: Any


def _pose_state(shared: PoseShared, start: PoseStart, x: Array) -> PoseState:
    return PoseState(x[:3], start.translation + UNIT * x[3:6], shared.free * x[6])


def pose_energy(shared: PoseShared, start: PoseStart, x: Float[Array, "7"]) -> Float[Array, ""]:
    """Eq. 11 as the default has it."""
    terms = opa_terms(shared.problem, start.rotation, _pose_state(shared, start, x))
    weighted = FAST_OPA.lambda_dep * terms["dep"] + FAST_OPA.lambda_cam * terms["cam"]
    return terms["dist"] + weighted + FAST_OPA.lambda_size * shared.free * terms["size"]


def pose_residuals(shared: PoseShared, start: PoseStart, x: Float[Array, "7"]) -> Float[Array, "r"]:
    """Half of their squares' sum is `pose_energy`; their derivative holds the correspondences fixed."""
    problem, state = shared.problem, _pose_state(shared, start, x)
    turned = jnp.matmul(start.rotation, jaxlie.SO3.exp(state.rotation).as_matrix(), precision="highest")
    turned = jnp.exp(state.log_scale) * turned  # pyright: ignore[reportArgumentType]
    points, (n, m) = problem.points.T, (len(problem.points), len(problem.targets))
    placed = opa._place(turned, state.translation, points)
    pixels = opa._project(problem.camera, placed)
    matched = points[:, nearest(problem.targets, pixels.T)]
    back = opa._project(problem.camera, opa._place(turned, state.translation, matched)) - problem.targets.T
    cell = opa._cell(problem, pixels)
    off = opa._off_mask(problem, pixels, cell)
    dep = opa.L_dep(placed[2], problem.hand_depth.ravel()[cell]) / n / 0.1
    others = jnp.stack([FAST_OPA.lambda_dep * dep, FAST_OPA.lambda_cam * opa.L_cam(placed[2])])
    size = (FAST_OPA.lambda_size * shared.free) ** 0.5 * (state.translation[2] - problem.depth) / 0.05
    area = jnp.sqrt(problem.mask_area)
    roots = jnp.where(others > 0, jnp.sqrt(jnp.where(others > 0, others, 1.0)), 0.0)
    squared = [off.ravel() / jnp.sqrt(n) / area, back.ravel() / jnp.sqrt(m) / area, roots, size[None]]
    return jnp.sqrt(2.0) * jnp.concatenate(squared)


POSE = Objective(pose_energy, 7, (3, 4, 5), pose_residuals)


def pose_of(shared: PoseShared, start: PoseStart, x: Float[ndarray, "7"]) -> tuple[Float[ndarray, "4 4"], float]:
    """T_camera_object, and the scale of the object: p_camera = R (scale p) + t."""
    T, scale = np.eye(4), float(np.exp(np.asarray(shared.free) * x[6]))
    T[:3, :3] = np.asarray(start.rotation, float) @ Rotation.from_rotvec(np.asarray(x[:3], float)).as_matrix()
    T[:3, 3] = start.translation + UNIT * x[3:6] - scale * T[:3, :3] @ shared.centre
    return T, scale


def pose_problem_of(name: str, kind: Kind, scene: Scene, judge: Callable[[Any, float], Verdict]) -> Problem:
    """`judge` of the pose of least energy, `(T_camera_object, scale)`."""
    phases = tuple(replace(phase, points=SAMPLES, targets=SAMPLES) for phase in FAST_OPA.phases)
    problem, centre = pose_problem(scene, jax.random.key(0), replace(FAST_OPA, phases=phases))
    shared = PoseShared(problem, centre, jnp.float32(scene.object.size == "unknown"))

    def starts(seed: int) -> PoseStart:
        rotations = np.asarray(random_rotations(jax.random.key(seed), 0, STARTS[kind]))
        return PoseStart(rotations, np.tile(np.asarray(start_translation(problem)), (STARTS[kind], 1)))

    def judged(starts: PoseStart, x: Float[ndarray, "n 7"], energy: Float[ndarray, "n"]) -> Verdict:
        best = int(np.argmin(np.where(np.isfinite(energy), energy, np.inf)))
        return judge(*pose_of(shared, PoseStart(*(field[best] for field in starts)), x[best]))

    return Problem(name, kind, POSE, shared, starts, True, judged)


def rendered_problem(name: str, rendered: RenderedScene) -> Problem:
    scene = as_scene(rendered, size="metric", factor=1.0)
    return pose_problem_of(name, "rendered", scene, partial(against_truth, rendered))


def against_truth(rendered: RenderedScene, T: Float[ndarray, "4 4"], scale: float) -> Verdict:
    """Success: ADD-S below 10 % of the diameter."""
    share = add_s(rendered.object_vertices, T, rendered.T_camera_object) / diameter(rendered.object_vertices)
    return Verdict(float(share < 0.1), share)


def photo_problem(name: str, scene: Scene) -> Problem:
    scene = mirrored(scene) if scene.side == "left" else scene
    model = load_hand_model(FAST.hand_model)
    scene = with_hand(scene, model, pose_hand(scene, model))
    if scene.object.size == "unknown":
        vertices = align_scale(scene)["k_scale"] * scene.object.vertices
        scene = replace(scene, object=replace(scene.object, vertices=vertices))

    def judge(T: Float[ndarray, "4 4"], scale: float) -> Verdict:
        pose = opa._Poses(T[:3, :3], T[:3, 3], np.log(scale))
        return Verdict(np.nan, opa.masked_iou(scene, pose))

    return pose_problem_of(name, "photos", scene, judge)


def photo_problems() -> list[Problem]:
    """Three frames that are shipped, and six photos where their folder is there."""
    scenes = exact_scenes() if photos(exact=True) else {name: load_scene(SCENES / name) for name in TUMBLERS}
    for name in photos(exact=False):  # the mesh of a similar object says nothing of this one's size
        scene = photo_scene(name)
        scenes[name] = replace(scene, object=replace(scene.object, size="unknown"))
    return [photo_problem(name, scene) for name, scene in sorted(scenes.items())]


# --- contact


class ContactShared(NamedTuple):
    problem: ContactProblem
    weights: dict[str, float]


class ContactStart(NamedTuple):
    grasp: Grasp
    contacts: Contacts


def _grasp_at(start: ContactStart, x: Array) -> Grasp:
    given = start.grasp.hand
    state = HandState(given.pose + x[:45].reshape(15, 3), x[45:48], given.translation + UNIT * x[48:])
    return replace(start.grasp, hand=retract_params(None, given, state))


def contact_energy(shared: ContactShared, start: ContactStart, x: Float[Array, "51"]) -> Float[Array, ""]:
    """Eq. 12 without a picture; the neighbours of the object's points are found at every evaluation."""
    placed, problem = _grasp_at(start, x), shared.problem
    posed = posed_hand(problem, placed)
    known = hand_neighbours(problem, placed, posed.vertices)
    context = context_of(
        problem, placed, start.grasp.hand, start.contacts, seen=SeenAs(posed, None), posed=posed, known=known
    )
    terms = term_values(context, {})
    return weighted_sum({name: terms[name] for name in shared.weights}, shared.weights)


CONTACT = Objective(contact_energy, 51, (48, 49, 50))
WEIGHTS = {name: float(w) for name, w in FAST.contact.term_weights.items() if name not in ("keypoint", "order")}


@partial(jax.jit, static_argnames="reach")
def _contacts_of(problem: ContactProblem, grasps: Grasp, reach: float) -> Contacts:
    def one(placed: Grasp) -> Contacts:
        distance = object_distance(problem, placed, posed_hand(problem, placed).vertices)
        return nearest_contacts(distance, problem.hand.regions, FAST.contact.per_region, reach)

    return jax.vmap(one)(grasps)


_posed = jax.jit(jax.vmap(hand, (None, 0)))


def contact_problem_of(shape: str, seed: int) -> Problem:
    """A made-up grasp of a shape, perturbed; the object stays where it is."""
    vertices, faces = SHAPES[shape]()
    model, mesh = open_hand(), load_object((vertices, faces), size="metric", name=shape)
    base = jax.tree.map(np.asarray, grasp(vertices, faces, np.random.default_rng([seed, 11])))
    angles = Rotation.from_matrix(base.pose).as_rotvec()
    points = sample_points(mesh, OBJECT_POINTS, jax.random.key(0))
    problem = ContactProblem(mano_kind(model), distance_grid(mesh, FAST.grid), points)
    shared = ContactShared(problem, {name: jnp.float32(w) for name, w in WEIGHTS.items()})  # pyright: ignore
    surface, fingers = metrics.Surface(mesh.vertices, mesh.faces), metrics.fingers_of_vertices(model.weights)

    def starts(seed: int) -> ContactStart:
        count, rng = STARTS["contact"], np.random.default_rng([seed, 12])
        turn, place, bend = (
            sigma * rng.normal(size=(count, k)) for sigma, k in zip(PERTURBED, (3, 3, 45), strict=True)
        )
        hands = HandParams(
            betas=jnp.asarray(np.tile(base.betas, (count, 1)), jnp.float32),
            pose=jnp.asarray(angles + bend.reshape(count, 15, 3), jnp.float32),
            rotation=jnp.asarray(base.rotation @ Rotation.from_rotvec(turn).as_matrix(), jnp.float32),
            translation=jnp.asarray(base.translation + place, jnp.float32),
            scale=jnp.ones(count),
        )
        grasps = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count))
        return ContactStart(grasps, jax.tree.map(np.asarray, _contacts_of(problem, grasps, FAST.contact.reach)))

    def judge(starts: ContactStart, x: Float[ndarray, "n 51"], energy: Float[ndarray, "n"]) -> Verdict:
        placed = jax.vmap(_grasp_at)(starts, jnp.asarray(x, jnp.float32))
        hands = np.asarray(_posed(model, placed.hand).vertices, float)
        found = [good_grasp(metrics.Surface(v, closed_faces(model)), surface, fingers) for v in hands]
        return Verdict(float(np.mean([good for good, _ in found])), float(np.median([depth for _, depth in found])))

    return Problem(f"{shape} {seed}", "contact", CONTACT, shared, starts, False, judge)


def good_grasp(hand: metrics.Surface, object: metrics.Surface, fingers: Any) -> tuple[bool, float]:
    """MPD below 3 mm, SIV below 1 cm3 and at least three fingers in contact; and the MPD in mm."""
    distance = metrics.signed_distances(object, hand.vertices)
    depth = 1e3 * max(0.0, -float(distance.min()))
    touching = metrics.fingers_in_contact(distance, fingers).sum()
    volume = metrics.solid_intersection_volume(hand, object).volume
    return bool(depth < 3 and touching >= 3 and (volume is not None and volume < 1e-6)), depth


# --- runs


@cache
def problems(kind: Kind, purpose: Literal["test", "tuning"] = "test") -> tuple[Problem, ...]:
    """Photos have no tuning scenes: they take the rates of rendered ones."""
    if kind == "photos":
        return tuple(photo_problems())
    shapes, seed = (TEST, 0) if purpose == "test" else (TUNING, 7)
    if kind == "contact":
        return tuple(contact_problem_of(shape, seed) for shape in shapes[kind])
    return tuple(rendered_problem(f"{shape} {seed}", make_scene(shape, seed)) for shape in shapes[kind])


@dataclass(frozen=True, eq=False)
class Outcome:
    """One problem, one solver, one seed."""

    problem: str
    solver: str
    seed: int
    evaluations: Float[ndarray, "k"]
    """Per start, rising."""
    cost: Float[ndarray, "k"]
    """Best so far after each; never rises."""
    verdict: Verdict
    seconds: float
    """Warm."""

    @property
    def clock(self) -> Float[ndarray, "k"]:
        """Seconds after each."""
        return self.seconds * self.evaluations / self.evaluations[-1]


def best_so_far(trace: Trace, pooled: bool, first: Float[ndarray, "n"]) -> tuple[ndarray, ndarray]:
    """Evaluations of a start, on the grid of whole ones, and the cost of the best place until then.

    Cost: the least of all starts where they are `pooled`, else their median; `first`: at the starts themselves.
    """
    energy, evaluations = np.asarray(trace.energy, float), np.asarray(trace.evaluations, float)
    energy = np.minimum.accumulate(np.where(np.isfinite(energy), energy, np.inf), axis=1)
    grid = np.arange(1, int(np.ceil(evaluations[:, -1].max() - 1e-6)) + 1)
    rows = []
    for values, made, begin in zip(energy, evaluations, first, strict=True):
        last = np.searchsorted(made, grid + 1e-6, side="right") - 1
        rows.append(np.minimum(np.where(last >= 0, values[np.maximum(last, 0)], np.inf), begin))
    return grid.astype(float), np.min(rows, axis=0) if pooled else np.median(rows, axis=0)


def run(problem: Problem, name: str, solver: Solver, rate: float, seed: int, *, judged: bool = True) -> Outcome:
    """One run, timed; call it once before, so that it is compiled."""
    starts = problem.starts(seed)
    x = np.zeros((STARTS[problem.kind], problem.objective.dimension), np.float32)
    begin = time.perf_counter()
    trace = solver.run(problem.objective, problem.shared, starts, x, rate=rate, seed=seed, budget=BUDGET[problem.kind])
    trace = jax.tree.map(np.asarray, jax.block_until_ready(trace))
    seconds = time.perf_counter() - begin
    first = np.asarray(energies_of(problem.objective, problem.shared, starts, x), float)
    grid, cost = best_so_far(trace, problem.pooled, first)
    energy = np.min(np.where(np.isfinite(trace.energy), trace.energy, np.inf), axis=1)
    verdict = problem.judge(starts, np.asarray(trace.x, float), energy) if judged else Verdict(np.nan, np.nan)
    return Outcome(problem.name, name, seed, grid, cost, verdict, seconds)


def usable(solver: Solver, kind: Kind) -> str | None:
    """Why a solver takes no part; None where it does."""
    if solver.package and find_spec(solver.package) is None:
        return f"needs {solver.package}: pip install {solver.package}"
    if solver.squares and kind == "contact":
        return "needs a sum of squares; Eq. 12 is none"
    if solver.drops and kind == "contact":
        return "gives starts up; contact asks for a grasp from each"
    return None


@cache
def tuned(kind: Kind, name: str) -> float:
    """The rate of least mean logarithm of the cost at the whole budget, over the tuning scenes."""
    solver = SOLVERS[name]
    if len(solver.rates) == 1:
        return solver.rates[0]
    scores = []
    for rate in solver.rates:
        found = [run(p, name, solver, rate, 0, judged=False) for p in problems(kind, "tuning")]
        scores.append(np.mean([np.log(max(at(o, BUDGET[kind]), FLOOR)) for o in found]))
    return solver.rates[int(np.argmin(scores))]


def at(outcome: Outcome, evaluations: float) -> float:
    """The cost after so many evaluations; a curve that ends sooner keeps its last."""
    return float(outcome.cost[np.searchsorted(outcome.evaluations, evaluations + 1e-6, side="right") - 1])


def at_seconds(outcome: Outcome, seconds: float) -> float:
    """The same after so many seconds, of which a solver slower than its first evaluation has only its start."""
    index = np.searchsorted(outcome.clock, seconds * (1 + 1e-9), side="right") - 1
    return float(outcome.cost[max(index, 0)])


# --- summaries


class Row(NamedTuple):
    """One solver on one kind of problem; ratios are to the reference, geometric means over problems and seeds."""

    cost: tuple[float, float, float]
    """At a quarter, half and all of the evaluations."""
    spread: tuple[float, float]
    """Of the last: least and greatest over the seeds."""
    cost_seconds: tuple[float, float]
    """At half and all of the reference's seconds."""
    success: float
    quality: float
    seconds: float
    """Ratio."""
    compilation: float
    """Seconds more in the first call."""


def geometric(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios)))) if len(ratios) else float("nan")


def summarised(kind: Kind, outcomes: list[Outcome], compilation: dict[str, float]) -> dict[str, Row]:
    names = list(dict.fromkeys(o.solver for o in outcomes))
    by = {(o.solver, o.problem, o.seed): o for o in outcomes}
    instances = [(o.problem, o.seed) for o in outcomes if o.solver == REFERENCE]
    seeds = sorted({seed for _, seed in instances})
    rows, budget = {}, BUDGET[kind]

    def ratio(one: float, mine: float) -> float:
        return max(mine, FLOOR) / max(one, FLOOR)

    for name in names:

        def over(value: Callable[[Outcome, Outcome], float], only: int | None = None) -> float:
            pairs = [(by[REFERENCE, p, s], by[name, p, s]) for p, s in instances if only in (None, s)]  # noqa: B023
            return geometric([value(a, b) for a, b in pairs])

        cost = tuple(over(lambda a, b, e=e: ratio(at(a, e), at(b, e))) for e in (budget / 4, budget / 2, budget))
        by_seed = [over(lambda a, b: ratio(at(a, budget), at(b, budget)), seed) for seed in seeds]
        timed = tuple(
            over(lambda a, b, f=f: ratio(at_seconds(a, f * a.seconds), at_seconds(b, f * a.seconds))) for f in (0.5, 1)
        )
        verdicts = [by[name, p, s].verdict for p, s in instances]
        rows[name] = Row(
            cost,  # pyright: ignore[reportArgumentType]
            (min(by_seed), max(by_seed)),
            timed,  # pyright: ignore[reportArgumentType]
            float(np.mean([v.success for v in verdicts])),
            float(np.median([v.quality for v in verdicts])),
            over(lambda a, b: b.seconds / a.seconds),
            compilation[name],
        )
    return rows


def profiles(outcomes: list[Outcome], axis: Literal["evaluations", "clock"]) -> dict[str, ndarray]:
    """Dolan and Moré's: by solver, of each (problem, seed), the factor by which it took more than the fastest.

    To be done is to be within `CLOSE` of the way from the start's cost to the best that any solver found; the factor is
    infinite for a solver that never is.
    """
    names = list(dict.fromkeys(o.solver for o in outcomes))
    factors: dict[str, list[float]] = {name: [] for name in names}
    for key in dict.fromkeys((o.problem, o.seed) for o in outcomes):
        found = {o.solver: o for o in outcomes if (o.problem, o.seed) == key}
        least, start = min(o.cost[-1] for o in found.values()), max(o.cost[0] for o in found.values())
        target = least + CLOSE * (start - least)
        taken = {}
        for name, outcome in found.items():
            done = outcome.cost <= target
            taken[name] = getattr(outcome, axis)[np.argmax(done)] if done.any() else np.inf
        fastest = min(taken.values())
        for name in names:
            factors[name].append(taken[name] / fastest)
    return {name: np.sort(values) for name, values in factors.items()}


def draw_profiles(results: dict[str, list[Outcome]], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    words = {"evaluations": "evaluations", "clock": "seconds"}
    figure, axes = plt.subplots(
        len(results), 2, figsize=(11, 3.4 * len(results)), squeeze=False, sharey=True, layout="constrained"
    )
    names = list(dict.fromkeys(o.solver for outcomes in results.values() for o in outcomes))
    styles = {name: (f"C{k % 10}", "-" if k < 10 else "--") for k, name in enumerate(names)}
    for row, (kind, outcomes) in zip(axes, results.items(), strict=True):
        for panel, axis in zip(row, ("evaluations", "clock"), strict=True):
            for name, factors in profiles(outcomes, axis).items():
                colour, style = styles[name]
                finite = factors[np.isfinite(factors)]
                steps = np.concatenate([[1.0], finite, [64.0]])
                share = np.concatenate([[0.0], np.arange(1, len(finite) + 1), [len(finite)]]) / len(factors)
                panel.step(steps, share, where="post", color=colour, linestyle=style, label=name, linewidth=1.4)
            panel.set(xscale="log", xlim=(1, 64), ylim=(-0.02, 1.02))
            panel.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"], minor=False)
            panel.minorticks_off()
            panel.set_title(f"{kind}: {words[axis]}", fontsize=10)
            panel.grid(alpha=0.3)
        row[0].set_ylabel("share of problems done")
    for panel in axes[-1]:
        panel.set_xlabel("times the fastest solver's")
    handles = {
        label: line for panel in axes.ravel() for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(path, dpi=80)
    plt.close(figure)


# --- the gate


class Metric(NamedTuple):
    """A number that may not get worse than the baseline's by more than its tolerances."""

    value: float
    higher_is_better: bool
    relative: float
    absolute: float = 0.0

    def regressed(self, baseline: float) -> bool:
        if np.isnan(baseline):
            return False
        room = self.relative * abs(baseline) + self.absolute
        worse = baseline - self.value if self.higher_is_better else self.value - baseline
        return bool(np.isnan(worse) or worse > room)


def gate_metrics(row: Row) -> dict[str, Metric]:
    """Ratios and success; seconds only as a ratio, and loosely."""
    return {
        "cost ratio": Metric(row.cost[-1], False, 0.15),
        "success": Metric(row.success, True, 0.0, 0.1),
        "seconds ratio": Metric(row.seconds, False, 1.0, 0.2),
    }


def regressions(rows: dict[str, dict[str, Metric]], baseline: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """One line for each metric that got worse; a solver that the baseline does not know is none."""
    lines = []
    for name, found in rows.items():
        for key, metric in found.items():
            before = baseline.get(name, {}).get(key)
            if before is not None and metric.regressed(before):
                lines.append(f"{name}: {key} {metric.value:.3g}, baseline {before:.3g}")
    return lines


def settings(kind: Kind, seeds: int) -> dict[str, Any]:
    """What must be equal for two runs to be compared."""
    names = [problem.name for problem in problems(kind)]
    return {"problems": names, "seeds": seeds, "starts": STARTS[kind], "budget": BUDGET[kind]}


def load_baseline() -> dict[str, Any]:
    return json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}


# --- the table


def table(kind: Kind, rows: dict[str, Row], rates: dict[str, float], seeds: int, skipped: dict[str, str]) -> str:
    has_truth = kind != "photos"
    quality = {"rendered": "ADD-S, %", "photos": "masked IoU", "contact": "MPD, mm"}[kind]
    budget = BUDGET[kind]
    head = (
        f"| {kind} | rate | cost at {budget // 4} | at {budget // 2} | at {budget} evaluations | seeds "
        f"| cost at half of the seconds | at all | {'success | ' if has_truth else ''}{quality} "
        f"| seconds | compile, s |\n|---|--:|--:|--:|--:|--:|--:|--:|{'--:|' * has_truth}--:|--:|--:|"
    )
    lines = [head]
    for name, row in sorted(rows.items(), key=lambda item: item[1].cost[-1]):
        value = f"{100 * row.quality:.1f}" if kind == "rendered" else f"{row.quality:.3f}"
        success = [f"{100 * row.success:.0f} %"] if has_truth else []
        grid = SOLVERS[name].rates
        rate = f"{rates[name]:g}{'*' * (rates[name] in (grid[0], grid[-1]))}" if len(grid) > 1 else "-"
        cells = [name, rate, *(f"{v:.2f}" for v in row.cost), f"{row.spread[0]:.2f} to {row.spread[1]:.2f}"]
        cells += [*(f"{v:.2f}" for v in row.cost_seconds), *success, value, f"{row.seconds:.2f}"]
        lines.append(f"| {' | '.join([*cells, f'{row.compilation:.1f}'])} |")
    names = ", ".join(problem.name for problem in problems(kind))
    lines += [
        "",
        f"{len(problems(kind))} problems ({names}), {seeds} seeds, {STARTS[kind]} starts; *: at an end of its grid.  ",
    ]
    lines += [f"Left out: {name} {reason}.  " for name, reason in skipped.items()]
    return "\n".join(lines)


def compared(kind: Kind, names: Sequence[str], rates: dict[str, float], seeds: int) -> tuple[list[Outcome], dict]:
    """All runs, solvers in turn within each problem and seed; and the seconds that each one's compilation took."""
    first = problems(kind)[0]
    compilation = {}
    for name in names:
        begin = time.perf_counter()
        run(first, name, SOLVERS[name], rates[name], 0, judged=False)
        whole = time.perf_counter() - begin
        compilation[name] = max(0.0, whole - run(first, name, SOLVERS[name], rates[name], 0, judged=False).seconds)
    outcomes = []
    for seed in range(seeds):
        for problem in problems(kind):
            outcomes += [run(problem, name, SOLVERS[name], rates[name], seed) for name in names]
    return outcomes, compilation


def main(
    *,
    problems: tuple[Kind, ...] = ("rendered", "photos", "contact"),
    solvers: tuple[str, ...] = (),
    seeds: int = 2,
    tune: bool = False,
    keep: bool = False,
    gate: bool = False,
    markdown: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Prints a table for each kind of problem.

    solvers: names, all unless given; the reference always takes part. tune: tune the rates again. keep: write rates and
    results to baseline.json. gate: exit 1 where a ratio or a success got worse than there.
    """
    if unknown := sorted(set(solvers) - set(SOLVERS)):
        raise SystemExit(f"--solvers: expected names among {', '.join(SOLVERS)}, got {', '.join(unknown)}")
    asked = [name for name in SOLVERS if not solvers or name in (*solvers, REFERENCE)]
    baseline, last_line = load_baseline(), machine("jax", "optax")
    results: dict[str, list[Outcome]] = {}
    texts, worse = [], []
    for kind in problems:
        skipped = {name: reason for name in asked if (reason := usable(SOLVERS[name], kind))}
        names = [name for name in asked if name not in skipped]
        tuned_on = "contact" if kind == "contact" else "rendered"
        known = {} if tune else baseline.get(kind, {}).get("rates", {})
        rates = {name: known[name] if name in known else tuned(tuned_on, name) for name in names}
        outcomes, compilation = compared(kind, names, rates, seeds)
        rows = summarised(kind, outcomes, compilation)
        results[kind] = outcomes
        texts.append(table(kind, rows, rates, seeds, skipped))
        print(f"\n{texts[-1]}", flush=True)
        found = {name: gate_metrics(row) for name, row in rows.items()}
        if gate:
            before = baseline.get(kind, {})
            if before.get("settings") != settings(kind, seeds):
                print(f"gate: {kind} is not compared, its baseline is of other problems, seeds or budgets: run --keep")
            else:
                worse += [f"{kind}: {line}" for line in regressions(found, before["solvers"])]
        if keep:
            values = {n: {k: _rounded(m.value) for k, m in row.items()} for n, row in found.items()}
            before, now = baseline.get(kind, {}), settings(kind, seeds)
            if before.get("settings") == now:  # the solvers that were not run keep theirs
                rates, values = before["rates"] | rates, before["solvers"] | values
            baseline[kind] = {"settings": now, "rates": rates, "solvers": values}
            BASELINE.write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")
        if picture:
            draw_profiles(results, picture)
        if markdown:
            write_section(markdown, "optimizers", "\n\n".join(["## Optimizers", *texts, last_line]))
    print(f"\n{last_line}")
    if worse:
        raise SystemExit("regressed:\n" + "\n".join(worse))


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.4g}")


if __name__ == "__main__":
    tyro.cli(main)
