"""The other recurrence that scans: `h_t = a_t ⊙ h_{t-1} + b_t`, channel by channel. Gated networks are made of it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from aaren.ops.scan import check_device, choose_backend, must_be_plain
from aaren.ops.scan_state import no_autocast
from aaren.shapes import PaddingMask, Reset, Tokens, check_flags

Channels = Float[Tensor, "B D"]
Backend = Callable[[Tokens, Tokens, Channels, PaddingMask | None, Reset | None], tuple[Tokens, Channels]]


def scan_reference(a: Tokens, b: Tokens, state: Channels) -> tuple[Tokens, Channels]:
    """The oracle: one token after the other. Never optimised."""
    outputs = []
    for t in range(a.shape[1]):
        state = a[:, t] * state + b[:, t]
        outputs.append(state)
    return torch.stack(outputs, dim=1), state


def scan_step(a: Tokens, b: Tokens, state: Channels) -> tuple[Tokens, Channels]:
    """Token by token in one operation each: what a stream runs."""
    outputs = []
    for t in range(a.shape[1]):
        state = torch.addcmul(b[:, t], a[:, t], state)
        outputs.append(state)
    return outputs[0][:, None] if len(outputs) == 1 else torch.stack(outputs, dim=1), state


def scan_chunked(a: Tokens, b: Tokens, state: Channels) -> tuple[Tokens, Channels]:
    """√T chunks side by side, each from nothing; then the carries from chunk to chunk: 2√T steps in all."""
    time = a.shape[1]
    length = math.isqrt(time - 1) + 1
    filling = (0, 0, 0, -time % length)
    a = pad(a, filling, value=1.0).unflatten(1, (-1, length))  # (B, chunk, step, D)
    b = pad(b, filling).unflatten(1, (-1, length))
    within, factors = [b[:, :, 0]], [a[:, :, 0]]  # since the start of the chunk: h from nothing, and the product of a
    for t in range(1, length):
        within.append(a[:, :, t] * within[-1] + b[:, :, t])
        factors.append(a[:, :, t] * factors[-1])
    carries = [state]  # into each chunk
    for n in range(a.shape[1]):
        carries.append(factors[-1][:, n] * carries[-1] + within[-1][:, n])
    carried = torch.stack(carries[:-1], dim=1)[:, :, None]
    h = torch.stack(within, dim=2) + torch.stack(factors, dim=2) * carried
    return h.flatten(1, 2)[:, :time], carries[-1]


def _plain(scan: Callable[[Tokens, Tokens, Channels], tuple[Tokens, Channels]]) -> Backend:
    """A backend of PyTorch operations on one dtype, which sees masked tokens as (1, 0), resets as a = 0."""

    def run(
        a: Tokens, b: Tokens, state: Channels, padding_mask: PaddingMask | None, reset: Reset | None
    ) -> tuple[Tokens, Channels]:
        out_dtype = b.dtype
        a, b = a.to(state.dtype), b.to(state.dtype)
        if reset is not None:
            a = torch.where(reset[..., None], 0.0, a)
        if padding_mask is not None:
            dead = padding_mask[..., None]
            a, b = torch.where(dead, 1.0, a), torch.where(dead, 0.0, b)
        with no_autocast(a.device):
            h, state = scan(a, b, state)
        return h.to(out_dtype), state

    return run


def _cpu(*arguments: Any) -> tuple[Tokens, Channels]:
    from aaren.ops.linear_cpu import linear_scan_cpu  # when first used: compilers are slow to import

    return linear_scan_cpu(*arguments)


def _triton(*arguments: Any) -> tuple[Tokens, Channels]:
    from aaren.ops.linear_triton import linear_scan_triton  # likewise

    return linear_scan_triton(*arguments)


BACKENDS: dict[str, Backend] = {
    "reference": _plain(scan_reference),
    "step": _plain(scan_step),
    "chunked": _plain(scan_chunked),
    "cpu": _cpu,
    "triton": _triton,
}
"""What runs a linear scan, by name; `choose_backend` is that of `attention_scan`."""


def linear_scan(
    a: Tokens,
    b: Tokens,
    state: Channels | None = None,
    *,
    padding_mask: PaddingMask | None = None,
    reset: Reset | None = None,
    backend: str = "auto",
) -> tuple[Tokens, Channels]:
    """`h[:, t] = a[:, t] * h[:, t - 1] + b[:, t]` for every t.

    Args:
        a: what is kept of each channel; any sign, at most 1 in size if h is to stay bounded.
        b: what comes in, of the shape of a.
        state: the h before the first token, as an earlier call returned it; None = 0. Never changed.
        padding_mask: True = the token does not exist; h stays as it was.
        reset: True = forget h before consuming this token.
        backend: a name in `BACKENDS`, or "auto". All of them are the same function.

    Returns:
        h in the dtype of b, and the last h. The recurrence runs in the dtype of `state`: float32 or wider.

    Raises:
        ValueError: shapes that do not fit each other, a state narrower than float32, an unknown backend, a backend for
            another device.
    """
    if a.ndim != 3 or a.shape[1] < 1 or b.shape != a.shape:
        raise ValueError(
            f"a and b must have one shape (batch, time >= 1, d), got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not (a.is_floating_point() and b.is_floating_point()):
        raise ValueError(f"a and b must be floating point, got {a.dtype} and {b.dtype}")
    check_flags("padding_mask", padding_mask, a.shape[:2])
    check_flags("reset", reset, a.shape[:2])
    rows = (a.shape[0], a.shape[2])
    if state is None:
        dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
        state = torch.zeros(rows, device=a.device, dtype=dtype)
    if tuple(state.shape) != rows or state.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"state must be float32 or float64 of shape {rows}, got {state.dtype} {tuple(state.shape)}")
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "auto":
        backend = choose_backend(a.shape[1], a.numel(), a.device.type, must_be_plain())
    check_device(backend, a.device.type)
    return BACKENDS[backend](a, b, state, padding_mask, reset)
