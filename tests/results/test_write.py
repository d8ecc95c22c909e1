"""Results as files, and `fgs refine`: all or nothing, the same bits after a kill, and each mistake in a line."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
import yaml

from fgs_jax import command_refine
from fgs_jax.cli import main
from fgs_jax.config_files import config_values
from fgs_jax.errors import HandFileError, ResultError
from fgs_jax.hands.files import locate_hand_file
from fgs_jax.journal import Journal
from fgs_jax.picture.scene import mirrored
from fgs_jax.picture.scene_files import save_scene
from fgs_jax.results import fingerprints
from fgs_jax.results import write as results
from fgs_jax.results.fingerprints import fingerprint
from fgs_jax.results.metrics import GRASP_METRICS, PICTURE_METRICS
from fgs_jax.results.values import PACKAGES
from fgs_jax.results.write import RUN, check_folder, comparison, summary, write_result
from fgs_jax.run_lock import RunLock
from fgs_jax.testing import as_scene
from fgs_jax.types import HandParams
from tests.small_scene import SMALL, refined, rendered

FILES = sorted(
    [f"{name}.{kind}" for name in ("hand", "hand_before", "object", "object_before") for kind in ("obj", "ply")]
    + ["grasp.glb", "picture.jpg", "report.html", "result.json", "result.npz"]
)
CACHE = str(getattr(jax.config, "jax_compilation_cache_dir"))  # noqa: B009
KILLED = """
import functools, sys
from fgs_jax import cli, command_refine
every_part = functools.partial(command_refine.Journal, every=0.0)  # at once, for a kill within each stage
command_refine.Journal = every_part
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def result():
    return refined()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a scene, another one, a bad one, and the configuration of all runs."""
    folder = tmp_path_factory.mktemp("place")
    scene = as_scene(rendered())
    save_scene(scene, folder / "scene")
    save_scene(mirrored(scene), folder / "left")
    seen = refined().before.hand
    far = replace(seen, translation=seen.translation + np.array([0, 0, 3], np.float32))
    save_scene(replace(scene, keypoints_2d=None, hand_params=jax.tree.map(jnp.asarray, far)), folder / "far")
    (folder / "loop").symlink_to("loop")
    (folder / "small.yaml").write_text(yaml.safe_dump(config_values(SMALL)))
    return folder


@pytest.fixture(scope="module")
def fgs(place):
    """Runs `fgs refine` with the small configuration, in the folder of the scenes: the exit status."""

    def fgs(*words) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JAX_COMPILATION_CACHE_DIR", CACHE)
            patch.chdir(place)
            return main(["refine", "--config", "small.yaml", *map(str, words)])

    return fgs


@pytest.fixture(scope="module")
def unbroken(place, fgs):
    """The folder of an unbroken run, and what it has printed."""
    with redirect_stdout(io.StringIO()) as printed:
        assert fgs("scene", "--out", "unbroken") == 0
    return place / "unbroken", printed.getvalue()


@pytest.fixture(scope="module")
def written(unbroken):
    return unbroken[0]


@pytest.fixture
def out(place):
    """A path for a result; nothing lies there or beside it, now and after the test."""
    yield place / "out"
    shutil.rmtree(place / "out", ignore_errors=True)
    assert not list(place.glob(".*"))


def without_run(path: Path) -> dict:
    values = json.loads(path.read_text())
    del values[RUN]
    return values


# --- Files ------------------------------------------------------------------------------------------------------------


def test_the_files_are_those_that_are_documented(written):
    assert sorted(path.name for path in written.iterdir()) == FILES
    assert not list(written.parent.glob(".*"))


def test_the_json_holds_what_was_found(written, result):
    values = json.loads((written / "result.json").read_text(), parse_constant=pytest.fail)
    assert (values["format"], values["version"]) == ("fgs-result", 1)
    assert values["scene"] == {
        "source": "scene",
        "side": "right",
        "object": "spray_bottle",
        "prompt": "",
    }
    assert values["config"] == config_values(SMALL) and values["seed"] == 0 and values["hand_model"] == "open_hand"
    assert values["metrics"] == {"before": result.metrics[0], "after": result.metrics[1]}
    assert list(values["metrics"]["after"]) == [*GRASP_METRICS, *PICTURE_METRICS]
    assert values["camera"]["focal"] == [192, 192] and values["camera"]["principal"] == [80, 80]
    assert values["scale"] == {**result.scale, "object_size": "metric", "found": 1.0}
    T = np.array(values["after"]["T_camera_object"])
    np.testing.assert_array_equal(T[:3, :3], result.after.rotation)
    np.testing.assert_array_equal(T[:3, 3], result.after.translation)
    np.testing.assert_array_equal(values["after"]["hand"]["pose"], result.after.hand.pose)
    np.testing.assert_array_equal(values["before"]["hand"]["translation"], result.before.hand.translation)
    assert values["versions"].keys() == {"python", *PACKAGES}
    assert values["versions"]["jax"] == jax.__version__ and values["versions"]["numpy"] == np.__version__
    assert values[RUN].keys() == {"date", "host", "machine", "seconds"}
    assert values[RUN]["seconds"].keys() == result.seconds.keys()
    assert values["terms"] == {name: float(terms[-1]) for name, terms in sorted(result.terms.items())}
    assert values["notes"] == []


def test_the_json_says_who_won_and_by_how_much(written, result):
    values = json.loads((written / "result.json").read_text())
    first, second = values["candidates"][:2]
    assert values["chosen"] == {
        "pose": first["pose"],
        "valley": first["valley"],
        "ahead_of_the_next_by": second["score"] - first["score"],
    }
    assert [candidate["score"] for candidate in values["candidates"]] == [c.score for c in result.candidates]
    assert first["grasp"] == values["after"]
    alone = summary(replace(result, candidates=result.candidates[:1]))
    assert alone["chosen"]["ahead_of_the_next_by"] is None
    assert len(alone["candidates"]) == 1
    json.dumps(alone, allow_nan=False)


def test_the_arrays_come_back_without_pickle(written, result):
    with np.load(written / "result.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["history"], result.history)
        for when, name in enumerate(("before", "after")):
            grasp = (result.before, result.after)[when]
            np.testing.assert_array_equal(arrays[f"{name}_vertices"], result.hand_vertices[when])
            np.testing.assert_array_equal(arrays[f"{name}_keypoints"], result.hand_keypoints[when])
            for key, value in vars(grasp.hand).items():
                np.testing.assert_array_equal(arrays[f"{name}_hand_{key}"], value)
            for key in ("rotation", "translation", "scale"):
                np.testing.assert_array_equal(arrays[f"{name}_object_{key}"], getattr(grasp, key))
        for name, values in result.terms.items():
            np.testing.assert_array_equal(arrays[f"term_{name}"], values)
        np.testing.assert_array_equal(arrays["poses_masked_iou"], result.poses.masked_iou)


def test_the_meshes_are_those_of_the_result(written, result):
    expected = {
        "hand": (result.hand_vertices[1], result.hand_faces),
        "object": (result.object_vertices(1), result.scene.object.faces),
        "hand_before": (result.hand_vertices[0], result.hand_faces),
        "object_before": (result.object_vertices(0), result.scene.object.faces),
    }
    for name, (vertices, faces) in expected.items():
        for kind in ("obj", "ply"):
            mesh = trimesh.load(written / f"{name}.{kind}", process=False)
            assert isinstance(mesh, trimesh.Trimesh)
            np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-7)
            np.testing.assert_array_equal(mesh.faces, faces)
    both = trimesh.load(written / "grasp.glb", process=False)
    assert isinstance(both, trimesh.Scene)
    assert set(both.geometry) == {"hand", "object"}
    for name in ("hand", "object"):
        vertices, faces = expected[name]
        mesh = both.geometry[name]
        turned = trimesh.transform_points(mesh.vertices, both.graph.get(name)[0]) * [1, -1, -1]
        np.testing.assert_allclose(turned, vertices, atol=1e-7)  # y up and -z forward, as glTF has it
        np.testing.assert_array_equal(mesh.faces, faces)
        assert mesh.volume > 0
    assert len({tuple(both.geometry[name].visual.vertex_colors[0]) for name in ("hand", "object")}) == 2


def test_a_number_that_is_not_finite_is_never_written(result, tmp_path):
    terms = {name: np.append(values[:-1], np.nan) for name, values in result.terms.items()}
    measures = result.metrics[1] | {"mpd_mm": float("inf")}
    broken = replace(result, terms=terms, metrics=(result.metrics[0], measures), scale={"k_scale": float("nan")})
    write_result(broken, tmp_path / "out")
    values = json.loads((tmp_path / "out" / "result.json").read_text(), parse_constant=pytest.fail)
    assert values["terms"] == dict.fromkeys(result.terms)
    assert values["metrics"]["after"]["mpd_mm"] is None and values["scale"]["k_scale"] is None
    assert values["metrics"]["after"]["masked_iou"] == result.metrics[1]["masked_iou"]


# --- Folders ----------------------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_result_is_replaced_only_if_asked(result, written, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(written, folder)
    before = snapshot(folder)
    with pytest.raises(ResultError, match="out: is there already; give another --out, or --overwrite"):
        write_result(result, folder)
    assert snapshot(folder) == before
    write_result(replace(result, notes=("another",)), folder, overwrite=True)
    assert json.loads((folder / "result.json").read_text())["notes"] == ["another"]
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_no_result_is_never_replaced(result, written, tmp_path):
    shutil.copytree(written, tmp_path / "with a letter")
    (tmp_path / "with a letter" / "letter.txt").write_text("mine")
    shutil.copytree(written, tmp_path / "with a folder")
    (tmp_path / "with a folder" / "sub").mkdir()
    (tmp_path / "a file").write_text("mine")
    before = snapshot(tmp_path)
    for name in ("with a letter", "with a folder", "a file", "."):
        with pytest.raises(ResultError, match="holds other files than a result's and is not replaced"):
            write_result(result, tmp_path / name, overwrite=True)
    assert snapshot(tmp_path) == before
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", overwrite=True)
    check_folder(tmp_path / "not there", overwrite=False)


def test_a_failed_write_leaves_nothing_and_the_former_result(result, written, tmp_path):
    shutil.copytree(written, tmp_path / "former")
    before = snapshot(tmp_path)
    resource = pytest.importorskip("resource", reason="this system has no limits of files' sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # the hand's OBJ is smaller, its GLB is larger
    try:
        for name in ("former", "new", "deep/er"):
            with pytest.raises(ResultError, match=r"cannot be written \(File too large\); free some space or give"):
                write_result(result, tmp_path / name, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert snapshot(tmp_path) == before
    (tmp_path / "a file").write_text("mine")
    with pytest.raises(ResultError, match=r"cannot be written \(Not a directory\)"):
        write_result(result, tmp_path / "a file" / "out")


def test_a_failure_that_is_no_file_s_leaves_nothing_too(result, written, tmp_path):
    shutil.copytree(written, tmp_path / "former")
    before = snapshot(tmp_path)
    with pytest.raises(TypeError):  # what a mistake of ours would be
        write_result(replace(result, notes=(b"bytes",)), tmp_path / "former", overwrite=True)  # pyright: ignore
    assert snapshot(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["former"]


@pytest.fixture
def full_disk(tmp_path):
    """A folder with 100 kB of room."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs: run as root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_leaves_nothing(result, full_disk):
    with pytest.raises(ResultError, match=r"cannot be written \(No space left on device\); free some space"):
        write_result(result, full_disk / "out")
    assert not list(full_disk.iterdir())


