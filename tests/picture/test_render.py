"""The renderer: which pixels a mesh covers, how deep it lies, and what colour it has there."""

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from fgs_jax.picture import render as module
from fgs_jax.picture.camera import Z_NEAR, project
from fgs_jax.picture.render import AMBIENT, BACK_TONE, depth_map, depths_at, render
from fgs_jax.types import Camera

SIZE = (32, 24)
CAMERA = Camera(focal=jnp.array([5.0, 4.0]), principal=jnp.array([15.0, 12.0]))
FRONT = np.array([[0, 2, 1], [0, 3, 2]])
"""Two faces of a square whose corners run clockwise in the picture from the top left; they look at the camera."""
LIGHT = np.array([-0.4, -0.6, -1.0]) / np.linalg.norm([-0.4, -0.6, -1.0])
GREY = (0.2, 0.4, 0.6)


def square(z=1.0, half=1.0):
    return np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])


def ball(subdivisions, distance):
    """Vertices and faces of a sphere of 10 cm on the camera's axis."""
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.1)
    return np.asarray(sphere.vertices) + np.array([0, 0, distance]), np.asarray(sphere.faces)


def shade(normal, inside=False):
    return (AMBIENT + (1 - AMBIENT) * max(normal @ LIGHT, 0.0)) * (BACK_TONE if inside else 1.0)


@pytest.mark.parametrize("antialias", [1, 2])
def test_a_square_covers_the_pixels_whose_centres_it_covers(antialias):
    """f (-1, 1) + c: columns 10 to 20 and rows 8 to 16, from corner to corner."""
    picture = render(CAMERA, SIZE, [(square(), FRONT, (1.0, 1.0, 1.0))], (0.0, 0.0, 0.0), antialias)
    expected = np.zeros((24, 32), np.uint8)
    expected[8:16, 10:20] = round(255 * shade(np.array([0, 0, -1])))
    np.testing.assert_array_equal(picture, np.repeat(expected[:, :, None], 3, axis=2))


def test_depth_covers_the_same_pixels():
    depth = depth_map(CAMERA, SIZE, square(), FRONT)
    covered = np.zeros((24, 32), bool)
    covered[8:16, 10:20] = True
    np.testing.assert_array_equal(np.isfinite(depth), covered)
    np.testing.assert_allclose(depth[covered], 1.0, rtol=1e-12)


def test_coverage_is_that_of_the_projection():
    """A pixel's centre is half a pixel from its corner, in `project` as here."""
    for column, row in ((3, 5), (17, 22)):
        centre = np.array([(column + 0.5 - 15) / 5, (row + 0.5 - 12) / 4, 1.0])
        speck = centre + 0.01 * np.array([[-1, -1, 0], [1, -1, 0], [0, 1, 0]])
        found = np.argwhere(np.isfinite(depth_map(CAMERA, SIZE, speck, np.array([[0, 1, 2]]))))
        np.testing.assert_array_equal(found, [[row, column]])
        np.testing.assert_allclose(project(CAMERA, jnp.asarray(centre)[None])[0] - 0.5, [column, row], atol=1e-4)


def test_a_smaller_overlap_is_a_mixed_pixel():
    """Moved by half a pixel, the square covers half of the samples of its outer columns."""
    moved = Camera(focal=CAMERA.focal, principal=CAMERA.principal + jnp.array([0.5, 0.0]))
    picture = render(moved, SIZE, [(square(), FRONT, (1.0, 1.0, 1.0))], (0.0, 0.0, 0.0))
    full = 255 * shade(np.array([0, 0, -1]))
    np.testing.assert_allclose(picture[10, [9, 10, 11, 19, 20, 21], 0], np.array([0, 0.5, 1, 1, 0.5, 0]) * full, atol=1)


def test_depth_of_a_slanted_plane_is_exact():
    """n.p = 1 along the ray of a pixel's centre: z = 1 / (n.ray)."""
    normal = np.array([0.3, -0.2, 0.8])
    corners = square(half=0.5)[:, :2]
    vertices = np.column_stack([corners, (1 - corners @ normal[:2]) / normal[2]])
    assert vertices[:, 2].min() > Z_NEAR
    camera = Camera(focal=jnp.array([300.0, 250.0]), principal=jnp.array([32.0, 24.0]))
    column, row = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    rays = np.stack([(column - 32) / 300, (row - 24) / 250, np.ones_like(row)], axis=-1)
    np.testing.assert_allclose(depth_map(camera, (64, 48), vertices, FRONT), 1 / (rays @ normal), atol=1e-12)


