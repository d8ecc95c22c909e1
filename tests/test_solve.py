import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from fgs_jax.solve import least_squares


def rosenbrock(x):
    return jnp.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def test_linear_problem_is_solved_exactly(x64, rng):
    matrix, target = jnp.asarray(rng.normal(size=(12, 4))), jnp.asarray(rng.normal(size=12))
    found = least_squares(lambda x: matrix @ x - target, jnp.zeros(4), 30)
    expected, squares, *_ = np.linalg.lstsq(matrix, target)
    np.testing.assert_allclose(found.value, expected, atol=1e-7)
    np.testing.assert_allclose(found.cost, squares[0] / 2, rtol=1e-12)


def test_agrees_with_scipy_on_a_curved_valley():
    found = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), 60)
    expected = scipy.optimize.least_squares(lambda x: np.asarray(rosenbrock(jnp.asarray(x))), [-1.2, 1.0], method="lm")
    np.testing.assert_allclose(found.value, expected.x, atol=1e-4)


def test_the_cost_is_that_of_the_value_and_never_rises():
    found = least_squares(rosenbrock, jnp.array([-1.2, 1.0]), 9)
    np.testing.assert_allclose(found.cost, 0.5 * np.sum(np.asarray(rosenbrock(found.value)) ** 2), rtol=1e-6)
    assert found.history.shape == (9,) and (np.diff(found.history) <= 0).all()
    assert found.history[-1] == found.cost < 0.5 * np.sum(np.asarray(rosenbrock(jnp.array([-1.2, 1.0]))) ** 2)


def test_a_step_off_the_domain_is_refused():
    found = least_squares(lambda x: jnp.sqrt(x) - 0.01, jnp.array([1.0]), 40)
    np.testing.assert_allclose(found.value, 1e-4, atol=1e-6)


def test_an_unknown_without_influence_stays_put():
    found = least_squares(lambda x: x[:1] - 3.0, jnp.array([0.0, 7.0]), 10)
    np.testing.assert_allclose(found.value, [3.0, 7.0], atol=1e-5)


def test_many_at_once_are_each_alone():
    starts = jnp.array([[-1.2, 1.0], [2.0, 2.0], [jnp.nan, 0.0]])
    together = jax.jit(jax.vmap(lambda s: least_squares(rosenbrock, s, 30)))(starts)
    without = jax.jit(jax.vmap(lambda s: least_squares(rosenbrock, s, 30)))(starts.at[2].set(0.5))
    np.testing.assert_array_equal(together.value[:2], without.value[:2])
    assert np.isnan(together.cost[2])
