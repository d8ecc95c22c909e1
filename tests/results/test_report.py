"""The report: its numbers and strings, its pictures, and that it is there whole or not."""

import base64
import io
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fgs_jax.config import FAST
from fgs_jax.hands.carry import axis_angle_params
from fgs_jax.hands.files import mirror_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.objects.mesh import load_object
from fgs_jax.picture.camera import project
from fgs_jax.picture.scene import Scene, mirrored
from fgs_jax.results import drawing
from fgs_jax.results import report as module
from fgs_jax.results.drawing import HAND, OBJECT
from fgs_jax.results.report import energy_curves, write_report
from fgs_jax.results.result import Candidate, ObjectPoses, Result, mirrored_result
from fgs_jax.testing import make_scene, open_hand
from fgs_jax.types import Grasp

SIZE = (480, 360)
NAME = "<b>&\"'"
POSED = jax.jit(hand)


@pytest.fixture(scope="module")
def result():
    """A rendered scene and its truth; before it, the hand 2 cm to the left; a second candidate, the object 3 cm off."""
    truth = make_scene("mug", 0, SIZE)
    mesh = load_object((truth.object_vertices, truth.object_faces), name=NAME)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8) + np.array([20, 160, 60], np.uint8)
    scene = Scene(
        truth.camera, truth.object_mask, truth.hand_mask, None, None, mesh, image, prompt='a <i>"mug"</i>, please'
    )
    T = truth.T_camera_object.astype(np.float32)
    pose = jnp.asarray(T[:3, :3]), jnp.asarray(T[:3, 3]), jnp.ones(())
    after = jax.tree.map(np.asarray, Grasp(axis_angle_params(truth.hand_params), *pose))
    shift = np.array([-0.02, 0, 0], np.float32)
    before = replace(after, hand=replace(after.hand, translation=after.hand.translation + shift))
    aside = replace(after, translation=after.translation - 1.5 * shift)
    posed = [jax.tree.map(lambda x: np.asarray(x, float), POSED(open_hand(), g.hand)) for g in (before, after)]
    poses = ObjectPoses(
        T[None, :3, :3], T[None, :3, 3], np.ones(1), np.ones(1), np.ones(1), {}, [np.ones((1, 5)), np.zeros((1, 3))],
        np.zeros(1, int), 0,
    )  # fmt: skip
    candidates = [
        Candidate(0, 0, 1.0625, 41.25, 0.875, 0.75, 108.75, after, posed[1].vertices),
        Candidate(2, 1, 0.9, 50.5, 0.5, 0.25, 315.5, aside, posed[1].vertices),
    ]
    return Result(
        scene=scene,
        camera=truth.camera,
        config=FAST,
        before=before,
        after=after,
        hand_vertices=(posed[0].vertices, posed[1].vertices),
        hand_faces=truth.hand_faces,
        hand_keypoints=(posed[0].keypoints, posed[1].keypoints),
        metrics=(
            {"masked_iou": 0.9125, "mpd_mm": 12.34567, "contact_ratio": 0.5, "siv_cm3": None, "hand_iou": 0.70001},
            {"masked_iou": 0.9025, "mpd_mm": 0.25, "contact_ratio": 0.25, "siv_cm3": 0.125, "hand_iou": 0.70002},
        ),
        scale={"k2D": 0.59362, "k3D": 0.80526, "k_scale": 1.35657},
        poses=poses,
        candidates=candidates,
        rivals=(),
        history=np.geomspace(100, 10, 20),
        terms={"dis": np.array([2.0, 1.0]), "pen": np.array([0.5, 0.0])},
        notes=("closed 3 holes <script>",),
        seconds={"hand": 1.234, "contact": 20.0},
    )


