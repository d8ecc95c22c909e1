import io
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fgs_bridges import grabcut, sam, segment
from fgs_bridges.geometry import mask_box
from fgs_bridges.images import large_parts
from fgs_bridges.registry import create
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from tests.bridges.tiny_vision import IMAGE_SIZE, SAVERS, picture, tumbler

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
transformers = pytest.importorskip("transformers", reason='pip install "fgs-jax[bridges]"')
cv2 = pytest.importorskip("cv2", reason='pip install "fgs-jax[bridges]"')
transformers.utils.logging.set_verbosity_error()

BOX = np.array([5.0, 8, 35, 40])
POINTS = np.array([[20.0, 20], [5, 5]])
LABELS = np.array([1, 0])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: SAVERS[name](tmp_path_factory.mktemp(name)) for name in ("sam", "sam2", "sam3")}


class Recorded:
    """A model that remembers what it was given and, where an answer is given, says that."""

    def __init__(self, model, answer=None):
        self.model, self.answer, self.inputs = model, answer, {}
        self.config, self.device = model.config, model.device

    def __call__(self, **inputs):
        self.inputs = inputs
        return self.answer or self.model(**inputs)


def segmenter(name, folders, answer=None, **options):
    """A back end with its model loaded and recorded."""
    made = create("segmenter", name, model=folders[name], **options)
    made(picture(), box=BOX)
    if name == "sam3":
        made._parts = made._parts[0], Recorded(made._parts[1], answer)
        return made, made._parts[1]
    made._model = Recorded(made._model, answer)
    return made, made._model


@pytest.mark.parametrize("shape", [(48, 64), (90, 37), (200, 130)])
def test_sam_sees_what_its_own_processor_makes(folders, shape):
    image = picture(*shape)
    processor = transformers.SamProcessor.from_pretrained(folders["sam"])
    theirs = processor(
        image,
        input_boxes=[[BOX.tolist()]],
        input_points=[[POINTS.tolist()]],
        input_labels=[[LABELS.tolist()]],
        return_tensors="pt",
    )
    sam, model = segmenter("sam", folders)
    sizes = theirs.pop("original_sizes"), theirs.pop("reshaped_input_sizes")
    with torch.no_grad():
        outputs = model.model(**{key: v.float() if v.is_floating_point() else v for key, v in theirs.items()})
    masks = processor.image_processor.post_process_masks(outputs.pred_masks, *sizes)[0][0].numpy()
    expected = masks[int(outputs.iou_scores[0, 0].argmax())]
    if expected.any():
        mask = sam(image, box=BOX, points=POINTS, point_labels=LABELS)
        np.testing.assert_array_equal(mask, expected)
    else:
        with pytest.raises(BridgeError, match="got an empty one"):
            sam(image, box=BOX, points=POINTS, point_labels=LABELS)
    np.testing.assert_allclose(model.inputs["pixel_values"], theirs["pixel_values"], atol=2e-6)
    for key in ("input_boxes", "input_points", "input_labels"):
        np.testing.assert_allclose(model.inputs[key], theirs[key], rtol=1e-6)


