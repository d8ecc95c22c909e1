"""Values as the files of a result hold them."""

import math

from fgs_jax.results.values import finite, flattened


def test_settings_are_flat():
    assert flattened({"a": {"b": 1, "c": ({"d": 2}, {"d": (3, 4)})}, "e": ()}) == {
        "a.b": 1, "a.c.0.d": 2, "a.c.1.d": (3, 4), "e": (),
    }  # fmt: skip


def test_numbers_that_are_not_finite_are_none():
    assert finite({"a": [1.0, math.nan], "b": {"c": math.inf, "d": "nan"}, "e": 2}) == {
        "a": [1.0, None], "b": {"c": None, "d": "nan"}, "e": 2,
    }  # fmt: skip
