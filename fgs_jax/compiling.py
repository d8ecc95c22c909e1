"""Programs that compile sooner."""

from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from typing import Any

import jax


class jit_once:  # noqa: N801 (used as a decorator)
    """`jax.jit` for what runs only once or twice for a scene: on a CPU, two to six times sooner compiled.

    XLA's own `level` of optimisation and its older emitters of loops make such a program. It runs up to three times as
    long (level 0), or as long as before where it consists of large loops (1). As `jax.jit` on other devices, and with
    an XLA that does not know these options. `settings`: as `jax.jit` takes them.
    """

    def __init__(self, function: Callable[..., Any], *, level: int = 0, **settings: Any) -> None:
        update_wrapper(self, function)
        self._function, self._level, self._settings = function, level, settings

    @cached_property
    def jitted(self) -> Any:
        """Made at the first use, for it asks which device there is."""
        return jax.jit(self._function, compiler_options=_options(self._level), **self._settings)

    def __call__(self, *arguments: Any) -> Any:
        return self.jitted(*arguments)


@cache
def _options(level: int) -> dict[str, Any] | None:
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_backend_optimization_level": level, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options
