"""A graph of tensor operations as C statements: buffers, views of them, and element by element expressions.

Shapes are known, so a view (a slice, a transpose) is only another way to count in the same buffer and costs nothing,
and operations on elements that are used once become one loop with what uses them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

C_TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.int64: "int64_t",
    torch.int8: "signed char",
    torch.bool: "unsigned char",
}

Place = Literal["constant", "input", "output", "state", "scratch"]


@dataclass(eq=False)
class Buffer:
    """A run of numbers with a name in the program."""

    name: str
    dtype: torch.dtype
    size: int
    place: Place
    data: Tensor | None = None
    """of a constant, in the order of the buffer"""


@dataclass(frozen=True)
class View:
    """Some elements of a buffer, in some order."""

    buffer: Buffer
    meta: Tensor
    """a tensor without data that has the shape, the strides and the offset"""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.meta.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.buffer.dtype


@dataclass(frozen=True)
class Lazy:
    """An expression for each element, not computed yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    template: str
    """C with {0}, {1}, ... for the elements of `leaves`"""
    leaves: tuple[View, ...]
    """each of this shape"""


Value = View | Lazy


@dataclass(frozen=True)
class Statement:
    """A piece of the program."""

    code: str
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]


class Program:
    """Statements in their order, and the buffers they use."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.constants: list[Buffer] = []
        self.helpers: set[str] = set()
        """functions that the statements call"""
        self._scratch = 0

    def needed(self) -> list[Statement]:
        """The statements on which outputs or the state depend."""
        read: set[Buffer] = set()
        kept = []
        for statement in reversed(self.statements):
            if any(buffer in read or buffer.place != "scratch" for buffer in statement.writes):
                read.update(statement.reads)
                kept.append(statement)
        return kept[::-1]

    def whole(self, name: str, shape: Sequence[int], dtype: torch.dtype, place: Place) -> View:
        """A view of all of a new buffer."""
        meta = torch.empty(tuple(shape), dtype=dtype, device="meta")
        return View(Buffer(name, dtype, meta.numel(), place), meta)

    def scratch(self, shape: Sequence[int], dtype: torch.dtype) -> View:
        """A view of new memory that is used for a while."""
        self._scratch += 1
        return self.whole(f"t{self._scratch}", shape, dtype, "scratch")

    def constant(self, data: Tensor) -> View:
        """A view of numbers that are part of the program."""
        data = data.detach().cpu().contiguous()
        same = [one for one in self.constants if one.data is not None and _same(one.data, data)]
        if same:
            return View(same[0], torch.empty_like(data, device="meta"))
        view = self.whole(f"c{len(self.constants)}", data.shape, data.dtype, "constant")
        view.buffer.data = data
        self.constants.append(view.buffer)
        return view

    def emit(self, code: str, reads: Sequence[View], writes: Sequence[View]) -> None:
        """Adds a statement."""
        reads_, writes_ = tuple(v.buffer for v in reads), tuple(v.buffer for v in writes)
        self.statements.append(Statement(code, reads_, writes_))

    def computed(self, value: Value) -> View:
        """The value as a view, computed if need be."""
        if isinstance(value, View):
            return value
        view = self.scratch(value.shape, value.dtype)
        self.assign(view, value)
        return view

    def copied(self, view: View) -> View:
        """The same numbers in memory of their own."""
        copy = self.scratch(view.shape, view.dtype)
        self.assign(copy, view)
        return copy

    def contiguous(self, value: Value) -> View:
        """The value in a buffer's own order."""
        view = self.computed(value)
        return view if view.meta.is_contiguous() else self.copied(view)

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        """The same numbers as another type."""
        if value.dtype == dtype:
            return value
        template = "({0} != 0)" if dtype == torch.bool else f"({C_TYPES[dtype]})({{0}})"
        return self.elementwise(value.shape, dtype, template, [value])

    def assign(self, target: View, value: Value) -> None:
        """Statement `target = value`, element by element."""
        if isinstance(value, View):
            value = Lazy(value.shape, value.dtype, "{0}", (value,))
        shape, (out, *strides) = _merged(value.shape, [target.meta, *(leaf.meta for leaf in value.leaves)])
        places = [_place(leaf, stride) for leaf, stride in zip(value.leaves, strides, strict=True)]
        code = f"{_place(target, out)} = {value.template.format(*places)};"
        self.emit(loops(shape, code), value.leaves, [target])

    def elementwise(
        self, shape: Sequence[int], dtype: torch.dtype, template: str, operands: Sequence[Value | str]
    ) -> Lazy:
        """An expression of operands, each broadcast to the shape; strings stand for themselves.

        Args:
            shape, dtype: of the result.
            template: C with {0}, {1}, ... for the operands.
            operands: values or C.
        """
        leaves: list[View] = []
        parts = []
        for operand in operands:
            if isinstance(operand, str):
                parts.append(operand)
                continue
            if isinstance(operand, View) or operand.shape != tuple(shape):
                view = self.computed(operand)
                expanded = View(view.buffer, view.meta.expand(tuple(shape)))
                operand = Lazy(tuple(shape), view.dtype, "{0}", (expanded,))
            parts.append(_renumbered(operand.template, len(leaves)))
            leaves.extend(operand.leaves)
        return Lazy(tuple(shape), dtype, template.format(*parts), tuple(leaves))


