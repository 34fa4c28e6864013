"""Pictures of results."""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

from aaren.comparison import Metric, Record
from aaren.grid import Grid, mean
from aaren.png import new_figure, write_png


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
        axes.errorbar(
            means,
            places,
            xerr=spreads,
            fmt="os^dvPX*"[number % 8],
            color=f"C{number}" if number < 10 else "black",  # there are ten colours
            label=column,
            markersize=4,
            capsize=2,
        )
        values += means
    if values and min(values) > 0 and max(values) > 5 * min(values):
        axes.set_xscale("log")
    axes.set_yticks(range(len(grid.rows)), [", ".join(map(str, row)) for row in grid.rows])
    axes.set_ylim(len(grid.rows) - 0.5, -0.5)
    axes.set_xlabel(metric.title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.suptitle(title, fontsize=10, wrap=True)
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
