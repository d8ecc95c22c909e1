"""Rendered pictures of a hand that grasps an object, with the truth known.

Everything follows from the shape and the seed. The pair is seen from any side, and the z-buffer decides what hides
what, so the masks cut each other as in a photo. Only the forearm is missing.
"""

from dataclasses import dataclass, replace
from typing import Literal
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.hands import mano
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.camera import project
from fgs_jax.picture.render import depth_map
from fgs_jax.picture.scene import Scene
from fgs_jax.rotations import matrix_of, vector_of
from fgs_jax.testing.grasps import open_hand, random_grasp
from fgs_jax.testing.poses import transformed
from fgs_jax.testing.shapes import SHAPES, Mesh
from fgs_jax.types import Camera, HandParams

OBJECT_VISIBLE, MOST_OBJECT = (0.4, 0.95), 0.7
"""Share of the object's silhouette that is seen, least and greatest; a scene's greatest is drawn from here on."""
HAND_VISIBLE, MUTUAL = (0.2, 0.98), 0.75
"""Of the hand's; the greatest is asked for in this share of the scenes, so that object and hand hide each other."""
LEAST_PIXELS = 300
"""Of the visible object."""
FILL = (0.4, 0.7)
"""Side of the box about hand and object as a share of the picture's, least and greatest."""
DEPTH = (0.4, 0.9)
"""Of the middle of hand and object, metres; goes before `FILL`."""
GRASPS, VIEWS = 6, 24
"""Grasps that are tried, and views of each, before a scene is given up.

After a third of the grasps the object may show as much as in any scene, after two thirds the hand too.
"""

GREY = 90
"""Brightness of the plain picture, of 255."""

_posed = jax.jit(mano.hand)


@dataclass(frozen=True)
class RenderedScene:
    """A picture's masks and the truth behind them. Metres, camera frame, unless said otherwise."""

    name: str
    camera: Camera
    size: tuple[int, int]
    """Width and height of the picture, pixels."""
    hand_params: HandParams
    """Of the open hand."""
    hand_vertices: Float[ndarray, "v 3"]
    hand_faces: Int[ndarray, "f 3"]
    """Closed at the wrist."""
    hand_keypoints: Float[ndarray, "21 3"]
    object_vertices: Float[ndarray, "w 3"]
    """Object frame."""
    object_faces: Int[ndarray, "g 3"]
    T_camera_object: Float[ndarray, "4 4"]
    hand_depth: Float[ndarray, "height width"]
    """Of the whole hand, behind the object too; infinite where it is not."""
    object_depth: Float[ndarray, "height width"]

    @property
    def object_mask(self) -> Bool[ndarray, "height width"]:
        """Where the object is seen."""
        return self.object_depth < self.hand_depth

    @property
    def hand_mask(self) -> Bool[ndarray, "height width"]:
        """Where the hand is seen."""
        return np.isfinite(self.hand_depth) & ~self.object_mask

    @property
    def object_visible(self) -> float:
        """Share of the object's silhouette within the picture that is seen."""
        return self.object_mask.sum() / max(np.isfinite(self.object_depth).sum(), 1)

    @property
    def hand_visible(self) -> float:
        """Share of the hand's silhouette within the picture that is seen."""
        return self.hand_mask.sum() / max(np.isfinite(self.hand_depth).sum(), 1)


def make_scene(
    shape: str | Mesh,
    seed: int,
    size: tuple[int, int] = (320, 320),
    focal: float | None = None,
    *,
    cut: bool = False,
    hamer_focal: bool = False,
) -> RenderedScene:
    """A random grasp of an object, seen from a random side.

    `shape`: a name of `SHAPES`, or vertices in metres and faces. `size`: width and height in pixels. `focal`: pixels,
    1.2 times the longer side unless given. `cut`: the border of the picture cuts the object. `hamer_focal`: the same
    scene through HaMeR's focal length, 5000 / 256 times the longer side, from as much farther away.

    Raises ValueError where no view of any grasp shows the object as asked.
    """
    name, (vertices, faces) = (shape, SHAPES[shape]()) if isinstance(shape, str) else ("mesh", shape)
    rng = np.random.default_rng([crc32(name.encode()), seed])
    camera = _camera(1.2 * max(size) if focal is None else focal, size)
    most_object, mutual = rng.uniform(MOST_OBJECT, OBJECT_VISIBLE[1]), rng.random() < MUTUAL
    for attempt in range(GRASPS):
        most = (
            most_object if attempt < GRASPS / 3 else OBJECT_VISIBLE[1],
            HAND_VISIBLE[1] if mutual and attempt < GRASPS * 2 / 3 else 1.0,
        )
        params = random_grasp(vertices, faces, rng)
        if scene := _seen((name, vertices, faces), camera, size, params, rng, most=most, cut=cut):
            return from_afar(scene) if hamer_focal else scene
    raise ValueError(f"{name}, seed {seed}: no view of {GRASPS * VIEWS} shows the object as asked: use another seed")


