"""The prior of a fitted hand's size and shape, which keypoints of other proportions than the model's cannot outvote.

Betas are bounded. The worse they explain the keypoints, the less they may say, and least of all about volume and about
size, which is the scale's to say: a skeleton of other proportions may be exact, and yet says little of this model's.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.types import HandModel

PRIOR = 0.35
"""Weight of the pose and shape priors against the data."""
SIZE_SPREAD = 0.2
"""Of the logarithm of a hand's size: adults vary by 6 to 8 % about the mean, but small children's are 40 % smaller."""
MOST_BETA = 3.0
"""Standard deviations. No beta that is fitted to keypoints is beyond: a tanh bends it there."""
SHAPE_SIZE, SHAPE_VOLUME = 0.012, 0.05
"""Standard deviations, at a misfit of 1 / `SHAPE_DOUBT`, of what betas add to the logarithms of size and of volume."""
SHAPE_DOUBT = 8.0
"""Growth of the shape prior's precision with the mean square of what 3D keypoints leave unexplained, in their noise."""
LEAST_DOUBT = 0.03
"""Of size and volume by betas, where all is explained: a hand of the model's own has its betas back."""


def bounded(shape: Float[Array, "n"]) -> Float[Array, "n"]:
    """Betas of unknowns without bounds: themselves near zero, nowhere beyond `MOST_BETA`."""
    return MOST_BETA * jnp.tanh(shape / MOST_BETA)


def size_of(spreads: Float[Array, ""]) -> Float[Array, ""]:
    """The scale of a hand so many standard deviations larger than the mean."""
    return jnp.exp(SIZE_SPREAD * spreads)


def shape_prior(
    betas: Float[Array, "n"], x: Float[Array, "n+1"], growth: Float[Array, "2 b"], misfit: Float[Array, ""]
) -> Float[Array, "n+3"]:
    """Residuals of a hand's shape and size: of `x`, which is the unknowns of `betas` and then of the size.

    `growth` is `growth_by_shape`. `misfit` is the mean square of what 3D keypoints leave unexplained, in their noise.
    """
    grown = jnp.matmul(growth[:, : betas.shape[0]], betas, precision="highest")
    grown = grown / jnp.array([SHAPE_SIZE, SHAPE_VOLUME])
    doubt = SHAPE_DOUBT * misfit
    parts = [jnp.sqrt(1 + doubt) * x[:-1], jnp.sqrt(LEAST_DOUBT + doubt) * grown, x[-1:]]
    return PRIOR * jnp.concatenate(parts)


def growth_by_shape(model: HandModel) -> Float[Array, "2 b"]:
    """What a standard deviation of each shape direction adds to the logarithms of size and of volume at rest.

    Size is the spread of joints and fingertips about the wrist.
    """
    wrist, tips = model.joint_template[:1], model.tip_vertex_ids
    directions, faces = model.shapedirs, jnp.concatenate([model.faces, model.cap_faces])
    rest = jnp.concatenate([model.joint_template, model.v_template[tips]]) - wrist
    moved = jnp.concatenate([model.joint_shapedirs, directions[tips]]) - model.joint_shapedirs[:1]
    size = jnp.einsum("kab,ka->b", moved, rest, precision="highest") / jnp.sum(rest**2)

    def volume(vertices: Float[Array, "v 3"]) -> Float[Array, ""]:
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        return jnp.sum(a * jnp.cross(b, c)) / 6

    whole, slope = jax.value_and_grad(volume)(model.v_template - wrist)
    return jnp.stack([size, jnp.einsum("va,vab->b", slope, directions, precision="highest") / whole])