def loops(shape: Sequence[int], body: str) -> str:
    """The body for all indices i0, i1, ... of a shape."""
    for axis in reversed(range(len(shape))):
        if shape[axis] != 1:
            body = f"for (int i{axis} = 0; i{axis} < {shape[axis]}; i{axis}++) {{ {body} }}"
    return body


def literal(value: Any, dtype: torch.dtype) -> str:
    """A number in C."""
    if dtype == torch.bool:
        return str(int(bool(value)))
    if dtype in (torch.int64, torch.int8):
        return str(int(value)) if abs(int(value)) < 1 << 31 else f"INT64_C({int(value)})"
    number = float(value)
    if number != number:
        return "NAN"
    if number in (float("inf"), float("-inf")):
        return "INFINITY" if number > 0 else "(-INFINITY)"
    text = f"{number:.9g}" if dtype == torch.float32 else f"{number:.17g}"
    text = text if re.search(r"[.e]", text) else text + ".0"
    text += "f" if dtype == torch.float32 else ""
    return f"({text})" if number < 0 else text


def index(strides: Sequence[int], offset: int) -> str:
    """The place of element (i0, i1, ...) in its buffer, as C."""
    terms = [f"i{axis}" if s == 1 else f"{s} * i{axis}" for axis, s in enumerate(strides) if s]
    return " + ".join([*terms, *([str(offset)] if offset or not terms else [])])


def _place(view: View, strides: Sequence[int]) -> str:
    return f"{view.buffer.name}[{index(strides, int(view.meta.storage_offset()))}]"


def _merged(shape: Sequence[int], metas: Sequence[Tensor]) -> tuple[list[int], list[list[int]]]:
    """The shape with axes that lie one after the other in all tensors as one, and the strides of each tensor."""
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in metas]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        own = [int(meta.stride(axis)) for meta in metas]
        if sizes and all(before[-1] == size * s for before, s in zip(strides, own, strict=True)):
            sizes[-1] *= size
            for before, s in zip(strides, own, strict=True):
                before[-1] = s
        else:
            sizes.append(size)
            for before, s in zip(strides, own, strict=True):
                before.append(s)
    return sizes, strides


def _renumbered(template: str, start: int) -> str:
    return re.sub(r"\{(\d+)\}", lambda match: f"{{{int(match[1]) + start}}}", template)


def _same(a: Tensor, b: Tensor) -> bool:
    """To the last bit: 0 and -0 are two numbers."""
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
