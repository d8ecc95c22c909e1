"""From texts to scenes, stage by stage, on real files: runs, reruns, edits, failures, locks, and files of prompts."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fgs_bridges.config import Choice
from fgs_bridges.run_folder import WORK
from fgs_bridges.stage_state import state
from fgs_bridges.text_to_grasp import Prompt, folder_name, read_prompts
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.picture.scene_files import load_scene
from tests.bridges.stages.runs import TUMBLER, UNTIL_SCENE, a_run, files, make, with_options


def test_processes_of_their_own_give_the_same_scene_bytes_as_one(config, tmp_path):
    run, other = a_run(tmp_path / "many", config), a_run(tmp_path / "one", config)
    failed, told = make(run, in_process=False)
    assert not failed and [line for line in told if line.endswith("done")] == [f"many: {s}: done" for s in UNTIL_SCENE]
    assert make(other)[0] == {}
    for stage in UNTIL_SCENE:
        assert files(run.stage(stage)) == files(other.stage(stage)), stage
        assert state(run, stage) == "made" and not run.record(stage, "failed").exists()
        assert not run.record(stage, "log").read_text()

    scene, shipped = load_scene(run.stage("scene")), load_scene(TUMBLER)
    for part in ("image", "hand_mask", "object_mask", "keypoints_2d", "world_landmarks"):
        np.testing.assert_array_equal(getattr(scene, part), getattr(shipped, part))
    np.testing.assert_array_equal(scene.object.vertices, shipped.object.vertices)
    assert scene.object_image is not None and scene.object_image.shape == (64, 48, 3) and scene.object.size == "metric"
    made = scene.provenance
    assert made["image"]["interaction"]["backend"] == made["image"]["object"]["backend"] == "files"
    assert made["boxes"]["backend"] == "manual" and made["masks"]["hand"]["backend"] == "file"
    assert not (run.folder / WORK).exists()


def test_a_rerun_keeps_what_is_there_and_remakes_what_changed(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    make(run)
    before = {stage: run.stage(stage).stat().st_ino for stage in UNTIL_SCENE}
    assert make(run)[1] == [f"run: {stage}: kept" for stage in UNTIL_SCENE]
    assert {stage: run.stage(stage).stat().st_ino for stage in UNTIL_SCENE} == before

    changed = replace(run, config=replace(config, focal=600.0))
    _, told = make(changed)
    assert told == [f"run: {stage}: kept" for stage in UNTIL_SCENE[:-1]] + ["run: scene ...", "run: scene: done"]
    np.testing.assert_array_equal(np.asarray(load_scene(run.stage("scene")).camera.focal), 600)

    # Another seed makes other pictures of the text: here the same ones, so that only what used it is made again.
    _, told = make(replace(changed, config=replace(changed.config, seed=1)))
    assert [line for line in told if line.endswith("kept")] == [f"run: {s}: kept" for s in ("boxes", "hand", "masks")]


def test_what_was_edited_by_hand_is_kept_used_and_said(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    make(run)
    mask = np.array(Image.open(run.stage("masks") / "hand_mask.png"))
    mask[:, 500:] = 0  # without the forearm
    Image.fromarray(mask).save(run.stage("masks") / "hand_mask.png")
    failed, told = make(run)
    assert not failed and "run: masks: kept, edited by hand" in told and told[-1] == "run: scene: done"
    scene = load_scene(run.stage("scene"))
    assert not scene.hand_mask[:, 500:].any() and scene.provenance["masks"]["edited"] == "by hand"

    # To make it again from something else would lose the edit.
    failed, _ = make(replace(run, config=replace(config, hand_mask="silhouette")))
    assert failed[run.folder].startswith("masks: ") and "was edited by hand" in failed[run.folder]
    np.testing.assert_array_equal(np.array(Image.open(run.stage("masks") / "hand_mask.png")), mask)


def test_a_failing_stage_is_one_line_leaves_nothing_and_does_not_stop_others(config, tmp_path):
    good = a_run(tmp_path / "good", config)
    bad = a_run(tmp_path / "bad", with_options(config, "segmenter", path=str(TUMBLER / "image.json")))
    failed, told = make(bad, good)
    assert list(failed) == [bad.folder] and "\n" not in failed[bad.folder]
    assert failed[bad.folder].startswith("masks: file: ") and "expected a picture" in failed[bad.folder]
    assert "good: scene: done" in told and "bad: hand: done" in told
    assert not bad.stage("masks").exists() and not bad.stage("scene").exists()
    assert not [path for path in (bad.folder / WORK).rglob("*") if path.is_file()]
    # Mended, it goes on where it failed.
    mended = a_run(bad.folder, config)
    failed, told = make(mended)
    assert not failed and told[:3] == [f"bad: {stage}: kept" for stage in ("images", "boxes", "hand")]
    assert not bad.record("masks", "failed").exists()


def test_a_process_that_dies_fails_its_prompt_alone(config, tmp_path, monkeypatch):
    """The child is killed at the first prompt, as by a lack of memory; another one goes on with the second."""
    first, second = a_run(tmp_path / "first", config), a_run(tmp_path / "second", config, "a hand lifts it")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'first' in ' '.join(sys.orig_argv) and 'fgs_bridges.stages' in sys.orig_argv:\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, sys.path)]))
    failed, told = make(first, second, until="images", in_process=False)
    assert list(failed) == [first.folder]
    assert failed[first.folder].startswith("images: its process was ended by SIGKILL: out of memory?; see ")
    assert told[-1] == "second: images: done"


def test_two_processes_do_not_share_a_folder(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    make(run, until="images")
    fcntl = pytest.importorskip("fcntl", reason="this system has no flock")
    with (run.folder / ".lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BridgeError, match="another process is at work here; wait for it, or stop it"):
            make(run)


def test_without_locks_of_files_it_is_said_and_the_stages_are_made(config, tmp_path, without):
    """As on a system that has neither POSIX's locks nor those of Windows."""
    without("fcntl", "msvcrt")
    failed, told = make(a_run(tmp_path / "run", config), until="images", in_process=False)
    assert not failed and (tmp_path / "run" / "images").is_dir()
    assert told[0] == "run: this system has no locks of files: see to it that no other fgs runs here"
    assert told[-1] == "run: images: done"


