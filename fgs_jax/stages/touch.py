"""Which regions of a hand touch, where a picture shows the hand and step one has brought it to the object's depth."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.checks import checked
from fgs_jax.config import ContactConfig
from fgs_jax.energies.terms import PlacedObject
from fgs_jax.hands.kind import HandKind
from fgs_jax.results.metrics.truth import TRUE_CONTACT


@checked
def touch_probabilities(
    kind: HandKind, vertices: Float[Array, "v 3"], placed: PlacedObject, config: ContactConfig
) -> Float[Array, "r"]:
    """How likely each region of a hand, posed in the camera's frame, touches the object; 0 for one without vertices.

    The region's nearest vertex is somewhere about where it stands: `across_sigma` off across the line of sight, where
    the picture shows the skin and the object's outline, and `along_sigma` along it. So a fingertip that is seen beside
    the object does not touch, and one that may be before it or at it does, perhaps.
    """
    distance = placed.distance(vertices)
    regions = (jnp.arange(kind.region_count)[:, None] == kind.regions[None]) & jnp.isfinite(distance)[None]
    nearest = vertices[jnp.argmin(jnp.where(regions, distance[None], jnp.inf), axis=1)]
    away, outward = placed.distance_and_normal(nearest)
    cosine = jnp.sum(outward * nearest, axis=1) / jnp.maximum(jnp.linalg.norm(nearest, axis=1), 1e-9)
    along = jnp.minimum(cosine**2, 1.0)
    sigma = jnp.sqrt((1.0 - along) * config.across_sigma**2 + along * config.along_sigma**2)
    # Where a surface of one's own has no gradient, nothing is known against a touch.
    known = jnp.isfinite(sigma) & (sigma > 0)
    likely = jax.scipy.stats.norm.cdf((TRUE_CONTACT - away) / jnp.where(known, sigma, 1.0))
    return jnp.where(regions.any(axis=1), jnp.where(known, likely, 1.0), 0.0)
