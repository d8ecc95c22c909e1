"""The scenes that ship: they load, are small and licensed, and hold their source."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgs_jax.picture.scene_files import load_scene

SCENES = Path(__file__).parents[2] / "examples" / "scenes"
SOURCE = SCENES.parent.parent.parent / "shared" / "data" / "tumbler"


@pytest.mark.parametrize(("name", "wrist"), [("tumbler", 326.59), ("tumbler_005", 550.04), ("tumbler_199", 529.77)])
def test_the_example_scenes_load(name, wrist):
    found = load_scene(SCENES / name)
    np.testing.assert_array_equal(found.camera.focal, [560, 560])
    np.testing.assert_array_equal(found.camera.principal, [320, 240])
    assert found.keypoints_2d is not None
    assert found.keypoints_2d[0, 0] == wrist
    assert found.image is not None
    assert found.image.shape == (480, 640, 3)
    assert (found.side, found.object.size, found.object.watertight) == ("right", "metric", True)
    assert np.ptp(found.object.vertices, axis=0)[2] == pytest.approx(0.2)
    assert not (found.object_mask & found.hand_mask).any()
    assert "OpenCV" in found.provenance["image"]


def test_the_example_scenes_are_small_and_licensed():
    sizes = [path.stat().st_size for path in SCENES.rglob("*") if path.is_file()]
    assert max(sizes) < 2e6
    assert sum(sizes) < 2.5e6
    assert "Apache License" in (SCENES / "LICENSE").read_text()
    assert "OpenCV" in (SCENES / "COPYRIGHT").read_text()


def test_the_example_scenes_hold_their_source():
    if not SOURCE.exists():
        pytest.skip("needs the frames in ../shared/data/tumbler")
    for name in ("tumbler_005", "tumbler_199"):
        found = load_scene(SCENES / name)
        np.testing.assert_array_equal(found.image, np.array(Image.open(SOURCE / f"{name}.png")))
        np.testing.assert_array_equal(found.hand_mask, np.array(Image.open(SOURCE / f"{name}_hand_mask.png")) > 127)
