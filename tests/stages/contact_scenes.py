"""Scenes of the contact stage: a made-up grasp of a can that was shaken, and a flat hand that passes through a ball."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand, mano_kind
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.picture.camera import project
from fgs_jax.stages.contact_problem import ContactProblem, Picture, object_distance, order_of, placed_object, resized
from fgs_jax.testing import SHAPES, random_grasp
from fgs_jax.types import Camera, Grasp, HandParams
from tests.energies.surfaces import ball_mesh

CAMERA = Camera(focal=jnp.array([400.0, 410.0]), principal=jnp.array([160.0, 120.0]))
posed_hand, find_order = jax.jit(hand), jax.jit(order_of)
place_points, distance_of = (
    jax.jit(f) for f in (lambda problem, start: placed_object(problem, start).points, object_distance)
)
pixels_of = jax.jit(partial(project, CAMERA))
resize = jax.jit(resized, static_argnames="unknown_size")
vector_of = jax.jit(lambda matrix: jaxlie.SO3.from_matrix(matrix).log())
turn_between = jax.jit(lambda first, second: (jaxlie.SO3.exp(first).inverse() @ jaxlie.SO3.exp(second)).log())


@cache
def hand_faces():
    model = load_hand_model("open_hand")
    return np.concatenate([np.asarray(model.faces), np.asarray(model.cap_faces)])


@cache
def can_mesh():
    return load_object(SHAPES["can"](), name="can")


def problem_of(model, mesh, **changes):
    corners = jnp.asarray(mesh.vertices[mesh.faces], jnp.float32)
    seen = jnp.zeros(len(model.v_template))
    picture = Picture(camera=CAMERA, keypoints=jnp.zeros((21, 2)), confidence=jnp.zeros(21), seen=seen, corners=corners)
    points = sample_points(mesh, 400, jax.random.key(0))
    return ContactProblem(mano_kind(model), distance_grid(mesh, 32), points, replace(picture, **changes))


@cache
def shaken_grasp():
    """A made-up grasp half a metre before the camera, and the same one shaken: 12 mm deep in the can."""
    model, can = load_hand_model("open_hand"), can_mesh()
    made = random_grasp(can.vertices, can.faces, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    right = HandParams(
        betas=made.betas,
        pose=vector_of(made.pose),
        rotation=vector_of(made.rotation),
        translation=made.translation + jnp.array([0.0, 0.0, 0.5]),
        scale=made.scale,
    )
    shaken = replace(
        right,
        pose=right.pose + jnp.asarray(rng.normal(size=(15, 3)) * 0.05, jnp.float32),
        rotation=right.rotation + jnp.asarray(rng.normal(size=3) * 0.05, jnp.float32),
        translation=right.translation + jnp.array([0.006, -0.006, 0.006]),
    )
    posed = posed_hand(model, right)
    problem = problem_of(
        model,
        can,
        keypoints=pixels_of(posed.keypoints),
        confidence=jnp.where(jnp.arange(21) == 8, 0.0, 0.9),
        seen=jnp.asarray(rng.integers(-1, 2, size=len(posed.vertices)), jnp.float32),
    )
    return problem, Grasp(shaken, jnp.eye(3), jnp.array([0.0, 0.0, 0.5]), jnp.ones(()))


def turned(scene, angle=0.4, scale=1.1):
    """The same, with an object that is turned and scaled."""
    problem, start = scene
    rotation = jaxlie.SO3.exp(jnp.array([angle, -angle, 0.3])).as_matrix()
    return problem, replace(start, rotation=rotation, scale=jnp.asarray(scale))


def ball_scene(model, palm, seen):
    """A flat hand that passes through a ball at 0.5 m: its palm faces away from the camera (1) or towards it (-1)."""
    flat = HandParams(rotation=jnp.array([-palm * np.pi / 2, 0.0, 0.0], jnp.float32))
    likely = np.asarray(model.regions) >= 0
    middle = np.asarray(posed_hand(model, flat).vertices)[likely].mean(axis=0)
    flat = replace(flat, translation=jnp.asarray([0, 0, 0.5] - middle, jnp.float32))
    problem = problem_of(model, ball_mesh(), seen=jnp.full(len(model.v_template), float(seen)))
    return problem, Grasp(flat, jnp.eye(3), jnp.array([0.0, 0.0, 0.5]), jnp.ones(()))
