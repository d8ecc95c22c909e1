"""Settings for all tests: float32 as users have it, no silent broadcasting, compiled programs kept between runs."""

from pathlib import Path

import jax
import numpy as np
import pytest

from fgs_jax.compiling import keep_programs

jax.config.update("jax_numpy_rank_promotion", "raise")
keep_programs(Path(__file__).parent.parent / ".cache" / "jax")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture
def x64():
    """Float64 for numerical derivatives.

    JAX 0.10 keeps some traces of indexing across the two float modes, and then mixes int32 with int64: start afresh.
    """
    jax.clear_caches()
    with jax.enable_x64(True):
        yield
    jax.clear_caches()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
