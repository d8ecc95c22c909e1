"""The main job: a scene to a grasp. Hand, camera, scale, object pose, contact, measures; each stage usable alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from fgs_jax.config import FAST, RefineConfig
from fgs_jax.config_files import check_config
from fgs_jax.errors import FgsError, HandPoseWarning, HandShapeWarning, SceneError
from fgs_jax.hands.files import hand_is_here, hand_of_side, load_hand_model, same_hand
from fgs_jax.hands.fit import carry_over, fit_hand, warn_of_side
from fgs_jax.hands.mano import hand
from fgs_jax.journal import Journal
from fgs_jax.notes import heard, warn
from fgs_jax.objects.solid import convex_hull
from fgs_jax.picture.camera import project
from fgs_jax.picture.render import depth_map, pixels_of, sampled
from fgs_jax.picture.scene import Scene, check_scene, confidence_of, mask_box, mirrored, scene_notes, without_gaps
from fgs_jax.results import metrics
from fgs_jax.results.result import Result
from fgs_jax.rotations import matrix_of, vector_of
from fgs_jax.solve.ahead import jit_once
from fgs_jax.solve.minimise import least_squares
from fgs_jax.stages.contact import (
    Contact,
    ContactTask,
    closed_faces,
    compile_contact,
    contact_problem,
    optimise_contact,
    starts_of,
)
from fgs_jax.stages.opa import approximate, compile_approximate
from fgs_jax.stages.scale import ScaleAlignment, align
from fgs_jax.types import Camera, Grasp, HandModel, HandParams, on_device


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scene on its way: everything before its contact stage."""

    given: Scene
    scene: Scene
    """Right-handed, its hand posed, seen by a camera that can see depth."""
    model: HandModel
    task: ContactTask
    """Its object is at the size that it starts from."""
    factor: float
    """Of that size over the mesh's own."""
    alignment: dict[str, float]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    compiling: Sequence[Future[None]] = ()
    """The contact stage's programs, where that was begun ahead."""


GROWTHS, GROWTH_VIEW = 21, 256
"""Sizes of the hand that are tried, and pixels along a side of the picture that they are compared in, at most."""
Progress = Callable[[str, float], None]
"""Called with a stage and its seconds when it has ended."""


def refine(
    scene: Scene,
    config: RefineConfig = FAST,
    key: Key[Array, ""] | None = None,
    *,
    journal: Journal | None = None,
    progress: Progress = lambda stage, seconds: None,
) -> Result:
    """A scene with a hand (parameters, keypoints or a posed mesh) to a grasp.

    `key` defaults to the configuration's seed. Left hands are mirrored on entry and back on exit.

    Raises SceneError, MeshError, HandFileError or HandFitError for what a grasp cannot be found from.
    """
    [outcome] = refine_many([scene], config, key, journals=[journal], progress=lambda _, *told: progress(*told))
    if isinstance(outcome, FgsError):
        raise outcome
    return outcome


def refine_many(
    scenes: Sequence[Scene],
    config: RefineConfig = FAST,
    key: Key[Array, ""] | None = None,
    *,
    journals: Sequence[Journal | None] | None = None,
    progress: Callable[[int, str, float], None] = lambda index, stage, seconds: None,
) -> list[Result | FgsError]:
    """`refine` for several scenes; where a grasp cannot be found the error stands in place of the result.

    The contact stages of scenes whose arrays have equal shapes run as one program: those of one hand model do, unless
    a mesh is very fine. A result then differs from the scene's own by rounding. `progress` gets the scene's index too.

    Raises ConfigError as `check_config` does.
    """
    check_config(config)
    key = jax.random.key(config.seed) if key is None else key
    journals = [None] * len(scenes) if journals is None else journals
    with _threads() as threads:
        return _refine_many(scenes, config, key, journals, progress, threads=threads)


@contextmanager
def _threads() -> Iterator[Executor]:
    """Threads for work ahead. All of it has ended after the block, unless Ctrl-C ended that."""
    threads, wait = ThreadPoolExecutor(2), True
    try:
        yield threads
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        threads.shutdown(wait, cancel_futures=True)


