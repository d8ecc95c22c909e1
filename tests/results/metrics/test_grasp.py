"""All measures of a grasp, what is refused, and `fgs metrics`."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from fgs_jax.cli import main
from fgs_jax.errors import MeshError
from fgs_jax.hands.mano import mano_kind, skin_margins
from fgs_jax.objects import winding
from fgs_jax.results import metrics
from fgs_jax.results.metrics import (
    GRASP_METRICS,
    Surface,
    contact_ratio,
    contact_ratio_hand_over_object,
    contact_ratio_of_vertices,
    fingers_in_contact,
    fingers_of_vertices,
    grasp_metrics,
    maximal_penetration_depth,
    object_depth_in_hand,
    penetration_depth_to_vertex,
    signed_distances,
    surface_voxel_intersection_volume,
    voxel_intersection_volume,
)
from tests.results.metrics.shapes import IN_THE_PALM, ball, mask, open_hand, volume_of


def test_a_fine_mesh_takes_the_work_of_a_coarse_one_and_has_its_measures(monkeypatch):
    """81,920 faces: what is exact at a cost of points times faces is asked next to the surface alone."""
    pairs = []
    exact = winding.winding_numbers

    def counted(vertices, faces, points):
        pairs.append(len(faces) * len(points))
        return exact(vertices, faces, points)

    monkeypatch.setattr(winding, "winding_numbers", counted)
    _, _, closed = open_hand()
    found = grasp_metrics(closed, ball(0.03, IN_THE_PALM, 6))
    assert sum(pairs) < 1e8
    coarse = grasp_metrics(closed, ball(0.03, IN_THE_PALM, 5))
    for key in ("mpd_mm", "object_depth_mm", "siv_cm3", "siv_voxels_cm3", "contact_ratio", "distance_mm"):
        assert found[key] == pytest.approx(coarse[key], rel=0.02, abs=0.02), key


LOOSE: Any = metrics
"""Called with what its types do not allow."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: LOOSE.grasp_metrics(b, b.vertices), "object: expected a Surface(vertices, faces), came ndarray"),
        (
            lambda b: LOOSE.grasp_metrics(Surface(b.vertices.T, b.faces), b),
            "hand: expected vertices of shape (v, 3), came (3",
        ),
        (
            lambda b: LOOSE.grasp_metrics(b, Surface(b.vertices, b.faces * 1.0)),
            "object: expected faces of shape (f, 3) and",
        ),
        (
            lambda b: LOOSE.grasp_metrics(b, Surface(b.vertices, b.faces + 9)),
            "object: expected faces of vertices 0 to 641",
        ),
        (lambda b: LOOSE.signed_distances(b, b.vertices.T), "points: expected an array of shape (p, 3), came (3, 642)"),
        (
            lambda b: LOOSE.maximal_penetration_depth(b, "a.obj"),
            "object: expected a Surface(vertices, faces), came str",
        ),
        (lambda b: LOOSE.sample_surface(b, 0), "count: expected a whole number from 1"),
        (lambda b: LOOSE.voxel_intersection_volume(b, b, 0.0), "pitch: expected a length in metres above 0, came 0.0"),
        (lambda b: LOOSE.surface_voxel_intersection_volume(b, b, -1.0), "pitch: expected a length in metres above 0"),
        (
            lambda b: LOOSE.fingers_of_vertices(np.zeros((5, 3))),
            "weights: expected an array of shape (v, 16), came (5, 3)",
        ),
        (
            lambda b: LOOSE.fingers_in_contact(np.zeros(5), np.zeros(4, int)),
            "distances and fingers: expected one of each",
        ),
        (lambda b: LOOSE.masked_iou(mask(), mask(), mask(shape=(2, 3))), "expected pictures of one height and width"),
        (
            lambda b: LOOSE.keypoint_error(np.zeros((21, 3)), np.zeros((21, 2))),
            "keypoints: expected two arrays of shape",
        ),
        (
            lambda b: LOOSE.hand_silhouette_iou(mask(), mask(), mask(), np.zeros((5, 2))),
            "keypoints: expected 21 of them",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(call, message):
    with pytest.raises(MeshError) as raised:
        call(ball(0.02))
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def test_grasp_metrics_are_the_single_ones_in_units_for_people():
    model, _, closed = open_hand()
    thing = ball(0.03, IN_THE_PALM)
    fingers, margin = fingers_of_vertices(model.weights), np.where(np.arange(len(closed.vertices)) % 2, 0.0005, 0.0)
    found = grasp_metrics(closed, thing, fingers, margin=margin)
    assert tuple(found) == tuple(GRASP_METRICS)
    exact = volume_of(closed, thing)
    assert exact > 1e-7
    distances = signed_distances(thing, closed.vertices)
    expected = {
        "mpd_mm": 1e3 * maximal_penetration_depth(closed, thing),
        "mpd_beyond_margin_mm": max(-1e3 * (d + m) for d, m in zip(distances, margin, strict=True)),
        "mpd_to_vertex_mm": 1e3 * penetration_depth_to_vertex(closed, thing),
        "object_depth_mm": 1e3 * object_depth_in_hand(closed, thing),
        "siv_cm3": 1e6 * exact,
        "siv_voxels_cm3": 1e6 * voxel_intersection_volume(closed, thing),
        "siv_surface_voxels_cm3": 1e6 * surface_voxel_intersection_volume(closed, thing),
        "contact_ratio": contact_ratio(closed, thing),
        "contact_ratio_paper": contact_ratio_of_vertices(closed, thing),
        "contact_ratio_hand_over_object": contact_ratio_hand_over_object(closed, thing),
        "contact_5mm": 1.0,
        "distance_mm": 1e3 * distances.min(),
        "fingers_in_contact": fingers_in_contact(distances, fingers).sum(),
    }
    assert found == pytest.approx(expected)
    assert expected["mpd_to_vertex_mm"] >= expected["mpd_mm"] > 0.5
    assert expected["siv_voxels_cm3"] == pytest.approx(expected["siv_cm3"], rel=0.03)
    # float32 arrays of JAX, and arrays by columns, say the same, but for voxels at the surface.
    for convert in (jnp.asarray, np.asfortranarray):
        meshes = [Surface(convert(mesh.vertices), convert(mesh.faces)) for mesh in (closed, thing)]
        assert grasp_metrics(*meshes, fingers=fingers, margin=margin) == pytest.approx(found, rel=0.02)


def test_a_hand_far_away_has_zeros():
    _, _, closed = open_hand()
    thing = ball(0.03, np.asarray(closed.vertices).max(axis=0) + 10)
    found = grasp_metrics(closed, thing)
    distance = found.pop("distance_mm")
    assert found.pop("fingers_in_contact") is None and found.pop("mpd_beyond_margin_mm") is None
    assert found == dict.fromkeys(found, 0.0)
    assert grasp_metrics(closed, thing, margin=np.full(len(closed.vertices), 1e-3))["mpd_beyond_margin_mm"] == 0
    corner = np.linalg.norm(np.asarray(closed.vertices) - thing.vertices.mean(axis=0), axis=1).min()
    assert distance == pytest.approx(1e3 * (corner - 0.03), abs=0.5)


def test_meshes_that_cannot_be_measured_are_refused():
    fine, bad = ball(0.02), ball(0.02)
    bad.vertices[5] = np.nan
    with pytest.raises(MeshError, match=r"^hand: expected a mesh of finite vertices, came nan"):
        grasp_metrics(bad, fine)
    with pytest.raises(MeshError, match=r"^object: expected a mesh of finite"):
        grasp_metrics(fine, Surface(fine.vertices, fine.faces[:0]))
    with pytest.raises(MeshError, match=r"^object: expected faces wound outward, came inward ones"):
        grasp_metrics(fine, Surface(fine.vertices + 3, fine.faces[:, ::-1]))
    # An open one has two sides and is taken as it is.
    assert grasp_metrics(fine, Surface(fine.vertices, fine.faces[:600, ::-1]))["siv_cm3"] is None


def lines_of(text):
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: row[1] for row in rows if row[0] in GRASP_METRICS and row[1] != "is"}


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_fgs_metrics_prints_the_table(tmp_path, capsys, suffix):
    model, _, closed = open_hand()
    thing = ball(0.03, IN_THE_PALM)
    paths = [tmp_path / f"hand.{suffix}", tmp_path / f"thing.{suffix}"]
    for path, mesh in zip(paths, (closed, thing), strict=True):
        trimesh.Trimesh(*mesh, process=False).export(path)
    assert main(["metrics", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    margin = skin_margins(model)
    larger = mano_kind(model).margin_of_vertices(jnp.asarray(1.2))
    assert larger is not None
    np.testing.assert_allclose(1.2 * margin, larger, rtol=1e-6)
    expected = grasp_metrics(closed, thing, fingers_of_vertices(model.weights), margin=margin)
    table = lines_of(printed)
    assert tuple(table) == tuple(GRASP_METRICS)
    assert {key: float(value) for key, value in table.items()} == pytest.approx(expected, abs=0.002, rel=0.02)
    assert "left out" not in printed
    rows = printed.splitlines()
    assert len({row.index(GRASP_METRICS[row.split()[0]]) for row in rows}) == 1  # aligned
    assert main(["metrics", *map(str, paths), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected, abs=0.002, rel=0.02)


def test_fgs_metrics_says_what_it_leaves_out(tmp_path, capsys):
    model, _, closed = open_hand()
    paths = [str(tmp_path / "hand.stl"), str(tmp_path / "thing.ply")]  # stl files do not keep the order of vertices
    trimesh.Trimesh(closed.vertices, model.faces, process=False).export(paths[0])
    trimesh.Trimesh(*ball(0.03), process=False).export(paths[1])
    assert main(["metrics", *paths]) == 0
    printed = capsys.readouterr().out
    table = lines_of(printed)
    assert table["siv_cm3"] == table["fingers_in_contact"] == table["mpd_beyond_margin_mm"] == "-"
    assert "siv_cm3 is left out: the hand's mesh is open, so it has no exact boolean" in printed
    for name in ("fingers_in_contact", "mpd_beyond_margin_mm"):
        assert f"{name} is left out: the hand's mesh is not one of open_hand or open_hand_full" in printed
    assert f"{paths[0]}: merged " in printed


@pytest.mark.parametrize(
    "content", [None, "", "v 0 0 0\nv 1 0 0\nv 0 nan 1\nf 1 2 3\n", "v 0 0 0\nv 90 0 0\nv 0 99 0\nf 1 2 3\n"]
)
def test_fgs_metrics_refuses_a_bad_file_in_a_line(tmp_path, capsys, content):
    good, bad = tmp_path / "thing.obj", tmp_path / "bad.obj"
    trimesh.Trimesh(*ball(0.03), process=False).export(good)
    if content is not None:
        bad.write_text(content)
    for paths in ([bad, good], [good, bad]):
        assert main(["metrics", *map(str, paths)]) == 2
        streams = capsys.readouterr()
        assert streams.out == "" and streams.err.startswith(f"fgs: {bad}: expected ") and streams.err.count("\n") == 1
