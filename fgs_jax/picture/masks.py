"""Masks of a picture."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray


def iou(a: Bool[ndarray, "*n"], b: Bool[ndarray, "*n"]) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    return np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1)
