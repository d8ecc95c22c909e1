"""Many starts of one problem: the one place with vmap over starts.

Work runs in blocks of one fixed width, padded where the last one is short, so that a start's result depends on itself
alone, to the bit: alone, among a thousand, beside a NaN and in any lane.
"""

import math
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from fgs_jax.journal import Journal


@partial(jax.jit, static_argnames="count")
def random_rotations(key: Key[Array, ""], first: int | Int[Array, ""], count: int) -> Float[Array, "count 3 3"]:
    """Rotations `first` to `first + count` of an endless list, uniform on SO(3) and the same for any count."""

    def rotation(index: Int[Array, ""]) -> Float[Array, "3 3"]:
        return jaxlie.SO3.sample_uniform(jax.random.fold_in(key, index)).as_matrix()

    return jax.vmap(rotation)(first + jnp.arange(count))


def run_blocks(
    function: Callable[..., Any],
    settings: Hashable,
    shared: Any,
    starts: Any,
    width: int,
    *,
    journal: Journal | None = None,
) -> Any:
    """`function(settings, shared, start)` for every start (the leading axis of `starts`), in blocks of `width` lanes.

    Compiled once for a function, its settings and the shapes of `shared`, whatever the number of starts. The results
    come back as numpy arrays. With a `journal` each block is an entry of it.
    """
    starts = jax.tree.map(np.asarray, starts)
    count = len(jax.tree.leaves(starts)[0])
    results: list[Any] = []
    for first in range(0, count, width):
        lanes = np.minimum(np.arange(first, first + width), count - 1)
        block = jax.tree.map(lambda x: x[lanes], starts)  # noqa: B023

        def part(block: Any = block) -> Any:
            return _run_block(function, settings, shared, block)

        like = None if journal is None else _run_block.eval_shape(function, settings, shared, block)
        results.append(part() if journal is None else journal.run_tree(part, like))
    return jax.tree.map(lambda *parts: np.concatenate([np.asarray(part) for part in parts])[:count], *results)


@partial(jax.jit, static_argnums=(0, 1))
def _run_block(function: Callable[..., Any], settings: Hashable, shared: Any, starts: Any) -> Any:
    return jax.vmap(partial(function, settings), (None, 0))(shared, starts)


def best_of(energies: Float[ndarray, "n"], count: int) -> Int[ndarray, "k"]:
    """The indices of the `count` lowest energies that are finite, lowest first; ties go to the earlier start."""
    finite = np.flatnonzero(np.isfinite(energies))
    return finite[np.argsort(energies[finite], kind="stable")[:count]]


def kept(count: int, share: float, least: int) -> int:
    """How many of `count` starts go on when a `share` of them is kept, but not fewer than `least`."""
    return min(count, max(least, math.ceil(share * count)))
