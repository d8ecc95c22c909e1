"""Results as files: what is in them, and all of them or nothing, whatever happens and whatever lay there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import trimesh

from fgs_jax.config_files import config_values
from fgs_jax.errors import ResultError
from fgs_jax.results import write as results
from fgs_jax.results.metrics import GRASP_METRICS, PICTURE_METRICS
from fgs_jax.results.values import PACKAGES
from fgs_jax.results.write import RUN, check_folder, summary, write_result
from tests.results.runs import FILES, snapshot
from tests.small_scene import SMALL, refined


@pytest.fixture(scope="module")
def result():
    return refined()


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
        "ambiguous": bool(result.rivals),
        "rivals": list(result.rivals),
    }
    rivalled = summary(replace(result, rivals=(1,)))["chosen"]
    assert (rivalled["ambiguous"], rivalled["rivals"]) == (True, [1])
    assert [candidate["score"] for candidate in values["candidates"]] == [c.score for c in result.candidates]
    assert first["grasp"] == values["after"]
    assert not {"object_up", "gravity"} & summary(result)["scene"].keys()
    upright = replace(result.scene, object_up=np.array([0.0, 0.0, 1.0]), gravity=np.array([0.0, 0.5, 0.5]))
    said = summary(replace(result, scene=upright))["scene"]
    assert (said["object_up"], said["gravity"]) == ([0, 0, 1], [0, 0.5, 0.5])
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


def test_a_full_disk_leaves_nothing(result, full_disk):
    with pytest.raises(ResultError, match=r"cannot be written \(No space left on device\); free some space"):
        write_result(result, full_disk / "out")
    assert not list(full_disk.iterdir())


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