def _refine_many(
    scenes: Sequence[Scene],
    config: RefineConfig,
    key: Key[Array, ""],
    journals: Sequence[Journal | None],
    progress: Callable[[int, str, float], None],
    *,
    threads: Executor,
) -> list[Result | FgsError]:
    outcomes: dict[int, Any] = {}
    alike: dict[Any, list[int]] = {}
    for k, (scene, journal) in enumerate(zip(scenes, journals, strict=True)):
        told = partial(progress, k)
        try:
            ahead = len(scenes) == 1 and (journal is None or not journal.recovered)
            outcomes[k] = prepare(scene, config, key, journal=journal, progress=told, ahead=ahead, threads=threads)
        except FgsError as error:
            outcomes[k] = error
            continue
        task: ContactTask = outcomes[k].task
        shapes = tuple(x.shape for x in jax.tree.leaves((task.problem, task.params)))
        alike.setdefault((shapes, task.scene.object.size), []).append(k)
    for group in alike.values():
        clock = time.perf_counter()
        for each in (each for k in group for each in outcomes[k].compiling):
            each.result()
        found = optimise_contact([outcomes[k].task for k in group], config)
        seconds = (time.perf_counter() - clock) / len(group)
        for k, contact in zip(group, found, strict=True):
            prepared: Prepared = outcomes[k]
            _done(prepared.seconds, "contact", seconds, journals[k], partial(progress, k))
            outcomes[k] = contact
            if not isinstance(contact, FgsError):
                outcomes[k] = finish(prepared, contact, config, partial(progress, k))
    return [outcomes[k] for k in range(len(scenes))]


def prepare(
    scene: Scene,
    config: RefineConfig,
    key: Key[Array, ""],
    *,
    journal: Journal | None = None,
    progress: Progress = lambda stage, seconds: None,
    ahead: bool = False,
    threads: Executor | None = None,
) -> Prepared:
    """The stages before contact: hand, camera, scale, object pose. Raises as `refine`, and what work ahead raises.

    What the contact stage needs of the object is made in one of `threads` meanwhile, of its own unless given. With
    `ahead` the programs of the stages to come are compiled there, too, those of contact for this scene alone.
    """
    if threads is None:
        with _threads() as own:
            return prepare(scene, config, key, journal=journal, progress=progress, ahead=ahead, threads=own)
    opa_key, points_key, contact_key = jax.random.split(key, 3)
    given, seconds = scene, {}
    clock = time.perf_counter()
    check_scene(scene)
    notes = scene_notes(scene)
    unknown_size = scene.object.size == "unknown"
    compile_ahead = partial(compile_approximate, config.opa, config.restarts, unknown_size=unknown_size)
    compiling = [threads.submit(compile_ahead)] if ahead else []
    scene = without_gaps(mirrored(scene) if scene.side == "left" else scene)
    model = load_hand_model(config.hand_model)
    with heard(lambda warning: notes.append(str(warning))):
        params = pose_hand(scene, model, given.side)
    scene, params, reframed = reframe(scene, model, params, config)
    has_params = scene.hand_params is not None and hand_is_here(scene.hand_model)
    fitted = not has_params and scene.keypoints_2d is not None
    params, growth = grow_hand(scene, model, params, config.growth) if fitted else (params, 1.0)
    notes += reframed
    if abs(growth - 1) > 0.005:
        way = "larger" if growth > 1 else "smaller"
        notes.append(f"hand: {100 * abs(growth - 1):.0f} % {way} than its keypoints alone say, to fill its mask")
    scene = with_hand(scene, model, params)
    _done(seconds, "hand", time.perf_counter() - clock, journal, progress)

    clock = time.perf_counter()
    alignment = align_scale(scene)
    factor = alignment["k_scale"] if unknown_size else 1.0
    sized = replace(
        scene,
        object=replace(scene.object, vertices=factor * scene.object.vertices),
        keypoints_2d=keypoints_of_grown(scene, growth),
    )
    making = threads.submit(contact_problem, sized, model, config, points_key)
    if ahead:
        compiling.append(
            threads.submit(compile_contact, making, params, contact_key, config, unknown_size=unknown_size)
        )
    for each in compiling[:1]:
        each.result()
    poses = approximate(sized, opa_key, config.restarts, count=config.candidates, config=config.opa, journal=journal)
    if poses.lost:
        notes.append(f"{poses.lost} of {config.restarts} starts ended without a finite energy and were left out")
    task = ContactTask(sized, making.result(), params, poses, contact_key, journal)
    _done(seconds, "object pose", time.perf_counter() - clock, journal, progress)
    return Prepared(given, scene, model, task, factor, alignment, tuple(notes), seconds, compiling[1:])


