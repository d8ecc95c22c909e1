import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from fgs_jax.journal import Journal
from fgs_jax.solve.restarts import (
    _some_ahead,
    best_of,
    block_width,
    kept,
    lanes_run,
    random_rotations,
    run_blocks,
    scenes_width,
)


def _root(steps: int, shared: jax.Array, start: dict) -> dict:
    """Newton's square root of `shared`, and where it started."""
    value = jax.lax.fori_loop(0, steps, lambda _, x: 0.5 * (x + shared / x), start["x"])
    return {"value": value, "start": start["x"]}


def test_every_start_is_run_and_comes_back_in_order(rng):
    starts = {"x": rng.uniform(0.5, 9.0, size=23).astype(np.float32)}
    for width in (1, 4, 8, 23, 64):
        found = run_blocks(_root, 20, jnp.asarray(2.0), starts, width)
        np.testing.assert_array_equal(found["start"], starts["x"])
        np.testing.assert_allclose(found["value"], np.sqrt(2.0), rtol=1e-6)


def test_a_start_has_the_same_bits_alone_among_others_and_beside_nan(rng):
    starts = {"x": rng.uniform(0.5, 9.0, size=40).astype(np.float32)}
    among = run_blocks(_root, 3, jnp.asarray(2.0), starts, 8)["value"]
    spoiled = {"x": starts["x"].copy()}
    spoiled["x"][::5] = np.nan
    beside = run_blocks(_root, 3, jnp.asarray(2.0), spoiled, 8)["value"]
    for k in (1, 7, 23, 39):
        alone = run_blocks(_root, 3, jnp.asarray(2.0), {"x": starts["x"][k : k + 1]}, 8)["value"]
        assert alone[0] == among[k] == beside[k]
    assert np.isnan(beside[::5]).all()


def test_compiles_once_for_any_number_of_starts():
    traces = []

    def counted(_: None, shared: jax.Array, start: jax.Array) -> jax.Array:
        traces.append(1)
        return shared + start

    for count in (1, 7, 100, 1000):
        found = run_blocks(counted, None, jnp.asarray(1.0), np.arange(count, dtype=np.float32), 32)
        np.testing.assert_array_equal(found, np.arange(count) + 1)
    assert len(traces) == 1


def dealt_out(folder: Path) -> dict[str, np.ndarray]:
    """Starts of one problem and of several, in more and in fewer blocks than there are devices, with a journal too."""
    starts = {"x": np.linspace(0.5, 9.0, 23, dtype=np.float32)}
    found = {}
    for count in (3, 7, 23):
        some = {"x": starts["x"][:count]}
        found[f"{count}"] = run_blocks(_root, 20, jnp.asarray(2.0), some, 4)["value"]
        with_journal = Journal(folder / f"{count}")
        found[f"{count} with a journal"] = run_blocks(_root, 20, jnp.asarray(2.0), some, 4, journal=with_journal)[
            "value"
        ]
        with_journal.close()
    scene = np.arange(23) % 3
    shared = [jnp.asarray(value) for value in (2.0, 3.0, 5.0)]
    return found | {"scenes": run_blocks(_root, 20, shared, starts, 2, scene=scene)["value"]}


def test_blocks_are_dealt_out_to_five_devices(tmp_path):
    """`python -m tests.solve.test_restarts` is what runs on them. See `test_devices` for the stages' own programs."""
    root = Path(__file__).parents[2]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=5", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.solve.test_restarts", str(tmp_path / "five")]
    settings = {"capture_output": True, "text": True, "timeout": 300}
    ended = subprocess.run(command, check=False, cwd=root, env=os.environ | flags, **settings)
    assert ended.returncode == 0, ended.stderr
    found = np.load(tmp_path / "five.npz")
    for name, values in dealt_out(tmp_path / "one").items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    np.testing.assert_allclose(found["scenes"], np.sqrt(np.array([2.0, 3.0, 5.0])[np.arange(23) % 3]), rtol=1e-6)


def test_two_programs_are_on_their_way_before_a_result_is_fetched():
    events = []

    def started(k):
        events.append(f"start {k}")
        return lambda: [events.append(f"fetch {k}")]

    assert list(_some_ahead(map(started, range(5)))) == [[None]] * 5
    first = ["start 0", "start 1", "start 2", "fetch 0", "start 3", "fetch 1", "start 4", "fetch 2"]
    assert events == [*first, "fetch 3", "fetch 4"]


def test_blocks_are_as_wide_as_the_device_wants(monkeypatch):
    assert [block_width(count) for count in (1, 64, 100_000)] == [64, 64, 64]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [block_width(count) for count in (1, 256, 257, 10_000)] == [256, 256, 1024, 4096]


