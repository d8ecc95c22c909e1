import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.camera import Z_NEAR, inverse_depth, project, silhouette
from fgs_jax.hand import hand
from fgs_jax.hand_files import load_hand_model
from fgs_jax.render import depth_map
from fgs_jax.types import Camera, HandParams

CAMERA = Camera(focal=jnp.array([500.0, 400.0]), principal=jnp.array([320.0, 240.0]))


def test_projects_with_opencv_axes():
    points = jnp.array([[0.0, 0.0, 2.0], [0.2, 0.0, 2.0], [0.0, 0.2, 2.0]])
    np.testing.assert_allclose(project(CAMERA, points), [[320, 240], [370, 240], [320, 280]])


def test_points_behind_the_camera_are_projected_from_the_near_plane():
    behind = jnp.array([[0.1, 0.1, -1.0], [0.1, 0.1, 0.0], [0.1, 0.1, Z_NEAR]])
    np.testing.assert_allclose(project(CAMERA, behind), [[5320, 4240]] * 3, rtol=1e-6)
    gradient = jax.grad(lambda p: project(CAMERA, p).sum())(behind)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[:2, 2], 0)


def posed_hand():
    model = load_hand_model("open_hand")
    params = HandParams(rotation=jnp.array([0.3, 1.0, 0.2]), translation=jnp.array([-0.05, 0.0, 0.6]))
    return hand(model, params).vertices, model.faces


PICTURE = Camera(focal=jnp.array([300.0, 310.0]), principal=jnp.array([64.0, 60.0]))
CENTRES = np.stack(np.meshgrid(np.arange(128) + 0.5, np.arange(120) + 0.5), axis=-1).reshape(-1, 2)


def test_depth_and_silhouette_equal_the_numpy_renderer():
    vertices, faces = posed_hand()
    pixels = jnp.asarray(CENTRES, jnp.float32)
    seen = np.asarray(jax.jit(inverse_depth)(PICTURE, vertices, faces, pixels)).reshape(120, 128)
    drawn = np.asarray(jax.jit(silhouette)(PICTURE, vertices, faces, pixels)).reshape(120, 128)
    expected = depth_map(PICTURE, (128, 120), vertices, faces)
    np.testing.assert_array_equal(drawn, seen > 0)
    assert (drawn != np.isfinite(expected)).sum() <= 2 and drawn.sum() > 1000
    both = drawn & np.isfinite(expected)
    np.testing.assert_allclose(1 / seen[both], expected[both], atol=1e-5)


def test_depth_equals_open3d_ray_casting():
    open3d = pytest.importorskip("open3d", reason="needs Open3D: pip install 'fgs-jax[open3d]'", exc_type=ImportError)
    vertices, faces = posed_hand()
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(np.asarray(vertices, np.float32), np.asarray(faces, np.uint32))
    rays = (CENTRES - np.asarray(PICTURE.principal)) / np.asarray(PICTURE.focal)
    directions = np.concatenate([np.zeros_like(rays), np.zeros((len(rays), 1)), rays, np.ones((len(rays), 1))], axis=1)
    expected = scene.cast_rays(open3d.core.Tensor(directions.astype(np.float32)))["t_hit"].numpy()
    seen = np.asarray(jax.jit(inverse_depth)(PICTURE, vertices, faces, jnp.asarray(CENTRES, jnp.float32)))
    covered = np.isfinite(expected)
    assert ((seen > 0) != covered).mean() < 1e-3
    errors = np.abs(1 / np.maximum(seen[covered], 1e-6) - expected[covered])
    assert (errors < 5e-4).mean() >= 0.99


def test_what_is_too_near_or_flat_is_not_drawn():
    square = jnp.array([[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
    faces = jnp.array([[0, 1, 2], [0, 2, 3], [0, 0, 1]])
    pixels = jnp.asarray(CENTRES, jnp.float32)
    assert silhouette(PICTURE, square, faces, pixels).all()
    np.testing.assert_allclose(inverse_depth(PICTURE, square, faces, pixels), 1.0, rtol=1e-5)
    assert not silhouette(PICTURE, square - jnp.array([[0.0, 0.0, 2.0]]), faces, pixels).any()
    assert not silhouette(PICTURE, square * jnp.array([[1.0, 0.0, 1.0]]), faces, pixels).any()
