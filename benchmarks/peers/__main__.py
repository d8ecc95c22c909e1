"""The same work by us and by others, on the same cores, in one process, turn by turn.

python -m benchmarks.peers [--parts opa contact hand distances] [--markdown FILE] [--figure FILE]

What is timed is first compared: the program ends where a peer's energies, gradients, steps or distances differ from
ours. PyTorch's forms, chunk sizes and torch.compile are tried on a few steps, and the fastest eager and the fastest
compiled one are timed. Its long runs are timed on 20 steps and scaled linearly.
"""

import os
from pathlib import Path
from typing import Literal

import tyro

from benchmarks.peers.costs import Bar
from benchmarks.peers.jobs import CONTACT_STEPS, GRASPS, RESTARTS
from benchmarks.peers.parts import contact_part, distances_part, hand_part, opa_part
from benchmarks.timing import machine, write_section

Part = Literal["opa", "contact", "hand", "distances"]


def draw(path: Path, opa_bars: list[Bar], contact_bars: list[Bar]) -> None:
    """The seconds of both jobs, ours and PyTorch's, on a logarithmic axis."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    titles = f"Object pose, {RESTARTS} starts", f"Contact, {GRASPS} grasps, {CONTACT_STEPS} steps"
    both = figure.subplots(2, 1)
    for axes, bars, title in zip(both, (opa_bars, contact_bars), titles, strict=True):
        colours = ["#d95f02" if bar.label.startswith("fgs_jax") else "#9aa5b1" for bar in bars]
        drawn = axes.barh([bar.label for bar in bars], [bar.seconds for bar in bars], color=colours)
        written = [f" {bar.seconds:,.{0 if bar.seconds > 10 else 1}f} s, {bar.times:.3g}x" for bar in bars]
        axes.bar_label(drawn, written, fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(right=12 * max(bar.seconds for bar in bars))
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
        axes.set_title(title, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    both[1].set_xlabel("seconds, logarithmic; times ours on the same work", fontsize=8)
    figure.savefig(path, dpi=110)


def main(
    *,
    parts: tuple[Part, ...] = ("opa", "contact", "hand", "distances"),
    rounds: int = 5,
    scenes: tuple[str, ...] = ("spray_bottle", "mug", "hammer", "pan", "camera"),
    grasps: int = GRASPS,
    threads: tuple[int, ...] = (len(os.sched_getaffinity(0)),),
    markdown: Path | None = None,
    figure: Path | None = None,
) -> None:
    """Prints a table for each part, and writes them between the markers `peers` of a file."""
    footer = machine("jax", "torch", "open3d", "libigl", "scipy", "body-models")
    lines, bars = ["## Against peers", "", "![Seconds of each, on the same work](../docs/peers.png)"], {}
    if "opa" in parts:
        found, bars["opa"] = opa_part(rounds, scenes, threads)
        lines += ["", *found]
    if "contact" in parts:
        found, bars["contact"] = contact_part(rounds, grasps, threads)
        lines += ["", *found]
    if "hand" in parts:
        lines += ["", *hand_part()]
    if "distances" in parts:
        lines += ["", *distances_part(rounds)]
    lines += [
        "",
        f"Medians of {rounds} rounds, least and greatest in brackets. {footer}, "
        f"load {os.getloadavg()[0]:.1f} at the end",
    ]
    print("\n".join(lines))
    if markdown:
        write_section(markdown, "peers", "\n".join(lines))
    if figure and len(bars) == 2:
        draw(figure, bars["opa"], bars["contact"])


if __name__ == "__main__":
    tyro.cli(main)
