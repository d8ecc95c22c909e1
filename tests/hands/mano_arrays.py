"""Arrays of MANO's keys for tests of hand files, what is wrong with some of them, and when two hands are the same."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np

from fgs_jax.types import HandModel

Arrays = dict[str, np.ndarray]
KEYS = ("v_template", "f", "weights", "J_regressor", "shapedirs", "posedirs", "kintree_table", "hands_mean")
KEYS = (*KEYS, "hands_components", "hands_coeffs")


def with_wrong_x(arrays: Arrays) -> Arrays:
    """The defect of the official left file: x of the shape directions is the right hand's."""
    return arrays | {"shapedirs": arrays["shapedirs"] * np.array([-1, 1, 1])[:, None]}


def assert_same_model(a: HandModel, b: HandModel, tolerance: float = 0.0) -> None:
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, str):
            assert x == y, field.name
        elif tolerance:
            np.testing.assert_allclose(x, y, atol=tolerance, err_msg=field.name)
        else:
            assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), field.name


def signed_volume(model: HandModel) -> jax.Array:
    a, b, c = (model.v_template[jnp.concatenate([model.faces, model.cap_faces])[:, k]] for k in range(3))
    return jnp.sum(a * jnp.cross(b, c)) / 6
