"""A hand of MANO's format made by code: 778 vertices, 1538 faces, MANO's rest frame, and nothing of MANO in it.

A palm of rings, open at the wrist; at the knuckles its last ring is pinched between the fingers into four rings, and
the thumb grows out of a hole in its side. Every joint is the middle of a ring of vertices.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

VERTICES, FACES = 778, 1538

_KNUCKLES = np.array([[0.004, 0.003, 0.027], [-0.002, 0.005, 0.004], [0.006, 0.003, -0.017], [0.018, -0.001, -0.036]])
_WEBS = np.array([0.039, 0.0155, -0.0065, -0.0265, -0.0455])
_PHALANGES = np.array([[0.038, 0.023, 0.024], [0.042, 0.027, 0.025], [0.039, 0.026, 0.025], [0.030, 0.019, 0.022]])
_DIRECTIONS = np.array([[-0.97, -0.05, 0.12], [-0.98, -0.05, 0.0], [-0.96, -0.07, -0.15], [-0.91, -0.09, -0.32]])
_RADII = (0.0095, 0.0098, 0.0092, 0.0082)
_FIRST_JOINTS = (1, 4, 10, 7)  # index, middle, ring, pinky
_PALM_RINGS = 9
_HALF = 17  # vertices of a palm ring on the back of the hand, and as many in the palm


def synthetic_mano(seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a right hand under MANO's keys and in its dtypes; random where MANO is learnt."""
    random = np.random.default_rng(seed)
    vertices, faces, weights, rings = _mesh()
    vertices = vertices + random.normal(0, 1e-4, vertices.shape)
    regressor = np.zeros((16, VERTICES))
    for joint, ring in rings.items():
        share = random.uniform(0.9, 1.1, len(ring))
        regressor[joint, ring] = share / share.sum()
    waves = random.normal(0, 15, (10, 3, 3))
    phases = random.uniform(0, 2 * np.pi, (10, 3))
    shapes = np.sin(np.einsum("bcx,vx->vcb", waves, vertices) + phases.T) * 2e-3 * 0.8 ** np.arange(10)
    shapes[:, :, 0] = 0.2 * shapes[:, :, 0] + 0.06 * (vertices - regressor[0] @ vertices)
    bend = np.tile([0.05, -0.05, 0.4], (15, 1))
    bend[12:] = [[0.5, -0.2, 0.1], [0.0, -0.1, 0.2], [0.1, -0.2, 0.3]]
    return {
        "v_template": vertices,
        "f": faces.astype(np.uint32),
        "weights": weights,
        "J_regressor": regressor,
        "J": regressor @ vertices,
        "shapedirs": shapes,
        "posedirs": random.normal(0, 1e-3, (VERTICES, 3, 135)),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)]),
        "hands_mean": (bend + random.normal(0, 0.03, (15, 3))).ravel(),
        "hands_components": np.linalg.qr(random.normal(size=(45, 45)))[0],
        "hands_coeffs": random.normal(size=(100, 45)) * 0.8 * 0.9 ** np.arange(45),
    }


