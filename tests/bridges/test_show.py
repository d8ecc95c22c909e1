"""The overlay picture of a scene: what is in it is where it is in the scene."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fgs_bridges.segment import silhouette_mask
from fgs_bridges.show import HAND, MARGIN, OBJECT, VIEW, WIDEST, overlay, posed_vertices, show_scene, words_of
from fgs_jax.errors import SceneError
from fgs_jax.hands.files import load_hand_model, mirror_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.scene_files import load_scene
from fgs_jax.types import HandParams

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenes"


@pytest.fixture(scope="module")
def tumbler():
    return load_scene(EXAMPLES / "tumbler")


@pytest.fixture(scope="module")
def shown(tumbler):
    return overlay(tumbler)


def drawn(page: np.ndarray, scene) -> np.ndarray:
    """The part of the page that is the scene's picture."""
    height, width = scene.object_mask.shape
    scale = WIDEST / max(height, width)
    return page[MARGIN : MARGIN + round(scale * height), MARGIN : MARGIN + round(scale * width)]


def at(page, scene, x: float, y: float) -> tuple[int, ...]:
    scale = WIDEST / max(scene.object_mask.shape)
    return tuple(drawn(page, scene)[int(scale * y), int(scale * x)])


@pytest.mark.parametrize("name", ["tumbler", "tumbler_005", "tumbler_199"])
def test_pages_hold_picture_meshes_and_words(name):
    scene = load_scene(EXAMPLES / name)
    page = overlay(scene)
    assert page.dtype == np.uint8 and page.shape[1] == WIDEST + VIEW + 3 * MARGIN
    views = page[MARGIN : MARGIN + 3 * VIEW, WIDEST + 2 * MARGIN : WIDEST + 2 * MARGIN + VIEW].astype(int)
    for view in np.split(views, 3):
        blue = view[..., 2] > view[..., 0] + 60
        assert 0.1 < blue.mean() < 0.9


def test_a_keypoint_that_was_not_found_is_not_drawn(tumbler, shown):
    found = np.arange(21) != 8
    gap = np.where(found[:, None], tumbler.keypoints_2d, np.nan)
    page = overlay(replace(tumbler, keypoints_2d=gap, keypoint_confidence=1.0 * found))
    changed = np.argwhere((drawn(page, tumbler) != drawn(shown, tumbler)).any(axis=2))[:, ::-1]
    tip = tumbler.keypoints_2d[8] * WIDEST / max(tumbler.object_mask.shape)
    assert np.linalg.norm(changed - tip, axis=1).min() < 6
    assert (changed.min(axis=0) > np.minimum(tip, tumbler.keypoints_2d[7] * WIDEST / 640) - 12).all()


def test_masks_are_tinted_where_they_are_and_the_rest_is_the_photo(tumbler, shown):
    height, width = tumbler.object_mask.shape
    picture = drawn(shown, tumbler).astype(float)
    photo = np.array(Image.fromarray(tumbler.image).resize(picture.shape[1::-1], Image.Resampling.BICUBIC), float)
    outside = ~(tumbler.object_mask | tumbler.hand_mask)
    columns = np.floor((np.arange(picture.shape[1]) + 0.5) * width / picture.shape[1]).astype(int)
    rows = np.floor((np.arange(picture.shape[0]) + 0.5) * height / picture.shape[0]).astype(int)
    assert (picture == photo)[outside[np.ix_(rows, columns)]].mean() > 0.99
    # A pixel far from outline and keypoints takes 35 % of the tint.
    for x, y, colour in ((75, 250, OBJECT), (550, 200, HAND)):
        scale = WIDEST / width
        seen, was = picture[int(scale * y), int(scale * x)], photo[int(scale * y), int(scale * x)]
        np.testing.assert_allclose(seen, was + 0.35 * (np.array(colour) - was), atol=1)


def test_outlines_keypoints_and_boxes_are_drawn_in_their_colours(tumbler):
    boxed = replace(tumbler, hand_box=np.array([150.0, 205, 340, 330]), object_box=np.array([20.0, 160, 320, 430]))
    page = overlay(boxed)
    assert at(page, boxed, 450, 205.4) == HAND or at(page, boxed, 340, 260) == HAND
    assert at(page, boxed, 320, 400) == OBJECT
    index_tip, wrist = boxed.keypoints_2d[8], boxed.keypoints_2d[0]
    assert at(page, boxed, *index_tip) == (240, 190, 40) and at(page, boxed, *wrist) == (255, 255, 255)
    unsure = replace(boxed, keypoint_confidence=np.where(np.arange(21) == 8, 0.0, 1.0))
    assert at(overlay(unsure), unsure, *index_tip) != (240, 190, 40)