@pytest.mark.parametrize("shape", [(48, 64), (200, 130)])
def test_sam2_sees_the_documented_picture(folders, shape):
    """Stretched to a square by an antialiased bilinear filter; colours less their mean in standard deviations."""
    image = picture(*shape)
    sam2, model = segmenter("sam2", folders)
    sam2(image, box=BOX, points=POINTS, point_labels=LABELS)

    values = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    resized = torch.nn.functional.interpolate(
        values, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True, align_corners=False
    )
    mean, std = (torch.tensor(item).reshape(1, 3, 1, 1) for item in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    # Ours is rounded to bytes after the resize, in both directions.
    np.testing.assert_allclose(model.inputs["pixel_values"], (resized - mean) / std, atol=1.01 / 255 / 0.224)
    scale = IMAGE_SIZE / np.array(shape[::-1])
    np.testing.assert_allclose(model.inputs["input_boxes"][0, 0], BOX * np.tile(scale, 2), rtol=1e-6)
    np.testing.assert_allclose(model.inputs["input_points"][0, 0], POINTS * scale, rtol=1e-6)
    assert model.inputs["input_labels"].tolist() == [[[1, 0]]]


def test_masks_return_to_the_pictures_size():
    logits = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    processor = transformers.SamImageProcessor(pad_size={"height": 64, "width": 64})
    theirs = processor.post_process_masks(logits[None, None], [(90, 37)], [(64, 26)], binarize=False)[0][0]
    np.testing.assert_allclose(sam.at_picture_size(logits, (64, 26), 64, (90, 37)), theirs, atol=1e-5)
    assert sam.longest_side((90, 37), 64) == (64, 26)
    square = torch.nn.functional.interpolate(logits[None], (90, 37), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(sam.at_picture_size(logits, (64, 64), 64, (90, 37)), square, atol=1e-6)


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_mask_of_the_greatest_predicted_iou(folders, name):
    """Of three masks of known place the second one, without the padding below (sam) or stretched back (sam2)."""
    logits = torch.full((1, 1, 3, 16, 16), -10.0)
    logits[0, 0, 0, 2:4, 2:4] = logits[0, 0, 1, 4:8, 8:12] = logits[0, 0, 2] = 10
    answer = SimpleNamespace(pred_masks=logits, iou_scores=torch.tensor([[[0.2, 0.9, 0.3]]]))
    made, _ = segmenter(name, folders, answer)
    mask = made(picture(48, 64), box=BOX)
    # A cell is 4 pixels wide; 4 of them high where the picture is padded, and 3 where it was stretched.
    np.testing.assert_array_equal(mask_box(mask), [32, 16, 48, 32] if name == "sam" else [32, 12, 48, 24])
    answer.iou_scores = torch.tensor([[[0.2, 0.1, 0.3]]])
    assert made(picture(48, 64), box=BOX).all()


@pytest.mark.parametrize(("name", "other"), [("sam", "sam2"), ("sam2", "sam"), ("sam3", "sam2")])
def test_folder_of_another_model_is_refused(folders, name, other):
    options = {"text": "mug"} if name == "sam3" else {}
    with pytest.raises(BridgeError, match=f"expected a model of type {name}, got {other}: give another model"):
        create("segmenter", name, model=folders[other], **options)(picture(), box=BOX)


def test_models_within_video_models(folders, tmp_path):
    """SAM 2.1 and SAM 3 are published as video models: all weights are found in them, and the mask is the same."""
    parts = {
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_encoder_output_channels": 8,
        "memory_fuser_intermediate_dim": 32,
    }
    sam2 = transformers.Sam2Config.from_pretrained(folders["sam2"])
    video = transformers.Sam2VideoConfig(
        vision_config=sam2.vision_config.to_dict(),
        prompt_encoder_config=sam2.prompt_encoder_config.to_dict(),
        mask_decoder_config=sam2.mask_decoder_config.to_dict(),
        image_size=IMAGE_SIZE,
        memory_attention_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=16,
        mask_downsampler_embed_dim=16,
        memory_fuser_embed_dim=16,
        **parts,
    )
    whole = transformers.Sam2VideoModel(video)
    image_model = transformers.Sam2Model.from_pretrained(folders["sam2"])
    assert not whole.load_state_dict(image_model.state_dict(), strict=False).unexpected_keys
    whole.save_pretrained(tmp_path / "sam2")

    sam3 = transformers.Sam3Config.from_pretrained(folders["sam3"])
    tracker = transformers.Sam3TrackerVideoConfig(
        vision_config=sam3.vision_config.to_dict(),
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
        image_size=IMAGE_SIZE,
        memory_attention_hidden_size=32,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=32,
        mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32,
        **parts,
    )
    whole = transformers.Sam3VideoModel(
        transformers.Sam3VideoConfig(detector_config=sam3.to_dict(), tracker_config=tracker.to_dict())
    )
    whole.detector_model.load_state_dict(transformers.Sam3Model.from_pretrained(folders["sam3"]).state_dict())
    whole.save_pretrained(tmp_path / "sam3")
    transformers.CLIPTokenizer.from_pretrained(folders["sam3"]).save_pretrained(tmp_path / "sam3")

    for name, options in (("sam2", {}), ("sam3", {"text": "mug", "threshold": 0.0})):
        model_type = json.loads((tmp_path / name / "config.json").read_text())["model_type"]
        assert model_type == f"{name}_video"
        alone, within = (
            create("segmenter", name, model=folder, **options)(picture(), box=BOX)
            for folder in (folders[name], str(tmp_path / name))
        )
        np.testing.assert_array_equal(alone, within)


def sam3_answer():
    """Four things of known place, the second with a low score."""
    boxes = torch.tensor([[0.0, 0, 0.5, 0.5], [0.1, 0.1, 0.8, 0.9], [0.5, 0.5, 1, 1], [0.2, 0.2, 0.7, 0.8]])
    masks = torch.full((4, 16, 16), -10.0)
    for i, (x0, y0, x1, y1) in enumerate((boxes * 16).round().int().tolist()):
        masks[i, y0:y1, x0:x1] = 10
    logits = torch.tensor([[3.0, -3, 3, 1]])
    return SimpleNamespace(
        pred_boxes=boxes[None], pred_masks=masks[None], pred_logits=logits, presence_logits=torch.tensor([[3.0]])
    )


def test_sam3_gives_the_thing_nearest_to_the_box(folders):
    sam3, model = segmenter("sam3", folders, sam3_answer(), text="mug", threshold=0.0)
    sam3.threshold = 0.3
    image = picture(48, 64)
    np.testing.assert_array_equal(mask_box(sam3(image, box=np.array([34.0, 26, 64, 48]))), [32, 24, 64, 48])
    # 0.2 .. 0.7 of 16 cells are the cells 3 to 10, of 4 x 3 pixels.
    np.testing.assert_array_equal(mask_box(sam3(image, box=np.array([6.0, 5, 51, 43]))), [12, 9, 44, 39])
    assert "input_boxes" not in model.inputs and model.inputs["input_ids"].shape == (1, 32)
    sam3.threshold = 0.8  # sigmoid(1) sigmoid(3) = 0.70
    np.testing.assert_array_equal(mask_box(sam3(image, box=np.array([6.0, 5, 51, 43]))), [0, 0, 32, 24])
    sam3.threshold = 0.95
    with pytest.raises(BridgeError, match=r'expected "mug" in the box with a score > 0\.95, got 0 else'):
        sam3(image, box=BOX)


def test_sam3_sees_the_documented_picture(folders):
    image = picture(90, 37)
    sam3, model = segmenter("sam3", folders, sam3_answer(), text="mug", threshold=0.0)
    sam3(image, box=np.array([2.0, 2, 30, 80]))
    resized = np.asarray(Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))
    expected = resized.transpose(2, 0, 1)[None] / 127.5 - 1
    np.testing.assert_allclose(model.inputs["pixel_values"], expected, atol=1e-6)


def test_sam3_takes_no_points_and_a_box_needs_torchvision(folders, without):
    with pytest.raises(BridgeError, match="points: expected none, got 2"):
        create("segmenter", "sam3", model=folders["sam3"], text="mug")(picture(), box=BOX, points=POINTS)
    without("torchvision")
    made = create("segmenter", "sam3", model=folders["sam3"], threshold=0.0)
    with pytest.raises(BridgeUnavailable, match="needs torchvision, not installed here: pip install torchvision"):
        made(picture(), box=BOX)


def test_sam3_takes_a_box_where_torchvision_is(folders):
    pytest.importorskip("torchvision", reason="a box as prompt of SAM 3 needs torchvision: pip install torchvision")
    made = create("segmenter", "sam3", model=folders["sam3"], threshold=0.0)
    assert made(picture(), box=BOX).shape == (48, 64)


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


def test_large_parts_stay():
    mask = np.zeros((40, 40), bool)
    mask[0:20, 0:20] = mask[30:36, 0:6] = mask[30:33, 30:33] = True
    kept = large_parts(mask, 0.05)
    assert kept[31, 1] and not kept[31, 31] and kept.sum() == 436


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


@pytest.mark.weights
@pytest.mark.parametrize("name", ["sam2", "sam"])
def test_published_weights_segment_the_tumbler(name):
    """From the box of the mask traced by hand, an IoU with it of more than 0.8."""
    image, _, thing, _ = tumbler("tumbler_005")
    try:
        mask = create("segmenter", name)(image, box=mask_box(thing))
    except BridgeUnavailable as error:
        pytest.skip(str(error))
    assert iou(mask, thing) > 0.8


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["sam", "sam2", "sam3"])
def test_a_gpu_gives_the_mask_of_the_cpu(name, folders):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    options = {"text": "mug", "threshold": 0.0} if name == "sam3" else {}
    masks = [
        create("segmenter", name, model=folders[name], device=device, **options)(picture(), box=BOX)
        for device in ("cpu", "cuda")
    ]
    assert (masks[0] == masks[1]).mean() > 0.99
