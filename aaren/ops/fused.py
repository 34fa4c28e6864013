"""Fused kernels as operators of PyTorch: fake results for `torch.compile`, and the backward pass as an operator too."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aaren.ops.scan_state import ScanState

library = torch.library.Library("aaren", "DEF")

Six = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Three = tuple[Tensor, Tensor, Tensor]
Two = tuple[Tensor, Tensor]


def attention_operator(
    name: str, forward: Callable[..., Six], backward: Callable[..., Six], *, mixed: bool = False
) -> Callable[..., Any]:
    """A backend of `attention_scan` that runs these kernels, as operators `aaren::NAME` and `aaren::NAME_backward`.

    Args:
        name: of the operator.
        forward: (scores, values, decay, padding_mask, reset, m, u, w) to outputs, the new m, u, w, in memory of their
            own, and what the way back needs: gain and keep (B, T, H) in the dtype of the state.
        backward: (values, outputs, gain, keep, padding_mask, u0, w0, u, d_outputs, d_u, d_w, with_decay, with_state)
            to the gradients into scores, values, decay, m, u, w, those into scores and decay in the dtype of the gates;
            u0 and w0 are of the incoming state, u of the outgoing one, d_u and d_w may be None. Gradients not asked
            for are tensors without elements.
        mixed: the kernels read scores, values and decay of any dtypes. Else all have one, float32 or float64.
    """

    def fake(scores, values, decay, padding_mask, reset, m, u, w):
        return _like(values), _like(m), _like(u), _like(w), _like(scores, u.dtype), _like(scores, u.dtype)

    def fake_backward(
        values, outputs, gain, keep, padding_mask, u0, w0, u, d_outputs, d_u, d_w, with_decay, with_state
    ):
        d_decay = _like(gain) if with_decay else gain.new_empty((0, 0, 0))
        d_state = (_like(u0), _like(u0), _like(w0)) if with_state else (w0.new_empty(0) for _ in range(3))
        return _like(gain), _like(values), d_decay, *d_state

    def remember(ctx, inputs, output):
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
        d_scores, d_values, d_decay, *d_state = run_backward(
            values, outputs, *rest, d_outputs, d_u, d_w, ctx.with_decay, ctx.with_state
        )
        decay, state = d_decay if ctx.with_decay else None, d_state if ctx.with_state else (None, None, None)
        return d_scores, d_values, decay, None, None, *state

    run_backward = _define(f"{name}_backward", backward, fake_backward)
    run = _differentiable(name, forward, fake, remember, differentiate)

    def scan(scores, values, decay, state, padding_mask, reset):
        out_dtype = values.dtype
        if not mixed:
            dtype = _arithmetic(scores, values)
            scores, values = scores.to(dtype), values.to(dtype)
            decay = None if decay is None else decay.to(_arithmetic(decay))  # it may be finer: kernels read any
        outputs, m, u, w, _, _ = run(scores, values, decay, padding_mask, reset, *state)
        return outputs.to(out_dtype), ScanState(m, u, w)

    return scan


def into_state(G: Tensor, C: Tensor, u0: Tensor, w0: Tensor) -> Three:
    """Gradients into m, u, w of the incoming state, from keep_0 G_0 and keep_0 C_0 (see `cpu.py` for both)."""
    # The state stands for (u eᵐ, w eᵐ): what it weighs is spread over its three parts.
    unit = torch.where(u0 > 0, 1.0 / u0, 0.0)
    d_u0, d_w0 = -C * unit, G * unit[..., None]
    return u0 * d_u0 + (w0 * d_w0).sum(-1), d_u0, d_w0


def linear_operator(
    name: str, forward: Callable[..., Two], backward: Callable[..., Three], *, mixed: bool = False
) -> Callable[..., Any]:
    """A backend of `linear_scan` that runs these kernels, as operators `aaren::NAME` and `aaren::NAME_backward`.

    Args:
        name: of the operator.
        forward: (a, b, padding_mask, reset, h0) to the outputs in the dtype of b and the last h in that of h0.
        backward: (a, outputs, padding_mask, reset, h0, d_outputs, d_h) to the gradients into a, b and h0; d_h may be
            None.
        mixed: the kernels read a and b of any dtypes. Else both have one, float32 or float64.
    """

    def fake(a, b, padding_mask, reset, h0):
        return _like(b), _like(h0)

    def fake_backward(a, outputs, padding_mask, reset, h0, d_outputs, d_h):
        return _like(a), _like(outputs), _like(h0)

    def remember(ctx, inputs, output):
        a, _, padding_mask, reset, h0 = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, output[0], padding_mask, reset, h0)

    def differentiate(ctx, d_outputs, d_h):
        a, outputs, *rest = ctx.saved_tensors
        if d_outputs is None:
            d_outputs = torch.zeros_like(outputs)
        d_a, d_b, d_h0 = run_backward(a, outputs, *rest, d_outputs, d_h)
        return d_a, d_b, None, None, d_h0

    run_backward = _define(f"{name}_backward", backward, fake_backward)
    run = _differentiable(name, forward, fake, remember, differentiate)

    def scan(a, b, state, padding_mask, reset):
        out_dtype = b.dtype
        if not mixed:
            dtype = _arithmetic(a, b)
            a, b = a.to(dtype), b.to(dtype)
        h, state = run(a, b, padding_mask, reset, state)
        return h.to(out_dtype), state

    return scan


def _define(name: str, function: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """The operator `aaren::NAME`, its types those of the function's annotations."""
    library.define(name + torch.library.infer_schema(function, mutates_args=()))
    library.impl(name, function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"aaren::{name}", fake, lib=library)
    return getattr(torch.ops.aaren, name)


def _differentiable(name: str, kernel, fake, remember, differentiate) -> Callable[..., Any]:
    operator = _define(name, kernel, fake)
    once: Any = once_differentiable(differentiate)  # or a second derivative would silently be wrong
    torch.library.register_autograd(f"aaren::{name}", once, setup_context=remember, lib=library)

    class Fused(torch.autograd.Function):
        """What autograd does with the operator, 40 µs faster a call."""

        @staticmethod
        def forward(ctx, *inputs):
            results = kernel(*inputs)
            remember(ctx, inputs, results)
            return results

        backward = staticmethod(once)

    return lambda *inputs: (operator if torch.compiler.is_compiling() else Fused.apply)(*inputs)


def _arithmetic(*tensors: Tensor) -> torch.dtype:
    """The dtype kernels compute in: float32 for half precision."""
    dtype = reduce(torch.promote_types, (x.dtype for x in tensors))
    return torch.float32 if dtype.itemsize < 4 else dtype


def _like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format)
