"""Masks by colour alone, on real frames and on made ones."""

import numpy as np
import pytest

from fgs_bridges import grabcut
from fgs_bridges.geometry import mask_box
from fgs_bridges.registry import create
from fgs_jax.errors import BridgeError
from tests.bridges.tiny_vision import iou, picture, tumbler

pytest.importorskip("cv2", reason='pip install "fgs-jax[bridges]"')


@pytest.mark.parametrize(("name", "least"), [("005", 0.92), ("072", 0.87), ("199", 0.88)])
def test_grabcut_on_a_real_tumbler(name, least):
    """Box of the mask traced by hand, keypoints of MediaPipe outside. Measured: 0.935, 0.890, 0.896."""
    image, _, thing, keypoints = tumbler(f"tumbler_{name}")
    prompt = {"box": mask_box(thing), "points": keypoints, "point_labels": np.zeros(21, int)}
    assert iou(create("segmenter", "grabcut")(image, **prompt), thing) > least


def test_grabcut_on_a_real_hand():
    """Box of the mask traced by hand, keypoints of MediaPipe inside. Measured: 0.934."""
    image, hand, _, keypoints = tumbler("tumbler_005")
    assert iou(create("segmenter", "grabcut")(image, box=mask_box(hand), points=keypoints), hand) > 0.92


def test_grabcut_finds_a_disc_of_another_colour():
    y, x = np.mgrid[:80, :100]
    disc = np.hypot(x + 0.5 - 50, y + 0.5 - 40) < 20
    noise = np.random.default_rng(0).integers(-10, 10, (80, 100, 3))
    image = (np.where(disc[..., None], [200, 60, 60], [60, 120, 60]) + noise).astype(np.uint8)
    made = create("segmenter", "grabcut")
    mask = made(image, box=np.array([25.0, 15, 75, 65]))
    assert iou(mask, disc) > 0.99
    np.testing.assert_array_equal(mask, made(image, box=np.array([25.0, 15, 75, 65])))
    made.seed = 1
    assert made.provenance().seed == 1


def test_grabcut_needs_background():
    with pytest.raises(BridgeError, match="expected some background about it, got the whole picture"):
        create("segmenter", "grabcut")(picture(), box=np.array([0.0, 0, 64, 48]))


def test_grabcut_seeds():
    box = np.array([10.0, 10, 90, 70])
    none = np.empty((0, 2)), np.empty(0, int)
    plain = grabcut.grabcut_seeds((80, 100), box, *none)
    assert (plain[10:70, 10:90] == 3).all() and (plain == 3).sum() == 60 * 80

    # A point is in the pixel that it lies in: 2 pixels about (50, 40), a hundredth of the box's diagonal twice.
    seeds = grabcut.grabcut_seeds((80, 100), box, np.array([[50.0, 40], [20, 20]]), np.array([1, 0]))
    np.testing.assert_array_equal(mask_box(seeds == 1), [48, 38, 52, 42])
    assert seeds[19, 19] == seeds[20, 20] == 0

    # A hand from the left to the right, 20 pixels to its middle knuckle: a band of 3 sure pixels, of 6 probable ones.
    hand = np.stack([np.linspace(20.5, 80.5, 21), np.full(21, 40.5)], axis=1)
    hand[9] = [40.5, 40.5]
    inside = grabcut.grabcut_seeds((80, 100), box, hand, np.ones(21, int))
    np.testing.assert_array_equal(np.flatnonzero(inside[:, 60] == 1), [39, 40, 41])
    np.testing.assert_array_equal(np.flatnonzero(inside[:, 60] == 3), [37, 38, 42, 43])
    assert inside[20, 60] == 2 and inside[5, 60] == 0
    outside = grabcut.grabcut_seeds((80, 100), box, hand, np.zeros(21, int))
    np.testing.assert_array_equal(np.flatnonzero(outside[:, 60] == 0), [*range(10), 39, 40, 41, *range(70, 80)])
