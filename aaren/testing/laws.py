"""The laws, each a function that raises AssertionError saying what differs and by how much."""

import copy
import operator
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from aaren import state as states
from aaren.layers.protocol import State
from aaren.state import named_leaves, tree_map
from aaren.testing.subject import BATCH, TIME, Inputs, Subject, live


def modes(subject: Subject) -> None:
    for flags in ((), ("padding_mask",), ("reset",), ("padding_mask", "reset")):
        for start in (None, subject.state()):
            inputs = subject.inputs(flags=flags)
            inputs.x.requires_grad_()
            y, state = subject(inputs, start)
            assert y.shape == inputs.x.shape, (
                f"y must have the shape of x, {tuple(inputs.x.shape)}, got {tuple(y.shape)}"
            )
            expected = subject.gradients(inputs, y, state, start)
            cut = int(torch.randint(1, TIME - 1, (), generator=subject.random))
            for lengths in ([1] * TIME, [cut, TIME - cut], [TIME - cut, 1, cut - 1] if cut > 1 else [1, TIME - 1]):
                case = f"for {flags or 'plain'} tokens in calls of {lengths}"
                pieces_y, pieces_state = subject.in_pieces(inputs, lengths, start)
                subject.assert_close(f"outputs {case}", live(inputs, pieces_y), live(inputs, y))
                subject.assert_same_state(f"final state {case}", pieces_state, state)
                got = subject.gradients(inputs, pieces_y, pieces_state, start)
                for name, gradient in expected.items():
                    subject.assert_close(f"gradient into {name} {case}", got[name], gradient)