def test_a_scene_s_blocks_are_as_wide_as_its_starts(monkeypatch):
    """At most two lanes run for each start, whatever the numbers of starts, and whatever their order."""
    wide = {(3,) * 39: 4, (64,) * 39: 64, (1,): 1, (2,): 4, (3,): 4, (5,): 4, (8,): 16, (9,): 16, (33,): 64, (65,): 64}
    wide |= {(1,) * 39: 1, (100_000,): 64, (64, *(3,) * 38): 4, (10_000, *(1,) * 39): 64, (0, 0, 3): 4}
    for counts, width in wide.items():
        scene = np.repeat(np.arange(len(counts)), counts)
        shuffled = np.random.default_rng(0).permutation(scene)
        assert scenes_width(scene) == scenes_width(shuffled) == width, counts
        lanes = lanes_run(scene, width)
        assert lanes == sum(width * -(-count // width) for count in counts) <= 2 * len(scene)
    assert lanes_run(np.repeat(np.arange(39), 3), 4) == 156 and lanes_run(np.repeat(np.arange(39), 3), 64) == 2496
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert scenes_width(np.repeat(np.arange(39), 3)) == 256


def test_the_lanes_that_run_are_those_that_are_said():
    scene, shared = np.repeat(np.arange(7), 3), [jnp.asarray(float(k)) for k in range(7)]
    ran = []

    def counted(_: None, shared: jax.Array, start: jax.Array) -> jax.Array:
        jax.debug.callback(lambda x: ran.append(float(x)), start)
        return shared + start

    found = run_blocks(counted, None, shared, np.arange(21, dtype=np.float32), scenes_width(scene), scene=scene)
    jax.effects_barrier()
    np.testing.assert_array_equal(found, np.arange(21) + scene)
    assert len(ran) == lanes_run(scene, scenes_width(scene)) == 28 and set(ran) == set(range(21))


def test_rotations_are_uniform_and_an_endless_list():
    key = jax.random.key(3)
    rotations = np.asarray(random_rotations(key, 0, 4000))
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-5)
    # Haar's measure: entries average 0 and 1/3 squared; the angle's density is (1 - cos) / pi.
    np.testing.assert_allclose(rotations.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.03)
    angles = Rotation.from_matrix(rotations).magnitude()
    assert abs(np.mean(angles) - (np.pi / 2 + 2 / np.pi)) < 0.03
    np.testing.assert_array_equal(random_rotations(key, 17, 5), rotations[17:22])


def test_the_best_are_finite_and_in_order():
    energies = np.array([3.0, np.nan, 1.0, np.inf, 1.0, 0.5, -np.inf])
    np.testing.assert_array_equal(best_of(energies, 3), [5, 2, 4])
    np.testing.assert_array_equal(best_of(energies, 10), [5, 2, 4, 0])
    assert len(best_of(np.full(3, np.nan), 2)) == 0
    assert [kept(1000, 0.25, 64), kept(100, 0.25, 64), kept(10, 0.25, 64)] == [250, 64, 10]
    assert [kept(10, 0.25, 1), kept(8, 0.25, 1), kept(9, 0.25, 1)] == [3, 2, 3], "a part of a start is a whole one"
    assert kept(0, 0.25, 1) == kept(0, 1.0, 1) == 0 and kept(7, 1.0, 1) == 7


def _several(_: None, shared: jax.Array, start: dict) -> dict:
    """Leaves of several types and shapes, and one that is nested."""
    value = shared * jnp.sin(start["x"])
    return {"value": value, "positive": value > 0, "whole": jnp.floor(value).astype(jnp.int32), "pair": (value, -value)}


class Counting(Journal):
    """A journal that counts the entries that it had to compute."""

    computed = 0

    def run(self, part):
        def counted():
            self.computed += 1
            return part()

        return super().run(counted)


def test_a_journal_changes_no_bit_and_a_resumed_run_computes_the_rest_alone(rng, tmp_path):
    starts = {"x": rng.normal(size=(11, 3)).astype(np.float32)}
    shared, blocks = jnp.asarray(1.7), 3
    expected = run_blocks(_several, None, shared, starts, 4)
    for killed_after in range(blocks + 1):
        journal = Counting(tmp_path / str(killed_after), every=-1.0)
        if killed_after:
            run_blocks(_several, None, shared, {"x": starts["x"][: 4 * killed_after]}, 4, journal=journal)
        journal.close()
        resumed = Counting(tmp_path / str(killed_after))
        found = run_blocks(_several, None, shared, starts, 4, journal=resumed)
        resumed.close()
        assert journal.computed == resumed.recovered == killed_after
        assert resumed.computed == blocks - killed_after
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for ours, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert isinstance(ours, np.ndarray) and ours.dtype == other.dtype
            np.testing.assert_array_equal(ours, other)


if __name__ == "__main__":
    assert len(jax.devices()) == 5
    np.savez(f"{sys.argv[1]}.npz", allow_pickle=False, **dealt_out(Path(sys.argv[1])))
