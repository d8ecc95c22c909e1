"""Open meshes: solids with holes, and sheets that get a wall."""

import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.cli import main
from fgs_jax.errors import MeshError
from fgs_jax.objects.distance import signed_distance
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sheets import WALL, openings_of, with_wall
from fgs_jax.objects.simplifying import simplify
from fgs_jax.objects.solid import exact_signed_distance
from fgs_jax.objects.triangles import distances_to, extent_of, is_balanced, parts_of
from fgs_jax.picture.scene_files import load_scene, save_scene
from fgs_jax.results.metrics import Surface, solid_intersection_volume
from fgs_jax.testing import as_scene
from tests.objects.shapes import BALL, OBJECTS, SHARED, needs_data, together
from tests.small_scene import rendered

SOLID_SAID, SHEET_SAID = "took an open mesh as solid", "took an open mesh as a sheet"


def revolved(*profile) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.revolve(np.array(profile, float), sections=48)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def arc(radius: float, to: float) -> list[tuple[float, float]]:
    return [(radius * np.sin(angle), -radius * np.cos(angle)) for angle in np.linspace(0, to, 16)]


def moved(mesh, by=0.0, scale=(1.0, 1.0, 1.0)) -> tuple[np.ndarray, np.ndarray]:
    return mesh[0] * np.asarray(scale) + by, mesh[1]


def ball_with_hole(share: float) -> tuple[np.ndarray, np.ndarray]:
    ball = trimesh.creation.icosphere(5, 0.05)
    return ball.vertices, ball.faces[ball.triangles_center[:, 2] < 0.05 * (1 - 2 * share)]


