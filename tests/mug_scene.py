"""A rendered mug in a hand, for tests of the object's pose."""

from functools import cache

import numpy as np
import pytest

pytest.importorskip("manifold3d", reason="the benchmark's shapes need manifold3d: pip install manifold3d")

from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.scene import Scene
from fgs_jax.testing.scenes import RenderedScene, make_scene


@cache
def rendered_mug() -> RenderedScene:
    return make_scene("mug", 1, size=(160, 160))


@cache
def mug_scene() -> Scene:
    truth = rendered_mug()
    mesh = load_object((truth.object_vertices, truth.object_faces), name=truth.name)
    hand = np.asarray(truth.hand_vertices, float), np.asarray(truth.hand_faces)
    return Scene(truth.camera, truth.object_mask, truth.hand_mask, *hand, mesh)
