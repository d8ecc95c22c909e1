"""Programs that compile sooner compute what others do, and fall back where XLA does not know the options."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from fgs_jax import compiling
from fgs_jax.compiling import jit_once


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
    compiling._options.cache_clear()
    real = jax.jit

    def refusing(function, **settings):
        if settings.get("compiler_options"):
            settings["compiler_options"] = {"no_such_option": 1}
        return real(function, **settings)

    monkeypatch.setattr(jax, "jit", refusing)
    assert compiling._options(0) is None
    np.testing.assert_allclose(jit_once(scaled, static_argnums=2)(jnp.arange(5.0), 1.0, 2), 30.0, rtol=1e-6)
    compiling._options.cache_clear()
    monkeypatch.undo()
    known = compiling._options(0)
    assert (known is None) == (jax.default_backend() != "cpu")
