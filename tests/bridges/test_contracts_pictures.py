"""What holds for every detector and every segmenter, by name."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fgs_bridges.registry import BACKENDS, create
from fgs_bridges.types import Detected, Detection, Provenance
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from tests.bridges.tiny_vision import SAVERS, picture

torch = pytest.importorskip("torch", reason='pip install "fgs-jax[bridges]"')
transformers = pytest.importorskip("transformers", reason='pip install "fgs-jax[bridges]"')
pytest.importorskip("cv2", reason='pip install "fgs-jax[bridges]"')
transformers.utils.logging.set_verbosity_error()

DETECTORS = ["grounding-dino", "owlv2", "doh100", "manual"]
SEGMENTERS = ["sam2", "sam", "sam3", "grabcut", "file"]
LEARNT = {"grounding-dino": 3, "owlv2": 0, "sam2": 0, "sam": 0, "sam3": 0}
"""Back ends with weights, and the seed of tiny ones that find something."""
BOX = np.array([10.0, 8, 50, 40])
HAND = [10.0, 5, 30, 30, 0.9, 3, 0.01, 0.1, 0, 1]
OTHER_HAND = [40.0, 5, 60, 30, 0.8, 0, 0.0, 0, 0, 0]
THING = [25.0, 10, 45, 40, 0.7, 0, 0.0, 0, 0, 0]


def photo(seed: int = 0) -> np.ndarray:
    """A smooth picture with a red block in the box."""
    image = picture(48, 64, seed).copy()
    image[14:34, 18:42] = (250, 10, 20)
    image.flags.writeable = False
    return image


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: SAVERS[name](tmp_path_factory.mktemp(name), seed) for name, seed in LEARNT.items()}


@pytest.fixture
def detector(folders, tmp_path):
    """Makes a detector; those that read files find these hands and objects in them."""

    def make(name, hands=(HAND, OTHER_HAND), objects=(THING,), **options):
        if name in LEARNT:
            return create("detector", name, model=folders[name], device="cpu", **({"threshold": 0.0} | options))
        path = tmp_path / f"{name}.json"
        if name == "doh100":
            content = {"hand_dets": list(hands), "obj_dets": list(objects)}
        else:
            sides = ("left", "right")
            content = {
                "hands": [{"box": row[:4], "score": row[4], "side": sides[row[9]]} for row in hands],
                "objects": [{"box": row[:4], "score": row[4]} for row in objects],
            }
        path.write_text(json.dumps(content))
        return create("detector", name, path=str(path))

    return make


@pytest.fixture
def segmenter(folders, tmp_path):
    """Makes a segmenter; the one that reads a file finds this mask in it."""

    def make(name, mask=None):
        if name in LEARNT:
            options = {"text": "mug", "threshold": 0.0} if name == "sam3" else {}
            return create("segmenter", name, model=folders[name], device="cpu", **options)
        if name == "grabcut":
            return create("segmenter", name)
        inside = np.zeros((48, 64), np.uint8) if mask is None else mask.astype(np.uint8)
        if mask is None:
            inside[12:30, 15:40] = 1
        Image.fromarray(inside * 255).save(tmp_path / "mask.png")
        return create("segmenter", name, path=str(tmp_path / "mask.png"))

    return make


def one_line(caught, name):
    """The error is one line, of the back end, that says what was expected and what came."""
    line = str(caught.value)
    assert "\n" not in line and line.startswith(f"{name}: ")
    assert "expected" in line and "got" in line


def test_every_back_end_is_tested():
    assert sorted(BACKENDS["detector"]) == sorted(DETECTORS)
    assert sorted(BACKENDS["segmenter"]) == sorted(SEGMENTERS)


@pytest.mark.parametrize("name", DETECTORS)
def test_detections(detector, name):
    image = photo()
    before = image.copy()
    found = detector(name)(image, "travel tumbler")
    np.testing.assert_array_equal(image, before)
    assert isinstance(found, Detected) and found.hands and found.objects
    for entries in (found.hands, found.objects):
        scores = [entry.score for entry in entries]
        assert scores == sorted(scores, reverse=True)
        for entry in entries:
            assert isinstance(entry, Detection) and entry.box.shape == (4,) and entry.box.dtype == float
            left, top, right, bottom = entry.box
            assert 0 <= left < right <= 64 and 0 <= top < bottom <= 48
            assert 0 <= entry.score <= 1 and isinstance(entry.score, float)
    assert all(entry.side is None and entry.contact is None for entry in found.objects)
    # Nobody guesses left and right.
    sides = {entry.side for entry in found.hands}
    assert sides == ({None} if name in LEARNT else {"right", "left"})
    assert {entry.label for entry in found.hands} == {"hand"}
    assert {entry.label for entry in found.objects} == {"object" if name == "doh100" else "travel tumbler"}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_repeat_themselves(detector, name):
    first, again, new = detector(name), detector(name), photo(seed=1)
    one = first(photo(), "travel tumbler")
    first(new, "travel tumbler")
    for other in (first(photo(), "travel tumbler"), again(photo(), "travel tumbler")):
        for ours, theirs in ((one.hands, other.hands), (one.objects, other.objects)):
            assert [(*entry.box, entry.score) for entry in ours] == [(*entry.box, entry.score) for entry in theirs]


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("absent", ["hands", "objects"])
def test_nothing_found(detector, name, absent):
    options = {"threshold": 1.0} if name in LEARNT else {absent: ()}
    with pytest.raises(
        BridgeError, match=r"expected a hand and an object in the picture, got \d hands, \d objects"
    ) as e:
        detector(name, **options)(photo(), "travel tumbler")
    one_line(e, name)


@pytest.mark.parametrize("name", DETECTORS)
def test_two_hands(detector, name):
    """Both are given; which is meant is for `choose` and the user to say."""
    found = detector(name, **({"overlap": 1.0} if name in LEARNT else {}))(photo(), "travel tumbler")
    assert len(found.hands) >= 2


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_of_one_pixel(detector, name):
    """A picture of one pixel has no hand, or one as big as it; nothing else happens."""
    try:
        found = detector(name)(np.full((1, 1, 3), 128, np.uint8), "travel tumbler")
    except BridgeError as error:
        assert "\n" not in str(error) and str(error).startswith(f"{name}: ")
    else:
        assert name in LEARNT
        assert all((entry.box >= 0).all() and (entry.box <= 1).all() for entry in (*found.hands, *found.objects))


WRONG_PICTURES = {
    "floats": photo().astype(np.float32),
    "grey": photo()[..., 0],
    "transparent": np.zeros((8, 8, 4), np.uint8),
    "empty": np.zeros((0, 8, 3), np.uint8),
    "Pillow": Image.fromarray(photo()),
}


@pytest.mark.parametrize("wrong", WRONG_PICTURES)
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_refuse_wrong_pictures(detector, name, wrong):
    with pytest.raises(BridgeError, match="image: expected") as caught:
        detector(name)(WRONG_PICTURES[wrong], "travel tumbler")
    one_line(caught, name)


@pytest.mark.parametrize("wrong", WRONG_PICTURES)
@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_refuse_wrong_pictures(segmenter, name, wrong):
    with pytest.raises(BridgeError, match="image: expected") as caught:
        segmenter(name)(WRONG_PICTURES[wrong], box=BOX)
    one_line(caught, name)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in BACKENDS for name in BACKENDS[kind] if name in LEARNT]
)
def test_unknown_model_offline(kind, name):
    options = {"text": "mug"} if name == "sam3" else {}
    made = create(kind, name, model="nobody/nothing", **options)
    with pytest.raises(BridgeUnavailable, match=r"nobody/nothing: .*: `hf download nobody/nothing`") as caught:
        made(photo(), "travel tumbler") if kind == "detector" else made(photo(), box=BOX)
    one_line(caught, name)


@pytest.mark.parametrize("name", sorted(set(DETECTORS + SEGMENTERS) - set(LEARNT) - {"grabcut"}))
def test_files_are_asked_for_and_named(name):
    kind = "detector" if name in DETECTORS else "segmenter"
    with pytest.raises(ConfigError, match=f"{name}: path: expected a .*file, got none: give the option path"):
        create(kind, name)
    path = "nowhere/nothing.png" if kind == "segmenter" else "nowhere/nothing.json"
    made = create(kind, name, path=path)
    with pytest.raises(BridgeError, match=f"{name}: {path}: ") as caught:
        made(photo(), "travel tumbler") if kind == "detector" else made(photo(), box=BOX)
    assert "\n" not in str(caught.value)
    assert made.provenance().weights == {}


@pytest.mark.parametrize("name", SEGMENTERS)
def test_masks(segmenter, name):
    image = photo()
    before = image.copy()
    mask = segmenter(name)(image, box=BOX)
    np.testing.assert_array_equal(image, before)
    assert isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == (48, 64) and mask.any()


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_repeat_themselves(segmenter, name):
    first, again = segmenter(name), segmenter(name)
    one = first(photo(), box=BOX)
    if name != "file":
        first(photo(seed=1), box=BOX + 2)
    np.testing.assert_array_equal(one, first(photo(), box=BOX))
    np.testing.assert_array_equal(one, again(photo(), box=BOX))


@pytest.mark.parametrize("name", [name for name in SEGMENTERS if name != "sam3"])
def test_points(segmenter, name):
    """Inside and outside; without labels all are inside."""
    points = np.array([[20.0, 20], [38, 30]])
    made = segmenter(name)
    inside = made(photo(), box=BOX, points=points, point_labels=np.array([1, 1]))
    np.testing.assert_array_equal(inside, made(photo(), box=BOX, points=points))
    both = made(photo(), box=BOX, points=points, point_labels=np.array([1, 0]))
    assert both.shape == inside.shape and (name == "file") == np.array_equal(both, inside)
    for wrong, labels, message in (
        (points[:, :1], None, r"expected \(n, 2\) finite numbers and n labels"),
        (points, np.array([1]), r"got \(2, 2\) and \(1,\)"),
        (points, np.array([1, 2]), r"expected 1 \(inside\) or 0 \(outside\), got \[1, 2\]"),
        (None, np.array([1]), "expected points with them, got none"),
    ):
        with pytest.raises(BridgeError, match=message) as caught:
            made(photo(), box=BOX, points=wrong, point_labels=labels)
        one_line(caught, name)


@pytest.mark.parametrize("box", [[1, 2, 3], [5, 5, 5, 9], [np.nan, 0, 5, 5], [100, 0, 120, 10]])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_refuse_wrong_boxes(segmenter, name, box):
    with pytest.raises(BridgeError, match="box: expected") as caught:
        segmenter(name)(photo(), box=np.array(box, float))
    one_line(caught, name)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_empty_mask(segmenter, name):
    """A model that sees nothing, a box that is all outside, a black file."""
    made = segmenter(name, mask=np.zeros((48, 64), bool))
    if name == "grabcut":
        outside = {"points": np.array([[30.0, 24]]), "point_labels": np.array([0])}
        with pytest.raises(BridgeError, match="expected some background about it, got nothing") as caught:
            made(photo(), box=np.array([29.5, 23.5, 30.5, 24.5]), **outside)
        one_line(caught, name)
        return
    if name in LEARNT:
        made(photo(), box=BOX)
        nothing = SimpleNamespace(
            pred_masks=torch.full((1, 1, 3, 16, 16) if name != "sam3" else (1, 1, 16, 16), -10.0),
            iou_scores=torch.ones((1, 1, 3)),
            pred_logits=torch.ones((1, 1)),
            presence_logits=torch.ones((1, 1)),
            pred_boxes=torch.tensor([[[0.1, 0.1, 0.9, 0.9]]]),
        )
        model = made._parts[1] if name == "sam3" else made._model
        model.forward = lambda **_: nothing
    with pytest.raises(BridgeError, match="expected a mask, got an empty one") as caught:
        made(photo(), box=BOX)
    one_line(caught, name)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters_of_one_pixel(segmenter, name):
    """Either that pixel or one line."""
    made = segmenter(name, mask=np.ones((1, 1), bool))
    try:
        mask = made(np.full((1, 1, 3), 128, np.uint8), box=np.array([0.0, 0, 1, 1]))
    except BridgeError as error:
        assert "\n" not in str(error) and str(error).startswith(f"{name}: ")
    else:
        assert mask.tolist() == [[True]]


@pytest.mark.parametrize("name", DETECTORS + SEGMENTERS)
def test_provenance(detector, segmenter, name):
    kind = "detector" if name in DETECTORS else "segmenter"
    made = detector(name) if kind == "detector" else segmenter(name)
    made(photo(), "travel tumbler") if kind == "detector" else made(photo(), box=BOX)
    told = made.provenance()
    assert isinstance(told, Provenance) and told.backend == name
    assert "numpy" in told.versions and ("transformers" in told.versions) == (name in LEARNT)
    assert len(told.weights) == (name != "grabcut")
    assert all(len(sha256) == 64 for sha256 in told.weights.values())
    assert not any(option.startswith("_") for option in told.options)
    json.dumps(told.as_dict())
    if name in LEARNT:
        assert told.model == made.model and list(told.weights) == ["model.safetensors"]
        assert told.licence == ""  # not the published weights, of which the licence is known
