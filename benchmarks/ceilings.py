"""How near the kernels come to what the machine can do: arithmetic and bytes against measured ceilings.

python -m benchmarks.ceilings [--markdown benchmarks/results.md]

The ceilings are measured through the same compiler: a large matrix product, and the maximum of an array that no cache
holds.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array

from benchmarks.peers.jobs import contact_energy, contact_starts, opa_energy, opa_starts, random_states, scene_of
from benchmarks.timing import interleaved, machine, spread, write_section
from fgs_jax.hands.mano import hand
from fgs_jax.objects.distance import signed_distance
from fgs_jax.objects.neighbours import nearest
from fgs_jax.picture.camera import silhouette

HANDS = 64


class Kernel(NamedTuple):
    """One row: what is run, and what it has to do at least."""

    name: str
    call: Callable[[], Any]
    operations: float
    """On floats and, in the nearest-neighbour kernel, integers."""
    bytes: float
    """Read and written once: inputs and outputs."""


def product(side: int) -> Callable[[], Any]:
    matrix = jnp.ones((side, side))
    run = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    return lambda: run(matrix).block_until_ready()


def stream(numbers: int) -> Callable[[], Any]:
    array = jnp.ones(numbers)
    run = jax.jit(jnp.max)
    return lambda: run(array).block_until_ready()


def size_of(tree: Any) -> float:
    return float(sum(x.nbytes for x in jax.tree.leaves(tree)))


def kernel(name: str, function: Callable[..., Any], *arguments: Any, operations: float | None = None) -> Kernel:
    """Operations are counted by XLA unless given: it counts the body of a loop once."""
    compiled = jax.jit(function).lower(*arguments).compile()
    found = compiled(*arguments)
    cost: Any = compiled.cost_analysis()
    counted = float(cost["flops"]) if operations is None else operations
    return Kernel(
        name,
        lambda: jax.block_until_ready(compiled(*arguments)),
        counted,
        size_of(arguments) + size_of(found),
    )


def kernels() -> list[Kernel]:
    given = contact_starts(HANDS)
    problem, vertices = given.problem, given.searching.search.last.vertices
    points, model = problem.object_points, problem.hand.data
    pairs = HANDS * len(points) * vertices.shape[1]

    def hinge(points: Array) -> Array:
        return jnp.sum(jax.nn.relu(-signed_distance(problem.object, points)))

    def vertex_sum(params: Any) -> Array:
        return jnp.sum(hand(model, params).vertices ** 2)

    scene = scene_of("spray_bottle")
    starts = opa_starts(scene, HANDS)
    rotation = np.zeros((HANDS, 3), np.float32)
    pose_pairs = HANDS * len(starts.problem.points) * len(starts.problem.targets)
    side = np.arange(96.0)
    pixels = jnp.asarray(np.stack(np.meshgrid(3 * side, 3 * side), axis=-1).reshape(-1, 2), jnp.float32)
    hand_vertices, hand_faces = scene.posed_hand()
    drawn = jnp.asarray(hand_vertices, jnp.float32), jnp.asarray(hand_faces)
    states = random_states(given)
    return [
        # Three differences, three squares, two sums; two to pack the index, one to compare.
        kernel("nearest vertex of points", jax.vmap(nearest, (None, 0)), points, vertices, operations=11.0 * pairs),
        kernel("distance in the grid", jax.vmap(partial(signed_distance, problem.object)), vertices),
        kernel("distance in the grid, gradient of a hinge", jax.vmap(jax.value_and_grad(hinge)), vertices),
        kernel("hand", jax.vmap(lambda p: hand(model, p).vertices), given.grasps.hand),
        kernel("hand, gradient of a sum", jax.vmap(jax.value_and_grad(vertex_sum)), given.grasps.hand),
        # Two barycentric coordinates and a third, two minima, one maximum.
        kernel(
            "silhouette of the hand",
            lambda v, f: silhouette(scene.camera, v, f, pixels),
            *drawn,
            operations=13.0 * len(pixels) * len(hand_faces),
        ),
        Kernel(
            "OPA's energy and gradient, the paper's sizes",
            lambda: jax.block_until_ready(
                opa_energy(starts.problem, starts.rotations, rotation, starts.translations, True)
            ),
            8.0 * pose_pairs,
            size_of((starts.problem, starts.rotations)),
        ),
        Kernel(
            "contact's energy and gradient with its neighbours",
            lambda: jax.block_until_ready(
                contact_energy(problem, given.grasps, given.searching, given.searching.contacts, states)
            ),
            11.0 * pairs,
            size_of((problem, given.searching)),
        ),
    ]


def main(*, rounds: int = 9, markdown: Path | None = None) -> None:
    """Prints a table, and writes it between the markers `ceilings` of a file."""
    footer = machine("jax")
    side, numbers = 2048, 64_000_000
    found = kernels()
    calls = {"product": product(side), "stream": stream(numbers)} | {k.name: k.call for k in found}
    for call in calls.values():
        call()
    all_seconds = interleaved(calls, rounds)
    seconds = {name: float(np.median(values)) for name, values in all_seconds.items()}
    arithmetic, memory = 2.0 * side**3 / seconds["product"], 4.0 * numbers / seconds["stream"]
    lines = [
        "## How near the kernels come to what the machine can do\n",
        f"Ceilings, measured: {arithmetic / 1e9:.3g} G operations a second (a matrix product of {side} by {side}), "
        f"{memory / 1e9:.3g} GB a second (the maximum of {numbers / 1e6:.0f} million numbers).\n",
        f"| {HANDS} at once | ms | G operations/s | of the ceiling | GB/s | of the ceiling |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        spent = seconds[one.name]
        rates = one.operations / spent, one.bytes / spent
        milliseconds = spread([1e3 * value for value in all_seconds[one.name]])
        lines.append(
            f"| {one.name} | {milliseconds} | {rates[0] / 1e9:.3g} "
            f"| {rates[0] / arithmetic:.0%} | {rates[1] / 1e9:.3g} | {rates[1] / memory:.0%} |"
        )
    lines += [
        "",
        "Operations: of the hand and the grid as XLA counts them, of the others by hand: 11 for each pair of point and "
        "vertex, 8 for each of point and pixel, 13 for each of triangle and pixel; what else the energies do is not "
        "counted. A product does two operations at once, the kernels rarely can. A look-up in the grid gathers "
        "8 numbers for each point. Bytes: inputs and outputs, once.",
        "",
        f"Medians of {rounds} rounds, least and greatest in brackets. {footer}",
    ]
    print("\n".join(lines))
    if markdown:
        write_section(markdown, "ceilings", "\n".join(lines))


if __name__ == "__main__":
    tyro.cli(main)