@pytest.fixture(scope="module")
def document(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(result, path)
    return path.read_text(encoding="utf-8")


def pictures(document):
    """By their captions."""
    found = re.findall(
        r'<img src="data:image/(jpeg|png);base64,([^"]+)" width="(\d+)" height="(\d+)" alt="([^"]*)"', document
    )
    decoded = {}
    for kind, code, width, height, caption in found:
        picture = Image.open(io.BytesIO(base64.b64decode(code)))
        assert picture.format == kind.upper() and picture.size == (int(width), int(height))
        decoded[caption] = np.asarray(picture.convert("RGB"), float)
    assert len(found) == len(decoded) == document.count("<img")
    return decoded


def rows(document, heading):
    section = re.search(rf"<h2>{heading}</h2>(.*?)</section>", document, re.DOTALL)
    assert section
    return [re.findall("<td>(.*?)</td>", line) for line in re.findall("<tr>(.*?)</tr>", section[1]) if "<td>" in line]


def test_numbers_stand_where_they_belong(document):
    measures = {cells[0]: cells[1:] for cells in rows(document, "Measures")}
    assert list(measures) == ["mpd_mm", "siv_cm3", "contact_ratio", "masked_iou", "hand_iou"]
    assert measures["mpd_mm"][:2] == ["12.346", "0.250 ✓"]
    assert measures["masked_iou"][:2] == ["0.912 ✓", "0.902"]
    assert measures["hand_iou"][:2] == ["0.700", "0.700"], "no digit that is shown is better"
    assert measures["siv_cm3"][:2] == ["–", "0.125"]
    assert measures["contact_ratio"] == ["0.500", "0.250", "share of the object&#x27;s area within 10 mm of the hand"]
    assert rows(document, "Scale") == [
        ["k2D", "0.5936"],
        ["k3D", "0.8053"],
        ["k_scale", "1.3566"],
        *([f"{what}, {when}", "1.0000"] for what in ("object", "hand") for when in ("before", "after")),
    ]
    assert rows(document, "Seconds") == [["hand", "1.23"], ["contact", "20.00"]]
    assert "size is known: k_scale is reported and not applied" in document
    assert "The winner is ahead by 206.75: 108.75 against 315.50." in document
    assert "Score = energy + 500 (1 - masked IoU) + 20 (1 - occlusion agreement)." in document
    for line in (
        "side: right",
        "opa.phases.2.steps: 60",
        "contact.w_pen: 1000.0",
        "restarts: 256",
        f"jax: {jax.__version__}",
    ):
        assert f"<p>{line}</p>" in document


def test_a_size_that_is_unknown_and_a_winner_without_rivals(result):
    alone = replace(
        result,
        scene=replace(result.scene, object=replace(result.scene.object, size="unknown")),
        candidates=result.candidates[:1],
        after=replace(result.after, scale=np.float32(2)),
    )
    assert "There was no other." in module._candidates(alone)
    assert "size is unknown: k_scale is what its scale starts from" in module._scale(alone)
    assert "<td>object, after</td><td>2.0000</td>" in module._scale(alone)


def test_strings_are_escaped(document):
    assert NAME not in document and "<h1>&lt;b&gt;&amp;&quot;&#x27;</h1>" in document
    assert "<title>&lt;b&gt;&amp;&quot;&#x27;: a refined grasp</title>" in document
    assert "<p>a &lt;i&gt;&quot;mug&quot;&lt;/i&gt;, please</p>" in document
    assert "<p>closed 3 holes &lt;script&gt;</p>" in document


def test_the_file_stands_alone(document):
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', document))
    for word in ("http:", "https:", "<script", "<link", "href", "@import", "url("):
        assert word not in document
    assert len(document) < 1_000_000


def test_pictures_have_their_sizes(document):
    sizes = [(picture.shape[1], picture.shape[0]) for picture in pictures(document).values()]
    assert sizes[:3] == [SIZE] * 3
    assert sizes[3:7] == [(3 * SIZE[0] // 4,) * 2] * 4
    assert sizes[7:11] == [(390, 260)] * 4
    assert [max(size) for size in sizes[11:13]] == [240, 240]
    assert sizes[13:] == [(520, 330)] * 3


def test_the_overlay_shows_each_thing_where_its_mask_is(result, document):
    drawn = pictures(document)
    before = next(picture for caption, picture in drawn.items() if caption.startswith("before"))
    after = next(picture for caption, picture in drawn.items() if caption.startswith("after"))
    red, green, blue = np.moveaxis(after, 2, 0)
    scene = result.scene
    for found, mask in (
        ((blue > red) & (blue > green), scene.object_mask),
        ((red > green) & (red > blue), scene.hand_mask),
    ):
        assert (found & mask).sum() > 0.97 * (found | mask).sum()
    far = ~(scene.object_mask | scene.hand_mask)
    far[:-8] &= far[8:]
    far[8:] &= far[:-8]
    far[:, :-8] &= far[:, 8:]
    far[:, 8:] &= far[:, :-8]
    assert far.mean() > 0.3
    assert np.abs(after[far] - [20, 160, 60]).max() < 4
    # 2 cm to the left.
    skin = [(p[..., 0] > p[..., 1]) & (p[..., 0] > p[..., 2]) for p in (before, after)]
    middle = [np.flatnonzero(mask.any(axis=0)).mean() for mask in skin]
    pixels = 0.02 * float(scene.camera.focal[0]) / result.hand_vertices[1][:, 2].mean()
    assert middle[0] - middle[1] == pytest.approx(-pixels, rel=0.2)


def test_without_a_picture_the_masks_are_drawn(result):
    scene = replace(result.scene, image=None)
    picture = drawing.photo_of(scene)
    for mask, colour in ((scene.object_mask, OBJECT), (scene.hand_mask, HAND)):
        np.testing.assert_array_equal(np.unique(picture[mask], axis=0), [np.rint(255 * np.array(colour))])
    np.testing.assert_array_equal(np.unique(picture[~(scene.object_mask | scene.hand_mask)], axis=0), [[128] * 3])
    assert next(iter(pictures(module._pictures(replace(result, scene=scene))))) == "masks"


def test_a_part_of_the_picture_is_seen_by_its_own_camera(result):
    frame = drawing.frame_of(result, (40.0, 20.0, 280.0, 140.0), 120)
    assert frame.background.shape == (60, 120, 3)
    points = jnp.asarray(result.hand_vertices[1], jnp.float32)
    np.testing.assert_allclose(
        project(frame.camera, points), (np.asarray(project(result.camera, points)) - [40, 20]) / 2, atol=1e-3
    )


def test_the_part_that_candidates_are_drawn_in_holds_the_pair(result):
    left, top, right, bottom = drawing.pair_box(result, result.scene.object)
    rows, columns = np.nonzero(result.scene.object_mask | result.scene.hand_mask)
    assert 0 <= left < columns.min() and columns.max() < right <= SIZE[0]
    assert 0 <= top < rows.min() and rows.max() < bottom <= SIZE[1]


def test_a_left_result_is_posed_by_a_left_model(result):
    left = replace(mirrored_result(result, SIZE[0]), scene=mirrored(result.scene))
    candidate = left.candidates[0]
    vertices = POSED(mirror_hand_model(open_hand()), candidate.grasp.hand).vertices
    np.testing.assert_allclose(vertices, candidate.hand_vertices, atol=1e-5)


def test_curves_hold_weighted_terms_and_all_phases(result):
    energy, terms, poses = energy_curves(result)
    np.testing.assert_array_equal(energy["energy"], [np.arange(20), result.history])
    assert list(terms) == ["100 × dis", "1000 × pen"]
    np.testing.assert_array_equal(terms["100 × dis"], [[0, 10], [200, 100]])
    np.testing.assert_array_equal(terms["1000 × pen"], [[0, 10], [500, 0]])
    assert list(poses) == ["pose 0"]
    np.testing.assert_array_equal(poses["pose 0"], [np.arange(8), [1, 1, 1, 1, 1, 0, 0, 0]])


def test_the_same_result_gives_the_same_file(result, document, tmp_path):
    write_report(result, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == document


def test_a_drawing_that_fails_leaves_the_former_file(result, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("former")
    with pytest.raises(IndexError):
        write_report(replace(result, hand_faces=result.hand_faces + 10**6), path)
    assert path.read_text() == "former" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(result, tmp_path):
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_report(result, path)
    assert list(tmp_path.iterdir()) == [path] and not list(path.iterdir())
