"""What each operator of PyTorch is in C."""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aaren.export.c_kernels import KERNELS, Lowering
from aaren.export.c_program import C_TYPES, Lazy, Program, Value, View, literal

aten = torch.ops.aten

VIEWS = (
    *(aten.view.default, aten.permute.default, aten.unsqueeze.default, aten.squeeze.dims, aten.squeeze.dim),
    *(aten.select.int, aten.slice.Tensor, aten.expand.default, aten.split_with_sizes.default, aten.unfold.default),
    *(aten.t.default, aten.transpose.int, aten.unbind.int, aten.diagonal.default),
)
"""Other ways to count in the same memory."""

BITS = (aten.bitwise_not.default, aten.bitwise_and.Tensor, aten.bitwise_or.Tensor)

SAME = (
    aten.alias.default,
    aten.clone.default,
    aten.detach.default,
    aten._to_copy.default,
    aten.lift_fresh_copy.default,
)
"""The same numbers, perhaps of another type."""

ARITHMETIC = {
    aten.add.Tensor: "({0} + {1})",
    aten.add.Scalar: "({0} + {1})",
    aten.sub.Tensor: "({0} - {1})",
    aten.sub.Scalar: "({0} - {1})",
    aten.mul.Tensor: "({0} * {1})",
    aten.mul.Scalar: "({0} * {1})",
    aten.div.Tensor: "({0} / {1})",
    aten.div.Scalar: "({0} / {1})",
    aten.neg.default: "(-{0})",
    aten.abs.default: "fabs{f}({0})",
    aten.exp.default: "exp{f}({0})",
    aten.exp2.default: "exp2{f}({0})",
    aten.expm1.default: "expm1{f}({0})",
    aten.log.default: "log{f}({0})",
    aten.log1p.default: "log1p{f}({0})",
    aten.sqrt.default: "sqrt{f}({0})",
    aten.sin.default: "sin{f}({0})",
    aten.cos.default: "cos{f}({0})",
    aten.tanh.default: "tanh{f}({0})",
    aten.erf.default: "erf{f}({0})",
    aten.floor.default: "floor{f}({0})",
    aten.reciprocal.default: "(1 / {0})",
    aten.rsqrt.default: "(1 / sqrt{f}({0}))",
    aten.sigmoid.default: "(1 / (1 + exp{f}(-{0})))",
    aten.relu.default: "({0} <= 0 ? 0 : {0})",
    aten.maximum.default: "({0} > {1} || {0} != {0} ? {0} : {1})",
    aten.minimum.default: "({0} < {1} || {0} != {0} ? {0} : {1})",
}
"""All operands in the type of the result; {f} is the suffix of functions of float. No fmax, which is a call for
each number and loses NaN."""

