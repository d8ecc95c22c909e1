"""Photos to scenes: real frames and photos with traced masks and recorded landmarks, and every refusal in one line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fgs_bridges.config import Backends, generate_config
from fgs_bridges.estimates import of_side, read_estimate
from fgs_bridges.from_photo import Known, estimate_hand, find_masks, scene_from_photo
from fgs_bridges.geometry import camera_matrix, mask_box, mirror_estimate, project, rotation_matrices
from fgs_bridges.hands import write_hands
from fgs_bridges.types import Detection, HandEstimate, Mesh
from fgs_jax.errors import BridgeError, ConfigError, FgsError, MeshError, SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.scene_checks import check_scene
from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.types import HandParams

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenes"
DATA = Path(__file__).parents[3] / "shared" / "data"
FRAMES = {"tumbler": "tumbler_072", "tumbler_005": "tumbler_005", "tumbler_199": "tumbler_199"}
PHOTOS = ("C_04_24_007", "C_02_23_006", "C_02_42_005", "C_08_43_004", "C_02_16_006", "s01_phone_350")
needs_frames = pytest.mark.skipif(not (DATA / "tumbler").is_dir(), reason="needs ../shared/data/tumbler")
needs_photos = pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="needs ../shared/data/photos, not shipped")


@pytest.fixture(scope="module")
def tumbler():
    return load_scene(EXAMPLES / "tumbler")


@pytest.fixture(scope="module")
def given(tumbler):
    """All that a scene of the tumbler needs."""
    return {
        "object_name": "travel tumbler",
        "object_mesh": EXAMPLES / "tumbler" / "object.ply",
        "object_size": "metric",
        "hand_mask": tumbler.hand_mask,
        "object_mask": tumbler.object_mask,
        "estimate": seen(tumbler),
        "focal": 560.0,
    }


def scene_of(image, **inputs: Any) -> Any:
    options = {name: inputs.pop(name) for name in ("backends", "hand_mask_from", "seed") if name in inputs}
    return scene_from_photo(image, Known(**inputs), **options)


def seen(scene) -> HandEstimate:
    return HandEstimate(scene.side, keypoints_2d=scene.keypoints_2d, world_landmarks=scene.world_landmarks)


def posed(side: str = "right", focal: float = 560.0) -> Any:
    """The open hand before the tumbler's camera, with its own vertices."""
    model = load_hand_model("open_hand")
    parts = np.array([[0.4, -0.3, 2.0], [-0.17, 0.1, 0.5]])
    pose = 0.2 * np.ones((15, 3))
    params = HandParams(jnp.zeros(10), jnp.asarray(pose), jnp.asarray(parts[0]), jnp.asarray(parts[1]))
    vertices = np.asarray(jax.jit(hand)(model, params).vertices, float)
    estimate = HandEstimate(
        "right",
        K=camera_matrix(focal, 640, 480),
        pose=rotation_matrices(pose),
        rotation=rotation_matrices(parts[0]),
        translation=parts[1],
        betas=np.zeros(10),
        vertices=vertices,
        faces=np.asarray(model.faces),
        hand_model="open_hand",
    )
    return estimate if side == "right" else mirror_estimate(estimate, 640)


def stack(**values) -> Backends:
    return Backends(generate_config(values))


def photo_backends(folder: Path, name: str, tmp_path: Path) -> Backends:
    """Boxes, masks, landmarks and mesh of a photo, by the back ends that read files."""
    entry = json.loads((folder / "meta.json").read_text())[name]
    masks = {kind: np.array(Image.open(folder / f"{name}_{kind}_mask.png")) > 127 for kind in ("hand", "object")}
    boxes = {f"{kind}s": [{"box": mask_box(mask).tolist()}] for kind, mask in masks.items()}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    mesh = entry.get("object_mesh", "../../../main/examples/scenes/tumbler/object.ply")
    mesh = next(
        (path for base in (folder, folder.parent) if (path := base / mesh).exists()),
        EXAMPLES / "tumbler" / "object.ply",
    )
    return stack(
        detector={"backend": "manual", "path": str(tmp_path / "boxes.json")},
        segmenter={"backend": "file", "path": str(folder / f"{name}_hand_mask.png")},
        object_segmenter={"backend": "file", "path": str(folder / f"{name}_object_mask.png")},
        hand={"backend": "mediapipe", "landmarks": str(folder / "meta.json"), "entry": name},
        object={"backend": "file", "path": str(mesh)},
    )


