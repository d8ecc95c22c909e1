"""From keypoints or a mesh back to `HandParams`: how detections and other tools' hands enter.

Levenberg-Marquardt on turn, place, joint angles and, where sizes are known, size and shape, from one start (Kabsch on
the mean pose), against the data and three priors: the spread of poses, the joints' limits and the spread of shapes.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.errors import HandednessWarning, HandFitError
from fgs_jax.hands.fit_checks import checked_given, keypoints_in_space
from fgs_jax.hands.fit_shape import PRIOR, bounded, growth_by_shape, shape_prior, size_of
from fgs_jax.hands.mano import hand, hand_keypoints, joint_angles, wrist_at_rest
from fgs_jax.notes import warn
from fgs_jax.picture.camera import project
from fgs_jax.rotations import matrix_of, vector_of
from fgs_jax.solve.least_squares import LeastSquares, least_squares
from fgs_jax.types import Camera, HandModel, HandParams, pytree

KEYPOINT_NOISE = 0.002
"""Metres. Standard deviation of given 3D keypoints; exact ones come back to a fifth of a millimetre with it."""
COMPUTED_NOISE = 0.0005
"""Metres. Standard deviation of 3D keypoints that a hand model gave."""
PIXEL_NOISE = 0.018
"""Standard deviation of given 2D keypoints, as a fraction of the longer side of their box."""
LANDMARK_NOISE = 0.012
"""Metres. Standard deviation of landmarks that are true up to place and size only."""
VERTEX_NOISE = 0.001
"""Metres."""
POSE_NOISE = 0.05
"""Radians, added to the spread of each pose component: some hardly vary in a model's poses, yet do in real hands."""
LIMIT_NOISE = 0.1
"""Radians beyond a joint's limit that count as one standard deviation."""

_PALM = tuple(1.0 if k in (0, 1, 5, 9, 13, 17) else 0.1 for k in range(21))
"""Fingers move against the palm, so the palm counts when the hand is first turned into place."""


@pytree
class HandFit:
    """A fitted hand; the parameters are right for `hand(model, params)`, `center_wrist` off."""

    params: HandParams
    keypoints: Float[Array, "21 3"]
    """Of the fitted hand, in metres."""
    cost: Float[Array, ""]
    """Half the sum of squares that was minimised."""
    distance_3d: Float[Array, ""] | None = None
    distance_2d: Float[Array, ""] | None = None

    @property
    def error_3d(self) -> Array:
        """Mean distance to the given 3D keypoints or vertices, in metres; NaN without them."""
        return jnp.asarray(jnp.nan) if self.distance_3d is None else self.distance_3d

    @property
    def error_2d(self) -> Array:
        """Mean distance to the given 2D keypoints, in pixels; NaN without them."""
        return jnp.asarray(jnp.nan) if self.distance_2d is None else self.distance_2d


class _Seen(NamedTuple):
    """What a hand is fitted to; None where nothing was given."""

    keypoints_3d: Float[Array, "21 3"] | None
    keypoints_2d: Float[Array, "21 2"] | None
    camera: Camera | None
    world_landmarks: Float[Array, "21 3"] | None
    vertices: Float[Array, "v 3"] | None
    weight: Float[Array, "21 1"]
    growth: Float[Array, "2 b"] | None = None
    """`growth_by_shape` of the model where its size is fitted, by keypoints in space; None leaves the scale at 1."""


