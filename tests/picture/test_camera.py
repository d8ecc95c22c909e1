from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture import camera
from fgs_jax.picture.camera import Z_NEAR, inverse_depth, inverse_depths, project, silhouette
from fgs_jax.picture.render import depth_map
from fgs_jax.types import Camera, HandParams
from tests.lowered import loops, lowered
from tests.reference import contact as twin

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
    return jax.jit(hand)(model, params).vertices, model.faces


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
    drawn = jax.jit(silhouette)
    assert drawn(PICTURE, square, faces, pixels).all()
    np.testing.assert_allclose(jax.jit(inverse_depth)(PICTURE, square, faces, pixels), 1.0, rtol=1e-5)
    assert not drawn(PICTURE, square - jnp.array([[0.0, 0.0, 2.0]]), faces, pixels).any()
    assert not drawn(PICTURE, square * jnp.array([[1.0, 0.0, 1.0]]), faces, pixels).any()


@pytest.mark.parametrize("inverted", [False, True])
def test_half_of_a_closed_mesh_covers_all_of_it(inverted):
    mesh = trimesh.creation.torus(0.1, 0.04)
    turned = mesh.vertices @ Rotation.from_rotvec([0.7, 0.4, 0.2]).as_matrix().T + [0.02, 0.01, 0.5]
    faces = mesh.faces[:, ::-1] if inverted else mesh.faces
    arguments = PICTURE, jnp.asarray(turned, jnp.float32), jnp.asarray(faces), jnp.asarray(CENTRES, jnp.float32)
    whole, half = silhouette(*arguments), silhouette(*arguments, closed=True)
    np.testing.assert_array_equal(whole, half)
    assert 0.02 < np.mean(half) < 0.9
    fewer = silhouette(*arguments, count=len(faces) // 2, closed=jnp.asarray(True))
    assert np.mean(fewer) < np.mean(half) and not np.any(fewer & ~half)


@pytest.mark.parametrize("at_once", [False, True], ids=["in turn", "at once"])
def test_the_first_so_many_faces_are_drawn_and_no_other(monkeypatch, at_once):
    """20 triangles side by side, of which every second one looks the other way."""
    if at_once:
        monkeypatch.setattr(camera, "_greatest_in_turn", camera._greatest_at_once)
    left = np.linspace(-0.2, 0.18, 20)
    vertices = np.concatenate([[[x, 0.0, 1.0], [x + 0.015, 0.0, 1.0], [x, 0.1, 1.0]] for x in left])
    faces = np.arange(60).reshape(20, 3)
    faces[1::2] = faces[1::2, ::-1]
    pixels = PICTURE.principal[None] + PICTURE.focal[None] * np.stack([left + 0.002, np.full(20, 0.01)], axis=1)
    draw = jax.jit(partial(silhouette, PICTURE, jnp.asarray(vertices, jnp.float32), jnp.asarray(faces)))
    for count in (0, 8, 16, 20):
        np.testing.assert_array_equal(draw(jnp.asarray(pixels), count=count), np.arange(20) < count)
    if at_once:  # a CPU fills up its last turn with faces that are not needed, where they change nothing
        np.testing.assert_array_equal(draw(jnp.asarray(pixels), count=9), np.arange(20) < 9)
        half = draw(jnp.asarray(pixels), count=9, closed=True)
        np.testing.assert_array_equal(half, (np.arange(20) < 9) & (np.arange(20) % 2 == 0))


@pytest.mark.parametrize("function", [inverse_depth, inverse_depths, silhouette])
def test_other_devices_draw_the_same_without_a_loop(monkeypatch, function):
    vertices, faces = posed_hand()
    arguments = PICTURE, vertices, faces, jnp.asarray(CENTRES, jnp.float32)
    drawn = np.asarray(jax.jit(function)(*arguments))
    assert loops(lowered(function, *arguments, platform="cpu")) == 1
    assert loops(lowered(function, *arguments, platform="cuda")) == 0
    monkeypatch.setattr(camera, "_greatest_in_turn", camera._greatest_at_once)
    at_once = np.asarray(jax.jit(partial(function))(*arguments))
    np.testing.assert_allclose(at_once, drawn, rtol=1e-6)
    assert (drawn > 0).sum() > 1000


both = jax.jit(inverse_depths)


def ends(*arguments):
    return both(*arguments)[1]


def box_seen_from_the_front():
    """Its front at 0.8 m, its back at 1.2 m; twelve faces, so that the last turn of the loop is not full."""
    mesh = trimesh.creation.box((0.3, 0.3, 0.4))
    return jnp.asarray(mesh.vertices + [0, 0, 1.0], jnp.float32), jnp.asarray(mesh.faces, jnp.int32)


def test_a_box_ends_at_its_back():
    vertices, faces = box_seen_from_the_front()
    pixels = jnp.asarray(CENTRES, jnp.float32)
    front, back = np.asarray(both(PICTURE, vertices, faces, pixels))
    np.testing.assert_allclose(front, jax.jit(inverse_depth)(PICTURE, vertices, faces, pixels), rtol=1e-6)
    np.testing.assert_array_equal(back > 0, front > 0)
    ray = np.abs((CENTRES - np.asarray(PICTURE.principal)) / np.asarray(PICTURE.focal)).max(axis=1)
    through = ray < 0.149 / 1.2
    np.testing.assert_allclose(back[through], 1 / 1.2, rtol=1e-5)
    np.testing.assert_allclose(front[through], 1 / 0.8, rtol=1e-5)
    # Beside the back the ray leaves through a side, where it is as far off the axis as the box is wide.
    side = (ray > 0.151 / 1.2) & (ray < 0.149 / 0.8)
    np.testing.assert_allclose(1 / back[side], 0.15 / ray[side], rtol=1e-4)
    np.testing.assert_array_equal(back[ray > 0.151 / 0.8], 0.0)
    assert through.sum() > 1000 and side.sum() > 1000 and (ray > 0.151 / 0.8).sum() > 500


def test_a_vertex_within_a_cup_is_behind_its_wall_and_not_behind_all_of_it():
    """Two plates a centimetre thick: what hides a vertex between them ends at .41 m. Open ones end at the last."""
    plate = trimesh.creation.box((0.3, 0.3, 0.01))
    vertices = np.concatenate([plate.vertices + [0, 0, 0.405], plate.vertices + [0, 0, 0.605]])
    faces = np.concatenate([plate.faces, len(plate.vertices) + plate.faces])
    pixel = jnp.asarray([[float(PICTURE.principal[0]) + 0.3, float(PICTURE.principal[1]) + 0.2]], jnp.float32)
    seen = partial(both, PICTURE, jnp.asarray(vertices, jnp.float32))
    np.testing.assert_allclose(1 / seen(jnp.asarray(faces), pixel)[:, 0], [0.4, 0.41], rtol=1e-5)
    facing_us = faces[np.abs(vertices[faces][..., 2] - [0.4]).max(axis=1) < 1e-9]
    and_farther = np.concatenate([facing_us, len(plate.vertices) + facing_us])
    np.testing.assert_allclose(1 / seen(jnp.asarray(and_farther), pixel)[:, 0], [0.4, 0.6], rtol=1e-5)


def test_where_a_solid_begins_and_ends_equals_rays_against_each_triangle(rng):
    vertices, faces = posed_hand()
    points = np.asarray(vertices, float)[rng.choice(len(vertices), 40)] + rng.normal(size=(40, 3)) * 0.003
    camera = {"f": np.asarray(PICTURE.focal, float), "c": np.asarray(PICTURE.principal, float)}
    least, last = twin.depths_along_rays(camera, np.asarray(vertices, float)[np.asarray(faces)], points)
    pixels = project(PICTURE, jnp.asarray(points, jnp.float32))
    front, back = np.asarray(both(PICTURE, vertices, faces, pixels))
    np.testing.assert_allclose(front, jax.jit(inverse_depth)(PICTURE, vertices, faces, pixels), rtol=1e-6)
    np.testing.assert_array_equal(back > 0, last > 0)
    hit = last > 0
    np.testing.assert_allclose(1 / back[hit], last[hit], rtol=1e-4)
    np.testing.assert_allclose(1 / front[hit], least[hit], rtol=1e-4)
    assert hit.sum() > 20 and (last - least)[hit].max() > 0.01


def test_where_a_solid_ends_leaves_out_what_is_too_near_flat_or_not_finite():
    vertices, faces = box_seen_from_the_front()
    pixels = jnp.asarray(CENTRES, jnp.float32)
    whole = ends(PICTURE, vertices, faces, pixels)
    # A wall behind the camera, one through it, one without an area, and one of NaN, each farther or nearer than all.
    bad = [[[-9, -9, -2], [9, -9, -2], [0, 9, -2]], [[-9, -9, 5], [9, -9, 5], [0, 9, -5]], 3 * [[0, 0, 5]]]
    extra = jnp.asarray([*np.reshape(bad, (9, 3)), *np.full((3, 3), np.nan)], jnp.float32)
    more = jnp.concatenate([faces, len(vertices) + jnp.arange(12).reshape(4, 3)])
    found = ends(PICTURE, jnp.concatenate([vertices, extra]), more, pixels)
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(ends(PICTURE, -vertices, faces, pixels), 0.0)
    gradient = jax.grad(lambda v: ends(PICTURE, v, faces, pixels).sum())(vertices)
    np.testing.assert_array_equal(gradient, 0.0)
