"""The linear scan fused for GPUs: an associative scan over (a, b). For the way back see `linear_cpu.py`.

All arithmetic is in the dtype of the state, whatever the dtypes of a and b.
"""

import torch
import triton.language as tl
from torch import Tensor

from aaren.ops.fused import Three, Two, linear_operator
from aaren.ops.triton_block import last, recur
from aaren.ops.triton_kernel import Layout, cdiv, contiguous, empty, jit, layout, place, power_of_two

CHANNELS = 64
"""Channels of a block, at most: each row of it is whole lines of memory."""


@jit
def _flags(padding_mask, reset, token, live):
    """Which of the live tokens exist, and which of these follow on what came before."""
    exists = live
    if padding_mask is not None:
        exists = live & (tl.load(padding_mask + token, live, True) == 0)
    follows = exists
    if reset is not None:
        follows = exists & (tl.load(reset + token, live, True) == 0)
    return exists, follows


@jit
def _kept(a, padding_mask, reset, token, live, width, d, dtype: tl.constexpr):
    """a of the tokens (L, D): 0 at a reset, 1 where no token exists."""
    exists, follows = _flags(padding_mask, reset, token, live)
    kept = tl.load(a + token[:, None] * width + d, follows[:, None] & (d < width), 0.0).to(dtype)
    return tl.where(exists[:, None], kept, 1.0), exists


@jit
def _forward_parts(a, b, padding_mask, reset, parts, time, width, length, chunks, L: tl.constexpr, D: tl.constexpr):
    """Sums up each chunk but the last, from nothing: (product of a, h) in `parts` (B, chunks, 2, D)."""
    dtype = parts.dtype.element_ty
    block, n, row = place(tl.cdiv(width, D), chunks)
    d = block * D + tl.arange(0, D)
    i = tl.arange(0, L)
    h = tl.zeros([D], dtype)
    product = h + 1.0
    for start in range(n * length, (n + 1) * length, L):
        t = start + i
        live = t < (n + 1) * length
        token = row * time + t
        tile = token[:, None] * width + d
        kept, exists = _kept(a, padding_mask, reset, token, live, width, d, dtype)
        come = tl.load(b + tile, exists[:, None] & (d < width), 0.0).to(dtype)
        products, h_t = recur(kept, come, product[None, :], h[None, :])
        product, h = last(products, i[:, None]), last(h_t, i[:, None])
    part = parts + (row * chunks + n) * 2 * width + d
    tl.store(part, product, d < width)
    tl.store(part + width, h, d < width)


@jit
def _forward(
    a, b, padding_mask, reset, h0, parts, outputs, h_end, time, width, length, chunks, L: tl.constexpr, D: tl.constexpr
):
    """Scans each chunk, from the h that the parts of the chunks before it, each as one token, lead to."""
    dtype = parts.dtype.element_ty
    block, n, row = place(tl.cdiv(width, D), chunks)
    d = block * D + tl.arange(0, D)
    i = tl.arange(0, L)
    h = tl.load(h0 + row * width + d, d < width, 0.0)
    for start in range(0, n, L):
        before = start + i
        part = parts + (row * (chunks - 1) + before)[:, None] * 2 * width + d
        in_part = (before < n)[:, None] & (d < width)
        _, h_t = recur(tl.load(part, in_part, 1.0), tl.load(part + width, in_part, 0.0), 1.0, h[None, :])
        h = last(h_t, i[:, None])
    stop = tl.minimum((n + 1) * length, time)
    for start in range(n * length, stop, L):
        t = start + i
        live = t < stop
        token = row * time + t
        tile = token[:, None] * width + d
        kept, exists = _kept(a, padding_mask, reset, token, live, width, d, dtype)
        come = tl.load(b + tile, exists[:, None] & (d < width), 0.0).to(dtype)
        _, h_t = recur(kept, come, 1.0, h[None, :])
        h = last(h_t, i[:, None])
        tl.store(outputs + tile, h_t, live[:, None] & (d < width))
    tl.store(h_end + row * width + d, h, (d < width) & (n == chunks - 1))


@jit
def _backward_parts(
    a, padding_mask, reset, d_outputs, parts, time, width, length, chunks, L: tl.constexpr, D: tl.constexpr
):
    """Sums up each chunk but the first, from nothing: (product of a, G) in `parts` (B, chunks, 2, D)."""
    dtype = parts.dtype.element_ty
    block, n, row = place(tl.cdiv(width, D), chunks)
    d = block * D + tl.arange(0, D)
    i = tl.arange(0, L)
    G = tl.zeros([D], dtype)
    product = G + 1.0
    begin, stop = (n + 1) * length, tl.minimum((n + 2) * length, time)
    for done in range(0, stop - begin, L):
        t = stop - 1 - done - i
        token = row * time + t
        tile, in_tile = token[:, None] * width + d, (t >= begin)[:, None] & (d < width)
        kept, _ = _kept(a, padding_mask, reset, token + 1, (t >= begin) & (t + 1 < time), width, d, dtype)
        d_h = tl.load(d_outputs + tile, in_tile, 0.0).to(dtype)
        products, G_t = recur(kept, d_h, product[None, :], G[None, :])
        product, G = last(products, i[:, None]), last(G_t, i[:, None])
    part = parts + (row * chunks + n) * 2 * width + d
    tl.store(part, product, d < width)
    tl.store(part + width, G, d < width)


