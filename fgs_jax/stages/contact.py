"""The contact stage: both steps on all of OPA's poses and both valleys of depth, of one scene or many at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key
from numpy import ndarray

from fgs_jax.config import ContactConfig, RefineConfig
from fgs_jax.energies.contact import Contacts, out_of_reach
from fgs_jax.errors import SceneError
from fgs_jax.hands.mano import mano_kind
from fgs_jax.journal import Journal
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.sample import sample_points
from fgs_jax.picture.masks import mask_at
from fgs_jax.picture.render import depth_map, depths_at, pixels_of, sampled
from fgs_jax.picture.scene import Scene, confidence_of
from fgs_jax.picture.upright import lean_cost
from fgs_jax.picture.view import VIEW_SIDE, picture_view
from fgs_jax.results.metrics.picture import masked_iou, occlusion_agreement
from fgs_jax.results.result import Candidate, ObjectPoses
from fgs_jax.solve.ahead import jit_once
from fgs_jax.solve.restarts import over_starts, run_scenes
from fgs_jax.stages.contact_problem import ContactProblem, Picture, SeenAs, placed_object
from fgs_jax.stages.step_one import Approach, approach
from fgs_jax.stages.step_two import GraspSearch, begin_grasp, best_grasp, grasp_round
from fgs_jax.stages.touch import touch_probabilities
from fgs_jax.types import Grasp, HandModel, HandParams, on_device

AROUND = 8
"""Pixels about a vertex that have to show what it does."""
ROUNDS = 10
"""Of step two between two visits to the host."""


@dataclass(frozen=True, eq=False)
class ContactTask:
    """A scene before its contact stage."""

    scene: Scene
    """With a posed hand."""
    problem: ContactProblem
    params: HandParams
    """Of the hand."""
    poses: ObjectPoses
    key: Key[Array, ""]
    journal: Journal | None = None


class Contact(NamedTuple):
    """What the contact stage found."""

    candidates: list[Candidate]
    """The best first."""
    history: Float[ndarray, "steps"]
    """Energy of the best at each step of step two."""
    terms: dict[str, Float[ndarray, "rounds"]]
    """Its terms, unweighted, each `refresh` steps."""


def contact_problem(scene: Scene, model: HandModel, config: RefineConfig, key: Key[Array, ""]) -> ContactProblem:
    """What the contact energies need of a scene with a posed hand."""
    seen = scene.keypoints_2d
    hand_vertices, _ = scene.posed_hand()
    kind = mano_kind(model)
    picture = Picture(
        camera=scene.camera,
        keypoints=on_device(np.zeros((21, 2)) if seen is None else np.nan_to_num(seen)),
        confidence=on_device(np.zeros(21) if seen is None else confidence_of(scene)),
        seen=on_device(vertices_seen(scene, hand_vertices, np.asarray(kind.faces), config.contact.label_border)),
        corners=picture_view(scene).corners,
    )
    grid = distance_grid(scene.object, config.grid)
    return ContactProblem(kind, grid, sample_points(scene.object, config.contact.object_points, key), picture)


def vertices_seen(
    scene: Scene, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], border: float = 0.0
) -> Float[ndarray, "v"]:
    """1 for hand vertices that the picture shows, -1 for those where it shows the object, 0 where it tells nothing.

    `border`: so near to a mask's border, as a share of the hand's size in the picture, it tells nothing either, since
    the hand is not quite where it is seen.
    """
    pixels = pixels_of(scene.camera, vertices)
    foremost = vertices[:, 2] <= depths_at(scene.camera, pixels, vertices, faces) + 0.003
    angles = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    around = border * np.ptp(pixels, axis=0).max() * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    height, width = scene.object_mask.shape
    # A mask does not end where the picture does.
    looked_at = [pixels, *(np.clip(pixels + offset, 0.5, [width - 0.5, height - 0.5]) for offset in around)]
    of_hand, of_object = (
        np.all([mask_at(mask, each) for each in looked_at], axis=0) for mask in (scene.hand_mask, scene.object_mask)
    )
    return 1.0 * (of_hand & foremost) - of_object


def compile_contact(
    making: Future[ContactProblem], params: HandParams, key: Key[Array, ""], config: RefineConfig, *, unknown_size: bool
) -> None:
    """Compiles both steps for one scene, from shapes alone, so that it may go on while the object's pose is sought."""
    problem, lanes = making.result(), config.candidates
    static, numbers = config.contact.split()
    params, rotation, translation, scale = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((lanes, *np.shape(x)), np.float32),
        (params, np.eye(3), np.zeros(3), 1.0),
    )
    starts = Grasp(params, rotation, translation, scale), jax.eval_shape(lambda: jax.random.split(key, lanes))
    arguments = ContactSettings(static, unknown_size), (problem, numbers), starts
    begin_poses.jitted.lower(*arguments).compile()
    searching = begin_poses.jitted.eval_shape(*arguments)[1]
    settings = RoundSettings(static, min(ROUNDS, static.rounds))
    run_scenes.lower(go_on, settings, [(problem, numbers)], [searching]).compile()


