"""The checks that a scene passes before anything is compiled, and what a user should know of one that does."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fgs_jax.errors import HandFileError, SceneError
from fgs_jax.hands.files import check_hand_source
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.picture.camera import Z_NEAR
from fgs_jax.picture.keypoints import LEAST_KEYPOINTS, check_landmarks, check_pixels, counted, keypoint_notes
from fgs_jax.picture.masks import mask_box
from fgs_jax.picture.scene import Scene, arrays_of
from fgs_jax.picture.scene_arrays import check_arrays, short
from fgs_jax.picture.upright import read_direction

LEAST_PIXELS = 30
"""Of a visible object mask; fewer do not tell a pose."""
VIEWS = (1.5, 150.0)
"""Degrees along the picture's longer side: HaMeR's camera has 2.9, a wide lens 120."""


def check_scene(scene: Scene) -> None:
    """Raises SceneError, in one line, for a scene that no grasp can be found from.

    A mask is taken for an inverted one where it covers more than half of the picture's border: whichever of two parts
    of a picture holds most of the border is the background.
    """
    if scene.side not in ("right", "left"):
        raise SceneError(f'side: expected "right" or "left", got {scene.side!r}: say which hand the picture shows')
    if not isinstance(scene.object, ObjectMesh):
        raise SceneError(
            f"object: expected a mesh, as load_object gives, got {type(scene.object).__name__}: masked IoU, measures "
            "and files need faces; without them use refine_grasps"
        )
    _check_mask_arrays(scene)
    _check_camera(scene)
    _check_masks(scene)
    check_arrays(arrays_of(scene))
    _check_hand(scene)
    for name in ("object_up", "gravity"):
        if (direction := getattr(scene, name)) is not None:
            read_direction(name, direction)
    if scene.keypoints_2d is not None:
        check_pixels(scene.keypoints_2d, scene.keypoint_confidence, _mask_boxes(scene), _size(scene))
    if scene.world_landmarks is not None:
        check_landmarks(scene.world_landmarks, scene.keypoint_confidence)


def scene_notes(scene: Scene) -> list[str]:
    """What a user should know of a scene that `check_scene` lets pass: repairs of the mesh, doubtful keypoints."""
    notes = list(scene.object.repairs)
    if scene.keypoints_2d is not None:
        known = scene.keypoints_2d, scene.keypoint_confidence, scene.world_landmarks
        notes += keypoint_notes(*known, _mask_boxes(scene))
    return notes


def _size(scene: Scene) -> tuple[int, int]:
    height, width = scene.object_mask.shape
    return width, height


def _mask_boxes(scene: Scene) -> Float[ndarray, "2 4"]:
    return np.array([mask_box(scene.hand_mask), mask_box(scene.object_mask)], float)


def _check_mask_arrays(scene: Scene) -> None:
    size = scene.object_mask.shape if scene.image is None else scene.image.shape[:2]
    for name, mask in (("object_mask", scene.object_mask), ("hand_mask", scene.hand_mask)):
        if mask.dtype != bool or mask.ndim != 2:
            came = f"{mask.dtype} {mask.shape}"
            raise SceneError(f"{name}: expected booleans of shape (h, w), got {came}: threshold the picture")
        if mask.shape != size:
            raise SceneError(f"{name}: expected the size of the picture, {size}, got {mask.shape}: rescale the mask")
    for name, picture in (("image", scene.image), ("object_image", scene.object_image)):
        if picture is not None and (picture.dtype != np.uint8 or picture.shape[2:] != (3,)):
            came = f"{picture.dtype} {picture.shape}"
            raise SceneError(f"{name}: expected bytes of shape (h, w, 3), got {came}: convert the picture to RGB")


def _check_camera(scene: Scene) -> None:
    focal, principal = (np.asarray(array, float) for array in (scene.camera.focal, scene.camera.principal))
    if not np.isfinite([*focal, *principal]).all() or (focal <= 0).any():
        came = f"focal {short(focal)}, principal {short(principal)}"
        raise SceneError(f"camera: expected finite numbers and positive focal lengths, got {came}: check K")
    size = np.array(_size(scene))
    views = np.degrees(2 * np.arctan(size.max() / 2 / focal))
    if views.min() < VIEWS[0] or views.max() > VIEWS[1]:
        came = f"focal lengths of {short(focal)} px, {short(views)} degrees, in a picture of {size[0]} x {size[1]}"
        raise SceneError(
            f"camera: expected a view of {VIEWS[0]} to {VIEWS[1]:.0f} degrees along the picture's longer side, "
            f"got {came}: K is in pixels"
        )
    if np.abs(principal).max() <= 1.5:
        came = f"{short(principal)} in a picture of {size[0]} x {size[1]}"
        raise SceneError(f"camera: expected a principal point near the middle, got {came}, its corner: K is in pixels")
    place = principal / size
    # A picture's own camera looks near its middle, and a crop's anywhere; that of another resolution looks off the
    # middle by the same factor in both directions.
    factor = 2 * place.mean()
    if abs(factor - 1) > 0.2 and abs(place[0] - place[1]) < 0.04 * abs(factor):
        came = f"{short(principal)} in a picture of {size[0]} x {size[1]}"
        raise SceneError(f"camera: expected the principal point near the middle, got {came}: K of another resolution?")


def _check_masks(scene: Scene) -> None:
    pixels = int(scene.object_mask.sum())
    if not pixels:
        raise SceneError("object_mask: expected visible pixels of the object, got none: check the segmentation")
    if np.array_equal(scene.object_mask, scene.hand_mask):
        raise SceneError("object_mask and hand_mask are identical: expected the visible part of each: check the files")
    if pixels < LEAST_PIXELS:
        raise SceneError(f"object_mask: expected at least {LEAST_PIXELS} pixels, got {pixels}: use a larger picture")
    if not scene.hand_mask.any():
        raise SceneError("hand_mask: expected visible pixels of the hand, got none: check the segmentation")
    for name, mask in (("object_mask", scene.object_mask), ("hand_mask", scene.hand_mask)):
        border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]]).mean()
        if border > 0.5:
            came = f"{border:.0%} of the picture's border"
            raise SceneError(f"{name}: expected the border to be background mostly, got {came}: invert the mask")
    alone = int((scene.object_mask & ~scene.hand_mask).sum())
    if alone < LEAST_PIXELS:
        raise SceneError(
            f"object_mask: expected at least {LEAST_PIXELS} pixels outside of the hand's mask, got {alone} of "
            f"{pixels}: give masks of the visible parts of each"
        )
    (left, top, right, bottom), (x0, y0, x1, y1) = mask_box(scene.object_mask), mask_box(scene.hand_mask)
    if left >= x1 or x0 >= right or top >= y1 or y0 >= bottom:
        raise SceneError(
            f"object_mask and hand_mask: expected boxes that meet, got {(left, top, right, bottom)} and "
            f"{(x0, y0, x1, y1)}: the hand does not touch this object"
        )


def _check_hand(scene: Scene) -> None:
    params = scene.hand_params
    try:
        check_hand_source(scene.hand_model)
    except HandFileError as error:
        raise SceneError(f"hand: model: {error}") from error
    if scene.hand_vertices is None and scene.keypoints_2d is None and params is None:
        raise SceneError("expected the hand as keypoints_2d, hand_params or hand_vertices, got none: detect the hand")
    known = int(counted(scene.keypoint_confidence).sum())
    if scene.hand_vertices is None and params is None and known < LEAST_KEYPOINTS:
        raise SceneError(
            f"keypoint_confidence: expected at least {LEAST_KEYPOINTS} keypoints of a confidence above 0 where nothing "
            f"else tells the hand, got {known}: detect the hand again"
        )
    if scene.hand_vertices is not None and (depth := float(np.median(scene.hand_vertices[:, 2]))) < Z_NEAR:
        raise SceneError(f"hand_vertices: expected a hand before the camera (z > 0), got z = {depth:.3g} m: check t")
    if params is not None and (depth := float(np.asarray(params.translation)[2])) < Z_NEAR:
        raise SceneError(f"hand_translation: expected a hand before the camera (z > 0), got z = {depth:.3g} m: check t")
