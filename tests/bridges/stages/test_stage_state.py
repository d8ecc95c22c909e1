"""What a stage was made from: the content of files that options name, and what makes a stage stale."""

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest

from fgs_bridges import stage_state
from fgs_bridges.stage_state import state
from fgs_jax.errors import BridgeError
from fgs_jax.hands.files import locate_hand_file
from tests.bridges.stages.runs import a_run, make, with_options


def test_the_content_of_a_file_that_an_option_names_counts(config, tmp_path, inputs):
    boxes = tmp_path / "boxes.json"
    boxes.write_bytes((inputs / "boxes.json").read_bytes())
    run = a_run(tmp_path / "run", with_options(config, "detector", path=str(boxes)))
    make(run, until="hand")
    boxes.write_text(boxes.read_text().replace("[", "[ "))
    assert state(run, "boxes") == "stale" and state(run, "images") == "made"
    assert state(run, "hand") == "made"
    assert "run: hand: kept" in make(run, until="hand")[1]  # the boxes came out as they were


def test_a_file_that_is_gone_is_made_again(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    make(run, until="boxes")
    (run.stage("boxes") / "boxes.json").unlink()
    assert state(run, "boxes") == "missing"
    assert make(run, until="boxes")[1][-1] == "run: boxes: done"
    run.record("images").unlink()
    assert state(run, "images") == "missing"


@pytest.mark.parametrize("change", [{"files": None}, {"files": [1]}, {"fingerprint": 3}])
def test_a_damaged_record_of_a_stage_gets_one_line(config, tmp_path, change):
    run = a_run(tmp_path / "run", config)
    run.stage("boxes").mkdir(parents=True)
    run.record("boxes").parent.mkdir()
    run.record("boxes").write_text(json.dumps({"fingerprint": "", "files": {}} | change))
    with pytest.raises(BridgeError, match=r"boxes\.json: expected a value of another type"):
        state(run, "boxes")


def test_options_are_known_by_the_content_of_what_they_name(config, inputs, tmp_path, monkeypatch):
    """However a path is written; a plain word is no path, though a file here has that name."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(inputs / "hand.json", tmp_path / "mine.json")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"one")

    def mark(stage: str, kind: str, **options: Any) -> str:
        return stage_state.fingerprint(a_run(tmp_path / "run", with_options(config, kind, **options)), stage)

    paths = (str(inputs / "hand.json"), "mine.json", "./mine.json", "../" + tmp_path.name + "/mine.json")
    assert len({mark("hand", "hand", path=path) for path in paths}) == 1
    assert (
        len({mark("images", "text_to_image", lora=path) for path in ("model", "./model", str(tmp_path / "model"))}) == 1
    )
    before = mark("hand", "hand", path="mine.json"), mark("images", "text_to_image", lora="model")
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "model" / "weights.bin").write_bytes(b"two")
    after = mark("hand", "hand", path="mine.json"), mark("images", "text_to_image", lora="model")
    assert before[0] != after[0] and before[1] != after[1]
    assert mark("hand", "hand", path="none.json") != mark("hand", "hand", path="nil.json")
    # Words: of the text, a back end, a device, a side.
    word = a_run(tmp_path / "run", with_options(config, "hand", device="cpu"), "mug")
    marks = [stage_state.fingerprint(word, stage) for stage in ("images", "hand", "masks")]
    for name in ("mug", "cpu", "file", "files", "travel tumbler", "segmenter", "metric", "fast", "open_hand"):
        (tmp_path / name).write_text("a file of that name")
    assert [stage_state.fingerprint(word, stage) for stage in ("images", "hand", "masks")] == marks


def test_a_grasp_is_of_a_hand_file_s_content_and_of_the_code(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one.npz", "two.npz"):
        shutil.copy(locate_hand_file("open_hand")[1], tmp_path / name)
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"hand_model: {name}.npz")

    def mark(refine: str) -> str:
        return stage_state.fingerprint(a_run(tmp_path / "run", replace(config, refine=refine)), "grasp")

    assert len({mark(name) for name in ("fast", "one.yaml", "./two.yaml", str(tmp_path / "one.yaml"))}) == 1
    before = mark("fast")
    (tmp_path / "fast").write_text("restarts: 3")
    assert mark("fast") == before
    with (tmp_path / "two.npz").open("ab") as file:
        file.write(b" ")
    assert mark("two.yaml") != mark("one.yaml") == before
    monkeypatch.setattr(stage_state, "code_mark", lambda: "of another version")
    assert mark("fast") != before
