"""A scene that has everything, and a folder as a person writes one."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image

from fgs_jax.picture.scene import Scene
from fgs_jax.types import Camera, HandParams
from tests.picture.scenes import HEIGHT, WIDTH, blob, dyadic, rectangle


@pytest.fixture
def scene(rng) -> Scene:
    """A scene that has everything."""
    params = HandParams(
        betas=jnp.asarray(rng.normal(size=10)),
        pose=jnp.asarray(rng.normal(size=(15, 3))),
        rotation=jnp.asarray(rng.normal(size=3)),
        translation=jnp.array([0.1, -0.05, 0.6]),
        scale=jnp.asarray(1.1),
    )
    return Scene(
        camera=Camera(jnp.array([70.1, 71.3]), jnp.array([31.25, 24.5])),
        object_mask=rectangle(10, 10, 30, 30),
        hand_mask=rectangle(28, 15, 64, 35) & ~rectangle(10, 10, 30, 30),
        hand_vertices=rng.normal(size=(9, 3)) / 10 + [0, 0, 0.7],
        hand_faces=rng.integers(0, 9, (12, 3)),
        object=blob(rng),
        image=rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8),
        side="right",
        keypoints_2d=[38, 13] + dyadic(rng, 21, 2) / 2,
        keypoint_confidence=rng.random(21),
        world_landmarks=rng.normal(size=(21, 3)) / 20,
        hand_params=params,
        hand_model="open_hand_full",
        object_image=rng.integers(0, 256, (20, 10, 3)).astype(np.uint8),
        hand_box=np.array([28.125, 15, 64, 35.5]),
        object_box=np.array([10.0, 10, 30, 30]),
        prompt='Eine Hand hält [ 1, 2 ] "Becher"',
        provenance={"image": {"tool": "x", "seed": 3, "scores": [0.1, 2, None, True]}},
    )


@pytest.fixture
def by_hand(scene, tmp_path) -> tuple[Path, dict[str, Any]]:
    """A folder as a person makes it, but for scene.json, and what to write there."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, mask in (("object_mask", scene.object_mask), ("hand", scene.hand_mask)):
        Image.fromarray(mask).save(folder / f"{name}.png")  # one bit per pixel
    Image.fromarray(np.asarray(scene.image)).save(folder / "photo.jpg")
    trimesh.creation.icosphere(2, 0.05).export(folder / "ball.obj")
    camera = {"K": [[70, 0, 31], [0, 71, 24], [0, 0, 1]], "pixel_centres": "integer", "K_source": "calibrated"}
    return folder, {
        "format": "fgs-scene",
        "version": 1,
        "camera": camera,
        "side": "left",
        "image": "photo.jpg",
        "hand_mask": "hand.png",
        "object": {"file": "ball.obj", "size": "metric"},
        "keypoints_2d": [[20 + k, 17] for k in range(21)],
    }
