"""The stages of the main job: usable alone, others between them, what they tell, and what comes up while they run."""

import inspect
import sys
import threading
import time
import warnings
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax import notes
from fgs_jax.errors import ArgumentError
from fgs_jax.results import metrics
from fgs_jax.results.result import Result, object_at
from fgs_jax.stages import ahead
from fgs_jax.stages.hand_in_picture import pose_hand, see_hand
from fgs_jax.stages.refine import STAGES, refine, stages_with
from fgs_jax.stages.states import HandSeen, Posed, Sized, Touching
from fgs_jax.testing import as_scene
from tests.small_scene import SMALL, refined, rendered
from tests.stages.result_parts import arrays

of_hand: Any = sys.modules["fgs_jax.stages.hand_in_picture"]  # whose name is a function's, too


@pytest.fixture(scope="module")
def truth():
    return rendered()


@pytest.fixture(scope="module")
def scene(truth):
    return as_scene(truth)


@pytest.fixture(scope="module")
def result():
    return refined()


def test_progress_is_told_stage_by_stage_and_the_same_key_gives_the_same_bits(result, scene):
    told, clock = [], time.perf_counter()
    again = refine(scene, SMALL, jax.random.key(SMALL.seed), progress=lambda *stage: told.append(stage))
    assert told == list(again.seconds.items())
    assert 0 < sum(again.seconds.values()) <= time.perf_counter() - clock
    for name in ("before", "after", "hand_vertices", "hand_keypoints", "poses", "candidates", "history", "terms"):
        for ours, expected in zip(arrays(getattr(again, name)), arrays(getattr(result, name)), strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert again.metrics == result.metrics


def test_each_stage_is_usable_alone(result, scene):
    state: Any = scene
    key = jax.random.key(SMALL.seed)
    for stage, kind in zip(STAGES.values(), (HandSeen, Sized, Posed, Touching, Result), strict=True):
        state = stage(state, SMALL, key)
        assert type(state) is kind
        assert len({state, state, replace(state)}) == 2  # equal to itself alone: it holds arrays
    assert isinstance(state, Result)
    for name in ("before", "after", "hand_vertices", "hand_keypoints", "poses", "candidates", "history", "terms"):
        for ours, expected in zip(arrays(getattr(state, name)), arrays(getattr(result, name)), strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert state.metrics == result.metrics and state.scene is scene and state.seconds == {}


def test_a_stage_between_two_others_changes_what_follows(scene, result):
    shift = np.array([0.0, 0.0, 0.01])

    def nearer(state: Posed, *_: Any) -> Posed:
        return replace(state, poses=state.poses._replace(translation=state.poses.translation - shift))

    told = []
    stages = stages_with("nearer", nearer, after="object pose")
    assert list(stages) == ["hand", "scale", "object pose", "nearer", "contact", "metrics"]
    changed = refine(scene, SMALL, stages=stages, progress=lambda name, _: told.append(name))
    assert told == list(stages) == list(changed.seconds)
    np.testing.assert_array_equal(changed.poses.translation, result.poses.translation - shift)
    np.testing.assert_array_equal(changed.before.hand.translation, result.before.hand.translation)


def test_a_scene_that_a_stage_changes_is_the_one_that_contact_sees(scene):
    """Though the data of the contact stage is made ahead."""
    seen: list[Any] = []

    def half(state: Posed, *_: Any) -> Posed:
        smaller = replace(state.scene.object, vertices=0.5 * state.scene.object.vertices)
        return replace(state, scene=replace(state.scene, object=smaller))

    def look(state: Touching, *_: Any) -> Touching:
        seen.append(state)
        return state

    stages = stages_with("look", look, after="contact", stages=stages_with("half", half, after="object pose"))
    found = refine(scene, SMALL, stages=stages)
    np.testing.assert_array_equal(seen[0].scene.object.vertices, 0.5 * scene.object.vertices)
    # Contact reaches the surface of the smaller object, which lies within the given one.
    small = metrics.Surface(0.5 * scene.object.vertices, scene.object.faces)
    placed = metrics.Surface(object_at(found.after, np.asarray(small.vertices)), small.faces)
    distance = metrics.signed_distances(placed, found.hand_vertices[1])
    assert -0.002 < distance.min() < 0.002


def test_stages_that_do_not_follow_each_other_are_one_line(scene):
    for name, message in (
        ("hand", "size_object: state: expected a HandSeen, got a Scene"),
        ("object pose", "grasp_object: state: expected a Posed, got a Sized"),
        ("metrics", "refine: stages: expected a Result of the last one, got a Touching: end with finish_grasp"),
    ):
        stages = {each: inspect.unwrap(stage) for each, stage in STAGES.items() if each != name}
        with pytest.raises(ArgumentError, match=message):
            refine(scene, SMALL, stages=stages)
    for name, after in (("hand", "scale"), ("mine", "opa")):
        with pytest.raises(ArgumentError, match="expected a new name, after one of hand, scale, object pose"):
            stages_with(name, see_hand, after=after)


def test_warnings_of_others_are_not_swallowed_and_ours_are_notes(scene, result, monkeypatch):
    """Both come up while the hand is posed, as threads compile."""

    real = pose_hand

    def posed(*arguments: Any) -> Any:
        warnings.warn("a library's own", FutureWarning, stacklevel=1)
        return real(*arguments)

    monkeypatch.setattr(of_hand, "pose_hand", posed)
    fitted = jax.tree.map(jnp.asarray, result.before.hand)
    given = replace(scene, keypoints_2d=None, hand_params=fitted, hand_model="open_hand_full")
    filters, show = list(warnings.filters), warnings.showwarning
    heard: list[str] = []
    with pytest.warns(FutureWarning) as caught, notes.heard(lambda warning: heard.append(str(warning))):
        found = refine(given, SMALL)
    assert [str(each.message) for each in caught] == ["a library's own"] and heard == []
    assert len(found.notes) == 1 and found.notes[0].startswith("betas of another model mean nothing to open_hand")
    assert (list(warnings.filters), warnings.showwarning) == (filters, show)


def test_what_work_ahead_raises_ends_the_run(scene, result, monkeypatch):
    def failing(*_: Any, **__: Any) -> None:
        raise MemoryError("of a compiler")

    for name in ("compile_approximate", "compile_contact"):
        with monkeypatch.context() as patch, pytest.raises(MemoryError, match="of a compiler"):
            patch.setattr(ahead, name, failing)
            refine(scene, SMALL)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]
