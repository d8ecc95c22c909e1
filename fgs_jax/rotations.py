"""Rotations as axis-angle vectors and as matrices, for one or for any number along leading axes.

jaxlie's SO3 computes the same in several times as many operations, and a program that turns hands then consists mostly
of them: it takes a third longer to compile (docs/equations.md).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fgs_jax.checks import checked

_CROSS = np.zeros((3, 3, 3))
_CROSS[[0, 1, 2], [2, 0, 1], [1, 2, 0]] = 1
_CROSS[[0, 1, 2], [1, 2, 0], [2, 0, 1]] = -1
"""`vector @ _CROSS` is the matrix of the cross product with it."""

_OUTER = np.zeros((9, 4, 4))
"""`matrix @ _OUTER + I` is 4 q q^T, of the unit quaternion q = (w, x, y, z) of a rotation matrix (nine numbers)."""
for _a in range(3):
    _OUTER[4 * _a] = np.diag([1, *(1 if _a == _b else -1 for _b in range(3))])
    for _b in range(3):
        if _a != _b:
            _OUTER[3 * _a + _b, _a + 1, _b + 1] = _OUTER[3 * _a + _b, _b + 1, _a + 1] = 1
            _axis = 3 - _a - _b
            _OUTER[3 * _a + _b, 0, _axis + 1] = _OUTER[3 * _a + _b, _axis + 1, 0] = _CROSS[_axis, _a, _b]


@checked
def matrix_of(vector: Float[Array, "*n 3"]) -> Float[Array, "*n 3 3"]:
    """Rotation matrices of axis-angle vectors, radians (Rodrigues); values and gradients are right at zero, too."""
    squared = jnp.sum(vector * vector, axis=-1)[..., None, None] + 1e-20  # whose root has a gradient at zero
    half = jnp.sqrt(squared) / 2
    sinc = jnp.sin(half) / half
    cross = jnp.tensordot(vector, jnp.asarray(_CROSS, vector.dtype), 1, precision="highest")
    identity = jnp.broadcast_to(jnp.eye(3, dtype=vector.dtype), cross.shape)
    outer = vector[..., :, None] * vector[..., None, :]
    return identity + sinc * jnp.cos(half) * cross + sinc**2 / 2 * (outer - squared * identity)


@checked
def vector_of(matrix: Float[Array, "*n 3 3"]) -> Float[Array, "*n 3"]:
    """Axis-angle vectors of rotation matrices, radians, from 0 to pi long; gradients are finite at both ends."""
    nine = matrix.reshape(*matrix.shape[:-2], 9)
    outer = jnp.tensordot(nine, jnp.asarray(_OUTER, matrix.dtype), 1, precision="highest")
    outer = outer + jnp.broadcast_to(jnp.eye(4, dtype=matrix.dtype), outer.shape)
    # Each row of it is the quaternion, scaled; the one of the largest part is the exact one.
    largest = jnp.argmax(jnp.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    quaternion = jnp.sum(jax.nn.one_hot(largest, 4, dtype=matrix.dtype)[..., None] * outer, axis=-2)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    squared = jnp.sum(imaginary**2, axis=-1, keepdims=True)
    small = squared < 1e-12 * real**2
    length = jnp.sqrt(jnp.where(small, 1.0, squared))
    # Of q and -q the one with a real part above zero is the shorter way.
    angle = 2 * jnp.where(real < 0, -1.0, 1.0) * jnp.arctan2(length, jnp.abs(real))
    return imaginary * jnp.where(small, 2 / jnp.where(small, real, 1.0), angle / length)