COMPARISONS = {
    **{getattr(aten, name).Scalar: f"({{0}} {sign} {{1}})" for name, sign in
       [("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("eq", "=="), ("ne", "!=")]},
    **{getattr(aten, name).Tensor: f"({{0}} {sign} {{1}})" for name, sign in
       [("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("eq", "=="), ("ne", "!=")]},
    aten.isnan.default: "({0} != {0})",
    aten.logical_not.default: "(!{0})",
    aten.bitwise_not.default: "(!{0})",
    aten.logical_and.default: "({0} && {1})",
    aten.bitwise_and.Tensor: "({0} && {1})",
    aten.logical_or.default: "({0} || {1})",
    aten.bitwise_or.Tensor: "({0} || {1})",
}  # fmt: skip
"""The result is a truth value, the operands are in their common type."""

NOTHING = (aten._assert_tensor_metadata.default, aten._assert_scalar.default)
"""Checks that hold once the shapes are known."""


def lower(program: Program, target: Any, result: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """What a node of the graph computes.

    Args:
        program: takes the statements.
        target: the operator.
        result: a tensor, or several, with the shape and dtype of the result.
        arguments, keywords: values, numbers, lists.

    Raises:
        ValueError: there is no C for the operator.
    """
    if target in NOTHING:
        return None
    if isinstance(result, Tensor) and result.dtype not in C_TYPES:
        raise ValueError(f"numbers must be of a type that C has, got {result.dtype} from {target}; use another format")
    if target is operator.getitem:
        return arguments[0][arguments[1]]
    if target in VIEWS:
        return _view(program, target, arguments, keywords)
    if target in SAME:
        return program.cast(arguments[0], result.dtype)
    if target in ARITHMETIC:
        return _arithmetic(program, ARITHMETIC[target], result, arguments, keywords, result.dtype)
    if target in COMPARISONS:
        dtype = _common_type(arguments)
        if target in BITS and dtype != torch.bool:
            raise ValueError(f"{target} must be of truth values to have a form in C, got {dtype}; use another format")
        return _arithmetic(program, COMPARISONS[target], result, arguments, keywords, dtype)
    lowering = SPECIAL.get(target) or KERNELS.get(target)
    if lowering is not None:
        return lowering(program, result, *arguments, **keywords)
    raise ValueError(f"model must be made of operators that have a form in C, got {target}; use another format")


def _common_type(arguments: Sequence[Any]) -> torch.dtype:
    """What operands of different types are compared as."""
    dtypes = [a.dtype for a in arguments if isinstance(a, View | Lazy)]
    dtype = dtypes[0]
    for other in dtypes[1:]:
        dtype = torch.promote_types(dtype, other)
    if dtype == torch.bool and any(isinstance(a, int | float) and not isinstance(a, bool) for a in arguments):
        dtype = torch.int64
    fractions = any(isinstance(a, float) for a in arguments)
    return torch.float64 if fractions and not dtype.is_floating_point else dtype


def _operand(program: Program, value: Any, dtype: torch.dtype) -> Value | str:
    if not isinstance(value, View | Lazy):
        return literal(value, dtype)
    if isinstance(value, View) and value.buffer.data is not None and value.buffer.size == 1:
        return literal(value.buffer.data.item(), dtype)
    return program.cast(value, dtype)


def _arithmetic(
    program: Program, template: str, result: Tensor, arguments: Any, keywords: Any, dtype: torch.dtype
) -> Lazy:
    if keywords.get("alpha", 1) != 1:
        raise ValueError(f"alpha of a sum must be 1 to have a form in C, got {keywords['alpha']}; use another format")
    if result.dtype == torch.bool and dtype == torch.bool and any(sign in template for sign in "+-*/"):
        raise ValueError("sums must be of numbers to have a form in C, got truth values; use another format")
    repeated = len({id(a) for a in arguments}) < len(arguments) or template.count("{0}") > 1
    if repeated:  # not the same expression twice
        arguments = [program.computed(a) if isinstance(a, View | Lazy) else a for a in arguments]
    if dtype in (torch.int64, torch.bool) and "{f}" in template:
        raise ValueError(f"functions must be of real numbers to have a form in C, got {dtype}; use another format")
    template = template.replace("{f}", "f" if dtype == torch.float32 else "")
    operands = [_operand(program, a, dtype) for a in arguments]
    return program.elementwise(result.shape, result.dtype, template, operands)


def _view(program: Program, target: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
    view = program.computed(arguments[0])
    try:
        shaped = target(view.meta, *arguments[1:], **keywords)
    except RuntimeError:  # the order in memory does not allow it
        view = program.contiguous(view)
        shaped = target(view.meta, *arguments[1:], **keywords)
    if isinstance(shaped, Tensor):
        return View(view.buffer, shaped)
    return [View(view.buffer, part) for part in shaped]


def _where(program: Program, result: Tensor, condition: Value, one: Any, other: Any) -> Lazy:
    operands = [condition, _operand(program, one, result.dtype), _operand(program, other, result.dtype)]
    return program.elementwise(result.shape, result.dtype, "({0} ? {1} : {2})", operands)


def _clamp(program: Program, result: Tensor, x: Value, least: Any = None, most: Any = None, **bounds: Any) -> Value:
    for bound, sign in ((bounds.get("min", least), "<"), (bounds.get("max", most), ">")):
        if bound is not None:
            operands = [program.computed(x), literal(bound, result.dtype)]
            x = program.elementwise(result.shape, result.dtype, f"({{0}} {sign} {{1}} ? {{1}} : {{0}})", operands)
    return x


def _power(program: Program, result: Tensor, x: Value, exponent: float) -> Lazy:
    f = "f" if result.dtype == torch.float32 else ""
    x = program.computed(program.cast(x, result.dtype))
    template = "({0} * {0})" if exponent == 2 else f"pow{f}({{0}}, {literal(exponent, result.dtype)})"
    return program.elementwise(result.shape, result.dtype, template, [x])


def _gelu(program: Program, result: Tensor, x: Value, *, approximate: str = "none") -> Lazy:
    if approximate != "none":
        raise ValueError(f"gelu must be exact to have a form in C, got {approximate}; use another format")
    f = "f" if result.dtype == torch.float32 else ""
    half, root = literal(0.5, result.dtype), literal(0.5**0.5, result.dtype)
    template = f"({half} * {{0}} * (1 + erf{f}({{0}} * {root})))"
    return program.elementwise(result.shape, result.dtype, template, [program.computed(x)])


def _remainder(program: Program, result: Tensor, x: Any, divisor: Any) -> Lazy:
    a, b = (_operand(program, one, result.dtype) for one in (x, divisor))
    a, b = (program.computed(one) if isinstance(one, Lazy) else one for one in (a, b))
    if result.dtype == torch.int64:
        template = "(({0} % {1} + {1}) % {1})"
    else:
        name = "fmodf" if result.dtype == torch.float32 else "fmod"
        rest = program.elementwise(result.shape, result.dtype, f"{name}({{0}}, {{1}})", [a, b])
        a, template = program.computed(rest), "({0} != 0 && ({0} < 0) != ({1} < 0) ? {0} + {1} : {0})"
    return program.elementwise(result.shape, result.dtype, template, [a, b])


def _full(program: Program, result: Tensor, *arguments: Any, **_: Any) -> Lazy:
    value = arguments[-1]
    return program.elementwise(result.shape, result.dtype, literal(value, result.dtype), [])


def _scalar(program: Program, result: Tensor, value: Any, **_: Any) -> Lazy:
    return program.elementwise((), result.dtype, literal(value, result.dtype), [])


def _cat(program: Program, result: Tensor, parts: Sequence[Value], dim: int = 0) -> View:
    out = program.scratch(result.shape, result.dtype)
    start = 0
    for part in parts:
        if 0 in part.shape:
            continue
        target = View(out.buffer, out.meta.narrow(dim, start, part.shape[dim]))
        program.assign(target, program.cast(part, result.dtype))
        start += part.shape[dim]
    return out


SPECIAL: dict[Any, Lowering] = {
    aten.where.self: _where,
    aten.clamp.default: _clamp,
    aten.pow.Tensor_Scalar: _power,
    aten.remainder.Tensor: _remainder,
    aten.remainder.Scalar: _remainder,
    aten.full.default: _full,
    aten.full_like.default: _full,
    aten.scalar_tensor.default: _scalar,
    aten.cat.default: _cat,
    aten.gelu.default: _gelu,
}
