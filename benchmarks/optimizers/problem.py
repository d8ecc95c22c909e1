"""What a problem is: its energy, its starts, its budget, and how a result of it is judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jaxtyping import Float
from numpy import ndarray

from benchmarks.solvers import Objective

Kind = Literal["rendered", "photos", "contact"]
STARTS = {"rendered": 64, "photos": 64, "contact": 8}
BUDGET = {"rendered": 96, "photos": 96, "contact": 150}
"""Evaluations of each start."""


class Verdict(NamedTuple):
    """What a result is worth, whatever its cost."""

    success: float
    """Share of what was asked for; NaN where no truth is known."""
    quality: float
    """Object pose: ADD-S as a share of the diameter, on a photo masked IoU; contact: MPD, mm, median."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One problem: `starts(seed)` of it, and what a result is worth."""

    name: str
    kind: Kind
    objective: Objective
    shared: Any
    starts: Callable[[int], Any]
    pooled: bool
    """Whether one answer is sought, the best of all starts; otherwise one for each."""
    judge: Callable[[Any, Float[ndarray, "n d"], Float[ndarray, "n"]], Verdict]
    """Of the starts, what was found for each, and its energy."""
