"""Programs as they are handed to the compiler of a platform, which need not be here."""

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
    shapes = re.findall(r"tensor<((?:\d+x)+)", text)
    found = set()
    for shape in shapes:
        size = 1
        for length in shape.split("x")[:-1]:
            size *= int(length)
        found.add(size)
    return found