@needs_frames
@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_s_files_give_the_shipped_scene(name, tmp_path):
    """Boxes, masks, recorded MediaPipe landmarks and mesh, all through back ends."""
    folder, shipped = DATA / "tumbler", load_scene(EXAMPLES / name)
    meta = json.loads((folder / "meta.json").read_text())[FRAMES[name]]
    image = np.array(Image.open(folder / f"{FRAMES[name]}.png").convert("RGB"))
    scene = scene_of(
        image,
        object_name=meta["object"],
        object_size="metric",
        K=np.array(meta["K_assumed"]),
        backends=photo_backends(folder, FRAMES[name], tmp_path),
        prompt=meta["prompt"],
    )
    for part in ("image", "hand_mask", "object_mask", "keypoints_2d"):
        np.testing.assert_array_equal(getattr(scene, part), getattr(shipped, part))
    shapes = [
        points - points.mean(axis=0) for points in map(np.asarray, (scene.world_landmarks, shipped.world_landmarks))
    ]
    np.testing.assert_allclose(*(shape / shape.std() for shape in shapes), atol=1e-6)  # true up to place and size
    np.testing.assert_array_equal(np.asarray(scene.camera.focal), np.asarray(shipped.camera.focal))
    np.testing.assert_allclose(scene.object.vertices, shipped.object.vertices, atol=1e-9)
    assert (scene.side, scene.prompt, scene.object.size) == (shipped.side, shipped.prompt, "metric")
    np.testing.assert_array_equal(scene.object_box, mask_box(shipped.object_mask))
    made = {kind: scene.provenance[kind]["backend"] for kind in ("boxes", "hand", "object")}
    assert made == {"boxes": "manual", "hand": "mediapipe", "object": "file"}
    assert scene.provenance["masks"]["hand"]["backend"] == scene.provenance["masks"]["object"]["backend"] == "file"
    assert (scene.provenance["camera"], scene.provenance["K_source"]) == ("given", "calibrated")
    save_scene(scene, tmp_path / "scene")
    assert load_scene(tmp_path / "scene").provenance == scene.provenance


@needs_photos
@pytest.mark.parametrize("name", PHOTOS)
def test_photos_give_scenes_of_the_side_that_they_show(name, tmp_path):
    folder = DATA / "photos"
    entry = json.loads((folder / "meta.json").read_text())[name]
    image = np.array(Image.open(folder / f"{name}.png").convert("RGB"))
    K = np.array(entry["K_focal480"], float)
    K[:2, 2] += 0.5  # integer pixel centres
    scene = scene_of(image, object_name=entry["category"], K=K, backends=photo_backends(folder, name, tmp_path))
    check_scene(scene)
    assert scene.side == entry["appearance_hand"] and scene.object.size == "unknown"
    np.testing.assert_array_equal(scene.keypoints_2d, entry["mediapipe"][0]["landmarks_px"])
    np.testing.assert_allclose(np.asarray(scene.camera.principal), K[:2, 2], atol=1e-4)
    save_scene(scene, tmp_path / "scene")


def test_what_is_given_is_used_and_said(tumbler, given):
    scene = scene_of(tumbler.image, **given, prompt="a hand drinks")
    assert scene.provenance == {
        "image": "given",
        "hand": "given",
        "masks": "given",
        "object": {"file": "object.ply", "sha256": scene.provenance["object"]["sha256"]},
        "camera": "focal length of 560 px given; the principal point is assumed in the middle",
        "K_source": "calibrated",
    }
    assert scene.hand_box is None and scene.object_box is None
    np.testing.assert_array_equal(scene.keypoints_2d, tumbler.keypoints_2d)
    np.testing.assert_array_equal(np.asarray(scene.camera.principal), [320, 240])


