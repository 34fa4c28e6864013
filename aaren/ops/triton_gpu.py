"""The scan fused for GPUs: the maths of `cpu.py`, by associative scans in blocks of tokens (`triton_block.py`).

All arithmetic is in the dtype of the state, whatever the dtypes of scores and values. The way back reads the outputs
again: rounded to half precision they add an error of 2⁻⁹ Σ abs(do·o) to C, and so to the gradients into scores.
"""

import torch
import triton.language as tl
from torch import Tensor

from aaren.ops.fused import Six, attention_operator, into_state
from aaren.ops.scan_state import ScanState, readout
from aaren.ops.triton_block import advance, multiply, retreat
from aaren.ops.triton_kernel import contiguous, empty, jit, layout, place


@jit
def _tokens(scores, values, decay, mask, reset, token, live, head, heads, width, d, dtype: tl.constexpr):
    """Age, score, weight (L) and value (L, D) of the tokens, and where they stand.

    Those that do not exist are the identity, resets infinite age.
    """
    here = token * heads + head
    tile, in_tile = here[:, None] * width + d, live[:, None] & (d < width)
    score = tl.load(scores + here, live, float("-inf")).to(dtype)
    age = tl.zeros_like(score)
    if decay is not None:
        age = tl.load(decay + here, live, 0.0).to(dtype)
    if reset is not None:
        age = tl.where(tl.load(reset + token, live, False), float("inf"), age)
    if mask is not None:
        dead = tl.load(mask + token, live, True)
        age = tl.where(dead, 0.0, age)
        score = tl.where(dead, float("-inf"), score)
    weight = tl.where(score == float("-inf"), 0.0, 1.0).to(dtype)
    return age, score, weight, tl.load(values + tile, in_tile, 0.0).to(dtype), here, tile, in_tile


@jit
def _forward_parts(
    scores, values, decay, mask, reset, parts, time, heads, width, length, chunks, L: tl.constexpr, D: tl.constexpr
):
    """Sums up each chunk but the last, from nothing: (age, m, u, average) in `parts` (B, H, chunks, 3 + D)."""
    dtype = parts.dtype.element_ty
    head, n, row = place(heads, chunks)
    d = tl.arange(0, D)
    mean = tl.zeros([D], dtype)
    age = tl.sum(mean)
    m, u = age - float("inf"), age
    for start in range(n * length, (n + 1) * length, L):
        t = start + tl.arange(0, L)
        live = t < (n + 1) * length
        a, s, p, v, _, _, _ = _tokens(
            scores, values, decay, mask, reset, row * time + t, live, head, heads, width, d, dtype
        )
        _, _, _, age, m, u, mean = advance(a, s, p, v, age, m, u, mean)
    part = parts + ((row * heads + head) * chunks + n) * (3 + width)
    tl.store(part, age)
    tl.store(part + 1, m)
    tl.store(part + 2, u)
    tl.store(part + 3 + d, mean, d < width)


@jit
def _forward(
    scores,
    values,
    decay,
    mask,
    reset,
    m0,
    u0,
    w0,
    parts,
    outputs,
    gain,
    keep,
    m_end,
    u_end,
    w_end,
    time,
    heads,
    width,
    length,
    chunks,
    L: tl.constexpr,
    D: tl.constexpr,
):
    """Scans each chunk, from the state that the parts of the chunks before it, each as one token, lead to."""
    dtype = parts.dtype.element_ty
    head, n, row = place(heads, chunks)
    d = tl.arange(0, D)
    state = row * heads + head
    m, u = tl.load(m0 + state), tl.load(u0 + state)
    mean = tl.load(w0 + state * width + d, d < width, 0.0) / tl.where(u > 0.0, u, 1.0)
    for start in range(0, n, L):
        i = start + tl.arange(0, L)
        part = parts + (state * (chunks - 1) + i) * (3 + width)
        a, s, p = tl.load(part, i < n, 0.0), tl.load(part + 1, i < n, float("-inf")), tl.load(part + 2, i < n, 0.0)
        v = tl.load(part[:, None] + 3 + d, (i < n)[:, None] & (d < width), 0.0)
        _, _, _, _, m, u, mean = advance(a, s, p, v, 0.0, m, u, mean)
    stop = tl.minimum((n + 1) * length, time)
    for start in range(n * length, stop, L):
        t = start + tl.arange(0, L)
        live = t < stop
        a, s, p, v, here, tile, in_tile = _tokens(
            scores, values, decay, mask, reset, row * time + t, live, head, heads, width, d, dtype
        )
        g, k, o, _, m, u, mean = advance(a, s, p, v, 0.0, m, u, mean)
        tl.store(gain + here, g, live)
        tl.store(keep + here, k, live)
        tl.store(outputs + tile, o, in_tile)
    if n == chunks - 1:
        tl.store(m_end + state, m)
        tl.store(u_end + state, u)
        tl.store(w_end + state * width + d, u * mean, d < width)


