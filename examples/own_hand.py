"""A hand of your own in the contact stage: three fingers of two capsules each close on a bottle, as MANO's would."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jaxtyping import Array

from fgs_jax import FAST_CONTACT, Grasp, Hand, HandParams, load_object
from fgs_jax.hands import HandKind, PosePrior, rotation_matrix
from fgs_jax.objects import distance_grid, sample_points
from fgs_jax.stages import ContactProblem, Grasps, refine_grasps

BASES = jnp.array([[0.05, 0.0, 0.0], [-0.05, 0.02, 0.0], [-0.05, -0.02, 0.0]])  # metres, about the palm's middle
INWARD = jnp.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
BONE, RADIUS = 0.055, 0.008
SHAPE = trimesh.creation.capsule(height=BONE, radius=RADIUS, count=[12, 12])  # 146 vertices about its middle
OPEN = jnp.array([[0.0, -0.3, 0.2], [-0.14, -0.3, 0.2], [0.14, -0.3, 0.2]])  # radians: spread, base, middle joint
LIMITS, STD = jnp.array(3 * [[[-0.4, 0.4], [-0.6, 1.5], [0.0, 1.8]]]), jnp.full((3, 3), 0.4)
BOTTLE = load_object(trimesh.creation.cylinder(radius=0.032, height=0.16), name="bottle")


def finger(base: Array, inward: Array, angles: Array) -> tuple[Array, Array]:
    """Joints from base to tip, and skin."""
    along, joints, skin = jnp.stack([jnp.zeros(()), jnp.sin(angles[0]), jnp.cos(angles[0])]), [base], []
    for bend in jnp.cumsum(angles[1:]):
        bone, front = jnp.cos(bend) * along + jnp.sin(bend) * inward, jnp.cos(bend) * inward - jnp.sin(bend) * along
        frame = jnp.stack([front, jnp.cross(bone, front), bone])
        skin.append((joints[-1] + BONE / 2 * bone)[None] + jnp.asarray(SHAPE.vertices, jnp.float32) @ frame)
        joints.append(joints[-1] + BONE * bone)
    return jnp.stack(joints), jnp.concatenate(skin)


def pose(data: tuple, params: HandParams) -> Hand:
    turn, parts = rotation_matrix(params.rotation).T, jax.vmap(finger)(BASES, INWARD, params.pose)
    joints, skin = (params.scale * part.reshape(-1, 3) @ turn + params.translation[None] for part in parts)
    return Hand(skin, joints, joints)


FINGER, FACES = np.repeat(np.arange(3), 292), np.concatenate([SHAPE.faces + 146 * k for k in range(6)])
PADS = np.tile(np.concatenate([np.zeros(146, bool), SHAPE.vertices[:, 0] > 0.6 * RADIUS]), 3)  # facing inward
ARRAYS = jnp.asarray(FACES), jnp.asarray(np.where(PADS, FINGER, -1)), jnp.arange(9) // 3, jnp.asarray(FINGER)
HAND = HandKind((), *ARRAYS, region_count=3, pose=pose, prior=lambda _, p: PosePrior(p.pose, OPEN, STD, p.pose, LIMITS))


def main(count: int = 8) -> Grasps:
    problem = ContactProblem(HAND, distance_grid(BOTTLE), sample_points(BOTTLE, 2000, jax.random.key(0)))
    place = jnp.array([[0.02, 0.01, -0.1]]) + 0.005 * jax.random.normal(jax.random.key(1), (count, 3))
    none, pose, still = jnp.zeros((count, 3)), jnp.tile(OPEN, (count, 1, 1)), jnp.tile(jnp.eye(3), (count, 1, 1))
    starts = Grasp(HandParams(none[:, :0], pose, none, place, jnp.ones(count)), still, none, jnp.ones(count))
    config = replace(FAST_CONTACT, w_prior=0.1, w_spen=100.0, reach=0.1, steps=400)
    return refine_grasps(problem, starts, jax.random.key(2), config)


if __name__ == "__main__":
    print("energies:", main().energy.round(2))
