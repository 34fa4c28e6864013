"""Files of events: known sets, a table of one's own, the layouts of EasyTPP and of the Transformer Hawkes process."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from aaren.data.catalog import find, is_path, locate
from aaren.data.events import EventSequence, check_events, vocabulary
from aaren.data.processes import Sin
from aaren.extras import require

PARTS = ("train", "validation", "test")

SIN = Sin(rate=5.0, frequency=1.0)
"""The process of the synthetic set `Sin`: 1,000 sequences of 20 units of time, a little over three periods."""


class EventParts(NamedTuple):
    """Sequences to train on, to select a model by, and to measure it on once."""

    train: list[EventSequence]
    validation: list[EventSequence]
    test: list[EventSequence]
    marks: np.ndarray
    """of all parts, sorted; empty without marks"""
    names: list[Any] | None = None
    """of the test sequences, if they have some"""
    dated: bool = False
    """whether times are seconds since 1970"""


class EventTable(NamedTuple):
    """A table's events."""

    sequences: list[EventSequence]
    names: list[Any] | None
    """of the sequences"""
    dated: bool
    """whether times were dates: then they are seconds since 1970"""


def load_events(data: str | Path) -> EventParts:
    """A known set in its published parts, or files in one of the known layouts.

    Args:
        data: a name in the catalogue or `Sin`; an `.npz` file like those of the known sets; a folder with `train.json`,
            `dev.json` and `test.json` as EasyTPP has them, or with `train.pkl`, `dev.pkl` and `test.pkl` as the
            Transformer Hawkes process has MIMIC-II; in both the first event is given, as times begin with it.

    Raises:
        FileNotFoundError: no such set or file (names the places looked at).
        ValueError: an unknown name, or files that hold something else.
    """
    if str(data) == "Sin":
        sequences = SIN.simulate(1_000, 20.0, seed=0)
        return EventParts(sequences[:600], sequences[600:800], sequences[800:], np.empty(0, dtype=np.int64))
    path = Path(data)
    if path.is_dir():
        for suffix, read in (("json", _read_json), ("pkl", _read_pickle)):
            if (path / f"train.{suffix}").exists():
                return _parts([read(path / f"{part}.{suffix}") for part in ("train", "dev", "test")])
        raise FileNotFoundError(f"data must hold train.json or train.pkl, got the folder {str(path)!r} without either")
    start = end = None
    if not is_path(data):
        data_set = find(str(data))
        if data_set.task != "events":
            raise ValueError(f"data must be a set of events, got {data_set.name!r}, a set for {data_set.task}")
        start, end = data_set.window or (None, None)
    return _read_npz(locate(data), start, end)


def read_table(
    path: str | Path,
    *,
    time: str = "time",
    sequence: str | None = None,
    mark: str | None = None,
    start: str | float | None = None,
    end: str | float | None = None,
) -> EventTable:
    """The events of a table (CSV or Parquet), an event a row, in any order.

    Args:
        path: the file.
        time: column of numbers or of dates, which become seconds since 1970.
        sequence: column that tells sequences apart; None = all rows are one.
        mark: column of marks; None = events have none.
        start, end: when observation of every sequence began and ended, like the times; None = with its first event,
            with its last.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column that is not there, a time that is missing or cannot be read, an event before the start or
            after the end.
    """
    pandas = require("pandas", "tasks")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"data must be an existing file, got {str(path)!r}")
    frame = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path)
    for column in (time, sequence, mark):
        if column is not None and column not in frame:
            raise ValueError(f"columns must contain {column!r}, got {', '.join(map(str, frame.columns))}")
    if sequence is not None and frame[sequence].isna().any():
        row = int(np.flatnonzero(frame[sequence].isna())[0])
        raise ValueError(f"{sequence!r} must have no missing names, got one in row {row}")
    times, dated = _times(frame[time])
    bounds = [_bound(name, value, dated) for name, value in (("start", start), ("end", end))]
    frame = frame.assign(**{time: times})
    groups = [(None, frame)] if sequence is None else list(frame.groupby(sequence, sort=False))
    sequences = []
    for _, group in groups:
        group = group.sort_values(time, kind="stable")
        marks = None if mark is None else _names(group[mark])
        sequences.append(EventSequence(group[time].to_numpy(np.float64), marks, *bounds))
    names = None if sequence is None else [name for name, _ in groups]
    return EventTable(check_events(sequences, name="data"), names, dated)


def _bound(name: str, value: str | float | None, dated: bool) -> float | None:
    """A start or an end as the times of the table are."""
    if value is None:
        return None
    pandas = require("pandas", "tasks")
    form = f"{name} must be a {'date' if dated else 'number'} like the times, got {value!r}"
    try:
        [number], is_date = _times(pandas.Series([value], name=name))
    except ValueError:
        raise ValueError(form) from None
    if is_date != dated:
        raise ValueError(form)
    return float(number)


