"""Aaren with a forget gate: what is new decides how much of the old is kept."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from aaren.layers.aaren import rates_over
from aaren.layers.protocol import accept, accept_elapsed, head_width, init_projections
from aaren.ops.lags import LagState, each_lag, no_lags
from aaren.ops.scan import attention_scan
from aaren.ops.scan_state import ScanState, empty
from aaren.shapes import Elapsed, PaddingMask, Reset, Tokens


class GatedState(NamedTuple):
    """What a stream of `AarenGated` remembers."""

    recent: LagState
    """the tokens that the convolution still sees"""
    average: ScanState
    """of the scan"""


class AarenGated(nn.Module):
    """Softmax average of the values of the past, in which the input sets how fast the past fades and how much is read.

    For every token: a short causal convolution mixes in the tokens before it, channel by channel; scores, values and a
    decay per head are linear maps of the result, `decay = softplus(rate + W x) · elapsed`; the average is multiplied
    by `silu(W x)` before the output projection. Which of these parts pay is measured in `docs/forecasting.md`.

    Args:
        d_model: width of the tokens.
        nhead: heads, a divisor of `d_model`.
        dropout: probability of dropping a token from a head's average, for all later readers alike.
        kernel: tokens that the convolution sees; 1 = no convolution.
        gate: whether the output is gated.
        queries: queries of each head: averages with scores and decays of their own over the same values.
        input_decay: whether the decay depends on the input; otherwise it is learned, one rate a query.

    Raises:
        ValueError: d_model is no multiple of nhead, kernel or queries below 1.

    Not in the paper. The same scan as `Aaren`; decays from the input are those of gated linear attention (Yang et al.
    2024) and Mamba-2 (Dao and Gu 2024), the convolution and the gate those of H3 (Fu et al. 2023) and Mamba.
    """

    constant_state = True
    compilable = True
    uses_elapsed = True

    def __init__(
        self,
        d_model: int,
        nhead: int = 1,
        *,
        dropout: float = 0.0,
        kernel: int = 4,
        gate: bool = True,
        queries: int = 1,
        input_decay: bool = True,
    ):
        super().__init__()
        if kernel < 1 or queries < 1:
            raise ValueError(f"kernel and queries must be at least 1, got {kernel} and {queries}")
        self.d_model, self.nhead, self.dropout, self.kernel, self.queries = d_model, nhead, dropout, kernel, queries
        self.head_dim = head_width(d_model, nhead)
        self.readers = nhead * queries
        self.score_proj = nn.Linear(d_model, self.readers)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model * queries, d_model)
        init_projections(self.v_proj, self.out_proj)
        self.rate = nn.Parameter(rates_over(self.readers))
        self.decay_proj = nn.Linear(d_model, self.readers, bias=False) if input_decay else None
        if self.decay_proj is not None:
            nn.init.normal_(self.decay_proj.weight, std=0.1 * d_model**-0.5)  # at first about the rates above
        self.gate_proj = nn.Linear(d_model, d_model * queries) if gate else None
        if kernel > 1:
            self.taps = nn.Parameter(torch.empty(d_model, kernel).uniform_(-1, 1) * kernel**-0.5)  # as nn.Conv1d
            self.tap_bias = nn.Parameter(torch.zeros(d_model))

    def extra_repr(self) -> str:
        return f"nhead={self.nhead}, kernel={self.kernel}, queries={self.queries}"

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> GatedState:
        weight = self.v_proj.weight
        device, sums = device or weight.device, dtype or torch.promote_types(weight.dtype, torch.float32)
        return GatedState(
            no_lags(batch_size, self.kernel, self.d_model, device, weight.dtype),
            empty((batch_size, self.readers), self.head_dim, device, sums),
        )

    def forward(
        self,
        x: Tokens,
        state: GatedState | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Tokens, GatedState]:
        x = accept(x, self.d_model, padding_mask, reset, self.out_proj.weight)
        elapsed = accept_elapsed(elapsed, x, padding_mask)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        x, recent = self._mix(x, state.recent, padding_mask, reset)
        scores = self.score_proj(x)
        rate = self.rate if self.decay_proj is None else self.rate + self.decay_proj(x)
        decay = F.softplus(rate) * elapsed[..., None]
        values = self.v_proj(x).unflatten(-1, (self.nhead, self.head_dim))
        if self.queries > 1:
            values = values.repeat_interleave(self.queries, dim=2)
        if self.training and self.dropout:
            values = values * F.dropout(torch.ones_like(scores), self.dropout)[..., None]
        outputs, average = attention_scan(
            scores, values, state.average, decay=decay, padding_mask=padding_mask, reset=reset
        )
        y = outputs.flatten(-2)
        if self.gate_proj is not None:
            y = y * F.silu(self.gate_proj(x))
        return self.out_proj(y), GatedState(recent, average)

    def _mix(
        self, x: Tokens, recent: LagState, padding_mask: PaddingMask | None, reset: Reset | None
    ) -> tuple[Tokens, LagState]:
        """Each token plus a weighted sum of the `kernel` latest, channel by channel."""
        if self.kernel == 1:
            return x, recent
        lagged, recent = each_lag(x, recent, padding_mask=padding_mask, reset=reset)
        mixed = x + self.tap_bias
        for tokens, weight in zip(lagged, self.taps.unbind(dim=1), strict=True):
            mixed = torch.addcmul(mixed, tokens, weight)
        return mixed, recent
