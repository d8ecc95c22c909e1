"""True grasps: a natural hand that touches an object with known fingers, as deep in the flesh as was asked for.

Nothing here knows an energy of the method. Fingers close one by one along natural joint angles until their skin is as
deep as asked, and a grasp counts only where exact signed distances of the whole hand say what was asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from fgs_jax.hands.anatomy import BONES, FINGER_OF_JOINT, REGION_NAMES
from fgs_jax.hands.mano import hand
from fgs_jax.results.metrics.surface import Surface, sample_surface, signed_distances
from fgs_jax.results.metrics.truth import TRUE_CONTACT
from fgs_jax.rotations import vector_of
from fgs_jax.testing.grasps import (
    SampledSurface,
    bent_hands,
    flat_hands,
    natural_angles,
    open_hand,
    posed_hands,
    sampled_surface,
)
from fgs_jax.testing.shapes import HELD
from fgs_jax.types import Hand, HandModel, HandParams

THUMB, INDEX, MIDDLE, RING, PINKY = range(5)
TOUCHING_SETS = {
    2: ((THUMB, INDEX), (THUMB, MIDDLE)),
    3: ((THUMB, INDEX, MIDDLE), (THUMB, MIDDLE, RING), (INDEX, MIDDLE, RING)),
    4: ((THUMB, INDEX, MIDDLE, RING), (THUMB, MIDDLE, RING, PINKY), (INDEX, MIDDLE, RING, PINKY)),
    5: ((THUMB, INDEX, MIDDLE, RING, PINKY),),
}
"""Fingers that touch, by their number."""
ONLY_TOUCH, PRESSED = 1 / 3, (0.002, 0.006)
"""Share of the grasps that touch without pressing, and how deep the others press, metres."""
TOLERANCE = 0.001
"""Metres by which the depth of a finger, and of the whole hand, may miss what was asked for."""
AWAY, COARSE = 0.006, 0.003
"""Metres that the other fingers stay from the object, at least, and what coarse distances may be wrong by."""
IN_HAND = 0.002
"""Metres by which the object may be deeper in the hand than the hand's vertices are in the object."""
APART = 0.008
"""Metres between the bones of two fingers, at least."""
GAPS = {2: (0.01, 0.06), 3: (0.005, 0.05), 4: (0.0, 0.03), 5: (0.0, 0.025)}
"""Between palm and object, metres, by the number of fingers."""
CANDIDATES, LEVELS, EXACT, ATTEMPTS, SAME_DEPTH = 48, 12, 4, 40, 8
"""Random hands at a time, steps in which their fingers close, the best that are looked at exactly, and how often.

No finger can be 5 mm deep in a thin blade, so that another depth is asked for after some attempts.
"""
BISECTIONS = 9
BETAS = 0.5
"""Standard deviations of the shape, beside its size."""


@dataclass(frozen=True, eq=False)
class TrueGrasp:
    """A hand on an object, in the object's frame and metres, and what touches."""

    name: str
    params: HandParams
    """Of the open hand, axis-angle."""
    depth: float
    """That was asked for: how deep the skin of each touching finger is in the object."""
    fingers: Bool[ndarray, "5"]
    """Those that touch, in the order of `FINGERS`."""
    hand_vertices: Float[ndarray, "v 3"]
    hand_keypoints: Float[ndarray, "21 3"]
    touching: Bool[ndarray, "v"]
    """Vertices within `TRUE_CONTACT` of the object, or inside it."""
    object_vertices: Float[ndarray, "w 3"]
    object_faces: Int[ndarray, "g 3"]


def true_grasp(name: str, seed: int, size: float = 1.0) -> TrueGrasp:
    """A true grasp of an object of `HELD`; everything follows from the arguments.

    Two, three, four and five fingers take turns from seed to seed. `size`: of the hand, all its bones together over
    those of the mean hand.

    Raises ValueError where no hand does what was asked for.
    """
    vertices, faces = HELD[name]()
    rng = np.random.default_rng([crc32(name.encode()), seed])
    count = 2 + (crc32(name.encode()) + seed) % 4
    surface, sampled, depth = Surface(vertices, faces), sampled_surface(vertices, faces, rng), 0.0
    for attempt in range(ATTEMPTS):
        if attempt % SAME_DEPTH == 0:
            depth = 0.0 if rng.random() < ONLY_TOUCH else float(rng.uniform(*PRESSED))
        asked = _Asked(surface, count, depth, size)
        for params, fingers in _closed(asked, sampled, rng):
            posed = jax.tree.map(lambda x: np.asarray(x, float), _hand(open_hand(), params))
            distances = signed_distances(asked.surface, posed.vertices)
            if _is_true(asked, fingers, posed, distances):
                touching = distances < TRUE_CONTACT
                return TrueGrasp(
                    name, params, depth, fingers, posed.vertices, posed.keypoints, touching, vertices, faces
                )
    raise ValueError(f"{name}, seed {seed}: no hand of many touches with {count} fingers as asked: use another seed")


