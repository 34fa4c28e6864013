"""Masked softmax written out in full, sharing no line with the library: what every form of the scan must equal."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aaren.ops.scan_state import ScanState


class Case(NamedTuple):
    scores: Tensor
    values: Tensor
    state: ScanState
    decay: Tensor
    padding_mask: Tensor
    reset: Tensor

    def inputs(self) -> list[Tensor]:
        """What gradients are taken to."""
        return [self.scores, self.values, self.decay, *self.state]


def make_case(
    seed: int,
    batch=2,
    time=17,
    heads=2,
    head_dim=3,
    *,
    scale=3.0,
    offset=0.0,
    decay_scale=0.5,
    p_mask=0.3,
    p_reset=0.1,
    seen=True,
) -> Case:
    """Random inputs in float64. Row 0 starts masked; the last row of three or more is masked throughout."""
    g = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    mask = torch.rand(batch, time, generator=g) < p_mask
    reset = torch.rand(batch, time, generator=g) < p_reset
    if p_mask:
        mask[0, : time // 3] = True
        if batch > 2:
            mask[-1] = True
    m = offset + scale * randn(batch, heads)
    u = 1 + randn(batch, heads).abs()
    w = u[..., None] * randn(batch, heads, head_dim)
    if not seen:
        m, u, w = torch.full_like(m, -math.inf), torch.zeros_like(u), torch.zeros_like(w)
    case = Case(
        offset + scale * randn(batch, time, heads),
        randn(batch, time, heads, head_dim),
        ScanState(m, u, w),
        decay_scale * randn(batch, time, heads).abs(),
        mask,
        reset,
    )
    for x in case.inputs():
        x.requires_grad_()
    return case


def softmax_of_every_prefix(case: Case) -> tuple[Tensor, ScanState]:
    """Outputs (B, T, H, D) and the final state, in the dtype of the inputs, by one dense softmax for each reader."""
    scores, values, state, decay, mask, reset = case
    dead, forget = mask[..., None], (reset & ~mask)[..., None]
    scores = torch.where(dead, 0.0, scores)
    values = torch.where(dead[..., None], 0.0, values)
    decay = torch.where(dead, 0.0, decay)
    has_state = state.u > 0
    carried_score = torch.where(has_state, state.m, 0.0) + torch.log(torch.where(has_state, state.u, 1.0))
    carried_value = state.w / torch.where(has_state, state.u, 1.0)[..., None]

    # One line for each reader: entry 0 is the carried state, entry 1 + i token i. Each token loses the decays of the
    # readers after it one by one, and is gone after a reset.
    time = scores.shape[1]
    entry = torch.arange(1 + time)
    current = torch.cat([carried_score[..., None], scores.transpose(1, 2)], dim=-1)
    alive = torch.cat([has_state[..., None], (~dead).transpose(1, 2).expand(-1, scores.shape[2], -1)], dim=-1)
    lines = []
    for t in range(time):
        older = entry <= t
        current = current - decay[:, t, :, None] * older
        alive = alive & ~(forget[:, t, :, None] & older)
        lines.append(current.masked_fill(~(alive & (entry <= t + 1)), -math.inf))
    L = torch.stack(lines, dim=-2)
    nothing = (L == -math.inf).all(-1, keepdim=True)
    p = torch.softmax(L.masked_fill(nothing, 0.0), dim=-1).masked_fill(nothing, 0.0)
    contents = torch.cat([carried_value[:, :, None], values.transpose(1, 2)], dim=2)
    outputs = (p @ contents).transpose(1, 2)

    # The state's maximum counts the carried state by its own m, not by m + log u.
    spread = torch.log(torch.where(has_state, state.u, 1.0))
    L = L[..., -1, :]
    exponents = torch.cat([L[..., :1] - spread[..., None], L[..., 1:]], dim=-1)
    m = exponents.amax(-1).detach()
    weights = torch.exp(L - torch.where(m == -math.inf, 0.0, m)[..., None])
    w = torch.einsum("bhi,bhid->bhd", weights, contents)
    return outputs, ScanState(m, weights.sum(-1), w)


def gradients(case: Case, outputs: Tensor, state: ScanState, seed: int = 0) -> list[Tensor]:
    """Into scores, values, decay and the incoming state, for random weights on outputs and final state."""
    g = torch.Generator().manual_seed(seed)
    results = [outputs, state.u, state.w]
    weights = [torch.randn(x.shape, generator=g, dtype=torch.float64).to(x.dtype) for x in results]
    # A state in an infinitely small unit of weight has no meaning: let empty averages have no say in u and w.
    seen = (state.u > 0).to(outputs.dtype)
    weights[1], weights[2] = weights[1] * seen, weights[2] * seen[..., None]
    grads = torch.autograd.grad(results, case.inputs(), weights, allow_unused=True)
    return [torch.zeros_like(x) if d is None else d for x, d in zip(case.inputs(), grads, strict=True)]
