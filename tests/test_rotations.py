"""Rotations: values against scipy, gradients against differences, and both ends, zero and half a turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from fgs_jax.rotations import matrix_of, vector_of

SPECIAL = np.array(
    [
        *([0, 0, 0], [1e-9, 0, 0], [0, 1e-5, -1e-5], [2e-3, 0, 1e-3], [9e-4, 0, 0]),
        *([np.pi, 0, 0], [0, np.pi - 1e-4, 0], [2.0, -2.0, 1.0], [0, 0, -3.1], [1.8, 1.8, 1.8]),
    ],
    float,
)
DIRECTION = np.array([[0.3, -1.0, 0.2], [0.5, 0.1, 0.9], [-0.4, 0.8, 0.6]])


@jax.jit
def there(vector):
    return jnp.sum(matrix_of(vector) * DIRECTION)


@jax.jit
def there_and_back(vector):
    return vector_of(matrix_of(vector)) @ DIRECTION[0]


def turns(rng):
    return np.concatenate([SPECIAL, Rotation.random(500, rng=rng).as_rotvec()])


def test_matrices_are_scipys(rng):
    vectors = np.concatenate([turns(rng), 3 * rng.normal(size=(100, 3))])  # more than a turn, too
    found = matrix_of(jnp.asarray(vectors, jnp.float32))
    np.testing.assert_allclose(found, Rotation.from_rotvec(vectors).as_matrix(), atol=3e-6)
    np.testing.assert_array_equal(found[0], np.eye(3))
    np.testing.assert_allclose(jax.jit(matrix_of)(jnp.asarray(vectors[7], jnp.float32)), found[7], atol=1e-6)


def test_vectors_are_scipys(rng):
    vectors = turns(rng)
    found = np.asarray(vector_of(jnp.asarray(Rotation.from_rotvec(vectors).as_matrix(), jnp.float32)))
    turned = np.linalg.norm(vectors, axis=1) > np.pi - 1e-3  # half a turn either way is the same
    np.testing.assert_allclose(found[~turned], vectors[~turned], atol=2e-6)
    np.testing.assert_allclose(np.abs(found[turned]), np.abs(vectors[turned]), atol=2e-6)
    np.testing.assert_allclose(found[2], vectors[2], rtol=1e-5)  # small ones to the last digits


@pytest.mark.parametrize("vector", [*SPECIAL[:5], *SPECIAL[6:]])
def test_gradients_are_numerical_ones(x64, vector):
    check_grads(there, (jnp.asarray(vector),), 1, rtol=1e-5)
    check_grads(there_and_back, (jnp.asarray(vector),), 1, rtol=1e-4)


def test_gradients_are_finite_at_zero_and_at_half_a_turn():
    jacobians = [jax.jit(derivative(vector_of)) for derivative in (jax.jacfwd, jax.jacrev)]
    for vector in SPECIAL[[0, 5]]:
        matrix = matrix_of(jnp.asarray(vector, jnp.float32))
        for jacobian in (jacobian_of(matrix) for jacobian_of in jacobians):
            assert np.isfinite(jacobian).all() and np.abs(jacobian).max() < 10
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(vector_of(matrix_of(v)) ** 2)))(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, 0.0)
