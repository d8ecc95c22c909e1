"""Programs as they are handed to the compiler of a platform, which need not be here."""

import math
import re
from collections.abc import Callable
from typing import Any

import jax


def lowered(function: Callable[..., Any], *arguments: Any, platform: str) -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def loops(text: str) -> int:
    return text.count("stablehlo.while")


def sizes(text: str) -> set[int]:
    """Of all arrays in the program."""
    return {math.prod(map(int, shape.split("x")[:-1])) for shape in re.findall(r"tensor<((?:\d+x)+)", text)}
