"""Pictures of results."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from aaren.comparison import Metric, Record
from aaren.grid import Grid
from aaren.png import new_figure, write_png

FAR = 1.4
"""An error of so many times the least of its panel is written at the edge: the others are to be told apart."""


def comparison_figure(grid: Grid, metric: Metric, path: Path, title: str) -> None:
    """A panel for each row of the grid, in it a dot with its standard deviation for each column, as PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    across = min(4, len(grid.rows))
    down = ceil(len(grid.rows) / across)
    figure = new_figure(2.8 * max(across, 2), (0.6 + 0.17 * len(grid.columns)) * down + 0.8)
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for panel, row in zip(panels, grid.rows, strict=False):
        runs = [grid.runs(metric, row, column) for column in grid.columns]
        _dots(panel, [list(some.values()) for some in runs], metric)
        panel.set_title(", ".join(map(str, row)), fontsize=9)
        panel.set_yticks(range(len(grid.columns)), grid.columns, fontsize=8)
        panel.tick_params(axis="x", labelsize=8)
    panels[0].invert_yaxis()  # of all: they share it
    for panel in panels[len(grid.rows) :]:
        panel.set_axis_off()
    figure.supxlabel(metric.title, fontsize=9)
    figure.suptitle(title, fontsize=10, wrap=True)
    write_png(figure, path)


def _dots(panel: Any, columns: Sequence[Sequence[int | float]], metric: Metric) -> None:
    """A line for each column, from above; the best is filled."""
    means = [fmean(runs) if runs else None for runs in columns]
    known = [value for value in means if value is not None]
    best = max(known) if metric.higher_is_better else min(known)
    limit = FAR * best if best > 0 and not metric.higher_is_better else float("inf")
    digits = metric.decimals(value for runs in columns for value in runs)
    for place, (runs, value) in enumerate(zip(columns, means, strict=True)):
        if value is None:
            continue
        if value > limit:
            text = f"{value:.{digits}f} →"
            panel.annotate(text, (1, place), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=7)
            continue
        spread = stdev(runs) if len(runs) > 1 else 0.0
        filled = "C0" if value == best else "white"
        panel.errorbar(value, place, xerr=spread, fmt="o", color="C0", mfc=filled, markersize=4, capsize=2)
    panel.grid(alpha=0.3)
    panel.margins(x=0.15)
    panel.locator_params(axis="x", nbins=4)
    panel.ticklabel_format(axis="x", useOffset=False)


def streaming_figure(streams: Sequence[Record], path: Path, title: str) -> None:
    """State memory and cumulative time against streamed tokens, a line for each layer (paper, figure 5), as PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    figure = new_figure(10, 4.2)
    memory, clock = figure.subplots(1, 2)
    for stream, style in zip(streams, ("-", "--", "-.", ":") * len(streams), strict=False):
        tokens = [reading["tokens"] for reading in stream["readings"]]
        memory.plot(
            tokens, [reading["state_bytes"] / 1e3 for reading in stream["readings"]], style, label=stream["layer"]
        )
        clock.plot(tokens, [reading["seconds"] for reading in stream["readings"]], style, label=stream["layer"])
    memory.set(xlabel="streamed tokens", ylabel="state (kB)", yscale="log", title="memory of one stream")
    clock.set(xlabel="streamed tokens", ylabel="cumulative time (s)", title="time of one stream")
    for axes in (memory, clock):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title, fontsize=10)
    write_png(figure, path)
