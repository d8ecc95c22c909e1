"""Pictures and depth maps of meshes: a z-buffer in numpy, on the host, for reports and checks.

Nothing here is differentiable and nothing here needs a graphics library. A hand of 1542 faces in 512 x 512 pixels takes
0.2 s on one core.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from numpy import ndarray

from fgs_jax.hands.anatomy import unit, vertex_normals
from fgs_jax.objects.cells import triangle_cells
from fgs_jax.picture.camera import Z_NEAR
from fgs_jax.types import Camera, on_device

Vertices = Float[Array | ndarray, "_ 3"]
Faces = Int[Array | ndarray, "_ 3"]
Colour = tuple[float, float, float]
"""Red, green, blue, 0 to 1."""
Mesh = tuple[Vertices, Faces, Colour | Float[Array | ndarray, "... 3"]]
"""Vertices in the camera's frame, in metres; faces; one colour, or one for each vertex."""

AMBIENT = 0.3
"""Share of the light that reaches every surface."""
BACK_TONE = 0.5
"""Brightness of the inside of a mesh, as a fraction of the outside's."""
_LIGHT = unit(np.array([-0.4, -0.6, -1.0]))
"""Towards the lamp: behind the camera, over its left shoulder, far away."""

_BLOCK = 1_000_000
"""Pairs of face and pixel compared at once, which bounds the memory."""


class _Surface(NamedTuple):
    """What is seen, pixel by pixel and row by row."""

    depth: Float[ndarray, "p"]
    """Metres along z; infinite where nothing is."""
    face: Int[ndarray, "p"]
    weights: Float[ndarray, "p 3"]
    """Of the face's corners, correct in perspective."""


def render(
    camera: Camera,
    size: tuple[int, int],
    meshes: Sequence[Mesh],
    background: UInt8[ndarray, "h w 3"] | Colour = (1.0, 1.0, 1.0),
    antialias: int = 2,
) -> UInt8[ndarray, "h w 3"]:
    """A picture of meshes, lit from behind the camera, over a picture or a colour.

    `size`: width and height in pixels. Lambert's law with smooth normals and a little ambient light; the inside of an
    open mesh is darker. Each pixel is the mean of `antialias` squared samples. A face that comes nearer than `Z_NEAR`
    is left out whole.

    Raises ValueError for a background picture of another size.
    """
    width, height = size
    canvas = np.empty((height, width, 3))
    if isinstance(background, ndarray):
        if background.shape != canvas.shape:
            raise ValueError(f"background: expected a picture of {(height, width, 3)}, got {background.shape}")
        canvas[:] = background
    else:
        canvas[:] = 255 * np.asarray(background)
    if not meshes:
        return np.rint(canvas).astype(np.uint8)

    attributes, faces = _join(meshes)
    finer = Camera(focal=camera.focal * antialias, principal=camera.principal * antialias)
    surface = _rasterise(finer, (width * antialias, height * antialias), attributes[:, :3], faces)
    samples = canvas.repeat(antialias, axis=0).repeat(antialias, axis=1).reshape(-1, 3)
    samples[np.isfinite(surface.depth)] = 255 * _shade(surface, attributes, faces)
    grid = samples.reshape(height, antialias, width, antialias, 3)
    picture = sum(grid[:, row, :, column] for row in range(antialias) for column in range(antialias)) / antialias**2
    return np.rint(picture).astype(np.uint8)


def depth_map(camera: Camera, size: tuple[int, int], vertices: Vertices, faces: Faces) -> Float[ndarray, "h w"]:
    """Depth of the nearest surface at the centre of each pixel, in metres along z; infinite where nothing is.

    `size`: width and height in pixels. `vertices`: in the camera's frame, in metres. A face that comes nearer than
    `Z_NEAR` is left out whole.
    """
    width, height = size
    surface = _rasterise(camera, size, np.asarray(vertices, float), np.asarray(faces))
    return surface.depth.reshape(height, width)


def pixels_of(camera: Camera, points: Vertices) -> Float[ndarray, "_ 2"]:
    """Eq. 7 in float64, as `camera.project`."""
    points, focal, principal = (np.asarray(x, float) for x in (points, camera.focal, camera.principal))
    return focal * points[:, :2] / np.maximum(points[:, 2:], Z_NEAR) + principal


def sampled(camera: Camera, first: Float[ndarray, "2"], stride: int) -> Camera:
    """That of a picture of every so many pixels, in steps of `stride` from the centre of the `first`."""
    focal, principal = np.asarray(camera.focal, float), np.asarray(camera.principal, float)
    return Camera(on_device(focal / stride), on_device((principal - first) / stride + 0.5))


