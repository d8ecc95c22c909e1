"""Distances point by point, as their definitions have them."""

import itertools

import numpy as np


def nearest_squared(queries, targets):
    """Squared distance of each query to every target, nan where a target is not finite."""
    squared = np.full((len(queries), len(targets)), np.nan)
    for row, query in enumerate(np.asarray(queries, float)):
        for column, target in enumerate(np.asarray(targets, float)):
            if np.isfinite(target).all():
                squared[row, column] = ((query - target) ** 2).sum()
    return squared


def signed_distance(values, origin, voxel, points):
    """Trilinear value at each point and its gradient; outside the box the distance to it is added."""
    last = np.array(values.shape) - 1
    results, gradients = [], []
    for point in np.asarray(points, float):
        scaled = (point - origin) / voxel
        inside = np.clip(scaled, 0, last)
        cell = np.minimum(np.floor(inside), last - 1).astype(int)
        fraction = inside - cell
        value, gradient = 0.0, np.zeros(3)
        for corner in itertools.product((0, 1), repeat=3):
            weights = np.where(corner, fraction, 1 - fraction)
            node = values[tuple(cell + corner)]
            value += node * weights.prod()
            for axis in range(3):
                others = np.delete(weights, axis).prod()
                gradient[axis] += node * others * (1 if corner[axis] else -1) / voxel
        offset = point - (origin + inside * voxel)
        away = np.linalg.norm(offset)
        gradient[offset != 0] = 0
        results.append(value + away)
        gradients.append(gradient + (offset / away if away else 0))
    return np.array(results), np.array(gradients)


def winding_number(vertices, faces, points):
    """Solid angle of all faces as a share of the sphere (van Oosterom and Strackee 1983)."""
    result = []
    for point in points:
        a, b, c = np.moveaxis(vertices[faces] - point, 1, 0)
        u, v, w = (np.linalg.norm(x, axis=1) for x in (a, b, c))
        volume = (a * np.cross(b, c)).sum(axis=1)
        rest = u * v * w + (a * b).sum(axis=1) * w + (b * c).sum(axis=1) * u + (c * a).sum(axis=1) * v
        result.append(np.arctan2(volume, rest).sum() / (2 * np.pi))
    return np.array(result)
