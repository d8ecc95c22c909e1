"""Drawings of a hand and an object: over their picture, and from the sides. Drawn on the host, by our own renderer."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image
from scipy.spatial.transform import Rotation

from fgs_jax.objects.mesh import ObjectMesh
from fgs_jax.objects.simplifying import simplify
from fgs_jax.picture.camera import Z_NEAR
from fgs_jax.picture.masks import mask_box
from fgs_jax.picture.render import Mesh, pixels_of, render
from fgs_jax.picture.scene import Scene
from fgs_jax.results.metrics.surface import Surface
from fgs_jax.results.result import Result, object_at
from fgs_jax.types import Camera, on_device

OBJECT, HAND = (0.35, 0.55, 0.85), (0.9, 0.7, 0.55)
"""Colours of the object and of the hand."""
DRAWN_FACES = 5000
"""Faces of the object as drawn, at most."""
SIDES = {"front": ("y", 0), "right": ("y", 90), "back": ("y", 180), "left": ("y", 270)}
"""How the pair is turned about the camera's axes, degrees, to be seen from each side."""
ENDS = {"above": ("x", 90), "below": ("x", 270)}
"""Likewise."""


class Pair(NamedTuple):
    """A hand and an object, metres, in the camera's frame."""

    hand: Surface
    object: Surface

    def coloured(self) -> list[Mesh]:
        """As `render` takes them."""
        return [(self.object.vertices, self.object.faces, OBJECT), (self.hand.vertices, self.hand.faces, HAND)]


class Frame(NamedTuple):
    """A part of the picture at another size."""

    camera: Camera
    background: UInt8[ndarray, "h w 3"]


def frame_of(result: Result, box: tuple[float, float, float, float], longest: int) -> Frame:
    """The part of the picture in `box` (left, top, right, bottom; pixels)."""
    corner, extent = np.array(box[:2]), np.array(box[2:]) - box[:2]
    size = np.maximum(np.rint(extent * longest / extent.max()), 1)
    picture = Image.fromarray(photo_of(result.scene))
    background = picture.resize((int(size[0]), int(size[1])), Image.Resampling.BICUBIC, box=box)
    focal, principal = np.asarray(result.camera.focal, float), np.asarray(result.camera.principal, float)
    camera = Camera(on_device(focal * size / extent), on_device((principal - corner) * size / extent))
    return Frame(camera, np.asarray(background))


def photo_of(scene: Scene) -> UInt8[ndarray, "h w 3"]:
    """The photo, else its masks on grey."""
    if scene.image is not None:
        return scene.image
    picture = np.full((*scene.object_mask.shape, 3), 128, np.uint8)
    for mask, colour in ((scene.object_mask, OBJECT), (scene.hand_mask, HAND)):
        picture[mask] = np.rint(255 * np.array(colour))
    return picture


def overlay(frame: Frame, pair: Pair, antialias: int = 2) -> UInt8[ndarray, "h w 3"]:
    """The pair over its picture."""
    height, width = frame.background.shape[:2]
    return render(frame.camera, (width, height), pair.coloured(), frame.background, antialias)


def from_sides(
    meshes: Sequence[Mesh], sides: Mapping[str, tuple[str, int]], size: int, antialias: int = 2
) -> list[UInt8[ndarray, "h w 3"]]:
    """Square pictures of `size` pixels, filled by the meshes, all at one scale."""
    points = np.concatenate([np.asarray(vertices, float) for vertices, _, _ in meshes])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    away = np.array([0, 0, 4 * np.linalg.norm(points - middle, axis=1).max()])
    turned = []
    for axis, degrees in sides.values():
        turn = Rotation.from_euler(axis, degrees, degrees=True)
        turned.append([(turn.apply(np.asarray(v) - middle) + away, faces, colour) for v, faces, colour in meshes])
    seen = np.concatenate([vertices for view in turned for vertices, _, _ in view])
    focal = 0.48 * size / np.abs(seen[:, :2] / seen[:, 2:]).max()
    camera = Camera(on_device([focal, focal]), on_device([size / 2, size / 2]))
    return at_once(partial(render, antialias=antialias), [(camera, (size, size), view) for view in turned])


def at_once(draw: Callable[..., UInt8[ndarray, "h w 3"]], arguments: Sequence[tuple]) -> list[UInt8[ndarray, "h w 3"]]:
    """`draw(*arguments[k])` for each k, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda each: draw(*each), arguments))


@lru_cache(maxsize=2)
def drawn_mesh(mesh: ObjectMesh) -> ObjectMesh:
    """The mesh with few enough faces to be drawn."""
    return simplify(mesh, DRAWN_FACES)


def pair_of(result: Result, mesh: ObjectMesh, when: int) -> Pair:
    """The hand and `mesh`, which stands for the object's: 0 before, 1 after."""
    placed = object_at((result.before, result.after)[when], mesh.vertices)
    return Pair(Surface(result.hand_vertices[when], result.hand_faces), Surface(placed, mesh.faces))


def pair_box(result: Result, mesh: ObjectMesh) -> tuple[float, float, float, float]:
    """About the refined pair and the object's mask, with a margin, within the picture; pixels."""
    points = np.concatenate([surface.vertices for surface in pair_of(result, mesh, 1)])
    points = points[points[:, 2] > Z_NEAR]
    left, top, right, bottom = mask_box(result.scene.object_mask)
    pixels = np.concatenate([pixels_of(result.camera, points), [[left, top], [right, bottom]]])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    margin, limit = 0.08 * (high - low).max(), np.array(result.scene.object_mask.shape[::-1])
    low, high = np.maximum(np.floor(low - margin), 0), np.minimum(np.ceil(high + margin), limit)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
