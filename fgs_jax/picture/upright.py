"""Which way up an object stands: a weak word on which of its poses is meant, where its silhouette cannot tell."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fgs_jax.errors import SceneError

AXES = {
    "x": (1.0, 0.0, 0.0),
    "y": (0.0, 1.0, 0.0),
    "z": (0.0, 0.0, 1.0),
    "-x": (-1.0, 0.0, 0.0),
    "-y": (0.0, -1.0, 0.0),
    "-z": (0.0, 0.0, -1.0),
}
"""Directions by name."""
LENGTHS = (1e-9, 1e9)
"""Of the greatest of a direction's numbers: their squares are neither lost nor infinite."""
DOWNWARD = (0.0, 1.0, 0.0)
"""In the camera's frame, of a picture that was taken upright: gravity where nothing else is said."""
SPREAD = 30.0
"""Degrees by which upright objects lean, one standard deviation, and cameras with them."""
WORTH, MOST_SPREADS = 0.02, 2.0
"""Masked IoU that a lean of one in E = (angle / SPREAD)^2 / 2 is worth: a hundredth for one spread. What leans by more
than two of them costs no more, so that the word stays a weak one: a mug that lies may be lying."""


def read_direction(name: str, value: Any) -> Float[ndarray, "3"]:
    """A direction as scene.json has it: three numbers, or the name of an axis, such as "y" or "-z".

    Raises SceneError for anything else.
    """
    named = AXES.get(value) if isinstance(value, str) else value
    try:
        direction = np.array(named, float)
    except (TypeError, ValueError, OverflowError):
        direction = np.array(np.nan)
    if direction.shape != (3,) or not LENGTHS[0] <= np.abs(direction).max() <= LENGTHS[1]:
        raise SceneError(
            f"{name}: expected {', '.join(AXES)} or three numbers that are not all 0, came {value!r:.40}: correct it"
        )
    return direction


def lean_cost(
    up: Float[ndarray, "3"] | None, gravity: Float[ndarray, "3"] | None, rotations: Float[ndarray, "k 3 3"]
) -> Float[ndarray, "k"]:
    """How far poses lean, in units of masked IoU: WORTH min(angle / SPREAD, 2)^2 / 2, of R up against -gravity.

    `up` in the object's frame, `gravity` in the camera's, of any length; 0 for all poses where no `up` is known.
    """
    if up is None:
        return np.zeros(len(rotations))
    up, down = (np.asarray(x, float) / np.linalg.norm(x) for x in (up, DOWNWARD if gravity is None else gravity))
    angles = np.degrees(np.arccos(np.clip(rotations @ up @ -down, -1.0, 1.0)))
    return WORTH * np.minimum(angles / SPREAD, MOST_SPREADS) ** 2 / 2
