"""Hands about an object face it, from all sides."""

from functools import partial

import jax
import numpy as np
import pytest

from fgs_jax.hands.anatomy import REGION_NAMES
from fgs_jax.hands.mano import hand
from fgs_jax.objects.mesh import load_object
from fgs_jax.testing import SHAPES, hands_about, open_hand

COUNT = 40


@pytest.fixture(scope="module")
def can():
    return load_object(SHAPES["can"](), name="can")


def test_palms_are_four_centimetres_from_the_object_on_all_its_sides(can):
    model = open_hand()
    hands = hands_about(model, can, COUNT, np.random.default_rng(0))
    vertices = np.asarray(jax.jit(jax.vmap(partial(hand, model)))(hands).vertices)
    palms = vertices[:, np.asarray(model.regions) == REGION_NAMES.index("palm")].mean(axis=1)
    radius, half_height = np.linalg.norm(can.vertices[:, :2], axis=1).max(), np.abs(can.vertices[:, 2]).max()
    sideways, upward = np.linalg.norm(palms[:, :2], axis=1) - radius, np.abs(palms[:, 2]) - half_height
    distance = np.hypot(np.maximum(sideways, 0), np.maximum(upward, 0))
    assert (distance < 0.041).all() and (distance > 0.025).all()
    assert np.linalg.norm((palms / np.linalg.norm(palms, axis=1, keepdims=True)).mean(axis=0)) < 0.4
    fingers = np.asarray(model.tip_vertex_ids)[1:]
    assert (np.linalg.norm(vertices[:, fingers].mean(axis=1) - palms, axis=1) > 0.04).all()


def test_the_same_seed_gives_the_same_hands_and_another_seed_others(can):
    first, again, other = (hands_about(open_hand(), can, 5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert np.abs(np.asarray(first.rotation - other.rotation)).max() > 0.1
