"""Object Pose Approximator (Sec. 3.3): where the object is, from its visible mask, the hand and the camera.

The stage, `approximate`. Its terms stand in `opa_terms`, what they are evaluated on in `opa_problem`.
"""

from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key
from numpy import ndarray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from fgs_jax.config import FAST_OPA, OpaConfig
from fgs_jax.errors import SceneError
from fgs_jax.journal import Journal, recorded
from fgs_jax.picture.masks import iou
from fgs_jax.picture.scene import Scene
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.upright import lean_cost
from fgs_jax.picture.view import (
    ROUGH_VIEW_SIDE,
    VIEW_SIDE,
    Similarity,
    draw,
    masked_iou_of_pose,
    masked_ious,
    of_each,
    picture_view,
    silhouette_in,
    view_shapes,
)
from fgs_jax.results.result import ObjectPoses
from fgs_jax.solve.ahead import shape_struct
from fgs_jax.solve.restarts import best_of, block_width, compile_block, kept, random_rotations
from fgs_jax.stages.opa_phases import phase_program, phase_width, run_phase
from fgs_jax.stages.opa_polish import REACHES, ROUGH_REACHES, polished
from fgs_jax.stages.opa_problem import PoseState, pose_problem, problem_shapes, start_translation


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

    Raises SceneError for a scene without an answer, and if no start ends with a finite energy; ConfigError for a solver
    or a term that there is not.
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
    leaning = partial(lean_cost, scene.object_up, scene.gravity)
    rough, view = (picture_view(scene, config.hand_hides, side) for side in (ROUGH_VIEW_SIDE, VIEW_SIDE))
    for phase in config.phases:
        if 0 < len(histories) == len(config.phases) - 1:
            # The energies, of few samples, hardly tell a pose from its mirror image in depth; silhouettes do.
            starts = poses_of(rotations, state, centre)
            measured = recorded(journal, lambda: {"iou": masked_ious(rough, starts)})["iou"]  # noqa: B023
            energies = np.where(np.isfinite(energies), leaning(starts.rotation) - measured, np.inf)
        chosen = _finite_best(energies, kept(len(origin), phase.keep, phase.least), restarts)
        origin, rotations = origin[chosen], rotations[chosen]
        state, histories = jax.tree.map(lambda x: x[chosen], (state, histories))  # noqa: B023
        lanes = phase_width(phase, width)
        found = run_phase(problem, config, phase, rotations, state, width=lanes, journal=journal)
        state, energies, terms = found.value, found.energy, found.terms
        histories.append(found.history)
        lost += int((~np.isfinite(energies)).sum())
    chosen = _finite_best(energies, config.candidates, restarts)
    polish = partial(polished, scene=scene, journal=journal)
    candidates = poses_of(rotations[chosen], jax.tree.map(lambda x: x[chosen], state), centre)
    candidates = polish(candidates, rough, reaches=ROUGH_REACHES, evaluations=config.polish_evaluations // 2)
    drawn = recorded(journal, lambda: {"drawn": np.stack(of_each(partial(silhouette_in, view), candidates))})["drawn"]
    in_mask = np.asarray(view.in_mask)
    fit = np.array([iou(silhouette, in_mask) for silhouette in drawn]) - leaning(candidates.rotation)
    order = np.argsort(-fit, kind="stable")
    distinct = _distinct(candidates, order, np.asarray(problem.points) + centre, drawn, config)[:count]
    poses = polish(candidates.take(distinct), view, reaches=REACHES, evaluations=config.polish_evaluations)
    measured = np.array([masked_iou_of_pose(scene, poses.take(k)) for k in range(len(distinct))])
    best = np.argsort(leaning(poses.rotation) - measured, kind="stable")
    poses, from_chosen = poses.take(best), chosen[np.array(distinct)[best]]
    return ObjectPoses(
        rotation=poses.rotation,
        translation=poses.translation,
        scale=np.exp(poses.log_scale),
        masked_iou=measured[best],
        energy=energies[from_chosen],
        terms={name: values[from_chosen] for name, values in terms.items()},
        history=[values[from_chosen] for values in histories],
        start=origin[from_chosen],
        lost=lost,
    )


def compile_approximate(config: OpaConfig, restarts: int, *, unknown_size: bool) -> None:
    """Compiles what `approximate` runs, for any scene, so that it may go on while the scene is made ready."""
    problem = problem_shapes(config)
    for phase in config.phases:
        lanes = phase_width(phase, block_width(restarts))
        state = PoseState(shape_struct(lanes, 3), shape_struct(lanes, 3), shape_struct(lanes) if unknown_size else None)
        compile_block(*phase_program(problem, config, phase), (shape_struct(lanes, 3, 3), state))
    for side in (ROUGH_VIEW_SIDE, VIEW_SIDE):
        draw.lower(view_shapes(side), Similarity(shape_struct(3, 3), shape_struct(3), shape_struct())).compile()


def _finite_best(energies: Float[ndarray, "n"], count: int, restarts: int) -> Int[ndarray, "k"]:
    chosen = best_of(energies, count)
    if not len(chosen):
        raise SceneError(
            f"no start of {restarts} ended with a finite energy: check the camera, the object's mesh and your own terms"
        )
    return chosen


def poses_of(rotations: Float[ndarray, "k 3 3"], state: PoseState, centre: Float[ndarray, "3"]) -> Similarity:
    """Of starts where they are now."""
    turned = rotations @ Rotation.from_rotvec(state.rotation).as_matrix()
    log_scale = np.zeros(len(turned), np.float32) if state.log_scale is None else np.asarray(state.log_scale)
    shift = np.exp(log_scale)[:, None] * np.einsum("kab,b->ka", turned, centre)
    return Similarity(turned, state.translation - shift, log_scale)


def _distinct(
    candidates: Similarity,
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
                difference = 1 - iou(drawn[order[k]], drawn[order[other]])
            else:
                moved = surface - surface.mean(0) + placed[other].mean(0)
                size = diameter * np.exp(candidates.log_scale[order[k]])
                difference = KDTree(placed[other]).query(moved)[0].mean() / size
            if angle < config.distinct_angle or difference < config.distinct_share:
                break
        else:
            accepted.append(k)
    return [int(order[k]) for k in accepted]
