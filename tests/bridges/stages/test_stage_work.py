"""What single stages do with their inputs: spoilt boxes, an object alone, a grasp that is refused or stopped."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgs_bridges import stage_work, stages
from fgs_bridges.config import Choice
from fgs_bridges.run_folder import RECORDS
from fgs_jax.picture.scene_files import load_scene
from tests.bridges import stub_object_tools
from tests.bridges.stages.runs import TUMBLER, a_run, files, make
from tests.bridges.tiny_vision import picture


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", 'expected "hand" and "object", each with a "box" of 4 numbers'),
        ('{"hand": {"box": [1, 2, 3]}, "object": {"box": [1, 2, 3, 4]}}', "expected left top right bottom"),
        ('{"hand": {"box": [1, 2, 3, 4], "sid": 1}, "object": {"box": [1, 2, 3, 4]}}', 'expected "hand" and "object"'),
        ("{", "expected JSON, came none"),
    ],
)
def test_boxes_that_were_spoilt_by_hand(config, tmp_path, text, message):
    run = a_run(tmp_path / "run", config)
    make(run, until="boxes")
    (run.stage("boxes") / "boxes.json").write_text(text)
    failed, _ = make(run, until="hand")
    assert failed[run.folder].startswith("hand: ") and message in failed[run.folder]


@pytest.fixture
def triposr(config, tmp_path):
    """The stack with TripoSR, which takes its object on grey, and a picture of a red block on not quite white."""
    picture = np.full((64, 48, 3), 250, np.uint8)
    picture[0, :2] = 40  # a speck on the border
    picture[20:50, 10:30] = (200, 20, 20)
    Image.fromarray(picture).save(tmp_path / "block.png")
    tool = Choice("triposr", stub_object_tools.triposr(tmp_path / "tool", "good"))
    files = Choice("files", {"images": [str(tmp_path / "block.png")]})
    return replace(config, object=tool, object_picture=files)


def test_an_object_s_program_gets_the_object_alone_and_its_files_stay_with_the_run(triposr, tmp_path):
    run, other = a_run(tmp_path / "run", triposr), a_run(tmp_path / "elsewhere", triposr)
    assert make(run)[0] == {} and make(other)[0] == {}
    kept = run.folder / RECORDS / "object"
    assert {path.name for path in kept.iterdir()} == {"image.png", "output", "log.txt"}
    shown = np.asarray(Image.open(kept / "image.png"))
    assert (shown == (200, 20, 20)).all(axis=2).sum() == 30 * 20 and len(np.unique(shown.reshape(-1, 3), axis=0)) == 2
    assert (shown[0] == 127).all()
    made = load_scene(run.stage("scene")).provenance["object"]
    assert "about the object's mask, on grey" in made["notes"][0] and made["options"]["folder"] == ""
    assert files(run.stage("scene")) == files(other.stage("scene"))


def test_a_program_that_needs_the_object_alone_does_not_get_its_background(triposr, tmp_path):
    Image.fromarray(picture(64, 48)).save(tmp_path / "block.png")
    run = a_run(tmp_path / "run", triposr)
    failed, _ = make(run, until="object")
    assert failed[run.folder].startswith("object: ") and "expected an object before a plain background" in str(failed)
    whole = replace(triposr, object=Choice("michelangelo", michelangelo(tmp_path)))
    run = a_run(tmp_path / "whole", whole)
    assert make(run, until="object")[0] == {}
    assert "about the whole picture, on white" in json.loads(run.record("object").read_text())["provenance"]["notes"][0]


def michelangelo(folder: Path):
    return stub_object_tools.michelangelo(folder / "michelangelo", "good")


def test_a_grasp_that_cannot_be_refined_is_one_line(config, tmp_path, monkeypatch):
    """All the way to the refinement, which refuses the hand model that is not here."""
    monkeypatch.delenv("FGS_MANO_DIR", raising=False)
    (tmp_path / "refine.yaml").write_text("hand_model: mano\n")
    run = a_run(tmp_path / "run", replace(config, refine=str(tmp_path / "refine.yaml")))
    failed, told = make(run, until="grasp")
    assert failed == {run.folder: failed[run.folder]} and "run: scene: done" in told
    assert failed[run.folder].startswith("grasp: mano: expected $FGS_MANO_DIR to name the folder of MANO_RIGHT.pkl")
    assert not run.stage("grasp").exists()


def test_a_grasp_that_is_stopped_is_no_failure_and_goes_on(config, tmp_path, monkeypatch):
    run = a_run(tmp_path / "run", config)
    shutil.copytree(TUMBLER, run.stage("scene"))
    recovered = []

    def stopped(scene, config, *, journal, progress):
        recovered.append(journal.recovered)
        journal.run(lambda: {"x": np.ones(1)})
        raise KeyboardInterrupt

    monkeypatch.setattr(stage_work, "refine", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stage_work.STAGE_WORK["grasp"](run, tmp_path / "out", {})
    assert recovered == [0, 1]
    monkeypatch.setattr(stages, "run_stages", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert stages.main(["images", str(tmp_path / "run")]) == 130
