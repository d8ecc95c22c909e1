"""Programs that compile sooner, and where they are kept."""

import gc
import hashlib
import os
import platform
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np


def start_up() -> None:
    """Compiled programs are kept between runs, in JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    # What has been imported stays: looking through it for garbage again and again is a fifth of the time of a trace.
    gc.freeze()
    chosen, given = jax.config.jax_compilation_cache_dir, os.environ.get("JAX_COMPILATION_CACHE_DIR")  # pyright: ignore
    if given:
        if chosen == given:  # or a program that calls this has chosen one
            keep_programs(given)
    elif not chosen:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        keep_programs(home / "fgs_jax")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def keep_programs(base: str | Path) -> None:
    """From now on compiled programs are kept in `base`, in the folder there that fits this process."""
    jax.config.update("jax_compilation_cache_dir", str(cache_folder(base)))


def cache_folder(base: str | Path) -> Path:
    """The folder in `base` for programs that give the same bits here as in the process that has compiled them.

    XLA divides a CPU's loops among the cores and devices that it finds, and uses what instructions there are; the key
    of JAX's cache knows little of that. So there is a folder for each number of cores, kind of CPU, JAX and settings.
    """
    settings = [f"{name}={os.environ.get(name, '')}" for name in ("XLA_FLAGS", "PJRT_NPROC", "NPROC")]
    words = [cpu_model(), jax.__version__, version("jaxlib"), *settings]
    mark = hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
    return Path(base).expanduser() / f"jax-{jax.__version__}-{cores()}-cores-{mark}"


def cores() -> int:
    """Those that this process may use, as XLA counts them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def cpu_model() -> str:
    """The CPU's model and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return " ".join((platform.machine(), platform.processor()))
    known = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU part")
    named = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return "\n".join(f"{name} {named[name]}" for name in known if name in named) + platform.machine()


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
        return jax.jit(self._function, compiler_options=compiler_options(self._level), **self._settings)

    def __call__(self, *arguments: Any) -> Any:
        return self.jitted(*arguments)


@cache
def compiler_options(level: int) -> dict[str, Any] | None:
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_backend_optimization_level": level, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options


def shape_struct(*shape: int, dtype: Any = np.float32) -> Any:
    """An array's shape and type, in its place where a program is compiled before its arrays are there."""
    return jax.ShapeDtypeStruct(shape, dtype)
