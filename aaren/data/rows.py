"""Rows of a series as a forecaster reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aaren.data.calendar import calendar, cycles_of
from aaren.data.series import Series


@dataclass(frozen=True)
class Layout:
    """What of a series goes into a row, and how it is scaled: fixed by the training part."""

    horizon: int
    cycles: tuple[str, ...]
    """of the calendar"""
    irregular: bool
    """whether times say more than the order of rows"""
    values: tuple[tuple[float, float], ...]
    """mean and spread of each channel"""
    past: tuple[tuple[float, float], ...] = ()
    """mean and spread of each column known at its row"""
    known: tuple[tuple[float, float], ...] = ()
    """of each column known beforehand"""
    static: tuple[tuple[float, float], ...] = ()
    """of each number that belongs to a whole series"""

    @property
    def covariates(self) -> int:
        return 2 * len(self.cycles) + len(self.past) + len(self.known) + len(self.static) + self.irregular

    @property
    def future(self) -> int:
        return len(self.known)

    def in_units(self, forecast: np.ndarray) -> np.ndarray:
        """Standardised numbers (..., channels, n) in the units of the data."""
        mean, spread = np.array(self.values).T[..., None]
        return forecast.astype(np.float64) * spread + mean


LARGEST = 1e15
"""Spreads that a value may be away from the mean: no measurement is, and squares of squares end in float32."""


class Rows:
    """A series as arrays of float32, one row each. Values are standardised before they lose digits.

    Args:
        series: the series.
        layout: what goes into a row.
        static: numbers that belong to the series.
        coming: (horizon, n) the known columns after the last row; None = nothing is known of them.
    """

    def __init__(self, series: Series, layout: Layout, static: np.ndarray, coming: np.ndarray | None = None):
        self.layout = layout
        observed = ~np.isnan(series.values)
        values = np.nan_to_num(_scaled(series.values, layout.values))
        _check_size(values)
        self.values = values.astype(np.float32)
        self.observed = observed
        self.elapsed = series.elapsed.astype(np.float32)
        beyond = np.full((layout.horizon, len(layout.known)), np.nan) if coming is None else coming
        known = _scaled(np.concatenate([series.known, beyond]), layout.known)
        covariates = [
            calendar(series.times, layout.cycles),
            _filled(_scaled(series.past, layout.past)),
            known[: len(series)],
            np.broadcast_to(_scaled(static[None], layout.static), (len(series), len(static))),
        ]
        if layout.irregular:
            covariates.append(np.log(series.elapsed)[:, None])
        for columns in (*covariates, known):
            _check_size(columns)
        self.now = np.concatenate([self.values, observed, *covariates], axis=1).astype(np.float32)
        self.known = known.astype(np.float32)

    def __len__(self) -> int:
        return len(self.values)

    def x(self, begin: int, end: int) -> np.ndarray:
        """Rows as tokens (rows, inputs), see `aaren.models.forecaster`."""
        if not self.layout.future:
            return self.now[begin:end]
        rows = np.arange(begin, end)
        after = rows[:, None] + 1 + np.arange(self.layout.horizon)
        return np.concatenate([self.now[begin:end], self.known[after].reshape(len(rows), -1)], axis=1)

    def target(self, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What followed the origins (origins, horizon, channels), and which of it was observed."""
        after = origins[:, None] + 1 + np.arange(self.layout.horizon)
        return self.values[after], self.observed[after]


def _check_size(columns: np.ndarray) -> None:
    if (most := np.abs(columns[~np.isnan(columns)]).max(initial=0.0)) > LARGEST:
        raise ValueError(f"X must be finite in units of each column's spread in the training part, got {most:g}")


def _scaled(columns: np.ndarray, scales: Sequence[tuple[float, float]]) -> np.ndarray:
    mean, spread = np.array(scales, dtype=np.float64).reshape(-1, 2).T
    return (columns - mean) / spread


def _filled(columns: np.ndarray) -> np.ndarray:
    """The last observed value where one is missing, 0 before the first."""
    rows = np.where(np.isnan(columns), 0, np.arange(len(columns))[:, None])
    return np.nan_to_num(np.take_along_axis(columns, np.maximum.accumulate(rows), axis=0))


def layout_of(train: Sequence[Series], static: np.ndarray, horizon: int) -> Layout:
    """The layout that training series and their static numbers (series, n) call for."""

    def scales(columns: np.ndarray) -> tuple[tuple[float, float], ...]:
        columns = np.where(np.isnan(columns).all(axis=0), 0.0, columns)  # says nothing
        means, spreads = np.nanmean(columns, axis=0), np.nanstd(columns, axis=0)
        return tuple((float(m), float(s) if s > 1e-9 * abs(m) else 1.0) for m, s in zip(means, spreads, strict=True))

    return Layout(
        horizon,
        cycles=cycles_of(max(train, key=len)),
        irregular=not all(one.regular for one in train),
        values=scales(np.concatenate([one.values for one in train])),
        past=scales(np.concatenate([one.past for one in train])),
        known=scales(np.concatenate([one.known for one in train])),
        static=scales(static),
    )


def static_numbers(static: Any, count: int, layout: Layout | None = None) -> np.ndarray:
    """A user's static numbers as (count, n), n = 0 if there are none.

    Raises:
        ValueError: they are not finite, or not as many as the layout, if one is given, says.
    """
    wanted = f"of shape ({count}, n)" if layout is None else f"{len(layout.static)} numbers as in fit"
    try:
        numbers = np.empty((count, 0)) if static is None else np.array(static, dtype=np.float64, ndmin=1)
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan)  # refused below
    if numbers.ndim == 1:
        numbers = numbers[None] if count == 1 else numbers[:, None]
    columns = numbers.shape[-1] if layout is None else len(layout.static)
    if numbers.shape != (count, columns) or not np.isfinite(numbers).all():
        raise ValueError(f"static must be finite, {wanted}, got {static!r}")
    return numbers
