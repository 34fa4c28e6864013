"""The last few tokens before every token: what short convolutions, autoregressions and sliding windows read."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aaren.shapes import PaddingMask, Reset, Tokens, check_flags


class LagState(NamedTuple):
    """The tokens that the next one still sees."""

    tokens: Float[Tensor, "B K D"]
    """the latest last; zeros where there were none"""
    length: Int[Tensor, "B"]
    """how many of them there were"""


def no_lags(batch: int, size: int, width: int, device: torch.device | str, dtype: torch.dtype) -> LagState:
    """The state before the first token, for windows of `size` tokens."""
    length = torch.zeros(batch, dtype=torch.long, device=device)
    return LagState(torch.zeros(batch, size - 1, width, device=device, dtype=dtype), length)


def lags(
    x: Tokens,
    state: LagState,
    *,
    padding_mask: PaddingMask | None = None,
    reset: Reset | None = None,
) -> tuple[Float[Tensor, "B T D K"], Int[Tensor, "B T"], LagState]:
    """For every token a window that ends with it.

    Args:
        x: tokens.
        state: what came before; its K - 1 tokens set the size K of the windows. Never changed.
        padding_mask: True = the token does not exist; its own window means nothing, but is finite.
        reset: True = no window reaches back across the start of this token.

    Returns:
        Windows, the latest token last and zeros where there is none (without a mask a view of one tensor); how many
        of the tokens in each window there are; the state after the last token.
    """
    check_flags("padding_mask", padding_mask, x.shape[:2])
    check_flags("reset", reset, x.shape[:2])
    if state.length.shape[0] != x.shape[0]:
        raise ValueError(f"state must have the rows of x, {x.shape[0]}, got {state.length.shape[0]}")
    before = state.tokens.shape[1]
    time, size = x.shape[1], before + 1
    seen, total = tokens_since(state.length, x, padding_mask, reset)
    there = seen.clamp(max=size)
    if padding_mask is not None:  # live tokens to the front, in their order
        order = padding_mask.long().argsort(dim=1, stable=True)
        x = x.gather(1, order[..., None].expand_as(x))
    line = torch.cat([state.tokens.to(x.dtype), x], dim=1)
    if padding_mask is None:
        windows, tail = line.unfold(1, size, 1), line[:, time:]
    else:
        ends = (~padding_mask).cumsum(dim=1)  # the window that ends with the last live token
        padded = torch.cat([line.new_zeros(line.shape[0], 1, line.shape[2]), line], dim=1)
        every = padded.unfold(1, size, 1)
        windows = every.gather(1, ends[..., None, None].expand(-1, -1, *every.shape[2:]))
        places = ends[:, -1:] + torch.arange(before, device=x.device)
        tail = line.gather(1, places[..., None].expand(-1, -1, line.shape[2]))
    if reset is not None or padding_mask is not None:
        age = torch.arange(size - 1, -1, -1, device=x.device)
        windows = torch.where((age < there[..., None])[:, :, None], windows, 0.0)
        tail = torch.where((age[1:] < total[:, None])[..., None], tail, 0.0)
    return windows, there, LagState(tail.to(state.tokens.dtype), total.clamp(max=before))


def tokens_since(
    before: Int[Tensor, "B"], x: Tensor, padding_mask: PaddingMask | None, reset: Reset | None
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B"]]:
    """Live tokens since the latest reset, each token included, and those at the end; `before` of them came earlier."""
    live = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if padding_mask is None else ~padding_mask
    seen = before[:, None] + live.cumsum(dim=1)
    if reset is not None:
        # Count from the latest reset: `seen` only grows, so the latest is the largest.
        forgotten = torch.where(reset & live, seen - 1, 0)
        seen = seen - forgotten.cummax(dim=1).values
    return seen, seen[:, -1]
