"""Hands that tools have found, as the tests of all ways to read them use them.

`recorded/hamer_synthetic.npz` is what HaMeR's own code gave with tiny random weights on a synthetic MANO hand;
`recorded/mediapipe_tumbler_072.json` what MediaPipe 0.10.21 found in a real frame.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_bridges.types import HandEstimate
from fgs_jax.errors import BridgeError
from fgs_jax.hands.mano import hand
from fgs_jax.types import HandModel, HandParams

RECORDED = Path(__file__).parents[1] / "recorded"
HAMER, TUMBLER = RECORDED / "hamer_synthetic.npz", RECORDED / "mediapipe_tumbler_072.json"
SCENE = Path(__file__).parents[3] / "examples" / "scenes" / "tumbler"
WIDTH, HEIGHT = 640, 480
PICTURE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def posed(model: HandModel, estimate: HandEstimate) -> np.ndarray:
    names = ("betas", "pose", "rotation")
    params = HandParams(**{name: jnp.asarray(getattr(estimate, name), jnp.float32) for name in names})
    return np.asarray(jax.jit(hand)(model, params).vertices, float) + estimate.translation


def fails(words: str, call: Any, *arguments: Any) -> None:
    with pytest.raises(BridgeError, match=words) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
