"""The Segment Anything models with tiny random weights: what they are shown, and what becomes of their answers."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fgs_bridges import sam
from fgs_bridges.geometry import mask_box
from fgs_bridges.registry import create
from fgs_jax.errors import BridgeError, BridgeUnavailable
from tests.bridges.tiny_vision import BOX, IMAGE_SIZE, SAVERS, iou, picture, tumbler

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
transformers = pytest.importorskip("transformers", reason='pip install "fgs-jax[bridges]"')
transformers.utils.logging.set_verbosity_error()


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
