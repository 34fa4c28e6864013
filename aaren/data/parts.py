"""A series in a table and what of it is for training, validation and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aaren.data.catalog import find, is_path
from aaren.data.series import Roles, read_series
from aaren.data.sets import DataSet
from aaren.data.tables import load_frame
from aaren.extras import require

if TYPE_CHECKING:
    import pandas

SHARE = 0.2
"""Of the rows of a file of one's own for the validation part, and for the test part."""


@dataclass(frozen=True)
class Parts:
    """A table of series, in its order of time: training, validation and test rows, one after the other."""

    frame: "pandas.DataFrame"
    roles: Roles
    """what its columns are"""
    training: int
    validation: int
    test: int
    notes: tuple[str, ...] = ()
    """what was repaired"""

    @property
    def before_test(self) -> "pandas.DataFrame":
        """The training and the validation part."""
        return self.frame.iloc[: self.training + self.validation]

    def test_after(self, context: int) -> "tuple[pandas.DataFrame, int]":
        """The test part with the `context` rows before it, so that all of it can be forecast; how many those are."""
        begin = self.training + self.validation
        before = min(context, begin)
        return self.frame.iloc[begin - before : begin + self.test], before


def load_parts(
    data: str | Path,
    roles: Roles = Roles(),  # noqa: B008 (frozen)
    validation: float | None = None,
    test: float | None = None,
) -> Parts:
    """A forecasting set of the catalogue in its published parts, or any file.

    A catalogue set has equally spaced times, as in the published benchmarks, which know the order of rows only: where
    its own are not, those from the first on count. A file with `roles.freq` gets the rows that are left out.

    Args:
        data: a name in the catalogue, or a path (see `aaren.data.tables.read_table`).
        roles: what the columns are; `time` may be None if it is called `date`.
        validation, test: shares of a file, 20 % each by default; a catalogue set has its own.

    Raises:
        FileNotFoundError, ImportError: see `load_frame`.
        ValueError: see `load_frame` and `read_series`; shares that leave nothing, or of a catalogue set.
    """
    frame = load_frame(data, time=roles.time)
    notes = list(frame.attrs.pop("notes", []))
    if roles.time is None and "date" in frame:
        roles = Roles("date", roles.target, roles.known, roles.freq)
    if not is_path(data):
        if (validation, test, roles.freq) != (None, None, None):
            raise ValueError(f"validation, test and freq must be left out for {str(data)!r}, which has its own")
        data_set = find(str(data))
        frame, moved = _equally_spaced(frame, data_set)
        return Parts(frame, roles, *published_rows(data_set), tuple(notes + moved))
    shares = [SHARE if share is None else share for share in (validation, test)]
    if not (min(shares) > 0 and sum(shares) < 1):
        raise ValueError(f"validation and test must be shares above 0 that leave a training part, got {shares}")
    series = read_series(frame, roles)
    if roles.freq is not None:
        before = len(frame)
        columns = np.concatenate([series.values, series.past, series.known], axis=1)
        frame = require("pandas", "tasks").DataFrame(columns, columns=_names(frame, roles, series.names))
        if roles.time is not None:
            frame.insert(0, roles.time, series.labels())
        if len(frame) > before:
            notes.append(f"{len(frame) - before} rows filled in as missing")
    held, last = (round(share * len(frame)) for share in shares)
    return Parts(frame, roles, len(frame) - held - last, held, last, tuple(notes))


def published_rows(data_set: DataSet) -> tuple[int, int, int]:
    """Rows of the training, validation and test part: as published, shares rounded as there."""
    first, second, third = data_set.split
    if isinstance(first, int):
        return first, int(second), int(third)
    training, test = int(first * data_set.rows), int(third * data_set.rows)
    return training, data_set.rows - training - test, test


def _equally_spaced(frame: "pandas.DataFrame", data_set: DataSet) -> "tuple[pandas.DataFrame, list[str]]":
    pandas = require("pandas", "tasks")
    first = frame["date"].iloc[0]
    times = pandas.Series(pandas.date_range(first, periods=len(frame), freq=data_set.step))
    if times.equals(frame["date"].astype(times.dtype)):
        return frame, []
    return frame.assign(date=times), [
        f"times are not equally spaced: replaced by steps of {data_set.step} from {first}"
    ]


def _names(frame: "pandas.DataFrame", roles: Roles, target: Sequence[str]) -> list[str]:
    """The columns in the order of `Series`: targets, those without a role, known ones."""
    others = [str(name) for name in frame if name not in (*target, *roles.known, roles.time)]
    return [*target, *others, *roles.known]
