"""Tables of results, of any task, for the terminal and as Markdown."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from aaren.bench import MARKS
from aaren.comparison import Comparison, Metric, Record, Row
from aaren.endless import curves, endless_figure, endless_rows
from aaren.figures import comparison_figure, streaming_figure
from aaren.files import write_folder
from aaren.grid import Grid, best_of, newest

ENDLESS = "error of an endless stream divided by that of windows"
ENDLESS_NOTE = (
    "Squared errors of the forecasts from the second half of all rows so far (at the first place: of those after a "
    "whole window), mean of the ratios of all runs."
)
UNTESTED = " ‡"
STREAM = "stream"
"""`task` of long streams, whatever their model does: `readings` of `measure_stream` for each `data` and `layer`."""


class Section(NamedTuple):
    """A table: a title, rows of which the first is the header, and a note below."""

    title: str
    rows: list[list[str]]
    note: str = ""


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


COSTS = {
    "parameters": ("parameters", "{:,.0f}".format),
    "train_seconds": ("training time (s)", "{:,.1f}".format),
    "peak_memory_bytes": ("memory of training", size),
    "token_us": ("µs a streamed token", "{:,.0f}".format),
    "state_bytes": ("state after 1,000 tokens", size),
}
"""Key of a result to its name for people and how it is written."""


def write_report(records: Sequence[Record], comparisons: Sequence[Comparison], folder: Path) -> list[Section]:
    """Writes table.md and the pictures into `folder`.

    Args:
        records: results of any tasks, and long streams.
        comparisons: the tasks there are.

    Returns:
        The tables, for the terminal.

    Raises:
        ImportError: matplotlib or scipy is not installed.
        OSError: the folder cannot be written.
        ValueError: no results, or some of an unknown task.
    """
    tasks = {comparison.task: comparison for comparison in comparisons}
    if not records:
        raise ValueError("results must hold at least one record, got none")
    if strange := {str(record.get("task")) for record in records} - {*tasks, STREAM}:
        raise ValueError(f"task of a result must be one of {', '.join((*tasks, STREAM))}, got {min(strange)!r}")
    sections, counted = [], []
    for comparison in comparisons:
        mine = newest([record for record in records if record["task"] == comparison.task], comparison.identity)
        counted += mine
        for grid in grids(comparison, mine):
            name = re.sub(r"[^\w.-]+", "_", "-".join([comparison.task, *_fixed(grid).values()]))
            for metric in comparison.metrics:
                measured = grid.measured(metric)
                if _varied(measured) or (measured.records and not _varied(grid)):
                    section = metric_section(measured, metric)
                    sections.append(section)
                    comparison_figure(measured, metric, folder / f"{name}-{metric.name}.png", section.title)
            if told := curves(grid.records, comparison):
                sections.append(Section(f"{_name(grid)}: {ENDLESS}", endless_rows(told, comparison), ENDLESS_NOTE))
                endless_figure(told, folder / f"{name}-endless.png", f"{_name(grid)}: {ENDLESS}")
            sections.append(cost_section(grid))
    streams = newest([r for r in records if r["task"] == STREAM], lambda record: (*_model(record), record["layer"]))
    counted += streams
    for model in dict.fromkeys(map(_model, streams)):
        those = [stream for stream in streams if _model(stream) == model]
        section = stream_section(those)
        sections.append(section)
        name = "streaming" if len(those) == len(streams) else "-".join(["streaming", *model]).replace("/", "-")
        streaming_figure(those, folder / f"{name}.png", section.title)
    note = provenance(counted)
    if older := len(records) - len(counted):
        note += f" Left out: {older} older result{'s' if older > 1 else ''} of cells that have a newer one."
    sections[-1] = sections[-1]._replace(note=" ".join(filter(None, (sections[-1].note, note))))
    write_folder(folder, {"table.md": markdown(sections).encode()})
    return sections


def _varied(grid: Grid) -> bool:
    """Whether it has results that are not in several tables, as those of baselines are."""
    return any(record.get(grid.comparison.repeat) is not None for record in grid.records)


def grids(comparison: Comparison, records: Sequence[Record]) -> list[Grid]:
    """The results of a task, a grid for each combination of its fixed settings."""
    values = list(dict.fromkeys(r[comparison.any_of] for r in records if r.get(comparison.any_of) is not None))
    groups: dict[Row, list[Record]] = {}
    for record in records:
        everywhere = comparison.any_of in record and record[comparison.any_of] is None
        for value in values if everywhere and values else [None]:
            shown = record | {comparison.any_of: value} if everywhere and values else record
            groups.setdefault(comparison.table(shown), []).append(shown)
    return [Grid(comparison, group) for group in groups.values()]


def metric_section(grid: Grid, metric: Metric) -> Section:
    """Mean ± std over seeds of each cell, best and what cannot be told from it marked, and summaries over the rows."""
    axes = grid.comparison.rows
    rows = [[*axes, *grid.columns]]
    numbers = sorted({len(grid.runs(metric, row, column)) for row in grid.rows for column in grid.columns} - {0})
    tested = untested = False
    for row in grid.rows:
        verdict = grid.verdict(metric, row)
        digits = metric.decimals([x for column in grid.columns for x in grid.runs(metric, row, column).values()])
        untested |= bool(verdict.untested)
        entries = []
        for column in grid.columns:
            values = list(grid.runs(metric, row, column).values())
            text = spread(values, digits) if values else "–"
            tested |= bool(values and verdict.best) and column not in verdict.best | verdict.untested
            text += f" (n = {len(values)})" if 1 < len(values) < numbers[-1] else ""
            mark = " †" if column in verdict.alike else UNTESTED if column in verdict.untested else ""
            entries.append(f"**{text}**" if column in verdict.best else text + mark)
        rows.append([*map(str, row), *entries])
    complete = len(grid.complete_rows(metric))
    share = "" if complete == len(grid.rows) else f" ({complete} of {len(grid.rows)} rows)"
    for name, values in grid.summaries(metric).items():
        best = best_of(values, metric.higher_is_better and name == "mean") if len(values) > 1 else set()
        digits = 2 if name == "mean rank" else 3 if metric.digits is None else metric.digits
        texts = {column: f"{value:.{digits}f}" for column, value in values.items()}
        label = [name + share, *[""] * (len(axes) - 1)]
        rows.append([*label, *(f"**{text}**" if column in best else text for column, text in texts.items())])
    better = "higher" if metric.higher_is_better else "lower"
    seeds = " to ".join(map(str, dict.fromkeys((*numbers[:1], *numbers[-1:]))))
    note = f"{metric.title[0].upper()}{metric.title[1:]}, {better} is better: mean ± standard deviation over seeds "
    note += f"({seeds} a cell). **Best** of a row"
    if tested:
        note += "; † not told from it by a paired t-test over equal seeds (p ≥ 0.05, not corrected for many tests)"
    if tested and untested:
        note += f";{UNTESTED} too few runs for a test"
    elif untested:  # a mark on everything would say nothing
        rows = [[entry.removesuffix(UNTESTED) for entry in row] for row in rows]
        note += "; too few runs for a test"
    note += "."
    return Section(f"{_name(grid)}: {metric.title}", rows, note)


def cost_section(grid: Grid) -> Section:
    """What each column cost: the median over its cells, with the range; without what no result tells."""
    costs = {name: how for name, how in COSTS.items() if any(record.get(name) is not None for record in grid.records)}
    rows = [[grid.comparison.column, *(title for title, _ in costs.values())]]
    for column in grid.columns:
        mine = [record for record in grid.records if str(record[grid.comparison.column]) == column]
        row = [column]
        for name, (_, write) in costs.items():
            values = [record[name] for record in mine if record.get(name) is not None]
            middle = median(values) if values else 0
            low, high = (write(value) for value in (min(values), max(values))) if values else ("–", "–")
            row.append(low if low == high else f"{write(middle)} ({low} – {high})")
        rows.append(row)
    return Section(f"{_name(grid)}: cost", rows, "Median over the cells (least – most).")


def stream_section(streams: Sequence[Record]) -> Section:
    """Time of a token and bytes of the state after a hundred, a thousand, ... tokens of one long stream each."""
    at = [{reading["tokens"]: reading for reading in stream["readings"]} for stream in streams]
    marks = [mark for mark in MARKS if all(mark in readings for readings in at)]
    rows = [["", *(stream["layer"] for stream in streams)]]
    rows += [[f"µs a token, after {mark:,}", *(f"{r[mark]['token_us']:,.0f}" for r in at)] for mark in marks]
    rows += [[f"state, after {mark:,} tokens", *(size(r[mark]["state_bytes"]) for r in at)] for mark in marks]
    return Section(f"one stream: {', '.join(_model(streams[0]))}", rows)


def provenance(records: Sequence[Record]) -> str:
    """What the numbers must be read with."""

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(record[name]) for record in records if record.get(name) is not None}))

    dates = sorted(record["date"][:10] for record in records if "date" in record)
    seeds = {record["seed"] for record in records if record.get("seed") is not None}
    return (
        f"Made at commit {all_of('commit')}; preset {all_of('preset')}; {len(seeds)} seeds; aaren {all_of('aaren')}, "
        f"PyTorch {all_of('torch')}, Python {all_of('python')}; {all_of('processor')}, threads {all_of('threads')}; "
        + " to ".join(dict.fromkeys(dates[:1] + dates[-1:]))
        + "."
    )


def _model(stream: Record) -> tuple[str, ...]:
    """What the models of several layers' streams share."""
    return tuple(str(stream[name]) for name in ("data", "preset", "most_updates") if stream.get(name) is not None)


