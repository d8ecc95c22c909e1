"""Plain values against dataclasses: every kind of field, what a mistake in each says, bounds of what Python made."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array

from fgs_jax.checked_values import Bounds, Rules, check_numbers, from_values, read_as
from fgs_jax.errors import ConfigError


@dataclass(frozen=True)
class Part:
    count: int
    name: str = "part"


@dataclass(frozen=True)
class Whole:
    part: Part
    weight: float | Array = 1.0
    """Traced where Python passes an array."""
    terms: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[float, float] = (1.0, 2.0)
    parts: tuple[Part, ...] = ()
    method: Literal["slow", "fast"] = "fast"
    most: int | None = None
    names: list[str] | str = "all"


BOUNDS = {"count": Bounds(1, 5), "weights": Bounds(0, 10), "parts": Bounds(0, 2), "options": None}
RULES = Rules(BOUNDS, otherwise=Bounds(0, 100), example="whole.yaml")
LEAST = {"part": {"count": 2}}


def whole(**values: Any) -> Whole:
    return from_values(Whole, LEAST | values, RULES, "here")


def test_every_kind_of_field_is_read():
    config = whole(
        weight=3,
        terms={"wrist_up": "my_package.terms:wrist_up"},
        weights={"wrist_up": 2, "dis": "1e-3"},
        options={"low": -3, "all": [True]},
        sizes=[1, 2.5],
        parts=[{"count": 1}, {"count": 2, "name": "other"}],
        method="slow",
        most=7,
        names=["a"],
    )
    assert config == Whole(
        Part(2),
        3.0,
        {"wrist_up": "my_package.terms:wrist_up"},
        {"wrist_up": 2.0, "dis": 1e-3},
        {"low": -3, "all": [True]},
        (1.0, 2.5),
        (Part(1), Part(2, "other")),
        "slow",
        7,
        ["a"],
    )
    assert isinstance(config.weight, float) and isinstance(config.weights["wrist_up"], float)
    assert whole(most=None, names="some") == Whole(Part(2), names="some")


def test_what_is_left_out_is_the_base_s_at_every_level():
    base = Whole(Part(3, "base"), 5.0, terms={"a": "b"}, most=4)
    values = {"part": {"count": 4}, "terms": {"c": "d"}}
    assert from_values(Whole, values, RULES, "here", base) == replace(base, part=Part(4, "base"), terms={"c": "d"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": "heavy"}, "weight: expected a number, got 'heavy'; change it"),
        ({"weight": None}, "weight: expected a number, got None; change it"),
        ({"weight": -1}, "weight: expected a number that is not negative, got -1.0; change it"),
        ({"terms": {"up": 3}}, "terms: up: expected a text, got 3; change it"),
        ({"terms": {3: "up"}}, "terms: expected a text, got 3; change it"),
        ({"terms": ["up"]}, "terms: expected names and values, got ['up']; change it"),
        ({"weights": {"up": "a lot"}}, "weights: up: expected a number, got 'a lot'; change it"),
        ({"weights": {"up": 11}}, "weights: up: expected at most 10, got 11.0; change it"),
        ({"weights": {"up": float("nan")}}, "weights: up: expected a number that is not negative, got nan; change it"),
        ({"sizes": [1]}, "sizes: expected a list of 2, got [1]; change it"),
        ({"sizes": [1, "x"]}, "sizes[1]: expected a number, got 'x'; change it"),
        ({"parts": [{"count": 6}]}, "parts[0]: count: expected at most 5, got 6; change it"),
        ({"parts": [{"count": 1, "nam": "x"}]}, "parts[0]: unknown key nam; did you mean name?"),
        ({"parts": [{"name": "x"}]}, "parts[0]: expected all of count, missing count; add them"),
        ({"parts": [{"count": 1}] * 3}, "parts: expected at most 2, got 3; change it"),
        ({"part": 3}, "part: expected names and values, got 3; change it"),
        ({"method": "fats"}, "method: expected one of slow, fast, got 'fats'; change it"),
        ({"most": "x"}, "most: expected a whole number or nothing, got 'x'; change it"),
        ({"most": True}, "most: expected a whole number or nothing, got True; change it"),
        ({"names": [3]}, "names[0]: expected a text, got 3; change it"),
        ({"names": 3}, "names: expected a list or a text, got 3; change it"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(values, message):
    with pytest.raises(ConfigError) as caught:
        whole(**values)
    assert str(caught.value) == f"here: {message}"


def test_what_is_no_mapping_names_the_example():
    with pytest.raises(ConfigError, match=r"^here: expected names and values, got \[1\]; see whole.yaml$"):
        from_values(Whole, [1], RULES, "here")


def test_numbers_that_python_made_are_bounded_and_arrays_pass():
    for config in (Whole(Part(9)), Whole(Part(1), weights={"a": -1.0}), Whole(Part(1), parts=(Part(9),))):
        with pytest.raises(ConfigError, match=r"^made: .*expected .*; change it$"):
            check_numbers(config, RULES, "made")
    check_numbers(Whole(Part(1), options={"low": -3}), RULES, "made")

    def weighted(weight: Array) -> Array:
        config = Whole(Part(1), weight)
        check_numbers(config, RULES, "made")
        return jnp.asarray(2 * config.weight)

    assert float(jax.jit(weighted)(jnp.asarray(3.0))) == 6.0


def test_values_from_python_are_read_as_those_of_a_file():
    assert read_as(str, Path("a") / "b", "path") == "a/b"
    assert read_as(list[str], ("a", "b"), "names") == ["a", "b"]
    assert read_as(Any, {1, 2}, "any") == {1, 2}
    part = Part(1)
    assert read_as(Part | None, part, "part") is part
    with pytest.raises(ConfigError, match=r"^part: expected Path, got 'a'; change it$"):
        read_as(Path, "a", "part")
