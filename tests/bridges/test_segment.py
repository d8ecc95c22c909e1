"""Masks from files and from a posed hand, and what two masks of one picture must keep to."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from fgs_bridges import segment
from fgs_bridges.geometry import mask_box
from fgs_bridges.registry import create
from fgs_jax.errors import BridgeError, ConfigError
from tests.bridges.tiny_vision import BOX, picture


def test_mask_file(tmp_path):
    mask = np.zeros((48, 64), bool)
    mask[10:20, 10:30] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    Image.fromarray(mask).save(tmp_path / "bits.png")
    Image.fromarray(np.stack([mask.astype(np.uint8) * 255] * 3, axis=2)).save(tmp_path / "rgb.png")
    np.save(tmp_path / "mask.npy", mask)
    for name in ("mask.png", "bits.png", "rgb.png", "mask.npy"):
        made = create("segmenter", "file", path=str(tmp_path / name))
        np.testing.assert_array_equal(made(picture(), box=BOX), mask)
        assert list(made.provenance().weights) == [name]


def test_wrong_mask_files(tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    Image.fromarray(mask).save(tmp_path / "empty.png")
    mask[10:20, 10:30] = 1
    Image.fromarray(mask).save(tmp_path / "ones.png")
    Image.fromarray(mask[:40] * 255).save(tmp_path / "small.png")
    np.save(tmp_path / "bytes.npy", mask)
    np.save(tmp_path / "pickled.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "text.png").write_text("no picture")
    for name, message in {
        "empty.png": "expected a mask, got an empty one",
        "ones.png": "expected 255 inside and 0 outside, came values up to 1: make them 255",
        "small.png": r"expected the picture's size, \(48, 64\), got \(40, 64\)",
        "bytes.npy": r"expected booleans of shape \(h, w\), got uint8 \(48, 64\)",
        "pickled.npy": "expected a picture or a .npy file",
        "text.png": "expected a picture or a .npy file",
        "absent.png": "expected a picture or a .npy file",
    }.items():
        with pytest.raises(BridgeError, match=message) as caught:
            create("segmenter", "file", path=str(tmp_path / name))(picture(), box=BOX)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    Image.fromarray(mask * 255).save(tmp_path / "elsewhere.png")
    with pytest.raises(BridgeError, match=r"expected pixels in the box \[40.0, 30.0, 60.0, 45.0\], got none"):
        create("segmenter", "file", path=str(tmp_path / "elsewhere.png"))(picture(), box=np.array([40.0, 30, 60, 45]))


def test_a_mask_file_is_read_as_a_scene_s(tmp_path):
    """By the same reader: cut-outs, pictures that a camera has turned, and no picture in a mask's place."""
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 10:30] = 255
    colours = picture() * np.uint8(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.dstack([colours, mask])).save(tmp_path / "cutout.png")
    Image.fromarray(mask).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    for name in ("cutout.png", "turned.png"):
        made = create("segmenter", "file", path=str(tmp_path / name))
        np.testing.assert_array_equal(made(picture(), box=BOX), mask > 0)
    labels = np.where(mask > 0, np.arange(64, dtype=np.uint8)[None] // 20 + 1, 0).astype(np.uint8)
    pictured = Image.fromarray(labels).convert("P")
    pictured.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    pictured.save(tmp_path / "labels.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.png").mkdir()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|b1", "fortran_order": False, "shape": (2**30, 2**20)})
    (tmp_path / "bomb.npy").write_bytes(b"\x93NUMPY\x01\x00" + header.getvalue()[8:])
    for name, message in {
        "labels.png": "expected 255 inside and 0 outside, came (labels|values)",
        "pipe.png": "expected a picture or a .npy file, came a pipe",
        "pipe.npy": "expected a picture or a .npy file, came a pipe",
        "folder.png": "expected a picture or a .npy file, came a folder",
        "bomb.npy": "expected a picture or a .npy file, got none .a header of shape",
    }.items():
        with pytest.raises(BridgeError, match=message) as caught:
            create("segmenter", "file", path=str(tmp_path / name))(picture(), box=BOX)
        assert str(caught.value).startswith("file: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"expected a path, got .*a name that no file can have"):
        create("segmenter", "file", path=str(tmp_path / ("x" * 300 + ".png")))


def test_common_pixels_are_the_hands():
    hand, thing = np.zeros((2, 20, 20), bool)
    hand[:, :10] = thing[:, 8:] = True
    ours = segment.visible_masks(hand, thing)
    np.testing.assert_array_equal(ours[0], hand)
    np.testing.assert_array_equal(ours[1], thing & ~hand)
    # A silhouette's hidden parts, and a hand's mask that has run over the object, give way.
    for masks in (segment.visible_masks(hand, thing, silhouette=True), segment.visible_masks(hand | thing, thing)):
        np.testing.assert_array_equal(masks[0], hand & ~thing)
        np.testing.assert_array_equal(masks[1], thing)


def test_masks_of_one_thing_are_refused():
    mask = np.ones((4, 4), bool)
    with pytest.raises(BridgeError, match="expected pixels of the hand alone, got none"):
        segment.visible_masks(mask, mask)
    with pytest.raises(BridgeError, match="expected pixels of the object alone, got none"):
        segment.visible_masks(mask, ~mask)
    with pytest.raises(BridgeError, match=r"expected booleans of one shape, got bool \(4, 4\) and uint8 \(4, 4\)"):
        segment.visible_masks(mask, mask.astype(np.uint8))


K = np.array([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]])
SQUARE = np.array([[-0.1, -0.05, 1], [0.1, -0.05, 1], [0.1, 0.05, 1], [-0.1, 0.05, 1]])
FACES = np.array([[0, 1, 2], [2, 0, 3]])
"""One wound each way."""


def test_silhouette_covers_pixel_centres():
    mask = segment.silhouette_mask(SQUARE, FACES, K, (48, 64))
    np.testing.assert_array_equal(mask_box(mask), [22, 19, 42, 29])
    assert mask.sum() == 20 * 10
    # 0.4 pixels to the right move no centre in or out; 0.6 do.
    for pixels, left in ((0.4, 22), (0.6, 23)):
        moved = segment.silhouette_mask(SQUARE + [pixels / 100, 0, 0], FACES, K, (48, 64))
        np.testing.assert_array_equal(mask_box(moved), [left, 19, left + 20, 29])


def test_silhouette_is_cut_at_the_picture_and_before_the_camera():
    mask = segment.silhouette_mask(SQUARE * [10, 10, 1], FACES, K, (48, 64))
    assert mask.all()
    behind = np.concatenate([SQUARE, SQUARE * [1, 1, -1]])
    np.testing.assert_array_equal(
        segment.silhouette_mask(behind, np.concatenate([FACES, FACES + 4, [[0, 1, 4]]]), K, (48, 64)),
        segment.silhouette_mask(SQUARE, FACES, K, (48, 64)),
    )
    with pytest.raises(BridgeError, match="silhouette: check the hand's camera: expected a mask, got an empty one"):
        segment.silhouette_mask(SQUARE * [1, 1, -1], FACES, K, (48, 64))