@jit
def _backward_parts(
    outputs, keep, d_outputs, parts, time, heads, width, length, chunks, L: tl.constexpr, D: tl.constexpr
):
    """Sums up each chunk but the first, from nothing: (product of keep, C, G) in `parts` (B, H, chunks, 2 + D)."""
    dtype = parts.dtype.element_ty
    head, n, row = place(heads, chunks)
    i, d = tl.arange(0, L), tl.arange(0, D)
    G = tl.zeros([D], dtype)
    C = tl.sum(G)
    product = C + 1.0
    begin, stop = (n + 1) * length, tl.minimum((n + 2) * length, time)
    for done in range(0, stop - begin, L):
        t = stop - 1 - done - i
        here = (row * time + t) * heads + head
        tile, in_tile = here[:, None] * width + d, (t >= begin)[:, None] & (d < width)
        k = tl.load(keep + here + heads, (t >= begin) & (t + 1 < time), 1.0)
        o, d_o = tl.load(outputs + tile, in_tile, 0.0).to(dtype), tl.load(d_outputs + tile, in_tile, 0.0).to(dtype)
        _, _, G, C = retreat(k, d_o, tl.sum(o * d_o, 1), G, C)
        product *= tl.reduce(k, 0, multiply)
    part = parts + ((row * heads + head) * chunks + n) * (2 + width)
    tl.store(part, product)
    tl.store(part + 1, C)
    tl.store(part + 2 + d, G, d < width)


@jit
def _backward(
    outputs,
    keep,
    d_outputs,
    values,
    gain,
    mask,
    first,
    G_end,
    C_end,
    parts,
    d_scores,
    d_values,
    d_decay,
    G_start,
    C_start,
    time,
    heads,
    width,
    length,
    chunks,
    L: tl.constexpr,
    D: tl.constexpr,
):
    """The reverse scan of each chunk, from what the parts of the chunks after it lead to.

    `first` (B, H, D) is the average before the first token; G_end and C_end are those of the token after the last,
    G_start and C_start what reaches the incoming state.
    """
    dtype = parts.dtype.element_ty
    head, n, row = place(heads, chunks)
    i, d = tl.arange(0, L), tl.arange(0, D)
    state = row * heads + head
    G, C = tl.load(G_end + state * width + d, d < width, 0.0), tl.load(C_end + state)
    for done in range(0, chunks - 1 - n, L):
        later = chunks - 2 - done - i
        part = parts + (state * (chunks - 1) + later) * (2 + width)
        k, sums = tl.load(part, later >= n, 1.0), tl.load(part + 1, later >= n, 0.0)
        d_o = tl.load(part[:, None] + 2 + d, (later >= n)[:, None] & (d < width), 0.0)
        _, _, G, C = retreat(k, d_o, sums, G, C)
    start, stop = n * length, tl.minimum((n + 1) * length, time)
    if n == 0:
        start = start - 1  # the incoming state is token -1
    for done in range(0, stop - start, L):
        t = stop - 1 - done - i
        live = t >= tl.maximum(start, 0)
        here = (row * time + t) * heads + head
        tile, in_tile = here[:, None] * width + d, live[:, None] & (d < width)
        k = tl.load(keep + here + heads, (t >= start) & (t + 1 < time), 1.0)
        o, d_o = tl.load(outputs + tile, in_tile, 0.0).to(dtype), tl.load(d_outputs + tile, in_tile, 0.0).to(dtype)
        G_t, C_t, G, C = retreat(k, d_o, tl.sum(o * d_o, 1), G, C)
        g = tl.load(gain + here, live, 0.0)
        v = tl.load(values + tile, in_tile & (g != 0.0)[:, None], 0.0).to(dtype)
        tl.store(d_values + tile, g[:, None] * G_t, in_tile)
        tl.store(d_scores + here, g * (tl.sum(v * G_t, 1) - C_t), live)
        if d_decay is not None:
            before = tl.load(outputs + tile - heads * width, in_tile & (t > 0)[:, None], 0.0).to(dtype)
            before += tl.load(first + state * width + d, in_tile & (t == 0)[:, None], 0.0)
            aged = tl.load(keep + here, live, 0.0)
            if mask is not None:
                aged = tl.where(tl.load(mask + row * time + t, live, True), 0.0, aged)
            tl.store(d_decay + here, -aged * (tl.sum(before * G_t, 1) - C_t), live)
    tl.store(G_start + state * width + d, G, (d < width) & (n == 0))
    tl.store(C_start + state, C, n == 0)


