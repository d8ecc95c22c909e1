"""A small rendered scene and what `refine` makes of it, once for all tests that look at a result."""

from dataclasses import replace
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("manifold3d", reason="the benchmark's shapes need manifold3d: pip install manifold3d")

from benchmarks.scenes import RenderedScene, make_scene
from fgs_jax.config import FAST, Phase
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.camera import project
from fgs_jax.picture.scene import Scene
from fgs_jax.results.result import Result
from fgs_jax.stages.refine import refine

SIZE = (160, 160)
PHASE = Phase(1.0, 1, 80, 192, 192, rotation_rate=(1e-1, 3e-3), translation_rate=(2e-2, 3e-4))
SMALL = replace(
    FAST,
    opa=replace(FAST.opa, phases=(PHASE,), candidates=8, polish_evaluations=100),
    contact=replace(FAST.contact, steps=98, refresh=5, object_points=500),
    restarts=48,
    candidates=2,
    grid=32,
)
"""Contact's steps are rounded up to whole searches for neighbours, 100, which the host sees in two parts: a run can be
killed between them."""


@cache
def rendered(shape: str = "spray_bottle", *, hamer_focal: bool = False) -> RenderedScene:
    return make_scene(shape, 0, SIZE, hamer_focal=hamer_focal)


def as_scene(truth: RenderedScene, size: str = "metric", factor: float = 1.0, **changes: Any) -> Scene:
    """The scene with the true hand's keypoints, in pixels of 1/1024, which the mirror turns without rounding."""
    mesh = load_object((factor * truth.object_vertices, truth.object_faces), size, truth.name)
    seen = np.round(np.asarray(project(truth.camera, jnp.asarray(truth.hand_keypoints)), float) * 1024) / 1024
    image = np.full((*truth.object_mask.shape, 3), 90, np.uint8)
    scene = Scene(truth.camera, truth.object_mask, truth.hand_mask, None, None, mesh, image, keypoints_2d=seen)
    return replace(scene, **changes)


@cache
def refined() -> Result:
    return refine(as_scene(rendered()), SMALL)
