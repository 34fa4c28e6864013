"""The idea of the library: softmax attention is a fold of one associative operator.

Paper: Feng et al. 2024, "Attention as an RNN", section 3 (recurrence in 3.1, operator in 3.2). The initial state
differs on purpose: the paper starts from m = 0, which gives 0/0 once every score is very negative.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class ScanState(NamedTuple):
    """The softmax average of the tokens seen so far, as three sums that can be joined.

    With scores s_i and values v_i: `m = max s_i`, `u = Σ exp(s_i - m)`, `w = Σ exp(s_i - m) v_i`; the average is w / u.
    `m` only keeps the other two in range, like the exponent of a floating-point number: the state stands for
    (u·eᵐ, w·eᵐ). It therefore carries no gradient out of an operation; `u` and `w` carry all of it.
    """

    m: Float[Tensor, "*rows"]
    u: Float[Tensor, "*rows"]
    w: Float[Tensor, "*rows D"]


def combine(a: ScanState, b: ScanState) -> ScanState:
    """The operator ⊕: the state of a's tokens followed by b's. Associative, with `empty` as its identity."""
    m = torch.maximum(a.m, b.m).detach()
    # -inf - -inf would be NaN; from any finite shift an empty side scales by exp(-inf) = 0.
    shift = m.clamp(min=torch.finfo(m.dtype).min)
    scale_a, scale_b = torch.exp(a.m - shift), torch.exp(b.m - shift)
    u = a.u * scale_a + b.u * scale_b
    w = a.w * scale_a[..., None] + b.w * scale_b[..., None]
    return ScanState(m, u, w)


def empty(
    rows: tuple[int, ...],
    head_dim: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ScanState:
    """The state that has seen nothing, (-inf, 0, 0), for `rows` independent averages."""
    m = torch.full(rows, -math.inf, device=device, dtype=dtype)
    u = torch.zeros(rows, device=device, dtype=dtype)
    return ScanState(m, u, torch.zeros((*rows, head_dim), device=device, dtype=dtype))


def leaf(scores: Float[Tensor, "*rows"], values: Float[Tensor, "*rows D"]) -> ScanState:
    """The state of one token. With a score of -inf it is an identity of ⊕, if the value is finite."""
    return ScanState(scores, (scores != -math.inf).to(scores.dtype), values)


def age(state: ScanState, decay: Float[Tensor, "*rows"]) -> ScanState:
    """Everything seen so far loses `decay` (>= 0) in log weight; an infinite decay forgets it."""
    m = state.m - decay
    # A small decay is lost in the digits of a large m, every time anew: what m could not take goes into the sums.
    rest = torch.exp(torch.where(m == -math.inf, 0.0, (state.m - m) - decay))
    return ScanState(m, state.u * rest, state.w * rest[..., None])


def readout(state: ScanState) -> Float[Tensor, "*rows D"]:
    """The average w / u, and 0 where nothing has been seen."""
    return state.w / torch.where(state.u > 0, state.u, 1.0)[..., None]


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Keeps autocast from running the sums in half precision; nothing where autocast is off."""
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def check_state(state: ScanState, rows: tuple[int, ...], head_dim: int) -> None:
    """Raises ValueError unless `state` has leaves of these shapes, in one dtype of at least float32."""
    expected = (rows, rows, (*rows, head_dim))
    if tuple(tuple(x.shape) for x in state) != expected:
        got = tuple(tuple(x.shape) for x in state)
        raise ValueError(f"state must have m, u, w of shapes {expected}, got {got}")
    if {x.dtype for x in state} not in ({torch.float32}, {torch.float64}):
        got = ", ".join(str(x.dtype) for x in state)
        raise ValueError(f"state must be all float32 or all float64 (sums in less stop growing), got {got}")
