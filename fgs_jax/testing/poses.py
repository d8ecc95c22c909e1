"""Poses as 4x4 matrices: points moved by them, and how far one is from the true one."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from fgs_jax.results.metrics.truth import object_distance


def add_s(points: Float[ndarray, "n 3"], estimate: Float[ndarray, "4 4"], truth: Float[ndarray, "4 4"]) -> float:
    """ADD-S in metres: mean distance from a point in its true place to the nearest one in the estimated pose."""
    return object_distance(transformed(points, estimate), transformed(points, truth))


def diameter(vertices: Float[ndarray, "v 3"]) -> float:
    """Greatest distance between two vertices."""
    return float(pdist(vertices[ConvexHull(vertices).vertices]).max())


def rotation_error(a: Float[ndarray, "3 3"], b: Float[ndarray, "3 3"]) -> float:
    """Angle between two rotations, degrees."""
    return float(np.rad2deg((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude()))


def transformed(points: Float[ndarray, "*n 3"], T: Float[ndarray, "4 4"]) -> Float[ndarray, "*n 3"]:
    """R p + t."""
    return points @ T[:3, :3].T + T[:3, 3]
