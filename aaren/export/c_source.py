"""A model as one file of C99 without dependencies, for devices that have no runtime for models."""

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from aaren.export.c_kernels import helper
from aaren.export.c_operators import lower
from aaren.export.c_program import C_TYPES, Buffer, Lazy, Program, Statement, literal
from aaren.export.one_token import Deployment, Port, initial_value, program_of, quiet

RESERVED = re.compile(
    r"auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int"
    r"|long|register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void"
    r"|volatile|while|s"
)
"""Words of C, and the name of the state."""


@dataclass(frozen=True)
class Source:
    """A program in C and what it needs."""

    text: str
    flash_bytes: int
    """of the constants; code comes on top"""
    state_bytes: int
    scratch_bytes: int


def _translate(deployment: Deployment) -> Program:
    """The statements of the one-token call."""
    with quiet():
        exported = program_of(deployment, rows=1).run_decompositions()
    program = Program()
    _check_names(deployment)
    state = {
        path: program.whole(f"s->{_identifier(path)}", leaf.shape, leaf.dtype, "state")
        for path, leaf in deployment.state.items()
    }
    inputs = [program.whole(_identifier(p.name), (1, *p.shape), p.dtype, "input") for p in deployment.inputs]
    values: dict[Any, Any] = {}
    known: dict[Any, Any] = {}  # what does not depend on inputs is computed here, not on the device
    arguments = iter([*inputs, *state.values()])
    signature = exported.graph_signature
    weights = {**exported.state_dict, **exported.constants}
    lifted = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    outputs: Sequence[Any] = ()
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            if node.name in lifted:
                known[node] = weights[lifted[node.name]].detach()
            else:
                values[node] = next(arguments)
        elif node.op == "output":
            outputs = node.args[0]
        elif all(parent in known for parent in node.all_input_nodes):
            args, keywords = torch.fx.map_arg((node.args, node.kwargs), lambda n: known[n])  # type: ignore[arg-type]
            known[node] = node.target(*args, **keywords)
        else:

            def value_of(parent: Any) -> Any:
                if parent not in values and isinstance(known[parent], Tensor):
                    values[parent] = program.constant(known[parent])
                return values[parent] if parent in values else known[parent]

            args, keywords = torch.fx.map_arg((node.args, node.kwargs), value_of)  # type: ignore[arg-type]
            value = lower(program, node.target, node.meta.get("val"), args, keywords)
            if isinstance(value, Lazy) and len(node.users) > 1:
                value = program.computed(value)
            values[node] = value
    results = [values[node] if node in values else program.constant(known[node]) for node in outputs]
    for port, value in zip(deployment.outputs, results[: len(deployment.outputs)], strict=True):
        if (value.shape, value.dtype) != ((1, *port.shape), port.dtype):
            raise ValueError(f"{port.name} must be {port.dtype} of shape {port.shape}, got {value.dtype} {value.shape}")
        program.assign(program.whole(_identifier(port.name), (1, *port.shape), port.dtype, "output"), value)
    after = [program.computed(value) for value in results[len(deployment.outputs) :]]
    # A leaf may move to another's place: all are read before any is written.
    after = [program.copied(view) if view.buffer.place == "state" else view for view in after]
    for target, view in zip(state.values(), after, strict=True):
        program.assign(target, view)
    return program


def _identifier(name: str) -> str:
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"{name}_" if RESERVED.fullmatch(name) else name


def _check_names(deployment: Deployment) -> None:
    ports = [_identifier(port.name) for port in (*deployment.inputs, *deployment.outputs)]
    leaves = [_identifier(path) for path in deployment.state]
    for names in (ports, leaves):
        same = {name for name in names if names.count(name) > 1}
        if same:
            raise ValueError(f"names must differ in their letters and digits to have a form in C, got {same} twice")


class _Memory:
    """Places of the scratch buffers: those that are not in use at the same time share them."""

    def __init__(self, statements: Sequence[Statement]):
        spans: dict[Buffer, tuple[int, int]] = {}
        for number, statement in enumerate(statements):
            for buffer in (*statement.reads, *statement.writes):
                if buffer.place == "scratch":
                    spans[buffer] = (spans.get(buffer, (number, 0))[0], number)
        self.places: dict[Buffer, int] = {}
        self.sizes: dict[torch.dtype, int] = {}
        for buffer in sorted(spans, key=lambda one: -one.size):  # the large ones first
            begin, end = spans[buffer]
            others = sorted(
                (self.places[other], self.places[other] + other.size)
                for other in self.places
                if other.dtype == buffer.dtype and spans[other][0] <= end and begin <= spans[other][1]
            )
            place = 0
            for low, high in others:
                if place + buffer.size <= low:
                    break
                place = max(place, high)
            self.places[buffer] = place
            self.sizes[buffer.dtype] = max(self.sizes.get(buffer.dtype, 0), place + buffer.size)

    @property
    def nbytes(self) -> int:
        return sum(size * dtype.itemsize for dtype, size in self.sizes.items())


