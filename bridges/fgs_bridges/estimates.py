"""Estimates of a hand: read from a file, of the side that the user says, posed, and compared with our layer."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from fgs_bridges.hand_check import check_hand
from fgs_bridges.hands import HandFile
from fgs_bridges.types import HandEstimate, Image
from fgs_jax.errors import BridgeError, HandFileError
from fgs_jax.hands.files import load_hand_model, mirror_hand_model
from fgs_jax.hands.mano import hand
from fgs_jax.types import HandParams

SIDES = ("right", "left")

_posed = jax.jit(hand)


def read_estimate(path: Path, image: Image, side: str | None = None) -> HandEstimate:
    """The hand of a file that `hands.HandFile` reads; of several the one of the side. Raises BridgeError."""
    try:
        found = HandFile(str(path))(image)
    except BridgeError:
        if side is None:
            raise
        found = HandFile(str(path), side=side)(image)  # of a file that does not say
    of_this_side = [estimate for estimate in found if side in (None, estimate.side)]
    if len(found) > 1 and len(of_this_side) != 1:
        raise BridgeError(
            f"{path}: expected one {side or 'right or left'} hand, got {len(of_this_side)}; say --side, or keep one"
        )
    return found[0] if len(found) == 1 else of_this_side[0]


def of_side(estimate: HandEstimate, side: str | None) -> tuple[HandEstimate, list[str]]:
    """The estimate, of the side that the user says, and notes: keypoints serve both sides, parameters one."""
    if estimate.side not in SIDES and side is None:
        raise BridgeError(
            "side: expected right or left from the hand's tool, got none; say --side right or --side left"
        )
    if side is None or estimate.side == side:
        return estimate, []
    if estimate.pose is not None or estimate.vertices is not None:
        raise BridgeError(
            f"hand: expected a {side} hand, as was said, got the parameters of a {estimate.side} one; look at the "
            "picture, and correct --side or the estimate"
        )
    return replace(estimate, side=side), [f"the user says {side}, its tool {estimate.side}"]


def posed_hand(estimate: HandEstimate) -> tuple[ndarray, ndarray] | None:
    """Vertices (metres, camera frame) and faces: the tool's, else its parameters posed where their model is here."""
    if estimate.vertices is not None and estimate.faces is not None:
        return estimate.vertices, estimate.faces
    params = params_of(estimate)
    return None if params is None else pose(estimate.hand_model, estimate.side, params)


def pose(hand_model: str, side: str, params: HandParams) -> tuple[ndarray, ndarray] | None:
    """Vertices and faces of parameters; None where their hand model is not here."""
    try:
        model = load_hand_model(hand_model)
    except HandFileError:
        return None
    if side == "left":  # not a left file: hands are mirrored, betas and all
        model = mirror_hand_model(model)
    return np.asarray(_posed(model, params).vertices, float), np.asarray(model.faces)


def params_of(estimate: HandEstimate) -> HandParams | None:
    parts = (estimate.pose, estimate.rotation, estimate.translation)
    if all(part is None for part in parts):
        return None
    if any(part is None for part in parts):
        raise BridgeError("hand: expected pose, rotation and translation together, got some of them; give all or none")
    betas = np.zeros(10) if estimate.betas is None else estimate.betas
    pose, rotation, translation = (jnp.asarray(part, jnp.float32) for part in parts)
    return HandParams(jnp.asarray(betas, jnp.float32), pose, rotation, translation)


def compared(estimate: HandEstimate) -> list[str]:
    """How far our layer is from its tool's own vertices, in words. Raises BridgeError where it is another hand."""
    if estimate.pose is None or estimate.vertices is None or estimate.betas is None:
        return []
    try:
        model = load_hand_model(estimate.hand_model)
    except HandFileError:
        return [f"not compared with our layer: {estimate.hand_model} is not here"]
    if len(estimate.vertices) != len(model.v_template):
        return ["not compared with our layer: its tool's mesh has other vertices"]
    return [f"our layer is {check_hand(estimate, model):.2g} mm off its tool's vertices at most"]
