"""What is known about one picture of a hand and an object, and the same in a mirror."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from fgs_jax.errors import SceneError
from fgs_jax.mirror import (
    flipped,
    mirrored_box,
    mirrored_camera,
    mirrored_faces,
    mirrored_params,
    mirrored_pixels,
    mirrored_points,
)
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.picture.keypoints import LEAST_KEYPOINTS, counted
from fgs_jax.picture.scene_arrays import ARRAY_SHAPES, GREATEST, KEYPOINTS, short
from fgs_jax.types import Camera, HandParams, on_device

CALIBRATED = "calibrated"
"""The word of `provenance["K_source"]` for a camera that was measured, or that its user knows."""
HAND_PARAMETERS = ("betas", "pose", "rotation", "translation", "scale")


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture of a hand and an object. Masks hold visible parts only; the hand's may hold the forearm.

    The hand is known by its keypoints, its parameters, its posed mesh, or several of these.
    """

    camera: Camera
    object_mask: Bool[ndarray, "h w"]
    hand_mask: Bool[ndarray, "h w"]
    hand_vertices: Float[ndarray, "v 3"] | None
    """Metres, camera frame."""
    hand_faces: Int[ndarray, "f 3"] | None
    object: ObjectMesh
    image: UInt8[ndarray, "h w 3"] | None = None
    side: str = "right"
    """"right" or "left"."""
    keypoints_2d: Float[ndarray, "21 2"] | None = None
    """Pixels of the picture, OpenPose's order. One that was not found has the confidence 0, and may then be NaN."""
    keypoint_confidence: Float[ndarray, "21"] | None = None
    world_landmarks: Float[ndarray, "21 3"] | None = None
    """Metres, about the hand's own middle, along the camera's axes, OpenPose's order; without confidence as above."""
    hand_params: HandParams | None = None
    """Camera frame."""
    hand_model: str = "open_hand"
    """Whose `hand_params` they are, as `load_hand_model` takes it."""
    object_image: UInt8[ndarray, "_ _ 3"] | None = None
    """A picture of the object alone; its size is its own."""
    hand_box: Float[ndarray, "4"] | None = None
    """A detector's, (left, top, right, bottom), pixels."""
    object_box: Float[ndarray, "4"] | None = None
    object_up: Float[ndarray, "3"] | None = None
    """Where the object's top is, in its own frame, of any length; see `upright`. Counts only where it is given."""
    gravity: Float[ndarray, "3"] | None = None
    """Camera frame, of any length; the picture's downward where it is not given."""
    prompt: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    """What made what, in values that JSON knows."""

    def posed_hand(self) -> tuple[Float[ndarray, "v 3"], Int[ndarray, "f 3"]]:
        """Vertices (metres, camera frame) and faces of the hand. Raises SceneError where it is not posed yet."""
        if self.hand_vertices is None or self.hand_faces is None:
            raise SceneError("hand_vertices: expected a posed hand, got none: pose the hand first")
        return self.hand_vertices, self.hand_faces


def camera_from_matrix(K: Float[ndarray, "3 3"], *, integer_centres: bool = False) -> Camera:
    """A camera from an intrinsic matrix in pixels; `integer_centres` says that its pixel (0, 0) is a pixel's centre.

    Raises SceneError for a matrix that is not finite, is singular, or has skew.
    """
    K = np.asarray(K, float)
    if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise SceneError(f"K: expected a 3x3 matrix with positive focal lengths, got {short(K)}: check the camera")
    if np.abs(K).max() > GREATEST:
        raise SceneError(f"K: expected numbers up to {GREATEST:g}, got {short(K)}: K is in pixels")
    if abs(K[0, 1]) > 1e-6 * K[0, 0] or not np.allclose(K[[1, 2, 2], [0, 0, 1]], 0) or not np.isclose(K[2, 2], 1):
        raise SceneError(f"K: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {short(K)}: undistort the picture")
    return Camera(on_device([K[0, 0], K[1, 1]]), on_device(K[:2, 2] + (0.5 if integer_centres else 0.0)))


def is_calibrated(scene: Scene) -> bool:
    """Whether somebody vouches for the camera, so that no other one may take its place."""
    return scene.provenance.get("K_source") == CALIBRATED


def arrays_of(scene: Scene) -> dict[str, ndarray]:
    """The arrays of a scene under the names of `ARRAY_SHAPES`; those that it does not have are left out."""
    values = {name: getattr(scene, name, None) for name in ARRAY_SHAPES}
    if scene.hand_params is not None:
        values |= {f"hand_{name}": getattr(scene.hand_params, name) for name in HAND_PARAMETERS}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def without_gaps(scene: Scene) -> Scene:
    """The scene with zeros in place of keypoints and landmarks of confidence 0, which may be NaN.

    Where too few were found to tell a hand, and something else tells it, it has none of them.
    """
    found = counted(scene.keypoint_confidence)
    if found.sum() < LEAST_KEYPOINTS and (scene.hand_params is not None or scene.hand_vertices is not None):
        return replace(scene, keypoints_2d=None, keypoint_confidence=None, world_landmarks=None)
    given = {name: getattr(scene, name) for name in KEYPOINTS if getattr(scene, name) is not None}
    return replace(scene, **{name: np.where(found[:, None], points, 0.0) for name, points in given.items()})


def confidence_of(scene: Scene) -> Float[ndarray, "21"]:
    """Of the scene's keypoints; 1 where none is given."""
    return np.ones(21) if scene.keypoint_confidence is None else scene.keypoint_confidence


def mirrored(scene: Scene) -> Scene:
    """The scene in a mirror, with the hand of the other side: all that `mirror.py` says of space and of pictures.

    Twice is the same scene to the bit where W - u has no rounding, as for pixel positions in 1/1024; elsewhere u is off
    by a last digit of W. All else is exact.
    """
    width = scene.object_mask.shape[1]

    def turned(value: Any, mirror: Callable[..., Any], *arguments: int) -> Any:
        return None if value is None else mirror(value, *arguments)

    return replace(
        scene,
        camera=mirrored_camera(scene.camera, width),
        object_mask=flipped(scene.object_mask),
        hand_mask=flipped(scene.hand_mask),
        image=turned(scene.image, flipped),
        object_image=turned(scene.object_image, flipped),
        hand_vertices=turned(scene.hand_vertices, mirrored_points),
        hand_faces=turned(scene.hand_faces, mirrored_faces),
        object=replace(
            scene.object,
            vertices=mirrored_points(scene.object.vertices),
            faces=mirrored_faces(scene.object.faces),
        ),
        side="left" if scene.side == "right" else "right",
        keypoints_2d=turned(scene.keypoints_2d, mirrored_pixels, width),
        world_landmarks=turned(scene.world_landmarks, mirrored_points),
        hand_params=turned(scene.hand_params, mirrored_params),
        hand_box=turned(scene.hand_box, mirrored_box, width),
        object_box=turned(scene.object_box, mirrored_box, width),
        object_up=turned(scene.object_up, mirrored_points),
        gravity=turned(scene.gravity, mirrored_points),
    )
