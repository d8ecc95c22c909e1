"""`fgs refine` on small scenes: what it prints and writes, and each mistake in a line."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from fgs_jax.command_refine import OPTIONS, Refine
from fgs_jax.config import FAST
from fgs_jax.config_files import config_values
from fgs_jax.results.write import comparison
from fgs_jax.run_lock import RunLock
from tests.results.runs import snapshot, without_run
from tests.small_scene import SMALL, refined


@pytest.fixture(scope="module")
def result():
    return refined()


def test_a_run_tells_its_stages_and_its_measures(unbroken, result):
    written, printed = unbroken
    lines = printed.splitlines()
    stages = ("hand", "scale", "object pose", "contact", "metrics", "report")
    for line, stage in zip(lines, stages, strict=False):
        assert line.startswith(f"scene: {stage}") and line.endswith(" s")
    table = comparison(result).splitlines()
    assert lines[6:] == [*table, f"wrote {written / 'report.html'}"]
    mpd = [f"{part['mpd_mm']:.3f}" for part in result.metrics]
    assert table[0].split() == ["before", "after"] and table[1].split()[:3] == ["mpd_mm", *mpd]


def test_a_second_run_leaves_the_result_of_the_first(fgs, written, capsys):
    before = snapshot(written)
    assert fgs("scene", "--out", written) == 2
    error = capsys.readouterr().err
    assert error == f"fgs: {written}: is there already; give another --out, or --overwrite to replace it\n"
    assert snapshot(written) == before


def test_a_bad_scene_does_not_stop_the_others(fgs, out, capsys):
    assert fgs("far", "nowhere", "left", "--out", out) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 3
    assert error[0].startswith("fgs: hand and object: expected a distance of at most 30 mm at some depth, got")
    assert error[1] == "fgs: nowhere: scene.json: expected this file, there is none: check the folder"
    assert error[2] == "fgs: 2 of 3 scenes failed"
    assert [path.name for path in out.iterdir()] == ["left"]
    values = json.loads((out / "left" / "result.json").read_text())
    assert values["scene"]["side"] == "left" and values["metrics"]["after"]["mpd_mm"] < 2


def test_values_on_the_command_line_win_and_are_not_what_another_run_went_by(fgs, out, capsys, written):
    (out.with_name(".out.journal") / "0123456789abcdef" / "0").mkdir(parents=True)
    words = ["--contact.w-pen", "1e3", "--seed", "3", "--resume"]
    assert fgs("scene", "--out", out, *words) == 0
    assert "another scene or configuration than in the run that was killed: starts anew" in capsys.readouterr().out
    values = json.loads((out / "result.json").read_text())
    assert values["config"] == config_values(replace(SMALL, seed=3, contact=replace(SMALL.contact, w_pen=1e3)))
    assert values["seed"] == 3 and values["after"] != without_run(written / "result.json")["after"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scene", "--contact.w-pem", "5"], "--contact.w-pen"),
        (["scene", "--contact.w_pem", "5"], "--contact.w-pen"),
        (["scene", "--restart", "5"], "--restarts"),
        (["scene", "--contact.w-pen", "heavy"], "heavy"),
        (["scene", "--contact.schedule", "linear"], "linear"),
    ],
)
def test_a_word_that_is_not_known_names_the_nearest(fgs, out, capsys, words, message):
    assert fgs(*words, "--out", out) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["scene", "--contact.w-pen", "-5"],
            "configuration: contact: w_pen: expected a number that is not negative, got",
        ),
        (["scene", "--contact.reach", "nan"], "configuration: contact: reach: expected a number that is not negative"),
        (["scene", "--restarts", "0"], "configuration: restarts: expected at least 1, got 0; change it"),
        (
            ["scene", "--config", "fats"],
            "fats: expected fast, paper, given or a YAML file, there is none; check the path",
        ),
        (["scene", "--config=fats"], "fats: expected fast, paper, given or a YAML file, there is none; check the path"),
        (["scene", "--config"], "--config: expected fast, paper, given or a YAML file, got nothing"),
        (["scene", "--hand-model", "nix"], "nix: expected one of open_hand, open_hand_full, mano"),
        ([], "refine: expected folders of scenes, got none; give one, such as examples/scenes/tumbler"),
        (["scene", "scene"], "refine: expected scenes of different names, got scene, scene; rename one"),
        (["nowhere"], "nowhere: scene.json: expected this file, there is none: check the folder"),
        (["scene", "--grid", "100000"], "configuration: grid: expected at most 256, got 100000; change it"),
        (["scene", "--restarts", "9" * 400], "configuration: restarts: expected at most 1000000, got 99999"),
        (["scene", "--contact.angle-rate", "0"], "configuration: contact: angle_rate: expected more than 0, got 0.0"),
        (
            ["scene", "--contact.weights", "wrist_up", "5"],
            "contact: terms and weights: expected the same names in both, got terms none and weights wrist_up: give",
        ),
        (
            ["scene", "--contact.terms", "up", "no_such:up", "--contact.weights", "up", "5"],
            "contact: terms: up: expected a module that can be imported, got no_such:up",
        ),
        (
            ["scene", "--opa.terms", "up", "up", "--opa.weights", "up", "5"],
            "opa: terms: up: expected module:name, got 'up'",
        ),
        (["scene", "--contact.solver", "adamx"], "contact: solver: expected adam, adamw, "),
        (["scene", "--opa.solver", "no_such:x"], "opa: solver: expected a module that can be imported, got no_such:x"),
        (["scene", "--batch", "100000"], "--batch: expected a number from 1 to 256, got 100000"),
        (["scene", "--out", "/"], "/: expected a folder of its own for the result, came the root of all folders"),
        (["scene", "left", "--out", "/"], "/: expected a folder of its own for the result, came the root of all"),
        (["scene", "--out", ""], ".: expected a folder of its own for the result, came the current folder"),
        (["scene", "--out", ".."], "..: expected a folder of its own for the result, came the current folder, or one"),
        (["scene", "--out", "small.yaml/out"], "{place}/small.yaml/out: cannot be written (Not a directory)"),
        (["scene", "--out", "small.yaml"], "{place}/small.yaml: is there already"),
        (["scene", "--out", "scene/out"], "{place}/scene/out: lies in the folder of the scene scene; give another"),
        (["scene", "left", "--out", "left/o"], "{place}/left/o: lies in the folder of the scene left; give another"),
        (["scene", "--out", "n" * 250], "nnnn"),
        (["scene", "--out", "/".join(["a"] * 2500)], "a/a/"),
        (["scene", "--out", "a\0b"], "'a\\x00b': cannot be written (embedded null byte)"),
        (["scene", "--out", "~nobody-here/out"], "'~nobody-here/out': cannot be written (Could not determine home"),
        (["scene", "--out", "loop/out"], "'loop/out': cannot be written ("),
    ],
)
def test_a_mistake_is_one_line(fgs, out, capsys, words, message):
    place = out.parent
    before = sorted(place.rglob("*"))
    assert fgs("--out", out, *words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"fgs: {message.format(place=place)}") and printed.err.count("\n") == 1
    assert printed.out == "" and not out.exists() and sorted(place.rglob("*")) == before


def test_terms_and_weights_are_options(tmp_path):
    def read(base, *words):
        words = ["scene", *words]
        return tyro.cli(Refine, args=words, default=Refine((), base, Path("out")), registry=OPTIONS).config.contact

    contact = read(FAST, "--contact.terms", "up", "mine:up", "to", "mine:to", "--contact.weights", "up", "5", "to", "2")
    assert contact.terms == {"up": "mine:up", "to": "mine:to"} and contact.weights == {"up": 5.0, "to": 2.0}
    assert hash(contact) is not None
    changed = read(replace(FAST, contact=contact), "--contact.weights.up", "7")
    assert changed == replace(contact, weights={"up": 7.0, "to": 2.0})


def test_a_scene_is_not_overwritten_by_its_result(place, fgs, capsys):
    before = snapshot(place / "scene")
    assert fgs("scene", "--out", "scene", "--overwrite") == 2
    assert "holds other files than a result's" in capsys.readouterr().err
    assert snapshot(place / "scene") == before


def test_a_full_disk_ends_a_run_in_a_line(fgs, full_disk, capfd):
    assert fgs("scene", "--out", full_disk / "out") == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "cannot be written" in lines[0] and "free some space" in lines[0]
    assert not list(full_disk.iterdir())


@pytest.mark.parametrize("words", [[], ["--overwrite"], ["--resume"]])
def test_two_runs_do_not_share_a_folder(fgs, out, capsys, words):
    with RunLock(out) as first:
        assert fgs("scene", "--out", out, *words) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith(f"fgs: {out}: another run is at work here (process {os.getpid()} on ")
        assert printed.err.count("\n") == 1 and printed.out == "" and not out.exists()
        first.check()
    with RunLock(out / "left"):  # a scene's folder alone
        assert fgs("nowhere", "left", "--out", out, *words) == 2
        error = capsys.readouterr().err.splitlines()
        assert error[1].startswith(f"fgs: {out / 'left'}: another run is at work here")
        assert error[2] == "fgs: 2 of 2 scenes failed"
