"""Positions as a layer: what a model knows of how many tokens it has seen is part of its state."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from aaren.layers.protocol import accept, check_rows
from aaren.ops.lags import tokens_since
from aaren.shapes import PaddingMask, Reset, Tokens


class Positions(nn.Module):
    """Adds a sinusoid of the token's position to it. State: tokens seen per row, which padding does not advance and a
    reset zeroes.

    Periods run geometrically from 2π to 10,000·2π tokens as in Vaswani et al. 2017, but rounded to whole numbers, so
    that the phase is `position mod period`, exact in float32 at any position of an endless stream.
    """

    constant_state = True
    compilable = True
    uses_elapsed = False

    periods: Tensor

    def __init__(self, d_model: int):
        super().__init__()
        self.d_model = d_model
        self.register_buffer("periods", whole_periods(d_model), persistent=False)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Int[Tensor, "B"]:
        return torch.zeros(batch_size, dtype=torch.long, device=device or self.periods.device)

    def forward(
        self,
        x: Tokens,
        state: Int[Tensor, "B"] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Tokens, Int[Tensor, "B"]]:
        x = accept(x, self.d_model, padding_mask, reset)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        check_rows(state, x.shape[0])
        seen, total = tokens_since(state, x, padding_mask, reset)
        position = (seen - 1).clamp(min=0)  # a masked first token stands before position 0
        return x + sinusoids(position, self.periods)[..., : self.d_model].to(x.dtype), total


def whole_periods(d_model: int) -> Int[Tensor, "N"]:
    """Those of the sinusoids of a position, one for each pair of the width."""
    pairs = torch.arange((d_model + 1) // 2, dtype=torch.float64)
    return (2 * math.pi * 10_000 ** (2 * pairs / d_model)).round().long()


def sinusoids(position: Int[Tensor, "*rows"], periods: Int[Tensor, "N"]) -> Float[Tensor, "*rows M"]:
    """Sine and cosine of a position for each period, float32."""
    phase = 2 * math.pi * (position[..., None] % periods) / periods
    return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-2)
