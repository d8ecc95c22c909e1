"""What a method is given of a truth: a picture's masks and keypoints, an object's mesh, or a grasp, each disturbed."""

from dataclasses import dataclass, replace
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from fgs_jax.objects.mesh import ObjectMesh, load_object
from fgs_jax.objects.simplifying import simplify
from fgs_jax.picture.render import pixels_of
from fgs_jax.picture.scene import Scene
from fgs_jax.testing.scenes import GREY, RenderedScene, of_unknown_size
from fgs_jax.types import Camera, HandParams

TIP, KNUCKLE = 0.005, 0.004
"""Metres by which detectors put tips into the flesh, along the last bone, and knuckles towards the wrist."""
MASK_BORDER = 2
"""Pixels that an eroded mask lacks and a dilated one has too many of."""
BITES, BITE = 3, (0.08, 0.2)
"""Discs that are bitten off each mask's contour, and their radii, in square roots of the mask's area."""
FEW_FACES, MESH_NOISE = 300, 0.001
"""Of a degraded mesh: its faces, and the standard deviation of a vertex along each axis, metres."""
GRASP_TRANSLATION, GRASP_ROTATION, GRASP_POSE = 0.01, 10.0, 0.1
"""Standard deviations of a given grasp: metres along each axis, degrees about a random one, radians per component."""


@dataclass(frozen=True)
class Disturbance:
    """How a picture's inputs differ from the truth."""

    pixels: float = 0.0
    """Standard deviation of each keypoint's coordinates."""
    into_flesh: bool = False
    """Whether tips and knuckles lie where MediaPipe puts them."""
    landmarks: float | None = None
    """World landmarks with this standard deviation along each axis, metres; none of them where None."""
    masks: Literal["exact", "eroded", "dilated", "bitten"] = "exact"
    mesh: Literal["exact", "degraded"] = "exact"
    size: Literal["metric", "unknown"] = "metric"


def disturbed_scene(rendered: RenderedScene, disturbance: Disturbance, seed: int) -> tuple[Scene, float]:
    """The scene as the stages take it, and the factor by which its mesh is larger than the truth: 1 if metric."""
    rng = np.random.default_rng(seed)
    # In this order whatever is asked for, so that scenes differ in nothing else.
    noise, around, bumps = (rng.normal(size=shape) for shape in ((21, 2), (21, 3), rendered.object_vertices.shape))
    keypoints = np.asarray(rendered.hand_keypoints, float)
    detected = _into_flesh(keypoints) if disturbance.into_flesh else keypoints
    pixels = pixels_of(rendered.camera, detected) + disturbance.pixels * noise
    object_mask, hand_mask = _masks(rendered, disturbance.masks, rng)
    mesh = load_object((rendered.object_vertices, rendered.object_faces), name=rendered.name)
    scene = Scene(
        camera=rendered.camera,
        object_mask=object_mask,
        hand_mask=hand_mask,
        hand_vertices=None,
        hand_faces=None,
        object=_degraded(mesh, bumps) if disturbance.mesh == "degraded" else mesh,
        image=np.full((*object_mask.shape, 3), GREY, np.uint8),
        keypoints_2d=pixels,
        world_landmarks=None
        if disturbance.landmarks is None
        else detected - keypoints.mean(axis=0) + disturbance.landmarks * around,
    )
    return of_unknown_size(scene, seed) if disturbance.size == "unknown" else (scene, 1.0)


def disturbed_grasp(params: HandParams, seed: int, share: float = 1.0) -> HandParams:
    """A grasp, axis-angle, moved by N(0, 1 cm), turned about its wrist by N(0, 10 degrees), its pose by N(0, .1).

    `share`: of these standard deviations.
    """
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    angle = np.deg2rad(share * GRASP_ROTATION) * rng.normal()
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))
    rotation = (turn * Rotation.from_rotvec(np.asarray(params.rotation, float))).as_rotvec()
    return replace(
        params,
        pose=params.pose + jnp.asarray(share * GRASP_POSE * rng.normal(size=(15, 3)), jnp.float32),
        rotation=jnp.asarray(rotation, jnp.float32),
        translation=params.translation + jnp.asarray(share * GRASP_TRANSLATION * rng.normal(size=3), jnp.float32),
    )


def camera_of_view(degrees: float, size: tuple[int, int]) -> Camera:
    """A camera whose picture, `size` pixels wide and high, spans so many degrees along its longer side."""
    focal = max(size) / 2 / np.tan(np.deg2rad(degrees) / 2)
    return Camera(focal=jnp.full(2, focal, jnp.float32), principal=jnp.asarray(size, jnp.float32) / 2)


def _into_flesh(keypoints: Float[ndarray, "21 3"]) -> Float[ndarray, "21 3"]:
    biased, bases, tips = keypoints.copy(), np.arange(1, 21, 4), np.arange(4, 21, 4)
    for points, towards, length in ((tips, keypoints[tips - 1], TIP), (bases, keypoints[:1], KNUCKLE)):
        along = towards - keypoints[points]
        biased[points] += length * along / np.linalg.norm(along, axis=1, keepdims=True)
    return biased


def _masks(
    rendered: RenderedScene, kind: Literal["exact", "eroded", "dilated", "bitten"], rng: np.random.Generator
) -> tuple[Bool[ndarray, "h w"], Bool[ndarray, "h w"]]:
    """Of the object and of the hand; they never overlap."""
    masks = rendered.object_mask, rendered.hand_mask
    if kind == "eroded":
        masks = _shrunk(masks[0], MASK_BORDER), _shrunk(masks[1], MASK_BORDER)
    elif kind == "dilated":
        grown = [~_shrunk(~mask, MASK_BORDER) for mask in masks]
        masks = grown[0] & ~masks[1], grown[1] & ~grown[0]
    elif kind == "bitten":
        masks = tuple(_bitten(mask, rng) for mask in masks)
    return masks[0], masks[1]


def _shrunk(mask: Bool[ndarray, "h w"], pixels: int) -> Bool[ndarray, "h w"]:
    return np.asarray(ndimage.binary_erosion(mask, iterations=pixels, border_value=1), bool)


def _bitten(mask: Bool[ndarray, "h w"], rng: np.random.Generator) -> Bool[ndarray, "h w"]:
    contour = np.argwhere(mask & ~_shrunk(mask, 1))
    centres = contour[rng.integers(len(contour), size=BITES)]
    radii = rng.uniform(*BITE, BITES) * np.sqrt(mask.sum())
    row, column = np.indices(mask.shape)
    apart = np.hypot(row - centres[:, :1, None], column - centres[:, 1:, None])
    return mask & (apart > radii[:, None, None]).all(axis=0)


def _degraded(mesh: ObjectMesh, bumps: Float[ndarray, "v 3"]) -> ObjectMesh:
    """Fewer faces and bumps, as a generated mesh has them."""
    coarse = simplify(mesh, FEW_FACES)
    vertices = coarse.vertices + MESH_NOISE * bumps[: len(coarse.vertices)]
    return load_object((vertices, coarse.faces), name=mesh.name)
