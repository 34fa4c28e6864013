"""Forecasts of the next rows of a multivariate series, after every row of it."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from aaren.layers.protocol import LayerFactory, State, accept, accept_elapsed
from aaren.models.encoder import Encoder
from aaren.models.statistics import RunningStatistics, Statistics, WindowStatistics
from aaren.ops.lags import lags, no_lags
from aaren.ops.linear_scan import linear_scan
from aaren.shapes import Elapsed, PaddingMask, Reset


class Window(NamedTuple):
    """The last rows of each channel, missing ones as the last observed."""

    normal: Float[Tensor, "B P C W"]
    """less the level, over the scale; the oldest first"""
    level: Float[Tensor, "B P C"]
    scale: Float[Tensor, "B P C"]


class SequenceForecaster(nn.Module):
    """The next `horizon` rows, given all rows so far. Follows the contract: a row in, its forecast out.

    A row of x is, one after the other: the values of the `channels` series, as many flags (1 = observed, 0 = missing,
    then the value does not count), `covariates` numbers known at the row, and `horizon · future` numbers known of the
    rows to come (a holiday, a price), the next row first. A forecast is `horizon · channels · (1 + quantiles)` numbers,
    see `unflatten`.

    Values are in units of the training part's spread and centred there. Missing ones are replaced by the last observed
    one, all normalised by level and scale of the prefix (`statistics`). The forecast is a linear map of each channel's
    last `window` rows, the same for all channels, plus what the encoder adds, whose tokens see all channels' last
    `patch` rows.

    Args:
        channels, covariates, horizon, future: numbers as above.
        quantiles: how many quantiles are forecast beside the mean.
        statistics: "running" (causal, part of the state; half-life `window / 2` rows, so that a stream's differ little
            from a window's) or "window" (of the whole call: then this is no causal function and belongs into
            `Windowed`).
        window: rows that the linear map reads.
        patch: rows that a token reads, at most `window`.
        d_model, nhead, dim_feedforward, num_layers, layer, dropout: see `Encoder`.

    There are no positions: layers tell order by the patches and by what they forget, so nothing breaks beyond the
    trained length.
    """

    def __init__(
        self,
        channels: int,
        horizon: int,
        *,
        covariates: int = 0,
        future: int = 0,
        quantiles: int = 0,
        statistics: str = "running",
        window: int = 96,
        patch: int = 24,
        layer: str | LayerFactory = "aaren",
        **encoder: Any,
    ):
        super().__init__()
        self.channels, self.horizon, self.covariates, self.future = channels, horizon, covariates, future
        self.quantiles, self.window, self.patch = quantiles, window, min(patch, window)
        width = encoder.setdefault("d_model", 64)
        options = {"nhead": 4, "dim_feedforward": 2 * width, "num_layers": 2, "dropout": 0.1} | encoder
        self.statistics: Statistics = (
            RunningStatistics(channels, window / 2) if statistics == "running" else WindowStatistics()
        )
        self.embed = nn.Linear(channels * (self.patch + 1) + covariates, width)
        self.dropout = nn.Dropout(options["dropout"])
        self.encoder = Encoder(layer=layer, **options)
        self.d_model = width
        self.linear = nn.Linear(window, horizon)
        self.head = nn.Linear(width, horizon * channels * (1 + quantiles))
        # At first the forecast is the mean of the window and the encoder is silent (see `aaren.tasks.linear_start`).
        nn.init.constant_(self.linear.weight, 1 / window)
        for silent in (self.linear.bias, self.head.weight, self.head.bias):
            nn.init.zeros_(silent)
        if future:
            self.future_embed = nn.Linear(future, FUTURE_RANK)
            self.future_head = nn.Linear(width, FUTURE_RANK * channels * (1 + quantiles))
            nn.init.zeros_(self.future_head.weight)
            nn.init.zeros_(self.future_head.bias)
        self.constant_state, self.compilable = self.encoder.constant_state, self.encoder.compilable
        self.uses_elapsed = True  # by the running statistics, whatever the layer

    @property
    def inputs(self) -> int:
        """Numbers in a row of x."""
        return 2 * self.channels + self.covariates + self.horizon * self.future

    def unflatten(self, forecast: Float[Tensor, "... K"]) -> Float[Tensor, "... H C Q"]:
        """A forecast as (horizon, channels, 1 + quantiles), the mean first."""
        return forecast.unflatten(-1, (self.horizon, self.channels, 1 + self.quantiles))

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> dict[str, State]:
        weight = self.head.weight
        device = device or weight.device
        sums = dtype or torch.promote_types(weight.dtype, torch.float32)
        return {
            "last": torch.zeros(batch_size, self.channels, device=device, dtype=sums),
            "statistics": self.statistics.initial_state(batch_size, device, dtype),
            "window": no_lags(batch_size, self.window, self.channels, device, weight.dtype),
            "encoder": self.encoder.initial_state(batch_size, device, dtype),
        }

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        state: dict[str, Any] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
        at: Int[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B P K"], dict[str, State]]:
        """The call of the contract; `at` names the rows after which forecasts are wanted, if not after all."""
        x = accept(x, self.inputs, padding_mask, reset, self.head.weight)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        elapsed = accept_elapsed(elapsed, x, padding_mask)
        flags: Any = {"padding_mask": padding_mask, "reset": reset}
        sizes = (self.channels, self.channels, self.covariates, self.horizon * self.future)
        values, observed, covariates, future = x.split(sizes, dim=-1)
        observed = observed > 0.5
        read, patches, after = self.read(values, observed, state, elapsed=elapsed, at=at, **flags)
        h = self.embed(torch.cat([patches.flatten(-2), (~observed).to(x.dtype), covariates], dim=-1))
        h, encoder = self.encoder(self.dropout(h), state["encoder"], elapsed=elapsed, **flags)
        if at is not None:
            h, future = _rows(h, at), _rows(future, at)
        return self._forecast(h, read, future), {**after, "encoder": encoder}

    def read(
        self,
        values: Float[Tensor, "B T C"],
        observed: Bool[Tensor, "B T C"],
        state: dict[str, Any] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
        at: Int[Tensor, "B P"] | None = None,
    ) -> tuple[Window, Float[Tensor, "B T C L"], dict[str, Any]]:
        """What the linear map reads after the rows `at`, the patches of all rows, and the state but the encoder's."""
        if state is None:
            state = self.initial_state(values.shape[0], values.device)
        flags: Any = {"padding_mask": padding_mask, "reset": reset}
        values = torch.where(observed, values, 0.0)  # NaN may stand where none is
        missing, observed = (~observed).to(values.dtype), observed.to(values.dtype)
        values, last = linear_scan(missing, values, state["last"], **flags)
        level, scale, statistics = self.statistics(values, observed, state["statistics"], elapsed=elapsed, **flags)
        normal = (values - level) / scale
        patches, _, lagged = lags(normal, state["window"], size=self.patch, **flags)
        windows, _, _ = lags(normal, state["window"], at=at, **flags)  # of the few rows that are forecast from
        if at is not None:
            level, scale = _rows(level, at), _rows(scale, at)
        return Window(windows, level, scale), patches, {"last": last, "statistics": statistics, "window": lagged}

    def _forecast(
        self,
        h: Float[Tensor, "B P D"],
        read: Window,
        future: Float[Tensor, "B P F"],
    ) -> Float[Tensor, "B P K"]:
        y = self.unflatten(self.head(h))
        if self.future:
            basis = torch.tanh(self.future_embed(future.unflatten(-1, (self.horizon, self.future))))
            weights = self.future_head(h).unflatten(-1, (FUTURE_RANK, self.channels, 1 + self.quantiles))
            y = y + torch.einsum("bphr,bprcq->bphcq", basis, weights)
        y = y + self.linear(read.normal).transpose(-1, -2)[..., None]
        y = y * read.scale[..., None, :, None] + read.level[..., None, :, None]
        if self.quantiles:  # quantiles that cross are put in order (Chernozhukov et al. 2010)
            y = torch.cat([y[..., :1], _sorted(y[..., 1:])], dim=-1)
        return y.flatten(-3)


FUTURE_RANK = 16
"""Functions of the future covariates whose weights the encoder sets."""


def _rows(tensor: Tensor, at: Int[Tensor, "B P"]) -> Tensor:
    """The rows of (batch, time, ...) at the given times of each."""
    return tensor[torch.arange(at.shape[0], device=at.device)[:, None], at]


def _sorted(x: Float[Tensor, "... Q"]) -> Float[Tensor, "... Q"]:
    """Upwards; in exported graphs by comparisons, as not every runtime can sort."""
    if not torch.compiler.is_exporting():
        return x.sort(dim=-1).values
    parts = list(x.unbind(dim=-1))
    for end in range(len(parts) - 1, 0, -1):
        for i in range(end):
            parts[i], parts[i + 1] = torch.minimum(parts[i], parts[i + 1]), torch.maximum(parts[i], parts[i + 1])
    return torch.stack(parts, dim=-1)
