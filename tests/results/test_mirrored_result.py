"""The result of a left hand is the mirror image of a right hand's, array by array."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.picture.scene import mirrored
from fgs_jax.results.result import Result, mirrored_result
from fgs_jax.stages.refine import refine
from fgs_jax.testing import as_scene
from fgs_jax.types import Grasp
from tests.small_scene import SIZE, SMALL, refined, rendered
from tests.stages.result_parts import M, arrays


@pytest.fixture(scope="module")
def truth():
    return rendered()


@pytest.fixture(scope="module")
def scene(truth):
    return as_scene(truth)


@pytest.fixture(scope="module")
def result():
    return refined()


def test_a_left_hand_is_the_mirror_image_to_the_bit(result, scene):
    left = mirrored(scene)
    found = refine(left, SMALL)
    assert found.scene is left and left.side == "left"
    for when in range(2):
        np.testing.assert_array_equal(found.hand_vertices[when], result.hand_vertices[when] * M)
        np.testing.assert_array_equal(found.hand_keypoints[when], result.hand_keypoints[when] * M)
        np.testing.assert_array_equal(found.object_vertices(when), result.object_vertices(when) * M)
        grasp, expected = ((r.before, r.after)[when] for r in (found, result))
        np.testing.assert_array_equal(grasp.hand.pose, expected.hand.pose * [1, -1, -1])
        np.testing.assert_array_equal(grasp.rotation, expected.rotation * np.outer(M, M))
    np.testing.assert_array_equal(found.hand_faces, result.hand_faces[:, ::-1])
    np.testing.assert_array_equal(found.camera.principal, [SIZE[0] - result.camera.principal[0], SIZE[1] / 2])
    assert found.metrics == result.metrics
    assert [candidate.score for candidate in found.candidates] == [candidate.score for candidate in result.candidates]
    model = load_hand_model("open_hand", side="left")
    posed = jax.jit(hand)(model, jax.tree.map(jnp.asarray, found.after.hand))
    np.testing.assert_allclose(posed.vertices, found.hand_vertices[1], atol=1e-6)
    twice = mirrored_result(found, SIZE[0])
    for item in fields(Grasp):
        for ours, expected in zip(
            arrays(getattr(twice.after, item.name)), arrays(getattr(result.after, item.name)), strict=True
        ):
            np.testing.assert_array_equal(ours, expected)


def test_a_mirrored_result_has_every_array_mirrored(result):
    """By hand, field by field, and back again."""
    width = SIZE[0] + 7
    found = mirrored_result(result, width)
    matrix = np.outer(M, M)

    def mirrored_grasp(grasp):
        return {
            "betas": grasp.hand.betas,
            "pose": grasp.hand.pose * [1, -1, -1],
            "rotation of the hand": grasp.hand.rotation * [1, -1, -1],
            "translation of the hand": grasp.hand.translation * M,
            "scale of the hand": grasp.hand.scale,
            "rotation": grasp.rotation * matrix,
            "translation": grasp.translation * M,
            "scale": grasp.scale,
        }

    def parts(grasp):
        hand = grasp.hand.betas, grasp.hand.pose, grasp.hand.rotation, grasp.hand.translation, grasp.hand.scale
        return dict(zip(mirrored_grasp(grasp), (*hand, grasp.rotation, grasp.translation, grasp.scale), strict=True))

    def check(ours, grasp):
        for name, expected in mirrored_grasp(grasp).items():
            np.testing.assert_array_equal(parts(ours)[name], expected, err_msg=name)

    check(found.before, result.before)
    check(found.after, result.after)
    np.testing.assert_array_equal(found.camera.focal, result.camera.focal)
    np.testing.assert_allclose(found.camera.principal, [width - result.camera.principal[0], result.camera.principal[1]])
    for name in ("hand_vertices", "hand_keypoints"):
        for ours, expected in zip(getattr(found, name), getattr(result, name), strict=True):
            np.testing.assert_array_equal(ours, expected * M)
    np.testing.assert_array_equal(found.hand_faces, result.hand_faces[:, ::-1])
    np.testing.assert_array_equal(found.poses.rotation, result.poses.rotation * matrix)
    np.testing.assert_array_equal(found.poses.translation, result.poses.translation * M)
    for name in set(result.poses._fields) - {"rotation", "translation"}:
        assert getattr(found.poses, name) is getattr(result.poses, name), name
    assert len(found.candidates) == len(result.candidates) > 1
    for ours, expected in zip(found.candidates, result.candidates, strict=True):
        check(ours.grasp, expected.grasp)
        np.testing.assert_array_equal(ours.hand_vertices, expected.hand_vertices * M)
        for name in set(expected._fields) - {"grasp", "hand_vertices"}:
            assert getattr(ours, name) == getattr(expected, name), name
    turned = {"camera", "before", "after", "hand_vertices", "hand_faces", "hand_keypoints", "poses", "candidates"}
    kept = {"scene", "config", "metrics", "scale", "rivals", "history", "terms", "notes", "seconds"}
    assert {item.name for item in fields(Result)} == turned | kept, "a new field turns with the result, or does not"
    for name in kept:
        assert getattr(found, name) is getattr(result, name), name
    twice = mirrored_result(found, width)
    for name in turned:
        for ours, expected in zip(arrays(getattr(twice, name)), arrays(getattr(result, name)), strict=True):
            np.testing.assert_array_equal(ours, expected, err_msg=name)