class _Asked(NamedTuple):
    surface: Surface
    of_fingers: int
    """How many shall touch."""
    depth: float
    size: float


class _Coarse(NamedTuple):
    """Least distances of hands that close, metres."""

    fingers: Float[ndarray, "c l 5"]
    facing: Float[ndarray, "c l 5 3"]
    """The object's normal where each finger is nearest."""
    rest: Float[ndarray, "c"]
    """Of palm and wrist, which do not move."""


def _finger_of_vertex() -> Int[ndarray, "v"]:
    return FINGER_OF_JOINT[np.argmax(np.asarray(open_hand().weights), axis=1)]


def _closed(
    asked: _Asked, sampled: SampledSurface, rng: np.random.Generator
) -> Iterator[tuple[HandParams, Bool[ndarray, "5"]]]:
    """The most natural of some random hands, closed to the depth, and the fingers that shall touch."""
    model = open_hand()
    chosen = rng.integers(len(sampled.points), size=CANDIDATES)
    flat = _sized(
        flat_hands(sampled.points[chosen], sampled.normals[chosen], sampled.longest, rng, GAPS[asked.of_fingers]),
        asked.size,
    )
    angles = natural_angles(CANDIDATES, rng)
    steps = np.linspace(0, 1, LEVELS)
    levels = np.broadcast_to(steps[:, None], (CANDIDATES, LEVELS, 5))
    coarse = _coarse(sampled, np.asarray(posed_hands(model, bent_hands(model, flat, angles, levels)).vertices))
    relaxed = rng.uniform(0.3, 1.0, (CANDIDATES, 5))

    reach = coarse.fingers < -asked.depth
    first = reach.argmax(axis=1)
    can_touch = reach.any(axis=1) & (first > 0) & (coarse.fingers[:, 0] > -asked.depth)
    # From open on, as far as a finger stays away.
    clear = np.cumprod(coarse.fingers > AWAY + COARSE, axis=1).sum(axis=1)
    can_stay = clear > 0
    outside = coarse.rest > -asked.depth - COARSE
    each = np.arange(CANDIDATES)
    facing = coarse.facing[each[:, None], first, np.arange(5)]

    ranked = []
    for fingers in TOUCHING_SETS[asked.of_fingers]:
        touch = np.isin(np.arange(5), fingers)
        possible = outside & np.where(touch, can_touch, can_stay).all(axis=1)
        # Pushes from one side alone hold nothing; a palm that is near pushes too.
        pushes = facing[:, touch].sum(axis=1) + (coarse.rest < 0.01)[:, None] * sampled.normals[chosen]
        one_sided = np.linalg.norm(pushes, axis=1) / len(fingers)
        ranked += [(one_sided[k], k, touch) for k in np.flatnonzero(possible)]
    for _, k, touch in sorted(ranked, key=lambda item: item[0])[:EXACT]:
        one = jax.tree.map(lambda x, k=k: x[k : k + 1], flat)
        stay = steps[np.maximum(clear[k] - 1, 0)] * relaxed[k]
        low, high = (np.where(touch, steps[np.maximum(first[k] - back, 0)], stay) for back in (2, 0))
        high = np.where(touch, np.minimum(high + 1 / LEVELS, 1.0), stay)
        level = _bisected(asked, partial(bent_hands, model, one, angles[k : k + 1]), touch, low, high)
        if level is not None:
            closed = bent_hands(model, one, angles[k : k + 1], level[None, None])
            yield _axis_angle(jax.tree.map(lambda x: x[0, 0], closed)), touch


