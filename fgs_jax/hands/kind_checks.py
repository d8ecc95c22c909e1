"""Whether the functions of a hand of one's own fit its arrays and each other, before anything is compiled."""

from functools import partial
from typing import Any

import jax
import numpy as np

from fgs_jax.checks import check_value
from fgs_jax.errors import ArgumentError
from fgs_jax.extensions import called
from fgs_jax.hands.kind import HandKind, PosePrior
from fgs_jax.types import Hand


def check_kind(kind: HandKind, params: Any, where: str = "hand") -> None:
    """Raises ArgumentError where a function of a kind raises, or returns what does not fit; nothing is computed.

    `params`: of one hand, arrays or their shapes.
    """

    def shapes(name: str, *more: float) -> Any:
        function = partial(called, f"{where}: {name}", getattr(kind, name), kind.data)
        return jax.eval_shape(lambda params: function(params, *more), params)

    posed = check_value(f"{where}: pose: what it returns", shapes("pose"), Hand)
    for part, name in (
        ("vertices", "regions"),
        ("vertices", "finger_of_vertex"),
        ("keypoints", "finger_of_keypoint"),
    ):
        count, expected = len(getattr(posed, part)), len(getattr(kind, name))
        if count != expected:
            raise ArgumentError(
                f"{where}: pose: expected {expected} {part}, one for each of {name}, got {count}: change one of them"
            )
    for name, found, most in (
        ("faces", kind.faces, len(posed.vertices)),
        ("regions", kind.regions, kind.region_count),
        ("rim", () if kind.rim is None else kind.rim, len(posed.vertices)),
    ):
        if (last := np.max(np.asarray(found), initial=-1)) >= most:
            raise ArgumentError(f"{where}: {name}: expected numbers below {most}, got {last}: change them")
    check_value(f"{where}: prior: what it returns", shapes("prior"), PosePrior)
    moved, lengths = (jax.tree.structure(tree) for tree in (shapes("start", 1.0), kind.lengths))
    if moved != lengths:
        raise ArgumentError(f"{where}: lengths: expected the structure of the state, {moved}, got {lengths}: change it")