def _fixed(grid: Grid) -> dict[str, str]:
    """The settings that all its results share."""
    record = grid.records[0]
    values = {name: record[name] for name in grid.comparison.fixed if record.get(name) is not None}
    return {n: " ".join(map(str, value)) if isinstance(value, list) else str(value) for n, value in values.items()}


def _name(grid: Grid) -> str:
    return ", ".join(
        [grid.comparison.task, *(f"{name.replace('_', ' ')} {value}" for name, value in _fixed(grid).items())]
    )


def markdown(sections: Sequence[Section]) -> str:
    """All tables, for a file."""
    return "\n".join(
        f"### {section.title}\n\n{markdown_table(section.rows)}" + (f"\n{section.note}\n" if section.note else "")
        for section in sections
    )


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """For a README."""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))


def rich_table(rows: Sequence[Sequence[str]], title: str, note: str = "") -> Table:
    """For the terminal."""
    table = Table(title=title, title_justify="left", caption=_text(note) if note else None, caption_justify="left")
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows[1:]:
        table.add_row(*map(_text, row))
    return table


def _text(markdown: str) -> Text:
    """Markdown's bold as the terminal's."""
    text = Text()
    for number, part in enumerate(re.split(r"\*\*(.+?)\*\*", markdown)):
        text.append(part, style="bold" if number % 2 else "")
    return text
