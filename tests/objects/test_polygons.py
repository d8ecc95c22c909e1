"""Faces of many corners are cut into triangles that fill them."""

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_array_equal

from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.polygons import Polygons, polygons, triangulated
from tests.objects.mesh_files import CUT, MARK, L, area, as_obj, as_off, as_ply, of_triangles, prism, volume, write


def cut(outline, order=None, tilt=0.7):
    """Area of an outline's triangles in space, and how many outlines cross themselves."""
    points = np.c_[outline, np.zeros(len(outline))]
    turn = np.asarray(trimesh.transformations.rotation_matrix(tilt, (1, 2, 3)))
    turned = points @ turn[:3, :3].T + [3, -2, 1]
    loop = np.arange(len(outline)) if order is None else np.asarray(order)
    faces, crossing = triangulated(turned, Polygons(loop, np.array([len(loop)])))
    assert len(faces) == len(loop) - 2
    return of_triangles(turned, faces), crossing


DART = np.array([(0, 0), (4, 2), (0, 1), (-4, 2)])
COMB = np.array([*((k, 5 if k % 2 else 1) for k in range(40)), (39, 0), (0, 0)], float)
SQUARES = np.array([(0, 0), (4, 0), (4, 4), (0, 4), (1, 1), (1, 3), (3, 3), (3, 1)], float)


def shoelace(outline) -> float:
    x, y = np.asarray(outline, float).T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


@pytest.mark.parametrize("outline", [L, DART, COMB, SQUARES[:4]], ids=["L", "dart", "comb", "square"])
def test_a_polygon_has_its_area_from_whichever_corner_it_starts(outline):
    count = len(outline)
    for start in range(count):
        for step in (1, -1):
            found, crossing = cut(outline, (start + step * np.arange(count)) % count)
            assert found == pytest.approx(shoelace(outline), rel=1e-9) and not crossing


def test_random_stars_have_their_area(rng):
    for _ in range(40):
        count = int(rng.integers(5, 25))
        angles = 2 * np.pi * (np.arange(count) + rng.uniform(0, 0.9, count)) / count
        outline = rng.uniform(0.1, 1, (count, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        assert cut(outline) == (pytest.approx(shoelace(outline), rel=1e-9), 0)


def test_an_outline_that_leads_to_a_hole_and_back_leaves_the_hole_open():
    around = [0, 1, 2, 3, 0, 4, 5, 6, 7, 4]
    for start in range(10):
        found, crossing = cut(SQUARES, np.roll(around, start))
        assert found == pytest.approx(12, rel=1e-9) and not crossing


def test_corners_on_a_line_are_kept_where_others_meet_them():
    outline = np.array([(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)], float)
    for start in range(8):
        points = np.c_[outline, np.zeros(8)]
        faces, _ = triangulated(points, Polygons(np.roll(np.arange(8), start), np.array([8])))
        corners = points[faces]
        areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
        assert areas.sum() == pytest.approx(4) and areas.min() > 0.1


def test_a_bent_quad_is_cut_along_its_shorter_diagonal_from_whichever_corner():
    points = np.array([(0, 0, 0), (3, 0, 0.5), (3, 1, 0), (0.5, 1, 0.5)])
    areas = set()
    for start in range(4):
        faces, _ = triangulated(points, Polygons(np.roll(np.arange(4), start), np.array([4])))
        assert {1, 3} == set(faces[0]) & set(faces[1])
        areas.add(round(of_triangles(points, faces), 12))
    assert len(areas) == 1


def test_an_outline_that_crosses_itself_is_said(tmp_path):
    assert cut(np.array([(0, 0), (1, 1), (1, 0), (0, 1)]))[1] == 1
    star = [(np.cos(a), np.sin(a)) for a in 4 * np.pi * np.arange(5) / 5]
    assert cut(np.array(star))[1] == 1
    text = "v 0 0 0\nv .1 .1 0\nv .1 0 0\nv 0 .1 0\nv 0 0 .1\nf 1 2 3 4\nf 1 2 5\n"
    repairs = load_object(write(tmp_path / "a.obj", text)).repairs
    assert repairs[:2] == (CUT.format(2, 3), "1 faces cross themselves: their triangles overlap")


def test_triangles_stand_in_the_order_of_their_faces():
    points = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (-1, 0.5, 0)], float)
    faces, _ = triangulated(points, polygons([[0, 1, 2, 3], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4]]))
    assert_array_equal(faces, [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 1, 2], [0, 2, 3], [0, 3, 4]])
    with pytest.raises(ValueError, match="vertices 0 to 9, of 5 that there are"):
        triangulated(points, polygons([[0, 1, 9]]))


@pytest.mark.parametrize("mark", [b"", MARK], ids=["plain", "with a byte order mark"])
@pytest.mark.parametrize("kind", ["obj", "off", "ply", "ply little", "ply big"])
def test_concave_polygons_of_every_format(tmp_path, kind, mark):
    vertices, faces = prism()
    order = {"ply": "ascii", "ply little": "binary_little_endian", "ply big": "binary_big_endian"}
    made = {"obj": as_obj, "off": as_off}
    data = as_ply(vertices, faces, order[kind]) if kind in order else made[kind](vertices, faces).encode()
    mesh = load_object(write(tmp_path / f"a.{kind[:3]}", mark + data))
    assert mesh.repairs == (CUT.format(8, 20),) and mesh.watertight
    assert area(mesh) == pytest.approx(302e-4, rel=1e-6) and volume(mesh) == pytest.approx(255e-6, rel=1e-6)


def test_concave_quads_from_python():
    points = np.c_[DART * 0.01, np.zeros(4)]
    for start in range(4):
        mesh = load_object((points, np.roll(np.arange(4), start)[None]), surface="solid")
        assert area(mesh) == pytest.approx(shoelace(DART) * 1e-4, rel=1e-9)
        assert mesh.repairs == (CUT.format(1, 2),)