def optimise_contact(tasks: Sequence[ContactTask], config: RefineConfig) -> list[Contact | SceneError]:
    """Both steps on all poses and both valleys of each scene; step two of all scenes as one program.

    The shapes of all problems must be equal. A scene where no hand comes near enough to touch, or no candidate ends
    with a finite energy, gets a SceneError in place of its result and does not disturb the others.
    """
    begun: list[_Begun | SceneError] = [_tried(_begun, task, config) for task in tasks]
    going = [(task, start) for task, start in zip(tasks, begun, strict=True) if not isinstance(start, SceneError)]
    searches = [start.searching for _, start in going]
    records = [_Records([], []) for _ in going]
    for done in range(0, config.contact.rounds if going else 0, ROUNDS):
        rounds = min(ROUNDS, config.contact.rounds - done)
        results = _rounds([task for task, _ in going], searches, config.contact, rounds)
        searches = [searching for searching, _, _ in results]
        for record, (_, history, terms) in zip(records, results, strict=True):
            record.histories.append(np.asarray(history))
            record.terms.append(np.asarray(terms))
    ended = iter(
        _tried(_chosen, task, start._replace(searching=searching), record, config)
        for (task, start), searching, record in zip(going, searches, records, strict=True)
    )
    return [start if isinstance(start, SceneError) else next(ended) for start in begun]


def starts_of(poses: ObjectPoses, params: HandParams, count: int) -> Grasp:
    """A lane for each pose, with the hand as it was seen; the first again where there are fewer."""
    lanes = np.where(np.arange(count) < len(poses.scale), np.arange(count), 0)
    fields: Any = (np.asarray(x[lanes], np.float32) for x in (poses.rotation, poses.translation, poses.scale))
    hands = jax.tree.map(lambda x: np.broadcast_to(x, (count, *np.shape(x))), params)
    return Grasp(hands, *fields)


class _Begun(NamedTuple):
    factor: Float[ndarray, "lanes"]
    real: Bool[ndarray, "lanes"]
    """Lanes that stand for a candidate of their own."""
    searching: GraspSearch


class _Records(NamedTuple):
    """Of step two, by visits to the host."""

    histories: list[Float[ndarray, "lanes steps"]]
    terms: list[Float[ndarray, "lanes rounds n"]]


