"""A forecaster's network reads a series and forecasts from rows of it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aaren.data.rows import Rows
from aaren.data.windows import chunks
from aaren.models.windowed import Windowed
from aaren.tasks.backtest import Backtest, Tally
from aaren.tasks.forecast_training import deviations, network_of

AT_ONCE = 1 << 22
"""Numbers that a backtest forecasts in one call."""


def forecasts(model: Any, rows: Rows, origins: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
    """One pass over the series: some of the origins and the forecasts after them, until there are no more.

    Args:
        model: a `SequenceForecaster`, which starts with the first row, or one in a window, which starts with the first
            that it needs.
        rows: the series.
        origins: rows, sorted, after which forecasts are wanted.
    """
    network, windowed = network_of(model), isinstance(model, Windowed)
    begin, end = max(0, int(origins[0]) - network.window + 1) if windowed else 0, int(origins[-1]) + 1
    numbers = network.horizon * network.channels * (1 + network.quantiles)
    size = min(128 if windowed else 512, max(AT_ONCE // numbers, 16))
    state, device = model.initial_state(1, dtype=torch.float64), network.head.weight.device
    for start, stop, some in chunks(begin, end, origins, size):
        x = torch.from_numpy(rows.x(start, stop))[None].to(device)
        elapsed = torch.from_numpy(rows.elapsed[start:stop])[None].to(device)
        at = torch.from_numpy((some if len(some) else np.array([stop - 1])) - start)[None].to(device)
        forecast, state = model(x, state, elapsed=elapsed, at=at)
        if len(some):
            yield some, forecast[0]


def errors(model: Any, rows: Rows, origins: np.ndarray, quantiles: Sequence[float]) -> Backtest:
    """Errors of the forecasts after the origins."""
    tally = Tally()
    for some, forecast in forecasts(model, rows, origins):
        target, observed = rows.target(some)
        values = torch.from_numpy(target).to(forecast.device)
        difference, pinball = deviations(network_of(model), forecast, values, quantiles)
        loss = None if pinball is None else pinball.mean(dim=-1).cpu().numpy()
        tally.add(difference.cpu().numpy(), observed, loss)
    return tally.result(origins, quantiles=bool(quantiles))