def fit_hand(
    model: HandModel,
    *,
    keypoints_3d: Float[Array, "21 3"] | None = None,
    keypoints_2d: Float[Array, "21 2"] | None = None,
    camera: Camera | None = None,
    world_landmarks: Float[Array, "21 3"] | None = None,
    vertices: Float[Array, "v 3"] | None = None,
    confidence: Float[Array, "21"] | None = None,
    shape_coefficients: int | None = None,
    steps: int = 40,
) -> HandFit:
    """Parameters of a hand that explain what is given: keypoints in space, in a picture, or a mesh; any mixture works.

    `keypoints_3d`: metres, in the frame that the hand shall be posed in. `keypoints_2d`: pixels, with the `camera` they
    were seen by. `world_landmarks`: help for `keypoints_2d`, 3D keypoints along the camera's axes that are true up to
    place and size (MediaPipe's). `vertices`: a posed mesh of the model's own topology, in metres. Keypoints are in
    OpenPose's order; `confidence` (0 to 1) weighs them, 0 leaves one out.

    To `keypoints_3d` without `vertices` the size is fitted (`HandParams.scale`, 1 otherwise), and as much shape as they
    are evidence for: what no shape of the model explains makes the prior of shapes stronger, and no beta is beyond 3.
    `shape_coefficients` betas are fitted: by default all where sizes are known (`keypoints_3d`, `vertices`) and none
    otherwise, because shape and depth are the same number in a picture and run away together. Without anything in 3D
    the cheapest of 24 starts is taken, and a left hand may fit as well as a right one. Pure, unbatched: `jax.vmap` it
    over frames.

    Raises HandFitError if there is nothing to fit to, for 2D keypoints without a camera, for wrong shapes, types and
    counts and, outside of jit, for values that are not finite and confidences of which none is positive.
    """
    given = {
        "keypoints_3d": keypoints_3d,
        "keypoints_2d": keypoints_2d,
        "world_landmarks": world_landmarks,
        "vertices": vertices,
        "confidence": jnp.ones(21) if confidence is None else confidence,
    }
    arrays = checked_given(model, given, camera, shape_coefficients, steps)
    keypoints_3d, keypoints_2d, world_landmarks, vertices = (arrays[name] for name in list(given)[:4])
    weight = arrays["confidence"][:, None]
    keypoints_3d, keypoints_2d, world_landmarks = (
        None if x is None else jnp.where(weight > 0, x, 0.0) for x in (keypoints_3d, keypoints_2d, world_landmarks)
    )
    sized = keypoints_3d is not None and vertices is None
    growth = growth_by_shape(model) if sized else None
    seen = _Seen(keypoints_3d, keypoints_2d, camera, world_landmarks, vertices, weight, growth)
    if shape_coefficients is None:
        sizes_known = keypoints_3d is not None or vertices is not None
        shape_coefficients = model.joint_shapedirs.shape[-1] if sizes_known else 0

    turns, places = _starts(model, seen)
    rest = jnp.concatenate([model.pose_mean.ravel(), jnp.zeros(shape_coefficients + sized)])

    def run(turn: Float[Array, "3 3"], place: Float[Array, "3"]) -> LeastSquares:
        start = jnp.concatenate([jnp.zeros(3), place, rest])
        return least_squares(lambda x: _residuals(x, turn, model, seen), start, steps)

    solutions = jax.vmap(run)(turns, places)
    best = jnp.argmin(jnp.where(jnp.isfinite(solutions.cost), solutions.cost, jnp.inf))
    params = _unpack(solutions.value[best], turns[best], seen)

    keypoints = hand_keypoints(model, params, center_wrist=True)
    error_3d = error_2d = None
    if vertices is not None:
        posed = hand(model, params, center_wrist=True)
        error_3d = _mean_distance(posed.vertices, vertices, jnp.ones((len(vertices), 1)))
    elif keypoints_3d is not None:
        error_3d = _mean_distance(keypoints, keypoints_3d, weight)
    if keypoints_2d is not None and camera is not None:
        error_2d = _mean_distance(project(camera, keypoints), keypoints_2d, weight)
    translation = params.translation - wrist_at_rest(model, params.betas)
    params = replace(params, rotation=vector_of(params.rotation), translation=translation)
    return HandFit(params, keypoints, solutions.cost[best], error_3d, error_2d)


def side_evidence(model: HandModel, landmarks: Float[Array, "21 3"]) -> Float[Array, ""]:
    """How much better 3D keypoints, true up to place and size, fit the model's side than the other one.

    The ratio of what two fits cost, of the mirrored keypoints over the given ones: above 1 they speak for the model's
    side, below 1 against it. Unbatched. Raises HandFitError for another shape.
    """
    landmarks = keypoints_in_space("landmarks", landmarks)

    def cost(landmarks: Float[Array, "21 3"]) -> Float[Array, ""]:
        seen = _Seen(None, None, None, landmarks, None, jnp.ones((21, 1)))
        turn, _ = _kabsch(hand_keypoints(model, _mean_pose(model)), landmarks, jnp.asarray(_PALM))
        start = jnp.concatenate([jnp.zeros(6), model.pose_mean.ravel()])
        return least_squares(lambda x: _residuals(x, turn, model, seen), start, 25).cost

    mirrored = landmarks * jnp.array([[-1.0, 1.0, 1.0]])
    this, other = jax.vmap(cost)(jnp.stack([landmarks, mirrored]))
    return other / jnp.maximum(this, 1e-9)


