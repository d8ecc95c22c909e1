"""From a text to a scene and a grasp, stage by stage, on real files: a run, a rerun, a kill, edits, failures."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from fgs_bridges import stage_state, stage_work, stages
from fgs_bridges.config import Backends, Choice, generate_config
from fgs_bridges.geometry import mask_box
from fgs_bridges.hands import write_hands
from fgs_bridges.run_folder import RECORDS, STAGES, WORK, Run, read_run, write_run
from fgs_bridges.stage_state import state
from fgs_bridges.stages import run_stage
from fgs_bridges.text_to_grasp import Prompt, folder_name, read_prompts, text_to_grasp
from fgs_bridges.types import HandEstimate
from fgs_jax.errors import BridgeError, BridgeUnavailable, ConfigError
from fgs_jax.hands.files import locate_hand_file
from fgs_jax.picture.scene_files import load_scene
from tests.bridges import stub_object_tools
from tests.bridges.tiny_vision import picture

TUMBLER = Path(__file__).parents[2] / "examples" / "scenes" / "tumbler"
UNTIL_SCENE = STAGES[:-1]


@pytest.fixture(autouse=True)
def cache(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(getattr(jax.config, "jax_compilation_cache_dir")))  # noqa: B009


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The shipped tumbler as the files that back ends read."""
    folder, scene = tmp_path_factory.mktemp("inputs"), load_scene(TUMBLER)
    boxes = {
        "hands": [{"box": mask_box(scene.hand_mask).tolist()}],
        "objects": [{"box": mask_box(scene.object_mask).tolist()}],
    }
    (folder / "boxes.json").write_text(json.dumps(boxes))
    hand = HandEstimate("right", keypoints_2d=scene.keypoints_2d, world_landmarks=scene.world_landmarks)
    write_hands(folder / "hand.json", [hand])
    Image.fromarray(np.full((64, 48, 3), 200, np.uint8)).save(folder / "object.png")
    return folder


@pytest.fixture
def config(inputs):
    return generate_config(
        {
            "text_to_image": {"backend": "files", "images": [str(TUMBLER / "image.png")]},
            "object_picture": {"backend": "files", "images": [str(inputs / "object.png")]},
            "detector": {"backend": "manual", "path": str(inputs / "boxes.json")},
            "segmenter": {"backend": "file", "path": str(TUMBLER / "hand_mask.png")},
            "object_segmenter": {"backend": "file", "path": str(TUMBLER / "object_mask.png")},
            "hand": {"backend": "file", "path": str(inputs / "hand.json")},
            "object": {"backend": "file", "path": str(TUMBLER / "object.ply")},
            "object_size": "metric",
            "focal": 560,
        }
    )


def a_run(folder: Path, config, text: str = "a hand drinks from a travel tumbler") -> Run:
    return Run(folder, text, "travel tumbler", None, config)


def make(*runs: Run, until: str = "scene", in_process: bool = True) -> tuple[dict[Path, str], list[str]]:
    told: list[str] = []
    return text_to_grasp(runs, until=until, in_process=in_process, tell=told.append), told


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def with_options(config, kind: str, **options):
    choice = config.backends[kind]
    return replace(config, **{kind: Choice(choice.backend, choice.options | options)})


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


def test_the_content_of_a_file_that_an_option_names_counts(config, tmp_path, inputs):
    boxes = tmp_path / "boxes.json"
    boxes.write_bytes((inputs / "boxes.json").read_bytes())
    run = a_run(tmp_path / "run", with_options(config, "detector", path=str(boxes)))
    make(run, until="hand")
    boxes.write_text(boxes.read_text().replace("[", "[ "))
    assert state(run, "boxes") == "stale" and state(run, "images") == "made"
    assert state(run, "hand") == "made"
    assert "run: hand: kept" in make(run, until="hand")[1]  # the boxes came out as they were


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