def causal(subject: Subject) -> None:
    inputs = subject.inputs()
    y, _ = subject(inputs)
    for t in (1, TIME // 2, TIME - 1):
        x = inputs.x.clone()
        x[:, t:] = 100 * torch.randn(x[:, t:].shape, generator=subject.random, dtype=subject.dtype)
        changed, _ = subject(Inputs(x, inputs.flags))
        subject.assert_close(f"outputs before token {t}, when later tokens change,", changed[:, :t], y[:, :t])


def masked(subject: Subject) -> None:
    inputs, start = subject.inputs(), subject.state()
    inputs.flags["padding_mask"][-1] = True
    mask = inputs.flags["padding_mask"]
    inputs.x.requires_grad_()
    y, state = subject(inputs, start)
    gradients = subject.gradients(inputs, y, state, start)
    for rubbish in (0.0, 1e30, float("inf"), float("nan")):
        dirty = Inputs(inputs.x.detach().masked_fill(mask[..., None], rubbish).requires_grad_(), dict(inputs.flags))
        dirty.flags["reset"] = inputs.flags["reset"] | mask
        if "elapsed" in dirty.flags:
            dirty.flags["elapsed"] = dirty.flags["elapsed"].masked_fill(mask, rubbish)
        dirty_y, dirty_state = subject(dirty, start)
        case = f"with {rubbish} and a reset at masked steps"
        assert dirty_y.isfinite().all(), f"outputs {case} must be finite"
        assert torch.equal(live(inputs, dirty_y), live(inputs, y)), f"outputs {case} must not change by a bit"
        for (name, a), (_, b) in zip(named_leaves(dirty_state), named_leaves(state), strict=True):
            assert torch.equal(a, b), f"{name} {case} must not change by a bit"
        for name, gradient in subject.gradients(dirty, dirty_y, dirty_state, start).items():
            assert torch.equal(gradient, gradients[name]), f"gradient into {name} {case} must not change by a bit"

    for row in range(BATCH):
        alone, start_alone = inputs.at(slice(row, row + 1)), states.select(start, [row])
        y, state = subject(alone, start_alone)
        keep = ~mask[row]
        if keep.any():
            deleted = alone.at((slice(None), keep))
            deleted.flags.pop("padding_mask")
            kept_y, kept_state = subject(deleted, start_alone)
            subject.assert_close("outputs of masked against deleted tokens", y[:, keep], kept_y)
        else:
            kept_state = start_alone
        subject.assert_same_state("state of masked against deleted tokens", state, kept_state)

    inputs = subject.inputs(flags=())
    for t in (0, 1, TIME // 2, TIME - 1):
        reset = torch.zeros(BATCH, TIME, dtype=torch.bool)
        reset[:, t] = True
        y, state = subject(Inputs(inputs.x, inputs.flags | {"reset": reset}), start)
        new_y, new_state = subject(inputs.at((slice(None), slice(t, None))))
        subject.assert_close(f"outputs after a reset at {t} against a new call", y[:, t:], new_y)
        subject.assert_same_state(f"state after a reset at {t} against a new call", state, new_state)


def rows(subject: Subject) -> None:
    inputs, start, more = subject.inputs(flags=()), subject.state(), subject.inputs(flags=())
    y, state = subject(inputs, start)
    for row in range(BATCH):
        alone, _ = subject(inputs.at(slice(row, row + 1)), states.select(start, [row]))
        subject.assert_close(f"row {row} alone against row {row} of a batch", alone, y[row : row + 1])
    x = inputs.x.clone()
    x[0] = float("nan")
    spoiled, _ = subject(Inputs(x, inputs.flags), start)
    subject.assert_close("rows beside a row of NaN", spoiled[1:], y[1:])

    after, _ = subject(more, state)
    order = [2, 0]
    picked, _ = subject(more.at(order), states.select(state, order))
    subject.assert_close("after `select`, the outputs", picked, after[order])
    renewed, _ = subject(more, states.reset_rows(state, [1], subject.layer.initial_state(1)))
    fresh, _ = subject(more.at([1]))
    subject.assert_close("after `reset_rows`, the outputs of that row", renewed[[1]], fresh)
    subject.assert_close("after `reset_rows`, the outputs of other rows", renewed[order], after[order])
    joined, _ = subject(more, states.concat([states.select(state, [0]), states.select(state, [1, 2])]))
    subject.assert_close("after `concat`, the outputs", joined, after)
    assert not any(leaf.requires_grad for _, leaf in named_leaves(states.detach(state))), "`detach` must cut the graph"
    assert states.nbytes(states.to(state, dtype=torch.float64)) >= states.nbytes(state) > 0, "`nbytes` must be positive"
    with tempfile.TemporaryDirectory() as folder:
        states.save(Path(folder) / "state", state)
        loaded = states.load(Path(folder) / "state", subject.layer.initial_state(1))
    for (name, a), (_, b) in zip(named_leaves(loaded), named_leaves(state), strict=True):
        assert torch.equal(a, b), f"{name} after `save` and `load` must not change by a bit"
        assert a.dtype == b.dtype, f"{name} after `save` and `load` must keep its dtype"


@torch.no_grad()
def precision(subject: Subject) -> None:
    single = copy.deepcopy(subject.layer).float()
    state = single.initial_state(BATCH, dtype=torch.float64)
    _, after = single(torch.randn(BATCH, 3, single.d_model), state)
    for (name, a), (_, b) in zip(named_leaves(after), named_leaves(state), strict=True):
        assert a.dtype == b.dtype, f"{name} must keep the dtype it was given, {b.dtype}, got {a.dtype}"
    wide = [leaf for _, leaf in named_leaves(after) if leaf.dtype == torch.float64]
    fine = any((leaf.float().double() != leaf).any() for leaf in wide)
    assert fine or not wide, "a float64 state must be summed in float64, got only numbers that float32 can hold"

    half = copy.deepcopy(subject.layer).bfloat16()
    exact = copy.deepcopy(half).double()
    # 512 tokens of one kind, then 512 of the opposite: a bfloat16 sum stops taking tokens in after about 256.
    kind = torch.randn(1, 1, half.d_model, generator=subject.random)
    x = torch.cat([kind.expand(1, 512, -1), -kind.expand(1, 512, -1)], dim=1).bfloat16()
    expected, _ = exact(x.double())
    y, state = half(x[:, :1])
    for t in range(1, x.shape[1]):
        y, state = half(x[:, t : t + 1], state)
    subject.assert_close("outputs of a long bfloat16 stream", y[:, -1], expected[:, -1], tolerance=0.1)


@torch.no_grad()
def size(subject: Subject) -> None:
    _, state = subject(subject.inputs(batch=1, time=1, flags=()))
    first = states.nbytes(state)
    if not subject.layer.constant_state:
        _, state = subject(subject.inputs(batch=1, time=50, flags=()), state)
        assert states.nbytes(state) > first, "a state that does not grow must have constant_state = True"
        return
    chunk = subject.inputs(batch=1, time=1000, flags=())
    for _ in range(100):
        _, state = subject(chunk, state)
    got = states.nbytes(state)
    assert got == first, f"constant state must have the size after 1 token, {first} bytes, after 100,000, got {got}"


class _Call(nn.Module):
    """The one-token call as torch.export wants it: positional, in a module of its own."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.layer(x, state)


def tools(subject: Subject) -> None:
    layer, inputs = subject.layer, subject.inputs(flags=())
    inputs.flags.clear()
    y, _ = subject(inputs)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(inputs.x)[0], y), "a layer loaded from `state_dict` must be the same function"

    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The tensor attributes")  # nn.LSTM and nn.GRU: a list of their own weights
        batch = torch.export.Dim("batch", min=1, max=64)
        start = subject.state()
        program = torch.export.export(
            _Call(layer), (inputs.x[:, :1], start), dynamic_shapes=({0: batch}, tree_map(lambda _: {0: batch}, start))
        )
        for node in program.graph.nodes:
            is_aten = isinstance(node.target, torch._ops.OpOverload) and node.target.namespace == "aten"
            plain = node.op != "call_function" or is_aten or node.target is operator.getitem
            assert plain, f"the exported one-token call must hold ATen operators only, got {node.target}"
        wide, wide_start = subject.inputs(batch=5, time=1, flags=()).x, subject.state(5)
        for got, expected in zip(program.module()(wide, wide_start), layer(wide, wide_start), strict=True):
            subject.assert_same_state("the exported one-token call", got, expected)

    if layer.compilable:
        inputs = subject.inputs()
        inputs.x.requires_grad_()
        expected, state = subject(inputs, start)
        torch._dynamo.reset()
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        got, got_state = compiled(inputs.x, start, **inputs.flags)
        subject.assert_close("outputs of the compiled layer", live(inputs, got), live(inputs, expected))
        if not layer.constant_state:
            state = got_state = ()  # a compiled graph may leave unused slots in a cache
        gradients = subject.gradients(inputs, expected, state, start)
        for name, gradient in subject.gradients(inputs, got, got_state, start).items():
            subject.assert_close(f"gradient into {name} of the compiled layer", gradient, gradients[name])


LAWS: dict[str, Callable[[Subject], None]] = {
    "modes": modes,
    "causal": causal,
    "masked": masked,
    "rows": rows,
    "precision": precision,
    "size": size,
    "tools": tools,
}
