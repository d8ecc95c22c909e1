"""Parameters of one hand model for another: hands that were given, as the stages take them."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.errors import HandInputError, HandShapeWarning
from fgs_jax.hands.files import hand_of_side, same_hand
from fgs_jax.hands.fit import COMPUTED_NOISE
from fgs_jax.hands.fit_checks import keypoints_in_space
from fgs_jax.hands.fit_shape import bounded, growth_by_shape, shape_prior, size_of
from fgs_jax.hands.mano import hand_keypoints, hand_program, wrist_at_rest
from fgs_jax.notes import warn
from fgs_jax.solve.least_squares import least_squares
from fgs_jax.types import HandModel, HandParams, on_device


def axis_angle_params(params: HandParams) -> HandParams:
    """Rotations as vectors, whatever they were given as; all in float32."""

    def vectors(rotation: Any, axes: int) -> Float[ndarray, "*n 3"]:
        rotation = np.asarray(rotation, float)
        return Rotation.from_matrix(rotation).as_rotvec() if rotation.ndim > axes else rotation

    params = replace(params, pose=vectors(params.pose, 2), rotation=vectors(params.rotation, 1))
    return HandParams(**{name: on_device(value) for name, value in vars(params).items()})


def params_for(model: HandModel, params: HandParams, source: str, *, refits: bool = True) -> HandParams:
    """Parameters of the hand `source`, as `load_hand_model` takes it, for `model`, a right hand; axis-angle.

    As they are where both are one hand, whatever its name; else `carry_over`, which `refits` betas to the keypoints of
    that hand or drops them. Raises HandInputError where there are more betas than that hand has.
    """
    params = axis_angle_params(params)
    other, count = hand_of_side(source), params.betas.shape[0]
    if count > (most := other.joint_shapedirs.shape[-1]):
        raise HandInputError(f"betas: expected at most {most}, as {source} has, came {count}: leave the rest out")
    if same_hand(other, model, count):
        return params
    return carry_over(model, params, hand_program(other, params).keypoints if refits else None)


def carry_over(
    model: HandModel, params: HandParams, keypoints_3d: Float[Array, "21 3"] | None = None, steps: int = 20
) -> HandParams:
    """Parameters that were made for another model of MANO's structure, for this one.

    Rotations carry over. Betas mean something else in every model: they are refitted, with the translation and the
    scale, to `keypoints_3d`, the keypoints (metres) of the other model in this pose, under the prior of `fit_hand`.
    Without these betas are dropped, and the scale carries over. A HandShapeWarning says which. Unbatched.
    Raises HandFitError for keypoints of another shape.
    """
    if keypoints_3d is not None:
        keypoints_3d = keypoints_in_space("keypoints_3d", keypoints_3d)
    directions = model.joint_shapedirs.shape[-1]
    if keypoints_3d is None:
        dropped = f"betas of another model mean nothing to {model.name} and are dropped"
        warn(HandShapeWarning(f"{dropped}: give its keypoints to refit them"))
        return replace(params, betas=jnp.zeros(directions))
    warn(HandShapeWarning(f"betas of another model mean nothing to {model.name}: refitted to the keypoints"))

    growth = growth_by_shape(model)

    def moved(x: Float[Array, "p"]) -> HandParams:
        return replace(params, betas=bounded(x[3:-1]), translation=x[:3], scale=params.scale * size_of(x[-1]))

    def residuals(x: Float[Array, "p"]) -> Float[Array, "r"]:
        found = moved(x)
        offset = (hand_keypoints(model, found, center_wrist=True) - keypoints_3d) / COMPUTED_NOISE
        return jnp.concatenate([offset.ravel(), shape_prior(found.betas, x[3:], growth, jnp.mean(offset**2))])

    start = jnp.concatenate([keypoints_3d[0], jnp.zeros(directions + 1)])
    found = moved(least_squares(residuals, start, steps).value)
    return replace(found, translation=found.translation - wrist_at_rest(model, found.betas))
