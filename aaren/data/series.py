"""Multivariate series as arrays: columns and their roles, times, missing values, and what cannot be learned from."""

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aaren.data.catalog import near_names
from aaren.extras import require

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are."""

    time: str | None = None
    """when a row was observed; None: the index if it holds dates, otherwise rows are equally spaced"""
    target: str | Sequence[str] | None = None
    """series to forecast; None: all columns that are nothing else. Columns without a role are read, but not forecast"""
    known: Sequence[str] = ()
    """columns whose coming values are known beforehand"""
    freq: str | None = None
    """distance of rows, such as "1h": rows that are left out are filled in as missing. None: as it is"""


@dataclass(frozen=True)
class Kind:
    """What all series of one forecaster share."""

    names: tuple[str, ...]
    """of the channels"""
    past_names: tuple[str, ...]
    """of columns that are read, but not forecast"""
    dated: bool
    """whether times are seconds of a calendar"""
    step: float
    """the usual distance of times"""


@dataclass(frozen=True)
class Series:
    """A series as `read_series` made it."""

    values: np.ndarray
    """(time, channels) float64, NaN where missing"""
    names: tuple[str, ...]
    """of the channels"""
    past: np.ndarray
    """(time, n) numbers known at each row, not before"""
    known: np.ndarray
    """(time, n) numbers known beforehand"""
    times: np.ndarray
    """(time,) seconds since 1970, or whatever the time column counts, or row numbers"""
    step: float
    """the usual distance of times"""
    dated: bool
    """whether times are seconds of a calendar"""
    past_names: tuple[str, ...] = ()
    """of the columns of `past`"""
    zone: Any = None
    """of the dates; None = they have none"""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "Series":
        cut = {name: getattr(self, name)[rows] for name in ("values", "past", "known", "times")}
        return replace(self, **cut)

    @property
    def kind(self) -> Kind:
        return Kind(self.names, self.past_names, self.dated, self.step)

    @property
    def elapsed(self) -> np.ndarray:
        """(time,) steps since the previous row; 1 for the first."""
        return np.diff(self.times, prepend=self.times[0] - self.step) / self.step

    @property
    def regular(self) -> bool:
        """Whether all rows are one step apart, but for the rounding of dates (to 0.2 µs)."""
        return bool(np.allclose(self.elapsed, 1.0, rtol=0, atol=1e-3))

    def following(self, count: int) -> Any:
        """The next `count` times: dates (a DatetimeIndex) where this series has dates, after months by months."""
        times = self.times[-1] + self.step * np.arange(1, count + 1)
        if not self.dated:
            return times
        if not self.regular and len(self) >= RECENT:
            pandas, dates = require("pandas", "tasks"), _dates(self.times[-RECENT:], self.zone)
            if freq := pandas.infer_freq(dates):
                return pandas.date_range(dates[-1], periods=count + 1, freq=freq)[1:]
        return _dates(times, self.zone)

    def labels(self) -> Any:
        """The times as a person reads them: dates (a DatetimeIndex), numbers, or row numbers."""
        return _dates(self.times, self.zone) if self.dated else self.times


RECENT = 12
"""Rows that tell the calendar of a series whose dates are not equally spaced, such as that of months."""


def read_series(
    X: Any,
    roles: Roles = Roles(),
    kind: Kind | None = None,
) -> Series:
    """X as a checked series.

    Args:
        X: array (time,) or (time, channels), or DataFrame (time, columns); a Series of pandas is a table of one column.
        roles: what the columns of a DataFrame are.
        kind: what a model expects; the step of the result is that of the kind.

    Raises:
        ImportError: pandas is not installed but needed.
        ValueError: no rows; columns that do not exist, have the name or the role of another, are no numbers (naming the
            first bad cell) or hold infinity; times that are missing, duplicated, unsorted or not of the given
            frequency; other columns than expected, or dates where none were.
    """
    X = X.to_frame() if hasattr(X, "to_frame") and not hasattr(X, "columns") else X
    series = _from_frame(X, roles) if hasattr(X, "columns") else _from_array(X, roles)
    if kind is None:
        return series
    if series.names != kind.names:
        raise ValueError(f"X must have the channels {', '.join(kind.names)}, got {', '.join(series.names)}")
    if series.past_names != kind.past_names:
        wanted, got = (", ".join(some) or "none" for some in (kind.past_names, series.past_names))
        raise ValueError(f"X must have these columns beside the channels and known ones: {wanted}, got {got}")
    if series.dated != kind.dated:
        wanted, got = ("dates, in a column or as index", "none") if kind.dated else ("no dates", "some")
        raise ValueError(f"X must have {wanted}, as in fit, got {got}")
    return replace(series, step=kind.step)


def _from_array(X: Any, roles: Roles) -> Series:
    if roles != Roles():
        raise ValueError(f"X must be a DataFrame where columns have roles ({roles}), got {type(X).__name__}")
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"X must hold numbers, got {type(X).__name__} with something else") from None
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"X must have shape (time, channels), neither 0, got {values.shape}")
    if np.isinf(values).any():
        row, channel = np.argwhere(np.isinf(values))[0]
        raise ValueError(
            f"X must be finite or NaN (missing), got {values[row, channel]} in row {row}, channel {channel}"
        )
    none = np.empty((len(values), 0))
    names = tuple(str(i) for i in range(values.shape[1]))
    return Series(values, names, none, none, np.arange(len(values), dtype=np.float64), 1.0, False)


def _from_frame(frame: "pandas.DataFrame", roles: Roles) -> Series:
    if len(frame) == 0:
        raise ValueError("X must have rows, got none")
    if isinstance(roles.known, str):
        raise ValueError(f"known must be a list of columns, got {roles.known!r}")
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"columns must have different names, got several called {twice!r}")
    target = [roles.target] if isinstance(roles.target, str) else list(roles.target or ())
    given = [*([roles.time] if roles.time else []), *target, *roles.known]
    for name in given:
        if name not in frame:
            hint = near_names(str(name), list(frame.columns))
            raise ValueError(
                f"columns must contain {name!r}, got {', '.join(frame.columns)}{'; ' + hint if hint else ''}"
            )
    if twice := [name for name in given if given.count(name) > 1]:
        raise ValueError(f"a column must have one role (time, target or known), got {twice[0]!r} twice")
    times, dated, zone = _times(frame, roles.time)
    frame = frame.drop(columns=[roles.time]) if roles.time else frame
    numbers = {str(name): _numbers(frame, str(name), roles.time is not None) for name in frame.columns}
    target = target or [name for name in numbers if name not in roles.known]
    if not target:
        raise ValueError("X must have a column to forecast, got none beside time and known ones")
    _check_order(times, dated, zone, roles.time)
    table = np.stack(list(numbers.values()), axis=1)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    if roles.freq is not None:
        times, table, step = _on_grid(times, table, roles.freq, dated)
    place = {name: i for i, name in enumerate(numbers)}
    past = [name for name in numbers if name not in target and name not in roles.known]
    parts = [table[:, [place[name] for name in some]] for some in (target, past, list(roles.known))]
    missing = np.isnan(parts[2])
    if missing.any():
        bad = roles.known[int(missing.any(axis=0).argmax())]
        gaps = ", nor rows left out" if roles.freq else ""
        raise ValueError(f"known columns must have no missing values{gaps}, got some in {bad!r}")
    return Series(parts[0], tuple(target), parts[1], parts[2], times, step, dated, tuple(past), zone)


def _times(frame: "pandas.DataFrame", column: str | None) -> tuple[np.ndarray, bool, Any]:
    """Times as numbers, whether they are dates, and of which time zone."""
    pandas = require("pandas", "tasks")
    index: Any = frame.index
    zone = None
    if isinstance(index, pandas.PeriodIndex):
        index = index.to_timestamp()
    if column is None and not isinstance(index, pandas.DatetimeIndex):
        return np.arange(len(frame), dtype=np.float64), False, None
    raw = index.to_series() if column is None else frame[column]
    if pandas.api.types.is_numeric_dtype(raw):
        times, dated = raw.to_numpy(dtype=np.float64), False
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pandas tells that it tries every cell on its own
                dates = _dates_in(raw)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"time column {column!r} must hold dates or numbers, got {str(error).splitlines()[0]}"
            ) from None
        zone = dates.dt.tz
        if zone is not None:
            dates = dates.dt.tz_convert(None)
        times, dated = dates.to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6, True
        times = np.where(dates.isna().to_numpy(), np.nan, times)
    if not np.isfinite(times).all():
        row = int((~np.isfinite(times)).argmax())
        raise ValueError(f"times must be neither missing nor infinite, got {raw.iloc[row]} in row {row}")
    return times, dated, zone


def _dates_in(raw: Any) -> Any:
    """Dates of a column; raises ValueError if they are text that reads differently with the day or the month first: a
    file may tell by its later rows, a stream cannot."""
    pandas = require("pandas", "tasks")
    if len(raw) == 0 or not re.match(r"\s*\d{1,2}\D\d{1,2}\D", str(raw.iloc[0])):
        return pandas.to_datetime(raw)
    readings = []
    for dayfirst in (False, True):
        with suppress(ValueError):
            readings.append(pandas.to_datetime(raw, dayfirst=dayfirst))
    if not readings:
        raise ValueError(f"{raw.iloc[0]!r} and others of more than one form")
    if any(not one.equals(readings[0]) for one in readings):
        raise ValueError(f"{raw.iloc[0]!r}, whose first number may be the day or the month; write dates as 2020-02-01")
    return readings[0]


def _check_order(times: np.ndarray, dated: bool, zone: Any, column: str | None) -> None:
    difference = np.diff(times)
    if (difference > 0).all():
        return
    row = int((difference <= 0).argmax()) + 1
    first, second = (_dates(times[[row - 1, row]], zone) if dated else times[[row - 1, row]]).tolist()
    if times[row] == times[row - 1] and (difference >= 0).all():
        count = int((difference == 0).sum())
        raise ValueError(
            f"times must differ from row to row, got {count} duplicated, the first {second} in row {row}; is this a "
            f"table with several series? Then use aaren.data.tables.wide, or drop duplicates"
        )
    where = f"column {column!r}" if column else "the index"
    raise ValueError(f"times must be sorted, got {second} after {first} in row {row}; sort by {where} first")


def _on_grid(times: np.ndarray, table: np.ndarray, freq: str, dated: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Times at the given distance, with rows of NaN where there was none."""
    pandas = require("pandas", "tasks")
    hint = "" if dated else "; without dates it is a number (name the time column with time=...)"
    try:
        step = pandas.Timedelta(freq if freq[:1].isdigit() else f"1{freq}").total_seconds() if dated else float(freq)
    except ValueError:
        step = 0.0
    if not 0 < step < np.inf:
        raise ValueError(f"freq must be a distance of times such as '15min', '1h' or '1d', got {freq!r}{hint}")
    place = (times - times[0]) / step
    off = abs(place - place.round()) > 1e-3
    if off.any():
        row = int(off.argmax())
        usual = float(np.median(np.diff(times)))
        text = str(pandas.Timedelta(seconds=usual)) if dated else f"{usual:g}"
        raise ValueError(
            f"times must be multiples of freq {freq!r} apart, got another in row {row}; usual distance: {text}"
        )
    place = place.round().astype(int)
    if place[-1] + 1 > 10 * len(times):
        raise ValueError(
            f"freq must be about the distance of rows, got {freq!r}, with {place[-1] + 1:,} rows for {len(times):,}"
        )
    filled = np.full((place[-1] + 1, table.shape[1]), np.nan)
    filled[place] = table
    return times[0] + step * np.arange(len(filled)), filled, step