def divided(table: EventTable) -> EventParts:
    """The sequences of a table in parts: the last fifth to measure, the fifth before it to select by, the rest to train
    on.

    Raises:
        ValueError: fewer than five sequences.
    """
    sequences, names, dated = table
    if len(sequences) < 5:
        raise ValueError(
            f"data must have at least 5 sequences, to train, to select by and to measure, got {len(sequences)}; name "
            f"the column that tells them apart, or cut a long one into days"
        )
    fifth = len(sequences) // 5
    train, held, test = sequences[: -2 * fifth], sequences[-2 * fifth : -fifth], sequences[-fifth:]
    return EventParts(train, held, test, vocabulary(sequences), names and names[-fifth:], dated)


def _times(column: Any) -> tuple[Any, bool]:
    """Numbers, or the seconds of dates since 1970; and whether they were dates."""
    pandas = require("pandas", "tasks")
    if column.isna().any():
        row = int(np.flatnonzero(column.isna())[0])
        raise ValueError(f"{column.name!r} must have no missing times, got one in row {row}")
    dated = pandas.api.types.is_datetime64_any_dtype(column)
    times = column if dated else pandas.to_numeric(column, errors="coerce")
    if dated or times.isna().all():
        dates = pandas.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
        times, dated = (dates - pandas.Timestamp(0, tz="UTC")) / pandas.Timedelta(seconds=1), True
    if times.isna().any():
        row = int(np.flatnonzero(times.isna())[0])
        raise ValueError(f"{column.name!r} must hold numbers or ISO 8601 dates, got {column.iloc[row]!r} in row {row}")
    return times, dated


def _names(marks: Any) -> np.ndarray:
    if marks.isna().any():
        raise ValueError(f"{marks.name!r} must have no missing marks, got one in row {marks.index[marks.isna()][0]}")
    return marks.to_numpy() if marks.dtype.kind in "iu" else marks.astype(str).to_numpy(str)


def _read_npz(path: Path, start: float | None, end: float | None) -> EventParts:
    """`times` and `marks` of all sequences one after the other, `lengths`, and `split` (0 train, 1 validation, 2
    test)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            times, marks, lengths, split = (file[name] for name in ("times", "marks", "lengths", "split"))
        lengths = np.asarray(lengths).astype(np.int64, casting="safe")
        ends = np.cumsum(lengths)
        if not (ends[-1] == len(times) and len(split) == len(lengths) and len(marks) in (0, len(times))):
            raise ValueError("lengths that do not fit")
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile, EOFError):
        text = f"{str(path)!r} must hold times, marks, lengths and split of sequences, got something else"
        raise ValueError(text) from None
    cuts = [slice(stop - length, stop) for stop, length in zip(ends, lengths, strict=True)]
    sequences = [EventSequence(times[cut], marks[cut] if len(marks) else None, start, end) for cut in cuts]
    return _parts([[sequences[i] for i in np.flatnonzero(split == part)] for part in range(3)])


def _read_json(path: Path) -> list[EventSequence]:
    """EasyTPP: a list (or a line each) of `time_since_start` and `type_event`."""
    try:
        text = path.read_text()
        records = json.loads(text) if text.lstrip().startswith("[") else [*map(json.loads, text.splitlines())]
        return [EventSequence(record["time_since_start"], record["type_event"]) for record in records]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{str(path)!r} must hold time_since_start and type_event of sequences in JSON") from None


class _Plain(pickle.Unpickler):
    """Of a pickle that may do anything, numbers and containers only."""

    ALLOWED: ClassVar[dict[tuple[str, str], Callable[..., Any]]] = {
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "scalar"): np._core.multiarray.scalar,  # type: ignore[attr-defined]
        ("numpy._core.multiarray", "scalar"): np._core.multiarray.scalar,  # type: ignore[attr-defined]
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise ValueError(f"it names {module}.{name}")
        return self.ALLOWED[module, name]


def _read_pickle(path: Path) -> list[EventSequence]:
    """Transformer Hawkes process: under the name of the part a list of sequences, each a list of dicts with
    `time_since_start` and `type_event`. Nothing in the file is executed."""
    try:
        content = _Plain(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        sequences = content[path.stem]
        times = [np.array([event["time_since_start"] for event in one], dtype=np.float64) for one in sequences]
        marks = [np.array([event["type_event"] for event in one]) for one in sequences]
        return [EventSequence(*one) for one in zip(times, marks, strict=True)]
    except Exception as error:  # whatever a broken pickle raises
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{str(path)!r} must hold sequences of events as plain numbers, got {reason}") from None


def _parts(parts: Iterable[list[EventSequence]]) -> EventParts:
    train, validation, test = (check_events(part, name=name) for part, name in zip(parts, PARTS, strict=True))
    return EventParts(train, validation, test, vocabulary([*train, *validation, *test]))
