"""The scan fused for the CPU: one pass forward, one reverse pass backward, at the speed of memory.

With lse_t the log of the total weight that reader t sees, every output is a running mean of the values,

    o_t = keep_t · o_{t-1} + gain_t · v_t,    gain_t = exp(s_t - lse_t),    keep_t = exp(lse_{t-1} - decay_t - lse_t),

and only these two gates, one number a head each, need exponentials. They are all that is saved for the backward pass:
with G_t = do_t + keep_{t+1} G_{t+1} and C_t = do_t·o_t + keep_{t+1} C_{t+1},

    dv_t = gain_t G_t,    ds_t = gain_t (v_t·G_t - C_t),    ddecay_t = -keep_t (o_{t-1}·G_t - C_t).

All factors are at most 1, so nothing overflows, and no running maximum is needed on the way back. The end of the scan
adds u_T dw_T to G and -u_T du_T to C, since the final sums are u_T and w_T = u_T o_T.
"""

import math

import numpy as np
import torch
from torch import Tensor

from aaren.ops.fused import Six, attention_operator, into_state
from aaren.ops.numba_kernel import array, empty, kernel, or_none, reduction
from aaren.ops.scan_state import ScanState, age, combine, readout
from aaren.ops.threads import TILE, chunked, run, split, thread_count


@reduction
def _dot(a, i, b, j, n):
    """Sum of a[i + c] · b[j + c] for c < n."""
    total = a.dtype.type(0)
    for c in range(n):
        total += a[i + c] * b[j + c]
    return total


@kernel
def _forward(scores, values, decay, mask, reset, m0, u0, w0, m, u, w, outputs, gain, keep, units):
    """Scans the units (row, first and end token, chunk), from the chunk's state (m0, u0, w0) to its (m, u, w).

    Indices have no sign: signed ones would be tested for counting from the end at each access.
    """
    time, heads, width = np.uintp(values.shape[1]), np.uintp(values.shape[2]), np.uintp(values.shape[3])
    masked, resets, ageing = mask.size > 0, reset.size > 0, decay.size > 0
    values, outputs, mask, reset = values.reshape(-1), outputs.reshape(-1), mask.reshape(-1), reset.reshape(-1)
    scores, decay, gain, keep = scores.reshape(-1), decay.reshape(-1), gain.reshape(-1), keep.reshape(-1)
    m0, u0, w0, m, u, w = m0.reshape(-1), u0.reshape(-1), w0.reshape(-1), m.reshape(-1), u.reshape(-1), w.reshape(-1)
    zero = w.dtype.type(0)
    tops, totals = np.empty(heads), np.empty(heads)  # float64: a small decay is not lost beside a large maximum
    for unit in range(units.shape[0]):
        row, start, stop, chunk = units[unit]
        for h in range(heads):
            carry = chunk * heads + h
            tops[h], totals[h] = m0[carry], u0[carry]
            share = 1.0 / u0[carry] if u0[carry] > 0.0 else 0.0
            for d in range(carry * width, (carry + np.uintp(1)) * width):
                w[d] = w0[d] * share  # the average, for now
        while start < stop:
            end = min(start + np.uintp(TILE), stop)
            for h in range(heads):
                top, total = tops[h], totals[h]
                for t in range(row * time + start, row * time + end):
                    here = t * heads + h
                    if masked and mask[t]:
                        gain[here], keep[here] = 0.0, 1.0
                        continue
                    if resets and reset[t]:
                        top = -math.inf
                    elif ageing:
                        top -= np.float64(decay[here])
                    s = np.float64(scores[here])
                    if s == -math.inf and top == -math.inf:  # nothing here, nothing before
                        p = older = total = 0.0
                    else:
                        difference = s - top
                        e = math.exp(-abs(difference))
                        p = 1.0 if difference > 0.0 else e
                        older = total * e if difference > 0.0 else total
                        top = max(top, s)
                        total = older + p
                    share = 0.0 if total == 0.0 else 1.0 / total
                    gain[here], keep[here] = p * share, older * share
                tops[h], totals[h] = top, total
            for t in range(row * time + start, row * time + end):
                for h in range(heads):
                    g, k = gain[t * heads + h], keep[t * heads + h]
                    here, mean = (t * heads + h) * width, (chunk * heads + h) * width
                    counts = g != 0.0  # a value without weight may be anything: 0 · NaN would be NaN
                    # k and g, rounded, do not add up to one: over many tokens the mean would drift.
                    if counts and g < 0.5:
                        for d in range(width):
                            old = w[mean + d]
                            x = old + g * (values[here + d] - old)
                            w[mean + d] = x
                            outputs[here + d] = x
                    else:
                        for d in range(width):
                            x = k * w[mean + d] + (g * values[here + d] if counts else zero)
                            w[mean + d] = x
                            outputs[here + d] = x
            start = end
        for h in range(heads):
            carry = chunk * heads + h
            m[carry] = tops[h]
            if m[carry] != -math.inf:  # what the maximum lost when it was rounded goes into the sums
                totals[h] *= math.exp(tops[h] - np.float64(m[carry]))
            u[carry] = totals[h]
            for d in range(carry * width, (carry + np.uintp(1)) * width):
                w[d] *= u[carry]


