"""What forecasters without a network have in common: the manners of `Forecaster`."""

import abc
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import BaseEstimator

from aaren.data.series import Roles, Series
from aaren.tasks.backtest import Backtest, Tally
from aaren.tasks.forecast_plot import plot_forecast
from aaren.tasks.forecasting import as_given, backtest_origins, check_arguments, read_one, read_training

CHUNK = 4_000_000  # numbers in an array of windows, at most


class Baseline(BaseEstimator, abc.ABC):
    """Forecasts the `horizon` rows after every row of a series from the last `context` rows.

    Args:
        horizon: rows to forecast.
        context: rows that a forecast looks back. Before the first row of a series, that row is repeated.
        roles: what the columns of a DataFrame are; only the targets are used.
        validation: rows at the end of the training data that are held out: a share of all, or a number of rows.

    Attributes:
        kind_: what the series had: names of the channels (also `channels_`), other columns, dates, distance of times.
        mean_, spread_: of each channel in the training part: errors are in units of `spread_`.

    A missing value is replaced by the last observed one of its channel, by the mean if there is none.
    """

    def __init__(
        self,
        *,
        horizon: int = 24,
        context: int = 96,
        roles: Roles = Roles(),  # noqa: B008 (frozen)
        validation: int | float = 0.2,
    ):
        self.horizon = horizon
        self.context = context
        self.roles = roles
        self.validation = validation

    @property
    def channels_(self) -> tuple[str, ...]:
        """Names of the channels that are forecast."""
        return self.kind_.names

    def fit(self, X: Any, y: None = None) -> Any:
        """Learns from a series, or from a list of series, and returns itself; `y` is ignored.

        Raises:
            ValueError: bad arguments or data (see `read_series`), a series that is too short, a channel that is
                constant or never observed in the training part.
        """
        check_arguments(self.horizon, self.context, self.roles, self.validation)
        training = read_training(X, self.roles, self.validation, self.horizon, self.context)
        series, self.kind_ = training.series, training.series[0].kind
        values = np.concatenate([one.values for one in training.parts])
        self.mean_, self.spread_ = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        self._learn([filled(self._standardised(one)) for one in series], training.lengths)
        return self

    def predict(self, X: Any) -> Any:
        """The `horizon` rows after the last row of X: (horizon, channels), a DataFrame with their times if X is one."""
        series = self._read(X)
        windows = self._windows(filled(self._standardised(series)))
        forecast = self._forecast(windows[-1:])[0].T * self.spread_ + self.mean_
        return as_given(X, forecast, series.following(self.horizon), list(self.channels_))

    def plot(self, X: Any, path: str | Path, *, rows: int | None = None) -> None:
        """Writes a picture (PNG) of the last `rows` rows of X, by default `context`, and the forecast after them."""
        forecast = np.asarray(self.predict(X))[..., None]
        rows = self.context if rows is None else rows
        plot_forecast(self._read(X), forecast, Path(path), quantiles=(), rows=rows)

    def backtest(self, X: Any, *, start: int | None = None, stride: int = 1) -> Backtest:
        """Errors of the forecasts that would have been made at the rows of X; see `Forecaster.backtest`."""
        series = self._read(X)
        origins = backtest_origins(len(series), start, stride, self.horizon, self.context)
        values, tally = self._standardised(series), Tally()
        windows = self._windows(filled(values))
        for some in pieces(origins, windows.shape[1] * (self.context + self.horizon)):
            target = values[some[:, None] + 1 + np.arange(self.horizon)]
            tally.add(target - self._forecast(windows[some]).transpose(0, 2, 1), ~np.isnan(target))
        return tally.result(origins)

    def score(self, X: Any, y: None = None, sample_weight: None = None) -> float:
        """Minus the mean squared error of `backtest(X)`, so that higher is better; `y` is ignored."""
        return -self.backtest(X).mse

    def _learn(self, values: list[np.ndarray], lengths: list[int]) -> None:
        """Learns from standardised series (time, channels), in whose first so many rows the training part is."""

    @abc.abstractmethod
    def _forecast(self, windows: np.ndarray) -> np.ndarray:
        """(n, channels, horizon) after windows (n, channels, context), all standardised."""

    def _windows(self, values: np.ndarray) -> np.ndarray:
        """(time, channels, context): the rows up to each row, as a view."""
        before = np.repeat(values[:1], self.context - 1, axis=0)
        return sliding_window_view(np.concatenate([before, values]), self.context, axis=0)

    def _standardised(self, series: Series) -> np.ndarray:
        return (series.values - self.mean_) / self.spread_

    def _read(self, X: Any) -> Series:
        if not hasattr(self, "spread_"):
            raise ValueError(f"{type(self).__name__} must be fitted first, got one that is not; call fit(X)")
        return read_one(X, self.roles, self.kind_)


def pieces(origins: np.ndarray, numbers: int) -> list[np.ndarray]:
    """Origins in pieces small enough for arrays of so many numbers each."""
    size = max(1, CHUNK // numbers)
    return [origins[i : i + size] for i in range(0, len(origins), size)]


def filled(values: np.ndarray) -> np.ndarray:
    """The last observed value of each channel where one is missing, 0 before the first."""
    rows = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
    rows = np.maximum.accumulate(rows, axis=0)
    return np.where(rows < 0, 0.0, np.take_along_axis(values, rows.clip(0), axis=0))
