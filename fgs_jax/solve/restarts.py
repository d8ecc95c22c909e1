"""Many starts, of one problem or of many: the one place with vmap over starts, and the one that deals out to devices.

Work runs in blocks of one fixed width, padded where the last one is short, so that a start's result depends on itself
and that width alone, to the bit: alone, among a thousand, beside a NaN and in any lane. Blocks are sharded over a mesh
of all devices, one on each, and each shard goes through the program of a single device, so their number changes no bit
either. (Of one program for all shards that cannot be said: XLA simplifies a program for several partitions in other
ways, and the contact stage's sums end in other bits.)
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray
from scipy.spatial.transform import Rotation

from fgs_jax.checks import check_count, checked
from fgs_jax.errors import ArgumentError
from fgs_jax.journal import Journal

CPU_WIDTHS, OTHER_WIDTHS = (64,), (256, 1024, 4096)
"""Starts at once, unless told. On a CPU a block stays in the caches, and wider ones are no faster; on other devices a
step of a few starts takes as long as one of hundreds, and their memory holds thousands."""
NARROW_WIDTHS = (1, 4, 16)
"""On a CPU a block takes time for each of its lanes: where scenes have few starts each, narrower ones."""
AHEAD = 2
"""Programs on their way before the results of the first are fetched: a device neither waits nor keeps many."""


@checked
def random_rotations(key: Key[Array, ""], first: int, count: int) -> Float[ndarray, "{count} 3 3"]:
    """Rotations `first` to `first + count` of an endless list, uniform on SO(3) and the same for any count."""
    check_count("random_rotations: first", first, 0)
    check_count("random_rotations: count", count, 0)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    quaternions = rng.standard_normal((first + count, 4))[first:]
    return Rotation.from_quat(quaternions).as_matrix().astype(np.float32)


def block_width(count: int) -> int:
    """How many of `count` starts run at once unless told: all, but no more than fill the device well."""
    widths = CPU_WIDTHS if jax.default_backend() == "cpu" else OTHER_WIDTHS
    return next((width for width in widths if count <= width), widths[-1])


def scenes_width(scene: Int[ndarray, "n"]) -> int:
    """How many starts of a scene run at once unless told; `scene` says which one each start is of.

    The widest blocks of a few widths that run at most two lanes for each start, whatever the numbers of starts. It
    depends on these alone, not on their order.
    """
    if jax.default_backend() != "cpu":
        return block_width(int(np.bincount(scene).max()))
    return max(width for width in NARROW_WIDTHS + CPU_WIDTHS if lanes_run(scene, width) <= 2 * len(scene))


def lanes_run(scene: Int[ndarray, "n"], width: int) -> int:
    """How many lanes `run_blocks` runs: those of the starts, whose scenes are given, and those that pad them."""
    return int(width * np.sum(-(-np.bincount(scene) // width)))


class _Block(NamedTuple):
    scene: int
    lanes: Int[ndarray, "w"]
    """Starts; the last one again where there are fewer."""


def run_blocks(
    function: Callable[..., Any],
    settings: Hashable,
    shared: Any,
    starts: Any,
    width: int,
    *,
    scene: Int[ndarray, "n"] | None = None,
    journal: Journal | None = None,
    devices: Sequence[Any] | None = None,
) -> Any:
    """`function(settings, shared, start)` for every start (the leading axis of `starts`), in blocks of `width` lanes.

    Compiled once for a function, its settings and the shapes of `shared`, whatever the number of starts and scenes. The
    results come back as numpy arrays.

    `scene`: start k is given `shared[scene[k]]`, of trees of equal shapes. A block is of one scene, which its lanes
    share: nothing of it is copied for each of them.
    `journal`: each block is an entry of it, whatever the devices; for one process.
    `devices`: what the blocks are dealt out to; all that there are unless given. Where they are those of several
    processes, equally many of each, every process makes the same calls with all the starts and gets all the results.
    """
    devices = jax.devices() if devices is None else devices
    starts = jax.tree.map(np.asarray, starts)
    check_count("run_blocks: width", width)
    count = check_count("run_blocks: number of starts", count_of(starts))
    scenes, owner = ([shared], np.zeros(count, int)) if scene is None else (shared, np.asarray(scene))
    if len(owner) != count or owner.min() < 0 or owner.max() >= len(scenes):
        raise ArgumentError(
            f"run_blocks: scene: expected for each of {count} starts one from 0 to {len(scenes) - 1}, got {len(owner)} "
            f"from {min(owner, default='none')} to {max(owner, default='none')}: check scene"
        )
    blocks, several = _blocks(owner, width), len({device.process_index for device in devices}) > 1
    mesh = Mesh(np.array(devices if several else devices[: len(blocks)]), ("blocks",))
    over_mesh = NamedSharding(mesh, PartitionSpec("blocks"))

    @lru_cache(maxsize=mesh.size)
    def scene_on(device: Any, scene: int) -> Any:
        return jax.device_put(scenes[scene], device)

    def begin(group: list[_Block]) -> Callable[[], list[Any]]:
        """Starts the blocks, one on each device; what comes back waits for their results."""
        if mesh.size == 1:
            first = group[0]
            result = _run_block(function, settings, scenes[first.scene], _rows(starts, first.lanes))
            return lambda: [jax.tree.map(np.asarray, result)]
        padded = group + group[-1:] * (mesh.size - len(group))
        lanes = np.concatenate([block.lanes for block in padded])
        sharded = jax.tree.map(
            lambda x: jax.make_array_from_callback(x.shape, over_mesh, x.__getitem__), _rows(starts, lanes)
        )
        parts = []
        for k, device in enumerate(mesh.local_devices):
            block = padded[mesh.devices.tolist().index(device)]
            mine = jax.tree.map(lambda x: x.addressable_data(k), sharded)  # noqa: B023
            parts.append(_run_block(function, settings, scene_on(device, block.scene), mine))
        whole = jax.tree.map(
            lambda *x: jax.make_array_from_single_device_arrays((len(lanes), *x[0].shape[1:]), over_mesh, x), *parts
        )

        def fetch() -> list[Any]:
            found = process_allgather(whole, tiled=True) if several else jax.tree.map(np.asarray, whole)
            return [_rows(found, slice(k * width, (k + 1) * width)) for k in range(len(group))]

        return fetch

    def recorded(journal: Journal, group: list[_Block]) -> Callable[[], list[Any]]:
        like = _run_block.eval_shape(function, settings, scenes[group[0].scene], _rows(starts, group[0].lanes))

        @cache
        def values() -> list[Any]:
            return begin(group)()

        return lambda: [journal.run_tree(lambda: values()[k], like) for k in range(len(group))]  # noqa: B023

    groups, results = [blocks[k : k + mesh.size] for k in range(0, len(blocks), mesh.size)], None
    started = map(begin if journal is None else partial(recorded, journal), groups)
    for group, values in zip(groups, _some_ahead(started), strict=True):
        if results is None:
            results = jax.tree.map(lambda x: np.empty((count, *x.shape[1:]), x.dtype), values[0])
        for block, value in zip(group, values, strict=True):
            for into, part in zip(jax.tree.leaves(results), jax.tree.leaves(value), strict=True):
                into[block.lanes] = part
    return results


def count_of(starts: Any) -> int:
    """How many there are along the leading axis. Raises ArgumentError where arrays have different ones, or none."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(starts)]
    counts = {shape[0] if shape else None for shape in shapes}
    count = counts.pop() if len(counts) == 1 else None
    if count is None:
        raise ArgumentError(f"starts: expected arrays with one leading axis, got shapes {shapes}: stack them")
    return count


