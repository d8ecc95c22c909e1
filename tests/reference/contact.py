"""Eq. 12 point by point. A surface is a function from points (n, 3) to signed distances."""

import numpy as np


def E_dis(points, surface, weight=None):
    weight = np.ones(len(points)) if weight is None else weight
    return sum(w * abs(surface(point[None])[0]) for point, w in zip(points, weight, strict=True) if w > 0)


def E_pen(points, surface):
    return sum(max(-surface(point[None])[0], 0.0) for point in points)


def E_prior(angles, mean, std, limited=(), limits=()):
    total = np.sqrt((((angles - mean) / std) ** 2).sum())
    for angle, (low, high) in zip(np.ravel(limited), np.reshape(limits, (-1, 2)), strict=True):
        total += max(low - angle, 0.0) + max(angle - high, 0.0)
    return total


def E_spen(keypoints, finger, least=0.018):
    total = 0.0
    for a in range(len(keypoints)):
        for b in range(a):
            if finger[a] >= 0 and finger[b] >= 0 and finger[a] != finger[b]:
                total += max(least - np.linalg.norm(keypoints[a] - keypoints[b]), 0.0)
    return total


def flesh_depths(distance, regions, size):
    """Depths within the object, which rise as squares within the flesh: 2.5 mm (fingers) or 2 mm (palm) of size 1."""
    depths = []
    for d, region in zip(distance, regions, strict=True):
        margin, depth = size * (0.0 if region < 0 else 0.002 if region == 5 else 0.0025), max(-float(d), 0.0)
        depths.append(depth**2 / (2 * margin) if depth < margin else depth - margin / 2)
    return np.array(depths)


def E_h(pose, given_pose, translation, given_translation):
    return ((pose - given_pose) ** 2).sum(), ((translation - given_translation) ** 2).sum()


def E_keypoint(pixels, seen, confidence, size=None):
    used = [k for k in range(len(seen)) if confidence[k] > 0]
    if not used:
        return 0.0
    side = max((seen[used].max(axis=0) - seen[used].min(axis=0)).max() if size is None else size, 1.0)
    total, bend = 0.0, 3 * 0.03
    for k in used:
        share = np.linalg.norm(pixels[k] - seen[k]) / side
        total += confidence[k] * (share**2 if share <= bend else bend * (2 * share - bend))
    return total / len(seen)


def E_order(depth, front, back):
    total = 0.0
    for z, nearest, farthest in zip(depth, front, back, strict=True):
        total += max(z - nearest, 0.0) if nearest > 0 else 0.0
        total += max(farthest - z, 0.0) if farthest > 0 else 0.0
    return total


def vertex_normals(vertices, faces):
    """Averaged by area; zero for a vertex without a face."""
    normals = np.zeros_like(vertices)
    for a, b, c in faces:
        across = np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
        for corner in (a, b, c):
            normals[corner] += across
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)


def neighbours(points, vertices, faces):
    """Index of the nearest vertex to each point, and its normal."""
    index = np.array([((vertices - point) ** 2).sum(axis=1).argmin() for point in points])
    return index, vertex_normals(vertices, faces)[index]


def distance_to_neighbours(points, vertices, index, normals, deepest=0.025):
    result = []
    for point, nearest, normal in zip(points, index, normals, strict=True):
        offset = point - vertices[nearest]
        result.append(offset @ normal if np.linalg.norm(offset) < deepest else deepest)
    return np.array(result)


def nearest_contacts(distance, regions, per_region, reach):
    """{region: its nearest vertices within reach, nearest first}."""
    chosen = {}
    for region in range(6):
        members = np.flatnonzero(regions == region)
        members = members[np.argsort(np.abs(distance[members]), kind="stable")][:per_region]
        chosen[region] = [int(v) for v in members if abs(distance[v]) <= reach]
    return chosen


def depths_along_rays(camera, corners, points):
    """Depth at which the ray through each point, from the camera, first meets a triangle, and where that solid ends.

    It ends at the first triangle that faces away, or at the last of all where none does. 0 where there is none.
    """
    least, back = np.zeros(len(points)), np.zeros(len(points))
    pixels = camera["f"] * points[:, :2] / np.maximum(points[:, 2:], 0.01) + camera["c"]
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    for k, pixel in enumerate(pixels):
        ray = np.append((pixel - camera["c"]) / camera["f"], 1.0)
        # depth ray = a + beta ab + gamma ac
        systems = np.stack([np.broadcast_to(ray, a.shape), -ab, -ac], axis=2)
        drawn = (corners[..., 2].min(axis=1) >= 0.01) & (np.abs(np.linalg.det(systems)) > 1e-15)
        depth, beta, gamma = np.linalg.solve(systems[drawn], a[drawn][:, :, None])[..., 0].T
        met = (beta >= 0) & (gamma >= 0) & (beta + gamma <= 1)
        away = np.cross(ab, ac)[drawn][met] @ ray > 0
        depths = depth[met]
        if len(depths):
            least[k], back[k] = depths.min(), depths[away].min() if away.any() else depths.max()
    return least, back


def order_of(camera, corners, points, seen):
    """Front for points that are seen before the triangles, back for those hidden by them; 0 elsewhere."""
    least, ends = depths_along_rays(camera, corners, points)
    return np.where(seen > 0, least, 0.0), np.where(seen < 0, ends, 0.0)
