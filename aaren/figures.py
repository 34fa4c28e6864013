"""Pictures of results."""

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from aaren.comparison import Metric, Record
from aaren.extras import require
from aaren.files import write_folder
from aaren.grid import Grid, mean


def comparison_figure(grid: Grid, metric: Metric, path: Path, title: str) -> None:
    """A line of dots for each row of the grid, a dot with its standard deviation for each column, as PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    figure = new_figure(8, 1.5 + 0.25 * len(grid.rows) * (1 + 0.5 * len(grid.columns)))
    axes = figure.subplots()
    values = []
    for number, column in enumerate(grid.columns):
        places, means, spreads = [], [], []
        for place, row in enumerate(grid.rows):
            if runs := grid.runs(metric, row, column):
                places.append(place + 0.7 * ((number + 0.5) / len(grid.columns) - 0.5))
                means.append(mean(runs))
                spreads.append(stdev(runs.values()) if len(runs) > 1 else 0.0)
        axes.errorbar(means, places, xerr=spreads, fmt="os^dvPX*"[number % 8], label=column, markersize=4, capsize=2)
        values += means
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_xscale("log")
    axes.set_yticks(range(len(grid.rows)), [", ".join(map(str, row)) for row in grid.rows])
    axes.set_ylim(len(grid.rows) - 0.5, -0.5)
    axes.set(xlabel=metric.title, title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    write_png(figure, path)


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


def new_figure(width: int | float, height: int | float) -> Any:
    """An empty matplotlib figure of so many inches. Raises ImportError if matplotlib is not installed."""
    require("matplotlib.backends.backend_agg", "tasks")
    return require("matplotlib.figure", "tasks").Figure(figsize=(width, height), layout="constrained")


def write_png(figure: Any, path: Path) -> None:
    """Raises OSError if the folder cannot be written."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_folder(path.parent, {path.name: content.getvalue()})