def finish(
    prepared: Prepared, contact: Contact, config: RefineConfig, progress: Progress = lambda stage, seconds: None
) -> Result:
    """The result of a scene, measured, in the frame that the scene was given in."""
    clock = time.perf_counter()
    given, scene, task, factor = prepared.given, prepared.scene, prepared.task, prepared.factor
    before: Grasp = jax.tree.map(lambda x: np.asarray(x[0]), starts_of(task.poses, task.params, 1))
    grasps = [replace(g, scale=np.float32(factor) * g.scale) for g in (before, contact.candidates[0].grasp)]
    candidates = [
        c._replace(grasp=replace(c.grasp, scale=np.float32(factor) * c.grasp.scale)) for c in contact.candidates
    ]
    posed = [_posed(prepared.model, grasp.hand) for grasp in grasps]
    result = Result(
        scene=scene,
        camera=scene.camera,
        config=config,
        before=grasps[0],
        after=grasps[1],
        hand_vertices=(np.asarray(posed[0].vertices, float), np.asarray(posed[1].vertices, float)),
        hand_faces=closed_faces(prepared.model),
        hand_keypoints=(np.asarray(posed[0].keypoints, float), np.asarray(posed[1].keypoints, float)),
        metrics=({}, {}),
        scale=prepared.alignment,
        poses=task.poses._replace(scale=factor * task.poses.scale),
        candidates=candidates,
        history=contact.history,
        terms=contact.terms,
        notes=prepared.notes,
        seconds=prepared.seconds,
    )
    before_after = (measure(result, prepared.model, 0), measure(result, prepared.model, 1))
    result = replace(result, metrics=before_after)
    _done(prepared.seconds, "metrics", time.perf_counter() - clock, None, progress)
    left = given.side == "left"
    return replace(mirrored_result(result, scene.object_mask.shape[1]) if left else result, scene=given)


# --- stages


def pose_hand(scene: Scene, model: HandModel, side: str | None = None) -> HandParams:
    """The scene's hand for `model`: its parameters, else a fit to its keypoints, else one to its mesh.

    Warns where the keypoints hardly speak for the side; `side` is the user's word for it, where the scene is a mirror
    image. Raises SceneError where the scene has none of the three.
    """
    if isinstance(note := scene.provenance.get("hand_pose"), str):
        warn(HandPoseWarning(f"hand: {note}"))
    has_mesh = _has_topology(model, scene)
    if scene.hand_params is not None:
        if hand_is_here(scene.hand_model):
            return _axis_angle(_carried(scene, scene.hand_params, model))
        if scene.keypoints_2d is None and not has_mesh:
            return _axis_angle(carry_over(model, scene.hand_params))
        given = "its mesh" if scene.keypoints_2d is None else "its keypoints"
        warn(HandShapeWarning(f"hand: parameters of {scene.hand_model}, which is not here: fitted to {given} instead"))
    if scene.keypoints_2d is not None:
        params, cost = _fitted(scene, model)
        if scene.world_landmarks is not None:
            warn_of_side(model, float(_fitted(mirrored(scene), model)[1]) / float(cost), side=side or scene.side)
        return params
    if has_mesh:
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
    depth = float(np.asarray(_posed(model, params).joints)[0, 2])
    shift = 0.01 * max(right - left, bottom - top) / 2 / max(depth, 1e-6)
    focal = np.asarray(scene.camera.focal, float)
    ratio = config.ordinary_focal * max(width, height) / float(focal.mean())
    if shift >= config.reframe_below or ratio > 0.8:
        return scene, params, []
    camera = replace(scene.camera, focal=jnp.asarray(focal * ratio, jnp.float32))
    keypoints = hand(model, params).keypoints
    seen = project(scene.camera, keypoints) if scene.keypoints_2d is None else jnp.asarray(scene.keypoints_2d)
    confidence = jnp.ones(21) if scene.keypoints_2d is None else jnp.asarray(confidence_of(scene), jnp.float32)
    nearer = replace(
        params, translation=params.translation + jnp.array([0.0, 0.0, (ratio - 1) * float(keypoints[0, 2])])
    )
    moved = _move_to_keypoints(model, nearer, camera, jnp.asarray(seen, jnp.float32), confidence)
    error = [
        float(np.linalg.norm(project(c, hand(model, p).keypoints) - seen, axis=1)[np.asarray(confidence) > 0].mean())
        for c, p in ((scene.camera, params), (camera, moved))
    ]
    note = (
        f"a centimetre of depth moves the outline by {shift:.2f} px: focal length {focal.mean():.0f} px replaced by "
        f"{focal.mean() * ratio:.0f} px, depth {depth:.2f} m by {float(hand(model, moved).joints[0, 2]):.2f} m, "
        f"keypoint error {error[0]:.1f} px by {error[1]:.1f} px"
    )
    return replace(scene, camera=camera), moved, [note]


