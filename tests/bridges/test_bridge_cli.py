"""The words of `fgs` that end in a scene, called as the command line calls them."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from fgs_bridges.cli import main
from fgs_bridges.geometry import mask_box
from fgs_bridges.hands import write_hands
from fgs_bridges.types import HandEstimate
from fgs_jax.picture.scene_files import load_scene

TUMBLER = Path(__file__).parents[2] / "examples" / "scenes" / "tumbler"


@pytest.fixture
def words(tmp_path):
    """A photo and all that a scene of it needs, as words."""
    scene = load_scene(TUMBLER)
    hand = HandEstimate("right", keypoints_2d=scene.keypoints_2d, world_landmarks=scene.world_landmarks)
    write_hands(tmp_path / "hand.json", [hand])
    given = {
        "object": "travel tumbler",
        "object-mesh": TUMBLER / "object.ply",
        "object-size": "metric",
        "hand-mask": TUMBLER / "hand_mask.png",
        "object-mask": TUMBLER / "object_mask.png",
        "hand-estimate": tmp_path / "hand.json",
        "focal": 560,
        "prompt": "a hand drinks",
    }
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return ["scene", "from-photo", str(TUMBLER / "image.png"), *options, "--out", str(tmp_path / "scene")]


def run(words, capsys) -> tuple[int, str, list[str]]:
    """Status, output, and the errors' lines."""
    status = main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err.splitlines()


def test_a_photo_becomes_a_scene_that_is_checked_and_shown(words, tmp_path, capsys):
    status, out, errors = run(words, capsys)
    assert status == 0 and not errors and f"wrote {tmp_path / 'scene'}; look at it: fgs scene show" in out
    scene, shipped = load_scene(tmp_path / "scene"), load_scene(TUMBLER)
    for part in ("image", "hand_mask", "object_mask", "keypoints_2d"):
        np.testing.assert_array_equal(getattr(scene, part), getattr(shipped, part))
    assert (scene.prompt, scene.side, scene.object.name) == ("a hand drinks", "right", "travel tumbler")

    status, out, errors = run(["scene", "check", tmp_path / "scene"], capsys)
    assert status == 0 and not errors
    assert "object: travel tumbler, 77 x 77 x 200 mm" in out and "is a scene that fgs refine takes" in out

    status, out, _ = run(["scene", "show", tmp_path / "scene"], capsys)
    assert status == 0 and out == f"wrote {tmp_path / 'scene.png'}\n"
    assert np.array(Image.open(tmp_path / "scene.png")).shape[1] > 900
    status, _, errors = run(["scene", "show", tmp_path / "scene"], capsys)
    assert status == 2 and len(errors) == 1 and "is there already" in errors[0]


def test_a_scene_is_replaced_only_when_asked(words, tmp_path, capsys):
    run(words, capsys)
    before = (tmp_path / "scene" / "scene.json").read_bytes()
    status, _, errors = run([*words, "--side", "left"], capsys)
    assert status == 2 and errors == [
        f"fgs: {tmp_path / 'scene'}: is there already; give another --out, or --overwrite to replace it"
    ]
    assert (tmp_path / "scene" / "scene.json").read_bytes() == before
    assert run([*words, "--side", "left", "--overwrite"], capsys)[0] == 0
    assert load_scene(tmp_path / "scene").side == "left"


def test_names_that_are_too_long_are_one_line(words, tmp_path, capsys):
    at, long = words.index("--out"), "x" * 300
    for said in (
        [*words[: at + 1], long],
        [*words[:2], long, *words[3:]],
        ["scene", "check", long],
        ["scene", "show", long],
    ):
        status, _, errors = run(said, capsys)
        assert status == 2 and len(errors) == 1 and len(errors[0]) < 500


def test_notes_of_a_scene_are_said(words, tmp_path, capsys):
    run(words, capsys)
    status, out, _ = run(["scene", "check", tmp_path / "scene"], capsys)
    assert status == 0 and "keypoints lie" not in out
    folder = tmp_path / "scene"
    meta = json.loads((folder / "scene.json").read_text())
    del meta["files"]
    (folder / "scene.json").write_text(json.dumps(meta))
    with np.load(folder / "arrays.npz") as file:
        kept = dict(file)
    kept["keypoints_2d"][8] = 10, 10
    np.savez(folder / "arrays.npz", **kept)
    status, out, _ = run(["scene", "check", folder], capsys)
    assert status == 0 and "\n1 of 21 keypoints lie outside of the boxes" in out and "(index tip)" in out


def test_cameras_on_the_command_line(words, tmp_path, capsys):
    at = words.index("--focal")
    camera = [*words[:at], *words[at + 2 :], "--camera", "500", "510", "300", "250"]
    assert run(camera, capsys)[0] == 0
    scene = load_scene(tmp_path / "scene")
    np.testing.assert_allclose(
        [*np.asarray(scene.camera.focal), *np.asarray(scene.camera.principal)], [500, 510, 300, 250]
    )


