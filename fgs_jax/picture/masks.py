"""Masks of a picture compared."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray


def iou(a: Bool[ndarray, "*p"], b: Bool[ndarray, "*p"]) -> float:
    """Intersection over union of two masks of one shape, whatever it is; 0 where both are empty."""
    return float(np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1))