def check_side(model: HandModel, landmarks: Float[Array, "21 3"], least: float = 1.5) -> float:
    """`side_evidence`, with a HandednessWarning if it is thinner than `least`."""
    evidence = float(jax.jit(side_evidence)(model, landmarks))
    warn_of_side(model, evidence, least)
    return evidence


def warn_of_side(model: HandModel, evidence: float, least: float = 1.5, side: str | None = None) -> None:
    """A HandednessWarning where a hand of the other side costs less than `least` times what this one costs.

    It names `side`, which is the model's unless given: of a left hand that was mirrored, "left".
    """
    if evidence < least:
        verdict = "speak against" if evidence < 1 / least else "hardly speak for"
        message = (
            f"the keypoints {verdict} a {side or model.side} hand (evidence {evidence:.2f}, expected at least "
            f"{least}): look at the picture, and give the other side if it is the other hand"
        )
        warn(HandednessWarning(message), stacklevel=3)


def clearer_landmarks(model: HandModel, *landmarks: Float[Array | ndarray, "21 3"]) -> Float[Array, "21 3"]:
    """Of several guesses at the same hand's 3D keypoints the one that speaks most clearly for the model's side.

    MediaPipe gives two, world landmarks and those of the picture with a relative depth. Where one of them has the depth
    of the fingers wrong it hardly tells the side, and the other one is usually right. Raises HandFitError for none.
    """
    if not landmarks:
        raise HandFitError("landmarks: expected one or more guesses at 21 keypoints, got none: give world_landmarks")
    evidence = [float(jax.jit(side_evidence)(model, jnp.asarray(points, jnp.float32))) for points in landmarks]
    return jnp.asarray(landmarks[evidence.index(max(evidence))], jnp.float32)


def _unpack(x: Float[Array, "p"], turn: Float[Array, "3 3"], seen: _Seen) -> HandParams:
    """The unknowns: a turn in the tangent space of the start's, the wrist's place, the pose, the shape, the size."""
    rotation = jnp.matmul(turn, matrix_of(x[:3]), precision="highest")
    sized = seen.growth is not None
    shape = x[51:-1] if sized else x[51:]
    betas = shape if seen.vertices is not None else bounded(shape)
    scale = size_of(x[-1]) if sized else jnp.ones(())
    return HandParams(betas=betas, pose=x[6:51].reshape(15, 3), rotation=rotation, translation=x[3:6], scale=scale)


def _residuals(x: Float[Array, "p"], turn: Float[Array, "3 3"], model: HandModel, seen: _Seen) -> Float[Array, "r"]:
    """Data and priors, each in its own standard deviations."""
    params, parts = _unpack(x, turn, seen), []
    misfit = jnp.zeros(())
    in_matrices = replace(params, pose=matrix_of(params.pose))
    if seen.vertices is None:
        keypoints = hand_keypoints(model, in_matrices, center_wrist=True)
    else:
        posed = hand(model, in_matrices, center_wrist=True)
        keypoints = posed.keypoints
        parts.append((posed.vertices - seen.vertices) / VERTEX_NOISE)
    if seen.keypoints_3d is not None:
        parts.append(seen.weight * (keypoints - seen.keypoints_3d) / KEYPOINT_NOISE)
        misfit = jnp.sum(parts[-1] ** 2) / jnp.maximum(3 * jnp.sum(seen.weight**2), 1e-9)
    if seen.keypoints_2d is not None and seen.camera is not None:
        noise = PIXEL_NOISE * jnp.maximum(_box_side(seen.keypoints_2d, seen.weight), 1.0)
        parts.append(seen.weight * (project(seen.camera, keypoints) - seen.keypoints_2d) / noise)
    if seen.world_landmarks is not None:
        shape = _centred(keypoints, seen.weight)
        landmarks = _centred(seen.world_landmarks, seen.weight)
        size = jnp.sum(seen.weight * shape * landmarks) / jnp.sum(seen.weight * landmarks**2)
        parts.append(seen.weight * (shape - size * landmarks) / LANDMARK_NOISE)

    offset = (params.pose - model.pose_mean).ravel()
    spread = jnp.sqrt(model.pose_component_std**2 + POSE_NOISE**2)
    parts.append(PRIOR * jnp.matmul(model.pose_components, offset, precision="highest") / spread)
    angles = joint_angles(model, in_matrices.pose)
    least, greatest = model.joint_limits[..., 0], model.joint_limits[..., 1]
    parts.append((jax.nn.relu(angles - greatest) + jax.nn.relu(least - angles)) / LIMIT_NOISE)
    if seen.growth is None:
        parts.append(PRIOR * x[51:])
    else:
        parts.append(shape_prior(params.betas, x[51:], seen.growth, misfit))
    return jnp.concatenate([part.ravel() for part in parts])


