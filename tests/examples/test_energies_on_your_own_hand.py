"""The example of energies on a hand of one's own: it closes on its bottle."""

import jax
import jax.numpy as jnp
import numpy as np

from examples import energies_on_your_own_hand
from fgs_jax.objects.sample import sample_points
from fgs_jax.objects.solid import exact_signed_distance


def test_the_example_s_own_hand_closes_on_its_bottle(capsys):
    found = energies_on_your_own_hand.main()
    lines = capsys.readouterr().out.splitlines()
    before, after = ({line.split()[0]: float(line.split()[k]) for line in lines} for k in (1, -1))
    assert before.keys() == after.keys() == energies_on_your_own_hand.WEIGHTS.keys()
    assert after["dis"] < 0.1 * before["dis"] and after["spen"] < before["spen"] and after["pen"] < before["pen"]
    assert found.energy < 0.05 * found.history[0]

    example = energies_on_your_own_hand
    bases = example.BASES + found.value["wrist"][None]
    joints, _ = jax.vmap(example.finger)(bases, example.INWARD, found.value["angles"])
    share = np.linspace(0, 1, 60)[:, None]
    joints = np.asarray(joints, float)
    bones = [joints[:, k, None] + share * (joints[:, k + 1] - joints[:, k])[:, None] for k in range(2)]
    on_axis = np.concatenate(bones, axis=1)
    gaps = exact_signed_distance(example.BOTTLE, on_axis.reshape(-1, 3)).reshape(3, -1).min(axis=1) - example.RADIUS
    assert (gaps < 0.003).all(), "each finger touches"
    assert (gaps > -0.001).all(), "and none is in the bottle"
    surface = sample_points(example.BOTTLE, 3000, jax.random.key(9))
    assert example.capsules(jnp.asarray(joints, jnp.float32), surface).min() > -0.001