def _rows(tree: Any, rows: Any) -> Any:
    return jax.tree.map(lambda x: x[rows], tree)


def _blocks(scene: Int[ndarray, "n"], width: int) -> list[_Block]:
    """Of one scene each, scenes in order."""
    blocks = []
    for one in np.unique(scene):
        of_scene = np.flatnonzero(scene == one)
        for first in range(0, len(of_scene), width):
            lanes = np.minimum(np.arange(first, first + width), len(of_scene) - 1)
            blocks.append(_Block(int(one), of_scene[lanes]))
    return blocks


def _some_ahead(started: Iterator[Callable[[], list[Any]]]) -> Iterator[list[Any]]:
    """The results in order, each fetched when the programs of the next `AHEAD` are on their way."""
    waiting: deque[Callable[[], list[Any]]] = deque()
    for fetch in started:
        waiting.append(fetch)
        if len(waiting) > AHEAD:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def over_starts(function: Callable[..., Any], settings: Hashable, shared: Any, starts: Any) -> Any:
    """`function(settings, shared, start)` for all starts, the leading axis of `starts`, at once."""
    return jax.vmap(partial(function, settings), (None, 0))(shared, starts)


@partial(jax.jit, static_argnums=(0, 1))
def _run_block(function: Callable[..., Any], settings: Hashable, shared: Any, starts: Any) -> Any:
    return over_starts(function, settings, shared, starts)


@partial(jax.jit, static_argnums=(0, 1))
def run_scenes(
    function: Callable[..., Any], settings: Hashable, shared: Sequence[Any], starts: Sequence[Any]
) -> list[Any]:
    """`function(settings, shared[s], start)` for all starts of each scene s, several scenes as one program.

    Trees of equal shapes. What is found for a scene among others differs in last bits from what is found for it alone.
    """
    of_scene = partial(over_starts, function, settings)
    if len(shared) == 1:
        return [of_scene(shared[0], starts[0])]
    stacked = (jax.tree.map(lambda *parts: jax.numpy.stack(parts), *trees) for trees in (shared, starts))
    together = jax.vmap(of_scene)(*stacked)
    return [jax.tree.map(lambda x: x[k], together) for k in range(len(shared))]  # noqa: B023


def compile_block(function: Callable[..., Any], settings: Hashable, shared: Any, starts: Any) -> None:
    """Compiles what `run_blocks` runs on one device, from shapes: those of `shared` and of one block's starts."""
    _run_block.lower(function, settings, shared, starts).compile()


@checked
def best_of(energies: Float[ndarray, "n"], count: int) -> Int[ndarray, "k"]:
    """The indices of the `count` lowest energies that are finite, lowest first; ties go to the earlier start."""
    check_count("best_of: count", count, 0)
    finite = np.flatnonzero(np.isfinite(energies))
    return finite[np.argsort(energies[finite], kind="stable")[:count]]


def kept(count: int, share: float, least: int) -> int:
    """How many of `count` starts go on when a `share` of them is kept, but not fewer than `least`."""
    check_count("kept: count", count, 0)
    if not 0 <= share <= 1:
        raise ArgumentError(f"kept: share: expected a number from 0 to 1, got {share}: change it")
    return min(count, max(least, math.ceil(share * count)))
