"""Object Pose Approximator (Sec. 3.3): where the object is, from its visible mask, the hand and the camera.

Terms of Eq. 8-11 as pure functions, the problem they are evaluated on, and the stage, `approximate`.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import scipy.optimize
from jaxtyping import Array, Bool, Float, Int, Key
from numpy import ndarray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from fgs_jax.checks import checked
from fgs_jax.config import FAST_OPA, OpaConfig, Phase
from fgs_jax.errors import ConfigError, SceneError
from fgs_jax.journal import Entry, Journal, recorded
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.objects.neighbours import nearest
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.simplifying import simplify
from fgs_jax.objects.triangles import is_balanced
from fgs_jax.picture.camera import Z_NEAR, silhouette
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene, check_scene, mask_at, mask_box
from fgs_jax.results import metrics
from fgs_jax.results.result import ObjectPoses
from fgs_jax.rotations import matrix_of
from fgs_jax.solve.minimise import Solution, adam, minimise
from fgs_jax.solve.restarts import best_of, block_width, compile_block, kept, random_rotations, run_blocks
from fgs_jax.types import Camera, on_device, pytree

GRID = 256
"""Cells along a side of the grid about the object."""
VIEW = 96
"""Sampled pixels along a side of the picture that candidates are compared in."""
ROUGH_VIEW = 48
"""The same where there are many of them."""
LANE_POINTS = 512
"""A phase of more points runs in as much narrower blocks."""
DRAWN_FACES = 512
"""Of the simplified mesh that is drawn there. Twice as many find no more poses, and the polish takes longer."""


@pytree
class PoseProblem:
    """What the terms of OPA need, in arrays of the same shapes for every picture, so that they compile once.

    The grid covers the object's surroundings with `g` by `g` cells.
    """

    camera: Camera
    points: Float[Array, "n 3"]
    """Farthest-point samples of the surface about their centroid, object frame."""
    targets: Float[Array, "m 2"]
    """Pixels of the object mask."""
    nearest_pixel: Float[Array, "g g 2"]
    """Of each cell (row, column): the centre of the mask pixel that is nearest to it."""
    hand_depth: Float[Array, "g g"]
    """D_r where the hand is seen and rendered, 0 elsewhere: there the object may be at any depth."""
    grid_origin: Float[Array, "2"]
    """Pixel position of the grid's top-left corner."""
    cell: Float[Array, ""]
    """Pixels."""
    mask_area: Float[Array, ""]
    """Pixels in the object mask."""
    depth: Float[Array, ""]
    """Of the hand: where an object of unknown size is expected."""


class PoseState(NamedTuple):
    """What moves in OPA. The scale is None, and stays 1, where the object's size is known."""

    rotation: Float[Array | ndarray, "3"]
    """Tangent vector at the start's rotation."""
    translation: Float[Array | ndarray, "3"]
    """Of the middle of the points, metres, camera frame."""
    log_scale: Float[Array | ndarray, ""] | None


@checked
def L_dist(points_off_mask: Float[Array, "2 n"], targets_off_points: Float[Array, "2 m"]) -> Float[Array, ""]:
    """Eq. 8, as printed: sums of squares, in pixels squared.

    `points_off_mask`: from the nearest mask pixel to each projected point, 0 within the mask. `targets_off_points`:
    from the nearest projected point to each mask pixel.
    """
    return jnp.sum(points_off_mask**2) + jnp.sum(targets_off_points**2)


@checked
def L_dep(depth: Float[Array, "n"], hand_depth: Float[Array, "n"]) -> Float[Array, ""]:
    """Eq. 9 for a camera that looks along +z: sum of relu(D_r - z), metres, over points seen through the hand's pixels.

    `hand_depth` is D_r at each point's pixel and 0 where I(x) = 0. There the picture shows the hand before the object.
    """
    return jnp.sum(jax.nn.relu(hand_depth - depth))


@checked
def L_cam(depth: Float[Array, "n"]) -> Float[Array, ""]:
    """Eq. 10 for a camera that looks along +z: mean of relu(z_near - z), metres."""
    return jnp.mean(jax.nn.relu(Z_NEAR - depth))