def picture_grasp(
    shape: tuple[str, Float[ndarray, "w 3"], Int[ndarray, "g 3"]],
    params: HandParams,
    camera: Camera,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> RenderedScene:
    """A given grasp, seen from a random side that shows hand and object well enough.

    `shape`: a name, vertices and faces of the object; `params`: of the open hand, axis-angle, in the object's frame.
    Raises ValueError where no view does.
    """
    turned, most = replace(params, rotation=matrix_of(params.rotation)), (OBJECT_VISIBLE[1], 1.0)
    for _ in range(GRASPS):
        if scene := _seen(shape, camera, size, turned, rng, most=most, cut=False):
            return replace(
                scene, hand_params=replace(scene.hand_params, rotation=vector_of(scene.hand_params.rotation))
            )
    raise ValueError(f"{shape[0]}: no view of {GRASPS * VIEWS} shows the object as asked: use another grasp")


def from_afar(scene: RenderedScene) -> RenderedScene:
    """The scene through HaMeR's focal length, 5000 / 256 times the longer side, from as much farther away."""
    return _from_afar(scene, 5000 / 256 * max(scene.size))


def as_scene(
    rendered: RenderedScene,
    size: Literal["metric", "unknown"] = "metric",
    factor: float = 1.0,
    *,
    hand: Literal["keypoints", "mesh"] = "keypoints",
) -> Scene:
    """The scene as the stages take it: a plain grey picture, both masks, the true hand, and the object's mesh.

    `size`: what is said of the mesh's size; `factor`: by which the mesh is scaled first. `hand`: what is known of the
    hand, its 21 keypoints in the picture or its mesh in the camera's frame. Keypoints are rounded to 1/1024 pixel,
    which the mirror of a left hand turns without rounding.
    """
    mesh = load_object((factor * rendered.object_vertices, rendered.object_faces), size, rendered.name)
    image = np.full((*rendered.object_mask.shape, 3), GREY, np.uint8)
    scene = Scene(rendered.camera, rendered.object_mask, rendered.hand_mask, None, None, mesh, image)
    if hand == "mesh":
        return replace(scene, hand_vertices=rendered.hand_vertices.astype(float), hand_faces=rendered.hand_faces)
    pixels = np.asarray(project(rendered.camera, jnp.asarray(rendered.hand_keypoints)), float)
    return replace(scene, keypoints_2d=np.round(pixels * 1024) / 1024)


def of_unknown_size(scene: Scene, seed: int) -> tuple[Scene, float]:
    """The scene with its mesh scaled by a random factor between 0.01 and 100, and the factor."""
    factor = float(np.exp(np.random.default_rng(seed).uniform(np.log(0.01), np.log(100.0))))
    mesh = replace(scene.object, vertices=factor * scene.object.vertices, size="unknown")
    return replace(scene, object=mesh), factor


def _seen(
    shape: tuple[str, Float[ndarray, "w 3"], Int[ndarray, "g 3"]],
    camera: Camera,
    size: tuple[int, int],
    params: HandParams,
    rng: np.random.Generator,
    *,
    most: tuple[float, float],
    cut: bool,
) -> RenderedScene | None:
    """The first of `VIEWS` random views that shows no more of object and hand than `most`, and enough of both."""
    for _ in range(VIEWS):
        T_camera_object = _view(params, shape[1], camera, rng, cut=cut)
        scene = render_scene(shape, camera, size, _moved(params, T_camera_object), T_camera_object)
        if _accepted(scene, most, cut=cut):
            return scene
    return None


def _camera(focal: float, size: tuple[int, int]) -> Camera:
    return Camera(focal=jnp.array([focal, focal]), principal=jnp.array(size) / 2)


def _moved(params: HandParams, T: Float[ndarray, "4 4"]) -> HandParams:
    """The hand in another frame."""
    wrist = np.asarray(_posed(open_hand(), params).joints[0])
    at_rest = wrist - np.asarray(params.translation)
    return replace(
        params,
        rotation=jnp.asarray(T[:3, :3] @ np.asarray(params.rotation)),
        translation=jnp.asarray(transformed(wrist, T) - at_rest),
    )


def _view(
    params: HandParams,
    vertices: Float[ndarray, "w 3"],
    camera: Camera,
    rng: np.random.Generator,
    *,
    cut: bool,
) -> Float[ndarray, "4 4"]:
    """A random T_camera_object that puts the pair into the picture, or the object across its border."""
    limit, focal, fill = 2 * np.asarray(camera.principal, float), np.asarray(camera.focal, float), rng.uniform(*FILL)
    pair = np.concatenate([np.asarray(_posed(open_hand(), params).vertices), vertices])
    middle = (pair.min(axis=0) + pair.max(axis=0)) / 2
    T = np.eye(4)
    T[:3, :3] = Rotation.random(rng=rng).as_matrix()
    T[:3, 3] = [0, 0, DEPTH[1]] - T[:3, :3] @ middle

    def box(points: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "2"], Float[ndarray, "2"]]:
        placed = transformed(points, T)
        pixels = focal * placed[:, :2] / placed[:, 2:] + limit / 2
        return pixels.min(axis=0), pixels.max(axis=0)

    def move(pixels: Float[ndarray, "2"]) -> None:
        T[:2, 3] += pixels * transformed(middle, T)[2] / focal

    for _ in range(8):
        low, high = box(pair)
        move(limit / 2 - (low + high) / 2)
        depth = transformed(middle, T)[2]
        T[2, 3] += np.clip(depth * ((high - low) / limit).max() / fill, *DEPTH) - depth
    low, high = box(pair)
    move(rng.uniform(-0.4, 0.4, 2) * (limit - (high - low)))
    if cut:
        low, high = box(vertices)
        beyond = rng.uniform(0.1, 0.35) * (high - low)
        shift = limit - high + beyond if rng.integers(2) else -low - beyond
        move(shift * (np.arange(2) == rng.integers(2)))
    return T


