"""The same answers on one device, on eight, and over two processes, which run `python -m tests.solve.test_devices`."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgs_jax.config import FAST_CONTACT
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import mano_kind
from fgs_jax.journal import Journal
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.solve.ahead import keep_programs
from fgs_jax.solve.restarts import random_rotations, run_blocks
from fgs_jax.stages.contact_problem import ContactProblem
from fgs_jax.stages.grasps import refine_grasps
from fgs_jax.stages.opa_phases import PhaseInputs, PhaseSettings, run_start
from fgs_jax.stages.opa_problem import PoseProblem, PoseState
from fgs_jax.types import Camera, Grasp, HandParams
from tests.programs import PROGRAMS

COUNTS = (1, 7, 32, 50)
WIDTH = 4
POSE_DEVICES = 3


def camera() -> Camera:
    """Not a constant: `jax.distributed` must be the first to ask JAX for anything."""
    return Camera(focal=jnp.array([400.0, 400.0]), principal=jnp.array([160.0, 120.0]))


def sums(_: None, shared: dict, start: jax.Array) -> dict:
    """Sums whose order a compiler may choose, and an integer."""
    value = jnp.sum(jnp.sin(start * shared["points"]))
    return {"value": value, "whole": jnp.floor(value).astype(jnp.int32), "pair": (value, jnp.exp(value) * shared["w"])}


def pose_starts() -> tuple[tuple, Any, tuple]:
    """OPA's own function, settings, inputs and starts, one of them lost, on a problem without a picture."""
    rng = np.random.default_rng(0)
    side = np.stack(np.meshgrid(np.arange(32.0), np.arange(32.0)), axis=-1)
    problem = PoseProblem(
        camera=camera(),
        points=jnp.asarray(rng.normal(size=(64, 3)) * 0.03, jnp.float32),
        targets=jnp.asarray(rng.uniform(120, 200, size=(64, 2)), jnp.float32),
        nearest_pixel=jnp.asarray(120 + 2.5 * np.clip(side, 4, 28), jnp.float32),
        hand_depth=jnp.asarray(np.where(side[..., 0] < 9, 0.5, 0.0), jnp.float32),
        grid_origin=jnp.array([120.0, 120.0]),
        cell=jnp.asarray(2.5),
        mask_area=jnp.asarray(3000.0),
        depth=jnp.asarray(0.5),
    )
    weights = {"dist": 1.0, "dep": 0.1, "cam": 1000.0, "size": 0.001}
    inputs = PhaseInputs(problem, weights, jnp.array([0.05, 0.005]), jnp.array([0.01, 0.001]))
    count = 41
    rotations = np.asarray(random_rotations(jax.random.key(7), 0, count))
    translations = np.tile(np.array([0.0, 0.05, 0.5], np.float32), (count, 1))
    translations[5] = np.nan
    state = PoseState(np.zeros((count, 3), np.float32), translations, None)
    return (run_start, PhaseSettings(10, 64, 64, False)), inputs, (rotations, state)


def grasp_starts() -> tuple[list[ContactProblem], Grasp, list[int]]:
    """Hands near a ball of each of two sizes."""
    model = load_hand_model("open_hand")
    nodes = np.stack(np.meshgrid(*[np.linspace(-0.08, 0.08, 17)] * 3, indexing="ij"), axis=-1)
    points = np.random.default_rng(1).normal(size=(100, 3))
    problems = []
    for radius in (0.03, 0.045):
        values = jnp.asarray(np.linalg.norm(nodes, axis=-1) - radius, jnp.float32)
        problems.append(
            ContactProblem(
                hand=mano_kind(model),
                object=DistanceGrid.from_box(values, jnp.full(3, -0.08), jnp.asarray(0.01)),
                object_points=jnp.asarray(radius * points / np.linalg.norm(points, axis=1)[:, None], jnp.float32),
            )
        )
    count, rng = 9, np.random.default_rng(2)
    palm = np.asarray(model.v_template)[np.asarray(model.regions) == 5].mean(axis=0)
    place = np.array([0.0, 0.05, 0.5]) - palm + 0.01 * rng.normal(size=(count, 3))
    hands = HandParams(
        betas=jnp.zeros((count, 0)),
        pose=jnp.tile(model.pose_mean, (count, 1, 1)),
        rotation=jnp.asarray(0.1 * rng.normal(size=(count, 3)), jnp.float32),
        translation=jnp.asarray(place, jnp.float32),
        scale=jnp.ones(count),
    )
    still = jnp.tile(jnp.eye(3), (count, 1, 1)), jnp.tile(jnp.array([0.0, 0.0, 0.5]), (count, 1)), jnp.ones(count)
    return problems, Grasp(hands, *still), [0, 1, 1, 0, 1, 0, 0, 1, 1]


