"""Tables in files: CSV, Parquet and the raw layout of the benchmarks as data frames. Knows no order of time."""

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aaren.data.catalog import find, is_path, locate, near_names
from aaren.data.sets import DataSet
from aaren.extras import require

if TYPE_CHECKING:
    import pandas

TEXT = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
HEAD = 1 << 20  # bytes of a file in which its layout shows
WHOLE = r"\s*[+-]?\d+(\.\d{3})*(,\d+)?\s*"  # dots for thousands, if any; read with decimal commas


def read_table(path: str | Path) -> "pandas.DataFrame":
    """The table in a file, its columns named by strings, its cells as they are.

    `.parquet` through pyarrow. Text (`.csv`, `.tsv`, `.txt`, each also with `.gz`) is UTF-8, in which invalid bytes
    become replacement characters; cells are separated by commas, semicolons or tabs, whichever the first line has most
    of, and unless it is the comma, numbers may have a decimal comma. The first line names the columns; a `.txt` file
    may have numbers only, whose columns are then named 0, 1, 2, ...

    Raises:
        FileNotFoundError: no such file.
        ImportError: pandas or, for Parquet, pyarrow is not installed.
        ValueError: another kind of file, no row, columns without or with the same name, or what is no table.
    """
    path = Path(path)
    name = path.name.lower()
    if not path.is_file():
        raise FileNotFoundError(f"table must be an existing file, got {str(path)!r}")
    if not name.endswith((*TEXT, ".parquet")):
        raise ValueError(f"table must be a file {', '.join(TEXT)} or .parquet, got {str(path)!r}")
    if path.stat().st_size == 0:
        raise ValueError(f"{str(path)!r} must be a table, got an empty file")
    try:
        frame = _read_parquet(path) if name.endswith(".parquet") else _read_text(path)
    except (ValueError, EOFError, OSError, zlib.error) as error:  # of pandas, pyarrow and gzip
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{str(path)!r} must be a readable table, got: {first}") from None
    if frame.empty:
        raise ValueError(f"{str(path)!r} must have rows of data, got none")
    return frame


def load_frame(data: str | Path, *, time: str | None = None) -> "pandas.DataFrame":
    """A table of series, a column each, as float64 with NaN where a value is missing; the time column comes first.

    Rows are neither sorted nor checked for gaps.

    Args:
        data: a forecasting set in the catalogue, or a path (see `read_table`). A catalogue set has its known faults
            repaired: `attrs["notes"]` of the result lists what was done; and its time column is called `date`.
        time: the time column of a path; None = `date` if there is such a column, otherwise there is none. Text is read
            as dates, numbers stay numbers.

    Raises:
        FileNotFoundError: no such file, or a set that is neither at hand nor downloadable.
        ImportError: pandas, pyarrow or pooch is not installed but needed.
        ValueError: an unknown name, no such column, a time that cannot be read, a cell that is no number (naming
            column and row, from 0), a catalogue set of another size; whatever `read_table` refuses.
    """
    file = locate(data)
    frame = read_table(file)
    try:
        if is_path(data):
            return _typed(frame, "date" if time is None and "date" in frame else time)
        if time not in (None, "date"):
            raise ValueError(f"time must be 'date' for the catalogue's sets, got {time!r}")
        return _repaired(frame, find(str(data)))
    except ValueError as error:
        raise ValueError(f"{str(file)!r}: {error}") from None


