"""The fingerprint of a run is of all that its result follows from: scene, configuration, hand and code."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from fgs_jax.errors import HandFileError
from fgs_jax.hands.files import locate_hand_file
from fgs_jax.results import fingerprints
from fgs_jax.results.fingerprints import config_mark, fingerprint
from fgs_jax.testing import as_scene
from fgs_jax.types import HandParams
from tests.small_scene import SMALL, rendered


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
        fingerprint(replace(scene, provenance={"K_source": "calibrated"}), SMALL),
        fingerprint(replace(scene, object_up=np.array([0.0, 1.0, 0.0])), SMALL),
        fingerprint(replace(scene, gravity=np.array([0.0, 1.0, 0.0])), SMALL),
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


def test_the_code_of_own_terms_and_solvers_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    for name in ("marked_terms", "marked_solvers"):
        (tmp_path / f"{name}.py").write_text("def own(*given): return 0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    contact = replace(
        SMALL.contact, terms={"own": "marked_terms:own"}, weights={"own": 1.0}, solver="marked_solvers:own"
    )
    config = replace(SMALL, contact=contact)
    marks = [config_mark(config)]
    assert config_mark(SMALL)["own"] == {} and set(marks[0]["own"]) == {"marked_terms", "marked_solvers"}
    for name in ("marked_terms", "marked_solvers"):
        (tmp_path / f"{name}.py").write_text("def own(*given): return 1.0\n")
        marks.append(config_mark(config))
    assert marks[0] != marks[1] != marks[2]


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
