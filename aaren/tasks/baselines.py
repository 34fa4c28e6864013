"""Forecasters without a network: what a network must beat."""

import numpy as np

from aaren.data.calendar import CYCLES
from aaren.data.series import Roles
from aaren.tasks.baseline import Baseline
from aaren.tasks.forecasting import check_whole
from aaren.tasks.least_squares import Autoregression, Linear


class Last(Baseline):
    """The last value."""

    def _forecast(self, windows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(windows[..., -1:], (*windows.shape[:2], self.horizon))


class Seasonal(Baseline):
    """The values one period before.

    Args:
        horizon, context, roles, validation: see `Baseline`.
        period: rows of a period, at most `context`. None = a day, or of rows as far apart as that a week or a year, if
            the series has dates and that many rows are in `context`; otherwise 1, which is the last value.

    Attributes:
        period_: rows of the period that is used.
    """

    def __init__(
        self,
        *,
        horizon: int = 24,
        context: int = 96,
        roles: Roles = Roles(),  # noqa: B008 (frozen)
        validation: int | float = 0.2,
        period: int | None = None,
    ):
        super().__init__(horizon=horizon, context=context, roles=roles, validation=validation)
        self.period = period

    def _learn(self, values: list[np.ndarray], lengths: list[int]) -> None:
        if self.period is None:
            period = usual_period(self.kind_.step) if self.kind_.dated else 1
            self.period_ = period if period <= self.context else 1
            return
        check_whole("period", self.period, 1)
        if self.period > self.context:
            raise ValueError(f"period must be at most the context, {self.context} rows, got {self.period}")
        self.period_ = int(self.period)

    def _forecast(self, windows: np.ndarray) -> np.ndarray:
        return windows[..., self.context - self.period_ + np.arange(self.horizon) % self.period_]


def usual_period(step: float) -> int:
    """Rows of the shortest cycle of the calendar that is longer than a row; 1 if it is no whole number of them."""
    for cycle in CYCLES.values():
        rows = round(cycle / step)
        if rows > 1:
            return rows if abs(cycle / step - rows) < 0.02 * rows else 1  # months and quarters are of unequal length
    return 1


BASELINES: dict[str, type[Baseline]] = {
    "last": Last,
    "seasonal": Seasonal,
    "linear": Linear,
    "ar": Autoregression,
}
"""Every baseline by name."""
