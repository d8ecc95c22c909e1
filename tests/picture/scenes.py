"""Scenes for tests, in variants, and when two are the same to the bit."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.scene import Scene

WIDTH, HEIGHT = 64, 48
M = np.array([-1.0, 1.0, 1.0])
NAN = float("nan")


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def blob(rng):
    """A closed convex mesh without any symmetry, some 10 cm wide."""
    points = rng.normal(size=(40, 3)) * [0.02, 0.03, 0.05] + [0.01, 0, 0]
    return load_object((points, ConvexHull(points).simplices), name="blob")


def dyadic(rng, *shape: int) -> np.ndarray:
    """Numbers in 1/1024, which float32 holds, and the mirror turns without rounding."""
    return rng.integers(0, 48 * 1024, shape) / 1024


def assert_same(a: Any, b: Any, where: str = "scene") -> None:
    """Equal types, values and bits, all the way down."""
    assert type(a) is type(b), where
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
    elif isinstance(a, (np.ndarray, jax.Array)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where
    else:
        assert a == b, where


def bare(scene: Scene) -> Scene:
    """No more than a scene has to have."""
    masks = scene.object_mask, scene.hand_mask
    return Scene(scene.camera, *masks, None, None, scene.object, keypoints_2d=scene.keypoints_2d)


def with_matrices(scene: Scene) -> Scene:
    assert scene.hand_params is not None
    matrices = {
        name: jnp.asarray(Rotation.from_rotvec(np.asarray(getattr(scene.hand_params, name))).as_matrix())
        for name in ("pose", "rotation")
    }
    return replace(scene, hand_params=replace(scene.hand_params, **matrices))


def single(scene: Scene) -> Scene:
    return replace(scene, keypoints_2d=np.asarray(scene.keypoints_2d, np.float32), object_box=None)


def with_gaps(scene: Scene) -> Scene:
    """Of keypoints that were not found, whose confidence is 0, neither pixels nor landmarks are known."""
    assert scene.keypoint_confidence is not None
    found = np.arange(21) % 4 > 0
    gaps = {name: np.where(found[:, None], getattr(scene, name), NAN) for name in ("keypoints_2d", "world_landmarks")}
    return replace(scene, keypoint_confidence=scene.keypoint_confidence * found, **gaps)


def written(folder: Path, meta: dict[str, Any]) -> Path:
    (folder / "scene.json").write_text(json.dumps(meta))
    return folder