def depths_at(camera: Camera, pixels: Float[ndarray, "p 2"], vertices: Vertices, faces: Faces) -> Float[ndarray, "p"]:
    """As `depth_map`, at any places in the picture; for few of them, since each is compared with every face."""
    corners = np.asarray(vertices, float)[np.asarray(faces)]
    corners = corners[(corners[:, :, 2] > Z_NEAR).all(axis=1)]
    a, b, c = (pixels_of(camera, corners[:, k]) for k in range(3))
    ab, ac = b - a, c - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    kept = np.abs(area) > 1e-12
    a, ab, ac, area, inverse = a[kept], ab[kept], ac[kept], area[kept], 1 / corners[kept, :, 2]
    depths = []
    for part in np.array_split(pixels, -(-max(len(pixels), 1) * len(a) // _BLOCK) or 1):
        dx, dy = (part[:, None, k] - a[None, :, k] for k in range(2))
        second = (dx * ac[:, 1] - dy * ac[:, 0]) / area
        third = (dy * ab[:, 0] - dx * ab[:, 1]) / area
        first = 1 - second - third
        covered = (first > -1e-9) & (second > -1e-9) & (third > -1e-9)
        shares = first * inverse[:, 0] + second * inverse[:, 1] + third * inverse[:, 2]
        nearest = np.where(covered, shares, 0.0).max(axis=1, initial=0.0)
        depths.append(np.divide(1.0, nearest, out=np.full(len(part), np.inf), where=nearest > 0))
    return np.concatenate(depths)


def _join(meshes: Sequence[Mesh]) -> tuple[Float[ndarray, "v 9"], Int[ndarray, "f 3"]]:
    """All meshes as one: position, normal and colour of each vertex; faces."""
    attributes, faces, start = [], [], 0
    for vertices, corners, colours in meshes:
        points = np.asarray(vertices, float)
        normals = vertex_normals(points, np.asarray(corners))
        attributes.append(np.concatenate([points, normals, np.broadcast_to(colours, points.shape)], axis=1))
        faces.append(np.asarray(corners) + start)
        start += len(points)
    return np.concatenate(attributes), np.concatenate(faces)


def _shade(surface: _Surface, attributes: Float[ndarray, "v 9"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "s 3"]:
    """Colours of the samples that show a surface, 0 to 1."""
    a, b, c = (attributes[faces[:, k], :3] for k in range(3))
    inside = np.einsum("fi,fi->f", np.cross(b - a, c - a), a) > 0
    seen = np.isfinite(surface.depth)
    face, weights = surface.face[seen], surface.weights[seen]
    mixed = np.einsum("sk,ska->sa", weights, attributes[faces[face], 3:])
    normal, colour, tone = mixed[:, :3], mixed[:, 3:], np.where(inside[face], BACK_TONE, 1.0)
    lambert = normal @ _LIGHT / np.maximum(np.sqrt(np.einsum("si,si->s", normal, normal)), 1e-30)
    light = AMBIENT + (1 - AMBIENT) * np.clip(np.where(inside[face], -lambert, lambert), 0, 1)
    return colour * (light * tone)[:, None]


def _rasterise(
    camera: Camera, size: tuple[int, int], vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]
) -> _Surface:
    """The nearest face at the centre of each pixel."""
    width, height = size
    depth, face = np.full(width * height, np.inf), np.zeros(width * height, int)
    weights = np.zeros((width * height, 3))

    corners = vertices[faces]
    kept = np.flatnonzero(np.isfinite(corners).all(axis=(1, 2)) & (corners[:, :, 2] > Z_NEAR).all(axis=1))
    inverse = 1 / corners[kept, :, 2]
    pixels = np.asarray(camera.focal, float) * corners[kept, :, :2] * inverse[:, :, None]
    pixels = pixels + np.asarray(camera.principal, float)
    a, ab, ac = pixels[:, 0], pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]

    for candidate, x, y in triangle_cells(pixels, np.abs(area) > 1e-12, size):
        dx, dy = x + 0.5 - a[candidate, 0], y + 0.5 - a[candidate, 1]
        second = (dx * ac[candidate, 1] - dy * ac[candidate, 0]) / area[candidate]
        third = (dy * ab[candidate, 0] - dx * ab[candidate, 1]) / area[candidate]
        first = 1 - second - third
        # Rounding must not leave a gap along the edge that two faces share.
        covered = np.flatnonzero((first > -1e-9) & (second > -1e-9) & (third > -1e-9))
        f, pixel = candidate[covered], (y * width + x)[covered]
        # 1 / z is linear in the picture, z is not.
        shares = np.stack([first[covered], second[covered], third[covered]], axis=1) * inverse[f]
        z = 1 / (shares[:, 0] + shares[:, 1] + shares[:, 2])
        np.minimum.at(depth, pixel, z)
        nearest = z == depth[pixel]
        seen = pixel[nearest]
        face[seen] = kept[f[nearest]]
        weights[seen] = shares[nearest] * z[nearest, None]
    return _Surface(depth, face, weights)
