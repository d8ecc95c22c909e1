"""The check of a tool's parameters of a hand against the tool's own mesh."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fgs_bridges.geometry import flat_pose, hand_transform, rotation_matrices, rotation_vectors
from fgs_bridges.types import HandEstimate
from fgs_jax.errors import BridgeError
from fgs_jax.mirror import mirrored_vectors
from fgs_jax.types import HandModel

WORST = 1.0
"""Millimetres that our layer may differ from a tool's own vertices."""


def check_hand(estimate: HandEstimate, model: HandModel | None = None) -> float:
    """How far our MANO layer with a tool's parameters is from the tool's own vertices: the largest distance, in mm.

    `model` is the estimate's, of either side, unless given. Raises BridgeError from 1 mm on, naming the cause where one
    of the usual ones explains it, and where parameters or vertices are missing.
    """
    import jax
    import jax.numpy as jnp

    from fgs_jax.hands.files import load_hand_model, mirror_hand_model
    from fgs_jax.hands.mano import hand, wrist_at_rest
    from fgs_jax.types import HandParams

    pose, rotation, translation, vertices = estimate.pose, estimate.rotation, estimate.translation, estimate.vertices
    betas = estimate.betas
    if pose is None or rotation is None or translation is None or vertices is None or betas is None:
        raise BridgeError("check_hand: expected a hand's parameters and its tool's own vertices, some are missing")
    model = load_hand_model(estimate.hand_model) if model is None else model
    ours = model if model.side == estimate.side else mirror_hand_model(model)
    if len(vertices) != len(model.v_template) or len(betas) > model.joint_shapedirs.shape[-1]:
        came = f"{len(vertices)} vertices and {len(betas)} betas"
        raise BridgeError(f"check_hand: expected a mesh of {model.name}, {len(model.v_template)} vertices, got {came}")

    def posed(model: HandModel, pose: ndarray, rotation: ndarray) -> Float[ndarray, "v 3"]:
        """Without the translation, which would take digits."""
        arrays = [jnp.asarray(array, jnp.float32) for array in (betas, pose, rotation, np.zeros(3))]
        params = HandParams(betas=arrays[0], pose=arrays[1], rotation=arrays[2], translation=arrays[3])
        return np.asarray(jax.jit(hand)(model, params).vertices, float)

    def error(skin: Float[ndarray, "v 3"]) -> float:
        return float(1e3 * np.linalg.norm(skin - vertices, axis=1).max())

    ours_posed = posed(ours, pose, rotation)
    largest = error(ours_posed + translation)
    if largest < WORST:
        return largest

    wrist = np.asarray(wrist_at_rest(ours, jnp.asarray(betas, jnp.float32)), float)
    about_origin = hand_transform(rotation, translation, wrist)[1] - translation
    mean = np.asarray(ours.pose_mean, float)
    vectors, turn = rotation_vectors(pose), rotation_vectors(rotation)
    mirrored = rotation_matrices(mirrored_vectors(vectors)), rotation_matrices(mirrored_vectors(turn))
    other = mirror_hand_model(ours)
    causes = {
        f"the side: it is a {other.side} hand": posed(other, pose, rotation) + translation,
        "the side: its parameters are those of the hand in a mirror": posed(ours, *mirrored) + translation,
        "the pose mean: its pose zero is the mean pose (pose_zero: mean)": posed(
            ours, rotation_matrices(flat_pose(vectors, mean)), rotation
        )
        + translation,
        "the pose mean: it was added, and should not be": posed(ours, rotation_matrices(vectors - mean), rotation)
        + translation,
        "the pivot: it turns about the origin, not about joint 0": ours_posed + translation - about_origin,
        "the pivot: its translation is the wrist's place": ours_posed + translation - wrist,
        "the translation": ours_posed + (vertices - ours_posed).mean(axis=0),
    }
    found = [cause for cause, skin in causes.items() if error(skin) < WORST]
    said = found[0] if found else "none of side, pose mean, pivot and translation alone; is it another hand model?"
    raise BridgeError(
        f"check_hand: expected our layer within {WORST:g} mm of the tool's own vertices, got {largest:.3g} mm: "
        f"the likely cause is {said}"
    )
