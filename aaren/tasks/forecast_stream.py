"""A live stream of forecasts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aaren.data.series import Roles, Series, coming_rows, read_series
from aaren.data.windows import Layout, Rows
from aaren.extras import require
from aaren.stream import Stream


class ForecastStream:
    """Rows in, forecasts out: what `Forecaster.stream` returns.

    `push(row)` takes the next row of the series and returns the forecast of the `horizon` rows after it.
    """

    def __init__(
        self,
        model: Any,
        unflatten: Callable[[Tensor], Tensor],
        layout: Layout,
        channels: Sequence[str],
        roles: Roles,
        step: float,
        static: np.ndarray,
        dtype: torch.dtype,
    ):
        self.tokens = Stream(model, dtype=dtype)
        """the stream of tokens underneath, with the state"""
        self._unflatten, self._layout, self._static = unflatten, layout, static
        self._channels, self._roles, self._step = tuple(channels), roles, step
        self._time: float | None = None  # of the latest row
        self._past = np.full((1, len(layout.past)), np.nan)  # its columns known at their row, the latest of each

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return self.tokens.nbytes

    def push(self, row: Any, *, future: Any = None) -> np.ndarray:
        """Consumes one row.

        Args:
            row: (channels,) numbers, NaN where missing; for a model of DataFrames a mapping from column to cell (a dict
                or a pandas Series), the time column included.
            future: (horizon, n) the known columns of the rows to come, if the model has any.

        Returns:
            (horizon, channels) means; with quantiles (horizon, channels, 1 + quantiles), the mean first.

        Raises:
            ValueError: another number of channels, an infinite value, a time that is not later than the row's before.
                The state stays as it was.
        """
        series = self._read(row)
        time = float(series.times[0])
        if not series.dated and self._roles.time is None:
            time = 0.0 if self._time is None else self._time + self._step
        if self._time is not None and time <= self._time:
            raise ValueError(f"times must be sorted, got a row that is not later than the one before: {row!r}")
        before = time - self._step if self._time is None else self._time
        coming = coming_rows(future, self._layout.horizon, self._roles.known)
        past = np.where(np.isnan(series.past), self._past, series.past)
        pair = Series(  # the row after an empty one, as `Rows` needs the time in between
            np.concatenate([np.full_like(series.values, np.nan), series.values]),
            series.names,
            np.concatenate([past, past]),
            np.concatenate([series.known, series.known]),
            np.array([before, time]),
            self._step,
            series.dated,
        )
        rows = Rows(pair, self._layout, self._static, coming)
        forecast = self.tokens.push(rows.x(1, 2)[0], elapsed=float(rows.elapsed[1]))
        self._time, self._past = time, past
        means = self._unflatten(forecast).double().cpu().numpy()
        return means if means.shape[-1] > 1 else means[..., 0]

    def reset(self) -> None:
        """Forgets everything."""
        self.tokens.reset()
        self._time = None
        self._past = np.full_like(self._past, np.nan)

    def snapshot(self, path: str | Path) -> None:
        """Writes the state to a safetensors file, whole or not at all. Raises OSError."""
        self.tokens.snapshot(path, note=json.dumps({"time": self._time, "past": self._past.tolist()}))

    def restore(self, path: str | Path) -> None:
        """Goes on where `snapshot` was taken.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of a stream of another model. The stream stays as it was.
        """
        note = json.loads(self.tokens.restore(path))
        self._time, self._past = note["time"], np.array(note["past"], dtype=np.float64).reshape(1, -1)

    def _read(self, row: Any) -> Series:
        if isinstance(row, Mapping) or hasattr(row, "to_dict"):
            row = require("pandas", "tasks").DataFrame([dict(row)])
        else:
            row = np.asarray(row, dtype=np.float64)[None]
        return read_series(row, replace(self._roles, freq=None), self._channels)