def test_a_full_disk_ends_a_run_in_a_line(fgs, full_disk, capfd):
    assert fgs("scene", "--out", full_disk / "out") == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "cannot be written" in lines[0] and "free some space" in lines[0]
    assert not list(full_disk.iterdir())


# --- fgs refine -------------------------------------------------------------------------------------------------------


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
        (["scene", "--config", "fats"], "fats: expected fast, paper or a YAML file, there is none; check the path"),
        (["scene", "--config=fats"], "fats: expected fast, paper or a YAML file, there is none; check the path"),
        (["scene", "--config"], "--config: expected fast, paper or a YAML file, got nothing"),
        (["scene", "--hand-model", "nix"], "nix: expected one of open_hand, open_hand_full, mano"),
        ([], "refine: expected folders of scenes, got none; give one, such as examples/scenes/tumbler"),
        (["scene", "scene"], "refine: expected scenes of different names, got scene, scene; rename one"),
        (["nowhere"], "nowhere: scene.json: expected this file, there is none: check the folder"),
        (["scene", "--grid", "100000"], "configuration: grid: expected at most 256, got 100000; change it"),
        (["scene", "--restarts", "9" * 400], "configuration: restarts: expected at most 1000000, got 99999"),
        (["scene", "--contact.angle-rate", "0"], "configuration: contact: angle_rate: expected more than 0, got 0.0"),
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


