"""Where the tests keep compiled programs, as their processes are told, so that what one compiles serves all."""

from pathlib import Path

import jax

_FOLDER = Path(getattr(jax.config, "jax_compilation_cache_dir"))  # noqa: B009
PROGRAMS = {
    "JAX_COMPILATION_CACHE_DIR": str(_FOLDER.parent),  # in which a process finds the folder that fits it
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.0",
}
"""Of the environment."""