def scan_forward(
    scores: Tensor,
    values: Tensor,
    decay: Tensor | None,
    padding_mask: Tensor | None,
    reset: Tensor | None,
    m: Tensor,
    u: Tensor,
    w: Tensor,
) -> Six:
    """See `attention_operator`."""
    batch, time, heads, width = values.shape
    inputs = [contiguous(x) for x in (scores, values, decay, padding_mask, reset)]
    state = m.contiguous(), u.contiguous(), w.contiguous()
    plan = layout(batch * heads, time, width, u)
    parts = empty((batch, heads, plan.chunks - 1, 3 + width), u)
    outputs, gain, keep = empty(values.shape, values), empty(scores.shape, u), empty(scores.shape, u)
    m, u, w = (empty(x.shape, x) for x in state)
    plan.run(_forward_parts, plan.chunks - 1, values, *inputs, parts, time, heads, width)
    plan.run(_forward, plan.chunks, values, *inputs, *state, parts, outputs, gain, keep, m, u, w, time, heads, width)
    return outputs, m, u, w, gain, keep


def scan_backward(
    values: Tensor,
    outputs: Tensor,
    gain: Tensor,
    keep: Tensor,
    padding_mask: Tensor | None,
    u0: Tensor,
    w0: Tensor,
    u: Tensor,
    d_outputs: Tensor,
    d_u: Tensor | None,
    d_w: Tensor | None,
    with_decay: bool,
    with_state: bool,
) -> Six:
    """See `attention_operator`."""
    batch, time, heads, width = values.shape
    first = readout(ScanState(u0, u0, w0)) if with_decay else None
    G = torch.zeros_like(w0) if d_w is None else u[..., None] * d_w
    C = torch.zeros_like(u0) if d_u is None else -u * d_u
    plan = layout(batch * heads, time, width, gain)
    parts = empty((batch, heads, plan.chunks - 1, 2 + width), gain)
    d_scores, d_values = empty(gain.shape, gain), empty(values.shape, values)
    d_decay = empty(gain.shape if with_decay else (0, 0, 0), gain)
    G_start, C_start = empty(w0.shape, w0), empty(u0.shape, u0)
    read = [contiguous(x) for x in (outputs, keep, d_outputs)]
    inputs = [contiguous(x) for x in (values, gain, padding_mask, first, G, C)]
    results = d_scores, d_values, d_decay if with_decay else None, G_start, C_start
    plan.run(_backward_parts, plan.chunks - 1, values, *read, parts, time, heads, width)
    plan.run(_backward, plan.chunks, values, *read, *inputs, parts, *results, time, heads, width)
    if not with_state:
        return d_scores, d_values, d_decay, w0.new_empty(0), w0.new_empty(0), w0.new_empty(0)
    return d_scores, d_values, d_decay, *into_state(G_start, C_start, u0, w0)


scan_triton = attention_operator("attention_scan_triton", scan_forward, scan_backward, mixed=True)
