"""Fused kernels as operators of PyTorch: fake results for `torch.compile`, and the backward pass as an operator too."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aaren.ops.scan_state import ScanState
from aaren.shapes import PaddingMask, Reset, Scores, Values


class Results(NamedTuple):
    """Of a forward kernel. `gain` and `keep`, in the dtype of the state, are what the way back needs."""

    outputs: Values
    m: Tensor
    u: Tensor
    w: Tensor
    gain: Scores
    keep: Scores


class Gradients(NamedTuple):
    """Of a backward kernel, into the inputs of the forward one. Without decay, `decay` has no elements."""

    scores: Scores
    values: Values
    decay: Tensor
    m: Tensor
    u: Tensor
    w: Tensor


Forward = Callable[
    [Scores, Values, Scores | None, PaddingMask | None, Reset | None, Tensor, Tensor, Tensor], tuple[Tensor, ...]
]
Backward = Callable[..., tuple[Tensor, ...]]
FusedScan = Callable[
    [Scores, Values, Scores | None, ScanState, PaddingMask | None, Reset | None], tuple[Values, ScanState]
]

_library = torch.library.Library("aaren", "DEF")


def register_fused(name: str, forward: Forward, backward: Backward) -> FusedScan:
    """The scan that runs these kernels, as the operators `aaren::NAME` and `aaren::NAME_backward`.

    Args:
        name: of the operator.
        forward: (scores, values, decay, padding_mask, reset, m, u, w) to the six `Results`, whose state shares no
            memory with the incoming one.
        backward: (values, outputs, gain, keep, padding_mask, u0, w0, u, d_outputs, d_u, d_w, with_decay, with_state)
            to the six `Gradients`; u0 and w0 are of the incoming state, u of the outgoing one; d_u and d_w may be None.
    """
    state = "Tensor m, Tensor u, Tensor w"
    _library.define(
        f"{name}(Tensor scores, Tensor values, Tensor? decay, Tensor? padding_mask, Tensor? reset, {state})"
        " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
    )
    _library.define(
        f"{name}_backward(Tensor values, Tensor outputs, Tensor gain, Tensor keep, Tensor? padding_mask, Tensor u0,"
        " Tensor w0, Tensor u, Tensor d_outputs, Tensor? d_u, Tensor? d_w, bool with_decay, bool with_state)"
        " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
    )
    _library.impl(name, forward, "CompositeExplicitAutograd")
    _library.impl(f"{name}_backward", backward, "CompositeExplicitAutograd")
    operator, operator_backward = getattr(torch.ops.aaren, name), getattr(torch.ops.aaren, f"{name}_backward")

    @torch.library.register_fake(f"aaren::{name}", lib=_library)
    def _(scores, values, decay, padding_mask, reset, m, u, w):
        return _like(values), _like(m), _like(u), _like(w), _like(scores, u.dtype), _like(scores, u.dtype)

    @torch.library.register_fake(f"aaren::{name}_backward", lib=_library)
    def _(values, outputs, gain, keep, padding_mask, u0, w0, u, d_outputs, d_u, d_w, with_decay, with_state):
        d_scores = _like(gain, values.dtype)
        d_decay = _like(d_scores) if with_decay else values.new_empty((0, 0, 0))
        d_state = (_like(u0), _like(u0), _like(w0)) if with_state else (w0.new_empty(0) for _ in range(3))
        return d_scores, _like(values), d_decay, *d_state

    def setup_context(ctx, inputs, output):
        _, values, decay, padding_mask, _, _, u0, w0 = inputs
        outputs, m, u, _, gain, keep = output
        ctx.with_decay = decay is not None
        ctx.with_state = any(ctx.needs_input_grad[5:])
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(m, gain, keep)  # m only scales u and w: see ScanState
        ctx.save_for_backward(values, outputs, gain, keep, padding_mask, u0, w0, u)

    def differentiate(ctx, d_outputs, d_m, d_u, d_w, d_gain, d_keep):
        values, outputs, *rest = ctx.saved_tensors
        if d_outputs is None:
            d_outputs = torch.zeros_like(outputs)
        d_scores, d_values, d_decay, *d_state = operator_backward(
            values, outputs, *rest, d_outputs, d_u, d_w, ctx.with_decay, ctx.with_state
        )
        decay, state = d_decay if ctx.with_decay else None, d_state if ctx.with_state else (None, None, None)
        return d_scores, d_values, decay, None, None, *state

    torch.library.register_autograd(f"aaren::{name}", differentiate, setup_context=setup_context, lib=_library)

    class Fused(torch.autograd.Function):
        """What autograd does with the operator, 30 µs faster a call."""

        @staticmethod
        def forward(ctx, *inputs):
            output = operator(*inputs)
            setup_context(ctx, inputs, output)
            return output

        backward = staticmethod(differentiate)

    def scan(scores, values, decay, state, padding_mask, reset):
        run = operator if torch.compiler.is_compiling() else Fused.apply
        dtype = torch.promote_types(scores.dtype, values.dtype)
        if dtype.itemsize < 4:  # arithmetic in float32
            dtype = torch.float32
        decay = None if decay is None else decay.to(dtype)
        outputs, m, u, w, _, _ = run(scores.to(dtype), values.to(dtype), decay, padding_mask, reset, *state)
        return outputs.to(values.dtype), ScanState(m, u, w)

    return scan


def _like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format)
