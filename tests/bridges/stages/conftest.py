"""The stack that makes the shipped tumbler from files, and the cache that its processes share."""

import json

import numpy as np
import pytest
from PIL import Image

from fgs_bridges.config import generate_config
from fgs_bridges.geometry import mask_box
from fgs_bridges.hands import write_hands
from fgs_bridges.types import HandEstimate
from fgs_jax.picture.scene_files import load_scene
from tests.bridges.stages.runs import TUMBLER
from tests.programs import PROGRAMS


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    for name, value in PROGRAMS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """The shipped tumbler as the files that back ends read."""
    folder, scene = tmp_path_factory.mktemp("inputs"), load_scene(TUMBLER)
    boxes = {
        "hands": [{"box": mask_box(scene.hand_mask).tolist()}],
        "objects": [{"box": mask_box(scene.object_mask).tolist()}],
    }
    (folder / "boxes.json").write_text(json.dumps(boxes))
    hand = HandEstimate("right", keypoints_2d=scene.keypoints_2d, world_landmarks=scene.world_landmarks)
    write_hands(folder / "hand.json", [hand])
    Image.fromarray(np.full((64, 48, 3), 200, np.uint8)).save(folder / "object.png")
    return folder


@pytest.fixture
def config(inputs):
    return generate_config(
        {
            "text_to_image": {"backend": "files", "images": [str(TUMBLER / "image.png")]},
            "object_picture": {"backend": "files", "images": [str(inputs / "object.png")]},
            "detector": {"backend": "manual", "path": str(inputs / "boxes.json")},
            "segmenter": {"backend": "file", "path": str(TUMBLER / "hand_mask.png")},
            "object_segmenter": {"backend": "file", "path": str(TUMBLER / "object_mask.png")},
            "hand": {"backend": "file", "path": str(inputs / "hand.json")},
            "object": {"backend": "file", "path": str(TUMBLER / "object.ply")},
            "object_size": "metric",
            "focal": 560,
        }
    )
