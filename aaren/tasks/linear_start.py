"""A forecaster's linear map starts as that of least squares, so that its encoder learns what a line cannot say."""

from collections.abc import Iterable

import torch
from torch import Tensor

from aaren.data.windows import ForecastBatch
from aaren.models.forecaster import SequenceForecaster
from aaren.tasks.least_squares import Moments, best_ridge


@torch.no_grad()
def start_linear(network: SequenceForecaster, train: Iterable[ForecastBatch], held: Iterable[ForecastBatch]) -> None:
    """Sets the linear map to that of ridge regression on training batches, its strength chosen on held-out ones."""
    weights, _ = best_ridge(_moments(network, train), _moments(network, held))
    network.linear.weight.copy_(torch.from_numpy(weights[0, :-1].T))
    network.linear.bias.copy_(torch.from_numpy(weights[0, -1]))


def _moments(network: SequenceForecaster, batches: Iterable[ForecastBatch]) -> Moments:
    moments = Moments.zeros(1, network.window + 1, network.horizon)
    for batch in batches:
        values, observed = batch.x[..., : 2 * network.channels].chunk(2, dim=-1)
        read, _, _ = network.read(
            values, observed > 0.5, padding_mask=batch.padding_mask, elapsed=batch.elapsed, at=batch.at
        )
        # A forecast is linear(normal) · scale + level, so the map is one of normal · scale and, for its bias, of scale.
        features = torch.cat([read.normal, torch.ones_like(read.normal[..., :1])], dim=-1) * read.scale[..., None]
        deviation = batch.target - read.level[..., None, :]
        after, some = _filled(deviation.transpose(-1, -2), batch.observed.transpose(-1, -2))
        moments.add(*(tensor[some].double().cpu().numpy()[None] for tensor in (features, after)))
    return moments


def _filled(steps: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Missing steps as the last one observed, 0 before the first; and which rows have any. It is only a start."""
    index = torch.where(observed, torch.arange(steps.shape[-1], device=steps.device), -1).cummax(dim=-1).values
    return torch.where(index < 0, 0.0, steps.gather(-1, index.clamp(min=0))), observed.any(dim=-1)