def test_depths_at_places_are_those_of_the_map(monkeypatch):
    """At the centres of all pixels, between them against rays, and in parts."""
    slanted = square(half=0.5) + np.array([[0, 0, -0.5], [0, 0, 0.3], [0, 0, 0.3], [0, 0, -0.5]])
    behind, flat, through = square() * [1, 1, -1], np.zeros((4, 3)) + [0, 0, 1], square(0.3)
    through[:, 2] -= [0.0, 0.4, 0.4, 0.0]
    vertices = np.concatenate([square(1.2), slanted, behind, flat, through])
    faces = np.concatenate([FRONT + 4 * k for k in range(5)])
    camera = Camera(focal=jnp.array([40.0, 35.0]), principal=jnp.array([30.0, 24.0]))
    centres = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5), axis=-1).reshape(-1, 2)
    expected = depth_map(camera, (64, 48), vertices, faces).ravel()
    assert np.isinf(expected).any() and len(np.unique(expected)) > 10
    np.testing.assert_allclose(depths_at(camera, centres, vertices, faces), expected, rtol=1e-12)
    monkeypatch.setattr(module, "_BLOCK", 50)
    np.testing.assert_allclose(depths_at(camera, centres, vertices, faces), expected, rtol=1e-12)
    # The plane z = 0.9 + 0.8 x along a ray (x, y, 1) z; x grows to the right of the principal point.
    places = np.array([[31.3, 23.9], [25.2, 30.7]])
    rays = (places - [30, 24]) / [40, 35]
    np.testing.assert_allclose(depths_at(camera, places, slanted, FRONT), 0.9 / (1 - 0.8 * rays[:, 0]), rtol=1e-6)
    assert np.isinf(depths_at(camera, np.array([[1e4, 1.0], [30.0, -9.0]]), slanted, FRONT)).all()
    assert depths_at(camera, np.zeros((0, 2)), slanted, FRONT).shape == (0,)
    assert np.isinf(depths_at(camera, places, behind, FRONT)).all()


def test_colours_are_interpolated_in_space():
    """Red runs from 0 to 1 over a plane from z = 1 to z = 3: at the picture's middle it is 1/4, not 1/2."""
    vertices = np.array([[-1.0, -1, 1], [3, -3, 3], [3, 3, 3], [-1, 1, 1]])
    colours = np.array([[0.0, 0.5, 1], [1, 0.5, 1], [1, 0.5, 1], [0, 0.5, 1]])
    camera = Camera(focal=jnp.array([50.0, 50.0]), principal=jnp.array([50.5, 50.5]))
    picture = render(camera, (101, 101), [(vertices, FRONT, colours)], antialias=1)
    normal = np.array([1.0, 0, -2]) / np.sqrt(5)
    np.testing.assert_allclose(picture[50, 50], 255 * shade(normal) * np.array([0.25, 0.5, 1]), atol=0.51)


@pytest.mark.parametrize("near_first", [True, False])
def test_the_nearer_mesh_hides_the_farther_one(near_first):
    near, far = (square(1.0, 0.4), FRONT, (1.0, 0.0, 0.0)), (square(2.0, 2.0), FRONT, (0.0, 1.0, 0.0))
    picture = render(CAMERA, SIZE, [near, far] if near_first else [far, near], (0.0, 0.0, 1.0), antialias=1)
    lit = round(255 * shade(np.array([0, 0, -1])))
    assert picture[12, 15].tolist() == [lit, 0, 0]
    assert picture[12, 11].tolist() == [0, lit, 0]
    assert picture[12, 5].tolist() == [0, 0, 255]


def test_meshes_that_cut_each_other_are_sorted_pixel_by_pixel():
    slanted = square() + np.array([[0, 0, -0.5], [0, 0, 0.5], [0, 0, 0.5], [0, 0, -0.5]])
    camera = Camera(focal=jnp.array([40.0, 40.0]), principal=jnp.array([32.0, 24.0]))
    one, other = (depth_map(camera, (64, 48), vertices, FRONT) for vertices in (slanted, square()))
    both = depth_map(camera, (64, 48), np.concatenate([slanted, square()]), np.concatenate([FRONT, FRONT + 4]))
    np.testing.assert_array_equal(both, np.minimum(one, other))
    assert (one < other).any() and (other < one).any()


