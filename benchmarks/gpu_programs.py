"""The programs as XLA compiles them for a GPU that need not be here: kernels, loops, memory, and the least time.

pip install "jax[cuda13]" && python -m benchmarks.gpu_programs [--markdown benchmarks/results.md]

Nothing is run. The least time is a bound, not a measurement: the operations on pairs that `benchmarks.ceilings` counts
too, over what the card can do by its data sheet. Without a card XLA tries no variants of matrix products.
"""

import math
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from jax.experimental import topologies

from benchmarks.timing import machine, write_section
from fgs_jax.config import FAST, FAST_CONTACT, FAST_OPA
from fgs_jax.hands.files import load_hand_model
from fgs_jax.hands.mano import mano_kind
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.picture.view import DRAWN_FACES, VIEW_SIDE, Similarity, draw, view_shapes
from fgs_jax.solve.ahead import shape_struct
from fgs_jax.solve.restarts import OTHER_WIDTHS, kept
from fgs_jax.stages import grasps
from fgs_jax.stages.contact_problem import ContactProblem, Picture
from fgs_jax.stages.opa_phases import phase_program, phase_width
from fgs_jax.stages.opa_problem import PoseState, problem_shapes
from fgs_jax.types import Camera, Grasp, HandParams

NAME, FLOAT_OPERATIONS = "NVIDIA H200", 67e12
"""Of the card's data sheet: operations on float32 a second, a product and a sum being two."""
TARGET = f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 150000000000
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability {{ major: 9 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 7 }}
runtime_version {{ major: 12 minor: 8 patch: 0 }}
device_description_str: "{NAME}"
"""
WITHOUT_TRIALS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
ROTATIONS = 10_000
_KERNEL = re.compile(r" (fusion|custom-call|copy|scatter|sort|reduce|gather|dynamic-update-slice)\(")


class Program(NamedTuple):
    """One row: what is compiled, and what it has to do."""

    name: str
    lanes: int
    function: Any
    arguments: tuple
    pairs: int
    """Of points and targets that a lane looks at in one search."""
    searches: int
    """In all, of each lane."""
    operations: float
    """On each pair."""
    blocks: int
    """Of the whole job."""


class Compiled(NamedTuple):
    loops: int
    kernels: int
    """In the innermost loop, or in all where there is none."""
    temporary: float
    """MB."""
    largest: float
    """MB, of arrays between kernels."""


def pose_programs() -> list[Program]:
    problem = problem_shapes(FAST_OPA)
    programs, count = [], ROTATIONS
    for number, phase in enumerate(FAST_OPA.phases):
        count = kept(count, phase.keep, phase.least)
        lanes = phase_width(phase, OTHER_WIDTHS[-1])
        function, settings, inputs = phase_program(problem, FAST_OPA, phase)
        starts = shape_struct(lanes, 3, 3), PoseState(shape_struct(lanes, 3), shape_struct(lanes, 3), None)
        run = jax.vmap(partial(function, settings), (None, 0))
        pairs = phase.points * phase.targets
        name = f"object pose, phase {number + 1}"
        # Two differences, two squares, a sum; two to pack the index, one to compare.
        programs.append(Program(name, lanes, run, (inputs, starts), pairs, phase.steps, 8.0, math.ceil(count / lanes)))
    return programs


def silhouette_program() -> Program:
    drawn: Any = draw
    arguments = view_shapes(VIEW_SIDE), Similarity(shape_struct(3, 3), shape_struct(3), shape_struct())
    return Program("silhouette", 1, drawn.__wrapped__, arguments, VIEW_SIDE**2 * DRAWN_FACES, 1, 13.0, 1)


def contact_program(lanes: int) -> Program:
    model = load_hand_model(FAST.hand_model)
    vertices, points = model.v_template.shape[0], FAST_CONTACT.object_points
    shapes = jax.tree.map(lambda x: shape_struct(*np.shape(x), dtype=np.asarray(x).dtype), mano_kind(model))
    counts = shape_struct(3, dtype=np.int32)
    grid = DistanceGrid(shape_struct(FAST.grid**3), shape_struct(3), shape_struct(), counts)
    picture = Picture(
        Camera(shape_struct(2), shape_struct(2)),
        shape_struct(21, 2),
        shape_struct(21),
        shape_struct(vertices),
        shape_struct(DRAWN_FACES, 3, 3),
    )
    problem = ContactProblem(shapes, grid, shape_struct(points, 3), picture)
    static, values = FAST_CONTACT.split()
    settings = grasps.GraspSettings(static, "threefry2x32")
    numbers = jax.tree.map(lambda x: shape_struct(dtype=x.dtype), values)
    hands = jax.tree.map(lambda x: shape_struct(lanes, *np.shape(x)), HandParams())
    starts = (
        Grasp(hands, shape_struct(lanes, 3, 3), shape_struct(lanes, 3), shape_struct(lanes)),
        shape_struct(lanes, dtype=np.int32),
    )
    run = jax.vmap(partial(grasps.refine_grasp, settings), (None, 0))
    arguments = (problem, numbers, shape_struct(2, dtype=np.uint32)), starts
    # Three differences, three squares, two sums; two to pack the index, one to compare.
    return Program("contact", lanes, run, arguments, vertices * points, FAST_CONTACT.rounds, 11.0, 1)


def compiled(program: Program, device: Any) -> Compiled:
    place = jax.sharding.SingleDeviceSharding(device)
    jitted = jax.jit(program.function, in_shardings=place, out_shardings=place)
    found = jitted.lower(*program.arguments).compile(WITHOUT_TRIALS)
    memory: Any = found.memory_analysis()
    computations = _computations(found.as_text() or "")
    bodies = [re.findall(r"while\(.*?body=%?([\w.\-]+)", line) for lines in computations.values() for line in lines]
    loops = [name for names in bodies for name in names]
    innermost = [name for name in loops if not any(" while(" in line for line in computations[name])]
    where = innermost[0] if innermost else next(reversed(computations))
    kernels = sum(bool(_KERNEL.search(line)) for line in computations[where])
    between = [lines for name, lines in computations.items() if name in loops or name == next(reversed(computations))]
    largest = max(_bytes(line) for lines in between for line in lines)
    return Compiled(len(loops), kernels, memory.temp_size_in_bytes / 1e6, largest / 1e6)


def _computations(text: str) -> dict[str, list[str]]:
    """Lines of each of the module's computations, the entry last."""
    parts = re.split(r"\n(?=%|ENTRY )", text)[1:]
    return {part.split("(", 1)[0].removeprefix("ENTRY ").strip(" %"): part.splitlines()[1:] for part in parts}


