"""A hand of your own in the contact stage: three fingers of two capsules each close on a bottle, as MANO's would."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jaxtyping import Array

from fgs_jax.config import FAST_CONTACT
from fgs_jax.hands.kind import HandKind, PosePrior, rotation_matrix
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.results.metrics import Surface, grasp_metrics
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.grasps import Grasps, refine_grasps
from fgs_jax.types import Grasp, Hand, HandParams

BASES = jnp.array([[0.05, 0.0, 0.0], [-0.05, 0.02, 0.0], [-0.05, -0.02, 0.0]])  # metres, about the palm's middle
INWARD = jnp.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
BONES, RADIUS = (0.06, 0.05), 0.008
SHAPES = [trimesh.creation.capsule(height=length, radius=RADIUS, count=[12, 12]) for length in BONES]
FACES = np.concatenate([SHAPES[k % 2].faces + 146 * k for k in range(6)])  # a capsule has 146 vertices
PAD = np.concatenate([np.zeros(146, bool), SHAPES[1].vertices[:, 0] > 0.6 * RADIUS])  # the side that faces inward
MEAN, STD = jnp.array(3 * [[0.0, -0.2, 0.3]]), jnp.array(3 * [[0.2, 0.3, 0.4]])
LIMITS = jnp.array(3 * [[[-0.4, 0.4], [-0.6, 1.5], [0.0, 1.8]]])
BOTTLE = load_object(trimesh.creation.cylinder(radius=0.032, height=0.16), name="bottle")


def finger(base: Array, inward: Array, angles: Array) -> tuple[Array, Array]:
    """Joints from base to tip, and skin, of a finger whose angles are spread, base joint and middle joint."""
    along = jnp.stack([jnp.zeros(()), jnp.sin(angles[0]), jnp.cos(angles[0])])
    joints, skin = [base], []
    for shape, length, bend in zip(SHAPES, BONES, jnp.cumsum(angles[1:]), strict=True):
        bone, front = jnp.cos(bend) * along + jnp.sin(bend) * inward, jnp.cos(bend) * inward - jnp.sin(bend) * along
        frame = jnp.stack([front, jnp.cross(bone, front), bone])
        skin.append((joints[-1] + length / 2 * bone)[None] + jnp.asarray(shape.vertices, jnp.float32) @ frame)
        joints.append(joints[-1] + length * bone)
    return jnp.stack(joints), jnp.concatenate(skin)


def pose(data: None, params: HandParams) -> Hand:
    parts = jax.vmap(finger)(BASES, INWARD, params.pose)
    turn = rotation_matrix(params.rotation).T
    joints, skin = (params.scale * part.reshape(-1, 3) @ turn + params.translation[None] for part in parts)
    return Hand(skin, joints, joints)


def prior(data: None, params: HandParams) -> PosePrior:
    return PosePrior(params.pose, MEAN, STD, params.pose, LIMITS)


OF_VERTEX, OF_KEYPOINT = np.repeat(np.arange(3), 292), jnp.arange(9) // 3
HAND = HandKind(
    *(None, jnp.asarray(FACES), jnp.asarray(np.where(np.tile(PAD, 3), OF_VERTEX, -1)), OF_KEYPOINT),
    *(jnp.asarray(OF_VERTEX), 3, pose, prior),
)


def main(count: int = 8) -> tuple[Grasps, list[dict[str, float | None]]]:
    problem = ContactProblem(HAND, distance_grid(BOTTLE), sample_points(BOTTLE, 2000, jax.random.key(0)))
    config = replace(FAST_CONTACT, w_prior=0.1, w_spen=100.0, reach=0.1, steps=400)
    place = jnp.array([0.02, 0.01, -0.1]) + 0.005 * jax.random.normal(jax.random.key(1), (count, 3))
    angles = jnp.tile(jnp.array([[0.0, -0.3, 0.2], [-0.14, -0.3, 0.2], [0.14, -0.3, 0.2]]), (count, 1, 1))
    hands = HandParams(jnp.zeros((count, 0)), angles, jnp.zeros((count, 3)), place, jnp.ones(count))
    starts = Grasp(hands, jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.zeros((count, 3)), jnp.ones(count))
    grasps, bottle = refine_grasps(problem, starts, jax.random.key(2), config), Surface(BOTTLE.vertices, BOTTLE.faces)
    measured = [grasp_metrics(Surface(v, FACES), bottle, OF_VERTEX) for v in np.asarray(grasps.hand_vertices, float)]
    for energy, values in zip(grasps.energy, measured, strict=True):
        print(f"energy {energy:7.3f}, {values['mpd_mm']:.2f} mm deep, {values['fingers_in_contact']:.0f} fingers touch")
    return grasps, measured


if __name__ == "__main__":
    main()
