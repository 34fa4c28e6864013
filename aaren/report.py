"""Tables and pictures of results."""

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from aaren.extras import require
from aaren.files import write_folder


def spread(values: Sequence[int | float], digits: int = 3) -> str:
    """Mean ± sample standard deviation, the latter if there is more than one value."""
    text = f"{mean(values):.{digits}f}"
    return f"{text} ± {stdev(values):.{digits}f}" if len(values) > 1 else text


def size(number: int | float) -> str:
    """Bytes in B, kB, MB (powers of 1,000)."""
    for unit, divisor in (("MB", 1e6), ("kB", 1e3)):
        if number >= divisor:
            return f"{number / divisor:.1f} {unit}"
    return f"{number:.0f} B"


def comparison_rows(
    cells: Sequence[dict[str, Any]], streams: Sequence[dict[str, Any]], marks: Sequence[int]
) -> list[list[str]]:
    """A header and a row for each quantity, a column for each layer in the order of first appearance.

    Args:
        cells: results of `aaren classify`, one for each layer and seed.
        streams: readings of `measure_stream` under "readings", one for each layer.
        marks: tokens after which streaming is shown.
    """
    columns = [
        ["", "test accuracy", "parameters", "training time (s)", "memory of training"]
        + [f"µs a token, after {mark:,}" for mark in marks]
        + [f"state, after {mark:,} tokens" for mark in marks]
    ]
    for layer in dict.fromkeys(cell["layer"] for cell in cells):
        mine = [cell for cell in cells if cell["layer"] == layer]
        readings = next(stream["readings"] for stream in streams if stream["layer"] == layer)
        at = {reading["tokens"]: reading for reading in readings}
        columns.append(
            [
                layer,
                spread([cell["accuracy"] for cell in mine]),
                f"{mine[0]['parameters']:,}",
                spread([cell["train_seconds"] for cell in mine], digits=1),
                size(mean(cell["peak_memory_bytes"] for cell in mine)),
                *(f"{at[mark]['token_us']:,.0f}" for mark in marks),
                *(size(at[mark]["state_bytes"]) for mark in marks),
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def rich_table(rows: Sequence[Sequence[str]], title: str) -> Table:
    """For the terminal."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """For a README."""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))


def streaming_figure(streams: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """State memory and cumulative time against streamed tokens, a line for each layer (paper, figure 5), as PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    figure_module = require("matplotlib.figure", "tasks")
    require("matplotlib.backends.backend_agg", "tasks")
    figure = figure_module.Figure(figsize=(10, 4.2), layout="constrained")
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
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_folder(path.parent, {path.name: content.getvalue()})