def test_a_scene_is_not_overwritten_by_its_result(place, fgs, capsys):
    before = snapshot(place / "scene")
    assert fgs("scene", "--out", "scene", "--overwrite") == 2
    assert "holds other files than a result's" in capsys.readouterr().err
    assert snapshot(place / "scene") == before


def test_the_fingerprint_is_of_all_that_a_result_follows_from():
    scene = as_scene(rendered())
    mark = fingerprint(scene, SMALL)
    assert mark == fingerprint(as_scene(rendered()), SMALL)
    keypoints = np.asarray(scene.keypoints_2d) + np.eye(21, 2) / 1024
    mask = scene.hand_mask.copy()
    mask[0, 0] = True
    others = [
        fingerprint(scene, replace(SMALL, seed=1)),
        fingerprint(scene, replace(SMALL, contact=replace(SMALL.contact, w_t=1.0))),
        fingerprint(replace(scene, side="left"), SMALL),
        fingerprint(replace(scene, keypoints_2d=keypoints), SMALL),
        fingerprint(replace(scene, keypoint_confidence=np.ones(21)), SMALL),
        fingerprint(replace(scene, hand_mask=mask), SMALL),
        fingerprint(replace(scene, camera=replace(scene.camera, focal=scene.camera.focal + 1)), SMALL),
        fingerprint(replace(scene, object=replace(scene.object, size="unknown")), SMALL),
        fingerprint(replace(scene, object=replace(scene.object, vertices=1.01 * scene.object.vertices)), SMALL),
    ]
    assert len({mark, *others}) == len(others) + 1