def _coarse(sampled: SampledSurface, vertices: Float[ndarray, "c l v 3"]) -> _Coarse:
    # Every third vertex will do.
    owner, some = _finger_of_vertex()[::3], vertices[:, :, ::3]
    count, levels = some.shape[:2]
    skin, facing = np.empty((count, levels, 5)), np.empty((count, levels, 5, 3))
    for k in range(5):
        distances, normals = sampled.distances(some[:, :, owner == k])
        nearest = distances.argmin(axis=-1)
        skin[..., k] = np.take_along_axis(distances, nearest[..., None], -1)[..., 0]
        facing[:, :, k] = np.take_along_axis(normals, nearest[..., None, None], -2)[..., 0, :]
    return _Coarse(skin, facing, sampled.distances(some[:, 0, owner < 0])[0].min(axis=-1))


def _bisected(
    asked: _Asked,
    bent: partial[HandParams],
    touch: Bool[ndarray, "5"],
    low: Float[ndarray, "5"],
    high: Float[ndarray, "5"],
) -> Float[ndarray, "5"] | None:
    """How far each touching finger closes for its skin to be as deep as asked; None where it is not in between."""
    owner = _finger_of_vertex()
    of_touching = np.isin(owner, np.flatnonzero(touch))

    def over(level: Float[ndarray, "5"]) -> Float[ndarray, "5"]:
        posed = posed_hands(open_hand(), bent(jnp.asarray(level[None, None], jnp.float32)))
        distances = signed_distances(asked.surface, np.asarray(posed.vertices, float)[0, 0, of_touching])
        return np.array(
            [distances[owner[of_touching] == k].min() + asked.depth if touch[k] else 0.0 for k in range(len(touch))]
        )

    if not (over(low)[touch] > 0).all() or not (over(high)[touch] < 0).all():
        return None
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        outside = over(middle) > 0
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return (low + high) / 2


def _is_true(asked: _Asked, fingers: Bool[ndarray, "5"], posed: Hand, distances: Float[ndarray, "v"]) -> bool:
    """Whether the whole hand does what was asked for, by exact distances."""
    owner, model = _finger_of_vertex(), open_hand()
    least = np.array([distances[owner == k].min() for k in range(5)])
    touches = np.abs(least + asked.depth) < TOLERANCE
    if not np.where(fingers, touches, least > AWAY).all() or distances.min() < -asked.depth - TOLERANCE:
        return False
    if _least_between_fingers(np.asarray(posed.keypoints)) < APART:
        return False
    closed = Surface(np.asarray(posed.vertices), np.concatenate([model.faces, model.cap_faces]))
    in_hand = signed_distances(closed, sample_surface(asked.surface))
    return bool(in_hand.min() > -asked.depth - IN_HAND)


def _least_between_fingers(keypoints: Float[ndarray, "21 3"]) -> float:
    """Least distance of bones of different fingers, without those within the palm, metres."""
    bones = BONES[BONES[:, 0] > 0].reshape(5, 3, 2)
    start, end = keypoints[bones[..., 0]], keypoints[bones[..., 1]]
    along = np.linspace(0, 1, 6)[:, None]
    points = (start[:, :, None] + along * (end - start)[:, :, None]).reshape(5, -1, 3)
    apart = np.linalg.norm(points[:, None, :, None] - points[None, :, None], axis=-1).min(axis=(2, 3))
    return float(apart[~np.eye(5, dtype=bool)].min())


def _sized(flat: HandParams, size: float) -> HandParams:
    """The hands of milder shapes and of one size, their palms where they were."""
    model = open_hand()
    of_palm = np.asarray(model.regions) == REGION_NAMES.index("palm")
    milder = replace(flat, betas=BETAS * flat.betas)
    old, new = (jax.tree.map(np.asarray, _hands(model, hands)) for hands in (flat, milder))
    mean = np.asarray(_hand(model, HandParams()).keypoints)
    lengths = [
        np.linalg.norm(k[..., BONES[:, 1], :] - k[..., BONES[:, 0], :], axis=-1).sum(-1) for k in (new.keypoints, mean)
    ]
    scale = size * lengths[1] / lengths[0]
    palm = [posed.vertices[:, of_palm].mean(axis=1) for posed in (old, new)]
    wrist = new.joints[:, 0]
    shift = palm[0] - (wrist + scale[:, None] * (palm[1] - wrist))
    return replace(milder, scale=jnp.asarray(scale), translation=milder.translation + jnp.asarray(shift))


def _axis_angle(params: HandParams) -> HandParams:
    return replace(params, pose=vector_of(params.pose), rotation=vector_of(params.rotation))


@jax.jit
def _hand(model: HandModel, params: HandParams) -> Hand:
    return hand(model, params)


@jax.jit
def _hands(model: HandModel, params: HandParams) -> Hand:
    return jax.vmap(partial(hand, model))(params)
