"""How streams that are never reset fare beside windows of the same rows: a table and a picture of results."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import mean

from aaren.comparison import Comparison, Record, Row
from aaren.png import new_figure, write_png

Curves = dict[Row, dict[str, dict[int, list[float]]]]
"""Row of the comparison, column, rows streamed: errors of a stream divided by those of windows, of each run."""


def curves(records: Sequence[Record], comparison: Comparison) -> Curves:
    """Of the results that tell of a stream as it gets longer (`along`, see `aaren.tasks.backtest`)."""
    told: Curves = {}
    for record in records:
        for point in record.get("along") or ():
            row = tuple(record[name] for name in comparison.rows)
            line = told.setdefault(row, {}).setdefault(str(record[comparison.column]), {})
            line.setdefault(point["rows"], []).append(point["stream"] / point["windowed"])
    return told


def endless_rows(told: Curves, comparison: Comparison) -> list[list[str]]:
    """A header and a line for each row and place: error of the stream divided by that of windows, per column."""
    columns = sorted({column for lines in told.values() for column in lines})
    rows = [[*comparison.rows, "rows streamed", *columns]]
    for row, lines in sorted(told.items()):
        for place in sorted({place for line in lines.values() for place in line}):
            runs = [lines.get(column, {}).get(place) for column in columns]
            rows.append([*map(str, row), f"{place:,}", *(f"{mean(some):.3f}" if some else "–" for some in runs)])
    return rows


def endless_figure(told: Curves, path: Path, title: str) -> None:
    """A panel for each row, a line for each column, as PNG.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    across = min(4, len(told))
    figure = new_figure(3.2 * max(across, 2), 2.8 * ceil(len(told) / across) + 0.8)
    panels = figure.subplots(ceil(len(told) / across), across, squeeze=False, sharey=True).flat
    columns = sorted({column for lines in told.values() for column in lines})
    for panel, (row, lines) in zip(panels, sorted(told.items()), strict=False):
        panel.axhspan(0.98, 1.02, color="0.9")
        for number, column in enumerate(columns):
            if column in lines:
                places = sorted(lines[column])
                ratios = [mean(lines[column][place]) for place in places]
                panel.plot(places, ratios, "os^dvPX*"[number % 8] + "-", label=column, markersize=4, color=f"C{number}")
        panel.set(xscale="log", xlabel="rows streamed, never reset")
        panel.set_title(", ".join(map(str, row)), fontsize=9)
        panel.tick_params(axis="x", which="minor", labelbottom=False)
        panel.grid(alpha=0.3)
    for panel in list(panels)[len(told) :]:
        panel.set_axis_off()
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", fontsize=8, ncols=len(columns))
    figure.supylabel("squared error / that of windows", fontsize=9)
    figure.suptitle(title, fontsize=10, wrap=True)
    write_png(figure, path)