def test_a_hand_is_known_by_the_content_of_its_file(tmp_path, monkeypatch):
    scene = as_scene(rendered())
    for name in ("one.npz", "two.npz"):
        shutil.copy(locate_hand_file("open_hand")[1], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open_hand").write_text("a file of that name")
    sources = ("open_hand", "one.npz", "./two.npz", str(tmp_path / "one.npz"))
    marks = {fingerprint(scene, replace(SMALL, hand_model=source)) for source in sources}
    assert marks == {fingerprint(scene, SMALL)}
    posed = replace(scene, hand_params=HandParams(), hand_model=str(tmp_path / "two.npz"))
    before = fingerprint(posed, SMALL)
    with (tmp_path / "two.npz").open("ab") as file:
        file.write(b" ")
    assert fingerprint(scene, replace(SMALL, hand_model="two.npz")) not in marks
    assert fingerprint(posed, SMALL) != before
    (tmp_path / "two.npz").unlink()
    assert fingerprint(posed, SMALL) not in (before, fingerprint(scene, SMALL))
    with pytest.raises(HandFileError):
        fingerprint(scene, replace(SMALL, hand_model="two.npz"))


def test_the_code_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    scene, mark = as_scene(rendered()), fingerprint(as_scene(rendered()), SMALL)
    monkeypatch.setattr(fingerprints, "code_mark", lambda: "of another version")
    assert fingerprint(scene, SMALL) != mark
    marks = set()
    for name, text in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 2"), ("c.txt", "x = 2"), ("sub/a.py", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        fingerprints._code_mark.cache_clear()
        marks.add(fingerprints._code_mark(tmp_path))
    assert len(marks) == 4


# --- Ends -------------------------------------------------------------------------------------------------------------


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


def entry(journals: Any) -> None:
    journals[0].run(lambda: {"found": np.arange(3)})


def test_what_was_found_is_kept_where_a_run_is_stopped(fgs, out, capsys, monkeypatch):
    def stopped(*_: Any, journals: Any, **__: Any) -> Any:
        entry(journals)
        raise KeyboardInterrupt

    monkeypatch.setattr(command_refine, "refine_many", stopped)
    assert fgs("scene", "--out", out) == 130
    assert capsys.readouterr() == ("", "fgs: stopped; go on with --resume\n")
    records = out.with_name(".out.journal")
    [folder] = records.iterdir()
    assert Journal(folder).recovered == 1 and [path.name for path in out.parent.glob(".*")] == [records.name]
    shutil.rmtree(records)


def test_what_was_found_is_kept_where_the_result_has_no_room(fgs, out, capsys, monkeypatch, result):
    def found(*_: Any, journals: Any, **__: Any) -> Any:
        entry(journals)
        return [result]

    resource = pytest.importorskip("resource", reason="this system has no limits of files' sizes")
    monkeypatch.setattr(command_refine, "refine_many", found)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert fgs("scene", "--out", out) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capsys.readouterr().err.startswith(f"fgs: {out}: cannot be written (File too large); free some space")
    assert fgs("scene", "--out", out, "--resume") == 0
    assert "scene: goes on after 1 parts" in capsys.readouterr().out and sorted(p.name for p in out.iterdir()) == FILES


def test_a_link_to_a_result_is_followed(tmp_path):
    def write(name: str, text: str) -> None:
        def write_files(folder: Path) -> None:
            (folder / "a").write_text(text)

        results.write_folder(tmp_path / name, write_files, {"a"}, overwrite=True)

    write("real", "old")
    (tmp_path / "link").symlink_to("real")
    write("link", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"] and (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "new"
    (tmp_path / "nothing").symlink_to("not there yet")
    write("nothing", "first")
    assert (tmp_path / "not there yet" / "a").read_text() == "first"
    (tmp_path / "real" / "a").unlink()
    (tmp_path / "real" / "a").mkdir()  # a folder of a result's file's name is none
    with pytest.raises(ResultError, match="holds other files than a result's"):
        write("real", "newer")


@pytest.mark.parametrize("moment", ["first checkpoint", "object pose", "contact"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(fgs, out, capsys, written, moment):
    records = out.with_name(".out.journal")
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": CACHE,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }
    command = [sys.executable, "-c", KILLED, "refine", "scene", "--config", "small.yaml", "--out", "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=out.parent) as run:
        assert run.stdout
        if moment == "first checkpoint":
            while run.poll() is None and not list(records.glob("*/[0-9]")):
                time.sleep(0.01)
        else:
            next(line for line in run.stdout if line.startswith(f"scene: {moment}"))
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert not out.exists() and len(list(records.iterdir())) == 1
    assert fgs("scene", "--out", "out", "--resume") == 0
    printed = capsys.readouterr()
    assert "scene: goes on after " in printed.out and printed.err == ""
    parts = int(printed.out.split("goes on after ")[1].split()[0])
    # A block of starts, the rough polish, silhouettes, the last polish: the object's pose; two rounds: the contact.
    assert parts in {"first checkpoint": range(1, 4), "object pose": range(4, 6), "contact": (6,)}[moment]
    assert without_run(out / "result.json") == without_run(written / "result.json")
    for name in set(FILES) - {"result.json", "report.html"}:
        assert (out / name).read_bytes() == (written / name).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == FILES and not records.exists()


@pytest.mark.skipif(os.name != "posix", reason="sends a signal, as a terminal does")
def test_ctrl_c_is_one_line_and_the_run_goes_on_to_the_same_bits(fgs, out, capsys, written):
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": CACHE}
    command = [sys.executable, "-c", KILLED, "refine", "scene", "--config", "small.yaml", "--out", "out"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=out.parent) as run:
        while run.poll() is None and not list(out.with_name(".out.journal").glob("*/[0-9]")):
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGINT)
        error = run.communicate()[1]
    assert (run.returncode, error) == (130, "fgs: stopped; go on with --resume\n")
    assert [path.name for path in out.parent.glob(".*")] == [".out.journal"] and not out.exists()
    assert fgs("scene", "--out", "out", "--resume") == 0
    assert "scene: goes on after " in capsys.readouterr().out
    assert without_run(out / "result.json") == without_run(written / "result.json")


def test_a_reader_that_goes_away_does_not_lose_the_result(out, written):
    """As `fgs refine ... | head -1`."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": CACHE}
    command = [sys.executable, "-m", "fgs_jax", "refine", "scene", "--config", "small.yaml", "--out", "out"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=out.parent) as run:
        assert run.stdout and run.stderr
        assert run.stdout.readline().startswith("scene: hand")
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == 0
    assert without_run(out / "result.json") == without_run(written / "result.json")


def test_a_scene_that_is_finished_is_left_as_it_is(fgs, written, capsys):
    before = {path: path.stat().st_mtime_ns for path in written.iterdir()}
    assert fgs("scene", "--out", written.name, "--resume") == 0
    assert "scene: is finished, in " in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in written.iterdir()} == before
    assert fgs("scene", "--out", written.name, "--resume", "--seed", "3") == 2
    assert "is there already" in capsys.readouterr().err