def mirrored_mano(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of the left hand that is the mirror image in x: M v, M R M, and each axis-angle as (x, -y, -z)."""
    mirror = np.diag([-1.0, 1.0, 1.0])
    posedirs = arrays["posedirs"].reshape(-1, 3, 15, 3, 3)
    return arrays | {
        "v_template": arrays["v_template"] @ mirror,
        "f": arrays["f"][:, ::-1],
        "J": arrays["J"] @ mirror,
        "shapedirs": np.einsum("ac,vcb->vab", mirror, arrays["shapedirs"]),
        "posedirs": np.einsum("ac,vcjkl,km,ln->vajmn", mirror, posedirs, mirror, mirror).reshape(-1, 3, 135),
        "hands_mean": (arrays["hands_mean"].reshape(15, 3) * [1, -1, -1]).ravel(),
        "hands_components": (arrays["hands_components"].reshape(-1, 15, 3) * [1, -1, -1]).reshape(-1, 45),
    }


@dataclass
class _Growing:
    vertices: list[np.ndarray]
    weights: list[np.ndarray]
    faces: list[tuple[int, int, int]]
    rings: dict[int, np.ndarray]
    """The vertices round each joint."""


def _mesh() -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """Vertices, faces, skinning weights, and the ring of vertices round each joint."""
    count = 2 * _HALF
    wrist = _ellipse(16, [0.108, 0.004, 0.003], 0.018, 0.028)
    first = _ellipse(count, [0.108, 0.004, 0.003], 0.019, 0.029)
    last = _knuckle_ring()
    palm = [first + (last - first) * step / _PALM_RINGS for step in range(1, _PALM_RINGS + 1)]
    vertices = [*wrist, *np.concatenate(palm)]
    ids = 16 + np.arange(_PALM_RINGS * count).reshape(_PALM_RINGS, count)
    hand = _Growing(vertices, [np.eye(16)[0]] * len(vertices), _zip(np.arange(16), ids[0]), {0: ids[0]})
    hole_rows, hole_columns = range(1, 4), (count - 2, count - 1)
    for row in range(_PALM_RINGS - 1):
        columns = [k for k in range(count) if not (row in hole_rows and k in hole_columns)]
        hand.faces += _strip(ids[row], ids[row + 1], columns)

    bases = [np.r_[ids[-1, 4 * k : 4 * k + 5], ids[-1, count - 5 - 4 * k : count - 4 * k]] for k in range(4)]
    edge = ids[1:5][:, [count - 2, count - 1, 0]]
    bases.append(np.r_[edge[0], edge[1:, 2], edge[3, 1::-1], edge[2:0:-1, 0]])
    thumb = np.array([-0.68, -0.2, 0.7]), np.array([0.033, 0.030, 0.026]), 0.0105, 13
    fingers = [*zip(_DIRECTIONS, _PHALANGES, _RADII, _FIRST_JOINTS, strict=True), thumb]
    for base, (direction, lengths, radius, joint) in zip(bases, fingers, strict=True):
        _grow_finger(hand, base, direction / np.linalg.norm(direction), lengths, radius=radius, joint=joint)

    points, faces, weights = np.array(hand.vertices), np.array(hand.faces), np.array(hand.weights)
    while len(np.unique(faces)) < VERTICES:
        points, faces, weights = _split_largest(points, faces, weights)
    used = np.unique(faces)
    place = np.full(len(points), -1)
    place[used] = np.arange(VERTICES)
    rings = {joint: place[ring] for joint, ring in hand.rings.items()}
    return points[used], place[faces], weights[used] / weights[used].sum(axis=1, keepdims=True), rings


def _ellipse(count: int, centre: list[float], height: float, width: float) -> np.ndarray:
    """A ring across x, from the thumb's side over the back of the hand."""
    angle = (np.arange(count) + 0.5) * 2 * np.pi / count
    return np.stack([0 * angle, height * np.sin(angle), width * np.cos(angle)], axis=1) + centre


def _knuckle_ring() -> np.ndarray:
    """The palm's last ring: over each finger an ellipse, whose ends lie in the webs."""
    z = [_WEBS[0]]
    height = [0.004]
    for centre, web in zip(_KNUCKLES[:, 2], _WEBS[1:], strict=True):
        z += [centre + 0.618 * (z[-1] - centre), centre, centre + 0.618 * (web - centre), web]
        height += [0.0088, 0.0108, 0.0088, 0.004]
    order = np.argsort(_KNUCKLES[:, 2])
    middle = np.stack([np.interp(z, _KNUCKLES[order, 2], _KNUCKLES[order, axis]) for axis in range(3)], axis=1)
    middle[:, 2] = z
    offset = np.array(height)[:, None] * [0, 1, 0]
    return np.concatenate([middle + offset, (middle - offset)[::-1]])


def _grow_finger(
    hand: _Growing, base: np.ndarray, direction: np.ndarray, lengths: np.ndarray, *, radius: float, joint: int
) -> None:
    """Adds nine rings and a tip to a ring of the palm, three rings per phalanx."""
    start = np.array(hand.vertices)[base]
    centre = start.mean(axis=0)
    across = start[0] - centre
    across = across - across @ direction * direction
    across /= np.linalg.norm(across)
    turn = np.sign(np.cross(start - centre, np.roll(start, -1, axis=0) - centre).sum(axis=0) @ direction)
    angle = np.arange(len(base)) * 2 * np.pi / len(base)
    circle = np.cos(angle)[:, None] * across + turn * np.sin(angle)[:, None] * np.cross(direction, across)

    reach = np.r_[0, np.cumsum(lengths)]
    for vertex in base:
        hand.weights[vertex] = hand.weights[vertex] + _chain_weights(0.0, joint)
    hand.rings[joint] = ring = base
    for step in range(1, 10):
        at = step / 3 if step < 9 else 2.93
        thickness = radius * (1 - 0.06 * at) * {8: 0.85, 9: 0.5}.get(step, 1.0)
        following = len(hand.vertices) + np.arange(len(base))
        hand.vertices += list(centre + np.interp(at, range(4), reach) * direction + thickness * circle)
        hand.weights += [_chain_weights(at, joint)] * len(base)
        hand.faces += _strip(ring, following, range(len(base)))
        ring = following
        if step in (3, 6):
            hand.rings[joint + step // 3] = ring
    tip = len(hand.vertices)
    hand.vertices.append(centre + reach[3] * direction)
    hand.weights.append(_chain_weights(3.0, joint))
    hand.faces += [(int(ring[k]), int(ring[(k + 1) % len(ring)]), tip) for k in range(len(ring))]


def _chain_weights(at: float, joint: int) -> np.ndarray:
    """Weights at `at` phalanges from the first joint of a finger, blended about each joint."""
    past = np.clip((at - np.arange(3)) / 0.8 + 0.5, 0, 1)
    row = np.zeros(16)
    row[0] = 1 - past[0]
    row[joint : joint + 3] = past - np.r_[past[1:], 0]
    return row


def _strip(ring: np.ndarray, following: np.ndarray, columns: Iterable[int]) -> list[tuple[int, int, int]]:
    """Two triangles per column between two rings of one length."""
    faces = []
    for k in columns:
        a, b = int(ring[k]), int(ring[(k + 1) % len(ring)])
        c, d = int(following[(k + 1) % len(ring)]), int(following[k])
        faces += [(a, b, c), (a, c, d)]
    return faces


def _zip(ring: np.ndarray, following: np.ndarray) -> list[tuple[int, int, int]]:
    """Triangles between two rings of different lengths that start at one place."""
    faces, i, j = [], 0, 0
    n, m = len(ring), len(following)
    while i < n or j < m:
        if j == m or (i < n and (i + 1) / n <= (j + 1) / m):
            faces.append((int(ring[i % n]), int(ring[(i + 1) % n]), int(following[j % m])))
            i += 1
        else:
            faces.append((int(ring[i % n]), int(following[(j + 1) % m]), int(following[j % m])))
            j += 1
    return faces


def _split_largest(
    points: np.ndarray, faces: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One vertex more, in the middle of the largest face."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    largest = np.argmax(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    corners, new = faces[largest], len(points)
    parts = [(corners[k], corners[(k + 1) % 3], new) for k in range(3)]
    return (
        np.vstack([points, points[corners].mean(axis=0)]),
        np.vstack([np.delete(faces, largest, axis=0), parts]),
        np.vstack([weights, weights[corners].mean(axis=0)]),
    )
