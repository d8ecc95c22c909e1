"""Programs that compile sooner compute what others do, and fall back where XLA does not know the options."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.solve import ahead as compiling
from fgs_jax.solve.ahead import cache_folder, jit_once, start_up


def scaled(x, times, power):
    """Some sum."""
    return jnp.sum(x**power) * times


def test_the_result_is_that_of_jit_and_compiled_once():
    traces = []

    @partial(jit_once, static_argnums=2)
    def counted(x, times, power):
        traces.append(power)
        return scaled(x, times, power)

    x = jnp.arange(5.0)
    for times in (1.0, 2.0):
        np.testing.assert_allclose(counted(x, times, 2), 30.0 * times, rtol=1e-6)
    assert traces == [2]
    np.testing.assert_allclose(counted(x, 1.0, 3), 100.0, rtol=1e-6)
    assert jit_once(scaled).__doc__ == "Some sum."


def test_options_that_xla_does_not_know_are_left_out(monkeypatch):
    compiling.compiler_options.cache_clear()
    real = jax.jit

    def refusing(function, **settings):
        if settings.get("compiler_options"):
            settings["compiler_options"] = {"no_such_option": 1}
        return real(function, **settings)

    monkeypatch.setattr(jax, "jit", refusing)
    assert compiling.compiler_options(0) is None
    np.testing.assert_allclose(jit_once(scaled, static_argnums=2)(jnp.arange(5.0), 1.0, 2), 30.0, rtol=1e-6)
    compiling.compiler_options.cache_clear()
    monkeypatch.undo()
    known = compiling.compiler_options(0)
    assert (known is None) == (jax.default_backend() != "cpu")


PROGRAM = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
import jax, jax.numpy as jnp, numpy as np
from fgs_jax.solve.ahead import start_up
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
start_up()
x = np.linspace(-3, 3, 1 << 20, dtype=np.float32).reshape(1024, -1)
print(np.asarray(jax.jit(lambda x: jnp.sum(jnp.exp(-x * x), axis=0))(x)).tobytes().hex()[:4000])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
@pytest.mark.skipif(compiling.cores() < 2, reason="needs two cores")
@pytest.mark.parametrize("given", [True, False])
def test_programs_of_one_core_are_not_those_of_two(tmp_path, given):
    """Filled on one core and read on two, the cache gives what an empty one gives."""

    def run(cores: int, base: str) -> str:
        name = "JAX_COMPILATION_CACHE_DIR" if given else "XDG_CACHE_HOME"
        environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        command = [sys.executable, "-c", PROGRAM, str(cores)]
        environment |= {name: str(tmp_path / base)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    run(1, "shared")
    programs = {path for path in tmp_path.rglob("*") if path.is_file()}
    found = run(2, "shared")
    of_two = {path for path in tmp_path.rglob("*") if path.is_file() and path not in programs}
    assert len({path.parent for path in programs}) == 1 and len({path.parent for path in of_two}) == 1
    assert {path.parent for path in programs} != {path.parent for path in of_two}
    if given:
        assert found == run(2, "empty") and len(found) == 4001


def test_the_folder_is_of_cores_cpu_jax_and_flags(monkeypatch):
    here = cache_folder("base")
    assert here.parent == Path("base") and cache_folder("base") == here
    assert f"-{compiling.cores()}-cores-" in here.name and jax.__version__ in here.name
    found = {here}
    for name in ("XLA_FLAGS", "NPROC"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "3")
            found.add(cache_folder("base"))
    for name, value in (("cores", lambda: 77), ("cpu_model", lambda: "another"), ("version", lambda _: "0.0")):
        with monkeypatch.context() as patch:
            patch.setattr(compiling, name, value)
            found.add(cache_folder("base"))
    assert len(found) == 6
    assert "flags" in compiling.cpu_model() or "Features" in compiling.cpu_model() or not Path("/proc/cpuinfo").exists()


def test_what_a_program_has_chosen_stays(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    for given in (str(tmp_path), ""):
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", given)
        start_up()
        assert jax.config.jax_compilation_cache_dir == before  # pyright: ignore[reportAttributeAccessIssue]
