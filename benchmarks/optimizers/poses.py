"""Problems of an object's pose: rendered scenes, judged against the truth, and photos, judged by the masks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from benchmarks.optimizers.problem import STARTS, Kind, Problem, Verdict
from benchmarks.solvers import UNIT, Objective
from fgs_jax.config import FAST, FAST_OPA
from fgs_jax.energies.image import L_cam, L_dep
from fgs_jax.hands.files import load_hand_model
from fgs_jax.picture.scene import Scene, mirrored
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.picture.view import Similarity, masked_iou_of_pose
from fgs_jax.solve.restarts import random_rotations
from fgs_jax.stages.hand_in_picture import pose_hand, with_hand
from fgs_jax.stages.opa_problem import PoseProblem, PoseState, pose_problem, start_translation
from fgs_jax.stages.opa_terms import opa_context, opa_energy, opa_terms
from fgs_jax.stages.scale import align_scale
from fgs_jax.testing.poses import add_s, diameter
from fgs_jax.testing.scenes import RenderedScene, as_scene
from tools.photos import SCENES, TUMBLERS, exact_scenes, photo_scene, photos

SAMPLES = 256
"""Of the object's surface, and of its mask."""


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
    return opa_energy(terms | {"size": shared.free * terms["size"]}, FAST_OPA.term_weights)


def pose_residuals(shared: PoseShared, start: PoseStart, x: Float[Array, "7"]) -> Float[Array, "r"]:
    """Half of their squares' sum is `pose_energy`; their derivative holds the correspondences fixed."""
    problem, state = shared.problem, _pose_state(shared, start, x)
    context = opa_context(problem, start.rotation, state)
    n, m = len(problem.points), len(problem.targets)
    dep = L_dep(context.placed[2], context.hand_depth) / n / 0.1
    others = jnp.stack([FAST_OPA.lambda_dep * dep, FAST_OPA.lambda_cam * L_cam(context.placed[2])])
    size = (FAST_OPA.lambda_size * shared.free) ** 0.5 * (state.translation[2] - problem.depth) / 0.05
    area = jnp.sqrt(problem.mask_area)
    roots = jnp.where(others > 0, jnp.sqrt(jnp.where(others > 0, others, 1.0)), 0.0)
    off, back = context.points_off_mask, context.targets_off_points
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
    scene = as_scene(rendered, hand="mesh")
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
        pose = Similarity(T[:3, :3], T[:3, 3], np.log(scale))
        return Verdict(np.nan, masked_iou_of_pose(scene, pose))

    return pose_problem_of(name, "photos", scene, judge)


def photo_problems() -> list[Problem]:
    """Three frames that are shipped, and six photos where their folder is there."""
    scenes = exact_scenes() if photos(exact=True) else {name: load_scene(SCENES / name) for name in TUMBLERS}
    for name in photos(exact=False):  # the mesh of a similar object says nothing of this one's size
        scene = photo_scene(name)
        scenes[name] = replace(scene, object=replace(scene.object, size="unknown"))
    return [photo_problem(name, scene) for name, scene in sorted(scenes.items())]