def render_scene(
    shape: tuple[str, Float[ndarray, "w 3"], Int[ndarray, "g 3"]],
    camera: Camera,
    size: tuple[int, int],
    params: HandParams,
    T_camera_object: Float[ndarray, "4 4"],
) -> RenderedScene:
    """A hand, in the camera's frame, and an object (its name, vertices and faces) as they are seen."""
    (name, vertices, faces), model = shape, open_hand()
    posed = jax.tree.map(np.asarray, _posed(model, params))
    hand_faces = np.concatenate([model.faces, model.cap_faces])
    return RenderedScene(
        name=name,
        camera=camera,
        size=size,
        hand_params=params,
        hand_vertices=posed.vertices,
        hand_faces=hand_faces,
        hand_keypoints=posed.keypoints,
        object_vertices=vertices,
        object_faces=faces,
        T_camera_object=T_camera_object,
        hand_depth=depth_map(camera, size, posed.vertices, hand_faces),
        object_depth=depth_map(camera, size, transformed(vertices, T_camera_object), faces),
    )


def _accepted(scene: RenderedScene, most: tuple[float, float], *, cut: bool) -> bool:
    mask = scene.object_mask
    at_border = [drawn[[0, -1]].any() or drawn[:, [0, -1]].any() for drawn in (mask, mask | scene.hand_mask)]
    placed = at_border[0] if cut else not at_border[1]
    object_seen = mask.sum() >= LEAST_PIXELS and OBJECT_VISIBLE[0] <= scene.object_visible <= most[0]
    return bool(placed and object_seen and HAND_VISIBLE[0] <= scene.hand_visible <= most[1])


def _from_afar(scene: RenderedScene, focal: float) -> RenderedScene:
    """The scene through another focal length, from as much farther away: at the object's origin nothing changes."""
    T = scene.T_camera_object.copy()
    T[2, 3] *= focal / float(scene.camera.focal[0])
    away = jnp.array([0.0, 0.0, T[2, 3] - scene.T_camera_object[2, 3]])
    params = replace(scene.hand_params, translation=scene.hand_params.translation + away)
    shape = (scene.name, scene.object_vertices, scene.object_faces)
    return render_scene(shape, _camera(focal, scene.size), scene.size, params, T)
