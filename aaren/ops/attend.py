"""Attention as a many-to-one RNN (paper, section 3.1 and figure 1): any queries, a context read in any portions."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from aaren.ops.scan_state import ScanState, check_state, combine, empty, no_autocast, readout
from aaren.shapes import PaddingMask, check_flags

Queries = Float[Tensor, "B Q H D"]
Context = Float[Tensor, "B T H D"]


def attend(
    queries: Queries,
    keys: Context,
    values: Context,
    state: ScanState | None = None,
    *,
    padding_mask: PaddingMask | None = None,
    block: int | None = None,
) -> tuple[Queries, ScanState]:
    """`softmax(queries · keys / √head_dim) · values` for each query over the whole context, as a fold.

    A self-attention layer, a cross-attention layer and a [CLS] token are this RNN with other queries: its hidden state
    is `state`, its input a portion of the context, its output the attention so far.

    Args:
        queries: what asks; each has a state of its own.
        keys, values: the context tokens.
        state: what these queries have read before (leaves (B, Q, H) and (B, Q, H, D)); None = nothing.
        padding_mask: (B, T), True = ignore this context token.
        block: context tokens read at a time, in O(block) memory; 1 = token by token, None = all at once.

    Returns:
        Outputs in the dtype of `values` (0 for a query that has read nothing), and the state after the context. States
        of the same queries over different parts of a context join with `combine`.

    Raises:
        ValueError: shapes that do not fit each other, a block below 1.
    """
    batch, time, heads, head_dim = keys.shape
    if time < 1:
        raise ValueError(f"keys must have shape (batch, time >= 1, heads, head_dim), got {tuple(keys.shape)}")
    if values.shape != keys.shape:
        raise ValueError(f"values must have the shape of keys, {tuple(keys.shape)}, got {tuple(values.shape)}")
    if (queries.shape[0], *queries.shape[2:]) != (batch, heads, head_dim):
        raise ValueError(
            f"queries must have shape (batch, queries, heads, head_dim) = ({batch}, any, {heads}, {head_dim}) to fit "
            f"keys, got {tuple(queries.shape)}"
        )
    if block is not None and block < 1:
        raise ValueError(f"block must be at least 1, or None for the whole context at once, got {block}")
    check_flags("padding_mask", padding_mask, (batch, time))
    rows = (batch, queries.shape[1], heads)
    if state is None:
        dtype = torch.promote_types(torch.promote_types(keys.dtype, values.dtype), torch.float32)
        state = empty(rows, head_dim, keys.device, dtype)
    check_state(state, rows, head_dim)

    dtype, out_dtype = state.u.dtype, values.dtype
    queries = queries.to(dtype) / math.sqrt(head_dim)
    with no_autocast(keys.device):
        for start in range(0, time, block or time):
            portion = slice(start, start + (block or time))
            mask = None if padding_mask is None else padding_mask[:, portion]
            state = combine(state, _read(queries, keys[:, portion].to(dtype), values[:, portion].to(dtype), mask))
    return readout(state).to(out_dtype), state


def _read(queries: Queries, keys: Context, values: Context, padding_mask: PaddingMask | None) -> ScanState:
    """The state of one portion of the context on its own."""
    if padding_mask is not None:  # `where` before any product: 0 · NaN is NaN, in gradients too
        dead = padding_mask[:, :, None, None]
        keys, values = torch.where(dead, 0.0, keys), torch.where(dead, 0.0, values)
    scores = torch.einsum("bqhd,bthd->bqht", queries, keys)
    if padding_mask is not None:
        scores = torch.where(padding_mask[:, None, None, :], -math.inf, scores)
    m = scores.amax(dim=-1).detach()
    p = torch.exp(scores - torch.where(m == -math.inf, 0.0, m)[..., None])
    return ScanState(m, p.sum(dim=-1), torch.einsum("bqht,bthd->bqhd", p, values))
