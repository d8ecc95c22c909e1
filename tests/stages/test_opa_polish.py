"""The polish: its first steps, and that it brings a pose back."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fgs_jax.picture.camera import project
from fgs_jax.picture.view import Similarity, masked_ious, picture_view, silhouette_in
from fgs_jax.stages import opa_polish
from fgs_jax.stages.opa_polish import nelder_mead, polished
from tests.mug_scene import mug_scene, rendered_mug


@pytest.fixture(scope="module")
def rendered():
    return rendered_mug()


@pytest.fixture(scope="module")
def scene():
    return mug_scene()


def test_the_polish_begins_with_a_turn_a_shift_and_a_size_of_the_reach(rendered, scene, monkeypatch):
    """About the object's middle: three degrees, 1.5 pixels, and 1.5 percent of its distance, times the reach."""
    view, drawn, given = picture_view(scene), [], silhouette_in

    def spy(view, pose):
        drawn.append(pose)
        return given(view, pose)

    monkeypatch.setattr(opa_polish, "silhouette_in", spy)
    truth = rendered.T_camera_object
    start = Similarity(truth[:3, :3], truth[:3, 3], 0.0)
    nelder_mead(start, view, scene, 4.0, 7)
    first, *others = drawn[:7]
    middle = scene.object.vertices.mean(axis=0)
    placed = [pose.rotation @ middle + pose.translation for pose in drawn[:7]]
    np.testing.assert_allclose(first.rotation, start.rotation)
    np.testing.assert_allclose(first.translation, start.translation, atol=1e-12)
    for axis, pose in enumerate(others[:3]):
        turn = Rotation.from_matrix(start.rotation.T @ pose.rotation).as_rotvec()
        np.testing.assert_allclose(turn, 0.2 * np.eye(3)[axis], atol=1e-9)
        np.testing.assert_allclose(placed[1 + axis], placed[0], atol=1e-12)
    pixels = np.asarray(project(scene.camera, jnp.asarray(np.array(placed), jnp.float32)), float)
    # A pixel is one at the depth of the object's origin, which is not quite that of its middle.
    nearer = float(start.translation[2]) / placed[0][2]
    np.testing.assert_allclose(pixels[4:6] - pixels[0], 6.0 * nearer * np.eye(2), atol=1e-3)
    np.testing.assert_allclose(placed[6], np.exp(0.06) * placed[0], rtol=1e-9)
    for pose in others[3:]:
        np.testing.assert_allclose(pose.rotation, start.rotation)


def test_the_polish_brings_a_shifted_pose_back(rendered, scene):
    view, truth = picture_view(scene), rendered.T_camera_object
    shifted = Similarity(truth[None, :3, :3], truth[None, :3, 3] + [0.004, -0.003, 0.0], np.zeros(1))
    settings = {"scene": scene, "reaches": (3.0, -2.0), "journal": None}
    before = masked_ious(view, shifted)[0]
    after = masked_ious(view, polished(shifted, view, evaluations=60, **settings))[0]
    assert after > before + 0.3 * (1 - before)
    assert polished(shifted, view, evaluations=0, **settings) is shifted
