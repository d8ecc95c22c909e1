"""Ablations on a small rendered scene: what each row changes and what becomes of it, a row that fails, the files."""

import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest

from fgs_jax.cli import main
from fgs_jax.config import CONFIGS, FAST
from fgs_jax.config_files import check_config, config_values
from fgs_jax.errors import ResultError, SceneError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.results import ablate as module
from fgs_jax.results.ablate import (
    FACTOR,
    FILES,
    HEAD,
    Outcome,
    ablate,
    cells,
    energy,
    markdown,
    rows,
    summary,
    write_ablation,
)
from fgs_jax.results.result import Result
from fgs_jax.results.values import flattened
from fgs_jax.stages.hand_in_picture import pose_hand
from fgs_jax.testing import as_scene
from tests.small_scene import SMALL, rendered

WEIGHTS = SMALL.contact.term_weights
MESH_FACTOR = 100.0


@pytest.fixture(scope="module")
def scene():
    """Of unknown size, its mesh so large that nobody can touch it where its size is believed."""
    return as_scene(rendered(), "unknown", MESH_FACTOR)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def outcomes(scene, told):
    return ablate(scene, SMALL, told.append)


@pytest.fixture(scope="module")
def by_name(outcomes):
    return {outcome.row.name: outcome for outcome in outcomes}


def changes(config, base):
    """What differs but for the phases of OPA, by dotted names."""
    ours, theirs = flattened(config_values(config)), flattened(config_values(base))
    return {name: ours[name] for name in ours if "phases" not in name and ours[name] != theirs[name]}


@pytest.mark.parametrize("base", [*CONFIGS.values(), SMALL])
def test_each_row_leaves_out_what_it_says(base):
    scene = as_scene(rendered())
    configs = {row.name: row.config for row in rows(scene, base)}
    opa = configs["without OPA"]
    (phase,) = opa.opa.phases
    assert phase == replace(base.opa.phases[-1], keep=1.0, least=1, steps=1)
    expected = {"restarts": 1, "opa.candidates": 1, "opa.polish_evaluations": 0}
    left = flattened(config_values(base))
    assert changes(opa, base) == {name: value for name, value in expected.items() if left[name] != value}
    wanted = {"contact.pose_start": 0.0, "contact.w_theta": 0.0, "contact.w_keypoint": 0.0}
    assert changes(configs["without the hand prior"], base) == {k: v for k, v in wanted.items() if left[k] != v}
    assert changes(configs["without E_prior"], base) == {"contact.w_prior": 0.0}
    for name in ("full", "size unknown", "without scale alignment", "without energies"):
        assert configs.pop(name) == base
    assert len(configs) == 3
    for config in configs.values():
        check_config(config)


def test_scale_is_left_out_where_it_has_to_be_found():
    metric, unknown = as_scene(rendered()), as_scene(rendered(), "unknown", 7.0)
    ours = {row.name: row for row in rows(metric, FAST)}
    for name, size in (("size unknown", "unknown"), ("without scale alignment", "metric")):
        assert ours[name].scene.object.size == size and ours[name].factor == FACTOR
        np.testing.assert_array_equal(ours[name].scene.object.vertices, FACTOR * metric.object.vertices)
    theirs = {row.name: row for row in rows(unknown, FAST)}
    assert set(ours) - set(theirs) == {"size unknown"}
    believed = theirs["without scale alignment"]
    assert believed.scene.object.size == "metric" and believed.factor == 1
    np.testing.assert_array_equal(believed.scene.object.vertices, unknown.object.vertices)
    for all_rows, given in ((ours, metric), (theirs, unknown)):
        scaled = ("size unknown", "without scale alignment")
        assert all(row.scene is given and row.factor == 1 for row in all_rows.values() if row.name not in scaled)
        assert [row.name for row in all_rows.values() if not row.when] == ["without energies"]


@pytest.mark.long
def test_without_energies_the_hand_stays_and_enters_the_object(by_name, scene):
    outcome, full = by_name["without energies"], by_name["full"].found
    model = load_hand_model("open_hand")
    seen = jax.jit(hand)(model, pose_hand(scene, model))
    np.testing.assert_allclose(outcome.found.hand_vertices[outcome.row.when], seen.vertices, atol=1e-6)
    assert np.abs(full.hand_vertices[1] - seen.vertices).max() > 0.002
    without = outcome.found.metrics[outcome.row.when]
    assert without["mpd_mm"] > 2 * full.metrics[1]["mpd_mm"]
    assert without["siv_cm3"] > 2 * full.metrics[1]["siv_cm3"]
    assert energy(outcome, WEIGHTS) is None


@pytest.mark.long
def test_without_opa_the_object_is_where_it_starts(by_name, scene):
    row, found = by_name["without OPA"]
    # Of the mesh as it was given, whose size Eq. 4-6 alone say.
    assert len(found.poses.scale) == 1 and found.poses.scale[0] == np.float32(found.scale["k_scale"])
    corners = found.object_vertices(0)
    placed = (corners.min(axis=0) + corners.max(axis=0)) / 2
    focal, principal = np.asarray(found.camera.focal), np.asarray(found.camera.principal)
    mask = np.argwhere(scene.object_mask)[:, ::-1].mean(axis=0)
    extent = np.ptp(np.argwhere(scene.object_mask), axis=0).max()
    assert np.linalg.norm(placed[:2] / placed[2] * focal + principal - mask) < extent / 3
    assert placed[2] == pytest.approx(found.hand_vertices[0][:, 2].mean(), abs=0.05)
    assert found.metrics[1]["masked_iou"] < by_name["full"].found.metrics[1]["masked_iou"] - 0.2
    assert row.when == 1


