"""Surfaces whose distance is a formula, a grid of one, a finger as a mesh, and which finger each keypoint is of."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import trimesh

from fgs_jax.energies.contact import Neighbours, distance_to_neighbours, neighbours
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from tests.reference import distance as distance_twin

RADIUS = 0.05
FINGER = np.array([-1, *(k // 4 for k in range(20))])
find_neighbours, tangent_distance = jax.jit(neighbours), jax.jit(distance_to_neighbours)


def sphere(points):
    return jnp.linalg.norm(points, axis=1) - RADIUS


def box(points):
    """Of sides 0.1, 0.06 and 0.04."""
    beyond = jnp.abs(points) - jnp.array([[0.05, 0.03, 0.02]])
    inside = jnp.minimum(jnp.max(beyond, axis=1), 0.0)
    return inside + jnp.sqrt(jnp.sum(jax.nn.relu(beyond) ** 2, axis=1) + 1e-30)


def capsule(points):
    """Of radius 0.02 about the segment from (0, 0, -0.03) to (0, 0, 0.03)."""
    axis = jnp.clip(points[:, 2:], -0.03, 0.03) * jnp.array([[0.0, 0.0, 1.0]])
    return jnp.sqrt(jnp.sum((points - axis) ** 2, axis=1) + 1e-30) - 0.02


def ball_mesh(radius=0.035, name="ball"):
    return load_object(trimesh.creation.icosphere(3, radius), name=name)


@cache
def ball_grid():
    return distance_grid(ball_mesh(RADIUS), 32)


def numpy_surface(surface):
    """A surface of either kind as the twins take it."""
    if callable(surface):
        return lambda points: np.asarray(surface(jnp.asarray(points)), float)
    arrays = (np.asarray(x, float) for x in (surface.box(), surface.origin, surface.voxel))
    return partial(
        lambda values, origin, voxel, points: distance_twin.signed_distance(values, origin, voxel, points)[0], *arrays
    )


def finger_mesh():
    """A capsule of radius 1 cm about the z axis, 4 cm long between its ends, wound outward."""
    mesh = trimesh.creation.capsule(height=0.04, radius=0.01, count=(16, 12))
    return np.asarray(mesh.vertices, float), np.asarray(mesh.faces)


def held_at(vertices, normals, vertex):
    """Neighbours that were found on these vertices."""
    return Neighbours(vertex, vertices[vertex], normals[vertex], vertices.T, normals.T)
