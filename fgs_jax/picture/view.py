"""A picture as few sampled pixels, to compare hundreds of poses in, and their masked IoU with the object's mask."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

from fgs_jax.objects.mesh import ObjectMesh, is_balanced
from fgs_jax.objects.simplifying import simplify
from fgs_jax.picture.camera import silhouette
from fgs_jax.picture.masks import iou, mask_at, mask_box
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene
from fgs_jax.solve.ahead import shape_struct
from fgs_jax.types import Camera, on_device, pytree

VIEW_SIDE = 96
"""Sampled pixels along a side of the picture that candidates are compared in."""
ROUGH_VIEW_SIDE = 48
"""The same where there are many of them."""
DRAWN_FACES = 512
"""Of the simplified mesh that is drawn there. Twice as many find no more poses, and the polish takes longer."""


class Similarity(NamedTuple):
    """Where an object is: p_camera = exp(log_scale) rotation p_object + translation. Or several of them."""

    rotation: Float[Any, "*k 3 3"]
    translation: Float[Any, "*k 3"]
    """Metres."""
    log_scale: Float[Any, "*k"]

    def take(self, index: Any) -> "Similarity":
        """Those of an index along the leading axis."""
        return Similarity(*(field[index] for field in self))


@pytree
class PictureView:
    """Sampled pixels about the object, and a mesh simple enough to be drawn hundreds of times."""

    camera: Camera
    pixels: Float[Array, "p 2"]
    in_mask: Bool[Array, "p"]
    counted: Bool[Array, "p"]
    """Not hidden by the hand."""
    corners: Float[Array, "f 3 3"]
    """Of the triangles, in the object's frame; those after the last one are zero."""
    triangles: Int[Array, ""]
    closed: Bool[Array, ""]
    """Whether they are a closed surface, wound one way."""


def picture_view(scene: Scene, hand_hides: bool = True, side: int = VIEW_SIDE) -> PictureView:
    """Every so many pixels of the object's box and half its size around it, `side` of them in a row."""
    left, top, right, bottom = mask_box(scene.object_mask)
    stride = max(1, -(-int(1.5 * max(right - left, bottom - top)) // side))
    first = np.array([left + right, top + bottom]) // 2 - side * stride // 2
    steps = stride * np.arange(side) + 0.5
    pixels = np.stack(np.meshgrid(first[0] + steps, first[1] + steps), axis=-1).reshape(-1, 2)
    counted = mask_at(np.ones_like(scene.hand_mask), pixels)
    if hand_hides:
        counted &= ~mask_at(scene.hand_mask, pixels)
    corners, triangles, closed = _drawn_triangles(scene.object)
    return PictureView(
        camera=scene.camera,
        pixels=on_device(pixels),
        in_mask=on_device(mask_at(scene.object_mask, pixels) & counted, bool),
        counted=on_device(counted, bool),
        corners=corners,
        triangles=triangles,
        closed=closed,
    )


def view_shapes(side: int) -> PictureView:
    """Those of `picture_view`, of a mesh without more faces than are drawn."""
    truth = shape_struct(side**2, dtype=bool)
    triangles = shape_struct(DRAWN_FACES, 3, 3), shape_struct(dtype=np.int32), shape_struct(dtype=bool)
    return PictureView(Camera(shape_struct(2), shape_struct(2)), shape_struct(side**2, 2), truth, truth, *triangles)


@lru_cache(maxsize=8)
def _drawn_triangles(mesh: ObjectMesh) -> tuple[Float[Array, "f 3 3"], Int[Array, ""], Bool[Array, ""]]:
    """Corners of the simplified mesh, padded to a multiple of `DRAWN_FACES`; how many; whether they are closed."""
    simple = simplify(mesh, DRAWN_FACES)
    corners = simple.vertices[simple.faces]
    padded = np.zeros((DRAWN_FACES * -(-len(corners) // DRAWN_FACES), 3, 3))
    padded[: len(corners)] = corners
    return on_device(padded), on_device(len(corners), np.int32), on_device(is_balanced(simple.faces), bool)


@jax.jit
def draw(view: PictureView, pose: Similarity) -> Bool[Array, "p"]:
    """The view's pixels that show the object, as far as the hand leaves them open."""
    corners = jnp.exp(pose.log_scale) * view.corners.reshape(-1, 3)
    vertices = jnp.matmul(corners, pose.rotation.T, precision="highest") + pose.translation[None]
    faces = jnp.arange(len(vertices)).reshape(-1, 3)
    seen = silhouette(view.camera, vertices, faces, view.pixels, count=view.triangles, closed=view.closed)
    return seen & view.counted


def silhouette_in(view: PictureView, pose: Similarity) -> Bool[ndarray, "p"]:
    """`draw`, of a pose in numbers of any type, on the host."""
    return np.asarray(draw(view, jax.tree.map(np.float32, pose)))


def of_each(function: Callable[[Similarity], Any], poses: Similarity) -> list[Any]:
    """What the function finds for each pose, one on each core: a rendering does not fill two."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, map(poses.take, range(len(poses.log_scale)))))


def masked_ious(view: PictureView, poses: Similarity) -> Float[ndarray, "k"]:
    """Masked IoU of each pose, over the view's pixels."""
    in_mask = np.asarray(view.in_mask)
    return np.array(of_each(lambda pose: iou(silhouette_in(view, pose), in_mask), poses))


def masked_iou_of_pose(scene: Scene, pose: Similarity) -> float:
    """Intersection over union of the rendered object and its mask, outside the hand's pixels, at full resolution."""
    vertices = np.exp(pose.log_scale) * scene.object.vertices @ np.asarray(pose.rotation).T + pose.translation
    height, width = scene.object_mask.shape
    drawn = np.isfinite(depth_map(scene.camera, (width, height), vertices, scene.object.faces))
    return iou(drawn & ~scene.hand_mask, scene.object_mask & ~scene.hand_mask)
