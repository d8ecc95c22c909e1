"""What holds for every hand back end and every text-to-image back end, by name."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgs_bridges.geometry import points_box
from fgs_bridges.registry import BACKENDS, create
from fgs_bridges.types import Detection, HandEstimate, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError, FgsError
from tests.bridges.tiny_diffusion import picture, save_tiny

RECORD = Path(__file__).parent / "recorded" / "mediapipe_tumbler_072.json"
PHOTO = np.zeros((480, 640, 3), np.uint8)
HERE = ["mediapipe", "command", "file"]
"""Hands that are had without a network."""
ELSEWHERE = {"hamer": {"checkpoint": "none.ckpt"}, "wilor": {}}
"""Networks that are not on every machine: test_hamer.py runs a tiny HaMeR where its package is."""
TEXTS = ["diffusers", "files"]
PROMPT = "a hand drinks water from a mug"


def keypoints() -> np.ndarray:
    return np.array(json.loads(RECORD.read_text())["mediapipe"][0]["landmarks_px"])


@pytest.fixture
def hand(tmp_path):
    """A back end that sees the hand of a real frame; `mode` says what its tool or file holds."""

    def make(name: str, mode: str = "good") -> Any:
        record = json.loads(RECORD.read_text())
        values: Any = record if name == "mediapipe" else {"side": "right", "keypoints_2d": keypoints().tolist()}
        if mode == "no hand":
            values = record | {"mediapipe": []} if name == "mediapipe" else []
        if mode == "nan":
            if name == "mediapipe":
                values["mediapipe"][0]["landmarks_px"][0][0] = float("nan")
            else:
                values["keypoints_2d"][0][0] = float("nan")
        path = tmp_path / "hand.json"
        path.write_text("rubbish" if mode == "rubbish" else json.dumps(values))
        if mode == "nothing":
            path.unlink()
        if name == "mediapipe":
            return create("hand", name, landmarks=str(path))
        if name == "file":
            return create("hand", name, path=str(path))
        copy = "import os, shutil, sys; os.path.exists(sys.argv[1]) and shutil.copy(sys.argv[1], sys.argv[2])"
        return create("hand", name, argv=[sys.executable, "-c", copy, str(path), "{out}"], outputs=["hand.json"])

    return make


def box() -> Detection:
    return Detection(points_box(keypoints()) + [-10, -10, 10, 10])


def test_every_back_end_is_in_this_suite():
    assert set(BACKENDS["hand"]) == {*HERE, *ELSEWHERE} and set(BACKENDS["text_to_image"]) == set(TEXTS)


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("boxed", [False, True], ids=["picture", "box"])
def test_a_hand_comes_back(hand, name, boxed):
    tool = hand(name)
    (found,) = tool(PHOTO, (box(),) if boxed else ())
    assert isinstance(found, HandEstimate) and found.side == "right"
    assert found.keypoints_2d is not None and 0 <= found.score <= 1
    np.testing.assert_allclose(found.keypoints_2d, keypoints())
    (again,) = tool(PHOTO, (box(),) if boxed else ())
    np.testing.assert_array_equal(again.keypoints_2d, found.keypoints_2d)
    made = tool.provenance()
    assert isinstance(made, Provenance) and made.backend == name
    assert json.loads(json.dumps(made.as_dict()))["options"]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("mode", ["nothing", "rubbish", "no hand", "nan"])
def test_a_hand_that_is_none_is_one_line(hand, name, mode):
    with pytest.raises(BridgeError) as caught:
        hand(name, mode)(PHOTO, (box(),))
    line = str(caught.value)
    assert (
        "\n" not in line and "expected" in line and (mode != "nan" or "keypoints_2d" in line or "landmarks_px" in line)
    )


@pytest.mark.parametrize("name", HERE)
def test_hands_refuse_pictures_of_floats(hand, name):
    with pytest.raises(BridgeError, match=r"image: expected bytes of shape \(h, w, 3\)"):
        hand(name)(PHOTO / 255, ())


@pytest.mark.parametrize("name", ELSEWHERE)
def test_networks_that_are_not_here_are_one_line(name):
    """Not installed, or without its files: never a hand."""
    right = Detection(box().box, side="right")
    with pytest.raises((BridgeUnavailable, BridgeError, ConfigError)) as caught:
        create("hand", name, **ELSEWHERE[name])(PHOTO, (right,))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def text_to_image(tmp_path_factory):
    pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"').set_num_threads(1)
    pytest.importorskip("diffusers", reason='pip install "fgs-jax[bridges]"')
    folder = tmp_path_factory.mktemp("texts")
    model = save_tiny(folder / "model")
    for seed in range(5):
        Image.fromarray(picture(seed)).save(folder / f"{seed}.png")
    options = {
        "diffusers": {"model": model, "steps": 2, "device": "cpu"},
        "files": {"images": [str(folder / f"{seed}.png") for seed in range(5)]},
    }
    return lambda name, **changes: create("text_to_image", name, **(options[name] | changes))


@pytest.mark.parametrize("name", TEXTS)
def test_pictures_of_a_text(text_to_image, name):
    """Bytes; a seed is a picture, and picture k of a call is that of seed + k."""
    tool = text_to_image(name)
    first, second = tool(PROMPT, seed=2, n=2)
    for image in (first, second):
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(text_to_image(name)(PROMPT, seed=3)[0], second)
    made = tool.provenance()
    assert made.backend == name and made.seed == 2 and len(made.weights) >= 1
    assert all(len(digest) == 64 for digest in made.weights.values())
    assert json.loads(json.dumps(made.as_dict()))["options"]


@pytest.mark.parametrize(
    ("name", "changes"), [("diffusers", {"model": "nobody/nothing"}), ("files", {"images": ["no"]})]
)
def test_pictures_that_cannot_be_had_are_one_line(text_to_image, name, changes):
    with pytest.raises(FgsError, match="expected") as caught:
        text_to_image(name, **changes)(PROMPT, seed=0)
    assert "\n" not in str(caught.value)
