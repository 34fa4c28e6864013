"""The linear scan fused for the CPU. With G_t = dh_t + a_{t+1} G_{t+1}: db_t = G_t, da_t = G_t h_{t-1}."""

import numpy as np
import torch
from torch import Tensor

from aaren.ops.fused import Three, Two, linear_operator
from aaren.ops.numba_kernel import array, empty, kernel, or_none
from aaren.ops.threads import TILE, chunked, run, split, thread_count


@kernel
def _forward(a, b, mask, reset, h0, h, outputs, units):
    """Scans the units (row, first and end token, chunk), from the chunk's h0 to its h."""
    time, width = np.uintp(a.shape[1]), np.uintp(a.shape[2])
    masked, resets = mask.size > 0, reset.size > 0
    a, b, mask, reset = a.reshape(-1), b.reshape(-1), mask.reshape(-1), reset.reshape(-1)
    h0, h, outputs = h0.reshape(-1), h.reshape(-1), outputs.reshape(-1)
    for unit in range(units.shape[0]):
        row, start, stop, chunk = units[unit]
        carry = chunk * width
        for d in range(width):
            h[carry + d] = h0[carry + d]
        for t in range(row * time + start, row * time + stop):
            here = t * width
            if masked and mask[t]:
                for d in range(width):
                    outputs[here + d] = h[carry + d]
            elif resets and reset[t]:
                for d in range(width):
                    h[carry + d] = b[here + d]
                    outputs[here + d] = b[here + d]
            else:
                for d in range(width):
                    x = a[here + d] * h[carry + d] + b[here + d]
                    h[carry + d] = x
                    outputs[here + d] = x


@kernel
def _backward(a, outputs, mask, reset, h0, d_outputs, G, d_a, d_b, units):
    """The reverse scan over units, from and to the chunk's G, which is a_{t+1} G_{t+1} between two tokens."""
    time, width = np.uintp(a.shape[1]), np.uintp(a.shape[2])
    one, tile, line = np.uintp(1), np.uintp(TILE), np.uintp(64 // a.itemsize)
    masked, resets = mask.size > 0, reset.size > 0
    a, outputs, mask, reset = a.reshape(-1), outputs.reshape(-1), mask.reshape(-1), reset.reshape(-1)
    h0, d_outputs, G, d_a, d_b = h0.reshape(-1), d_outputs.reshape(-1), G.reshape(-1), d_a.reshape(-1), d_b.reshape(-1)
    for unit in range(units.shape[0]):
        row, begin, stop, chunk = units[unit]
        carry = chunk * width
        while stop > begin:
            start = stop - tile if stop - begin > tile else begin
            # A touch of each cache line upwards: processors fetch ahead upwards only.
            for here in range((row * time + start) * width, (row * time + stop) * width, line):
                d_b[here] = a[here] + d_outputs[here] + outputs[here]
                d_a[here] = 0.0
            t = row * time + stop
            while t > row * time + start:
                t -= one
                here = t * width
                if masked and mask[t]:
                    for d in range(width):
                        G[carry + d] += d_outputs[here + d]
                        d_a[here + d] = 0.0
                        d_b[here + d] = 0.0
                elif resets and reset[t]:
                    for d in range(width):
                        d_b[here + d] = G[carry + d] + d_outputs[here + d]
                        d_a[here + d] = 0.0
                        G[carry + d] = 0.0
                elif t == row * time:
                    for d in range(width):
                        x = G[carry + d] + d_outputs[here + d]
                        d_b[here + d] = x
                        d_a[here + d] = x * h0[row * width + d]
                        G[carry + d] = a[here + d] * x
                else:
                    for d in range(width):
                        x = G[carry + d] + d_outputs[here + d]
                        d_b[here + d] = x
                        d_a[here + d] = x * outputs[here - width + d]
                        G[carry + d] = a[here + d] * x
            stop = start


def _products(a: Tensor, padding_mask: Tensor | None, reset: Tensor | None, chunks: int) -> list[np.ndarray]:
    """What each chunk keeps of its carry, (B, D)."""
    a = a if reset is None else torch.where(reset[..., None], 0.0, a)
    a = a if padding_mask is None else torch.where(padding_mask[..., None], 1.0, a)
    time = a.shape[1]
    return [array(a[:, time * n // chunks : time * (n + 1) // chunks].prod(dim=1)) for n in range(chunks)]


def scan_forward(a: Tensor, b: Tensor, padding_mask: Tensor | None, reset: Tensor | None, h0: Tensor) -> Two:
    """See `linear_operator`."""
    batch, time, width = a.shape
    jobs = split(batch, time, 3 * width, thread_count())
    start = chunked(array(h0), 0, len(jobs))
    end, outputs = empty((batch, len(jobs), width), start.dtype), empty(a.shape, array(b).dtype)

    def pass_on() -> None:
        carry, factors = end[:, 0], _products(a, padding_mask, reset, len(jobs))
        for n in range(1, len(jobs)):  # the last end is not there yet, and nobody asks for it
            carry = end[:, n - 1] + factors[n - 1] * carry if n > 1 else carry
            start[:, n] = carry

    arrays = (array(a), array(b), or_none(padding_mask), or_none(reset), start, end, outputs)
    run(_forward, lambda units: (*arrays, units), jobs, pass_on)
    return torch.from_numpy(outputs), torch.from_numpy(np.ascontiguousarray(end[:, -1]))


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
    jobs = split(batch, time, 3 * width, thread_count())
    G = np.zeros((batch, width), array(h0).dtype) if d_h is None else array(d_h).copy()
    G = chunked(G, len(jobs) - 1, len(jobs)).reshape(batch, len(jobs), width)
    d_a, d_b = empty(a.shape, array(a).dtype), empty(a.shape, array(a).dtype)

    def pass_on() -> None:
        carry = G[:, -1].copy()
        factors = _products(a, padding_mask, reset, len(jobs))
        for n in range(len(jobs) - 2, -1, -1):
            following = G[:, n] + factors[n] * carry
            G[:, n], carry = carry, following

    inputs = (array(a), array(outputs), or_none(padding_mask), or_none(reset), array(h0), array(d_outputs))
    run(_backward, lambda units: (*inputs, G, d_a, d_b, units), jobs[::-1], pass_on)
    return torch.from_numpy(d_a), torch.from_numpy(d_b), torch.from_numpy(np.ascontiguousarray(G[:, 0]))


linear_scan_cpu = linear_operator("linear_scan_cpu", scan_forward, scan_backward)
