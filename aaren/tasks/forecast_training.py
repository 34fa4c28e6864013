"""How the network of a forecaster is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aaren.data.rows import Rows
from aaren.data.windows import ForecastBatch, collate, training_stretches, validation_stretches
from aaren.models.forecaster import SequenceForecaster
from aaren.models.windowed import Windowed
from aaren.shapes import unless_empty
from aaren.tasks.linear_start import start_linear
from aaren.train import Fitted, Recipe, fit

RECIPES = {
    "running": Recipe(updates=250, batch_size=8, validate_every=25, patience=4),
    "window": Recipe(updates=300, batch_size=32, validate_every=25, patience=4),
}
"""How a forecaster is trained if nothing else is said."""

START = 1 << 14
"""Forecasts of the training part that the linear map is started with, at most those of twice the updates."""


def network_of(model: Any) -> SequenceForecaster:
    """The network, be it inside a window or not."""
    return model.model if isinstance(model, Windowed) else model


def deviations(
    network: SequenceForecaster, forecast: Tensor, target: Tensor, quantiles: Sequence[float]
) -> tuple[Tensor, Tensor | None]:
    """Target less mean and, of each quantile, twice the pinball loss."""
    difference = target[..., None] - network.unflatten(forecast)
    if not quantiles:
        return difference[..., 0], None
    level = torch.tensor(quantiles, dtype=difference.dtype, device=difference.device)
    error = difference[..., 1:]
    return difference[..., 0], 2 * torch.maximum(level * error, (level - 1) * error)


def forecast_loss(
    model: Any, batch: ForecastBatch, network: SequenceForecaster, quantiles: Sequence[float] = ()
) -> Tensor:
    """Mean squared error of the means, plus the mean quantile loss, over all that was observed.

    Args:
        model: what forecasts: the network, maybe in a window, maybe wrapped by what trains it on several devices.
        batch: what is forecast.
        network: the network inside.
        quantiles: what it forecasts beside the mean.
    """
    padding_mask = unless_empty(batch.padding_mask)
    forecast, _ = model(batch.x, padding_mask=padding_mask, elapsed=batch.elapsed, at=batch.at)
    difference, pinball = deviations(network, forecast, batch.target, quantiles)
    value = difference**2 if pinball is None else difference**2 + pinball.mean(dim=-1)
    return torch.where(batch.observed, value, 0.0).sum() / batch.observed.sum().clamp(min=1)


def train_forecaster(
    model: Any,
    rows: Sequence[Rows],
    lengths: Sequence[int],
    recipe: Recipe,
    *,
    quantiles: Sequence[float] = (),
    seed: int = 0,
    checkpoint: Path | None = None,
    run: str = "",
    progress: bool = False,
) -> Fitted:
    """Trains a `SequenceForecaster`, or one in a window, in place.

    A network that is not in a window learns from sequences of four contexts, 32 forecasts each, so that long pasts are
    in its experience; one that is, from windows, with a forecast after each.

    Args:
        model: what is trained.
        rows: series, the validation part at their ends.
        lengths: rows of the training part of each.
        recipe, seed, checkpoint, run, progress: see `aaren.train.fit`.
        quantiles: what the network forecasts beside the mean.
    """
    network = network_of(model)
    running = model is network
    size, origins = (4 * network.window, 32) if running else (network.window, 1)

    def batch(*number: int) -> ForecastBatch:
        random = np.random.default_rng((seed, *number))
        return collate(rows, training_stretches(lengths, network.horizon, size, origins, recipe.batch_size, random))

    def loss(model: nn.Module, batch: ForecastBatch) -> Tensor:
        return forecast_loss(model, batch, network, quantiles)

    held_origins, count, at_once = (96, 16, 8) if running else (1, 256, 64)
    held = validation_stretches([len(one) for one in rows], lengths, network.horizon, size, held_origins, count)
    held_batches = [collate(rows, held[i : i + at_once]) for i in range(0, len(held), at_once)]
    if not any(part.observed.any() for part in held_batches):
        raise ValueError("X must have values in its validation part, got none there; change validation")

    def validate(model: nn.Module, device: torch.device) -> float:
        parts = [(loss(model, part.to(device)).item(), part.observed.sum().item()) for part in held_batches]
        return sum(value * count for value, count in parts) / sum(count for _, count in parts)

    # A short training, as of a test, need not wait for a long start.
    count = max(min(START // (recipe.batch_size * origins), 2 * recipe.updates), 1)
    start_linear(network, (batch(number, 1) for number in range(count)), held_batches)
    return fit(model, batch, loss, validate, recipe, seed=seed, checkpoint=checkpoint, run=run, progress=progress)