def wide(frame: "pandas.DataFrame", *, time: str, key: str, value: str) -> "pandas.DataFrame":
    """A column a series, in the order they first appear, from a table with one row per time and series.

    Args:
        time: column of times, the first column of the result; its rows are in this order.
        key: column that names the series.
        value: column of numbers. Where a series has none for a time, the result has NaN.

    Raises:
        ValueError: no such column, an empty time or key, a value that is no number, several rows for the same time and
            series (naming the first and their number), a series called as the time column is.
    """
    for role, column in (("time", time), ("key", key), ("value", value)):
        _check_column(frame, column, role)
    _check_filled(frame, key)
    columns = {"time": _times(frame, time), "key": frame[key], "value": _numbers(frame, value)}
    long = require("pandas", "tasks").DataFrame(columns)
    again = long.duplicated(["time", "key"])
    if again.any():
        first = long[again].iloc[0]
        raise ValueError(
            f"table must have one row for each {time!r} and {key!r}, got {again.sum()} too many, "
            f"the first of {first['key']!s} at {first['time']} in row {_row(again)}"
        )
    table = long.pivot(index="time", columns="key", values="value")[list(long["key"].unique())]
    table.columns = [str(name) for name in table.columns]
    if time in table:
        raise ValueError(f"key must name no series like the time column, got {time!r}; rename that column")
    table.insert(0, time, table.index)
    return table.reset_index(drop=True)


def _read_parquet(path: Path) -> "pandas.DataFrame":
    pandas = require("pandas", "tasks")
    require("pyarrow", "tasks")
    frame = pandas.read_parquet(path, engine="pyarrow")
    if not isinstance(frame.index, pandas.RangeIndex):
        frame = frame.reset_index()  # where pandas keeps times when it writes them
    frame.columns = [str(name) for name in frame.columns]
    return _check_names(frame, list(frame.columns))


