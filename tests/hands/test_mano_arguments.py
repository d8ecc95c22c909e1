"""What the layer takes: arrays or lists of the right shapes, and all else is refused in one line."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.errors import HandInputError
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import (
    checked_params,
    hand,
    hand_keypoints,
    joint_angles,
    pose_from_joint_angles,
    pose_from_pca,
    reorder_keypoints,
    wrist_at_rest,
)
from fgs_jax.types import HandModel, HandParams


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("betas", jnp.zeros(11), r"betas: open_hand takes at most 10 shape coefficients, got shape \(11,\)"),
        (
            "pose",
            jnp.zeros(45),
            r"pose: expected \(15, 3\) axis-angle or .* got shape \(45,\); for pose components use",
        ),
        ("pose", jnp.zeros((2, 15, 3)), r"got shape \(2, 15, 3\).*jax.vmap"),
        ("rotation", jnp.zeros(4), r"rotation: expected \(3,\) or \(3, 3\), got shape \(4,\)"),
        ("translation", jnp.zeros((1, 3)), r"translation: expected \(3,\), got shape \(1, 3\)"),
    ],
)
def test_wrong_shapes_are_one_line(field, value, message):
    model: HandModel = load_hand_model("open_hand")
    with pytest.raises(ValueError, match=message) as caught:
        hand(model, HandParams(**{field: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rotation", jnp.zeros((3, 1)), r"rotation: expected \(3,\) or \(3, 3\), got shape \(3, 1\)"),
        ("scale", jnp.ones(1), r"scale: expected one number, got shape \(1,\)"),
        ("pose", "flat", "pose: expected an array of numbers, got str"),
        ("pose", None, "pose: expected an array of numbers, got NoneType"),
        ("pose", jnp.zeros((15, 3), bool), "pose: expected an array of numbers, got bool"),
        ("betas", jnp.zeros((1, 10)), r"betas: open_hand takes at most 10 shape coefficients, got shape \(1, 10\)"),
        ("pose", jnp.zeros(45), r"for 45 angles reshape\(15, 3\)"),
    ],
)
@pytest.mark.parametrize("layer", [hand, hand_keypoints])
def test_wrong_parameters_are_one_line(layer, field, value, message):
    with pytest.raises(HandInputError, match=message) as caught:
        layer(load_hand_model("open_hand"), HandParams(**{field: value}))
    assert "\n" not in str(caught.value) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (hand, ("open_hand", HandParams()), "model: expected a HandModel, as load_hand_model gives, got str"),
        (hand, (None, jnp.zeros((15, 3))), "params: expected HandParams, got ArrayImpl"),
        (wrist_at_rest, (None, jnp.zeros(11)), "betas: open_hand takes at most 10"),
        (pose_from_pca, (None, jnp.zeros((2, 6))), r"coefficients: expected pose components \(n,\), .*jax.vmap"),
        (pose_from_pca, (None, "six"), "coefficients: expected an array of numbers, got str"),
        (joint_angles, (None, jnp.zeros(45)), r"pose: expected \(15, 3\) axis-angle"),
        (pose_from_joint_angles, (None, jnp.zeros((3, 15))), r"angles: expected \(twist, spread, bend\) of 15 joints"),
        (pose_from_joint_angles, (3, jnp.zeros((15, 3))), "model: expected a HandModel"),
        (reorder_keypoints, (jnp.zeros((3, 21)), "mano", "openpose"), r"keypoints: expected shape \(21, d\)"),
    ],
)
def test_wrong_arguments_are_one_line(function, arguments, message):
    model = load_hand_model("open_hand")
    unchecked = inspect.unwrap(function)  # what users have: without the tests' shape hook
    with pytest.raises(HandInputError, match=message) as caught:
        unchecked(*(model if argument is None else argument for argument in arguments))
    assert "\n" not in str(caught.value)


def test_lists_are_numbers():
    model = load_hand_model("open_hand")
    listed = HandParams(translation=[0, 0, 1], betas=[0.5, 0.25], scale=1)  # pyright: ignore[reportArgumentType]
    arrays = HandParams(translation=jnp.array([0.0, 0.0, 1.0]), betas=jnp.array([0.5, 0.25]))
    np.testing.assert_array_equal(hand_keypoints(model, listed), hand_keypoints(model, arrays))
    listed_pose = inspect.unwrap(pose_from_pca)(model, [1, 2])
    np.testing.assert_array_equal(listed_pose, pose_from_pca(model, jnp.array([1.0, 2.0])))


def test_checks_cost_nothing_within_jit():
    model = load_hand_model("open_hand")
    assert not jax.make_jaxpr(lambda params: checked_params(model, params))(HandParams()).jaxpr.eqns