def test_camera_is_the_hand_s_else_an_assumed_one_that_is_said(tumbler, given):
    without = {name: value for name, value in given.items() if name != "focal"}
    scene = scene_of(tumbler.image, **without)
    np.testing.assert_allclose(np.asarray(scene.camera.focal), 1.2 * 640)
    assert scene.provenance["camera"].startswith("assumed: focal length of 768 px, 1.2 longer sides")
    assert "K_source" not in scene.provenance
    with_camera = without | {"estimate": replace(given["estimate"], K=camera_matrix(700.0, 640, 480))}
    scene = scene_of(tumbler.image, **with_camera)
    np.testing.assert_allclose(np.asarray(scene.camera.focal), 700)
    assert scene.provenance["camera"] == "that of the hand's tool" and "K_source" not in scene.provenance
    lost = without | {"estimate": replace(posed(), K=None)}
    with pytest.raises(
        BridgeError, match="camera: expected the one that the hand is posed for, got none; give --focal"
    ):
        scene_of(tumbler.image, **lost)


@pytest.mark.parametrize("side", ["right", "left"])
def test_another_camera_sees_the_hand_in_the_same_place(tumbler, given, side):
    """HaMeR's far camera replaced by one with its principal point elsewhere; exact in weak perspective."""
    far = posed(side, focal=12500.0)
    away = np.array([0.0, 0.0, 0.5 * (12500 / 560 - 1)])
    far = replace(far, translation=far.translation + away, vertices=far.vertices + away)
    K = np.array([[560.0, 0, 300], [0, 560, 250], [0, 0, 1]])
    inputs = given | {"estimate": far, "K": K, "focal": None}
    scene = scene_of(tumbler.image, **inputs)
    before = project(far.K, far.vertices)
    after = project(K, scene.hand_vertices)
    extent = np.ptp(before, axis=0).max()
    assert np.abs(before.mean(axis=0) - after.mean(axis=0)).max() < 0.1 * extent
    assert abs(np.ptp(after, axis=0).max() / extent - 1) < 0.15
    assert scene.side == side and abs(scene.hand_vertices[:, 2].mean() - 0.5) < 0.06
    moved = np.asarray(scene.hand_params.translation) - far.translation
    np.testing.assert_allclose(
        scene.hand_vertices - far.vertices, np.broadcast_to(moved, far.vertices.shape), atol=1e-5
    )


@pytest.mark.parametrize("side", ["right", "left"])
def test_parameters_are_compared_with_their_tool_s_mesh(tumbler, given, side):
    estimate = posed(side)
    scene = scene_of(tumbler.image, **given | {"estimate": estimate, "focal": None})
    assert scene.hand_model == "open_hand" and scene.hand_params is not None
    assert scene.provenance["hand"].startswith("given; our layer is ") and scene.provenance["hand"].endswith("at most")
    wrong = replace(estimate, rotation=estimate.rotation @ rotation_matrices(np.array([0.3, 0, 0])))
    with pytest.raises(BridgeError, match=r"check_hand: expected our layer within 1 mm of the tool's own vertices"):
        scene_of(tumbler.image, **given | {"estimate": wrong, "focal": None})


def test_a_hand_without_a_mesh_is_posed_by_our_layer(tumbler, given):
    estimate = posed("left")
    scene = scene_of(tumbler.image, **given | {"estimate": replace(estimate, vertices=None, faces=None), "focal": None})
    np.testing.assert_allclose(scene.hand_vertices, estimate.vertices, atol=1e-5)


def test_hand_mask_from_the_posed_hand_leaves_the_object_in_front(tumbler, given):
    estimate = posed()
    inputs = given | {"estimate": estimate, "hand_mask": None, "hand_mask_from": "silhouette", "focal": None}
    scene = scene_of(tumbler.image, **inputs, hand_box=np.array([10.0, 10, 630, 470]))
    assert not (scene.hand_mask & scene.object_mask).any()
    np.testing.assert_array_equal(scene.object_mask, tumbler.object_mask)
    assert scene.provenance["masks"] == {"object": "given", "hand": "silhouette of the posed hand"}
    pixels = np.floor(project(estimate.K, estimate.vertices)).astype(int)
    inside = ((pixels >= 0) & (pixels < [640, 480])).all(axis=1)
    covered = (scene.hand_mask | tumbler.object_mask)[tuple(pixels[inside].T[::-1])]
    assert covered.mean() > 0.9
    keypoints = {"estimate": seen(tumbler), "hand_mask": None, "hand_mask_from": "silhouette"}
    with pytest.raises(BridgeError, match="hand mask: expected a posed hand for its silhouette, got none"):
        scene_of(tumbler.image, **given | keypoints)