@checked
def opa_terms(
    problem: PoseProblem, start: Float[Array, "3 3"], state: PoseState, *, paper_form: bool = False
) -> dict[str, Float[Array, ""]]:
    """Terms dist, dep, cam of Eq. 11, and size where the object's is unknown.

    dist: means of squared pixels over the mask's area; dep: mean metres / 0.1 m; cam: mean metres; size: the squared
    depth of the centroid against the hand's, over 5 cm. In the paper's form dist and dep are the sums of Eq. 8 and 9,
    in pixels squared and metres, the samples of the mask standing for all of its pixels.
    """
    n, m = problem.points.shape[0], problem.targets.shape[0]
    rotation = jnp.matmul(start, matrix_of(jnp.asarray(state.rotation)), precision="highest")
    if state.log_scale is not None:
        rotation = jnp.exp(state.log_scale) * rotation
    # Coordinates lie apart, (3, n): twice as fast as (n, 3), where a rotation is a small matrix product per start.
    points, targets = problem.points.T, problem.targets.T
    placed = _place(rotation, state.translation, points)
    pixels = _project(problem.camera, placed)
    # The matched points are placed once more, so that the gradient needs no scatter back to all of them.
    matched = points[:, nearest(problem.targets, pixels.T)]
    targets_off_points = _project(problem.camera, _place(rotation, state.translation, matched)) - targets
    cell = _cell(problem, pixels)
    points_off_mask = _off_mask(problem, pixels, cell)
    dep = L_dep(placed[2], problem.hand_depth.ravel()[cell])
    if paper_form:
        dist = L_dist(points_off_mask, jnp.sqrt(problem.mask_area / m) * targets_off_points)
    else:
        dist = L_dist(points_off_mask / jnp.sqrt(n), targets_off_points / jnp.sqrt(m)) / problem.mask_area
        dep = dep / n / 0.1
    terms = {"dist": dist, "dep": dep, "cam": L_cam(placed[2])}
    if state.log_scale is not None:
        terms["size"] = ((state.translation[2] - problem.depth) / 0.05) ** 2
    return terms


def _place(
    rotation: Float[Array, "3 3"], translation: Float[Array | ndarray, "3"], points: Float[Array, "3 n"]
) -> Float[Array, "3 n"]:
    # Column by column: a sum over an axis runs half as long again, and number by number takes longer to compile.
    first, second, third = (rotation[:, k, None] * points[k][None] for k in range(3))
    return first + second + third + translation[:, None]


def _project(camera: Camera, points: Float[Array, "3 n"]) -> Float[Array, "2 n"]:
    """Eq. 7, as `camera.project`, for coordinates that lie apart."""
    return camera.focal[:, None] * points[:2] / jnp.maximum(points[2:], Z_NEAR) + camera.principal[:, None]


def _cell(problem: PoseProblem, pixels: Float[Array, "2 n"]) -> Int[Array, "n"]:
    """Index of the grid's cell that is nearest to each pixel position."""
    side = problem.nearest_pixel.shape[0]
    cell = jnp.floor((jax.lax.stop_gradient(pixels) - problem.grid_origin[:, None]) / problem.cell)
    cell = jnp.clip(jnp.nan_to_num(cell), 0, side - 1).astype(jnp.int32)
    return cell[1] * side + cell[0]


def _off_mask(problem: PoseProblem, pixels: Float[Array, "2 n"], cell: Int[Array, "n"]) -> Float[Array, "2 n"]:
    """From the nearest pixel of the mask to each point, 0 within it: a look-up in a distance transform.

    The pixel is the one nearest to the point's cell; the gradient is that of the difference.
    """
    offset = pixels - problem.nearest_pixel.reshape(-1, 2)[cell].T
    half = jnp.maximum(problem.cell, 1.0) / 2
    return jnp.sign(offset) * jax.nn.relu(jnp.abs(offset) - half)


