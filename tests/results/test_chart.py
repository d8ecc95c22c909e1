"""Curves."""

import numpy as np
import pytest

from fgs_jax.results.chart import plot


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([np.nan, 1.0, 2.0, 3.0], True), ([0.0, 0.0], True), ([-1.0, 1.0], True), ([np.nan], False), ([], False)],
)
def test_curves_of_any_values_are_drawn(values, drawn):
    """matplotlib's first colour is a blue, all else is grey."""
    picture = plot({"a": (np.arange(len(values)), np.array(values))}, "step", "energy", [1]).astype(int)
    assert picture.shape == (330, 520, 3)
    assert (picture[..., 2] > picture[..., 0] + 100).any() == drawn
