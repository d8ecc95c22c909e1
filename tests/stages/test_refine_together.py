"""Many scenes: as one run, from journals of different lengths, and what the first and the second compile."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.errors import SceneError
from fgs_jax.journal import Journal
from fgs_jax.picture.scene import mirrored
from fgs_jax.results.result import Result
from fgs_jax.stages.refine import refine, refine_many
from fgs_jax.testing import as_scene, make_scene
from tests.compilations import compilations
from tests.small_scene import SMALL, refined, rendered
from tests.stages.result_parts import measures


@pytest.fixture(scope="module")
def truth():
    return rendered()


@pytest.fixture(scope="module")
def scene(truth):
    return as_scene(truth)


@pytest.fixture(scope="module")
def result():
    return refined()


def test_many_scenes_run_as_one_and_a_bad_one_does_not_disturb_them(result, scene):
    away = replace(result.before.hand, translation=result.before.hand.translation + np.array([3.0, 0, 0], np.float32))
    left = mirrored(scene)
    told = []
    found = refine_many(
        [scene, replace(scene, hand_params=away), replace(scene, object_mask=scene.hand_mask), left],
        SMALL,
        progress=lambda index, stage, _: told.append((index, stage)),
    )
    assert isinstance(found[1], SceneError) and "expected a distance of at most" in str(found[1])
    assert isinstance(found[2], SceneError) and "identical" in str(found[2])
    assert [stage for index, stage in told if index == 3] == ["hand", "scale", "object pose", "contact", "metrics"]
    for outcome, sign in ((found[0], 1), (found[3], -1)):
        assert isinstance(outcome, Result)
        assert [c.pose for c in outcome.candidates] == [c.pose for c in result.candidates]
        np.testing.assert_array_equal(outcome.poses.translation * [sign, 1, 1], result.poses.translation)
        np.testing.assert_allclose(outcome.hand_vertices[1] * [sign, 1, 1], result.hand_vertices[1], atol=2e-4)
        for key in ("mpd_mm", "siv_cm3", "fingers_in_contact", "masked_iou"):
            assert outcome.metrics[1][key] == pytest.approx(result.metrics[1][key], abs=0.2)


def test_no_scenes_have_no_results():
    assert refine_many([], SMALL) == []


def test_a_batch_goes_on_from_journals_of_different_lengths(scene, result, tmp_path):
    journals = [Journal(tmp_path / name) for name in "ab"]
    whole = refine_many([scene, scene], SMALL, journals=journals)
    for journal in journals:
        journal.close()
    shutil.rmtree(tmp_path / "b")
    again = [Journal(tmp_path / name) for name in "ab"]
    assert [journal.recovered for journal in again] == [6, 0]
    for first, second in zip(whole, refine_many([scene, scene], SMALL, journals=again), strict=True):
        assert isinstance(first, Result) and isinstance(second, Result)
        np.testing.assert_array_equal(first.hand_vertices[1], second.hand_vertices[1])
    for journal in again:
        journal.close()


def test_the_second_scene_of_a_run_compiles_nothing(result, caplog):
    other = as_scene(make_scene("mug", 1, (200, 140)))
    with compilations(caplog) as compiled:
        found = refine(other, SMALL)
    assert measures(found)["fingers_in_contact"] >= 1
    assert compiled == []
    with compilations(caplog) as compiled:  # and it would be noticed
        jax.jit(lambda x: x + 1)(jnp.zeros(17))
    assert any("lambda" in name for name in compiled)


@pytest.mark.long
def test_a_first_scene_compiles_few_programs(scene, caplog):
    jax.clear_caches()
    with compilations(caplog) as names:
        refine(scene, SMALL)
    assert {"_fit_to_keypoints", "_run_block", "begin_poses", "run_scenes"} <= {name.strip("jit()") for name in names}
    assert len(names) <= 20, names
