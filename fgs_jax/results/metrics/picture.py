"""How well hand and object fit the picture."""

import numpy as np
from jaxtyping import Array, Bool, Float
from numpy import ndarray

from fgs_jax.errors import MeshError
from fgs_jax.objects.checks import no_type_check
from fgs_jax.picture.masks import iou
from fgs_jax.picture.render import depth_map, pixels_of
from fgs_jax.results.metrics.surface import Surface, check_surfaces
from fgs_jax.types import Camera

PICTURE_METRICS = {
    "masked_iou": "object: intersection over union with its mask, outside the hand's mask",
    "hand_iou": "hand: intersection over union with its mask, without the forearm and what the object hides",
    "keypoint_error_px": "mean distance of the hand's keypoints to the detected ones",
    "keypoint_error_share": "the same, as a share of the longer side of the detected ones' box",
    "occlusion_agreement": "where hand and object overlap, share of pixels whose nearer one is the one in the masks",
}
"""What `picture_metrics` returns, in this order."""


@no_type_check
def picture_metrics(
    camera: Camera,
    hand: Surface,
    object: Surface,
    *,
    hand_mask: Bool[ndarray, "h w"],
    object_mask: Bool[ndarray, "h w"],
    keypoints: Float[Array | ndarray, "21 3"],
    detected: Float[Array | ndarray, "21 2"] | None = None,
) -> dict[str, float | None]:
    """All of `PICTURE_METRICS`; shares are from 0 to 1.

    Meshes and `keypoints` (`Hand.keypoints`) in the camera's frame, in metres; masks of what is visible, the hand's
    with or without the forearm; `detected` keypoints in pixels, of nan where one was not found. The keypoint errors are
    None without, and `occlusion_agreement` is None where no pixel tells.
    """
    _check_pictures(hand_mask=hand_mask, object_mask=object_mask)
    check_surfaces(hand, object)
    height, width = hand_mask.shape
    hand_depth, object_depth = (depth_map(camera, (width, height), *surface) for surface in (hand, object))
    projected = pixels_of(camera, keypoints)
    pixels, share = (None, None) if detected is None else keypoint_error(projected, np.asarray(detected))
    return {
        "masked_iou": masked_iou(np.isfinite(object_depth), object_mask, hand_mask),
        "hand_iou": hand_silhouette_iou(np.isfinite(hand_depth), hand_mask, object_mask, projected),
        "keypoint_error_px": pixels,
        "keypoint_error_share": share,
        "occlusion_agreement": occlusion_agreement(hand_depth, object_depth, hand_mask, object_mask),
    }


@no_type_check
def masked_iou(
    drawn: Bool[ndarray, "h w"], object_mask: Bool[ndarray, "h w"], hand_mask: Bool[ndarray, "h w"]
) -> float:
    """Intersection over union of the drawn object and its mask over the pixels outside the hand's mask.

    0 where both are empty there.
    """
    _check_pictures(drawn=drawn, object_mask=object_mask, hand_mask=hand_mask)
    return iou(drawn & ~hand_mask, object_mask & ~hand_mask)


@no_type_check
def hand_silhouette_iou(
    drawn: Bool[ndarray, "h w"],
    hand_mask: Bool[ndarray, "h w"],
    object_mask: Bool[ndarray, "h w"],
    keypoints: Float[ndarray, "21 2"],
) -> float:
    """Intersection over union of the drawn hand and its mask, without the forearm, which only the mask may hold.

    The forearm is taken to run on from the hand, in the direction from the base of the middle finger to the wrist
    (`keypoints` 9 and 0, in pixels). Pixels of the mask beyond the line through the wrist, at right angles to that,
    count only where a hand is drawn. Pixels of `object_mask` do not count: the object may hide the hand there. A hand
    that points at the camera, its bases within a pixel of the wrist, has no forearm to leave out. 0 where both are
    empty.
    """
    _check_pictures(drawn=drawn, hand_mask=hand_mask, object_mask=object_mask)
    _check_keypoints(keypoints, keypoints)
    if len(keypoints) != 21:
        raise MeshError(f"keypoints: expected 21 of them, came {len(keypoints)}; give OpenPose's")
    wrist, away = keypoints[0], keypoints[0] - keypoints[9]
    row, column = np.indices(hand_mask.shape) + 0.5
    beyond = (column - wrist[0]) * away[0] + (row - wrist[1]) * away[1] > 0
    forearm = beyond & ~drawn & (np.linalg.norm(away) > 1)
    return iou(drawn & ~object_mask, hand_mask & ~forearm & ~object_mask)


@no_type_check
def keypoint_error(
    projected: Float[ndarray, "k 2"], detected: Float[ndarray, "k 2"]
) -> tuple[float | None, float | None]:
    """Mean distance in pixels, and as a share of the longer side of the detected keypoints' box.

    Detected keypoints that are not finite do not count. None without any, and no share where the box has no size.
    """
    _check_keypoints(projected, detected)
    found = np.isfinite(detected).all(axis=1)
    if not found.any():
        return None, None
    error = float(np.linalg.norm(projected[found] - detected[found], axis=1).mean())
    side = float(np.ptp(detected[found], axis=0).max())
    return error, error / side if side else None


@no_type_check
def occlusion_agreement(
    hand_depth: Float[ndarray, "h w"],
    object_depth: Float[ndarray, "h w"],
    hand_mask: Bool[ndarray, "h w"],
    object_mask: Bool[ndarray, "h w"],
) -> float | None:
    """Where hand and object are both drawn: the share of pixels whose nearer one is the one that the masks show.

    Depths as of `render.depth_map`. Pixels in neither mask, or in both, do not count. None where none is left.
    """
    _check_pictures(hand_depth=hand_depth, object_depth=object_depth, hand_mask=hand_mask, object_mask=object_mask)
    told = np.isfinite(hand_depth) & np.isfinite(object_depth) & (hand_mask != object_mask)
    if not told.any():
        return None
    return float(((hand_depth < object_depth) == hand_mask)[told].mean())


def _check_pictures(**pictures: ndarray) -> None:
    """Raises MeshError where they are not of one size."""
    shapes = {name: np.shape(picture) for name, picture in pictures.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise MeshError(f"expected pictures of one height and width, came {shapes}; take all of one scene")


def _check_keypoints(projected: ndarray, detected: ndarray) -> None:
    if np.ndim(projected) != 2 or np.shape(projected)[1] != 2 or np.shape(projected) != np.shape(detected):
        raise MeshError(
            f"keypoints: expected two arrays of shape (k, 2), came {np.shape(projected)} and {np.shape(detected)}; "
            "give pixels"
        )