def box_of_panels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sides of a box that share no vertex."""
    box = trimesh.creation.box((0.1, 0.1, 0.1))
    sides = [box.faces[box.face_normals @ way > 0.9] for way in (*np.eye(3), *-np.eye(3))]
    return together(*((box.vertices * (1 + 1e-4 * k), faces) for k, faces in enumerate(sides[:count])))


HANDLE = trimesh.creation.torus(0.025, 0.006).apply_transform(
    trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]) + np.outer([1, 0, 0, 0], [0, 0, 0, 0.045])
)
CUP = revolved((0, 0), (0.04, 0), (0.04, 0.05), (0.04, 0.1))
SHEETS = {
    "cup": CUP,
    "cup with a handle": together(CUP, (HANDLE.vertices + [0, 0, 0.05], HANDLE.faces)),
    "cup of two pieces": together(revolved((0, 0), (0.04, 0)), revolved((0.04, 0.0001), (0.04, 0.1))),
    "tall glass": revolved((0, 0), (0.03, 0), (0.03, 0.15)),
    "tube": revolved((0.04, 0), (0.04, 0.1)),
    "long tube": revolved((0.01, 0), (0.01, 0.3)),
    "bowl": revolved(*arc(0.08, 1.1)),
    "half ball": revolved(*arc(0.06, np.pi / 2)),
    "shallow dish": revolved(*arc(0.2, 0.4)),
    "plate": revolved((0, 0), (0.07, 0), (0.12, 0.015)),
    "lampshade": revolved((0.08, 0), (0.04, 0.12)),
    "bag": moved(revolved((0, 0), (0.1, 0), (0.1, 0.3)), scale=(1, 0.4, 1)),
    "funnel": revolved((0.005, 0), (0.006, 0.05), (0.06, 0.1)),
    "card": revolved((0, 0), (0.05, 0)),
    "open box": box_of_panels(5),
}
SAID_SOLIDS = {
    "ball without a twentieth": ball_with_hole(0.05),
    "ball without a tenth": ball_with_hole(0.1),
    "ball without a fifth": ball_with_hole(0.2),
    "vase": revolved((0, 0), (0.04, 0), (0.06, 0.1), (0.025, 0.2), (0.03, 0.22)),
}
SOLIDS = {
    "ball without a fiftieth": ball_with_hole(0.02),
    "sieve": (BALL.vertices, BALL.faces[np.random.default_rng(0).random(1280) > 0.1]),
    "panels": box_of_panels(6),
}


@pytest.mark.parametrize("name", SHEETS)
def test_what_is_hollow_on_purpose_gets_a_wall_and_is_no_block(rng, name):
    vertices, faces = SHEETS[name]
    mesh = load_object(SHEETS[name])
    assert (mesh.surface, mesh.watertight) == ("sheet", True)
    assert mesh.repairs[-1] == SHEET_SAID + (
        ", with a wall of 0.1% of the extent; if it is a solid with a hole, say solid: object.surface of a scene, "
        "--object-surface of a command"
    )
    half = WALL * extent_of(vertices) / 2
    points = rng.uniform(vertices.min(axis=0) - 0.003, vertices.max(axis=0) + 0.003, (400, 3))
    points = points[~closed_part_holds(name, points)]
    expected = distances_to(vertices, faces, points) - half
    assert_allclose(exact_signed_distance(mesh, points), expected, atol=1.1 * half)
    grid = distance_grid(mesh, 32)
    assert np.abs(np.asarray(signed_distance(grid, points.astype(np.float32))) - expected).max() < 0.6 * grid.voxel


def closed_part_holds(name, points) -> np.ndarray:
    if name != "cup with a handle":
        return np.zeros(len(points), bool)
    handle = load_object((HANDLE.vertices + [0, 0, 0.05], HANDLE.faces))
    return exact_signed_distance(handle, points) < 0


@pytest.mark.parametrize("name", SOLIDS | SAID_SOLIDS)
def test_what_lacks_a_part_of_its_surface_stays_a_solid(name):
    source = (SOLIDS | SAID_SOLIDS)[name]
    mesh = load_object(source)
    assert (mesh.surface, mesh.watertight) == ("solid", False) and len(mesh.faces) == len(source[1])
    said = [line for line in mesh.repairs if line.startswith("took")]
    if name in SAID_SOLIDS:
        assert said[0].startswith(SOLID_SAID) and said[0].endswith(
            "if it is hollow, say sheet: object.surface of a scene, --object-surface of a command"
        )
    assert len(said) == (name in SAID_SOLIDS)
    assert exact_signed_distance(mesh, np.mean(mesh.vertices, axis=0)[None])[0] < -0.01


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.3, 0.5])
def test_the_opening_of_a_ball_is_the_one_of_the_formula(share):
    vertices, faces = ball_with_hole(share)
    share = 1 - trimesh.Trimesh(vertices, faces).area / (4 * np.pi * 0.05**2)
    assert_allclose(openings_of(vertices, faces, parts_of(faces)), [4 * share * (1 - share)], rtol=0.06)


def test_openings_are_each_parts_own_and_turn_with_it(rng):
    turn = trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3]
    vertices, faces = together(CUP, (BALL.vertices + 0.2, BALL.faces), revolved(*arc(0.05, 2.5)))
    part = parts_of(faces)
    opening = openings_of(vertices, faces, part)
    _, first = np.unique(part, return_index=True)
    overhung = np.sin(2.5) ** 2
    assert_allclose(opening[part[np.sort(first)]], [1, 0, overhung / (1 + 1 - overhung) * (2 - overhung)], atol=0.02)
    assert_allclose(openings_of(vertices @ turn.T + 1, faces, part), opening, atol=1e-9)


@pytest.mark.parametrize("name", ["cup", "tube", "card", "bag"])
def test_a_wall_is_closed_and_of_its_thickness(name):
    vertices, faces = SHEETS[name]
    mesh = load_object(SHEETS[name])
    area = trimesh.Trimesh(vertices, faces, process=False).area
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.volume == pytest.approx(WALL * extent_of(vertices) * area, rel=0.05)
    whole = Surface(np.asarray(BALL.vertices) * 20, np.asarray(BALL.faces))
    assert solid_intersection_volume(whole, Surface(mesh.vertices, mesh.faces)).volume == pytest.approx(
        solid.volume, rel=1e-4
    )


def test_a_wall_folded_onto_itself_is_closed():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1e-12]])
    walled, faces = with_wall(vertices, np.array([[0, 1, 2], [1, 0, 3]]), 0.01)
    assert is_balanced(faces) and np.isfinite(walled).all()
    corners = walled[faces]
    assert np.linalg.norm(walled[faces[0]] - walled[faces[2][::-1]], axis=1).min() > 0.004
    assert np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).min() > 0


def test_the_users_word_comes_first():
    solid, sheet = load_object(CUP, surface="solid"), load_object(ball_with_hole(0.1), surface="sheet")
    assert (solid.surface, solid.watertight, solid.repairs) == ("solid", False, ())
    assert exact_signed_distance(solid, np.array([[0, 0, 0.03]]))[0] == pytest.approx(-0.03, abs=1e-4)
    assert (sheet.surface, sheet.watertight) == ("sheet", True)
    assert sheet.repairs[-1] == SHEET_SAID + ", with a wall of 0.1% of the extent"
    assert exact_signed_distance(sheet, np.zeros((1, 3)))[0] > 0.03
    closed = load_object(BALL, surface="sheet")
    assert (closed.surface, closed.repairs, len(closed.faces)) == ("sheet", (), len(BALL.faces))
    with pytest.raises(MeshError, match='expected a surface of "auto", "solid" or "sheet", came "shell"; choose one'):
        load_object(BALL, surface="shell")


def test_a_sheet_stays_one_where_it_is_simplified():
    mesh = load_object(trimesh.Trimesh(*SHEETS["bowl"]).subdivide().subdivide())
    small = simplify(mesh, 3000)
    assert small.surface == "sheet" and len(small.faces) < 4600 < len(mesh.faces)
    assert exact_signed_distance(small, np.array([[0, 0, -0.05], [0, 0, -0.06]])).min() > 0.015


def test_a_sheet_is_written_and_read_to_the_bit(tmp_path):
    scene = as_scene(rendered())
    mixed = together(CUP, moved(ball_with_hole(0.01), 0.2))
    for index, mesh in enumerate((load_object(CUP), load_object(mixed), load_object(CUP, surface="solid"))):
        folder = tmp_path / str(index)
        save_scene(replace(scene, object=mesh), folder)
        back = load_scene(folder).object
        assert (back.surface, back.repairs) == (mesh.surface, mesh.repairs)
        assert_array_equal(back.vertices, mesh.vertices)
        assert_array_equal(back.faces, mesh.faces)


def test_a_scene_says_what_its_object_is(tmp_path):
    save_scene(replace(as_scene(rendered()), object=load_object(CUP, surface="solid")), tmp_path / "scene")
    path = tmp_path / "scene" / "scene.json"
    about = json.loads(path.read_text())
    assert about["object"]["surface"] == "solid"
    for word, found in (("sheet", "sheet"), ("auto", "sheet"), (None, "sheet"), ("solid", "solid")):
        about["object"].pop("surface", None)
        path.write_text(json.dumps(about | {"object": about["object"] | ({"surface": word} if word else {})}))
        assert load_scene(tmp_path / "scene").object.surface == found


def test_fgs_metrics_takes_the_word(tmp_path, capsys):
    trimesh.Trimesh(*CUP).export(tmp_path / "cup.obj")
    trimesh.creation.icosphere(2, 0.01).apply_translation([0, 0, 0.04]).export(tmp_path / "tip.obj")
    words = ["metrics", str(tmp_path / "tip.obj"), str(tmp_path / "cup.obj")]
    found = []
    for more in ([], ["--object-surface", "sheet"], ["--object-surface", "solid"]):
        assert main([*words, "--json", *more]) == 0
        found.append(json.loads(capsys.readouterr().out)["distance_mm"])
    assert found == pytest.approx([30, 30, -40], abs=0.2)
    assert main(words) == 0
    assert f"{tmp_path / 'cup.obj'}: {SHEET_SAID}" in capsys.readouterr().out


@needs_data
@pytest.mark.parametrize("name", OBJECTS)
def test_real_meshes_are_solids(name):
    mesh = load_object(SHARED / "objects" / f"{name}.ply")
    assert mesh.surface == "solid" and not [line for line in mesh.repairs if line.startswith("took")]
