"""Lines over steps, drawn by matplotlib."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

Lines = Mapping[str, tuple[Int[ndarray, "_"], Float[ndarray, "_"]]]
"""Steps and values, by what stands in the legend."""


def plot(lines: Lines, x_label: str, y_label: str, marks: Iterable[int]) -> UInt8[ndarray, "h w 3"]:
    """Lines by their names, on a logarithmic axis where all that is not zero is positive; `marks`: upright lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import LogLocator  # noqa: PLC0415

    figure = Figure(figsize=(5.2, 3.3), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.16, 0.15, 0.58 if len(lines) > 1 else 0.81, 0.81))
    values = np.concatenate([np.zeros(0), *(y for _, y in lines.values())])
    values = values[np.isfinite(values) & (values != 0)]
    logarithmic = len(values) > 0 and values.min() > 0
    for name, (x, y) in lines.items():
        axes.plot(x, np.where(y > 0, y, np.nan) if logarithmic else y, label=name, linewidth=1.4)
    if logarithmic:
        axes.set_yscale("log")
        low, high = max(values.min(), 1e-5 * values.max()) / 1.5, 1.5 * values.max()
        axes.set_ylim(low, high)
        # Powers as matplotlib sets them take most of the time.
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    for mark in marks:
        axes.axvline(mark, color="0.75", linewidth=0.8)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(fontsize=8, frameon=False, handlelength=1.2, loc="center left", bbox_to_anchor=(1, 0.5))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3]
