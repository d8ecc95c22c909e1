"""What OPA works on: a picture, a hand and an object's surface in arrays of the same shapes for every scene."""

from typing import NamedTuple

import jax
import numpy as np
import scipy.ndimage
from jaxtyping import Array, Bool, Float, Key
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.config import FAST_OPA, OpaConfig
from fgs_jax.objects.sample import sample_points
from fgs_jax.picture.masks import mask_at, mask_box
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene
from fgs_jax.solve.ahead import shape_struct
from fgs_jax.types import Camera, on_device, pytree

GRID_SIDE = 256
"""Cells along a side of the grid about the object."""


@pytree
class PoseProblem:
    """What the terms of OPA need, in arrays of the same shapes for every picture, so that they compile once.

    The grid covers the object's surroundings with `g` by `g` cells.
    """

    camera: Camera
    points: Float[Array, "n 3"]
    """Farthest-point samples of the surface about their centroid, object frame."""
    targets: Float[Array, "m 2"]
    """Pixels of the object mask."""
    nearest_pixel: Float[Array, "g g 2"]
    """Of each cell (row, column): the centre of the mask pixel that is nearest to it."""
    hand_depth: Float[Array, "g g"]
    """D_r where the hand is seen and rendered, 0 elsewhere: there the object may be at any depth."""
    grid_origin: Float[Array, "2"]
    """Pixel position of the grid's top-left corner."""
    cell: Float[Array, ""]
    """Pixels."""
    mask_area: Float[Array, ""]
    """Pixels in the object mask."""
    depth: Float[Array, ""]
    """Of the hand: where an object of unknown size is expected."""


class PoseState(NamedTuple):
    """What moves in OPA. The scale is None, and stays 1, where the object's size is known."""

    rotation: Float[Array | ndarray, "3"]
    """Tangent vector at the start's rotation."""
    translation: Float[Array | ndarray, "3"]
    """Of the middle of the points, metres, camera frame."""
    log_scale: Float[Array | ndarray, ""] | None


def pose_problem(
    scene: Scene, key: Key[Array, ""], config: OpaConfig = FAST_OPA
) -> tuple[PoseProblem, Float[ndarray, "3"]]:
    """The arrays that OPA works on, and the centroid that the object's points were taken about."""
    hand_vertices, hand_faces = scene.posed_hand()
    sizes = [max(getattr(phase, field) for phase in config.phases) for field in ("points", "targets")]
    point_key, target_key = jax.random.split(key)
    points = np.asarray(sample_points(scene.object, sizes[0], point_key))
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    height, width = scene.object_mask.shape
    left, top, right, bottom = mask_box(scene.object_mask)
    cell = max(1.0, 2.0 * max(right - left, bottom - top) / GRID_SIDE)
    origin = np.round(np.array([left + right, top + bottom]) / 2 - GRID_SIDE * cell / 2)
    steps = (np.arange(GRID_SIDE) + 0.5) * cell
    cells = np.stack(np.meshgrid(origin[0] + steps, origin[1] + steps), axis=-1)
    free = scene.object_mask | scene.hand_mask if config.hand_hides else scene.object_mask
    pixels = np.argwhere(free)[:, ::-1] + 0.5
    nearest_pixel = pixels[KDTree(pixels).query(cells.reshape(-1, 2), workers=-1)[1]].reshape(GRID_SIDE, GRID_SIDE, 2)
    if config.hand_hides:  # the picture's edge hides as a hand does
        beyond = (
            (left == 0) & (cells[..., 0] < 0)
            | (top == 0) & (cells[..., 1] < 0)
            | (right == width) & (cells[..., 0] >= width)
            | (bottom == height) & (cells[..., 1] >= height)
        )
        nearest_pixel = np.where(beyond[..., None], cells, nearest_pixel)

    focal, principal = (np.asarray(array, float) for array in (scene.camera.focal, scene.camera.principal))
    of_grid = Camera(on_device(focal / cell), on_device((principal - origin) / cell))
    seen = depth_map(of_grid, (GRID_SIDE, GRID_SIDE), hand_vertices, hand_faces)
    hand_depth = np.where(mask_at(scene.hand_mask, cells) & np.isfinite(seen), seen, 0.0)
    targets = mask_targets(scene.object_mask, scene.hand_mask, sizes[1], config.contour, target_key)
    arrays = {
        "points": points - centre,
        "targets": targets,
        "nearest_pixel": nearest_pixel,
        "hand_depth": hand_depth,
        "grid_origin": origin,
        "cell": cell,
        "mask_area": scene.object_mask.sum(),
        "depth": np.mean(hand_vertices[:, 2]),
    }
    return PoseProblem(camera=scene.camera, **{name: on_device(value) for name, value in arrays.items()}), centre


def problem_shapes(config: OpaConfig) -> PoseProblem:
    """Those of `pose_problem`, whatever the scene."""
    points, targets = (max(getattr(phase, field) for phase in config.phases) for field in ("points", "targets"))
    number, pair, grid = shape_struct(), shape_struct(2), (GRID_SIDE, GRID_SIDE)
    return PoseProblem(
        camera=Camera(pair, pair),
        points=shape_struct(points, 3),
        targets=shape_struct(targets, 2),
        nearest_pixel=shape_struct(*grid, 2),
        hand_depth=shape_struct(*grid),
        grid_origin=pair,
        cell=number,
        mask_area=number,
        depth=number,
    )


def mask_targets(
    object_mask: Bool[ndarray, "h w"], hand_mask: Bool[ndarray, "h w"], count: int, contour: float, key: Key[Array, ""]
) -> Float[ndarray, "m 2"]:
    """`count` pixels of the object's mask in random order, a share `contour` of them on its outline.

    The outline is where object meets background: where it meets the hand or the picture's edge it is cut, not ended.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    near_hand = np.asarray(scipy.ndimage.binary_dilation(hand_mask, iterations=2), bool)
    core = np.asarray(scipy.ndimage.binary_erosion(object_mask, border_value=1), bool)
    outline = object_mask & ~core & ~near_hand
    on_outline, within = (np.argwhere(mask)[:, ::-1] + 0.5 for mask in (outline, object_mask))
    share = round(contour * count) if len(on_outline) else 0

    def draw(pixels: Float[ndarray, "p 2"], count: int) -> Float[ndarray, "count 2"]:
        return pixels[rng.choice(len(pixels), count, replace=count > len(pixels))]

    drawn = np.concatenate([draw(on_outline, share), draw(within, count - share)]) if share else draw(within, count)
    return drawn[rng.permutation(count)]


def start_translation(problem: PoseProblem) -> Float[ndarray, "3"]:
    """The middle of the mask's samples, at the hand's depth."""
    camera = problem.camera
    ray = (np.asarray(problem.targets).mean(axis=0) - np.asarray(camera.principal)) / np.asarray(camera.focal)
    return np.append(ray, np.float32(1.0)) * np.asarray(problem.depth)