def _bytes(line: str) -> float:
    """Of the array that an instruction makes; four bytes a number."""
    shape = re.match(r"\s+(?:ROOT )?%?\S+ = \w+\[([\d,]+)\]", line)
    return 4.0 * math.prod(map(int, shape.group(1).split(","))) if shape else 0.0


def main(*, widths: tuple[int, ...] = (1024, 4096), markdown: Path | None = None) -> None:
    """Prints a table of the programs, compiled for an H200.

    Args:
        widths: of the contact stage's blocks.
        markdown: a file that the table is written to.
    """
    if not find_spec("jax_plugins") or not find_spec("jax_plugins.xla_cuda13"):
        raise SystemExit('gpu_programs: expected JAX\'s compiler for GPUs, found none: pip install "jax[cuda13]"')
    topology = topologies.get_topology_desc(platform="cuda", target_config=TARGET, topology="1x1x1")
    lines = [
        "## Programs compiled for a GPU, not run",
        "",
        "| program | starts at once | loops | kernels a step | temporary memory, MB | largest array, MB "
        "| all pairs at once would be, MB | least ms of a block's searches |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    poses, least = pose_programs(), 0.0
    for program in [*poses, silhouette_program(), *map(contact_program, widths)]:
        found = compiled(program, topology.devices[0])
        operations = program.operations * program.pairs * program.searches * program.lanes
        milliseconds = 1e3 * operations / FLOAT_OPERATIONS
        least += program.blocks * milliseconds if program in poses else 0.0
        pairs = 4e-6 * program.pairs * program.lanes
        cells = [found.temporary, found.largest, pairs, milliseconds]
        lines.append(
            f"| {program.name} | {program.lanes} | {found.loops} | {found.kernels} | "
            f"{' | '.join(f'{value:.3g}' for value in cells)} |"
        )
        print(lines[-1], flush=True)
    steps = sum(program.blocks * program.searches for program in poses)
    lines += [
        "",
        f"Compiled for an {NAME} by its description. {ROTATIONS} rotations go through {steps} steps of blocks; their "
        f"searches alone take {least:.0f} ms at the data sheet's {FLOAT_OPERATIONS / 1e12:.0f} T operations a second. "
        "Largest array: between two kernels. No kernel was run or timed.  ",
        machine("jax", "jax-cuda13-plugin"),
    ]
    print("\n".join(lines))
    if markdown:
        write_section(markdown, "gpu-programs", "\n".join(lines))


if __name__ == "__main__":
    tyro.cli(main)