def grow_hand(scene: Scene, model: HandModel, params: HandParams, most: float) -> tuple[HandParams, float]:
    """The hand larger or smaller about the middle of its keypoints, by up to a share `most`, and by what factor.

    The factor is that of the best silhouette, the one nearest to 1 where several are. Detectors put knuckles and tips
    within the flesh, so that a hand on its keypoints alone covers too little of the picture.
    """
    confidence = confidence_of(scene)
    if not (most and confidence.any()):
        return params, 1.0
    posed = _posed(model, params)
    vertices, keypoints = np.asarray(posed.vertices, float), np.asarray(posed.keypoints, float)
    middle, faces = np.average(keypoints, axis=0, weights=confidence), closed_faces(model)

    def resized(points: Float[ndarray, "n 3"], factor: float) -> Float[ndarray, "n 3"]:
        return middle + factor * (points - middle)

    height, width = scene.object_mask.shape
    outline = np.clip(pixels_of(scene.camera, resized(vertices, 1 + most)), 0, [width, height]).astype(int)
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0) + 1
    stride = max(1, -(-int(max(right - left, bottom - top)) // GROWTH_VIEW))
    hand_mask, object_mask = (
        mask[top:bottom:stride, left:right:stride] for mask in (scene.hand_mask, scene.object_mask)
    )
    if not hand_mask.any():
        return params, 1.0
    of_view = sampled(scene.camera, np.array([left, top]) + 0.5, stride)

    def silhouette_iou(factor: float) -> float:
        drawn = np.isfinite(depth_map(of_view, hand_mask.shape[::-1], resized(vertices, factor), faces))
        points = pixels_of(of_view, resized(keypoints, factor))
        return metrics.hand_silhouette_iou(drawn, hand_mask, object_mask, points)

    steps = sorted(np.linspace(-1.0, 1.0, GROWTHS), key=abs)
    factors = [float((1 + most) ** step) for step in steps]
    factor = factors[int(np.argmax([silhouette_iou(factor) for factor in factors]))]
    shift = (factor - 1) * (np.asarray(posed.joints, float)[0] - middle)
    scale, translation = factor * np.asarray(params.scale), np.asarray(params.translation) + shift
    return replace(params, scale=on_device(scale), translation=on_device(translation)), factor


def keypoints_of_grown(scene: Scene, growth: float) -> Float[ndarray, "21 2"] | None:
    """Where the keypoints of a hand are that has grown about their middle: what E_keypoint asks of it."""
    if scene.keypoints_2d is None or growth == 1:
        return scene.keypoints_2d
    confidence = confidence_of(scene)
    middle = np.average(np.where(confidence[:, None] > 0, scene.keypoints_2d, 0.0), axis=0, weights=confidence)
    return middle + growth * (scene.keypoints_2d - middle)


def with_hand(scene: Scene, model: HandModel, params: HandParams) -> Scene:
    """The scene with its hand posed, closed at the wrist."""
    vertices = np.asarray(_posed(model, params).vertices, float)
    return replace(scene, hand_vertices=vertices, hand_faces=closed_faces(model), hand_params=params)


def align_scale(scene: Scene) -> dict[str, float]:
    """k2D, k3D, k_scale (Eq. 4-6) of a scene with a posed hand; the object's box is the detector's if there is one."""
    vertices, _ = scene.posed_hand()
    object_box = mask_box(scene.object_mask) if scene.object_box is None else scene.object_box
    hulls = _hull(vertices), _hull(scene.object.vertices)
    found = _aligned(scene.camera, on_device(vertices), on_device(object_box), *hulls)
    return {name: float(value) for name, value in found._asdict().items()}


def measure(result: Result, model: HandModel, when: int) -> dict[str, float | None]:
    """Geometry and picture measures of a right-handed result: 0 before, 1 after."""
    scene = result.scene
    hand_surface = metrics.Surface(result.hand_vertices[when], result.hand_faces)
    object_surface = metrics.Surface(result.object_vertices(when), scene.object.faces)
    detected = scene.keypoints_2d
    if detected is not None:
        detected = np.where(confidence_of(scene)[:, None] > 0, detected, np.nan)
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


def _carried(scene: Scene, params: HandParams, model: HandModel) -> HandParams:
    """Parameters of the scene's hand model for this one: as they are where both are one hand, whatever its name."""
    other = hand_of_side(scene.hand_model)
    if (count := params.betas.shape[0]) > (most := other.joint_shapedirs.shape[-1]):
        raise SceneError(
            f"hand_betas: expected at most {most}, as {scene.hand_model} has, got {count}: leave the rest out"
        )
    if same_hand(other, model, params.betas.shape[0]):
        return params
    return carry_over(model, params, None if scene.hand_vertices is None else hand(other, params).keypoints)


def _has_topology(model: HandModel, scene: Scene) -> bool:
    """Whether the scene's mesh is one of this model: its vertices, and its faces, wherever each of them begins."""
    if scene.hand_vertices is None or scene.hand_vertices.shape != model.v_template.shape:
        return False
    ours, given = (
        {tuple(np.roll(face, -np.argmin(face))) for face in np.asarray(faces).tolist()}
        for faces in (model.faces, scene.posed_hand()[1])
    )
    return ours <= given


def _axis_angle(params: HandParams) -> HandParams:
    """Rotations as vectors, whatever they were given as."""

    def vector(rotation: Any, axes: int) -> Array:
        rotation = jnp.asarray(rotation, jnp.float32)
        return vector_of(rotation) if rotation.ndim > axes else rotation

    values = {name: jnp.asarray(getattr(params, name), jnp.float32) for name in ("betas", "translation", "scale")}
    return HandParams(pose=vector(params.pose, 2), rotation=vector(params.rotation, 1), **values)


def _fitted(scene: Scene, model: HandModel) -> tuple[HandParams, Float[Array, ""]]:
    """Parameters and cost of a fit to the scene's keypoints, whatever its side."""
    given = (scene.keypoints_2d, confidence_of(scene), scene.world_landmarks)
    return _fit_to_keypoints(model, scene.camera, *(None if x is None else on_device(x) for x in given))


@jit_once
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


@jit_once
def _fit_to_mesh(model: HandModel, vertices: Float[Array, "v 3"]) -> HandParams:
    return fit_hand(model, vertices=vertices).params


@jit_once
def _move_to_keypoints(
    model: HandModel,
    params: HandParams,
    camera: Camera,
    seen: Float[Array, "21 2"],
    confidence: Float[Array, "21"],
) -> HandParams:
    """The hand turned and moved as a whole to where its keypoints were seen."""

    def moved(x: Float[Array, "6"]) -> HandParams:
        turned = jnp.matmul(matrix_of(params.rotation), matrix_of(x[:3]), precision="highest")
        return replace(params, rotation=vector_of(turned), translation=params.translation + x[3:])

    def residuals(x: Float[Array, "6"]) -> Float[Array, "42"]:
        offset = project(camera, hand(model, moved(x)).keypoints) - seen
        return (jnp.sqrt(confidence)[:, None] * jnp.where(confidence[:, None] > 0, offset, 0.0)).ravel()

    return moved(least_squares(residuals, jnp.zeros(6), 20).value)


def _hull(vertices: Float[ndarray, "v 3"]) -> tuple[Float[Array, "w 3"], Int[Array, "f 3"]]:
    """The hull's triangles, filled up to a multiple of 1024 with ones of no volume, so that few shapes are compiled."""
    corners = vertices[convex_hull(vertices)].reshape(-1, 3)
    room = 3072 * -(-len(corners) // 3072)
    padded = np.concatenate([corners, np.repeat(corners[:1], room - len(corners), axis=0)])
    return on_device(padded), on_device(np.arange(room).reshape(-1, 3), np.int32)


def _done(seconds: dict[str, float], stage: str, spent: float, journal: Journal | None, progress: Progress) -> None:
    seconds[stage] = spent
    if journal is not None:
        journal.flush()
    progress(stage, spent)


@jit_once
def _aligned(
    camera: Camera,
    hand_vertices: Float[Array, "v 3"],
    object_box: Float[Array, "4"],
    hand_hull: tuple[Float[Array, "a 3"], Int[Array, "f 3"]],
    object_hull: tuple[Float[Array, "b 3"], Int[Array, "g 3"]],
) -> ScaleAlignment:
    """Eq. 4-6 with the box of the projected hand."""
    pixels = project(camera, hand_vertices)
    return align(jnp.concatenate([pixels.min(axis=0), pixels.max(axis=0)]), object_box, hand_hull, object_hull)


_posed = jit_once(hand)