def test_a_file_that_is_gone_is_made_again(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    make(run, until="boxes")
    (run.stage("boxes") / "boxes.json").unlink()
    assert state(run, "boxes") == "missing"
    assert make(run, until="boxes")[1][-1] == "run: boxes: done"
    run.record("images").unlink()
    assert state(run, "images") == "missing"


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


def test_a_stage_that_fails_keeps_what_it_made_before(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    make(run, until="masks")
    before = files(run.stage("masks"))
    failed, _ = make(replace(run, config=with_options(config, "object_segmenter", path="no.png")), until="masks")
    assert failed[run.folder].startswith("masks: ")
    assert files(run.stage("masks")) == before and state(run, "masks") == "made"


def test_a_defect_is_one_line_and_its_traceback_is_in_the_log(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    write_run(run)
    defect = "import sys, fgs_bridges.stages as s; s.read_run = lambda folder: None; sys.exit(s.main(sys.argv[1:]))"
    words = [sys.executable, "-c", defect, "images", str(run.folder)]
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    line = run.record("images", "failed").read_text()
    assert line.startswith("images: AttributeError: ") and line.count("\n") == 1
    assert "Traceback" in run.record("images", "log").read_text() and not ended.stderr
    assert not run.stage("images").exists()


@pytest.mark.parametrize("change", [{"object": 3}, {"text": None}, {"side": []}, {"config": "open"}])
def test_a_damaged_record_of_a_run_gets_one_line(config, tmp_path, change):
    run = a_run(tmp_path / "run", config)
    write_run(run)
    values = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(values | change))
    with pytest.raises(BridgeError, match=rf'run\.json: expected a value of another type as "{next(iter(change))}"'):
        read_run(run.folder)
    (run.folder / "run.json").write_text(json.dumps({name: values[name] for name in values if name not in change}))
    with pytest.raises(BridgeError, match=r"came none; mend it$"):
        read_run(run.folder)


@pytest.mark.parametrize("change", [{"files": None}, {"files": [1]}, {"fingerprint": 3}])
def test_a_damaged_record_of_a_stage_gets_one_line(config, tmp_path, change):
    run = a_run(tmp_path / "run", config)
    run.stage("boxes").mkdir(parents=True)
    run.record("boxes").parent.mkdir()
    run.record("boxes").write_text(json.dumps({"fingerprint": "", "files": {}} | change))
    with pytest.raises(BridgeError, match=r"boxes\.json: expected a value of another type"):
        state(run, "boxes")


@pytest.mark.parametrize("when", ["writing", "renaming"])
def test_a_killed_process_leaves_no_half_written_stage(config, tmp_path, when):
    """Killed as hard as can be, in the middle of its files and between its two renames."""
    run = a_run(tmp_path / "run", config)
    make(run, until="masks")
    before = files(run.stage("masks"))
    changed = replace(run, config=with_options(config, "segmenter", path=str(TUMBLER / "object_mask.png")))
    changed = replace(
        changed, config=with_options(changed.config, "object_segmenter", path=str(TUMBLER / "hand_mask.png"))
    )
    write_run(changed)
    kill = "lambda *a: __import__('os').kill(__import__('os').getpid(), 9)"
    patch = {
        "writing": f"s.stage_work._write_picture = lambda path, picture: (path.write_bytes(b'half'), ({kill})())",
        "renaming": f"rename = __import__('pathlib').Path.rename; "
        f"__import__('pathlib').Path.rename = lambda self, to: ({kill})() if self.name == 'out' else rename(self, to)",
    }[when]
    code = f"import fgs_bridges as s, fgs_bridges.stages\n{patch}\ns.stages.main(['masks', {str(run.folder)!r}])"
    died = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not run.stage("masks").exists() or files(run.stage("masks")) == before
    assert state(changed, "masks") in ("missing", "stale")
    failed, told = make(changed, until="masks")
    assert not failed and told[-1] == "run: masks: done" and files(run.stage("masks")) != before
    assert not (run.folder / WORK).exists() or not list((run.folder / WORK).iterdir())


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


def test_a_child_ends_with_its_parent(config, tmp_path):
    """Whoever holds the other end of its input is gone, so the stage must not go on."""
    run = a_run(tmp_path / "run", config)
    write_run(run)
    code = (
        "import fgs_bridges.stages as s, time\n"
        "s.run_stages = lambda *a, **b: (print('at work', flush=True), time.sleep(60))\n"
        f"s.main(['images', {str(run.folder)!r}])"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"at work\n"
    begin = time.monotonic()
    child.stdin.close()
    assert child.wait(timeout=30) == -signal.SIGTERM and time.monotonic() - begin < 30
    child.stdout.close()


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
    with pytest.raises(ConfigError, match="refined: expected fast, paper or a YAML file, there is none"):
        make(a_run(tmp_path / "other", replace(config, refine="refined")), until="grasp")
    assert not (tmp_path / "other").exists()


def test_runs_come_back_from_their_files(config, tmp_path):
    run = replace(a_run(tmp_path / "run", config), side="left")
    write_run(run)
    assert read_run(run.folder) == run
    with pytest.raises(BridgeError, match=r"run\.json: expected this file, there is none"):
        read_run(tmp_path)
    (run.folder / "run.json").write_text('{"format": "other"}')
    with pytest.raises(BridgeError, match=r"run\.json: expected a run of this program"):
        read_run(run.folder)


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


def test_a_grasp_that_cannot_be_refined_is_one_line(config, tmp_path, monkeypatch):
    """All the way to the refinement, which refuses the hand model that is not here."""
    monkeypatch.delenv("FGS_MANO_DIR", raising=False)
    (tmp_path / "refine.yaml").write_text("hand_model: mano\n")
    run = a_run(tmp_path / "run", replace(config, refine=str(tmp_path / "refine.yaml")))
    failed, told = make(run, until="grasp")
    assert failed == {run.folder: failed[run.folder]} and "run: scene: done" in told
    assert failed[run.folder].startswith("grasp: mano: expected $FGS_MANO_DIR to name the folder of MANO_RIGHT.pkl")
    assert not run.stage("grasp").exists()


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


def test_records_say_what_made_a_stage(config, tmp_path):
    run = a_run(tmp_path / "run", config)
    write_run(run)
    run_stage(run, "images", Backends(config))
    record = json.loads((run.folder / RECORDS / "images.json").read_text())
    assert set(record) == {"stage", "fingerprint", "files", "provenance", "seconds"}
    assert set(record["files"]) == {"interaction.png", "object.png"}
    assert stage_state.fingerprint(run, "images") == record["fingerprint"]


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
