"""A live stream of forecasts."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aaren.data.rows import Layout, Rows
from aaren.data.series import Kind, Roles, Series, coming_rows, read_series
from aaren.extras import require
from aaren.stream import Stream

LEFT_OUT = 10_000
"""Rows that may be left out between two, with a `freq`: more are a mistaken date rather than a gap."""


class ForecastStream:
    """Rows in, forecasts out: what `Forecaster.stream` returns.

    `push(row)` takes the next row of the series and returns the forecast of the `horizon` rows after it.
    """

    def __init__(
        self,
        model: Any,
        unflatten: Callable[[Tensor], Tensor],
        layout: Layout,
        kind: Kind,
        roles: Roles,
        *,
        static: np.ndarray,
        dtype: torch.dtype,
    ):
        self.tokens = Stream(model, dtype=dtype)
        """the stream of tokens underneath, with the state"""
        self._unflatten, self._layout, self._static = unflatten, layout, static
        self._kind, self._roles = kind, roles
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
                or a pandas Series), the time column included; without a time column but with dates in the index, a
                pandas Series whose name is the date. With a `freq`, rows that were left out are pushed as missing.
            future: (horizon, n) the known columns of the rows to come, if the model has any.

        Returns:
            (horizon, channels) means; with quantiles (horizon, channels, 1 + quantiles), the mean first.

        Raises:
            ValueError: other channels, an infinite value, a time that is missing, not later than that of the row
                before, no multiple of `freq` after it or more than `LEFT_OUT` rows later, no `future`. The state stays
                as it was.
        """
        series = self._read(row)
        time = float(series.times[0])
        if not series.dated and self._roles.time is None:
            time = 0.0 if self._time is None else self._time + self._kind.step
        if self._time is not None and time <= self._time:
            raise ValueError(f"times must be sorted, got a row that is not later than the one before: {row!r}")
        coming = coming_rows(future, self._layout.horizon, self._roles.known)
        before = self.tokens.state, self.tokens.steps, self._time, self._past
        try:
            for missed in self._left_out(time):
                self._push(replace(series, values=np.full_like(series.values, np.nan), past=self._past), missed, None)
            forecast = self._push(series, time, coming)
        except BaseException:
            self.tokens.state, self.tokens.steps, self._time, self._past = before
            raise
        means = self._layout.in_units(self._unflatten(forecast).cpu().numpy())
        return means if means.shape[-1] > 1 else means[..., 0]

    def _push(self, series: Series, time: float, coming: np.ndarray | None) -> Tensor:
        before = time - self._kind.step if self._time is None else self._time
        past = np.where(np.isnan(series.past), self._past, series.past)
        pair = replace(  # the row after an empty one, as `Rows` needs the time in between
            series,
            values=np.concatenate([np.full_like(series.values, np.nan), series.values]),
            past=np.concatenate([past, past]),
            known=np.concatenate([series.known, series.known]),
            times=np.array([before, time]),
            step=self._kind.step,
        )
        rows = Rows(pair, self._layout, self._static, coming)
        forecast = self.tokens.push(rows.x(1, 2)[0], elapsed=float(rows.elapsed[1]))
        self._time, self._past = time, past
        return forecast

    def _left_out(self, time: float) -> np.ndarray:
        """With a `freq`, the times between the latest row and this one."""
        if self._roles.freq is None or self._time is None:
            return np.empty(0)
        steps = (time - self._time) / self._kind.step
        if abs(steps - round(steps)) > 1e-3:
            raise ValueError(f"times must be multiples of freq {self._roles.freq!r} apart, got {steps:g} of it")
        if round(steps) > 1 and self._roles.known:
            raise ValueError(f"known columns must have no rows left out, got {round(steps) - 1} before this one")
        if steps > LEFT_OUT:
            raise ValueError(
                f"times must leave out at most {LEFT_OUT:,} rows, got {round(steps) - 1:,}; for a new series, reset()"
            )
        return self._time + self._kind.step * np.arange(1, round(steps))

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
        tokens, steps = self.tokens.state, self.tokens.steps
        try:
            note = json.loads(self.tokens.restore(path))
        except json.JSONDecodeError:
            self.tokens.state, self.tokens.steps = tokens, steps
            raise ValueError(f"{str(path)!r} must be a snapshot of a stream of forecasts, got one of tokens") from None
        self._time, self._past = note["time"], np.array(note["past"], dtype=np.float64).reshape(1, -1)

    def _read(self, row: Any) -> Series:
        if isinstance(row, Mapping) or hasattr(row, "to_dict"):
            row = require("pandas", "tasks").DataFrame([row])
        else:
            row = np.asarray(row)[None]
        return read_series(row, replace(self._roles, freq=None), self._kind)