def _mean_pose(model: HandModel) -> HandParams:
    return HandParams(
        betas=jnp.zeros(0),
        pose=model.pose_mean,
        rotation=jnp.zeros(3),
        translation=jnp.zeros(3),
        scale=jnp.ones(()),
    )


def _starts(model: HandModel, seen: _Seen) -> tuple[Float[Array, "s 3 3"], Float[Array, "s 3"]]:
    """Turns and wrist places to start from: one where something in 3D tells the turn, 24 where nothing does."""
    keypoints = hand_keypoints(model, _mean_pose(model), center_wrist=True)
    palm = jnp.asarray(_PALM) * seen.weight[:, 0]
    if seen.vertices is not None:
        posed = hand(model, _mean_pose(model), center_wrist=True)
        turn, place = _kabsch(posed.vertices, seen.vertices, model.weights[:, 0])
        return turn[None], place[None]
    if seen.keypoints_3d is not None:
        turn, place = _kabsch(keypoints, seen.keypoints_3d, palm)
        return turn[None], place[None]
    if seen.world_landmarks is not None:
        turns = _kabsch(keypoints, seen.world_landmarks, palm)[0][None]
    else:
        turns = jnp.asarray(Rotation.create_group("O").as_matrix())
    turned = jnp.einsum("sab,kb->ska", turns, keypoints, precision="highest")
    places = [_weak_perspective(x, seen) for x in turned]
    return turns, jnp.stack(places)


def _weak_perspective(keypoints: Float[Array, "21 3"], seen: _Seen) -> Float[Array, "3"]:
    """The translation that gives keypoints the size and the place they have in the picture, all at one depth."""
    assert seen.camera is not None and seen.keypoints_2d is not None
    rays = (seen.keypoints_2d - seen.camera.principal[None]) / seen.camera.focal[None]
    flat = keypoints[:, :2]
    spread_hand, spread_rays = (jnp.sum(seen.weight * _centred(x, seen.weight) ** 2) for x in (flat, rays))
    depth = jnp.sqrt(spread_hand / jnp.maximum(spread_rays, 1e-12))
    offset = _weighted_mean(rays, seen.weight) * depth - _weighted_mean(flat, seen.weight)
    return jnp.append(offset, depth - _weighted_mean(keypoints[:, 2:], seen.weight)[0])


def _weighted_mean(points: Float[Array, "n d"], weight: Float[Array, "n 1"]) -> Float[Array, "d"]:
    return jnp.sum(weight * points, axis=0) / jnp.maximum(jnp.sum(weight), 1e-9)


def _centred(points: Float[Array, "n d"], weight: Float[Array, "n 1"]) -> Float[Array, "n d"]:
    return points - _weighted_mean(points, weight)[None]


def _mean_distance(a: Float[Array, "n d"], b: Float[Array, "n d"], weight: Float[Array, "n 1"]) -> Float[Array, ""]:
    return _weighted_mean(jnp.linalg.norm(a - b, axis=-1, keepdims=True), weight)[0]


def _box_side(points: Float[Array, "n 2"], weight: Float[Array, "n 1"]) -> Float[Array, ""]:
    """The longer side of the box about the points that count."""
    counted = jnp.where(weight > 0, points, _weighted_mean(points, weight)[None])  # the mean lies within the box
    return jnp.max(jnp.max(counted, axis=0) - jnp.min(counted, axis=0))


def _kabsch(
    source: Float[Array, "n 3"], target: Float[Array, "n 3"], weight: Float[Array, "n"]
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """R, t of the rigid motion that brings source nearest to target (Kabsch 1976, Umeyama 1991)."""
    weight = weight[:, None]
    covariance = jnp.matmul((weight * _centred(source, weight)).T, _centred(target, weight), precision="highest")
    u, _, vt = jnp.linalg.svd(covariance)
    proper = jnp.array([1.0, 1.0, 0.0]) + jnp.array([0.0, 0.0, 1.0]) * jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))
    rotation = jnp.matmul(vt.T * proper[None], u.T, precision="highest")
    moved = jnp.matmul(rotation, _weighted_mean(source, weight), precision="highest")
    return rotation, _weighted_mean(target, weight) - moved