def answers(contact: bool, most: int | None = None) -> dict[str, Any]:
    """Trees of results, made on all devices or the first so many."""
    devices = jax.devices()[:most]
    rng = np.random.default_rng(3)
    shared = [{"points": jnp.asarray(rng.normal(size=999), jnp.float32), "w": 0.3} for _ in range(3)]
    values = rng.normal(size=max(COUNTS)).astype(np.float32)
    found: dict[str, Any] = {
        f"{n}": run_blocks(sums, None, shared[0], values[:n], WIDTH, devices=devices) for n in COUNTS
    }
    scene = rng.integers(3, size=len(values))
    found["scenes"] = run_blocks(sums, None, shared, values, WIDTH, scene=scene, devices=devices)
    (function, settings), inputs, starts = pose_starts()
    # Each device compiles what it runs: where contact is, few of them run what takes long.
    several = devices[:POSE_DEVICES] if contact else devices
    found["poses"] = run_blocks(function, settings, inputs, starts, WIDTH, devices=several)
    if contact:
        problems, grasps, scenes = grasp_starts()
        config = replace(FAST_CONTACT, steps=10, refresh=5, reach=0.06)
        found["grasps"] = refine_grasps(
            problems, grasps, jax.random.key(0), config, scene=scenes, width=2, devices=devices[:2]
        )
    return found


def flat(found: dict[str, Any]) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(found)}


def started(*arguments: Any, flags: str = "") -> subprocess.Popen:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | PROGRAMS
    command = [sys.executable, "-m", "tests.solve.test_devices", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(*processes: subprocess.Popen) -> None:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outputs)


def assert_same(file: Path, expected: dict[str, np.ndarray]) -> None:
    found = np.load(file)
    assert expected.keys() <= set(found.files)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.fixture(scope="module")
def one_device() -> dict[str, np.ndarray]:
    assert len(jax.devices()) == 1
    return flat(answers(contact=True))


def test_a_start_that_is_lost_is_lost_alone(one_device):
    lost = ~np.isfinite(one_device["['poses'].energy"])
    np.testing.assert_array_equal(np.flatnonzero(lost), [5])
    assert len(np.unique(one_device["['poses'].energy"])) == 41
    assert np.isfinite(one_device["['grasps'].energy"]).all()


@pytest.mark.long
def test_eight_devices_find_what_one_finds_to_the_bit(one_device, tmp_path):
    flags = "--xla_force_host_platform_device_count=8"
    ended(started("eight", tmp_path, flags=flags))
    file, alone = tmp_path / "found.npz", dict(np.load(tmp_path / "alone.npz"))
    assert alone.keys() == one_device.keys()
    assert_same(file, alone)
    assert_same(file, {k.replace("poses", "resumed"): v for k, v in alone.items() if "poses" in k})
    assert np.load(file)["recovered"] == 3
    # XLA divides a CPU's loops among as many threads as there are devices, which may change last bits.
    for name, values in one_device.items():
        np.testing.assert_allclose(alone[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_two_processes_find_what_one_finds(one_device, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = "--xla_force_host_platform_device_count=2"
    ended(*(started("two", tmp_path / f"{k}.npz", k, port, flags=flags) for k in range(2)))
    expected = {name: values for name, values in one_device.items() if "grasps" not in name}
    for k in range(2):
        assert_same(tmp_path / f"{k}.npz", expected)


def run_eight(folder: str) -> None:
    assert len(jax.devices()) == 8
    np.savez(Path(folder) / "alone.npz", allow_pickle=False, **flat(answers(contact=True, most=1)))
    found = answers(contact=True)
    (function, settings), inputs, starts = pose_starts()
    journal_folder = Path(folder) / "journal"
    killed = Journal(journal_folder, every=-1.0)
    early = jax.tree.map(lambda x: x[: 3 * WIDTH], starts)
    run_blocks(function, settings, inputs, early, WIDTH, journal=killed, devices=jax.devices()[:1])
    killed.close()
    journal = Journal(journal_folder)
    devices = jax.devices()[:POSE_DEVICES]
    found["resumed"] = run_blocks(function, settings, inputs, starts, WIDTH, journal=journal, devices=devices)
    np.savez(Path(folder) / "found.npz", allow_pickle=False, **flat(found), recovered=journal.recovered)
    journal.close()


def run_two(file: str, process: str, port: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
    assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2
    np.savez(file, allow_pickle=False, **flat(answers(contact=False)))


if __name__ == "__main__":
    keep_programs(os.environ["JAX_COMPILATION_CACHE_DIR"])
    {"eight": run_eight, "two": run_two}[sys.argv[1]](*sys.argv[2:])