def test_grabcut_is_shown_the_hand_s_keypoints(tumbler, given):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "fgs-jax[bridges]"')
    made = find_masks(
        tumbler.image,
        np.array([140.0, 190, 350, 340]),
        mask_box(tumbler.object_mask),
        seen(tumbler),
        backends=stack(segmenter="grabcut"),
    )
    assert not (made.hand & made.object).any()
    near = np.zeros_like(made.hand)
    near[190:340, 140:350] = True
    for mask, truth in ((made.hand, tumbler.hand_mask & near), (made.object, tumbler.object_mask)):
        assert (mask & truth).sum() / (mask | truth).sum() > 0.5
    assert made.provenance["hand"]["backend"] == "grabcut"


def test_given_masks_keep_their_pixels(tumbler, tmp_path):
    thing = tumbler.object_mask.copy()
    thing[:, 200:] = False
    whole = tumbler.object_mask | tumbler.hand_mask
    Image.fromarray(255 * whole.astype(np.uint8)).save(tmp_path / "whole.png")
    backends = stack(segmenter={"backend": "file", "path": str(tmp_path / "whole.png")})
    box = mask_box(whole)
    made = find_masks(tumbler.image, box, box, seen(tumbler), backends=backends, object_mask=thing)
    np.testing.assert_array_equal(made.object, thing)
    np.testing.assert_array_equal(made.hand, whole & ~thing)


def test_side_is_the_user_s_word_for_keypoints_only(tumbler, given):
    right = seen(tumbler)
    assert of_side(right, None) == (right, [])
    turned, notes = of_side(right, "left")
    assert turned.side == "left" and notes == ["the user says left, its tool right"]
    scene = scene_of(tumbler.image, **given, side="left")
    assert scene.side == "left" and scene.provenance["hand"] == "given; the user says left, its tool right"
    with pytest.raises(BridgeError, match="hand: expected a left hand, as was said, got the parameters of a right one"):
        of_side(posed(), "left")
    with pytest.raises(BridgeError, match="side: expected right or left from the hand's tool, got none"):
        of_side(replace(right, side=""), None)


def test_detector_and_hand_must_agree_on_the_side(tumbler, tmp_path):
    write_hands(tmp_path / "hand.json", [seen(tumbler)])
    reader = stack(hand={"backend": "file", "path": str(tmp_path / "hand.json")})["hand"]
    box = mask_box(tumbler.hand_mask)
    found, _ = estimate_hand(tumbler.image, Detection(box, side="right"), None, reader)
    assert found.side == "right"
    with pytest.raises(BridgeError, match="side: the detector says left, the hand's tool right; look at the picture"):
        estimate_hand(tumbler.image, Detection(box, side="left"), None, reader)
    found, notes = estimate_hand(tumbler.image, Detection(box, side="left"), "left", reader)
    assert found.side == "left" and notes


def test_nobody_tells_the_side(tumbler, given):
    """HaMeR needs a side, and neither a manual box nor the user gives one."""
    from fgs_bridges.hamer import check_sides

    def hamer(image, hands):
        check_sides(hands, "hamer")

    with pytest.raises(BridgeError, match="hamer: expected the side of every hand, right or left, got None for box 0"):
        scene_of(tumbler.image, **given | {"estimate": None}, backends={"hand": hamer})


def test_of_a_file_with_two_hands_the_side_chooses(tumbler, tmp_path):
    path = tmp_path / "hands.json"
    write_hands(path, [seen(tumbler), replace(seen(tumbler), side="left", score=0.5)])
    assert read_estimate(path, tumbler.image, "left").score == 0.5
    with pytest.raises(BridgeError, match="expected one right or left hand, got 2; say --side, or keep one"):
        read_estimate(path, tumbler.image)