def c_source(deployment: Deployment, name: str = "model") -> Source:
    """The one-token call of a deployment as C.

    Args:
        deployment: what is exported; matrices that are whole multiples of a scale (`aaren.export.int8`) are stored in a
            byte a weight.
        name: prefix of the functions and types.

    Raises:
        ValueError: the model has an operator without a form in C, or `name` is no name in C.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError(f"name must be letters, digits and underscores, got {name!r}")
    program = _translate(deployment)
    statements = program.needed()
    memory = _Memory(statements)
    used = {buffer for statement in statements for buffer in statement.reads}
    constants = [constant for constant in program.constants if constant in used]
    flash = sum(constant.size * constant.dtype.itemsize for constant in constants)
    state = deployment.state
    state_bytes = sum(leaf.numel() * leaf.element_size() for leaf in state.values())
    parts = [
        _head(deployment, flash, state_bytes, memory.nbytes),
        "#include <math.h>\n#include <stdint.h>\n",
        _state_type(name, state),
        _prototypes(name, deployment),
        *(_array(constant) for constant in constants),
        *(f"static {C_TYPES[dtype]} scratch_{_short(dtype)}[{size}];" for dtype, size in memory.sizes.items()),
        "",
        *(helper(kind) for kind in sorted(program.helpers)),
        _init(name, state),
        _push(name, deployment, statements, memory),
    ]
    return Source("\n".join(parts), flash, state_bytes, memory.nbytes)


def _head(deployment: Deployment, flash: int, state: int, scratch: int) -> str:
    about, made_by = {"task": deployment.task, **deployment.about}, version("aaren")
    ports = [
        f"   {direction} {_identifier(port.name)}: {_comment(port.about)}"
        for direction, ports in (("in ", deployment.inputs), ("out", deployment.outputs))
        for port in ports
    ]
    lines = [
        f"/* A sequence model as a recurrent network, one token a call. C99, needs math.h. By aaren {made_by}.",
        "",
        f"   Constants: {flash} bytes. Memory: {state} bytes of state for each stream and {scratch} bytes of scratch;",
        "   no heap. Not to be compiled with -ffast-math: the empty state is minus infinity. All streams share the",
        "   scratch, so calls of two threads must not overlap, and arrays passed to a call must not overlap either.",
        "   Nothing is checked on the device: numbers must be finite (NaN only where it stands for a missing one), and",
        "   times must increase.",
        "",
        *ports,
        "",
        f"   {_comment(json.dumps(about, ensure_ascii=False))} */",
    ]
    return "\n".join(lines)


def _comment(text: str) -> str:
    """Text of others, such as names of columns, that cannot end a comment: no part of it may become code."""
    text = "".join(c if c.isprintable() and c != "\\" else " " for c in text)
    return text.replace("*", "* ").replace("/", " / ").replace("?", "? ")


def _state_type(name: str, state: dict[str, Tensor]) -> str:
    # C has neither empty arrays nor empty structs.
    fields = [f"    {C_TYPES[x.dtype]} {_identifier(path)}[{max(x.numel(), 1)}];" for path, x in state.items()]
    fields = fields or ["    char nothing;"]
    return "\n".join(["typedef struct {", *fields, f"}} {name}_state;", ""])


def _prototypes(name: str, deployment: Deployment) -> str:
    return "\n".join(
        [
            "/* The state that has seen nothing; reset forgets everything. */",
            f"void {name}_init({name}_state *s);",
            f"void {name}_reset({name}_state *s);",
            "/* Consumes one token. */",
            f"{_signature(name, deployment)};",
            "",
        ]
    )


def _signature(name: str, deployment: Deployment) -> str:
    def declare(port: Port, constant: str) -> str:
        count = 1
        for size in port.shape:
            count *= size
        return f"{constant}{C_TYPES[port.dtype]} {_identifier(port.name)}[{count}]"

    ports = [declare(p, "const ") for p in deployment.inputs] + [declare(p, "") for p in deployment.outputs]
    return f"void {name}_push({name}_state *s, {', '.join(ports)})"


def _array(constant: Buffer) -> str:
    assert constant.data is not None
    numbers = ", ".join(literal(x, constant.dtype) for x in constant.data.flatten().tolist())
    values = "\n".join(textwrap.wrap(numbers, 118))
    return f"static const {C_TYPES[constant.dtype]} {constant.name}[{constant.size}] = {{\n{values}}};"


def _init(name: str, state: dict[str, Tensor]) -> str:
    lines = []
    for path, leaf in state.items():
        value = literal(initial_value(path, leaf), leaf.dtype)
        lines.append(f"    for (int i = 0; i < {leaf.numel()}; i++) {{ s->{_identifier(path)}[i] = {value}; }}")
    body = "\n".join(lines) or "    s->nothing = 0;"
    return (
        f"void {name}_init({name}_state *s)\n{{\n{body}\n}}\n\n"
        f"void {name}_reset({name}_state *s)\n{{\n    {name}_init(s);\n}}\n"
    )


def _push(name: str, deployment: Deployment, statements: Sequence[Statement], memory: _Memory) -> str:
    pointers = [
        f"    {C_TYPES[buffer.dtype]} *const {buffer.name} = scratch_{_short(buffer.dtype)} + {place};"
        for buffer, place in sorted(memory.places.items(), key=lambda item: int(item[0].name[1:]))
    ]
    body = [f"    (void){_identifier(port.name)};" for port in deployment.inputs]  # one may be unused
    body += [f"    {statement.code}" for statement in statements]
    return "\n".join([_signature(name, deployment), "{", *pointers, *body, "}", ""])


def _short(dtype: torch.dtype) -> str:
    return C_TYPES[dtype].replace(" ", "_")
