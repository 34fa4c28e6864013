"""The one public scan: checks, masks and resets, the choice of a backend."""

import math
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from aaren.ops.chunked import scan_chunked
from aaren.ops.parallel import scan_parallel
from aaren.ops.reference import scan_reference
from aaren.ops.scan_state import ScanState, check_state, empty, no_autocast
from aaren.ops.step import scan_step
from aaren.shapes import PaddingMask, Reset, Scores, Values, check_flags

Plain = Callable[[Scores, Values, Scores | None, ScanState], tuple[Values, ScanState]]
Backend = Callable[
    [Scores, Values, Scores | None, ScanState, PaddingMask | None, Reset | None], tuple[Values, ScanState]
]


def _plain(scan: Plain) -> Backend:
    """A backend of PyTorch operations on one dtype, which sees masked tokens as (-inf, 0), resets as infinite decay."""

    def run(
        scores: Scores,
        values: Values,
        decay: Scores | None,
        state: ScanState,
        padding_mask: PaddingMask | None,
        reset: Reset | None,
    ) -> tuple[Values, ScanState]:
        dtype, out_dtype = state.u.dtype, values.dtype
        scores, values = scores.to(dtype), values.to(dtype)
        decay = None if decay is None else decay.to(dtype)
        if reset is not None:
            # To forget is to age without bound, so no scan needs to know of resets.
            decay = torch.where(reset[..., None], math.inf, torch.zeros_like(scores) if decay is None else decay)
        if padding_mask is not None:
            # A masked token is the identity of ⊕ and costs no time. `where`, not a product: 0 · NaN is NaN.
            dead = padding_mask[..., None]
            scores = torch.where(dead, -math.inf, scores)
            values = torch.where(dead[..., None], 0.0, values)
            decay = None if decay is None else torch.where(dead, 0.0, decay)
        with no_autocast(scores.device):
            outputs, state = scan(scores, values, decay, state)
        return outputs.to(out_dtype), state

    return run


def _cpu(*arguments: Any) -> tuple[Values, ScanState]:
    from aaren.ops.cpu import scan_cpu  # when first used: compilers are slow to import

    return scan_cpu(*arguments)


def _triton(*arguments: Any) -> tuple[Values, ScanState]:
    from aaren.ops.triton_gpu import scan_triton  # likewise

    return scan_triton(*arguments)


BACKENDS: dict[str, Backend] = {
    "reference": _plain(scan_reference),
    "step": _plain(scan_step),
    "parallel": _plain(scan_parallel),
    "chunked": _plain(scan_chunked),
    "cpu": _cpu,
    "triton": _triton,
}
"""What runs a scan, by name."""

_HAS_TRITON = find_spec("triton") is not None

MANY = 1 << 15
"""Numbers in one token of all rows from which one pass of a kernel is faster than a dozen of PyTorch."""


def choose_backend(time: int, numbers: int, device: str, plain: bool) -> str:
    """What `backend="auto"` means.

    Args:
        time: tokens of the call; one token is a few operations of PyTorch, unless there are many rows.
        numbers: elements of what is scanned.
        device: type of the device; "cpu" and "cuda" have their fused kernels, "cuda" only where the package triton is
            installed; others run `chunked`.
        plain: whether it must be PyTorch's own operators (see `must_be_plain`).
    """
    if time == 1 and (plain or numbers < MANY):
        return "step"
    if plain:
        return "chunked"
    return {"cpu": "cpu", "cuda": "triton" if _HAS_TRITON else "chunked"}.get(device, "chunked")


def must_be_plain() -> bool:
    """A graph is being exported to where there are no kernels of ours, or torch.func transforms the call."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()
    return torch._C._are_functorch_transforms_active()


def check_device(backend: str, device: str) -> None:
    """Raises ValueError if `backend` is a fused kernel for another type of device than `device`."""
    if backend == "cpu" and device != "cpu":
        raise ValueError(f"backend 'cpu' needs a CPU tensor, got device {device!r}; use backend='auto'")
    if backend == "triton" and device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"backend 'triton' needs a CUDA tensor, got device {device!r}; use backend='auto'")


def attention_scan(
    scores: Scores,
    values: Values,
    state: ScanState | None = None,
    *,
    decay: Scores | None = None,
    padding_mask: PaddingMask | None = None,
    reset: Reset | None = None,
    backend: str = "auto",
) -> tuple[Values, ScanState]:
    """Softmax averages of `values` for every prefix: `outputs[:, t] = Σ_{i≤t} exp(s_i) v_i / Σ_{i≤t} exp(s_i)`.

    Args:
        scores: log weights of the tokens, per head; any finite number, or -inf for "no weight".
        values: what is averaged; finite wherever not masked (0 · inf is NaN, and a block of `chunked` multiplies
            the values of later tokens by 0).
        state: what was seen before, as an earlier call returned it; None = nothing. Never changed.
        decay: >= 0; before token t is consumed everything older loses `decay[:, t]` in log weight. None = the paper.
        padding_mask: True = the token does not exist (nor its decay and reset); its output is that of the prefix
            before it, and 0 if there is none.
        reset: True = forget everything before consuming this token.
        backend: a name in `BACKENDS`, or "auto". All of them are the same function.

    Returns:
        Outputs in the dtype of `values`, and the state after the last token. The sums are kept in the dtype of
        `state`, which is float32 or wider: give a float64 state to a stream of millions of tokens.

    Raises:
        ValueError: shapes that do not fit each other, a state narrower than float32, an unknown backend, a backend for
            another device.

    Source: Feng et al. 2024, section 3.2. `decay` and `reset` are extensions (the scan of RWKV-4 has the former).
    """
    _check(scores, values, state, decay, padding_mask, reset)
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {backend!r}")

    if state is None:
        dtype = torch.promote_types(torch.promote_types(scores.dtype, values.dtype), torch.float32)
        state = empty((scores.shape[0], scores.shape[2]), values.shape[3], scores.device, dtype)
    if backend == "auto":
        backend = choose_backend(values.shape[1], values.numel(), values.device.type, must_be_plain())
    check_device(backend, scores.device.type)
    return BACKENDS[backend](scores, values, decay, state, padding_mask, reset)


def _check(
    scores: Scores,
    values: Values,
    state: ScanState | None,
    decay: Scores | None,
    padding_mask: PaddingMask | None,
    reset: Reset | None,
) -> None:
    if scores.ndim != 3 or scores.shape[1] < 1:
        raise ValueError(f"scores must have shape (batch, time >= 1, heads), got {tuple(scores.shape)}")
    if values.ndim != 4 or values.shape[:3] != scores.shape:
        raise ValueError(
            f"values must have shape (*scores.shape, head_dim), got scores {tuple(scores.shape)} and values "
            f"{tuple(values.shape)}"
        )
    if not (scores.is_floating_point() and values.is_floating_point()):
        raise ValueError(f"scores and values must be floating point, got {scores.dtype} and {values.dtype}")
    if decay is not None and decay.shape != scores.shape:
        raise ValueError(f"decay must have the shape of scores, {tuple(scores.shape)}, got {tuple(decay.shape)}")
    check_flags("padding_mask", padding_mask, scores.shape[:2])
    check_flags("reset", reset, scores.shape[:2])
    if state is not None:
        check_state(state, (scores.shape[0], scores.shape[2]), values.shape[3])
