"""Hands about an object from all sides, from which thousands of grasps start."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.hands.anatomy import REGION_NAMES, vertex_normals
from fgs_jax.hands.mano import hand
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.objects.sample import sample_points
from fgs_jax.types import HandModel, HandParams

DISTANCE = 0.04
"""From the palm's middle to the point of the object that it faces, metres."""


def hands_about(model: HandModel, mesh: ObjectMesh, count: int, rng: np.random.Generator) -> HandParams:
    """`count` hands of the mean pose whose palms face random points of the object, in the object's frame and metres."""
    at_rest = jax.tree.map(np.asarray, hand(model, HandParams(betas=jnp.zeros(0), pose=model.pose_mean)))
    of_palm = np.asarray(model.regions) == REGION_NAMES.index("palm")
    palm = at_rest.vertices[of_palm].mean(axis=0)
    closed_faces = np.concatenate([np.asarray(model.faces), np.asarray(model.cap_faces)])
    outward = vertex_normals(np.asarray(at_rest.vertices, float), closed_faces)[of_palm].mean(axis=0)
    outward = outward / np.linalg.norm(outward)
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    wrist = at_rest.joints[0]
    rotations, translations = [], []
    for point in np.asarray(sample_points(mesh, count, jax.random.key(7)), float):
        away = point - middle + 1e-3 * rng.normal(size=3)
        away = away / np.linalg.norm(away)
        turn = _aligned(outward, -away, rng)
        rotations.append(turn)
        translations.append(point + DISTANCE * away - turn @ (palm - wrist) - wrist)
    vectors = Rotation.from_matrix(np.stack(rotations)).as_rotvec()
    return HandParams(
        betas=jnp.zeros((count, 0)),
        pose=jnp.tile(model.pose_mean, (count, 1, 1)),
        rotation=jnp.asarray(vectors, jnp.float32),
        translation=jnp.asarray(np.stack(translations), jnp.float32),
        scale=jnp.ones(count),
    )


def _aligned(a: Float[ndarray, "3"], b: Float[ndarray, "3"], rng: np.random.Generator) -> Float[ndarray, "3 3"]:
    """A rotation that turns a to b, with a random turn about it."""

    def frame(x: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
        y = np.cross(x, rng.normal(size=3))
        y = y / np.linalg.norm(y)
        return np.stack([x, y, np.cross(x, y)], axis=1)

    return frame(b) @ frame(a).T
