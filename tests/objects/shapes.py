"""Meshes that several tests need."""

from pathlib import Path

import jax
import numpy as np
import pytest
import trimesh

SHARED = Path(__file__).parents[3] / "shared" / "data"

needs_data = pytest.mark.skipif(
    not SHARED.exists(), reason=f"real inputs are not there: {SHARED.name} beside the repository"
)

OBJECTS = ("apple", "bowl", "camera", "cup", "flashlight", "fryingpan", "hammer", "knife", "lightbulb", "mug", "phone")
OBJECTS += ("scissors", "teapot", "toothbrush", "waterbottle", "wineglass")
BOX = trimesh.creation.box((0.10, 0.06, 0.04))
BALL = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
KEY = jax.random.key(0)


def volume(mesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


def together(*meshes) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    faces = [faces + start for (_, faces), start in zip(meshes, starts, strict=False)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def flipped(mesh) -> tuple[np.ndarray, np.ndarray]:
    return mesh[0], mesh[1][:, ::-1]


OUTER, INNER = (BALL.vertices, BALL.faces), (BALL.vertices * 0.8, BALL.faces)

ACROSS = (BALL.vertices + [0.06, 0, 0], BALL.faces)


def cut_open(kept) -> tuple[np.ndarray, np.ndarray]:
    used, faces = np.unique(BALL.faces[kept], return_inverse=True)
    return BALL.vertices[used], faces.reshape(-1, 3)


HOLED = cut_open(np.random.default_rng(0).random(1280) > 0.1)
HALF = cut_open(BALL.triangles_center[:, 2] > 0)
MOST = cut_open(BALL.triangles_center[:, 2] > -0.03)


def corners_of(mesh) -> np.ndarray:
    """The corners of all faces in an order that does not depend on how they are numbered."""
    corners = np.round(mesh.vertices[mesh.faces], 6) + 0.0
    first = [min(range(3), key=lambda k: tuple(face[k])) for face in corners]
    turned = np.array([np.roll(face, -k, axis=0) for face, k in zip(corners, first, strict=True)]).reshape(-1, 9)
    return turned[np.lexsort(turned.T)]


ASIDE = (BALL.vertices + [0.2, 0, 0], BALL.faces)
