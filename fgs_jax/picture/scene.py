"""What is known about one picture, the checks it passes before anything is compiled, and its mirror image."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8
from numpy import ndarray

from fgs_jax.errors import HandFileError, SceneError
from fgs_jax.hands.files import check_hand_source
from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.picture.camera import Z_NEAR
from fgs_jax.picture.keypoints import LEAST_KEYPOINTS, check_landmarks, check_pixels, counted, keypoint_notes
from fgs_jax.picture.scene_arrays import ARRAY_SHAPES, GREATEST, KEYPOINTS, check_arrays, short
from fgs_jax.types import Camera, HandParams, on_device

LEAST_PIXELS = 30
"""Of a visible object mask; fewer do not tell a pose."""
VIEWS = (1.5, 150.0)
"""Degrees along the picture's longer side: HaMeR's camera has 2.9, a wide lens 120."""
HAND_PARAMETERS = ("betas", "pose", "rotation", "translation", "scale")

_MIRROR = np.array([-1, 1, 1])
_TURN = np.array([1, -1, -1])
"""Of a rotation vector where space is mirrored in x."""


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


def arrays_of(scene: Scene) -> dict[str, ndarray]:
    """The arrays of a scene under the names of `ARRAY_SHAPES`; those that it does not have are left out."""
    values = {name: getattr(scene, name, None) for name in ARRAY_SHAPES}
    if scene.hand_params is not None:
        values |= {f"hand_{name}": getattr(scene.hand_params, name) for name in HAND_PARAMETERS}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def check_scene(scene: Scene) -> None:
    """Raises SceneError, in one line, for a scene that no grasp can be found from.

    A mask is taken for an inverted one where it covers more than half of the picture's border: whichever of two parts
    of a picture holds most of the border is the background.
    """
    if scene.side not in ("right", "left"):
        raise SceneError(f'side: expected "right" or "left", got {scene.side!r}: say which hand the picture shows')
    _check_mask_arrays(scene)
    _check_camera(scene)
    _check_masks(scene)
    check_arrays(arrays_of(scene))
    _check_hand(scene)
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


def without_gaps(scene: Scene) -> Scene:
    """The scene with zeros in place of keypoints and landmarks of confidence 0, which may be NaN.

    Where too few were found to tell a hand, and something else tells it, it has none of them.
    """
    found = counted(scene.keypoint_confidence)
    if found.sum() < LEAST_KEYPOINTS and (scene.hand_params is not None or scene.hand_vertices is not None):
        return replace(scene, keypoints_2d=None, keypoint_confidence=None, world_landmarks=None)
    given = {name: getattr(scene, name) for name in KEYPOINTS if getattr(scene, name) is not None}
    return replace(scene, **{name: np.where(found[:, None], points, 0.0) for name, points in given.items()})


def mirrored(scene: Scene) -> Scene:
    """The scene in a mirror: the picture flipped left to right, space in x, the hand of the other side.

    M = diag(-1, 1, 1): x' = M x with faces reversed, R' = M R M, t' = M t, axis-angle (x, -y, -z); u' = W - u in the
    picture. On the host, in float64 before each array returns to its own type. Twice is the same scene to the bit where
    W - u has no rounding, as for pixel positions in 1/1024; elsewhere u is off by a last digit of W. All else is
    exact: only signs and places change.
    """
    width = scene.object_mask.shape[1]
    focal, principal = (np.asarray(array, float) for array in (scene.camera.focal, scene.camera.principal))
    params, hand_faces = scene.hand_params, scene.hand_faces
    return replace(
        scene,
        camera=Camera(on_device(focal), on_device([width - principal[0], principal[1]])),
        object_mask=_flipped(scene.object_mask),
        hand_mask=_flipped(scene.hand_mask),
        image=_flipped(scene.image),
        object_image=_flipped(scene.object_image),
        hand_vertices=_signed(scene.hand_vertices, _MIRROR),
        hand_faces=None if hand_faces is None else hand_faces[:, ::-1].copy(),
        object=replace(
            scene.object,
            vertices=_signed(scene.object.vertices, _MIRROR),
            faces=scene.object.faces[:, ::-1].copy(),
        ),
        side="left" if scene.side == "right" else "right",
        keypoints_2d=_reflected(scene.keypoints_2d, width, [0], [0]),
        world_landmarks=_signed(scene.world_landmarks, _MIRROR),
        hand_params=None if params is None else _mirrored_params(params),
        hand_box=_reflected(scene.hand_box, width, [0, 2], [2, 0]),
        object_box=_reflected(scene.object_box, width, [0, 2], [2, 0]),
    )


def confidence_of(scene: Scene) -> Float[ndarray, "21"]:
    """Of the scene's keypoints; 1 where none is given."""
    return np.ones(21) if scene.keypoint_confidence is None else scene.keypoint_confidence


def mask_at(mask: Bool[ndarray, "h w"], pixels: Float[ndarray, "*n 2"]) -> Bool[ndarray, "*n"]:
    """Whether pixel positions (x, y) lie in a mask; beyond the picture nothing does."""
    height, width = mask.shape
    column, row = np.moveaxis(np.floor(pixels).astype(int), -1, 0)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    return inside & mask[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]


def mask_box(mask: Bool[ndarray, "h w"]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the pixels in a mask, in pixels; right and bottom lie behind the last ones."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


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


def _mirrored_params(params: HandParams) -> HandParams:
    matrix = np.outer(_MIRROR, _MIRROR)
    return replace(
        params,
        pose=_signed(params.pose, matrix if params.pose.ndim == 3 else _TURN),
        rotation=_signed(params.rotation, matrix if params.rotation.ndim == 2 else _TURN),
        translation=_signed(params.translation, _MIRROR),
    )


def _signed(array: Any, signs: Int[ndarray, "..."]) -> Any:
    """The array, of its own kind, times signs; None stays."""
    if array is None:
        return None
    turned = np.asarray(array) * np.broadcast_to(signs, array.shape).astype(array.dtype)
    return jnp.asarray(turned) if isinstance(array, Array) else turned


def _reflected(array: ndarray | None, width: int, ours: list[int], theirs: list[int]) -> ndarray | None:
    """W - u in the columns `ours`, from the columns `theirs`."""
    if array is None:
        return None
    turned = array.copy()
    turned[..., ours] = width - array[..., theirs].astype(float)
    return turned


def _flipped(picture: Any) -> Any:
    return None if picture is None else picture[:, ::-1].copy()
