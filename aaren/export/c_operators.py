"""What each operator of PyTorch is in C."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aaren.export.c_program import C_TYPES, Lazy, Program, Value, View, index, literal, loops
from aaren.export.int8 import as_int8

aten = torch.ops.aten

Lowering = Callable[..., Any]
"""(program, result, *arguments) -> value, or several; `result` has the shape and dtype of the result."""

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
    if target is operator.getitem:
        return arguments[0][arguments[1]]
    if target in VIEWS:
        return _view(program, target, arguments, keywords)
    if target in SAME:
        return _cast(program, arguments[0], result.dtype)
    if target in ARITHMETIC:
        return _arithmetic(program, ARITHMETIC[target], result, arguments, keywords, result.dtype)
    if target in COMPARISONS:
        dtype = _common_type(arguments)
        if target in BITS and dtype != torch.bool:
            raise ValueError(f"{target} must be of truth values to have a form in C, got {dtype}; use another format")
        return _arithmetic(program, COMPARISONS[target], result, arguments, keywords, dtype)
    if target in SPECIAL:
        return SPECIAL[target](program, result, *arguments, **keywords)
    raise ValueError(f"model must be made of operators that have a form in C, got {target}; use another format")


def _common_type(arguments: Sequence[Any]) -> torch.dtype:
    """What operands of different types are compared as."""
    dtypes = [a.dtype for a in arguments if isinstance(a, View | Lazy)]
    dtype = dtypes[0]
    for other in dtypes[1:]:
        dtype = torch.promote_types(dtype, other)
    fractions = any(isinstance(a, float) for a in arguments)
    return torch.float64 if fractions and not dtype.is_floating_point else dtype


def _operand(program: Program, value: Any, dtype: torch.dtype) -> Value | str:
    if not isinstance(value, View | Lazy):
        return literal(value, dtype)
    if isinstance(value, View) and value.buffer.data is not None and value.buffer.size == 1:
        return literal(value.buffer.data.item(), dtype)
    return _cast(program, value, dtype)


def _cast(program: Program, value: Value, dtype: torch.dtype) -> Value:
    if value.dtype == dtype:
        return value
    template = "({0} != 0)" if dtype == torch.bool else f"({C_TYPES[dtype]})({{0}})"
    return program.elementwise(value.shape, dtype, template, [value])


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
    x = program.computed(_cast(program, x, result.dtype))
    template = "({0} * {0})" if exponent == 2 else f"pow{f}({{0}}, {literal(exponent, result.dtype)})"
    return program.elementwise(result.shape, result.dtype, template, [x])


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
        program.assign(target, _cast(program, part, result.dtype))
        start += part.shape[dim]
    return out


def _linear(program: Program, result: Tensor, x: Value, weight: View, bias: Value | None) -> View:
    """x (rows, in) times a constant (in, out) that lies row by row, as the loop over outputs is the inner one."""
    data = weight.buffer.data
    assert data is not None
    matrix = data.as_strided(weight.shape, weight.meta.stride(), int(weight.meta.storage_offset()))
    parts = as_int8(matrix.T)
    if parts is not None:
        packed, scale, kind = program.constant(parts.whole.T), [program.constant(parts.scale)], "linear_int8"
    else:
        packed, scale = program.constant(matrix), []
        kind = "linear" if result.dtype == torch.float32 else "linear_double"
    x, out = program.contiguous(x), program.scratch(result.shape, result.dtype)
    b = None if bias is None else program.contiguous(bias)
    if b is not None and len(b.shape) != 1:
        raise ValueError(f"bias must be a vector, got shape {b.shape}")
    (rows, inputs), outputs = x.shape, packed.shape[1]
    program.helpers.add(kind)
    names = ", ".join(["0" if one is None else _start(one) for one in (x, packed, *scale, b, out)])
    reads = [x, packed, *scale, *([] if b is None else [b])]
    program.emit(f"{kind}({names}, {rows}, {inputs}, {outputs});", reads, [out])
    return out


def _addmm(
    program: Program, result: Tensor, bias: Value, x: Value, weight: Value, *, beta: float = 1, alpha: float = 1
) -> Value:
    if (beta, alpha) != (1, 1):
        raise ValueError(f"beta and alpha must be 1 to have a form in C, got {beta} and {alpha}; use another format")
    if isinstance(weight, View) and weight.buffer.place == "constant" and bias.shape == result.shape[1:]:
        return _linear(program, result, x, weight, bias)
    return program.elementwise(result.shape, result.dtype, "({0} + {1})", [bias, _mm(program, result, x, weight)])


def _mm(program: Program, result: Tensor, x: Value, y: Value) -> View:
    if isinstance(y, View) and y.buffer.place == "constant":
        return _linear(program, result, x, y, None)
    return _product(program, result, program.computed(x), program.computed(y))


def _bmm(program: Program, result: Tensor, x: Value, y: Value) -> View:
    x, y = program.computed(x), program.computed(y)
    if x.shape[0] == 1 or y.meta.stride(0) == 0:  # one matrix for all
        flat = program.contiguous(x)
        flat = View(flat.buffer, flat.meta.flatten(0, 1))
        one = View(y.buffer, y.meta[0])
        if one.buffer.place == "constant":
            out = _linear(program, result.flatten(0, 1), flat, one, None)
            return View(out.buffer, out.meta.view(result.shape))
    return _product(program, result, x, y)


def _product(program: Program, result: Tensor, x: View, y: View) -> View:
    """Matrices that are both computed, (..., m, k) times (..., k, n)."""
    out = program.scratch(result.shape, result.dtype)
    axes = len(result.shape)
    batch, size = list(range(axes - 2)), x.shape[-1]

    def strides(view: View, places: Sequence[int]) -> str:
        every = [view.meta.stride(a) if view.shape[a] > 1 else 0 for a in batch]
        terms = [f"{s} * i{a}" for a, s in zip(batch, every, strict=True) if s]
        terms += [f"{view.meta.stride(axis)} * {name}" for axis, name in places]  # type: ignore[misc]
        return " + ".join([*terms, str(int(view.meta.storage_offset()))])

    row, column = f"i{axes - 2}", f"i{axes - 1}"
    row, column = (row if result.shape[-2] > 1 else "0"), (column if result.shape[-1] > 1 else "0")
    a = f"{x.buffer.name}[{strides(x, [(-2, row), (-1, 'k')])}]"  # type: ignore[list-item]
    b = f"{y.buffer.name}[{strides(y, [(-2, 'k'), (-1, column)])}]"  # type: ignore[list-item]
    o = f"{out.buffer.name}[{strides(out, [(-2, row), (-1, column)])}]"  # type: ignore[list-item]
    c_type = C_TYPES[result.dtype]
    body = f"{c_type} sum = 0; for (int k = 0; k < {size}; k++) {{ sum += {a} * {b}; }} {o} = sum;"
    program.emit(loops(result.shape, f"{{ {body} }}"), [x, y], [out])
    return out


def _layer_norm(
    program: Program,
    result: Any,
    x: Value,
    shape: Sequence[int],
    weight: Value | None,
    bias: Value | None,
    epsilon: float,
) -> list[View | None]:
    if weight is None or bias is None:
        raise ValueError("LayerNorm must have weight and bias to have a form in C, got one without; use another format")
    x, weight, bias = program.contiguous(x), program.contiguous(weight), program.contiguous(bias)
    out = program.scratch(result[0].shape, result[0].dtype)
    width = math.prod(shape)
    rows = out.meta.numel() // width
    kind = "norm" if result[0].dtype == torch.float32 else "norm_double"
    program.helpers.add(kind)
    names = ", ".join(_start(one) for one in (x, weight, bias, out))
    program.emit(f"{kind}({names}, {rows}, {width}, {literal(epsilon, result[0].dtype)});", [x, weight, bias], [out])
    return [out, None, None]


def _cumsum(program: Program, result: Tensor, x: Value, dim: int) -> Value:
    x = _cast(program, x, result.dtype)
    if x.shape[dim] == 1:
        return x
    out, x = program.scratch(result.shape, result.dtype), program.computed(x)

    def at(view: View, shift: int) -> str:
        offset = int(view.meta.storage_offset()) + shift * view.meta.stride(dim)
        return f"{view.buffer.name}[{index(_strides(view), offset)}]"

    axis = dim % len(x.shape)
    before = f"(i{axis} ? {at(out, -1)} : 0)"
    program.emit(loops(x.shape, f"{at(out, 0)} = {before} + {at(x, 0)};"), [x], [out])
    return out


def _reduce(start: str, body: str, finish: str = "") -> Lowering:
    def lowering(program: Program, result: Tensor, x: Value, dims: Any = None, keepdim: bool = False, **_: Any) -> View:
        x = program.computed(_cast(program, x, result.dtype))
        dims = range(len(x.shape)) if not dims and dims != 0 else [dims] if isinstance(dims, int) else dims
        gone = {dim % len(x.shape) for dim in dims}
        kept = [1 if axis in gone else size for axis, size in enumerate(x.shape)]
        out = program.scratch(kept, result.dtype)
        element = f"{x.buffer.name}[{index(_strides(x), int(x.meta.storage_offset()))}]"
        inner = loops([s if a in gone else 1 for a, s in enumerate(x.shape)], body.format(element))
        count = x.meta.numel() // out.meta.numel()
        target = f"{out.buffer.name}[{index(_strides(out), 0)}]"
        code = f"{C_TYPES[result.dtype]} r = {start}; {inner} {target} = r{finish.format(count)};"
        program.emit(loops(kept, f"{{ {code} }}"), [x], [out])
        return View(out.buffer, torch.empty(result.shape, dtype=result.dtype, device="meta"))

    return lowering


def _strides(view: View) -> list[int]:
    """Strides, 0 where there is only one index: `loops` has no variable for it."""
    return [s if size > 1 else 0 for s, size in zip(view.meta.stride(), view.shape, strict=True)]


def _softmax(program: Program, result: Tensor, x: Value, dim: int, half: bool) -> View:
    axes = len(result.shape)
    if dim % axes != axes - 1:
        raise ValueError(f"softmax must be over the last axis, got {dim}")
    x, out = program.contiguous(_cast(program, x, result.dtype)), program.scratch(result.shape, result.dtype)
    rows, width = out.meta.numel() // out.shape[-1], out.shape[-1]
    name = "softmax" + ("" if result.dtype == torch.float32 else "_double")
    program.helpers.add(name)
    program.emit(f"{name}({_start(x)}, {_start(out)}, {rows}, {width});", [x], [out])
    return out


def _start(view: View) -> str:
    offset = int(view.meta.storage_offset())
    return view.buffer.name + (f" + {offset}" if offset else "")


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
    aten.addmm.default: _addmm,
    aten.mm.default: _mm,
    aten.bmm.default: _bmm,
    aten.native_layer_norm.default: _layer_norm,
    aten.cumsum.default: _cumsum,
    aten._softmax.default: _softmax,
    aten.sum.dim_IntList: _reduce("0", "r += {0};"),
    aten.mean.dim: _reduce("0", "r += {0};", " / {0}"),
    aten.any.dim: _reduce("0", "r = r || {0};"),
    aten.amax.default: _reduce("-INFINITY", "r = {0} > r || {0} != {0} ? {0} : r;"),
}
