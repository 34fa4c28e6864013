"""The scan fused for the CPU: one pass forward, one reverse pass backward, at the speed of memory.

With lse_t the log of the total weight that reader t sees, every output is a running mean of the values,

    o_t = keep_t · o_{t-1} + gain_t · v_t,    gain_t = exp(s_t - lse_t),    keep_t = exp(lse_{t-1} - decay_t - lse_t),

and only these two gates, one number a head each, need exponentials. They are all that is saved for the backward pass:
with G_t = do_t + keep_{t+1} G_{t+1} and C_t = do_t·o_t + keep_{t+1} C_{t+1},

    dv_t = gain_t G_t,    ds_t = gain_t (v_t·G_t - C_t),    ddecay_t = -keep_t (o_{t-1}·G_t - C_t).

All factors are at most 1, so nothing overflows, and no running maximum is needed on the way back. The end of the scan
adds u_T dw_T to G and -u_T du_T to C, since the final sums are u_T and w_T = u_T o_T.

Threads share the batch and the heads; where these are fewer than threads, chunks of time too: first every chunk but the
last from nothing, then the carries (`combine` again), then every chunk but the first again from its carry.
"""

import math

import numpy as np
import torch
from torch import Tensor

from aaren.ops.fused import register_fused
from aaren.ops.numba_kernel import kernel, reduction
from aaren.ops.scan_state import ScanState, age, combine, readout
from aaren.ops.threads import run_together, thread_count

TILE = 64
"""Tokens whose gates are computed before their averages: the gates are then still in the nearest cache."""

_NO_FLAGS = np.empty((0, 0), np.bool_)

FEW = 1 << 15
"""Numbers below which a second thread costs more than it saves."""


@reduction
def _dot(a, i, b, j, n):
    """Sum of a[i + c] · b[j + c] for c < n."""
    total = a.dtype.type(0)
    for c in range(n):
        total += a[i + c] * b[j + c]
    return total


@kernel
def _forward(scores, values, decay, mask, reset, m, u, ages, average, outputs, gain, keep, units):
    """Scans the units (row, first and end head, first and end token, chunk), from and to the chunk's m, u, average."""
    heads, width = values.shape[2], np.uintp(values.shape[3])
    flat_values, flat_outputs, flat_average = values.reshape(-1), outputs.reshape(-1), average.reshape(-1)
    chunks = m.shape[1]
    for unit in range(units.shape[0]):
        b, h0, h1, t0, t1, n = units[unit]
        for start in range(t0, t1, TILE):
            end = min(start + TILE, t1)
            for h in range(h0, h1):
                top, total, lost = m[b, n, h], u[b, n, h], ages[b, n, h]
                for t in range(start, end):
                    if mask.size and mask[b, t]:
                        gain[b, t, h], keep[b, t, h] = 0.0, 1.0
                        continue
                    if reset.size and reset[b, t]:
                        top, lost = -math.inf, math.inf
                    elif decay.size:
                        top -= decay[b, t, h]
                        lost += decay[b, t, h]
                    s = np.float64(scores[b, t, h])
                    if top == -math.inf:  # nothing before this token
                        p = 0.0 if s == -math.inf else math.exp(s - s)  # 1, or NaN for NaN
                        older, top = 0.0, s
                    elif s > top:
                        p, older, top = 1.0, total * math.exp(top - s), s
                    else:
                        p, older = math.exp(s - top), total
                    total = older + p
                    share = 1.0 / total if total > 0.0 or total != total else 0.0
                    gain[b, t, h], keep[b, t, h] = p * share, older * share
                m[b, n, h], u[b, n, h], ages[b, n, h] = top, total, lost
            for t in range(start, end):
                for h in range(h0, h1):
                    g, k = gain[b, t, h], keep[b, t, h]
                    here = np.uintp((b * scores.shape[1] + t) * heads + h) * width
                    mean = np.uintp((b * chunks + n) * heads + h) * width
                    if g == 0.0:  # a value without weight may be anything
                        for d in range(width):
                            x = k * flat_average[mean + d]
                            flat_average[mean + d] = x
                            flat_outputs[here + d] = x
                    else:
                        for d in range(width):
                            x = k * flat_average[mean + d] + g * flat_values[here + d]
                            flat_average[mean + d] = x
                            flat_outputs[here + d] = x


