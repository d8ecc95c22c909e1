import jax
import jax.numpy as jnp
import numpy as np

from fgs_jax.camera import Z_NEAR, project
from fgs_jax.types import Camera

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