def _read_text(path: Path) -> "pandas.DataFrame":
    pandas = require("pandas", "tasks")
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        head = file.read(HEAD)
    if b"\0" in head:
        raise ValueError("bytes that are no text in UTF-8")
    text = head.decode("utf-8-sig", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("no line of text")
    separator = max(",;\t", key=lines[0].count)
    rows = csv.reader(lines, delimiter=separator)
    names = [name.strip() for name in next(rows)]
    bare = all(_is_number(name) for name in names) and names != [str(i) for i in range(len(names))]
    if bare and ".txt" not in path.name.lower():
        raise ValueError("no names of columns in the first line (only .txt may go without)")
    if (cells := len(next(rows, []))) > len(names):  # pandas would take the first column for an index
        raise ValueError(f"{cells} cells in the first row, but {len(names)} names of columns")
    some = (cell.strip() for line in lines[1:100] for cell in line.split(separator))
    alone = len(names) == 1  # then a line without anything is a row without a value
    comma = separator != "," and any(re.fullmatch(r"[+-]?\d*,\d+", cell) for cell in some)
    frame = pandas.read_csv(
        path,
        sep=separator,
        header=None if bare else next(n for n, line in enumerate(text.splitlines()) if line.strip()) if alone else 0,
        skip_blank_lines=not alone,
        decimal="," if comma else ".",
        encoding="utf-8-sig",
        encoding_errors="replace",
        low_memory=False,  # or a column may have several types
    )
    frame.columns = [str(name) for name in frame.columns]
    if alone:
        frame = frame.loc[: frame.last_valid_index()]
    for name in frame.columns if comma else ():
        cells = frame[name].dropna()
        if pandas.api.types.is_numeric_dtype(cells):
            continue
        texts = cells.astype(str).str
        if texts.fullmatch(WHOLE).all() and texts.contains(".", regex=False).any():
            raise ValueError(f"dots for thousands in column {name!r}, beside decimal commas; write 1234,5 for 1.234,5")
    return frame if bare else _check_names(frame, names)


def _check_names(frame: "pandas.DataFrame", names: list[str]) -> "pandas.DataFrame":
    """The frame, if each column has a name of its own; from the file, since pandas makes names up."""
    if "" in names:
        raise ValueError(f"no name for column {names.index('') + 1}; was it written with an index?")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"several columns called {twice!r}")
    return frame.set_axis(names, axis=1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _repaired(frame: "pandas.DataFrame", data_set: DataSet) -> "pandas.DataFrame":
    """The frame of a catalogue set with dates and without sentinels."""
    pandas = require("pandas", "tasks")
    notes = []
    if "date" not in frame and data_set.start is not None:
        # The benchmarks' file has the same columns, of which it calls the last OT.
        frame.columns = [*frame.columns[:-1], "OT"]
        dates = pandas.date_range(data_set.start, periods=len(frame), freq=data_set.step)
        frame = pandas.DataFrame({"date": dates, **{str(name): frame[name] for name in frame}})
        notes.append(f"dates made: from {data_set.start} in steps of {data_set.step}")
    frame = _typed(frame, "date")
    shape = len(frame), frame.shape[1] - 1
    if shape != (data_set.rows, data_set.channels):  # the only check of a download without known checksum
        raise ValueError(
            f"{data_set.name} must have {data_set.rows} rows and {data_set.channels} channels, got {shape[0]} and "
            f"{shape[1]}; remove an incomplete file and `aaren data get {data_set.name}`"
        )
    if data_set.sentinel is not None:
        sentinels = frame.iloc[:, 1:] == data_set.sentinel
        frame.iloc[:, 1:] = frame.iloc[:, 1:].mask(sentinels)
        notes.append(f"{int(sentinels.to_numpy().sum())} cells with the sentinel {data_set.sentinel:g} made missing")
    frame.attrs["notes"] = notes
    return frame


def _typed(frame: "pandas.DataFrame", time: str | None) -> "pandas.DataFrame":
    """Times first, every other column as numbers."""
    pandas = require("pandas", "tasks")
    if time is not None:
        _check_column(frame, time, "time")
    columns: dict[str, Any] = {} if time is None else {time: _times(frame, time)}
    columns |= {name: _numbers(frame, name) for name in frame.columns if name != time}
    return pandas.DataFrame(columns)


def _check_column(frame: "pandas.DataFrame", name: str, role: str) -> None:
    if name not in frame:
        hint = near_names(name, map(str, frame.columns)) or f"there are {', '.join(map(str, frame.columns[:8]))}"
        raise ValueError(f"{role} must be a column of the table, got {name!r}; {hint}")


def _check_filled(frame: "pandas.DataFrame", name: Hashable) -> None:
    empty: Any = frame[name].isna()
    if empty.any():
        raise ValueError(f"column {name!r} must have no empty cell, got one in row {_row(empty)}")


def _row(found: Any) -> int:
    """Number of the first row that is true, from 0, as in a DataFrame."""
    return int(found.to_numpy().argmax())


def _times(frame: "pandas.DataFrame", name: str) -> "pandas.Series":
    """Text as dates; dates and numbers as they are."""
    pandas = require("pandas", "tasks")
    _check_filled(frame, name)
    column: Any = frame[name]
    if pandas.api.types.is_datetime64_any_dtype(column) or pandas.api.types.is_numeric_dtype(column):
        return column
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas tells that it tries every cell on its own
        try:
            return pandas.to_datetime(column)
        except ValueError as error:
            bad: Any = pandas.to_datetime(column, errors="coerce", utc="zone" in str(error)).isna()
    if not bad.any():
        raise ValueError(f"column {name!r} must have times of one time zone, got several; write them in UTC")
    raise ValueError(
        f"column {name!r} must hold times written like {column.iloc[0]!r}, got {column[bad].iloc[0]!r} in row "
        f"{_row(bad)}; 2020-12-31 23:59:00 is always understood"
    )


def _numbers(frame: "pandas.DataFrame", name: Hashable) -> np.ndarray:
    """The column as float64 with NaN for empty cells."""
    pandas = require("pandas", "tasks")
    column: Any = frame[name]
    if pandas.api.types.is_datetime64_any_dtype(column):
        raise ValueError(f"column {name!r} must hold numbers, got times; name the time column, or leave this one out")
    numbers = pandas.to_numeric(column, errors="coerce")
    bad = numbers.isna() & column.notna()
    if bad.any():
        bad &= column.astype(str).str.strip() != ""  # a cell of blanks is empty
    if bad.any():
        raise ValueError(
            f"column {name!r} must hold numbers, got {column[bad].iloc[0]!r} in row {_row(bad)}; "
            "name the time column, or leave this one out"
        )
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)
