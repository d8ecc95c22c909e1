"""The main job: a scene to a grasp. Hand, camera, scale, object pose, contact, measures; each stage usable alone."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key
from numpy import ndarray

from fgs_jax import metrics
from fgs_jax.camera import inverse_depth, project
from fgs_jax.config import FAST, ContactConfig, RefineConfig
from fgs_jax.contact import (
    Approach,
    ContactProblem,
    Grasp,
    GraspSearch,
    approach,
    begin_grasp,
    found,
    grasp_round,
)
from fgs_jax.errors import HandednessWarning, HandFileWarning, HandShapeWarning, SceneError
from fgs_jax.hand import hand
from fgs_jax.hand_files import load_hand_model
from fgs_jax.hand_fit import carry_over, fit_hand, warn_of_side
from fgs_jax.journal import Journal
from fgs_jax.objects import convex_hull, distance_grid, sample_points
from fgs_jax.opa import ObjectPoses, PictureView, approximate, picture_view
from fgs_jax.restarts import run_blocks
from fgs_jax.scale import align
from fgs_jax.scene import Scene, check_scene, mask_box, mirrored
from fgs_jax.solve import least_squares
from fgs_jax.types import Camera, HandModel, HandParams

ROUNDS = 10
"""Of step two between two visits to the host."""


class Candidate(NamedTuple):
    """One of the grasps that step two ended with."""

    pose: int
    """Which of OPA's poses it started from."""
    valley: int
    """Which of step one's two depths; where it found one only, 1 has started with the fingers half open."""
    factor: float
    """By which step one resized the hand, or an object of unknown size."""
    energy: float
    """Of Eq. 12, with w_dis times reach for each contact point out of reach."""
    masked_iou: float
    """This and the agreement are of sampled pixels and a simplified mesh."""
    occlusion_agreement: float
    score: float
    """Energy, silhouette and order together; the lowest wins."""
    grasp: Grasp
    hand_vertices: Float[ndarray, "v 3"]
    """Metres, camera frame."""


@dataclass(frozen=True, eq=False)
class Result:
    """A refined scene. Everything stands in the frame of `scene`'s picture: a left hand is a left hand here."""

    scene: Scene
    """As it was given."""
    camera: Camera
    """The one that the grasp is seen by: the scene's, or an ordinary one."""
    config: RefineConfig
    before: Grasp
    """OPA's best pose with the hand as it was seen."""
    after: Grasp
    hand_vertices: tuple[Float[ndarray, "v 3"], Float[ndarray, "v 3"]]
    """Before and after, metres, camera frame."""
    hand_faces: Int[ndarray, "f 3"]
    """Closed at the wrist."""
    hand_keypoints: tuple[Float[ndarray, "21 3"], Float[ndarray, "21 3"]]
    metrics: tuple[dict[str, float | None], dict[str, float | None]]
    """Before and after."""
    scale: dict[str, float]
    """k2D, k3D and k_scale of Eq. 4-6."""
    poses: ObjectPoses
    candidates: list[Candidate]
    """The best first."""
    history: Float[ndarray, "steps"]
    """Energy of the chosen candidate at each step of step two."""
    terms: dict[str, Float[ndarray, "rounds"]]
    """Its terms, unweighted, each `refresh` steps."""
    notes: tuple[str, ...]
    """What a user should know: mended meshes, a doubtful hand, another camera."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Per stage."""

    def object_vertices(self, when: int = 1) -> Float[ndarray, "w 3"]:
        """Of the object's mesh in the camera's frame, metres: 0 before, 1 after."""
        placed = (self.before, self.after)[when]
        return float(placed.scale) * self.scene.object.vertices @ np.asarray(placed.rotation, float).T + np.asarray(
            placed.translation, float
        )