@pytest.mark.long
def test_without_the_hand_prior_the_fingers_leave_the_picture(by_name):
    full, without = (by_name[name].found.metrics[1] for name in ("full", "without the hand prior"))
    assert without["keypoint_error_px"] > 1.5 * full["keypoint_error_px"]
    assert without["mpd_mm"] < 2


@pytest.mark.long
def test_energies_are_of_the_full_weights(by_name):
    full, without = by_name["full"], by_name["without E_prior"]
    assert energy(full, WEIGHTS) == full.found.candidates[0].energy
    left_out = WEIGHTS["prior"] * without.found.terms["prior"][-1]
    assert left_out > 0.5
    assert energy(without, WEIGHTS) == pytest.approx(without.found.candidates[0].energy + left_out)


@pytest.mark.long
def test_a_row_that_fails_is_told_and_does_not_stop_the_others(outcomes, told, by_name):
    assert told == outcomes
    row, error = by_name["without scale alignment"]
    assert isinstance(error, SceneError)
    line = cells(Outcome(row, error), WEIGHTS)
    assert line == [f"without scale alignment: failed, {error}", *["–"] * (len(HEAD) - 1)]
    assert all(isinstance(outcome.found, Result) for name, outcome in by_name.items() if name != row.name)


def test_where_all_fail_the_first_error_is_raised(scene):
    with pytest.raises(SceneError, match="NaN"):
        ablate(replace(scene, keypoints_2d=np.full((21, 2), np.nan)), SMALL)


@pytest.mark.long
def test_the_table(outcomes, by_name):
    lines = [markdown(line) for line in (HEAD, *(cells(outcome, WEIGHTS) for outcome in outcomes))]
    assert lines[0].count("\n") == 1
    assert {line.count("|") for line in "\n".join(lines).split("\n")} == {len(HEAD) + 1}
    full = by_name["full"].found
    expected = [f"{full.metrics[1][name]:.3f}" for name in module.COLUMNS]
    size = f"× {float(full.after.scale):.3f}"
    assert lines[1] == f"| full | {' | '.join(expected)} | {full.candidates[0].energy:.3f} | {size} |"
    assert "|" not in markdown(["a | b", "c"]).replace("\\|", "")[1:-1].replace(" | ", "")


@pytest.mark.long
def test_files(outcomes, tmp_path):
    folder = tmp_path / "ablation"
    write_ablation(outcomes, folder, source="here")
    assert {path.name for path in folder.iterdir()} == FILES and list(tmp_path.iterdir()) == [folder]
    values = json.loads((folder / "ablation.json").read_text())
    assert values == summary(outcomes, "here") and values["scene"]["source"] == "here"
    entries = {entry["name"]: entry for entry in values["rows"]}
    assert entries["full"]["changed"] == {} and entries["without E_prior"]["changed"] == {"contact.w_prior": 0}
    assert entries["without energies"]["grasp"] == "before contact optimisation"
    assert entries["without energies"]["metrics"] == outcomes[-1].found.metrics[0]
    assert entries["full"]["metrics"] == outcomes[0].found.metrics[1]
    assert entries["without scale alignment"]["error"].startswith("hand and object")
    document = (folder / "ablation.html").read_text()
    captions = re.findall("<figcaption>(.*?)</figcaption>", document)
    drawn = [outcome.row for outcome in outcomes if isinstance(outcome.found, Result)]
    assert [caption.partition(":")[0] for caption in captions[::2]] == [row.name for row in drawn]
    assert captions[1::2] == [f"{row.name}, from the right" for row in drawn]
    pictures = re.findall('src="([^"]+)"', document)
    assert len(set(pictures)) == len(pictures) == 2 * len(drawn)
    assert document.count("failed") == 1 and "<script" not in document


@pytest.mark.long
def test_a_folder_is_replaced_only_when_asked_and_only_an_ablation(outcomes, tmp_path):
    folder = tmp_path / "ablation"
    folder.mkdir()
    (folder / "ablation.json").write_text("old")
    with pytest.raises(ResultError, match="is there already"):
        write_ablation(outcomes, folder)
    assert (folder / "ablation.json").read_text() == "old"
    write_ablation(outcomes, folder, overwrite=True)
    assert {path.name for path in folder.iterdir()} == FILES
    (folder / "result.json").write_text("mine")
    with pytest.raises(ResultError, match="other files"):
        write_ablation(outcomes, folder, overwrite=True)
    assert (folder / "result.json").read_text() == "mine" and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["{tmp}/none", "--out", "{tmp}/out"], "none"),
        (["{tmp}/none", "--out", "{tmp}"], "is there already"),
        (["{tmp}/none", "--out", "{tmp}/out", "--config", "fats"], "fast"),
        (["{tmp}/none"], "--out"),
    ],
)
def test_bad_input_is_said_and_nothing_is_written(words, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path.parent))  # what the tests have set stays
    assert main(["ablate", *(word.format(tmp=tmp_path) for word in words)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and expected in said.err
    assert list(tmp_path.iterdir()) == []
