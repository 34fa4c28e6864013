"""Blocks of tokens by matrix products, one after the other, in memory linear in T: plain PyTorch on any device.

Inside a block every prefix is a masked softmax over the block's own tokens plus one more entry, the carried state:
with A[t, i] the decay between tokens i and t, the log weight of token i for reader t is s_i - A[t, i], and that of the
carried state m - A[t, start]. (Rabe & Staats 2021 call the same evaluation order memory-efficient attention.)
The maximum of a line is taken off the scores before the decays, which would lose their digits in large scores.
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
    tokens, state = scores.transpose(1, 2)[:, :, None, :], carried.m[:, :, None]  # (B, H, reader 1, token i), (B, H, 1)
    aged_tokens, aged_state = tokens, state.expand(-1, -1, time)
    ages = None if decay is None else _ages(decay.transpose(1, 2))  # (B, H, reader t, 1 + T)
    if ages is not None:
        aged_tokens, aged_state = tokens - ages[..., 1:], state - ages[..., 0]
    causal = torch.ones(time, time, dtype=torch.bool, device=scores.device).tril()
    m = torch.maximum(torch.where(causal, aged_tokens, -math.inf).amax(dim=-1), aged_state).detach()  # (B, H, t)
    shift = torch.where(m == -math.inf, 0.0, m)
    log_p, log_p_state = tokens - shift[..., None], state - shift
    if ages is not None:
        log_p, log_p_state = log_p - ages[..., 1:], log_p_state - ages[..., 0]
    p = torch.exp(torch.where(causal, log_p, -math.inf))  # (B, H, t, i)
    p_carried = torch.exp(log_p_state)  # (B, H, t)
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
