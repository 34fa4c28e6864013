"""Errors of the forecasts that would have been made in the past."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Backtest:
    """Errors of forecasts from many rows of a series, in units of each channel's spread in the training part."""

    origins: np.ndarray
    """(n,) rows after which forecasts were made"""
    squared: np.ndarray
    """(n,) mean squared error of each forecast, NaN if nothing of it was observed"""
    absolute: np.ndarray
    """(n,) mean absolute error of each"""
    mse_by_horizon: np.ndarray
    """(horizon,) mean squared error of each step"""
    mae_by_horizon: np.ndarray
    """(horizon,) mean absolute error of each step"""
    mse_by_channel: np.ndarray
    """(channels,) mean squared error of each channel"""
    mae_by_channel: np.ndarray
    """(channels,) mean absolute error of each channel"""
    pinball: float = float("nan")
    """mean quantile loss (twice the pinball loss), NaN without quantiles"""
    mse: float = field(default=float("nan"))
    """mean squared error of everything observed"""
    mae: float = field(default=float("nan"))
    """mean absolute error of everything observed"""


def along(stream: Backtest, windowed: Backtest, places: Sequence[int]) -> list[dict[str, int | float]]:
    """How a stream that is never reset fares as it gets longer, beside windows of the same rows.

    For each place, and for the end of the stream, the mean squared errors of the forecasts from the second half of all
    rows up to there.

    Args:
        stream: errors of forecasts from a stream that began with row 0.
        windowed: errors of forecasts after the same rows.
        places: numbers of rows; those without anything observed in that half are left out.
    """
    rows = stream.origins + 1  # that the stream has seen
    end = int(rows[-1])
    told = []
    for place in [*(place for place in places if rows[0] <= place < end), end]:
        some = (rows > place // 2) & (rows <= place)
        errors = {"stream": stream.squared[some], "windowed": windowed.squared[some]}
        if all((~np.isnan(one)).any() for one in errors.values()):
            told.append({"rows": place} | {name: float(np.nanmean(one)) for name, one in errors.items()})
    return told


class Tally:
    """Adds up errors as forecasts are made, so that no more than a few of them are in memory."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._pinball = 0.0

    def add(self, difference: np.ndarray, observed: np.ndarray, pinball: np.ndarray | None = None) -> None:
        """Target less forecast (origins, horizon, channels) in units of the spread, where `observed`; and of the
        quantiles the mean loss of each number."""
        difference = np.where(observed, difference, 0.0).astype(np.float64)
        squared, absolute, count = difference**2, np.abs(difference), observed
        by_origin = [x.sum(axis=(1, 2)) for x in (squared, absolute, count)]
        by_horizon = [x.sum(axis=(0, 2)) for x in (squared, absolute, count)]
        by_channel = [x.sum(axis=(0, 1)) for x in (squared, absolute, count)]
        self._parts.append((*by_origin, *by_horizon, *by_channel))
        if pinball is not None:
            self._pinball += float(np.where(observed, pinball, 0.0).sum())

    def result(self, origins: np.ndarray, quantiles: bool = False) -> Backtest:
        """What was added, which must have been of these origins in this order."""
        columns = list(zip(*self._parts, strict=True))
        squared, absolute, count = (np.concatenate(column) for column in columns[:3])
        totals = [np.sum(column, axis=0) for column in columns[3:]]
        with np.errstate(invalid="ignore"):  # NaN where nothing was observed
            return Backtest(
                origins,
                squared / count,
                absolute / count,
                totals[0] / totals[2],
                totals[1] / totals[2],
                totals[3] / totals[5],
                totals[4] / totals[5],
                self._pinball / count.sum() if quantiles else float("nan"),
                squared.sum() / count.sum(),
                absolute.sum() / count.sum(),
            )