def test_which_way_up_on_the_command_line(words, tmp_path, capsys):
    assert run(words, capsys)[0] == 0
    plain = load_scene(tmp_path / "scene")
    assert plain.object_up is None and "object_up" not in plain.provenance
    for word, expected in (("--up=y", [0, 1, 0]), ("--up=-z", [0, 0, -1])):
        assert run([*words, word, "--overwrite"], capsys)[0] == 0
        scene = load_scene(tmp_path / "scene")
        np.testing.assert_array_equal(scene.object_up, expected)
        assert scene.provenance["object_up"] == "given" and scene.gravity is None
    status, _, errors = run([*words, "--up", "top", "--overwrite"], capsys)
    assert status == 2 and len(errors) == 1 and "object up: expected x, y, z, -x, -y, -z or three numbers" in errors[0]


def test_back_ends_by_name_and_option(words, tmp_path, capsys):
    """The hand by a back end that reads a file, the masks by another, the mesh by a third."""
    scene = load_scene(TUMBLER)
    boxes = {
        "hands": [{"box": mask_box(scene.hand_mask).tolist()}],
        "objects": [{"box": mask_box(scene.object_mask).tolist()}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    keep = [
        word for word in words if not str(word).startswith("--hand-estimate") and word != str(tmp_path / "hand.json")
    ]
    made = [
        *keep,
        "--hand",
        "file",
        "--set",
        f"hand.path={tmp_path / 'hand.json'}",
        "--hand-box",
        *map(str, (140, 190, 350, 340)),
    ]
    assert run(made, capsys)[0] == 0
    assert load_scene(tmp_path / "scene").provenance["hand"]["backend"] == "file"
    np.testing.assert_array_equal(load_scene(tmp_path / "scene").hand_box, [140, 190, 350, 340])
    status, _, errors = run([*made, "--overwrite", "--set", "hand.pth=3"], capsys)
    assert status == 2 and len(errors) == 1 and "got pth; did you mean path?" in errors[0]
    status, _, errors = run([*made, "--overwrite", "--set", "hnd.path=3"], capsys)
    assert status == 2 and len(errors) == 1 and "--set: expected KIND.OPTION=VALUE" in errors[0]


def test_name_and_folder_come_from_the_files_unless_given(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    at = words.index("--object")
    words = [*words[:at], *words[at + 2 : words.index("--out")]]
    assert run(words, capsys)[0] == 0
    assert load_scene(tmp_path / "image").object.name == "object"
    at = words.index("--object-mesh")
    status, _, errors = run([*words[:at], *words[at + 2 :], "--out", "other"], capsys)
    assert status == 2 and errors == [
        "fgs: --object: expected the object's name, such as mug, got none; say it, or give --object-mesh"
    ]


def test_pickles_are_trusted_by_one_word(words, tmp_path, capsys):
    """WiLoR's pipeline unpickles; file's reader never does, and says so."""
    status, _, errors = run([*words, "--hand", "file", "--trust-pickle"], capsys)
    assert status == 0 and not errors  # the estimate is given, so the back end is not made
    at = words.index("--hand-estimate")
    asked = [*words[:at], *words[at + 2 :], "--overwrite", "--hand", "file", "--trust-pickle"]
    status, _, errors = run([*asked, "--hand-box", "140", "190", "350", "340"], capsys)
    assert status == 2 and len(errors) == 1 and "hand.file: expected options among" in errors[0]
    assert "got trust_pickle" in errors[0]


def test_failures_leave_no_scene(words, tmp_path, capsys):
    at = words.index("--hand-estimate")
    status, _, errors = run([*words[: at + 1], tmp_path / "none.json", *words[at + 2 :]], capsys)
    assert status == 2 and len(errors) == 1 and "none.json: expected a hand's file, there is none" in errors[0]
    at = words.index("--object-mask")
    status, _, errors = run([*words[: at + 1], TUMBLER / "hand_mask.png", *words[at + 2 :]], capsys)
    assert status == 2 and len(errors) == 1 and "identical" in errors[0]
    assert {path.name for path in tmp_path.iterdir()} == {"hand.json"}


def test_a_damaged_scene_is_one_line(words, tmp_path, capsys):
    run(words, capsys)
    (tmp_path / "scene" / "object.ply").write_bytes(b"")
    for command in (["scene", "check"], ["scene", "show"]):
        status, _, errors = run([*command, tmp_path / "scene"], capsys)
        assert status == 2 and len(errors) == 1 and "object.ply" in errors[0]


def files_stack(tmp_path: Path) -> Path:
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "object.png")
    stack = {
        "text_to_image": {"backend": "files", "images": [str(TUMBLER / "image.png")]},
        "object_picture": {"backend": "files", "images": [str(tmp_path / "object.png")]},
        "detector": {"backend": "manual", "path": "boxes.json"},
    }
    (tmp_path / "stack.yaml").write_text(yaml.safe_dump(stack))
    return tmp_path / "stack.yaml"


def test_generate_writes_both_pictures(tmp_path, capsys):
    words = ["generate", "--prompt", "a hand drinks", "--object", "mug", "--config", files_stack(tmp_path)]
    status, out, errors = run([*words, "--out", tmp_path / "made"], capsys)
    assert status == 0 and not errors and "interaction.png" in out
    np.testing.assert_array_equal(
        np.array(Image.open(tmp_path / "made" / "interaction.png")), load_scene(TUMBLER).image
    )
    assert np.array(Image.open(tmp_path / "made" / "object.png")).shape == (8, 8, 3)
    status, _, errors = run([*words, "--out", tmp_path / "made"], capsys)
    assert status == 2 and len(errors) == 1 and "is there already" in errors[0]
    (tmp_path / "made" / "mine.txt").write_text("")
    status, _, errors = run([*words, "--out", tmp_path / "made", "--overwrite"], capsys)
    assert status == 2 and "holds other files than generated pictures" in errors[0]


def test_prompts_of_a_file_have_a_folder_each_and_the_status_tells(tmp_path, capsys):
    stack = files_stack(tmp_path)
    (tmp_path / "prompts.txt").write_text("a hand drinks | mug\na hand lifts | mug\n")
    words = ["text-to-grasp", "--prompts", tmp_path / "prompts.txt", "--config", stack, "--in-process"]
    status, out, errors = run([*words, "--out", tmp_path / "runs", "--until", "images"], capsys)
    assert status == 0 and not errors and out.count("images: done") == 2
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert [name.rpartition("-")[0] for name in folders] == ["a-hand-drinks", "a-hand-lifts"]
    status, out, errors = run([*words, "--out", tmp_path / "runs", "--until", "boxes"], capsys)
    assert status == 2 and len(errors) == 3 and errors[-1] == "fgs: 2 of 2 prompts failed"
    assert all("boxes: manual: boxes.json: cannot be read" in line for line in errors[:2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["text-to-grasp", "a hand", "--out", "x"], "expected TEXT and --object NAME, or --prompts FILE"),
        (["text-to-grasp", "--out", "x"], "expected TEXT and --object NAME, or --prompts FILE"),
        (["text-to-grasp", "a", "--object", "b", "--out", "x", "--config", "no.yaml"], "no.yaml: expected a YAML file"),
        (["dreambooth", "no.yaml"], "no.yaml: expected a YAML file, there is none"),
        (["scene", "check", "no"], "scene.json: expected this file, there is none"),
        (
            ["generate", "--prompt", "a", "--object", "b", "--out", "x", "--backend", "dall-e"],
            "unknown back end dall-e",
        ),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(words, capsys)
    assert status == 2 and len(errors) == 1 and errors[0].startswith("fgs: ") and message in errors[0]
    assert not list(tmp_path.iterdir())


def test_a_training_that_is_there_goes_on_only_with_resume(tmp_path, capsys):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    kind = {"class_prompt": "a hand", "pairs": [{"image": "a.png", "text": "a hand drinks"}]}
    data = {"interaction": kind, "object": kind, "output": str(tmp_path / "out"), "steps": 1, "model": str(tmp_path)}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "out").mkdir()
    # A run that was refused leaves its configuration alone; this one is refused too, by its model.
    (tmp_path / "out" / "config.json").write_text("{}")
    status, _, errors = run(["dreambooth", tmp_path / "data.yaml"], capsys)
    assert status == 2 and len(errors) == 1 and "is there already" not in errors[0]
    (tmp_path / "out" / "checkpoint").write_text("")
    status, _, errors = run(["dreambooth", tmp_path / "data.yaml"], capsys)
    assert status == 2 and len(errors) == 1 and "is there already; go on with --resume" in errors[0]


def test_doctor_lists_every_back_end(capsys):
    from fgs_bridges.registry import BACKENDS

    status, out, _ = run(["doctor"], capsys)
    assert status == 0 and all(name in out for kind in BACKENDS.values() for name in kind)


@pytest.mark.parametrize("word", ["scene", "generate", "dreambooth", "text-to-grasp", "doctor"])
def test_help_and_words_that_are_not_known(word, capsys):
    assert run([word, "--help"], capsys)[0] == 0
    assert run([word, "--no-such-option"], capsys)[0] == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--seed", "-1"], "seed: expected a number that is not negative, got -1; change it"),
        (["--seed", "9" * 30], "seed: expected at most 4294967295, got 9"),
        (["--focal", "0"], "focal: expected more than 0, got 0.0; change it"),
        (["--focal", "nan"], "focal: expected a number that is not negative, got nan; change it"),
        (["--out", "/"], "/: expected a folder of its own for the result, came the root of all folders"),
        (["--out", "n" * 300], "nnnn"),
    ],
)
def test_a_number_or_a_folder_that_means_nothing_is_a_line(words, tmp_path, capsys, option, message):
    text = ["text-to-grasp", "a hand drinks", "--object", "mug", "--out", str(tmp_path / "run")]
    for command in (words, text) if option[0] != "--out" else (words,):
        status, out, errors = run([*command, *option], capsys)
        assert (status, out) == (2, "") and len(errors) == 1
        assert errors[0].removeprefix("fgs: ").removeprefix("command line: ").startswith(message)
    assert not (tmp_path / "scene").exists() and not (tmp_path / "run").exists()
