"""The place of a hand that was given near its object: where it goes, what seems to touch, what stays uncertain."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from fgs_jax.config import GIVEN_CONTACT
from fgs_jax.energies.contact import flesh_depth, vertex_normals
from fgs_jax.hands.kind import HandKind, PosePrior, Uncertainty, moved_params
from fgs_jax.objects.surfaces import SignedDistance
from fgs_jax.rotations import matrix_of
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.given_place import LEVELS, place_given
from fgs_jax.types import Grasp, Hand, HandParams
from tests.reference.contact import vertex_normals as twin_normals

RADIUS = 0.04
CONFIG = replace(GIVEN_CONTACT, places=1536)
SIDES = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])


def little_ball(radius: float) -> tuple[np.ndarray, np.ndarray]:
    ball = trimesh.creation.icosphere(1, radius)
    return np.asarray(ball.vertices), np.asarray(ball.faces)


def hold() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four little balls of skin that just touch a ball from four sides: vertices, faces, regions."""
    vertices, faces = little_ball(0.005)
    all_vertices = np.concatenate([vertices + (RADIUS + 0.005) * side for side in SIDES])
    all_faces = np.concatenate([faces + k * len(vertices) for k in range(4)])
    return all_vertices, all_faces, np.repeat(np.arange(4), len(vertices))


VERTICES, FACES, REGIONS = hold()


def pose(_, params):
    root = jnp.array([[0.0, 0.0, 0.1]])
    points = jnp.asarray(VERTICES, jnp.float32) - root
    rotation = matrix_of(params.rotation) if params.rotation.ndim == 1 else params.rotation
    placed = jnp.matmul(points, rotation.T, precision="highest") + root + params.translation[None]
    return Hand(placed, root + params.translation[None], placed[::42])


KIND = HandKind(
    (),
    faces=jnp.asarray(FACES, jnp.int32),
    regions=jnp.asarray(REGIONS, jnp.int32),
    finger_of_keypoint=jnp.arange(4),
    finger_of_vertex=jnp.asarray(REGIONS, jnp.int32),
    region_count=4,
    pose=pose,
    prior=lambda _, p: PosePrior(p.pose, jnp.zeros(1), jnp.ones(1)),
)


def ball(_, coordinates):
    return jnp.sqrt(jnp.sum(coordinates**2, axis=0) + 1e-12) - RADIUS


PROBLEM = ContactProblem(KIND, SignedDistance((), ball), jnp.zeros((1, 3)))
UNCERTAINTY = Uncertainty(jnp.asarray(0.1), jnp.asarray(0.175), jnp.asarray(0.01))


def given(shift):
    params = HandParams(pose=jnp.zeros(1), rotation=jnp.zeros(3), translation=jnp.asarray(shift, jnp.float32))
    return Grasp(params, jnp.eye(3), jnp.zeros(3), jnp.ones(()))


place = jax.jit(partial(place_given, PROBLEM, config=CONFIG, uncertainty=UNCERTAINTY))


def test_a_hand_that_is_off_goes_back_and_one_that_touches_stays():
    off, there = (place(given(shift), key=jax.random.key(0)) for shift in ([0.012, -0.008, 0.0], [0.0, 0.0, 0.0]))
    # A turn about the root, which lies 10 cm away, moves the skin as well as a shift does.
    left = [np.asarray(pose((), found.grasp.hand).vertices).mean(axis=0)[:2] for found in (off, there)]
    assert np.linalg.norm(left[0]) < 0.3 * np.hypot(0.012, 0.008)
    assert np.linalg.norm(left[1]) < 0.001
    assert float(there.uncertainty.place) < 0.5 * float(off.uncertainty.place) < 0.5 * 0.01
    assert float(there.uncertainty.angles) < float(off.uncertainty.angles) <= 0.1
    assert (np.asarray(there.touch) > 0.8).all()


def test_a_part_that_is_far_from_the_object_does_not_touch():
    far = jnp.where(jnp.asarray(REGIONS)[:, None] == 3, jnp.array([0.0, -0.04, 0.0]), 0.0)
    kind = replace(KIND, pose=lambda _, p: replace_vertices(pose(_, p), far))
    touch = np.asarray(
        place_given(replace(PROBLEM, hand=kind), given([0.0, 0.0, 0.0]), jax.random.key(0), CONFIG, UNCERTAINTY).touch
    )
    assert touch[3] < 0.1 and (touch[:3] > 0.5).all()


def replace_vertices(posed, shift):
    return Hand(posed.vertices + shift, posed.joints, posed.keypoints)


def test_a_hand_that_is_nan_stays_so_and_the_least_share_is_left():
    lost = place(given([jnp.nan, 0.0, 0.0]), key=jax.random.key(0))
    assert np.isnan(lost.grasp.hand.translation[0])
    assert float(lost.uncertainty.angles) == pytest.approx(0.1 * LEVELS[0] ** 2)


def test_a_hand_turns_about_its_root_and_moves():
    turn, shift = jnp.array([0.2, -0.1, 0.3]), jnp.array([0.01, 0.02, 0.03])
    start = given([0.1, 0.2, 0.3]).hand
    for params in (start, replace(start, rotation=matrix_of(start.rotation))):
        before, after = pose((), params), pose((), moved_params((), params, turn, shift))
        root = np.asarray(before.joints[0])
        expected = (np.asarray(before.vertices) - root) @ np.asarray(matrix_of(turn)).T + root + np.asarray(shift)
        np.testing.assert_allclose(after.vertices, expected, atol=1e-6)


def test_flesh_gives_by_its_margin():
    distance, margin = jnp.array([0.004, 0.0, -0.001, -0.002, -0.005]), jnp.full(5, 0.002)
    np.testing.assert_allclose(flesh_depth(distance, margin), [0.004, 0.0, -0.00025, -0.001, -0.004], atol=1e-9)
    assert flesh_depth(distance, None) is distance
    np.testing.assert_allclose(flesh_depth(distance, jnp.zeros(5)), distance, atol=1e-9)
    slopes = jax.vmap(jax.grad(lambda d: flesh_depth(d[None], margin[:1])[0]))(jnp.array([-0.001, -0.0019, -0.003]))
    np.testing.assert_allclose(slopes, [0.5, 0.95, 1.0], atol=1e-4)


def test_normals_equal_their_twin(rng):
    vertices, faces = little_ball(0.03)
    vertices = vertices * rng.uniform(0.8, 1.2, (len(vertices), 1))
    ours = vertex_normals(jnp.asarray(vertices, jnp.float32), jnp.asarray(faces, jnp.int32))
    np.testing.assert_allclose(ours, twin_normals(vertices, faces), atol=1e-5)
