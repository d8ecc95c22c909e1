"""Surfaces that several tests measure."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import trimesh

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.results.metrics import Surface, solid_intersection_volume
from fgs_jax.types import HandParams


def surface(mesh, offset=(0.0, 0.0, 0.0)) -> Any:  # of numpy arrays, where a Surface may hold JAX's too
    return Surface(np.asarray(mesh.vertices, float) + offset, np.asarray(mesh.faces, np.int64))


def ball(radius, offset=(0.0, 0.0, 0.0), subdivisions=3) -> Any:
    return surface(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius), offset)


def box(size, offset=(0.0, 0.0, 0.0)) -> Any:
    """Between -size / 2 and size / 2 about the offset."""
    return surface(trimesh.creation.box(size), offset)


def joined(*parts) -> Any:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + start for part, start in zip(parts, starts[:-1], strict=True)]
    return Surface(np.concatenate([part.vertices for part in parts]), np.concatenate(faces))


def open_hand(pose=None, name="open_hand") -> Any:
    model = load_hand_model(name)
    posed = hand(model, HandParams(pose=model.pose_mean if pose is None else pose))
    faces = np.concatenate([model.faces, model.cap_faces])
    return model, posed, Surface(np.asarray(posed.vertices, float), faces)


def fist() -> Any:
    """The open hand, bent until the fingers run into the palm."""
    return open_hand(1.6 * load_hand_model("open_hand").pose_mean + jnp.array([0.0, 0.0, 0.7])[None])[2]


IN_THE_PALM = (0.035, -0.034, 0.005)
"""Of the open hand in its mean pose, for a ball of 3 cm that it grips a little too hard."""

TURN = np.asarray(trimesh.transformations.rotation_matrix(0.7, (1, 2, 3)))[:3, :3]


def fine_box(size, offset=(0.0, 0.0, 0.0), edge=0.004) -> Any:
    mesh = trimesh.creation.box(size)
    vertices, faces = trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.faces, edge)[:2]
    return surface(trimesh.Trimesh(vertices, faces), offset)


def mask(*boxes, shape=(10, 12)):
    """Boxes of (top, bottom, left, right)."""
    drawn = np.zeros(shape, bool)
    for top, bottom, left, right in boxes:
        drawn[top:bottom, left:right] = True
    return drawn


def volume_of(hand_, object_) -> float:
    volume, obstacle = solid_intersection_volume(hand_, object_)
    assert volume is not None and obstacle is None
    return volume