def refine(
    scene: Scene,
    config: RefineConfig = FAST,
    key: Key[Array, ""] | None = None,
    *,
    journal: Journal | None = None,
    progress: Callable[[str, float], None] = lambda stage, seconds: None,
) -> Result:
    """A scene with a hand (parameters, keypoints or a posed mesh) to a grasp.

    `key` defaults to the configuration's seed. `progress(stage, seconds)` is called after each stage. Left hands are
    mirrored on entry and back on exit.

    Raises SceneError, MeshError, HandFileError or HandFitError for what a grasp cannot be found from.
    """
    key = jax.random.key(config.seed) if key is None else key
    opa_key, contact_key = jax.random.split(key)
    given, seconds, notes = scene, {}, list(scene.object.repairs)
    clock = time.perf_counter()

    def done(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage] = now - clock
        clock = now
        if journal is not None:
            journal.flush()
        progress(stage, seconds[stage])

    check_scene(scene)
    left = scene.side == "left"
    scene = mirrored(scene) if left else scene
    model = load_hand_model(config.hand_model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        params = pose_hand(scene, model)
        scene, params, reframed = reframe(scene, model, params, config)
    ours = (HandednessWarning, HandShapeWarning, HandFileWarning)
    notes += [str(warning.message) for warning in caught if issubclass(warning.category, ours)] + reframed
    scene = with_hand(scene, model, params)
    done("hand")

    alignment = align_scale(scene)
    unknown = scene.object.size == "unknown"
    factor = alignment["k_scale"] if unknown else 1.0
    sized = replace(scene, object=replace(scene.object, vertices=factor * scene.object.vertices))
    poses = approximate(sized, opa_key, config.restarts, count=config.candidates, config=config.opa, journal=journal)
    if poses.lost:
        notes.append(f"{poses.lost} of {config.restarts} starts ended without a finite energy and were left out")
    done("object pose")

    problem = contact_problem(sized, model, config, contact_key)
    candidates, history, terms = optimise_contact(
        sized, problem, params, poses, config, key=contact_key, unknown_size=unknown, journal=journal
    )
    done("contact")

    before = _numpy(_starts(poses, params, 1))
    grasps = [jax.tree.map(lambda x: x[0], before), candidates[0].grasp]
    grasps = [replace(grasp, scale=np.float32(factor) * grasp.scale) for grasp in grasps]
    candidates = [c._replace(grasp=replace(c.grasp, scale=np.float32(factor) * c.grasp.scale)) for c in candidates]
    posed = [_posed(model, jax.tree.map(jnp.asarray, grasp.hand)) for grasp in grasps]
    result = Result(
        scene=replace(given, camera=scene.camera) if not left else replace(scene, side="right"),
        camera=scene.camera,
        config=config,
        before=grasps[0],
        after=grasps[1],
        hand_vertices=(np.asarray(posed[0].vertices, float), np.asarray(posed[1].vertices, float)),
        hand_faces=closed_faces(model),
        hand_keypoints=(np.asarray(posed[0].keypoints, float), np.asarray(posed[1].keypoints, float)),
        metrics=({}, {}),
        scale=alignment,
        poses=poses,
        candidates=candidates,
        history=history,
        terms=terms,
        notes=tuple(notes),
        seconds=seconds,
    )
    result = replace(result, metrics=(measure(result, scene, model, 0), measure(result, scene, model, 1)))
    done("metrics")
    return replace(mirrored_result(result, scene.object_mask.shape[1]) if left else result, scene=given)


# --- stages


def pose_hand(scene: Scene, model: HandModel) -> HandParams:
    """The scene's hand for `model`: its parameters, else a fit to its keypoints, else one to its mesh.

    Warns where the keypoints hardly speak for the side. Raises SceneError where the scene has none of the three.
    """
    if scene.hand_params is not None:
        params = scene.hand_params
        if scene.hand_model != model.name:
            keypoints = None
            if scene.hand_vertices is not None:
                other = load_hand_model(scene.hand_model)
                keypoints = hand(other, params).keypoints
            params = carry_over(model, params, keypoints)
        return _axis_angle(params)
    if scene.keypoints_2d is not None:
        params, cost = _fitted(scene, model)
        if scene.world_landmarks is not None:
            warn_of_side(model, float(_fitted(mirrored(scene), model)[1] / cost))
        return params
    if scene.hand_vertices is not None and scene.hand_vertices.shape == model.v_template.shape:
        return _fit_to_mesh(model, jnp.asarray(scene.hand_vertices, jnp.float32))
    raise SceneError(
        "hand: expected its parameters, 21 keypoints, or a mesh of the model's own topology, got none of them: "
        "add keypoints_2d to the scene"
    )


def reframe(
    scene: Scene, model: HandModel, params: HandParams, config: RefineConfig
) -> tuple[Scene, HandParams, list[str]]:
    """The scene seen by an ordinary camera, where its own is so far away that depth cannot be seen; and what changed.

    The hand comes nearer by the ratio of the focal lengths and is then turned and moved to its keypoints again.
    """
    height, width = scene.object_mask.shape
    left, top, right, bottom = mask_box(scene.object_mask)
    depth = float(_posed(model, params).joints[0, 2])
    shift = 0.01 * max(right - left, bottom - top) / 2 / max(depth, 1e-6)
    focal = np.asarray(scene.camera.focal, float)
    ratio = config.ordinary_focal * max(width, height) / float(focal.mean())
    if shift >= config.reframe_below or ratio > 0.8:
        return scene, params, []
    camera = replace(scene.camera, focal=jnp.asarray(focal * ratio, jnp.float32))
    keypoints = hand(model, params).keypoints
    seen = project(scene.camera, keypoints) if scene.keypoints_2d is None else jnp.asarray(scene.keypoints_2d)
    confidence = jnp.ones(21)
    if scene.keypoints_2d is not None and scene.keypoint_confidence is not None:
        confidence = jnp.asarray(scene.keypoint_confidence, jnp.float32)
    nearer = replace(
        params, translation=params.translation + jnp.array([0.0, 0.0, (ratio - 1) * float(keypoints[0, 2])])
    )
    moved = _move_to_keypoints(model, nearer, camera, jnp.asarray(seen, jnp.float32), confidence)
    error = [
        float(jnp.mean(jnp.linalg.norm(project(c, hand(model, p).keypoints) - seen, axis=1)))
        for c, p in ((scene.camera, params), (camera, moved))
    ]
    note = (
        f"a centimetre of depth moves the outline by {shift:.2f} px: focal length {focal.mean():.0f} px replaced by "
        f"{focal.mean() * ratio:.0f} px, depth {depth:.2f} m by {float(hand(model, moved).joints[0, 2]):.2f} m, "
        f"keypoint error {error[0]:.1f} px by {error[1]:.1f} px"
    )
    return replace(scene, camera=camera), moved, [note]


def with_hand(scene: Scene, model: HandModel, params: HandParams) -> Scene:
    """The scene with its hand posed, closed at the wrist."""
    vertices = np.asarray(_posed(model, params).vertices, float)
    return replace(scene, hand_vertices=vertices, hand_faces=closed_faces(model), hand_params=params)


def align_scale(scene: Scene) -> dict[str, float]:
    """k2D, k3D, k_scale (Eq. 4-6) of a scene with a posed hand; the object's box is the detector's if there is one."""
    vertices, _ = scene.posed_hand()
    pixels = np.asarray(project(scene.camera, jnp.asarray(vertices, jnp.float32)))
    hand_box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    object_box = mask_box(scene.object_mask) if scene.object_box is None else scene.object_box
    hulls = [_hull(vertices), _hull(scene.object.vertices)]
    found = _align(jnp.asarray(hand_box), jnp.asarray(object_box, jnp.float32), hulls[0], hulls[1])
    return {name: float(value) for name, value in found._asdict().items()}


def contact_problem(scene: Scene, model: HandModel, config: RefineConfig, key: Key[Array, ""]) -> ContactProblem:
    """What the contact energies need of a scene."""
    confidence = np.ones(21) if scene.keypoint_confidence is None else scene.keypoint_confidence
    seen = scene.keypoints_2d
    hand_vertices, _ = scene.posed_hand()
    view = picture_view(scene)
    return ContactProblem(
        model=model,
        object=distance_grid(scene.object, config.grid),
        object_points=sample_points(scene.object, config.contact.object_points, key),
        camera=scene.camera,
        keypoints=jnp.zeros((21, 2)) if seen is None else jnp.asarray(np.nan_to_num(seen), jnp.float32),
        confidence=jnp.zeros(21) if seen is None else jnp.asarray(confidence, jnp.float32),
        seen=jnp.asarray(vertices_seen(scene, hand_vertices, closed_faces(model)), jnp.float32),
        corners=view.corners,
    )


def vertices_seen(scene: Scene, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "v"]:
    """1 for hand vertices that the picture shows, -1 for those where it shows the object, 0 where it tells nothing."""
    points = jnp.asarray(vertices, jnp.float32)
    pixels = project(scene.camera, points)
    nearest = np.asarray(_inverse_depth(scene.camera, points, jnp.asarray(faces), pixels))
    foremost = vertices[:, 2] * nearest <= 1 + 0.003 * nearest  # within 3 mm
    height, width = scene.object_mask.shape
    column, row = np.floor(np.asarray(pixels)).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    at = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    return inside * (1.0 * (scene.hand_mask[at] & foremost) - scene.object_mask[at])


def optimise_contact(
    scene: Scene,
    problem: ContactProblem,
    params: HandParams,
    poses: ObjectPoses,
    config: RefineConfig,
    *,
    key: Key[Array, ""],
    unknown_size: bool,
    journal: Journal | None = None,
) -> tuple[list[Candidate], Float[ndarray, "steps"], dict[str, Float[ndarray, "rounds"]]]:
    """Both steps on all of OPA's poses and both valleys at once: the candidates, best first, and the best one's way.

    Raises SceneError where no hand comes near enough to touch.
    """
    count, given = len(poses.scale), config.contact
    # Weights are arguments of the compiled programs, so the settings they are compiled for must not hold any.
    contact = replace(given, **{f"w_{name}": 0.0 for name in given.weights})
    starts = _starts(poses, params, config.candidates)
    keys = jax.random.split(key, config.candidates)
    first, searching = _begin(problem, starts, keys, contact, unknown_size)
    real = np.arange(2 * config.candidates) // 2 < count
    if contact.step_one == "adam":  # both are the same
        real &= np.arange(2 * config.candidates) % 2 == 0
    closest = np.asarray(searching.contacts.distance)[real].min()
    if contact.contacts == "nearest" and not closest <= contact.reach:
        raise SceneError(
            f"hand and object: expected a distance of at most {1e3 * contact.reach:.0f} mm at some depth, got "
            f"{1e3 * closest:.0f} mm: check the object's size, K and the hand"
        )
    weights = {name: jnp.asarray(value, jnp.float32) for name, value in given.weights.items()}
    histories, curves = [], []
    for _ in range(-(-contact.steps // (ROUNDS * contact.refresh))):
        searching, history, terms = _rounds(problem, searching, weights, contact, journal)
        histories.append(np.asarray(history))
        curves.append(jax.tree.map(np.asarray, terms))
    grasps: Grasp = _numpy(_found(searching))
    _, energy, (_, vertices) = jax.tree.map(np.asarray, searching.search.best)
    missing = np.asarray(searching.contacts.weight == 0).sum(axis=1)
    energy = energy + given.w_dis * given.reach * missing
    view = _SeenView(picture_view(scene), *_seen(scene))
    shared, drawn = (jnp.asarray(closed_faces(problem.model)), view), (grasps, vertices)
    iou, agreement = run_blocks(_view_measures, None, shared, drawn, 2 * config.candidates)
    score = np.asarray(energy, float) + config.w_mask * (1 - iou) + config.w_agreement * (1 - agreement)
    usable = real & np.isfinite(score)
    # Energies never reach this: it orders those that do not match the mask behind all that do.
    score = score + 1e4 * (iou < np.max(iou, initial=0.0, where=usable) - config.mask_tolerance)
    score = np.where(usable, score, np.inf)
    if not np.isfinite(score).any():
        raise SceneError("contact: no candidate ended with a finite energy: check the hand and the object's mesh")
    factor = np.asarray(first.factor).ravel()
    order = [int(k) for k in np.argsort(score, kind="stable") if np.isfinite(score[k])]
    candidates = [
        Candidate(
            pose=k // 2,
            valley=k % 2,
            factor=float(factor[k]),
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
    chosen = {name: np.concatenate([part[name][best] for part in curves]) for name in curves[0]}
    return candidates, np.concatenate([part[best] for part in histories]), chosen


def measure(result: Result, scene: Scene, model: HandModel, when: int) -> dict[str, float | None]:
    """Geometry and picture measures of a right-handed result: 0 before, 1 after."""
    hand_surface = metrics.Surface(result.hand_vertices[when], result.hand_faces)
    placed = (result.before, result.after)[when]
    vertices = float(placed.scale) * scene.object.vertices @ np.asarray(placed.rotation, float).T
    object_surface = metrics.Surface(vertices + np.asarray(placed.translation, float), scene.object.faces)
    detected = scene.keypoints_2d
    if detected is not None and scene.keypoint_confidence is not None:
        detected = np.where(scene.keypoint_confidence[:, None] > 0, detected, np.nan)
    return metrics.grasp_metrics(
        hand_surface, object_surface, metrics.fingers_of_vertices(model.weights)
    ) | metrics.picture_metrics(
        result.camera,
        hand_surface,
        object_surface,
        hand_mask=scene.hand_mask,
        object_mask=scene.object_mask,
        keypoints=result.hand_keypoints[when],
        detected=detected,
    )


def closed_faces(model: HandModel) -> Int[ndarray, "f 3"]:
    """The hand's faces with those that close the wrist."""
    return np.concatenate([np.asarray(model.faces), np.asarray(model.cap_faces)])


# --- pieces


def mirrored_result(result: Result, width: int) -> Result:
    """The result of a mirrored scene in the frame of the scene itself."""
    flip = np.array([-1.0, 1.0, 1.0])

    def grasp(placed: Grasp) -> Grasp:
        turn = np.array([1.0, -1.0, -1.0], np.float32)
        params = placed.hand
        params = replace(
            params,
            pose=np.asarray(params.pose) * turn,
            rotation=np.asarray(params.rotation) * turn,
            translation=np.asarray(params.translation) * flip.astype(np.float32),
        )
        rotation = np.asarray(placed.rotation) * np.outer(flip, flip).astype(np.float32)
        return replace(
            placed, hand=params, rotation=rotation, translation=np.asarray(placed.translation) * flip.astype(np.float32)
        )

    principal = np.asarray(result.camera.principal, float)
    return replace(
        result,
        camera=replace(result.camera, principal=jnp.asarray([width - principal[0], principal[1]], jnp.float32)),
        before=grasp(result.before),
        after=grasp(result.after),
        hand_vertices=(result.hand_vertices[0] * flip, result.hand_vertices[1] * flip),
        hand_keypoints=(result.hand_keypoints[0] * flip, result.hand_keypoints[1] * flip),
        hand_faces=result.hand_faces[:, ::-1],
        poses=result.poses._replace(
            rotation=result.poses.rotation * np.outer(flip, flip), translation=result.poses.translation * flip
        ),
        candidates=[
            candidate._replace(grasp=grasp(candidate.grasp), hand_vertices=candidate.hand_vertices * flip)
            for candidate in result.candidates
        ],
    )


def _axis_angle(params: HandParams) -> HandParams:
    """Rotations as vectors, whatever they were given as."""

    def vector(rotation: Any, axes: int) -> Array:
        rotation = jnp.asarray(rotation, jnp.float32)
        return jaxlie.SO3.from_matrix(rotation).log() if rotation.ndim > axes else rotation

    values = {name: jnp.asarray(getattr(params, name), jnp.float32) for name in ("betas", "translation", "scale")}
    return HandParams(pose=vector(params.pose, 2), rotation=vector(params.rotation, 1), **values)


def _fitted(scene: Scene, model: HandModel) -> tuple[HandParams, Float[Array, ""]]:
    """Parameters and cost of a fit to the scene's keypoints, whatever its side."""
    confidence = np.ones(21) if scene.keypoint_confidence is None else scene.keypoint_confidence
    given = (scene.keypoints_2d, confidence, scene.world_landmarks)
    return _fit_to_keypoints(model, scene.camera, *(None if x is None else jnp.asarray(x, jnp.float32) for x in given))


@jax.jit
def _fit_to_keypoints(
    model: HandModel,
    camera: Camera,
    keypoints: Float[Array, "21 2"],
    confidence: Float[Array, "21"],
    landmarks: Float[Array, "21 3"] | None,
) -> tuple[HandParams, Float[Array, ""]]:
    fit = fit_hand(model, keypoints_2d=keypoints, camera=camera, world_landmarks=landmarks, confidence=confidence)
    missing = model.joint_shapedirs.shape[-1] - fit.params.betas.shape[0]
    return replace(fit.params, betas=jnp.pad(fit.params.betas, (0, missing))), fit.cost


@jax.jit
def _fit_to_mesh(model: HandModel, vertices: Float[Array, "v 3"]) -> HandParams:
    return fit_hand(model, vertices=vertices).params


@jax.jit
def _move_to_keypoints(
    model: HandModel,
    params: HandParams,
    camera: Camera,
    seen: Float[Array, "21 2"],
    confidence: Float[Array, "21"],
) -> HandParams:
    """The hand turned and moved as a whole to where its keypoints were seen."""

    def moved(x: Float[Array, "6"]) -> HandParams:
        rotation = (jaxlie.SO3.exp(params.rotation) @ jaxlie.SO3.exp(x[:3])).log()
        return replace(params, rotation=rotation, translation=params.translation + x[3:])

    def residuals(x: Float[Array, "6"]) -> Float[Array, "42"]:
        offset = project(camera, hand(model, moved(x)).keypoints) - seen
        return (jnp.sqrt(confidence)[:, None] * jnp.where(confidence[:, None] > 0, offset, 0.0)).ravel()

    return moved(least_squares(residuals, jnp.zeros(6), 20).value)


def _hull(vertices: Float[ndarray, "v 3"]) -> tuple[Float[Array, "w 3"], Int[Array, "f 3"]]:
    """The hull's triangles, filled up to a multiple of 1024 with ones of no volume, so that few shapes are compiled."""
    corners = vertices[convex_hull(vertices)].reshape(-1, 3)
    room = 3072 * -(-len(corners) // 3072)
    padded = np.concatenate([corners, np.repeat(corners[:1], room - len(corners), axis=0)])
    return jnp.asarray(padded, jnp.float32), jnp.arange(room).reshape(-1, 3)


def _numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def _starts(poses: ObjectPoses, params: HandParams, count: int) -> Grasp:
    """A lane for each pose; the first again where there are fewer."""
    lanes = np.where(np.arange(count) < len(poses.scale), np.arange(count), 0)
    fields = (jnp.asarray(x[lanes], jnp.float32) for x in (poses.rotation, poses.translation, poses.scale))
    hands = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *np.shape(x))), params)
    return Grasp(hands, *fields)


@partial(jax.jit, static_argnums=(3, 4))
def _begin(
    problem: ContactProblem, starts: Grasp, keys: Any, config: ContactConfig, unknown_size: bool
) -> tuple[Approach, GraspSearch]:
    """Step one of every pose and the beginning of step two in both of its valleys, as lanes of one axis.

    Where there is one valley only, the second lane starts in it with the fingers half open.
    """
    first = jax.vmap(partial(approach, problem, config=config, unknown_size=unknown_size))(starts, keys)
    count = 2 * len(keys)
    lanes = jax.tree.map(lambda x: x.reshape((count, *x.shape[2:])), first.grasp)
    half = jnp.where(first.distinct, 1.0, 0.5)
    closed = jnp.stack([jnp.ones(len(keys)), half], axis=1).ravel()
    begin = partial(begin_grasp, problem, config=config)
    return first, jax.vmap(lambda lane, key, c: begin(lane, key, closed=c))(lanes, jnp.repeat(keys, 2, axis=0), closed)


@partial(jax.jit, static_argnums=3)
def _run_rounds(problem: ContactProblem, searching: GraspSearch, weights: dict[str, Array], config: ContactConfig):
    return jax.vmap(lambda one: grasp_round(problem, one, weights, config, ROUNDS))(searching)


def _rounds(
    problem: ContactProblem,
    searching: GraspSearch,
    weights: dict[str, Array],
    config: ContactConfig,
    journal: Journal | None,
) -> Any:
    if journal is None:
        return _run_rounds(problem, searching, weights, config)
    like = _run_rounds.eval_shape(problem, searching, weights, config)

    return journal.run_tree(lambda: _run_rounds(problem, searching, weights, config), like)


_align = jax.jit(align)
_posed = jax.jit(hand)
_inverse_depth = jax.jit(inverse_depth)
_found = jax.jit(jax.vmap(found))


class _SeenView(NamedTuple):
    view: PictureView
    hand: Bool[Array, "p"]
    object: Bool[Array, "p"]


def _seen(scene: Scene) -> tuple[Bool[Array, "p"], Bool[Array, "p"]]:
    """Which of the view's pixels show the hand, and which the object."""
    pixels = np.floor(np.asarray(picture_view(scene).pixels)).astype(int)
    height, width = scene.object_mask.shape
    inside = (pixels >= 0).all(axis=1) & (pixels < [width, height]).all(axis=1)
    column, row = np.clip(pixels, 0, [width - 1, height - 1]).T
    return jnp.asarray(scene.hand_mask[row, column] & inside), jnp.asarray(scene.object_mask[row, column] & inside)


def _view_measures(
    _: None, shared: tuple[Int[Array, "f 3"], _SeenView], drawn_pair: tuple[Grasp, Float[Array, "v 3"]]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Masked IoU and occlusion agreement (1 where no pixel tells) on the view's pixels."""
    (faces, (view, hand_seen, object_seen)), (grasp, hand_vertices) = shared, drawn_pair
    corners = grasp.scale * view.corners.reshape(-1, 3)
    vertices = jnp.matmul(corners, grasp.rotation.T, precision="highest") + grasp.translation[None]
    object_near = inverse_depth(view.camera, vertices, jnp.arange(len(vertices)).reshape(-1, 3), view.pixels)
    hand_near = inverse_depth(view.camera, hand_vertices, faces, view.pixels)
    drawn = (object_near > 0) & view.counted
    iou = jnp.sum(drawn & view.in_mask) / jnp.maximum(jnp.sum(drawn | view.in_mask), 1)
    both = (object_near > 0) & (hand_near > 0)
    right = both & jnp.where(object_near > hand_near, object_seen, hand_seen)
    wrong = both & jnp.where(object_near > hand_near, hand_seen, object_seen)
    counted = jnp.sum(right) + jnp.sum(wrong)
    return iou, jnp.where(counted > 0, jnp.sum(right) / jnp.maximum(counted, 1), 1.0)