def test_posed_hand_is_drawn_over_the_photo_where_its_camera_sees_it(tumbler):
    tumbler = replace(tumbler, keypoints_2d=None)
    model = load_hand_model("open_hand")
    params = HandParams(translation=jnp.array([-0.05, 0.02, 0.6]))
    vertices, faces = np.asarray(jax.jit(hand)(model, params).vertices, float), np.asarray(model.faces)
    posed = replace(tumbler, hand_params=params)
    given = replace(tumbler, hand_vertices=vertices, hand_faces=faces)
    page = overlay(posed)
    np.testing.assert_array_equal(drawn(page, posed), drawn(overlay(given), given))
    changed = (drawn(page, posed) != drawn(overlay(tumbler), tumbler)).any(axis=2)
    scale = WIDEST / 640
    K = np.array([[560 * scale, 0, 320 * scale], [0, 560 * scale, 240 * scale], [0, 0, 1]])
    expected = silhouette_mask(vertices, faces, K, changed.shape)
    assert (changed & expected).sum() / (changed | expected).sum() > 0.97
    assert any("parameters (open_hand)" in line for line in words_of(posed))


def test_left_parameters_pose_the_mirrored_right_hand(tumbler):
    model = load_hand_model("open_hand")
    params = HandParams(translation=jnp.array([0.0, 0.0, 0.5]))
    left = replace(tumbler, side="left", hand_params=params)
    posed = posed_vertices(left)
    assert posed is not None
    vertices, faces = posed
    expected = jax.jit(hand)(mirror_hand_model(model), params).vertices
    np.testing.assert_allclose(vertices, expected, atol=1e-6)
    assert faces.shape == model.faces.shape


def test_a_hand_model_that_is_not_here_is_said(tumbler, monkeypatch):
    monkeypatch.delenv("FGS_MANO_DIR", raising=False)
    params = HandParams(translation=jnp.array([0.0, 0.0, 0.5]))
    mano = replace(tumbler, hand_params=params, hand_model="mano")
    assert posed_vertices(mano) is None
    assert overlay(mano).shape[0] > overlay(tumbler).shape[0]


def test_words(tumbler):
    words = "\n".join(words_of(tumbler))
    assert "right hand: 21 keypoints, world landmarks" in words
    assert "object: travel tumbler, 77 x 77 x 200 mm, 2432 faces, watertight" in words
    assert "picture: 640 x 480; focal length 560.0 560.0 px, principal point 320.0 240.0" in words
    unknown = replace(tumbler, object=replace(tumbler.object, size="unknown"))
    assert any("of unknown size, 0.077 x 0.077 x 0.2 in its own units" in line for line in words_of(unknown))


def test_scenes_without_a_picture_and_with_one_of_the_object(tumbler):
    bare = replace(tumbler, image=None, keypoints_2d=None, world_landmarks=None)
    assert at(overlay(bare), bare, 600, 450) == (128, 128, 128)
    alone = np.full((300, 200, 3), 77, np.uint8)
    page = overlay(replace(tumbler, object_image=alone))
    column = page[:, WIDEST + 2 * MARGIN :]
    assert (column == 77).all(axis=2).sum() > 260 * 100


def test_files_are_whole_and_never_replaced_unasked(tumbler, tmp_path):
    out = tmp_path / "new" / "scene.png"
    show_scene(tumbler, out)
    first = np.array(Image.open(out))
    assert first.shape[2] == 3 and [path.name for path in out.parent.iterdir()] == ["scene.png"]
    with pytest.raises(SceneError, match=r"scene\.png: is there already; give another --out, or --overwrite"):
        show_scene(tumbler, out)
    show_scene(tumbler, out, overwrite=True)
    with pytest.raises(SceneError, match=r"expected the name of a PNG file; end it with \.png"):
        show_scene(tumbler, tmp_path / "scene.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(SceneError, match="cannot be written"):
        show_scene(tumbler, tmp_path / "file" / "scene.png")
