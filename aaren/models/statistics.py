"""What a forecaster normalises by: the level and the scale of each channel, of the prefix or of a window."""

from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aaren.ops.linear_scan import linear_scan
from aaren.shapes import Elapsed, PaddingMask, Reset, Tokens

FLOOR = 1e-5
"""Least variance, in units of the training part's."""


class Sums(NamedTuple):
    """Decayed sums over the prefix, each (batch, channels)."""

    weight: Float[Tensor, "B D"]
    """of the weights of observed values"""
    value: Float[Tensor, "B D"]
    """of the values"""
    deviation: Float[Tensor, "B D"]
    """of squared deviations, each from the level of its own time"""


class Statistics(Protocol):
    """`level, scale, state = statistics(values, observed, state, ...)`, all (batch, time, channels) but the state."""

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Sums | tuple[()]: ...

    def __call__(
        self,
        values: Tokens,
        observed: Tokens,
        state: Any = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Tokens, Tokens, Any]: ...


class RunningStatistics(nn.Module):
    """Exponentially weighted mean and standard deviation of the observed values of every prefix.

    Both are drawn to those of the training part, 0 and 1, as if `exp(RATE · prior)` more values had been seen; how many
    is learned for each channel: many where a series returns to its level, few where it wanders.

    Args:
        channels: number of series.
        half_life: in units of `elapsed` (rows by default).
    """

    RATE = 50.0
    """The prior's logarithm learns this much faster than a weight: it must move by several units, not by 0.1."""

    def __init__(self, channels: int, half_life: float):
        super().__init__()
        self.channels, self.half_life = channels, half_life
        self.prior = nn.Parameter(torch.zeros(channels))

    def extra_repr(self) -> str:
        return f"half_life={self.half_life}"

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Sums:
        weight = self.prior
        dtype = dtype or torch.promote_types(weight.dtype, torch.float32)
        zeros = torch.zeros(batch_size, self.channels, device=device or weight.device, dtype=dtype)
        return Sums(zeros, zeros.clone(), zeros.clone())

    def forward(
        self,
        values: Tokens,
        observed: Tokens,
        state: Sums | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Tokens, Tokens, Sums]:
        if state is None:
            state = self.initial_state(values.shape[0], values.device)
        elapsed = torch.ones_like(values[..., 0]) if elapsed is None else elapsed
        keep = torch.exp2(-elapsed.to(state.weight.dtype) / self.half_life)[..., None].expand_as(values)
        sums, last = linear_scan(
            torch.cat([keep, keep], dim=-1),
            torch.cat([observed, observed * values], dim=-1),
            torch.cat([state.weight, state.value], dim=-1),
            padding_mask=padding_mask,
            reset=reset,
        )
        weight, value = sums.chunk(2, dim=-1)
        prior = torch.exp((self.RATE * self.prior).clamp(-60.0, 60.0))  # float32 ends at 88 on either side
        level = value / (weight + prior)
        deviation, squares = linear_scan(
            keep, observed * (values - level) ** 2, state.deviation, padding_mask=padding_mask, reset=reset
        )
        scale = ((deviation + prior) / (weight + prior) + FLOOR).sqrt()
        weight, value = last.chunk(2, dim=-1)
        return level, scale, Sums(weight, value, squares)


class WindowStatistics(nn.Module):
    """Mean and standard deviation of the observed values of the whole call: no causal function, so it belongs into
    `Windowed`. The published protocol (Liu et al. 2022, Non-stationary Transformers)."""

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> tuple[()]:
        return ()

    def forward(
        self,
        values: Tokens,
        observed: Tokens,
        state: tuple[()] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Tokens, Tokens, tuple[()]]:
        live = observed if padding_mask is None else torch.where(padding_mask[..., None], 0.0, observed)
        count = live.sum(dim=1, keepdim=True).clamp(min=1)
        level = (live * values).sum(dim=1, keepdim=True) / count
        variance = (live * (values - level) ** 2).sum(dim=1, keepdim=True) / count
        return level.expand_as(values), (variance + FLOOR).sqrt().expand_as(values), ()
