"""What of a mesh is mended, and how it is reported."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fgs_jax.objects.mesh import load_object
from tests.objects.shapes import (
    ACROSS,
    ASIDE,
    BALL,
    HALF,
    HOLED,
    INNER,
    MOST,
    OBJECTS,
    OUTER,
    SHARED,
    corners_of,
    flipped,
    needs_data,
    together,
    volume,
)


def with_faces(extra) -> tuple[np.ndarray, np.ndarray]:
    return BALL.vertices, np.concatenate([BALL.faces, extra])


REPAIRS = {
    "unused": ((np.concatenate([[[9, 9, 9]], BALL.vertices]), BALL.faces + 1), "dropped 1 unused vertices"),
    "soup": (
        (BALL.vertices[BALL.faces].reshape(-1, 3), np.arange(3840).reshape(-1, 3)),
        "merged 3198 vertices with others at the same place",
    ),
    "nearly the same place": (
        (
            np.concatenate([BALL.vertices, BALL.vertices + 4e-9]),
            np.concatenate([BALL.faces[:700], BALL.faces[700:] + 642]),
        ),
        "merged 108 vertices with others at the same place",
    ),
    "one corner twice": (with_faces([[0, 1, 1], [5, 5, 5]]), "dropped 2 faces without an area"),
    "there twice": (with_faces(BALL.faces[3:7, [1, 2, 0]]), "dropped 4 faces that are there twice"),
    "both sides": (with_faces(BALL.faces[:, ::-1]), "dropped 1280 faces that are there twice"),
    "inside out": ((BALL.vertices, BALL.faces[:, ::-1]), "turned 1280 faces of parts that were inside out"),
    "a third the wrong way": (
        (BALL.vertices, np.where(np.arange(1280)[:, None] % 3 == 0, BALL.faces[:, ::-1], BALL.faces)),
        "turned 427 faces that were wound against their neighbours",
    ),
}


@pytest.mark.parametrize("flaw", REPAIRS)
def test_a_mended_ball_is_the_ball_and_says_what_was_mended(flaw):
    source, repair = REPAIRS[flaw]
    mesh = load_object(source)
    assert repair in mesh.repairs
    assert set(mesh.repairs) - {repair} <= {r for r in mesh.repairs if r.startswith("dropped") and "unused" in r}
    assert mesh.watertight and mesh.vertices.shape == (642, 3)
    assert_allclose(corners_of(mesh), corners_of(BALL), atol=2e-6)
    # What is mended needs no mending.
    assert load_object((mesh.vertices, mesh.faces)).repairs == ()


def test_faces_on_a_line_are_dropped():
    vertices = np.concatenate([BALL.vertices, [[0.2, 0, 0], [0.3, 0, 0], [0.4, 0, 0]]])
    mesh = load_object((vertices, np.concatenate([BALL.faces, [[642, 643, 644]]])))
    assert mesh.repairs == ("dropped 1 faces without an area",)
    assert_array_equal(mesh.vertices, BALL.vertices)


def test_most_and_a_third_the_wrong_way_are_both_turned():
    wrong = np.arange(1280)[:, None] % 3 != 0
    mesh = load_object((BALL.vertices, np.where(wrong, BALL.faces[:, ::-1], BALL.faces)))
    assert mesh.repairs == (
        "turned 427 faces that were wound against their neighbours",
        "turned 1280 faces of parts that were inside out",
    )
    assert volume(mesh) == pytest.approx(BALL.volume)


SHELL = 1 - 0.8**3


@pytest.mark.parametrize("offset", [0, 30])
@pytest.mark.parametrize(
    ("source", "turned", "balls"),
    [
        (together(OUTER, flipped(INNER)), 0, SHELL),
        (flipped(together(OUTER, flipped(INNER))), 2560, SHELL),
        (together(OUTER, INNER), 0, 1 + 0.8**3),
        (together(OUTER, ASIDE), 0, 2),
        (together(OUTER, flipped(ASIDE)), 1280, 2),
        (flipped(together(OUTER, ACROSS)), 2560, 2),
    ],
    ids=["hollow", "hollow inside out", "ball in a ball", "two", "one of two inside out", "overlapping inside out"],
)
def test_parts_are_kept_and_each_faces_outward(source, turned, balls, offset):
    mesh = load_object((source[0] + offset, source[1]), size="unknown")
    assert mesh.watertight and mesh.repairs[-1] == "kept 2 separate parts"
    assert mesh.repairs[:-1] == ((f"turned {turned} faces of parts that were inside out",) if turned else ())
    # About a vertex, not the origin, for far away the sum of large volumes says little.
    assert volume(replace(mesh, vertices=mesh.vertices - offset)) == pytest.approx(balls * BALL.volume, rel=1e-9)


@pytest.mark.parametrize("source", [HOLED, HALF, MOST], ids=["holes", "half", "most"])
def test_an_open_mesh_is_kept_open_and_faces_outward(source):
    mesh = load_object(source, surface="solid")
    assert mesh.repairs == () and not mesh.watertight
    assert_array_equal(mesh.faces, source[1])
    inside_out = load_object(flipped(source), surface="solid")
    assert inside_out.repairs == (f"turned {len(source[1])} faces of parts that were inside out",)
    assert_array_equal(inside_out.faces, source[1])


def test_a_flat_sheet_stays_as_it_is():
    sheet = np.array([[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0, 0.1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    for source in (sheet, flipped(sheet)):
        mesh = load_object(source, surface="solid")
        assert mesh.repairs == () and not mesh.watertight
        assert_array_equal(mesh.faces, source[1])


@needs_data
def test_real_objects_are_as_their_list_says():
    rows = [line.split(",") for line in (SHARED / "objects" / "meshes.csv").read_text().splitlines()[1:]]
    assert {row[0] for row in rows} == set(OBJECTS)
    for name, _, faces, watertight, *_, volume_cm3, _ in rows:
        mesh = load_object(SHARED / "objects" / f"{name}.ply")
        # Its flaws are six flaps of no area: without them the bottle is closed.
        assert mesh.watertight == (watertight == "True" or name == "waterbottle")
        assert len(mesh.faces) == int(faces) - (40 if name == "waterbottle" else 0)
        assert volume(mesh) * 1e6 == pytest.approx(float(volume_cm3), abs=0.1)
        changes = {"bowl": ("merged 7",), "waterbottle": ("merged 14", "dropped 40")}.get(name, ())
        assert tuple(" ".join(repair.split()[:2]) for repair in mesh.repairs) == changes
