"""Re-framing: before an ordinary camera, where a scene's own is one that no photo is taken with."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fgs_jax.config import RefineConfig
from fgs_jax.hands.mano import hand, hand_program
from fgs_jax.picture.camera import project
from fgs_jax.picture.masks import mask_box
from fgs_jax.picture.scene import Scene, confidence_of, is_calibrated
from fgs_jax.rotations import matrix_of, vector_of
from fgs_jax.solve.ahead import jit_once
from fgs_jax.solve.least_squares import least_squares
from fgs_jax.types import Camera, HandModel, HandParams

MOST_ZOOM = 4.0
"""Ordinary focal lengths that a photo's own camera has at most. HaMeR's has 16: it stands for a crop seen from afar."""


def reframe(
    scene: Scene, model: HandModel, params: HandParams, config: RefineConfig
) -> tuple[Scene, HandParams, list[str]]:
    """The scene seen by an ordinary camera, where its own is so far away that depth cannot be seen; and what changed.

    The hand comes nearer by the ratio of the focal lengths and is then turned and moved to its keypoints again. A
    camera that is calibrated, or may be a photo's own, stays: it knows better than any guess how things look.
    """
    posed = hand_program(model, params)
    left, top, right, bottom = mask_box(scene.object_mask)
    depth, focal = float(np.asarray(posed.joints)[0, 2]), np.asarray(scene.camera.focal, float)
    shift = 0.01 * max(right - left, bottom - top) / 2 / max(depth, 1e-6)
    ratio = config.ordinary_focal * whole_side(scene) / float(focal.mean())
    far = f"a centimetre of depth moves the outline by {shift:.2f} px: "
    if shift >= config.reframe_below:
        return scene, params, []
    if is_calibrated(scene):
        return scene, params, [f"{far}the camera is calibrated and stays, so that contact alone tells the depth"]
    if ratio * MOST_ZOOM > 1:
        return scene, params, []
    camera = replace(scene.camera, focal=jnp.asarray(focal * ratio, jnp.float32))
    nearer = replace(
        params, translation=params.translation + jnp.array([0.0, 0.0, (ratio - 1) * float(posed.keypoints[0, 2])])
    )
    seen = project(scene.camera, posed.keypoints) if scene.keypoints_2d is None else jnp.asarray(scene.keypoints_2d)
    confidence = jnp.ones(21) if scene.keypoints_2d is None else jnp.asarray(confidence_of(scene), jnp.float32)
    moved = _move_to_keypoints(model, nearer, camera, jnp.asarray(seen, jnp.float32), confidence)
    now = hand_program(model, moved)
    error = [
        float(np.linalg.norm(project(c, keypoints) - seen, axis=1)[np.asarray(confidence) > 0].mean())
        for c, keypoints in ((scene.camera, posed.keypoints), (camera, now.keypoints))
    ]
    note = (
        f"{far}focal length {focal.mean():.0f} px replaced by {focal.mean() * ratio:.0f} px, depth {depth:.2f} m by "
        f"{float(now.joints[0, 2]):.2f} m, keypoint error {error[0]:.1f} px by {error[1]:.1f} px"
    )
    return replace(scene, camera=camera), moved, [note]


def whole_side(scene: Scene) -> float:
    """Pixels along the longer side of the picture, or, of a crop, of the least picture that it can be a crop of.

    A camera's principal point is in the middle of what it took.
    """
    height, width = scene.object_mask.shape
    principal = np.asarray(scene.camera.principal, float)
    return float(2 * np.maximum(principal, np.array([width, height]) - principal).max())


@jit_once
def _move_to_keypoints(
    model: HandModel,
    params: HandParams,
    camera: Camera,
    seen: Float[Array, "21 2"],
    confidence: Float[Array, "21"],
) -> HandParams:
    """The hand turned and moved as a whole to where its keypoints were seen."""

    def moved(x: Float[Array, "6"]) -> HandParams:
        turned = jnp.matmul(matrix_of(params.rotation), matrix_of(x[:3]), precision="highest")
        return replace(params, rotation=vector_of(turned), translation=params.translation + x[3:])

    def residuals(x: Float[Array, "6"]) -> Float[Array, "42"]:
        offset = project(camera, hand(model, moved(x)).keypoints) - seen
        return (jnp.sqrt(confidence)[:, None] * jnp.where(confidence[:, None] > 0, offset, 0.0)).ravel()

    return moved(least_squares(residuals, jnp.zeros(6), 20).value)