def _tried(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except SceneError as error:
        return error


def _begun(task: ContactTask, config: RefineConfig) -> _Begun:
    contact, lanes = config.contact, 2 * config.candidates
    static, numbers = contact.split()
    unknown_size = task.scene.object.size == "unknown"
    starts = starts_of(task.poses, task.params, config.candidates), jax.random.split(task.key, config.candidates)
    first, searching = begin_poses(ContactSettings(static, unknown_size), (task.problem, numbers), starts)
    real = np.arange(lanes) // 2 < len(task.poses.scale)
    if contact.step_one == "adam":  # both are the same
        real &= np.arange(lanes) % 2 == 0
    closest = np.asarray(searching.contacts.distance)[real].min()
    if contact.contacts == "nearest" and not closest <= contact.reach:
        raise SceneError(
            f"hand and object: expected a distance of at most {1e3 * contact.reach:.0f} mm at some depth, got "
            f"{1e3 * closest:.0f} mm: check the object's size, K and the hand"
        )
    return _Begun(np.asarray(first.factor).ravel(), real, searching)


def _chosen(task: ContactTask, ended: _Begun, records: _Records, config: RefineConfig) -> Contact:
    """The candidates in order: by energy, silhouette (less what the object leans) and order in depth."""
    scene, contact, lanes, searching = task.scene, config.contact, len(ended.real), ended.searching
    searching = jax.tree.map(np.asarray, searching)
    _, energy, (_, vertices) = searching.search.best
    energy = energy + out_of_reach(searching.contacts, contact.w_dis, contact.reach)
    grasps = jax.tree.map(np.asarray, _best(task.problem, searching))
    each = (jax.tree.map(lambda x: x[k], grasps) for k in range(lanes))  # noqa: B023
    measured = _measures(scene, np.asarray(task.problem.hand.faces))
    iou, agreement = np.transpose([measured(grasp, seen) for grasp, seen in zip(each, vertices, strict=True)])
    if contact.step_one == "scan":  # which changes no pixel of the object: as OPA has measured it, on all of them
        iou = task.poses.masked_iou[np.minimum(np.arange(lanes) // 2, len(task.poses.masked_iou) - 1)]
    fit = iou - lean_cost(scene.object_up, scene.gravity, grasps.rotation)
    score = np.asarray(energy, float) + config.w_mask * (1 - fit) + config.w_agreement * (1 - agreement)
    usable = ended.real & np.isfinite(score)
    # Energies never reach this: it orders those that do not match the mask behind all that do.
    score = score + 1e4 * (fit < np.max(fit, initial=-np.inf, where=usable) - config.mask_tolerance)
    score = np.where(usable, score, np.inf)
    order = [int(k) for k in np.argsort(score, kind="stable") if np.isfinite(score[k])]
    if not order:
        at_start = records.terms[0][:, 0].T
        names = [name for name, x in zip(contact.term_weights, at_start, strict=True) if np.isnan(x).all()]
        check = f"term {', '.join(names)}, which is nan at the start" if names else "the hand and the object's mesh"
        raise SceneError(f"contact: no candidate ended with a finite energy: check {check}")
    candidates = [
        Candidate(
            pose=k // 2,
            valley=k % 2,
            factor=float(ended.factor[k]),
            energy=float(energy[k]),
            masked_iou=float(iou[k]),
            occlusion_agreement=float(agreement[k]),
            score=float(score[k]),
            grasp=jax.tree.map(lambda x: x[k], grasps),  # noqa: B023
            hand_vertices=np.asarray(vertices[k], float),
        )
        for k in order
    ]
    best = order[0]
    terms = np.concatenate([part[best] for part in records.terms])
    history = np.concatenate([part[best] for part in records.histories])
    return Contact(candidates, history, dict(zip(contact.term_weights, terms.T, strict=True)))


class ContactSettings(NamedTuple):
    """What step one, and the beginning of step two, are compiled for."""

    config: ContactConfig
    """Without numbers."""
    unknown_size: bool


class RoundSettings(NamedTuple):
    """What step two is compiled for, whether the object's size is known or not."""

    config: ContactConfig
    """Without numbers."""
    rounds: int


Round = tuple[GraspSearch, Float[Array, "steps"], Float[Array, "rounds n"]]
"""A search that has gone on, its energies and its terms."""
_Shared = tuple[ContactProblem, dict[str, Any]]
"""What the lanes of a scene share: its problem, and the numbers of the configuration."""


def _begin_pose(
    settings: ContactSettings, shared: _Shared, start: tuple[Grasp, Key[Array, ""]]
) -> tuple[Approach, GraspSearch]:
    """Step one of a pose and the beginning of step two in both of its valleys, along a leading axis.

    Where there is one valley only, the second lane starts in it with the fingers half open.
    """
    (static, unknown_size), (problem, numbers), (grasp, key) = settings, shared, start
    config = static.joined(numbers)
    first = approach(problem, grasp, key, config, unknown_size=unknown_size)
    closed = jnp.stack([jnp.ones(()), jnp.where(first.distinct, 1.0, 0.5)])

    def begin(lane: Grasp, closed: Float[Array, ""], seen: SeenAs, drawn: Contacts | None) -> GraspSearch:
        touch = touch_probabilities(problem.hand, seen.posed.vertices, placed_object(problem, lane), config)
        return begin_grasp(problem, lane, key, config, closed=closed, seen=seen, drawn=drawn, touch=touch)

    return first, jax.vmap(begin)(first.grasp, closed, first.seen, first.contacts)


@partial(jit_once, level=1, static_argnums=0)
def begin_poses(settings: ContactSettings, shared: _Shared, starts: tuple[Grasp, Any]) -> tuple[Approach, GraspSearch]:
    """Of all poses; both lanes of each follow each other along one axis."""
    first, searching = over_starts(_begin_pose, settings, shared, starts)
    return first, jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), searching)


def go_on(settings: RoundSettings, shared: _Shared, searching: GraspSearch) -> Round:
    """Rounds of step two for one lane."""
    (static, rounds), (problem, numbers) = settings, shared
    return grasp_round(problem, searching, static.joined(numbers), rounds)


def _rounds(
    tasks: Sequence[ContactTask], searches: Sequence[GraspSearch], contact: ContactConfig, rounds: int
) -> list[Any]:
    """So many rounds of every scene; none is run where all journals know what comes of them."""
    static, numbers = contact.split()
    arguments = go_on, RoundSettings(static, rounds), [(task.problem, numbers) for task in tasks], list(searches)
    together = cache(lambda: run_scenes(*arguments))
    if all(task.journal is None for task in tasks):
        return together()
    like = run_scenes.eval_shape(*arguments)
    return [
        together()[k] if task.journal is None else task.journal.run_tree(lambda: together()[k], like[k])  # noqa: B023
        for k, task in enumerate(tasks)
    ]


_best = jit_once(jax.vmap(best_grasp, (None, 0)))


def _measures(
    scene: Scene, faces: Int[ndarray, "f 3"]
) -> Callable[[Grasp, Float[ndarray, "v 3"]], tuple[float, float]]:
    """A function of a grasp and its hand's vertices: masked IoU and occlusion agreement (1 where no pixel tells).

    They are of the pixels of OPA's view, every so many of the picture's, and of the simplified object.
    """
    view = picture_view(scene)
    pixels = np.asarray(view.pixels)
    of_view = sampled(scene.camera, pixels[0], int(pixels[1, 0] - pixels[0, 0]))
    corners = np.asarray(view.corners)[: int(view.triangles)].reshape(-1, 3)
    seen = (mask_at(scene.hand_mask, pixels), mask_at(scene.object_mask, pixels), np.asarray(view.counted))
    hand_mask, object_mask, counted = (x.reshape(VIEW_SIDE, VIEW_SIDE) for x in seen)

    def measured(grasp: Grasp, hand_vertices: Float[ndarray, "v 3"]) -> tuple[float, float]:
        placed = grasp.scale * corners @ np.asarray(grasp.rotation).T + grasp.translation
        hand_depth = depth_map(of_view, (VIEW_SIDE, VIEW_SIDE), hand_vertices, faces)
        object_depth = depth_map(of_view, (VIEW_SIDE, VIEW_SIDE), placed, np.arange(len(placed)).reshape(-1, 3))
        iou = masked_iou(np.isfinite(object_depth), object_mask, ~counted)
        agreement = occlusion_agreement(hand_depth, object_depth, hand_mask, object_mask)
        return iou, 1.0 if agreement is None else agreement

    return measured
