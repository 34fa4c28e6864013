"""Operators that are more than an expression for each element: products, norms, sums along axes."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aaren.export.c_program import C_TYPES, Program, Value, View, index, literal, loops
from aaren.export.int8 import as_int8

HELPERS = {
    "linear": """\
static void NAME(const REAL *x, const WEIGHT *w, const REAL *b, REAL *restrict y, int rows, int inputs, int outputs)
{
    /* Four inputs at a time: the loop over outputs is one that compilers turn into vector instructions. */
    for (int row = 0; row < rows; row++, x += inputs, y += outputs) {
        const WEIGHT *from = w;
        int k = 0;
        for (int j = 0; j < outputs; j++) { y[j] = 0; }
        for (; k + 4 <= inputs; k += 4, from += 4 * outputs) {
            const REAL x0 = x[k], x1 = x[k + 1], x2 = x[k + 2], x3 = x[k + 3];
            const WEIGHT *w0 = from, *w1 = w0 + outputs, *w2 = w1 + outputs, *w3 = w2 + outputs;
            for (int j = 0; j < outputs; j++) {
                y[j] += (x0 * (REAL)w0[j] + x1 * (REAL)w1[j]) + (x2 * (REAL)w2[j] + x3 * (REAL)w3[j]);
            }
        }
        for (; k < inputs; k++, from += outputs) {
            for (int j = 0; j < outputs; j++) { y[j] += x[k] * (REAL)from[j]; }
        }
        for (int j = 0; j < outputs; j++) { y[j] = SCALED + (b ? b[j] : 0); }
    }
}
""",
    "norm": """\
static void NAME(const REAL *x, const REAL *w, const REAL *b, REAL *y, int rows, int n, REAL epsilon)
{
    for (int row = 0; row < rows; row++, x += n, y += n) {
        REAL mean = 0, variance = 0;
        for (int i = 0; i < n; i++) { mean += x[i]; }
        mean /= (REAL)n;
        for (int i = 0; i < n; i++) { variance += (x[i] - mean) * (x[i] - mean); }
        const REAL scale = 1 / ROOT(variance / (REAL)n + epsilon);
        for (int i = 0; i < n; i++) { y[i] = (x[i] - mean) * scale * w[i] + b[i]; }
    }
}
""",
    "softmax": """\
static void NAME(const REAL *x, REAL *y, int rows, int n)
{
    for (int row = 0; row < rows; row++, x += n, y += n) {
        REAL most = x[0], sum = 0;
        for (int i = 1; i < n; i++) { most = x[i] > most ? x[i] : most; }
        for (int i = 0; i < n; i++) { y[i] = EXP(x[i] - most); sum += y[i]; }
        for (int i = 0; i < n; i++) { y[i] /= sum; }
    }
}
""",
    "logsoftmax": """\
static void NAME(const REAL *x, REAL *y, int rows, int n)
{
    for (int row = 0; row < rows; row++, x += n, y += n) {
        REAL most = x[0], sum = 0;
        for (int i = 1; i < n; i++) { most = x[i] > most ? x[i] : most; }
        for (int i = 0; i < n; i++) { sum += EXP(x[i] - most); }
        for (int i = 0; i < n; i++) { y[i] = x[i] - most - LOG(sum); }
    }
}
""",
}


Lowering = Callable[..., Any]
"""(program, result, *arguments) -> value, or several; `result` has the shape and dtype of the result."""


def helper(kind: str) -> str:
    """The function of a kind that a program calls."""
    form, _, variant = kind.partition("_")
    real, f = ("double", "") if variant == "double" else ("float", "f")
    text = (
        HELPERS[form]
        .replace("NAME", kind)
        .replace("EXP", f"exp{f}")
        .replace("ROOT", f"sqrt{f}")
        .replace("LOG", f"log{f}")
    )
    if variant == "int8":
        text = text.replace("const REAL *b,", "const REAL *scale, const REAL *b,")
        text = text.replace("WEIGHT", "signed char").replace("SCALED", "y[j] * scale[j]")
    return text.replace("WEIGHT", real).replace("SCALED", "y[j]").replace("REAL", real)


def _linear(program: Program, result: Tensor, x: Value, weight: View, bias: Value | None) -> View:
    """x (rows, in) times a constant (in, out) that lies row by row, as the loop over outputs is the inner one."""
    _check_real(result)
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
    _check_real(result)
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


def _embedding(program: Program, result: Tensor, table: View, places: Value, *_: Any) -> View:
    """A row of a constant for each place."""
    data = table.buffer.data
    assert data is not None
    places, out = program.contiguous(places), program.scratch(result.shape, result.dtype)
    parts, rows, width = as_int8(data), places.meta.numel(), result.shape[-1]
    row = f"{places.buffer.name}[{int(places.meta.storage_offset())} + i0]"
    scale: list[View] = []
    if parts is not None:
        table, scale = program.constant(parts.whole), [program.constant(parts.scale)]
    times = "".join(f" * {one.buffer.name}[{row}]" for one in scale)
    code = f"{out.buffer.name}[{width} * i0 + j] = {table.buffer.name}[{width} * {row} + j]{times};"
    body = f"for (int j = 0; j < {width}; j++) {{ {code} }}"
    program.emit(f"for (int i0 = 0; i0 < {rows}; i0++) {{ {body} }}", [table, places, *scale], [out])
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
    x = program.cast(x, result.dtype)
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
        x = program.computed(program.cast(x, result.dtype))
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


def _softmax(program: Program, result: Tensor, x: Value, dim: int, half: bool, *, form: str = "softmax") -> View:
    axes = len(result.shape)
    if dim % axes != axes - 1:
        raise ValueError(f"softmax must be over the last axis, got {dim}")
    x, out = program.contiguous(program.cast(x, result.dtype)), program.scratch(result.shape, result.dtype)
    rows, width = out.meta.numel() // out.shape[-1], out.shape[-1]
    name = form + ("" if result.dtype == torch.float32 else "_double")
    program.helpers.add(name)
    program.emit(f"{name}({_start(x)}, {_start(out)}, {rows}, {width});", [x], [out])
    return out


def _start(view: View) -> str:
    offset = int(view.meta.storage_offset())
    return view.buffer.name + (f" + {offset}" if offset else "")


def _check_real(result: Tensor) -> None:
    if not result.dtype.is_floating_point:
        raise ValueError(f"a product of matrices must be of real numbers to have a form in C, got {result.dtype}")


def _largest(program: Program, result: Tensor, x: Value, dims: Any = None, keepdim: bool = False) -> View:
    if not result.dtype.is_floating_point:
        raise ValueError(f"amax must be of real numbers to have a form in C, got {result.dtype}; use another format")
    return _reduce("-INFINITY", "r = {0} > r || {0} != {0} ? {0} : r;")(program, result, x, dims, keepdim)


aten = torch.ops.aten

KERNELS: dict[Any, Lowering] = {
    aten.addmm.default: _addmm,
    aten.mm.default: _mm,
    aten.bmm.default: _bmm,
    aten.native_layer_norm.default: _layer_norm,
    aten.cumsum.default: _cumsum,
    aten._softmax.default: _softmax,
    aten._log_softmax.default: partial(_softmax, form="logsoftmax"),
    aten.embedding.default: _embedding,
    aten.sum.dim_IntList: _reduce("0", "r += {0};"),
    aten.mean.dim: _reduce("0", "r += {0};", " / {0}"),
    aten.any.dim: _reduce("0", "r = r || {0};"),
    aten.amax.default: _largest,
}
