"""The last few tokens before every token: what short convolutions, autoregressions and sliding windows read."""

from collections.abc import Sequence
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
    size: int | None = None,
    at: Int[Tensor, "B P"] | None = None,
) -> tuple[Float[Tensor, "B P D K"], Int[Tensor, "B P"], LagState]:
    """For every token, or some of them, a window that ends with it.

    Args:
        x: tokens.
        state: what came before, N - 1 tokens if windows are to have up to N. Never changed.
        padding_mask: True = the token does not exist; its own window means nothing, but is finite.
        reset: True = no window reaches back across the start of this token.
        size: tokens in a window, at most N; None = N.
        at: the tokens whose windows are wanted; None = all, then P = T.

    Returns:
        Windows, the latest token last and zeros where there is none (for all tokens and without a mask a view of one
        tensor); how many of the tokens in each window there are; the state after the last token.
    """
    check_flags("padding_mask", padding_mask, x.shape[:2])
    check_flags("reset", reset, x.shape[:2])
    if state.length.shape[0] != x.shape[0]:
        raise ValueError(f"state must have the rows of x, {x.shape[0]}, got {state.length.shape[0]}")
    before, time = state.tokens.shape[1], x.shape[1]
    size = before + 1 if size is None else size
    seen, total = tokens_since(state.length, x, padding_mask, reset)
    if padding_mask is None:
        live = torch.arange(1, time + 1, device=x.device).expand(x.shape[:2])
    else:  # live tokens to the front, in their order
        live = (~padding_mask).cumsum(dim=1)
        order = padding_mask.long().argsort(dim=1, stable=True)
        x = torch.where(padding_mask[..., None], 0.0, x).gather(1, order[..., None].expand_as(x))
    # Token number `live` ends at place before + live of the line; place 0 is for the window of no token at all.
    line = torch.cat([x.new_zeros(x.shape[0], 1, x.shape[2]), state.tokens.to(x.dtype), x], dim=1)
    tail = line[:, time + 1 :] if padding_mask is None else _windows_at(line, live[:, -1:] + before, before)[:, 0]
    if at is None and padding_mask is None:
        windows = line[:, before + 2 - size :].unfold(1, size, 1)
    else:
        rows = torch.arange(x.shape[0], device=x.device)[:, None]
        live, seen = (live, seen) if at is None else (live[rows, at], seen[rows, at])
        windows = _windows_at(line, live + before, size).transpose(2, 3)
    there = seen.clamp(max=size)
    if reset is not None or padding_mask is not None:
        age = torch.arange(max(size, before + 1) - 1, -1, -1, device=x.device)
        windows = torch.where((age[-size:] < there[..., None])[:, :, None], windows, 0.0)
        tail = torch.where((age[age.shape[0] - before :] < total[:, None])[..., None], tail, 0.0)
    return windows, there, LagState(tail.to(state.tokens.dtype), total.clamp(max=before))


def each_lag(
    x: Tokens, state: LagState, *, padding_mask: PaddingMask | None = None, reset: Reset | None = None
) -> tuple[Sequence[Tokens], LagState]:
    """The windows of `lags` as K tensors of the shape of x, the tokens themselves last: what a convolution adds up.

    Without flags these are slices of one line of tokens, whose gradient is K times cheaper than that of windows.
    """
    if padding_mask is not None or reset is not None:
        windows, _, state = lags(x, state, padding_mask=padding_mask, reset=reset)
        return windows.unbind(dim=-1), state
    before, time = state.tokens.shape[1], x.shape[1]
    line = torch.cat([state.tokens.to(x.dtype), x], dim=1)
    after = LagState(line[:, time:].to(state.tokens.dtype), (state.length + time).clamp(max=before))
    return [line[:, lag : lag + time] for lag in range(before + 1)], after


def _windows_at(line: Float[Tensor, "B N D"], ends: Int[Tensor, "B P"], size: int) -> Float[Tensor, "B P K D"]:
    """The `size` tokens of the line up to each end."""
    places = ends[..., None] + torch.arange(1 - size, 1, device=line.device)
    return line[torch.arange(line.shape[0], device=line.device)[:, None, None], places]


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