@jit
def _backward(
    a,
    padding_mask,
    reset,
    d_outputs,
    outputs,
    h0,
    d_h_end,
    parts,
    d_a,
    d_b,
    d_h0,
    time,
    width,
    length,
    chunks,
    L: tl.constexpr,
    D: tl.constexpr,
):
    """The reverse scan of each chunk, from the G that the parts of the chunks after it lead to."""
    dtype = parts.dtype.element_ty
    block, n, row = place(tl.cdiv(width, D), chunks)
    d = block * D + tl.arange(0, D)
    i = tl.arange(0, L)
    G = tl.load(d_h_end + row * width + d, d < width, 0.0)
    for done in range(0, chunks - 1 - n, L):
        later = chunks - 2 - done - i
        part = parts + (row * (chunks - 1) + later)[:, None] * 2 * width + d
        in_part = (later >= n)[:, None] & (d < width)
        _, G_t = recur(tl.load(part, in_part, 1.0), tl.load(part + width, in_part, 0.0), 1.0, G[None, :])
        G = last(G_t, i[:, None])
    start, stop = n * length, tl.minimum((n + 1) * length, time)
    if n == 0:
        start = start - 1  # the incoming h is that of token -1
    for done in range(0, stop - start, L):
        t = stop - 1 - done - i
        token = row * time + t
        live = t >= tl.maximum(start, 0)
        tile, in_tile = token[:, None] * width + d, live[:, None] & (d < width)
        kept, _ = _kept(a, padding_mask, reset, token + 1, (t >= start) & (t + 1 < time), width, d, dtype)
        d_h = tl.load(d_outputs + tile, in_tile, 0.0).to(dtype)
        _, G_t = recur(kept, d_h, 1.0, G[None, :])
        G = last(G_t, i[:, None])
        exists, follows = _flags(padding_mask, reset, token, live)
        h = tl.load(outputs + tile - width, in_tile & (t > 0)[:, None], 0.0).to(dtype)
        h += tl.load(h0 + row * width + d, in_tile & (t == 0)[:, None], 0.0)
        tl.store(d_a + tile, tl.where(follows[:, None], G_t * h, 0.0), in_tile)
        tl.store(d_b + tile, tl.where(exists[:, None], G_t, 0.0), in_tile)
    tl.store(d_h0 + row * width + d, G, (d < width) & (n == 0))


def _layout(a: Tensor, sums: Tensor) -> Layout:
    batch, time, width = a.shape
    channels = min(CHANNELS, power_of_two(width))
    return layout(batch * cdiv(width, channels), time, channels, sums)


def scan_forward(a: Tensor, b: Tensor, padding_mask: Tensor | None, reset: Tensor | None, h0: Tensor) -> Two:
    """See `linear_operator`."""
    batch, time, width = a.shape
    plan = _layout(a, h0)
    inputs = [contiguous(x) for x in (a, b, padding_mask, reset)]
    parts = empty((batch, plan.chunks - 1, 2, width), h0)
    outputs, h = empty(b.shape, b), empty(h0.shape, h0)
    plan.run(_forward_parts, plan.chunks - 1, a, *inputs, parts, time, width)
    plan.run(_forward, plan.chunks, a, *inputs, h0.contiguous(), parts, outputs, h, time, width)
    return outputs, h


def scan_backward(
    a: Tensor,
    outputs: Tensor,
    padding_mask: Tensor | None,
    reset: Tensor | None,
    h0: Tensor,
    d_outputs: Tensor,
    d_h: Tensor | None,
) -> Three:
    """See `linear_operator`."""
    batch, time, width = a.shape
    plan = _layout(a, h0)
    parts = empty((batch, plan.chunks - 1, 2, width), h0)
    d_a, d_b, d_h0 = empty(a.shape, a), empty(outputs.shape, outputs), empty(h0.shape, h0)
    read = [contiguous(x) for x in (a, padding_mask, reset, d_outputs)]
    inputs = [contiguous(x) for x in (outputs, h0, torch.zeros_like(h0) if d_h is None else d_h)]
    plan.run(_backward_parts, plan.chunks - 1, a, *read, parts, time, width)
    plan.run(_backward, plan.chunks, a, *read, *inputs, parts, d_a, d_b, d_h0, time, width)
    return d_a, d_b, d_h0


linear_scan_triton = linear_operator("linear_scan_triton", scan_forward, scan_backward, mixed=True)
