import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fgs_bridges import detect, detect_by_name, detect_files
from fgs_bridges.geometry import box_iou, mask_box
from fgs_bridges.registry import create
from fgs_bridges.types import Detected, Detection
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from tests.bridges.tiny_vision import SAVERS, picture, tumbler

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
transformers = pytest.importorskip("transformers", reason='pip install "fgs-jax[bridges]"')
transformers.utils.logging.set_verbosity_error()

SIZE = (400, 600)
"""Height and width."""
CENTRES = np.array([[0.5, 0.5, 0.2, 0.4], [0.25, 0.75, 0.1, 0.1], [0.9, 0.1, 0.1, 0.2], [0.3, 0.3, 0.1, 0.1]])
PIXELS = np.array([[240, 120, 360, 280], [120, 280, 180, 320], [510, 0, 570, 80], [150, 100, 210, 140.0]])
"""The same boxes in a picture of this size."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        name: SAVERS[name](tmp_path_factory.mktemp(name), seed)
        for name, seed in (("grounding-dino", 3), ("owlv2", 0), ("sam", 0))
    }


def test_boxes_from_centres():
    np.testing.assert_allclose(detect_by_name.boxes_from_centres(CENTRES, (600, 400)), PIXELS, atol=1e-9)


def test_phrases_are_the_tokens_between_full_stops():
    assert detect_by_name.phrase_tokens([2, 6, 5, 7, 8, 5, 3], full_stop=5) == [[1], [3, 4]]


def test_grounding_dino_output_of_known_answer(folders):
    processor = transformers.GroundingDinoProcessor.from_pretrained(folders["grounding-dino"])
    tokens = processor(images=picture(), text="hand. travel tumbler.", return_tensors="pt")["input_ids"]
    logits = np.full((4, 32), -np.inf)
    logits[:, :7] = -9
    logits[0, 1], logits[1, 4], logits[2, 3], logits[3, 4] = 2.0, 1.0, 0.5, -2.0
    phrases = detect_by_name.phrase_tokens(tokens[0].tolist(), processor.tokenizer.convert_tokens_to_ids("."))

    boxes, scores = detect_by_name.from_grounding_dino(logits, CENTRES, phrases, SIZE)

    np.testing.assert_allclose(boxes, PIXELS, atol=1e-9)
    np.testing.assert_allclose(scores.max(axis=1), 1 / (1 + np.exp([-2.0, -1.0, -0.5, 2.0])))
    assert scores.argmax(axis=1).tolist() == [0, 1, 1, 1]

    theirs = processor.post_process_grounded_object_detection(
        SimpleNamespace(logits=torch.tensor(logits)[None].float(), pred_boxes=torch.tensor(CENTRES)[None].float()),
        tokens,
        threshold=0.3,
        target_sizes=[SIZE],
    )[0]
    kept = scores.max(axis=1) > 0.3
    np.testing.assert_allclose(theirs["boxes"], boxes[kept], atol=1e-4)
    np.testing.assert_allclose(theirs["scores"], scores.max(axis=1)[kept], atol=1e-6)
    assert theirs["text_labels"] == ["hand", "tumbler", "travel"]


@pytest.mark.parametrize("size", [(400, 600), (600, 400)])
def test_owlv2_output_of_known_answer(folders, size):
    processor = transformers.Owlv2Processor.from_pretrained(folders["owlv2"])
    logits = np.array([[2.0, -3], [-1, 0.5], [-3, -4], [1.5, 1]])

    boxes, scores = detect_by_name.from_owlv2(logits, CENTRES, size)

    # Parts of the padded square, whose side is the picture's longer one.
    np.testing.assert_allclose(boxes[0], [240, 180, 360, 420])
    theirs = processor.post_process_grounded_object_detection(
        SimpleNamespace(logits=torch.tensor(logits)[None], pred_boxes=torch.tensor(CENTRES)[None]),
        threshold=0.0,
        target_sizes=[size],
    )[0]
    np.testing.assert_allclose(theirs["boxes"], boxes, atol=1e-4)
    np.testing.assert_allclose(theirs["scores"], scores.max(axis=1), atol=1e-6)
    assert theirs["labels"].tolist() == scores.argmax(axis=1).tolist()


@pytest.mark.parametrize("name", ["grounding-dino", "owlv2"])
def test_adapter_gives_what_its_model_gives(folders, name):
    image = picture(48, 64)
    found = create("detector", name, model=folders[name], threshold=0.0, overlap=1.0)(image, "travel tumbler")

    kind = {"grounding-dino": "GroundingDino", "owlv2": "Owlv2"}[name]
    processor = getattr(transformers, f"{kind}Processor").from_pretrained(folders[name])
    model = getattr(transformers, f"{kind}ForObjectDetection").from_pretrained(folders[name]).eval()
    text = {
        "grounding-dino": "hand. travel tumbler.",
        "owlv2": [["a photo of a hand", "a photo of a travel tumbler"]],
    }[name]
    inputs = processor(images=image, text=text, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    theirs = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[(48, 64)])[0]
    boxes = theirs["boxes"].numpy()
    inside = np.clip(boxes, 0, [64, 48, 64, 48])
    expected = {tuple(box.round(3)) for box in inside if (box[2:] - box[:2] >= 0.5).all()}
    assert {tuple(entry.box.round(3)) for entry in (*found.hands, *found.objects)} == expected


@pytest.mark.parametrize("name", ["grounding-dino", "owlv2"])
def test_threshold_and_duplicates(folders, name):
    image = picture()
    everything = create("detector", name, model=folders[name], threshold=0.0, overlap=1.0)(image, "tumbler travel")
    least = min(everything.hands[0].score, everything.objects[0].score) - 1e-6
    best = create("detector", name, model=folders[name], threshold=least, overlap=1.0)(image, "tumbler travel")
    assert 2 <= len(best.hands) + len(best.objects) < len(everything.hands) + len(everything.objects)
    assert min(entry.score for entry in (*best.hands, *best.objects)) > least
    apart = create("detector", name, model=folders[name], threshold=0.0, overlap=0.0)(image, "tumbler travel")
    for entries in (apart.hands, apart.objects):
        assert all(box_iou(a.box, b.box) == 0 for i, a in enumerate(entries) for b in entries[:i])


@pytest.mark.parametrize("name", ["grounding-dino", "owlv2"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 40)])
def test_few_rows_are_not_taken_for_colours(folders, name, shape):
    made = create("detector", name, model=folders[name], threshold=1.0)
    with pytest.raises(BridgeError, match="in the picture, got 0 hands, 0 objects"):
        made(picture(*shape), "tumbler")


def test_without_duplicates_keeps_the_best():
    entries = [Detection(np.array([0.0, 0, 10, 10]), 0.5), Detection(np.array([0.0, 0, 10, 9]), 0.9)]
    assert box_iou(entries[0].box, entries[1].box) == pytest.approx(0.9)
    assert [entry.score for entry in detect.without_duplicates(entries, 0.8)] == [0.9]
    assert [entry.score for entry in detect.without_duplicates(entries, 0.95)] == [0.9, 0.5]


def test_folder_of_another_model_is_refused(folders):
    with pytest.raises(BridgeError, match=r"grounding-dino: .*: expected") as caught:
        create("detector", "grounding-dino", model=folders["owlv2"])(picture(), "mug")
    assert "\n" not in str(caught.value)


def test_missing_weights_are_not_made_up(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in Path(folders["owlv2"]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["class_head.dense0.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BridgeError, match=r"1 are missing, class_head\.dense0\.weight among them: give a model"):
        create("detector", "owlv2", model=str(tmp_path))(picture(), "mug")


def test_pickled_weights_are_not_loaded(folders, tmp_path):
    for file in Path(folders["owlv2"]).iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BridgeError, match=r"owlv2: .*expected a folder that Owlv2ForObjectDetection loads"):
        create("detector", "owlv2", model=str(tmp_path))(picture(), "mug")


def test_names_and_device_are_checked(folders):
    dino = create("detector", "grounding-dino", model=folders["grounding-dino"])
    with pytest.raises(ConfigError, match="expected names of hand and object"):
        dino(picture(), " . ")
    with pytest.raises(ConfigError, match="expected names of at most 40 tokens"):
        create("detector", "owlv2", model=folders["owlv2"])(picture(), "mug " * 20)
    with pytest.raises(ConfigError, match="device: expected auto, cpu, cuda or cuda:N, got gpu"):
        create("detector", "owlv2", model=folders["owlv2"], device="gpu")(picture(), "mug")


def test_gated_and_unknown_models_say_what_to_do():
    with pytest.raises(BridgeUnavailable, match="nobody/nothing: expected a folder or a model that the hub") as caught:
        create("detector", "owlv2", model="nobody/nothing")(picture(), "mug")
    assert "`hf download nobody/nothing`" in str(caught.value)
    assert "\n" not in str(caught.value)


HAND_ROWS = np.array(
    [
        [10, 20, 50, 80, 0.95, 0, 0.0, 0.0, 0.0, 0],
        [200, 100, 280, 180, 0.7, 3, 0.05, 0.06, 0.08, 1],
        [300, 100, 360, 180, 0.6, 3, 0.10, 0.10, 0.0, 0],
    ]
)
OBJECT_ROWS = np.array(
    [
        [250, 160, 290, 200, 0.9, 0, 0.3, 0.1, 0, 0],
        [230, 140, 310, 220, 0.5, 0, 0.3, 0.1, 0, 0],
    ]
)
PHOTO = np.zeros((300, 400, 3), np.uint8)


def save_doh100(folder: Path, form: str, hands=HAND_ROWS, objects=OBJECT_ROWS) -> dict[str, str]:
    path = folder / f"hand.{form}"
    if form == "npy":
        np.save(path, hands)
        np.save(folder / "objects.npy", objects)
        return {"path": str(path), "objects_path": str(folder / "objects.npy")}
    if form == "npz":
        np.savez(path, hand_dets=hands, obj_dets=objects)
    else:
        path.write_text(json.dumps({"hand_dets": hands.tolist(), "obj_dets": objects.tolist()}))
    return {"path": str(path)}


@pytest.mark.parametrize("form", ["npy", "npz", "json"])
def test_doh100_columns(tmp_path, form):
    found = create("detector", "doh100", **save_doh100(tmp_path, form))(PHOTO, "mug")
    assert [hand.score for hand in found.hands] == [0.95, 0.7, 0.6]
    assert [hand.side for hand in found.hands] == ["left", "right", "left"]
    assert [hand.contact for hand in found.hands] == [0, 3, 3]
    # 0.05 is 50 px, along (0.6, 0.8); 0.1 is 100 px, to the right.
    np.testing.assert_allclose(np.stack([hand.offset for hand in found.hands]), [[0, 0], [30, 40], [100, 0]])
    assert [thing.score for thing in found.objects] == [0.9, 0.5]
    assert all(thing.side is None and thing.contact is None for thing in found.objects)
    np.testing.assert_array_equal(found.hands[1].box, [200, 100, 280, 180])


def test_doh100_offsets_are_those_of_its_drawing_code():
    row = HAND_ROWS[1].copy()
    row[7:9] *= 0.1 / np.hypot(*row[7:9])  # the length that its network gives
    offset = detect_files.from_doh100_hand(row).offset
    assert offset is not None
    drawn = row[6] * 10000 * row[7:9]  # net_utils.py, filter_object
    np.testing.assert_allclose(offset, drawn)


def test_choice_follows_100doh(tmp_path):
    found = create("detector", "doh100", **save_doh100(tmp_path, "npz"))(PHOTO, "mug")
    hand, thing = detect.choose(found)
    # Not the best hand, which touches nothing; from (240, 140) + (30, 40) the nearest centre is (270, 180), of both.
    np.testing.assert_array_equal(hand.box, HAND_ROWS[1, :4])
    assert (hand.side, thing.score) == ("right", 0.9)
    near = OBJECT_ROWS.copy()
    near[0, :4] += 5
    found = create("detector", "doh100", **save_doh100(tmp_path, "npz", objects=near))(PHOTO, "mug")
    assert detect.choose(found)[1].score == 0.5
    left, _ = detect.choose(found, "left")
    np.testing.assert_array_equal(left.box, HAND_ROWS[2, :4])


def test_choice_refuses_hands_that_hold_nothing():
    box = np.array([0.0, 0, 10, 10])
    found = Detected((Detection(box, contact=4, side="left"), Detection(box, contact=0)), (Detection(box),))
    with pytest.raises(BridgeError, match=r"expected a hand that holds something \(state 3\), got states 4, 0"):
        detect.choose(found)
    with pytest.raises(BridgeError, match="expected a hand and an object, got 0 right hands, 1 objects"):
        detect.choose(Detected(found.hands[:1], found.objects), "right")
    with pytest.raises(ConfigError, match="side: expected left or right, got both"):
        detect.choose(found, "both")


def test_choice_without_contacts_takes_the_pair_that_meets():
    far = Detection(np.array([0.0, 0, 10, 10]), 0.9)
    near = Detection(np.array([50.0, 0, 60, 10]), 0.4)
    mug, other = Detection(np.array([58.0, 0, 70, 10]), 0.3), Detection(np.array([80.0, 0, 90, 10]), 0.8)
    hand, thing = detect.choose(Detected((far, near), (other, mug)))
    assert (hand.score, thing.score, hand.side) == (0.4, 0.3, None)
    # Among pairs that meet, the greatest sum of scores.
    better = Detection(near.box + 1, 0.5)
    assert detect.choose(Detected((far, near, better), (other, mug)))[0].score == 0.5
    # None meets: the smallest gap.
    assert detect.choose(Detected((far, near), (other,)))[0].score == 0.4


def test_side_of_the_choice_is_what_the_user_says():
    box = np.array([0.0, 0, 10, 10])
    unknown, left = Detection(box, 0.5), Detection(box, 0.9, side="left")
    hand, _ = detect.choose(Detected((left, unknown), (Detection(box),)), "right")
    assert (hand.score, hand.side) == (0.5, "right")
    assert detect.choose(Detected((unknown,), (Detection(box),)))[0].side is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, 9, 2), "sides 0 .left. or 1 .right."),
        ((0, 5, 7), "states 0 to 4"),
        ((0, 2, 5), "left < right"),
        ((0, 4, np.nan), r"finite numbers \(n, 10\)"),
        ((0, 7, 1e300), r"finite numbers \(n, 10\)"),  # its square is none
    ],
)
def test_doh100_wrong_values(tmp_path, change, message):
    hands = HAND_ROWS.copy()
    hands[change[0], change[1]] = change[2]
    options = save_doh100(tmp_path, "npz", hands=hands)
    with pytest.raises(BridgeError, match=message) as caught:
        create("detector", "doh100", **options)(PHOTO, "mug")
    assert options["path"] in str(caught.value)


def test_doh100_wrong_files(tmp_path):
    np.savez(tmp_path / "nine.npz", hand_dets=HAND_ROWS[:, :9], obj_dets=OBJECT_ROWS)
    np.savez(tmp_path / "pickled.npz", hand_dets=HAND_ROWS, obj_dets=np.array(None, object))
    np.savez(tmp_path / "names.npz", hands=HAND_ROWS)
    np.savez(tmp_path / "none.npz", hand_dets=HAND_ROWS, obj_dets=np.empty((0, 10)))
    np.savez(tmp_path / "complex.npz", hand_dets=HAND_ROWS * 1j, obj_dets=OBJECT_ROWS)
    (tmp_path / "uneven.json").write_text(json.dumps({"hand_dets": [HAND_ROWS[0].tolist(), [1]]}))
    (tmp_path / "null.json").write_text(json.dumps({"hand_dets": None, "obj_dets": OBJECT_ROWS.tolist()}))
    for name, message in {
        "nine.npz": r"expected finite numbers \(n, 10\), got float64 \(3, 9\)",
        "pickled.npz": "pickled file",
        "complex.npz": r"expected finite numbers \(n, 10\), got complex128",
        "uneven.json": r"expected finite numbers \(n, 10\), got list",
        "names.npz": "expected hand_dets and obj_dets, got keys hands",
        "none.npz": "expected a hand and an object in the picture, got 3 hands, 0 objects",
        "null.json": "got 0 hands, 2 objects",
        "absent.npz": "cannot be read",
    }.items():
        with pytest.raises(BridgeError, match=message):
            create("detector", "doh100", path=str(tmp_path / name))(PHOTO, "mug")
    with pytest.raises(ConfigError, match=r"or two \.npy files"):
        create("detector", "doh100", path="hands.npy")(PHOTO, "mug")
    with pytest.raises(ConfigError, match=r"hands\.pkl"):
        create("detector", "doh100", path="hands.pkl")(PHOTO, "mug")


@pytest.mark.parametrize(("name", "detector"), [("a.npz", "doh100"), ("a.json", "doh100"), ("a.json", "manual")])
def test_a_pipe_and_a_folder_are_no_detections(tmp_path, name, detector):
    for make, came in ((os.mkfifo, "a pipe"), (Path.mkdir, "a folder")):
        make(tmp_path / name)
        with pytest.raises(BridgeError, match=f"{name}: cannot be read .expected .*, came {came}") as caught:
            create("detector", detector, path=str(tmp_path / name))(PHOTO, "mug")
        assert "\n" not in str(caught.value)
        (tmp_path / name).rmdir() if (tmp_path / name).is_dir() else (tmp_path / name).unlink()


def test_manual_gives_what_was_written(tmp_path):
    file = tmp_path / "boxes.json"
    hands = [{"box": [1.5, 2, 30, 40], "side": "left", "score": 0.5}, {"box": [50, 2, 400, 300]}]
    file.write_text(json.dumps({"hands": hands, "objects": [{"box": [5, 5, 9, 9], "label": "lid"}]}))
    manual = create("detector", "manual", path=str(file))
    found = manual(PHOTO, "mug")
    assert [(hand.side, hand.score) for hand in found.hands] == [(None, 1.0), ("left", 0.5)]
    np.testing.assert_array_equal(found.hands[1].box, [1.5, 2, 30, 40])
    assert found.objects[0].label == "lid"
    assert list(manual.provenance().weights) == ["boxes.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "expected JSON"),
        ("[" * 100_000, "expected JSON, got values nested deeper than 64"),
        ('{"hands": [], "hands": []}', "expected JSON, got the key 'hands' is there twice"),
        ('{"hands": [{"box": [1, 2, 3, Infinity]}]}', "expected JSON, got Infinity is not a number"),
        ('{"hands": [{"box": [1, 2, 3, 1' + "0" * 5000 + "]}]}", "is too large a whole number"),
        ("[]", r'expected {"hands": \[...\], "objects": \[...\]}, got list'),
        ('{"hand": []}', "got keys hand"),
        ('{"hands": {}}', "hands: expected a list"),
        ('{"hands": [{"side": "right"}]}', r"hands\[0\]: expected box"),
        ('{"hands": [{"box": [1, 2, 3]}]}', r"hands\[0\]: expected \[left, top, right, bottom\]"),
        ('{"hands": [{"box": [5, 2, 3, 9]}]}', "left < right"),
        ('{"hands": [{"box": [1, 2, 3, 9], "side": "Right"}]}', "side: expected left or right, got Right"),
        ('{"hands": [{"box": [1, 2, 3, 900]}]}', "expected boxes within 400 x 300 pixels"),
        ('{"objects": [{"box": [1, 2, 3, 9], "side": "left"}]}', "only hands have sides"),
        ('{"objects": [{"box": [1, 2, 3, 9]}]}', "got 0 hands, 1 objects"),
    ],
)
def test_manual_wrong_files(tmp_path, content, message):
    file = tmp_path / "boxes.json"
    file.write_text(content)
    with pytest.raises(BridgeError, match=message) as caught:
        create("detector", "manual", path=str(file))(PHOTO, "mug")
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["grounding-dino", "owlv2"])
def test_published_weights_find_the_tumbler(name):
    """The object's box is within an IoU of 0.5 of that of the mask traced by hand."""
    image, _, object_mask, _ = tumbler("tumbler_005")
    try:
        found = create("detector", name)(image, "tumbler")
    except BridgeUnavailable as error:
        pytest.skip(str(error))
    _, thing = detect.choose(found)
    assert box_iou(thing.box, mask_box(object_mask)) > 0.5