def test_silhouette_and_depth_of_a_sphere():
    """A sphere's silhouette is the cone that touches it: a disc of radius f r / sqrt(z^2 - r^2) about the axis."""
    camera = Camera(focal=jnp.array([400.0, 400.0]), principal=jnp.array([100.0, 100.0]))
    depth = depth_map(camera, (200, 200), *ball(4, 0.5))
    area = np.pi * (400 * 0.1) ** 2 / (0.5**2 - 0.1**2)
    assert np.isfinite(depth).sum() == pytest.approx(area, rel=0.005)
    assert depth.min() == pytest.approx(0.4, abs=2e-4)


def test_a_sphere_is_lit_from_over_the_left_shoulder():
    camera = Camera(focal=jnp.array([4000.0, 4000.0]), principal=jnp.array([100.0, 100.0]))
    picture = render(camera, (200, 200), [(*ball(4, 5.0), GREY)], antialias=1)
    for pixel in ((100, 100), (70, 80), (60, 130), (140, 120)):
        x, y = ((np.array(pixel)[::-1] + 0.5 - 100) / 4000 * 4.95) / 0.1
        normal = np.array([x, y, -np.sqrt(1 - x**2 - y**2)])
        np.testing.assert_allclose(picture[pixel], 255 * np.array(GREY) * shade(normal), atol=2)


def test_the_inside_is_darker():
    inside = render(CAMERA, SIZE, [(square(), FRONT[:, ::-1], GREY)], antialias=1)
    expected = 255 * np.array(GREY) * shade(np.array([0, 0, -1]), inside=True)
    np.testing.assert_allclose(inside[12, 15], expected, atol=0.51)


def test_the_background_stays_where_nothing_is_drawn(rng):
    background = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    picture = render(CAMERA, SIZE, [(square(), FRONT, GREY)], background)
    outside = np.ones((24, 32), bool)
    outside[8:16, 10:20] = False
    np.testing.assert_array_equal(picture[outside], background[outside])
    assert (picture[~outside] == np.rint(255 * np.array(GREY) * shade(np.array([0, 0, -1])))).all()


def test_no_mesh_is_the_background(rng):
    background = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(render(CAMERA, SIZE, [], background), background)
    np.testing.assert_array_equal(render(CAMERA, SIZE, [], GREY), np.tile(np.array([51, 102, 153]), (24, 32, 1)))


def test_a_background_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected a picture of \(24, 32, 3\), got \(32, 24, 3\)"):
        render(CAMERA, SIZE, [], np.zeros((32, 24, 3), np.uint8))


@pytest.mark.parametrize("z", [-1.0, 0.0, Z_NEAR, np.nan])
def test_a_face_that_reaches_the_near_plane_is_left_out(z):
    vertices = square()
    vertices[1, 2] = z
    depth = depth_map(CAMERA, SIZE, vertices, FRONT)
    other = depth_map(CAMERA, SIZE, square(), FRONT[1:])
    np.testing.assert_array_equal(depth, other)
    assert 0 < np.isfinite(other).sum() < 80


def test_a_mesh_of_nan_and_a_flat_face_are_not_drawn():
    flat = np.array([[-1.0, 0.125, 1], [0, 0.125, 1], [1, 0.125, 1]])  # along the centres of row 12
    meshes = [(np.full((4, 3), np.nan), FRONT, GREY), (flat, np.array([[0, 1, 2]]), GREY)]
    assert (render(CAMERA, SIZE, meshes, antialias=1) == 255).all()


def test_faces_outside_the_picture_are_cut_off():
    """A square ten times as wide as the picture covers all of it, one beside the picture nothing."""
    assert np.isfinite(depth_map(CAMERA, SIZE, square(half=40.0), FRONT)).all()
    assert not np.isfinite(depth_map(CAMERA, SIZE, square() + np.array([10.0, 0, 0]), FRONT)).any()


def test_blocks_do_not_show(monkeypatch):
    """The same picture whether faces are worked on together or a few at a time."""
    camera = Camera(focal=jnp.array([100.0, 100.0]), principal=jnp.array([32.0, 32.0]))
    whole = depth_map(camera, (64, 64), *ball(2, 0.5))
    monkeypatch.setattr(module, "_BLOCK", 50)
    np.testing.assert_array_equal(depth_map(camera, (64, 64), *ball(2, 0.5)), whole)
    assert np.isfinite(whole).sum() > 20 * 50
