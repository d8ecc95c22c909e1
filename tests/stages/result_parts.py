"""What tests look at in a result: its arrays, its measures, and the mirror that turns its points."""

from typing import Any

import jax
import numpy as np

M = np.array([-1.0, 1.0, 1.0])


def arrays(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def measures(result, when: int = 1) -> dict[str, Any]:
    """After, unless asked for before."""
    return result.metrics[when]