def _numbers(frame: "pandas.DataFrame", name: str, timed: bool) -> np.ndarray:
    pandas = require("pandas", "tasks")
    column = frame[name]
    if column.dtype.kind in "mMc":  # dates, which pandas would turn into numbers, and the like
        numbers = np.full(len(column), np.nan)
    else:
        numbers = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.isnan(numbers) & ~column.isna().to_numpy() | np.isinf(numbers)
    if bad.any():
        row = int(bad.argmax())
        hint = "" if timed else f"; if it is the time, name it with time={name!r}"
        cell = column.iloc[row]
        shown = repr(cell) if isinstance(cell, str) else cell
        raise ValueError(f"column {name!r} must hold finite numbers, got {shown} in row {row}{hint}")
    return numbers


def _dates(times: np.ndarray, zone: Any) -> "pandas.DatetimeIndex":
    dates = (times * 1e6).round().astype(np.int64).astype("datetime64[us]")
    index = require("pandas", "tasks").DatetimeIndex(dates)
    return index if zone is None else index.tz_localize("UTC").tz_convert(zone)


def coming_rows(future: Any, horizon: int, known: Sequence[str]) -> np.ndarray | None:
    """The known columns of the rows to come as (horizon, n), None if there are no such columns.

    Raises:
        ValueError: another shape, no such columns, missing values, or nothing where columns are known.
    """
    if not known:
        if future is not None:
            raise ValueError("future must be None for a model without known columns, got values")
        return None
    if future is None:
        raise ValueError(f"future must have {horizon} rows of the known columns {', '.join(known)}, got none")
    if hasattr(future, "columns"):
        future = future.rename(columns=str)
        if absent := [name for name in known if name not in future]:
            raise ValueError(f"future must have the known columns {', '.join(known)}, got none called {absent[0]!r}")
        future = future[list(known)]
    try:
        values = np.asarray(future, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"future must hold numbers, got {type(future).__name__} with something else") from None
    if values.shape != (horizon, len(known)):
        raise ValueError(f"future must have shape ({horizon}, {len(known)}), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("future must be finite, got missing or infinite values")
    return values