def test_a_folder_of_something_else_is_left_alone(config, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"")
    with pytest.raises(BridgeError, match=r"photos: expected an empty folder or one of a run, holds mine\.jpg"):
        make(a_run(tmp_path / "photos", config))
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["mine.jpg"]


def test_what_cannot_be_made_here_is_said_before_anything_is_made(config, tmp_path):
    michelangelo = replace(config, object=Choice("michelangelo", {"checkout": "none"}))
    with pytest.raises(BridgeUnavailable, match=r"object\.michelangelo: expected "):
        make(a_run(tmp_path / "run", michelangelo))
    assert not (tmp_path / "run").exists()
    make(a_run(tmp_path / "run", michelangelo), until="masks")  # which does not need it
    with pytest.raises(ConfigError, match=r"hand\.file: expected options among .*got pth; did you mean path"):
        make(a_run(tmp_path / "other", replace(config, hand=Choice("file", {"pth": "x"}))))
    with pytest.raises(ConfigError, match="refined: expected fast, paper, given or a YAML file, there is none"):
        make(a_run(tmp_path / "other", replace(config, refine="refined")), until="grasp")
    assert not (tmp_path / "other").exists()


def test_prompts_of_a_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("# mine\n\na hand drinks from a mug | mug\na hand holds A | B | can\n")
    assert read_prompts(path) == [Prompt("a hand drinks from a mug", "mug"), Prompt("a hand holds A | B", "can")]
    for text, message in (
        ("a hand drinks\n", 'line 1: expected "TEXT | OBJECT", got "a hand drinks"; name the object'),
        ("\na |\n", 'line 2: expected "TEXT | OBJECT"'),
        ("# none\n", 'expected lines "TEXT | OBJECT", got none'),
        ("a | b\na | b\n", '"a" is there twice'),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_prompts(path)
        assert message in str(caught.value)
    with pytest.raises(ConfigError, match="expected a file of prompts, cannot be read"):
        read_prompts(tmp_path / "no.txt")


def test_names_of_folders():
    prompt = Prompt("A hand drinks water from a mug, ünd more", "mug")
    assert folder_name(prompt).startswith("a-hand-drinks-water-from-a-mug-nd-more-")
    assert folder_name(prompt) == folder_name(prompt) != folder_name(replace(prompt, object_name="cup"))
    assert len(folder_name(Prompt("水を飲む", "mug"))) == 6 and len(folder_name(Prompt(90 * "a ", "mug"))) <= 55
