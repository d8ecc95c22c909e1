"""The contact energies on a hand of your own: three fingers, each of two capsules, close on a bottle."""

import jax
import jax.numpy as jnp
import optax
import trimesh
from jaxtyping import Array, Float

from fgs_jax.energies.contact import E_dis, E_pen
from fgs_jax.energies.pose import E_prior, E_spen
from fgs_jax.energies.terms import weighted_sum
from fgs_jax.objects.grid import distance_grid
from fgs_jax.objects.mesh import load_object
from fgs_jax.objects.sample import sample_points
from fgs_jax.solve.minimise import Solution, minimise

BASES = jnp.array([[0.05, 0.0, 0.0], [-0.05, 0.02, 0.0], [-0.05, -0.02, 0.0]])  # metres, about the palm's middle
INWARD = jnp.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
BONES, RADIUS = (0.06, 0.05), 0.008
OPEN = jnp.array([[0.0, -0.3, 0.2], [-0.14, -0.3, 0.2], [0.14, -0.3, 0.2]])  # radians: spread, base, middle joint
MEAN, STD = jnp.array(3 * [[0.0, -0.2, 0.3]]), jnp.array(3 * [[0.2, 0.3, 0.4]])
LIMITS = jnp.array(3 * [[[-0.4, 0.4], [-0.6, 1.5], [0.0, 1.8]]])
WEIGHTS = {"dis": 100.0, "pen": 1000.0, "prior": 0.1, "spen": 100.0}
BOTTLE = load_object(trimesh.creation.cylinder(radius=0.032, height=0.16), name="bottle")


def finger(base: Array, inward: Array, angles: Array) -> tuple[Float[Array, "3 3"], Float[Array, "2 9 3"]]:
    """Joints from base to tip, and the line on each bone's skin that faces inward."""
    along = jnp.stack([jnp.zeros(()), jnp.sin(angles[0]), jnp.cos(angles[0])])
    joints, skin = [base], []
    for length, bend in zip(BONES, jnp.cumsum(angles[1:]), strict=True):
        bone = length * (jnp.cos(bend) * along + jnp.sin(bend) * inward)
        facing = RADIUS * (jnp.cos(bend) * inward - jnp.sin(bend) * along)
        skin.append((joints[-1] + facing)[None] + jnp.linspace(0.0, 1.0, 9)[:, None] * bone[None])
        joints.append(joints[-1] + bone)
    return jnp.stack(joints), jnp.stack(skin)


def capsules(joints: Float[Array, "3 3 3"], points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Signed distance of points to the hand."""
    start, bone = joints[:, :-1].reshape(-1, 1, 3), jnp.diff(joints, axis=1).reshape(-1, 1, 3)
    share = jnp.clip(jnp.sum((points[None] - start) * bone, axis=2) / jnp.sum(bone**2, axis=2), 0.0, 1.0)
    return jnp.min(optax.safe_norm(points[None] - start - share[:, :, None] * bone, 1e-6, axis=2), axis=0) - RADIUS


def main() -> Solution:
    grid, samples = distance_grid(BOTTLE), sample_points(BOTTLE, 2000, jax.random.key(0))

    def energy(state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        joints, skin = jax.vmap(finger)(BASES + state["wrist"][None], INWARD, state["angles"])
        pen = E_pen(skin.reshape(-1, 3), grid) + E_pen(samples, lambda points: capsules(joints, points))
        prior = E_prior(state["angles"], MEAN, STD, state["angles"], LIMITS)
        spen = E_spen(joints.reshape(-1, 3), jnp.arange(9) // 3)
        terms = {"dis": E_dis(skin[:, 1, -1], grid), "pen": pen, "prior": prior, "spen": spen}
        return weighted_sum(terms, WEIGHTS), terms

    start = {"angles": OPEN, "wrist": jnp.array([0.02, 0.01, -0.1])}
    found = jax.jit(lambda: minimise(energy, optax.adam(optax.cosine_decay_schedule(4e-3, 500)), start, 500))()
    print("\n".join(f"{k:6}{v:9.4f} ->{found.terms[k]:8.4f}" for k, v in jax.jit(energy)(start)[1].items()))
    return found


if __name__ == "__main__":
    main()
