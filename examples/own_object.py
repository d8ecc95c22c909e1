"""Objects without a mesh in the contact energies: a network of signed distances, and a cloud of points with normals."""

import jax
import jax.numpy as jnp
import optax
from flax import linen
from jaxtyping import Array, Float

from fgs_jax import minimise
from fgs_jax.energies import E_dis, E_pen
from fgs_jax.objects import SignedDistance, surface_samples

LOW, HIGH = jnp.array([-0.05, -0.05, -0.1]), jnp.array([0.05, 0.05, 0.1])  # metres, about a bottle with round ends
TIPS = jnp.array([[0.05, 0.0, 0.02], [-0.045, 0.02, 0.0], [-0.01, -0.015, -0.02]])  # the last one is inside
NETWORK = linen.Sequential([linen.Dense(64), linen.swish, linen.Dense(64), linen.swish, linen.Dense(1)])


def bottle(points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    return optax.safe_norm(points.at[:, 2].add(-jnp.clip(points[:, 2], -0.05, 0.05)), 1e-9, axis=1) - 0.03


def distance(params: dict, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    return 0.05 * jnp.ravel(jnp.asarray(NETWORK.apply(params, points / 0.05)))


def fitted(steps: int = 1000) -> SignedDistance:
    optimiser, start = optax.adam(optax.cosine_decay_schedule(5e-3, steps)), NETWORK.init(jax.random.key(0), TIPS)

    def loss(params: dict, key: Array) -> Float[Array, ""]:
        points = jax.random.uniform(key, (512, 3), minval=1.2 * LOW, maxval=1.2 * HIGH)
        return jnp.mean((100 * (distance(params, points) - bottle(points))) ** 2)

    def step(state: tuple, key: Array) -> tuple[tuple, None]:
        updates, moments = optimiser.update(jax.grad(loss)(state[0], key), state[1])
        return (optax.apply_updates(state[0], updates), moments), None

    keys = jax.random.split(jax.random.key(1), steps)
    params = jax.jit(lambda: jax.lax.scan(step, (start, optimiser.init(start)), keys)[0][0])()
    return SignedDistance.from_network(distance, params)


def closed(surface: SignedDistance) -> Float[Array, "3 3"]:
    def energy(tips: Float[Array, "3 3"]) -> tuple[Float[Array, ""], dict[str, Array]]:
        terms = {"dis": E_dis(tips, surface.distance), "pen": E_pen(tips, surface.distance)}
        return terms["dis"] + 10 * terms["pen"], terms

    return jax.jit(lambda: minimise(energy, optax.adam(optax.cosine_decay_schedule(2e-3, 200)), TIPS, 200).value)()


def main() -> dict[str, Float[Array, "3"]]:
    network = fitted()
    points = surface_samples(network, 2000, LOW, HIGH, jax.random.key(2))
    cloud = SignedDistance.from_cloud(points, jax.grad(lambda x: network.distance(x).sum())(points))
    return {"network": bottle(closed(network)), "cloud": bottle(closed(cloud))}  # metres from the true surface


if __name__ == "__main__":
    print(main())