def approximate(
    scene: Scene,
    key: Key[Array, ""],
    restarts: int = 256,
    *,
    count: int = 4,
    config: OpaConfig = FAST_OPA,
    width: int | None = None,
    journal: Journal | None = None,
) -> ObjectPoses:
    """The best `count` distinct poses of the object that explain its mask, from `restarts` random rotations.

    The object's translation starts on the mask, at the hand's depth. An object of `size` "unknown" is scaled as well
    and kept at the hand's depth; give a mesh of about the right size (`scale.align`). `width`: starts that run at
    once; by default 64 on a CPU, thousands elsewhere.
    A `journal` takes what is found on the way, for a run that goes on after it was killed.

    Raises SceneError for a scene without an answer, and if no start ends with a finite energy.
    """
    check_scene(scene)
    sample_key, rotation_key = jax.random.split(key)
    problem, centre = pose_problem(scene, sample_key, config)
    rotations = random_rotations(rotation_key, 0, restarts)
    translation = start_translation(problem)
    log_scale = np.zeros(restarts, np.float32) if scene.object.size == "unknown" else None
    state = PoseState(np.zeros((restarts, 3), np.float32), np.tile(translation, (restarts, 1)), log_scale)

    width = width or block_width(restarts)
    origin, histories, lost = np.arange(restarts), [], 0
    energies: Any = np.zeros(restarts)
    terms: dict[str, Any] = {}
    rough, view = (picture_view(scene, config.hand_hides, side) for side in (ROUGH_VIEW, VIEW))
    for phase in config.phases:
        if 0 < len(histories) == len(config.phases) - 1:
            # The energies, of few samples, hardly tell a pose from its mirror image in depth; silhouettes do.
            ious = recorded(journal, partial(_ious, rough, _poses(rotations, state, centre)))["iou"]
            energies = np.where(np.isfinite(energies), -ious, np.inf)
        chosen = _finite_best(energies, kept(len(origin), phase.keep, phase.least), restarts)
        origin, rotations = origin[chosen], rotations[chosen]
        state, histories = jax.tree.map(lambda x: x[chosen], (state, histories))  # noqa: B023
        lanes = _lanes(phase, width)
        found = run_phase(problem, config, phase, rotations, state, width=lanes, journal=journal)
        state, energies, terms = found.value, found.energy, found.terms
        histories.append(found.history)
        lost += int((~np.isfinite(energies)).sum())
    chosen = _finite_best(energies, config.candidates, restarts)
    polish = partial(_polished, scene=scene, journal=journal)
    candidates = _poses(rotations[chosen], jax.tree.map(lambda x: x[chosen], state), centre)
    candidates = polish(candidates, rough, reaches=(6.0,), evaluations=config.polish_evaluations // 2)
    drawn = recorded(journal, lambda: {"drawn": np.stack(_of_each(partial(_silhouette, view), candidates))})["drawn"]
    in_mask = np.asarray(view.in_mask)
    order = np.argsort([-_iou(silhouette, in_mask) for silhouette in drawn], kind="stable")
    distinct = _distinct(candidates, order, np.asarray(problem.points) + centre, drawn, config)[:count]
    polished = _Poses(*(field[distinct] for field in candidates))
    polished = polish(polished, view, reaches=(-4.0, 3.0, -2.0), evaluations=config.polish_evaluations)
    ious = np.array([masked_iou(scene, _take(polished, k)) for k in range(len(distinct))])
    best = np.argsort(-ious, kind="stable")
    from_chosen = chosen[np.array(distinct)[best]]
    return ObjectPoses(
        rotation=polished.rotation[best],
        translation=polished.translation[best],
        scale=np.exp(polished.log_scale[best]),
        masked_iou=ious[best],
        energy=energies[from_chosen],
        terms={name: values[from_chosen] for name, values in terms.items()},
        history=[values[from_chosen] for values in histories],
        start=origin[from_chosen],
        lost=lost,
    )


def run_phase(
    problem: PoseProblem,
    config: OpaConfig,
    phase: Phase,
    rotations: Float[ndarray, "n 3 3"],
    state: PoseState,
    *,
    width: int | None = None,
    journal: Journal | None = None,
) -> Solution:
    """Starts through one phase, in blocks of `width`. `state` has a leading axis; so has what is found."""
    width = width or _lanes(phase, block_width(len(rotations)))
    return run_blocks(*_program(problem, config, phase), (rotations, state), width, journal=journal)


def compile_approximate(config: OpaConfig, restarts: int, *, unknown_size: bool) -> None:
    """Compiles what `approximate` runs, for any scene, so that it may go on while the scene is made ready."""

    problem = problem_shapes(config)
    for phase in config.phases:
        lanes = _lanes(phase, block_width(restarts))
        state = PoseState(room(lanes, 3), room(lanes, 3), room(lanes) if unknown_size else None)
        compile_block(*_program(problem, config, phase), (room(lanes, 3, 3), state))
    for side in (ROUGH_VIEW, VIEW):
        _drawn.lower(view_shapes(side), _Poses(room(3, 3), room(3), room())).compile()


def room(*shape: int, dtype: Any = np.float32) -> Any:
    """An array's shape and type in its place."""
    return jax.ShapeDtypeStruct(shape, dtype)


def problem_shapes(config: OpaConfig) -> PoseProblem:
    """Those of `pose_problem`, whatever the scene."""
    points, targets = (max(getattr(phase, field) for phase in config.phases) for field in ("points", "targets"))
    return PoseProblem(
        *(Camera(room(2), room(2)), room(points, 3), room(targets, 2), room(GRID, GRID, 2), room(GRID, GRID)),
        *(room(2), room(), room(), room()),
    )


def _lanes(phase: Phase, width: int) -> int:
    return max(1, width * LANE_POINTS // max(phase.points, LANE_POINTS))


def _program(problem: PoseProblem, config: OpaConfig, phase: Phase) -> tuple[Any, "_PhaseSettings", "_PhaseInputs"]:
    """What `run_blocks` needs besides the starts. Raises ConfigError for a rate that moves nothing."""
    for name in ("rotation_rate", "translation_rate"):
        if not min(getattr(phase, name)) > 0:
            raise ConfigError(f"phase: {name}: expected rates above 0, got {getattr(phase, name)}: change it")
    weights = {"dep": config.lambda_dep, "cam": config.lambda_cam, "size": config.lambda_size}
    settings = _PhaseSettings(phase.steps, phase.points, phase.targets, config.paper_form)
    rates = on_device(phase.rotation_rate), on_device(phase.translation_rate)
    return _run_phase, settings, _PhaseInputs(problem, weights, *rates)


def _finite_best(energies: Float[ndarray, "n"], count: int, restarts: int) -> Int[ndarray, "k"]:
    chosen = best_of(energies, count)
    if not len(chosen):
        raise SceneError(f"no start of {restarts} ended with a finite energy: check the camera and the object's mesh")
    return chosen


class _PhaseSettings(NamedTuple):
    """What a phase is compiled for."""

    steps: int
    points: int
    targets: int
    paper_form: bool


class _PhaseInputs(NamedTuple):
    """What it may change without being compiled again."""

    problem: PoseProblem
    weights: dict[str, float]
    rotation_rate: Float[Array, "2"]
    translation_rate: Float[Array, "2"]


class _Poses(NamedTuple):
    """One pose, or several along the leading axis, of the object's own frame (not of its centroid)."""

    rotation: Any
    translation: Any
    log_scale: Any


def _poses(rotations: Float[ndarray, "k 3 3"], state: PoseState, centre: Float[ndarray, "3"]) -> _Poses:
    """Of starts where they are now."""
    turned = rotations @ Rotation.from_rotvec(state.rotation).as_matrix()
    log_scale = np.zeros(len(turned), np.float32) if state.log_scale is None else np.asarray(state.log_scale)
    shift = np.exp(log_scale)[:, None] * np.einsum("kab,b->ka", turned, centre)
    return _Poses(turned, state.translation - shift, log_scale)


def _run_phase(settings: _PhaseSettings, inputs: _PhaseInputs, start: tuple) -> Solution:
    """One start through one phase."""
    steps, points, targets, paper_form = settings
    problem = replace(inputs.problem, points=inputs.problem.points[:points], targets=inputs.problem.targets[:targets])
    rotation, state = start

    def energy(state: PoseState) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        terms = opa_terms(problem, rotation, state, paper_form=paper_form)
        return terms["dist"] + sum(inputs.weights[name] * terms[name] for name in terms if name != "dist"), terms

    def rates(step: Int[Array, ""]) -> PoseState:
        first, last = jnp.stack([inputs.rotation_rate, inputs.translation_rate], axis=1)
        rotation, translation = first * (last / first) ** (step / steps)
        return PoseState(rotation, translation, None if state.log_scale is None else rotation)

    return minimise(energy, adam(rates), state, steps)


def pose_problem(
    scene: Scene, key: Key[Array, ""], config: OpaConfig = FAST_OPA
) -> tuple[PoseProblem, Float[ndarray, "3"]]:
    """The arrays that OPA works on, and the centroid that the object's points were taken about."""
    hand_vertices, hand_faces = scene.posed_hand()
    sizes = [max(getattr(phase, field) for phase in config.phases) for field in ("points", "targets")]
    point_key, target_key = jax.random.split(key)
    points = np.asarray(sample_points(scene.object, sizes[0], point_key))
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    height, width = scene.object_mask.shape
    left, top, right, bottom = mask_box(scene.object_mask)
    cell = max(1.0, 2.0 * max(right - left, bottom - top) / GRID)
    origin = np.round(np.array([left + right, top + bottom]) / 2 - GRID * cell / 2)
    steps = (np.arange(GRID) + 0.5) * cell
    cells = np.stack(np.meshgrid(origin[0] + steps, origin[1] + steps), axis=-1)
    free = scene.object_mask | scene.hand_mask if config.hand_hides else scene.object_mask
    pixels = np.argwhere(free)[:, ::-1] + 0.5
    nearest_pixel = pixels[KDTree(pixels).query(cells.reshape(-1, 2), workers=-1)[1]].reshape(GRID, GRID, 2)
    if config.hand_hides:  # the picture's edge hides as a hand does
        beyond = (
            (left == 0) & (cells[..., 0] < 0)
            | (top == 0) & (cells[..., 1] < 0)
            | (right == width) & (cells[..., 0] >= width)
            | (bottom == height) & (cells[..., 1] >= height)
        )
        nearest_pixel = np.where(beyond[..., None], cells, nearest_pixel)

    focal, principal = (np.asarray(array, float) for array in (scene.camera.focal, scene.camera.principal))
    of_grid = Camera(on_device(focal / cell), on_device((principal - origin) / cell))
    seen = depth_map(of_grid, (GRID, GRID), hand_vertices, hand_faces)
    hand_depth = np.where(mask_at(scene.hand_mask, cells) & np.isfinite(seen), seen, 0.0)
    targets = mask_targets(scene.object_mask, scene.hand_mask, sizes[1], config.contour, target_key)
    arrays = {
        "points": points - centre,
        "targets": targets,
        "nearest_pixel": nearest_pixel,
        "hand_depth": hand_depth,
        "grid_origin": origin,
        "cell": cell,
        "mask_area": scene.object_mask.sum(),
        "depth": np.mean(hand_vertices[:, 2]),
    }
    return PoseProblem(camera=scene.camera, **{name: on_device(value) for name, value in arrays.items()}), centre


def mask_targets(
    object_mask: Bool[ndarray, "h w"], hand_mask: Bool[ndarray, "h w"], count: int, contour: float, key: Key[Array, ""]
) -> Float[ndarray, "m 2"]:
    """`count` pixels of the object's mask in random order, a share `contour` of them on its outline.

    The outline is where object meets background: where it meets the hand or the picture's edge it is cut, not ended.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    near_hand = np.asarray(scipy.ndimage.binary_dilation(hand_mask, iterations=2), bool)
    core = np.asarray(scipy.ndimage.binary_erosion(object_mask, border_value=1), bool)
    outline = object_mask & ~core & ~near_hand
    on_outline, within = (np.argwhere(mask)[:, ::-1] + 0.5 for mask in (outline, object_mask))
    share = round(contour * count) if len(on_outline) else 0

    def draw(pixels: Float[ndarray, "p 2"], count: int) -> Float[ndarray, "count 2"]:
        return pixels[rng.choice(len(pixels), count, replace=count > len(pixels))]

    drawn = np.concatenate([draw(on_outline, share), draw(within, count - share)]) if share else draw(within, count)
    return drawn[rng.permutation(count)]


def start_translation(problem: PoseProblem) -> Float[ndarray, "3"]:
    """The middle of the mask's samples, at the hand's depth."""
    camera = problem.camera
    ray = (np.asarray(problem.targets).mean(axis=0) - np.asarray(camera.principal)) / np.asarray(camera.focal)
    return np.append(ray, np.float32(1.0)) * np.asarray(problem.depth)


@pytree
class PictureView:
    """Sampled pixels about the object, and a mesh simple enough to be drawn hundreds of times."""

    camera: Camera
    pixels: Float[Array, "p 2"]
    in_mask: Bool[Array, "p"]
    counted: Bool[Array, "p"]
    """Not hidden by the hand."""
    corners: Float[Array, "f 3 3"]
    """Of the triangles, in the object's frame; what is left of the room for them is zero."""
    triangles: Int[Array, ""]
    closed: Bool[Array, ""]
    """Whether they are a closed surface, wound one way."""


def picture_view(scene: Scene, hand_hides: bool = True, side: int = VIEW) -> PictureView:
    """Every so many pixels of the object's box and half its size around it, `side` of them in a row."""
    left, top, right, bottom = mask_box(scene.object_mask)
    stride = max(1, -(-int(1.5 * max(right - left, bottom - top)) // side))
    first = np.array([left + right, top + bottom]) // 2 - side * stride // 2
    steps = stride * np.arange(side) + 0.5
    pixels = np.stack(np.meshgrid(first[0] + steps, first[1] + steps), axis=-1).reshape(-1, 2)
    counted = mask_at(np.ones_like(scene.hand_mask), pixels)
    if hand_hides:
        counted &= ~mask_at(scene.hand_mask, pixels)
    corners, triangles, closed = _drawn_triangles(scene.object)
    return PictureView(
        camera=scene.camera,
        pixels=on_device(pixels),
        in_mask=on_device(mask_at(scene.object_mask, pixels) & counted, bool),
        counted=on_device(counted, bool),
        corners=corners,
        triangles=triangles,
        closed=closed,
    )


def view_shapes(side: int) -> PictureView:
    """Those of `picture_view`, of a mesh without more faces than are drawn."""
    truth = room(side**2, dtype=bool)
    triangles = room(DRAWN_FACES, 3, 3), room(dtype=np.int32), room(dtype=bool)
    return PictureView(Camera(room(2), room(2)), room(side**2, 2), truth, truth, *triangles)


@lru_cache(maxsize=8)
def _drawn_triangles(mesh: ObjectMesh) -> tuple[Float[Array, "f 3 3"], Int[Array, ""], Bool[Array, ""]]:
    """Corners of the mesh, made simple, in room for a multiple of `DRAWN_FACES`; how many; whether they are closed."""
    simple = simplify(mesh, DRAWN_FACES)
    corners = simple.vertices[simple.faces]
    padded = np.zeros((DRAWN_FACES * -(-len(corners) // DRAWN_FACES), 3, 3))
    padded[: len(corners)] = corners
    return on_device(padded), on_device(len(corners), np.int32), on_device(is_balanced(simple.faces), bool)


@jax.jit
def _drawn(view: PictureView, pose: _Poses) -> Bool[Array, "p"]:
    """The view's pixels that show the object, as far as the hand leaves them open."""
    corners = jnp.exp(pose.log_scale) * view.corners.reshape(-1, 3)
    vertices = jnp.matmul(corners, pose.rotation.T, precision="highest") + pose.translation[None]
    faces = jnp.arange(len(vertices)).reshape(-1, 3)
    seen = silhouette(view.camera, vertices, faces, view.pixels, count=view.triangles, closed=view.closed)
    return seen & view.counted


def _silhouette(view: PictureView, pose: _Poses) -> Bool[ndarray, "p"]:
    return np.asarray(_drawn(view, jax.tree.map(np.float32, pose)))


def _of_each(function: Callable[[_Poses], Any], poses: _Poses) -> list[Any]:
    """What the function finds for each pose, one on each core: a rendering does not fill two."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, (_take(poses, k) for k in range(len(poses.log_scale)))))


def _ious(view: PictureView, poses: _Poses) -> Entry:
    in_mask = np.asarray(view.in_mask)
    return {"iou": np.array(_of_each(lambda pose: _iou(_silhouette(view, pose), in_mask), poses))}


def _iou(drawn: Bool[ndarray, "p"], mask: Bool[ndarray, "p"]) -> float:
    return np.count_nonzero(drawn & mask) / max(np.count_nonzero(drawn | mask), 1)


def _polished(
    poses: _Poses,
    view: PictureView,
    *,
    scene: Scene,
    reaches: Sequence[float],
    evaluations: int,
    journal: Journal | None,
) -> _Poses:
    """Each with a better rendered masked IoU, after a round of Nelder-Mead for each reach."""
    if not evaluations:
        return poses

    def polish(pose: _Poses) -> _Poses:
        for reach in reaches:
            pose = _nelder_mead(pose, view, scene, reach, evaluations)
        return pose

    def all_polished() -> Entry:
        done = _of_each(polish, poses)
        return {name: np.stack([getattr(pose, name) for pose in done]) for name in _Poses._fields}

    return _Poses(**recorded(journal, all_polished))


def _nelder_mead(pose: _Poses, view: PictureView, scene: Scene, reach: float, evaluations: int) -> _Poses:
    """The best pose found from steps of `reach` times three degrees, 1.5 pixels and 1.5 percent of size and depth.

    The masked IoU counts pixels: it has flat places, on which a small simplex stays.
    """
    depth = float(pose.translation[2])
    pixel = depth / float(np.mean(np.asarray(scene.camera.focal)))
    steps = np.array([0.05, 0.05, 0.05, 1.5 * pixel, 1.5 * pixel, 0.015])
    centre = scene.object.vertices.mean(axis=0) * float(np.exp(pose.log_scale))

    def moved(x: Float[ndarray, "6"]) -> _Poses:
        turn = Rotation.from_rotvec(steps[:3] * x[:3]).as_matrix()
        rotation = pose.rotation @ turn
        middle = pose.rotation @ centre + pose.translation
        middle = (middle + [*(steps[3:5] * x[3:5]), 0.0]) * np.exp(steps[5] * x[5])
        return _Poses(rotation, middle - rotation @ centre, pose.log_scale)

    in_mask = np.asarray(view.in_mask)

    def cost(x: Float[ndarray, "6"]) -> float:
        return 1.0 - _iou(_silhouette(view, moved(x)), in_mask)

    simplex = reach * np.concatenate([np.zeros((1, 6)), np.eye(6)])
    options = {"maxfev": evaluations, "initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-5}
    return moved(scipy.optimize.minimize(cost, np.zeros(6), method="Nelder-Mead", options=options).x)


def masked_iou(scene: Scene, pose: _Poses) -> float:
    """Intersection over union of the rendered object and its mask, outside the hand's pixels, at full resolution."""
    vertices = np.exp(pose.log_scale) * scene.object.vertices @ np.asarray(pose.rotation).T + pose.translation
    height, width = scene.object_mask.shape
    drawn = np.isfinite(depth_map(scene.camera, (width, height), vertices, scene.object.faces))
    return metrics.masked_iou(drawn, scene.object_mask, scene.hand_mask)


def _distinct(
    candidates: _Poses,
    order: Int[ndarray, "k"],
    points: Float[ndarray, "n 3"],
    drawn: Bool[ndarray, "k p"],
    config: OpaConfig,
) -> list[int]:
    """Candidates, best first, that differ from all better ones in rotation, and in silhouette or the space they fill.

    A turn about an axis of symmetry changes the first and neither of the others. A flip may leave the silhouette nearly
    as it is, and always changes the space.
    """
    diameter = np.linalg.norm(np.ptp(points, axis=0))
    placed = [
        np.exp(candidates.log_scale[k]) * points @ candidates.rotation[k].T + candidates.translation[k] for k in order
    ]
    accepted: list[int] = []
    for k, surface in enumerate(placed):
        for other in accepted:
            turn = candidates.rotation[order[k]] @ candidates.rotation[order[other]].T
            angle = np.rad2deg(Rotation.from_matrix(turn).magnitude())
            if config.distinct_in == "silhouette":
                difference = 1 - _iou(drawn[order[k]], drawn[order[other]])
            else:
                moved = surface - surface.mean(0) + placed[other].mean(0)
                size = diameter * np.exp(candidates.log_scale[order[k]])
                difference = KDTree(placed[other]).query(moved)[0].mean() / size
            if angle < config.distinct_angle or difference < config.distinct_share:
                break
        else:
            accepted.append(k)
    return [int(order[k]) for k in accepted]


def _take(poses: _Poses, index: int) -> _Poses:
    return _Poses(*(field[index] for field in poses))
