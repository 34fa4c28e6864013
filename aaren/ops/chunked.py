"""Blocks of tokens by matrix products, one after the other, in memory linear in T: plain PyTorch on any device.

Inside a block every prefix is a masked softmax over the block's own tokens plus one more entry, the carried state:
with A[t, i] the decay between tokens i and t, the log weight of token i for reader t is s_i - A[t, i], and that of the
carried state m - A[t, start]. (Rabe & Staats 2021 call the same evaluation order memory-efficient attention.)
"""

import math

import torch
from torch import Tensor

from aaren.ops.scan_state import ScanState, readout
from aaren.shapes import Scores, Values

BLOCK = 64
"""Tokens in a block: work per token grows with it, the Python loop shrinks with it."""


def scan_chunked(scores: Scores, values: Values, decay: Scores | None, state: ScanState) -> tuple[Values, ScanState]:
    outputs = []
    for start in range(0, scores.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        block_decay = None if decay is None else decay[:, block]
        prefixes = _prefixes(scores[:, block], values[:, block], block_decay, state)
        state = ScanState(*(x[:, -1] for x in prefixes))
        outputs.append(readout(prefixes))
    return torch.cat(outputs, dim=1), state


def _prefixes(scores: Scores, values: Values, decay: Scores | None, carried: ScanState) -> ScanState:
    """The states after each token of one block: leaves (B, T, H) and (B, T, H, D)."""
    time = scores.shape[1]
    token_weights = scores.transpose(1, 2)[:, :, None, :]  # (B, H, reader t, token i)
    carried_weights = carried.m[:, :, None]  # (B, H, reader t)
    if decay is not None:
        ages = _ages(decay.transpose(1, 2))  # (B, H, T, 1 + T)
        carried_weights = carried_weights - ages[..., 0]
        token_weights = token_weights - ages[..., 1:]
    causal = torch.ones(time, time, dtype=torch.bool, device=scores.device).tril()
    token_weights = torch.where(causal, token_weights, -math.inf)

    m = torch.maximum(token_weights.amax(dim=-1), carried_weights).detach()
    shift = torch.where(m == -math.inf, 0.0, m)
    p = torch.exp(token_weights - shift[..., None])  # (B, H, t, i)
    p_carried = torch.exp(carried_weights - shift)  # (B, H, t)
    u = p.sum(dim=-1) + p_carried * carried.u[:, :, None]
    w = p @ values.transpose(1, 2) + p_carried[..., None] * carried.w[:, :, None]
    return ScanState(m.transpose(1, 2), u.transpose(1, 2), w.transpose(1, 2))


def _ages(decay: Tensor) -> Tensor:
    """Decay (B, H, T) to A (B, H, T, 1 + T): what token i (column 1 + i; column 0 the carried state) has lost at t.

    Summed from i to t directly, never as a difference of running totals: that would cancel digits after a long gap and
    give inf - inf after a reset.
    """
    time = decay.shape[-1]
    later = torch.ones(time, 1 + time, dtype=torch.bool, device=decay.device).tril()  # reader t, column c: t >= c
    return torch.where(later, decay[..., None], 0.0).cumsum(dim=-2)