def test_of_a_file_that_does_not_say_the_user_says(tumbler, tmp_path):
    path = tmp_path / "hand.json"
    path.write_text(json.dumps({"keypoints_2d": tumbler.keypoints_2d.tolist()}))
    with pytest.raises(BridgeError, match='expected side "right" or "left", got none: say which hand it is'):
        read_estimate(path, tumbler.image)
    assert read_estimate(path, tumbler.image, "left").side == "left"


def test_a_generated_mesh_is_of_unknown_size_unless_the_user_says_metric(tumbler, given):
    rng = np.random.default_rng(0)
    mesh = Mesh(np.asarray(tumbler.object.vertices) * 7, np.asarray(tumbler.object.faces))
    inputs = {name: value for name, value in given.items() if name != "object_size"} | {"object_mesh": mesh}
    scene = scene_of(tumbler.image, **inputs)
    assert scene.object.size == "unknown" and scene.provenance["object"] == "given"
    assert scene_of(tumbler.image, **inputs, object_size="metric").object.size == "metric"
    for word in ("solid", "sheet"):
        assert scene_of(tumbler.image, **inputs, object_surface=word).object.surface == word
    huge = inputs | {"object_mesh": replace(mesh, vertices=mesh.vertices * 100 + rng.normal(size=3))}
    with pytest.raises(MeshError, match="expected an object of 5 mm to 3 m"):
        scene_of(tumbler.image, **huge, object_size="metric")


def test_back_ends_make_only_what_is_not_given(tumbler, given, tmp_path):
    """A back end that is not asked for is not made: these could not be."""
    backends = stack(
        detector={"backend": "manual", "path": "no such file"},
        segmenter={"backend": "file", "path": "none"},
        hand="hamer",
    )
    scene = scene_of(tumbler.image, **given, backends=backends)
    assert scene.provenance["masks"] == "given"


def refusals(tumbler, given):
    small = np.zeros_like(tumbler.hand_mask)
    return {
        "sides": ({"side": "both"}, ConfigError, "side: expected right or left, got both"),
        "size": ({"object_size": "mm"}, ConfigError, "object size: expected metric or unknown, got mm"),
        "surface": ({"object_surface": "hull"}, ConfigError, "object surface: expected auto, solid or sheet, got hull"),
        "two cameras": ({"K": np.eye(3)}, ConfigError, "camera: expected K or a focal length, got both; leave one out"),
        "focal": ({"focal": -5.0}, ConfigError, "focal: expected a positive number of pixels, got -5.0"),
        "box": ({"hand_box": np.array([9, 9, 3, 20])}, BridgeError, "hand box: expected left top right bottom"),
        "no detector": (
            {"object_mask": None},
            ConfigError,
            "detector: expected a back end, got none; name one, or give boxes",
        ),
        "no hand": ({"estimate": None}, ConfigError, "hand: expected a back end, got none; name one, or give a hand"),
        "no object": (
            {"object_mesh": None},
            ConfigError,
            "object: expected a back end, got none; name one, or give an",
        ),
        "no segmenter": (
            {"hand_mask": None, "hand_box": np.array([100.0, 100, 300, 300])},
            ConfigError,
            "segmenter: expected a back end, got none; name one, or give masks",
        ),
        "no mesh": ({"object_mesh": Path("no.obj")}, MeshError, "no.obj: expected a mesh file, there is none"),
        "empty mask": ({"hand_mask": small}, FgsError, "hand"),
        "same masks": ({"hand_mask": tumbler.object_mask}, SceneError, "object_mask and hand_mask are identical"),
        "size of masks": (
            {"hand_mask": tumbler.hand_mask[:-1]},
            BridgeError,
            "hand mask: expected booleans of the picture's size",
        ),
    }


@pytest.mark.parametrize("name", list(refusals(load_scene(EXAMPLES / "tumbler"), {})))
def test_refusals_are_one_line(name, tumbler, given):
    changes, kind, message = refusals(tumbler, given)[name]
    with pytest.raises(kind) as caught:
        scene_of(tumbler.image, **given | changes)
    assert message in str(caught.value) and "\n" not in str(caught.value)