@kernel
def _backward(
    values, outputs, gain, keep, mask, first, d_outputs, G, C, d_scores, d_values, d_decay, g_row, c_row, units
):
    """The reverse scan over units, from and to the chunk's G and C.

    `first` is the average before the first token; `g_row` (head_dim) and `c_row` (heads) are scratch of this call.
    """
    time, heads, width = np.uintp(values.shape[1]), np.uintp(values.shape[2]), np.uintp(values.shape[3])
    zero, one, tile, line = np.uintp(0), np.uintp(1), np.uintp(TILE), np.uintp(64 // values.itemsize)
    masked, ageing = mask.size > 0, d_decay.size > 0
    values, outputs, mask, first = values.reshape(-1), outputs.reshape(-1), mask.reshape(-1), first.reshape(-1)
    d_outputs, d_values, G, C = d_outputs.reshape(-1), d_values.reshape(-1), G.reshape(-1), C.reshape(-1)
    gain, keep, d_scores, d_decay = gain.reshape(-1), keep.reshape(-1), d_scores.reshape(-1), d_decay.reshape(-1)
    for unit in range(units.shape[0]):
        row, begin, stop, chunk = units[unit]
        for h in range(heads):
            c_row[h] = C[chunk * heads + h]
        while stop > begin:
            start = stop - tile if stop - begin > tile else begin
            # Upwards first: do·o, and a touch of each cache line that the way down needs, because processors fetch
            # ahead upwards only.
            touched = values.dtype.type(0)
            for t in range(row * time + start, row * time + stop):
                for h in range(heads):
                    here = (t * heads + h) * width
                    d_scores[t * heads + h] = _dot(d_outputs, here, outputs, here, width)
                    for d in range(zero, width, line):
                        touched += values[here + d]
                        d_values[here + d] = 0.0
            g_row[zero] = touched
            t = row * time + stop
            while t > row * time + start:
                t -= one
                for h in range(heads):
                    gate, here, carry = t * heads + h, (t * heads + h) * width, (chunk * heads + h) * width
                    g, k = gain[gate], keep[gate]
                    c = c_row[h] + d_scores[gate]
                    if 0.0 < g < 0.5:  # as in the forward pass
                        for d in range(width):
                            x = G[carry + d] + d_outputs[here + d]
                            g_row[d] = x
                            G[carry + d] = x - g * x
                            d_values[here + d] = g * x
                        c_row[h] = c - g * c
                    else:
                        for d in range(width):
                            x = G[carry + d] + d_outputs[here + d]
                            g_row[d] = x
                            G[carry + d] = k * x
                            d_values[here + d] = g * x
                        c_row[h] = k * c
                    if ageing:
                        if masked and mask[t]:
                            d_decay[gate] = 0.0
                        elif t == row * time:
                            d_decay[gate] = -k * (_dot(g_row, zero, first, (row * heads + h) * width, width) - c)
                        else:
                            d_decay[gate] = -k * (_dot(g_row, zero, outputs, here - heads * width, width) - c)
                    d_scores[gate] = 0.0 if g == 0.0 else g * (_dot(values, here, g_row, zero, width) - c)
            stop = start
        for h in range(heads):
            C[chunk * heads + h] = c_row[h]


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
    batch, time, heads, head_dim = values.shape
    jobs = split(batch, time, heads * (head_dim + 32), thread_count())
    chunks = len(jobs)
    starts = [chunked(array(x), 0, chunks, others) for x, others in ((m, -math.inf), (u, 0.0), (w, 0.0))]
    ends = [empty((batch, chunks, *x.shape[1:]), starts[0].dtype) for x in (m, u, w)]
    inputs = [array(scores), array(values), or_none(decay, scores.dtype), or_none(padding_mask), or_none(reset)]
    outputs, gain, keep = empty(values.shape, inputs[1].dtype), *(empty(scores.shape, ends[0].dtype) for _ in range(2))
    arrays = [*inputs, *starts, *ends, outputs, gain, keep]

    def pass_on() -> None:
        lost = torch.zeros_like(scores) if decay is None else decay
        lost = lost if reset is None else torch.where(reset[..., None], math.inf, lost)
        lost = lost if padding_mask is None else torch.where(padding_mask[..., None], 0.0, lost)
        parts = [ScanState(*(torch.from_numpy(x[:, n]) for x in ends)) for n in range(chunks)]
        carry = parts[0]
        for n in range(1, chunks):
            for start, part in zip(starts, carry, strict=True):
                start[:, n] = part
            span = slice(time * n // chunks, time * (n + 1) // chunks)
            carry = combine(age(carry, lost[:, span].sum(1).to(m.dtype)), parts[n])

    run(_forward, lambda units: (*arrays, units), jobs, pass_on)
    top, total, weighted = (torch.from_numpy(np.ascontiguousarray(x[:, -1])) for x in ends)
    return torch.from_numpy(outputs), top, total, weighted, torch.from_numpy(gain), torch.from_numpy(keep)


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
    batch, time, heads, head_dim = values.shape
    jobs = split(batch, time, heads * (head_dim + 32), thread_count())
    chunks = len(jobs)
    G = torch.zeros_like(w0) if d_w is None else u[..., None] * d_w
    C = torch.zeros_like(u0) if d_u is None else -u * d_u
    G, C = chunked(array(G), chunks - 1, chunks), chunked(array(C).astype(np.float64), chunks - 1, chunks)
    first = readout(ScanState(u0, u0, w0)) if with_decay else w0
    inputs = [array(x) for x in (values, outputs, gain, keep)]
    d_scores, d_values = empty(gain.shape, inputs[2].dtype), empty(values.shape, inputs[0].dtype)
    d_decay = empty(gain.shape if with_decay else (0, 0, 0), d_scores.dtype)
    arrays = [*inputs, or_none(padding_mask), array(first), array(d_outputs), G, C, d_scores, d_values, d_decay]

    def arguments(units: np.ndarray) -> tuple[np.ndarray, ...]:
        return *arrays, empty((head_dim,), G.dtype), empty((heads,), C.dtype), units

    def pass_on() -> None:
        carry = G[:, -1].copy(), C[:, -1].copy()
        for n in range(chunks - 2, -1, -1):
            factor = array(keep[:, time * n // chunks : time * (n + 1) // chunks].prod(dim=1))
            following = G[:, n] + factor[..., None] * carry[0], C[:, n] + factor * carry[1]
            G[:, n], C[:, n] = carry
            carry = following

    run(_backward, arguments, jobs[::-1], pass_on)
    gradients = torch.from_numpy(d_scores), torch.from_numpy(d_values), torch.from_numpy(d_decay)
    if not with_state:
        return *gradients, w0.new_empty(0), w0.new_empty(0), w0.new_empty(0)
    g = torch.from_numpy(G.reshape(batch, chunks, heads, head_dim)[:, 0])
    c = torch.from_numpy(C.reshape(batch, chunks, heads)[:, 0]).to(u0.dtype)
    return *gradients, *into_state(g, c, u0, w0)


scan_cpu = attention_operator("attention_scan_cpu", scan_forward, scan_backward)