@kernel
def _backward(values, outputs, gain, keep, mask, first, d_outputs, G, C, rest, row, d_scores, d_values, d_decay, units):
    """The reverse scan over units, from and to the chunk's G and C; `first` is the average before the chunks."""
    time, heads, width = values.shape[1], values.shape[2], np.uintp(values.shape[3])
    flat_values, flat_outputs, flat_d_outputs = values.reshape(-1), outputs.reshape(-1), d_outputs.reshape(-1)
    flat_d_values, flat_G, flat_first = d_values.reshape(-1), G.reshape(-1), first.reshape(-1)
    chunks, zero, line = G.shape[1], np.uintp(0), np.uintp(64 // values.itemsize)
    for unit in range(units.shape[0]):
        b, h0, h1, t0, t1, n = units[unit]
        scratch = row[(b * chunks + n) * heads + h0]
        for end in range(t1, t0, -TILE):
            start = max(end - TILE, t0)
            # Upwards first: do·o, and a touch of each cache line that the way down needs, because processors fetch
            # ahead upwards only.
            touched = values.dtype.type(0)
            for t in range(start, end):
                for h in range(h0, h1):
                    here = np.uintp((b * time + t) * heads + h) * width
                    d_scores[b, t, h] = _dot(flat_d_outputs, here, flat_outputs, here, width)
                    for d in range(zero, width, line):
                        touched += flat_values[here + d]
                        flat_d_values[here + d] = 0.0
            scratch[0] = touched
            for t in range(end - 1, start - 1, -1):
                for h in range(h0, h1):
                    g, k = gain[b, t, h], keep[b, t, h]
                    here = np.uintp((b * time + t) * heads + h) * width
                    carry = np.uintp((b * chunks + n) * heads + h) * width
                    for d in range(width):
                        x = flat_G[carry + d] + flat_d_outputs[here + d]
                        scratch[d] = x
                        flat_G[carry + d] = k * x
                        flat_d_values[here + d] = g * x
                    c = C[b, n, h] + d_scores[b, t, h]
                    C[b, n, h] = k * c
                    rest[b, n, h] *= k
                    if d_decay.size:
                        if mask.size and mask[b, t]:
                            d_decay[b, t, h] = 0.0
                        elif t == 0:
                            before = np.uintp(b * heads + h) * width
                            d_decay[b, t, h] = -k * (_dot(scratch, zero, flat_first, before, width) - c)
                        else:
                            before = here - np.uintp(heads) * width
                            d_decay[b, t, h] = -k * (_dot(scratch, zero, flat_outputs, before, width) - c)
                    # A value without weight may be anything: 0 · NaN would be NaN.
                    d_scores[b, t, h] = 0.0 if g == 0.0 else g * (_dot(flat_values, here, scratch, zero, width) - c)


def _split(batch: int, time: int, heads: int, head_dim: int) -> tuple[list[np.ndarray], int]:
    """Units for each call of a kernel, and the number of chunks of time; no call has units of two chunks."""
    threads = thread_count() if batch * time * heads * head_dim >= FEW else 1
    groups = min(heads, threads // math.gcd(batch, threads))  # the fewest that share the work evenly
    spare = threads // max(batch * heads, 1)
    chunks = spare + 1 if spare >= 2 and time >= TILE * (spare + 1) else 1
    units = [
        (b, heads * i // groups, heads * (i + 1) // groups, time * n // chunks, time * (n + 1) // chunks, n)
        for n in range(chunks)
        for b in range(batch)
        for i in range(groups)
    ]
    calls = len(units) if chunks > 1 else min(threads, max(len(units), 1))
    return np.array_split(np.array(units, np.int64).reshape(-1, 6), calls), chunks


def _run(function, arrays: list[np.ndarray], jobs: list[np.ndarray], first: int, last: int, pass_on) -> None:
    """Runs the kernel on all units. With several chunks: all but the last; what each passes on; all but the first."""
    if first == last:
        run_together(function, [(*arrays, units) for units in jobs])
        return
    run_together(function, [(*arrays, units) for units in jobs if units[0, 5] != last])
    pass_on()
    run_together(function, [(*arrays, units) for units in jobs if units[0, 5] != first])


def _at_chunk(x: Tensor, n: int, chunks: int, others: float = 0.0) -> Tensor:
    """x (B, ...) as chunk n of (B, chunks, ...), in memory of its own, with `others` elsewhere."""
    out = x.new_full((x.shape[0], chunks, *x.shape[1:]), others)
    out[:, n] = x
    return out


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [x.detach().contiguous().numpy() for x in tensors]


def _flags(flags: Tensor | None) -> np.ndarray:
    return _NO_FLAGS if flags is None else flags.contiguous().numpy()


def scan_forward(
    scores: Tensor,
    values: Tensor,
    decay: Tensor | None,
    padding_mask: Tensor | None,
    reset: Tensor | None,
    m: Tensor,
    u: Tensor,
    w: Tensor,
) -> tuple[Tensor, ...]:
    """See `register_fused`."""
    jobs, chunks = _split(*values.shape)
    outputs = torch.empty(values.shape, dtype=values.dtype)
    gain, keep = (torch.empty(scores.shape, dtype=u.dtype) for _ in range(2))
    tops, totals = _at_chunk(m.double(), 0, chunks, -math.inf), _at_chunk(u.double(), 0, chunks)
    ages, averages = torch.zeros_like(tops), _at_chunk(readout(ScanState(m, u, w)), 0, chunks)

    def state(n: int) -> ScanState:
        return ScanState(tops[:, n], totals[:, n], averages[:, n] * totals[:, n, :, None])

    def pass_on() -> None:
        carry = state(0)
        for n in range(1, chunks):
            following = combine(age(carry, ages[:, n]), state(n))
            tops[:, n], totals[:, n], averages[:, n] = carry.m, carry.u, readout(carry)
            carry = following

    none = scores.new_empty((0, 0, 0))
    arrays = [
        *_arrays(scores, values, none if decay is None else decay),
        *(_flags(flags) for flags in (padding_mask, reset)),
        *_arrays(tops, totals, ages, averages, outputs, gain, keep),
    ]
    _run(_forward, arrays, jobs, 0, chunks - 1, pass_on)

    top = tops[:, -1].to(m.dtype)
    u = (totals[:, -1] * torch.exp(torch.where(top == -math.inf, 0.0, tops[:, -1] - top))).to(u.dtype)
    return outputs, top, u, averages[:, -1] * u[..., None], gain, keep


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
) -> tuple[Tensor, ...]:
    """See `register_fused`."""
    jobs, chunks = _split(*values.shape)
    d_scores, d_values = torch.empty(gain.shape, dtype=values.dtype), torch.empty(values.shape, dtype=values.dtype)
    d_decay = d_scores.new_empty(gain.shape if with_decay else (0, 0, 0))
    first = readout(ScanState(u0, u0, w0))
    G = torch.zeros_like(w0) if d_w is None else u[..., None] * d_w
    C = torch.zeros_like(u0) if d_u is None else -u * d_u
    G, C = _at_chunk(G, chunks - 1, chunks), _at_chunk(C.double(), chunks - 1, chunks)
    rest = torch.ones_like(C)

    def pass_on() -> None:
        carry = G[:, -1].clone(), C[:, -1].clone()
        for n in range(chunks - 2, -1, -1):
            factor = rest[:, n]
            following = G[:, n] + factor.to(G.dtype)[..., None] * carry[0], C[:, n] + factor * carry[1]
            G[:, n], C[:, n] = carry
            carry = following

    scratch = torch.empty(C.numel(), w0.shape[-1], dtype=w0.dtype)  # a row for each unit
    arrays = [
        *_arrays(values, outputs, gain, keep),
        _flags(padding_mask),
        *_arrays(first, d_outputs, G, C, rest, scratch, d_scores, d_values, d_decay),
    ]
    _run(_backward, arrays, jobs, chunks - 1, 0, pass_on)

    # The state stands for (u eᵐ, w eᵐ): what it weighs is spread over its three parts.
    unit = torch.where(u0 > 0, 1.0 / u0, 0.0)
    d_u0, d_w0 = -C[:, 0].to(u0.dtype) * unit, G[:, 0] * unit[..., None]
    d_m0 = u0 * d_u0 + (w0 * d_w0).sum(-1)
    return d_scores, d_values, d_decay, d_m0, d_u0, d_w0


scan_cpu = register_fused("attention_scan_cpu", scan_forward, scan_backward)
