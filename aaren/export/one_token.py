"""What is exported: the call that consumes one token, with the state as arguments and results."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from aaren import state as states
from aaren.export.no_time import Flattened
from aaren.layers.fold import fold
from aaren.layers.protocol import SequenceLayer, State
from aaren.models.windowed import Windowed

Draw = Callable[[np.random.Generator, int, int], list[np.ndarray]]


@dataclass(frozen=True)
class Port:
    """An input or output of one row of the batch."""

    name: str
    shape: tuple[int, ...]
    """without the batch"""
    dtype: torch.dtype
    about: str
    """meaning and unit"""
    missing: bool = False
    """whether NaN stands for a missing number"""
    unit: float | np.ndarray = 1.0
    """what is a large difference of an output, such as the spread of a channel"""


class StepModule(Protocol):
    """A module that consumes one token: `outputs, state = module(inputs, state)`, both tuples of tensors (batch, ...).

    Scaling of what comes in and decoding of what goes out are its own, so a user's numbers go in and answers come out.
    """

    def initial_state(self, batch_size: int) -> State: ...

    def __call__(self, inputs: tuple[Tensor, ...], state: State) -> tuple[tuple[Tensor, ...], State]: ...


@dataclass(frozen=True)
class Deployment:
    """A model as it is exported."""

    module: Any
    """a `StepModule`"""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    draw: Draw
    """(random, rows, number) -> an array for each input, such as the model was made for; of token `number`"""
    task: str
    about: Mapping[str, Any] = field(default_factory=dict)
    """what a reader of the outputs needs, such as the names of classes; JSON"""

    @property
    def state(self) -> dict[str, Tensor]:
        """The leaves of the initial state of one row, by name."""
        return dict(states.named_leaves(self.module.initial_state(1)))

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())


class ModelStep(nn.Module):
    """One token of any model of the contract: x, and the time since the previous token if there is a second input.

    Args:
        model: the model; a folded copy in evaluation mode is kept.
        dtype: precision of accumulating sums.
        readout: applied to the output, e.g. a softmax.
    """

    def __init__(self, model: Any, dtype: torch.dtype, readout: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        check_exportable(model)
        self.model, self.dtype, self.readout = fold(model), dtype, readout

    def initial_state(self, batch_size: int) -> State:
        return self.model.initial_state(batch_size, dtype=self.dtype)

    def forward(self, inputs: tuple[Tensor, ...], state: State) -> tuple[tuple[Tensor, ...], State]:
        x, *elapsed = inputs
        aging = {"elapsed": elapsed[0][:, None]} if elapsed else {}
        y, state = self.model(x[:, None], state, **aging)
        return (y[:, 0] if self.readout is None else self.readout(y[:, 0]),), state


def deploy_layer(model: SequenceLayer, dtype: torch.dtype = torch.float64) -> Deployment:
    """A layer, block or encoder without a task: tokens in, with `uses_elapsed` their distances too, and tokens out."""
    module, width = ModelStep(model, dtype), model.d_model
    parameter = next(model.parameters()).dtype if isinstance(model, nn.Module) else torch.float32
    inputs = [Port("x", (width,), parameter, "token")]
    if model.uses_elapsed:
        inputs.append(Port("elapsed", (), parameter, "time since the previous token"))

    def draw(random: np.random.Generator, rows: int, number: int) -> list[np.ndarray]:
        tokens = [random.normal(size=(rows, width)), random.exponential(size=rows)]
        return [torch.from_numpy(array).to(parameter).numpy() for array in tokens[: len(inputs)]]

    return Deployment(module, tuple(inputs), (Port("y", (width,), parameter, "output"),), draw, "layer")


def check_exportable(model: SequenceLayer) -> None:
    """Raises ValueError if the state of the model grows, or the model reads a window of tokens anew at each."""
    if isinstance(model, Windowed):
        raise ValueError(
            "model must be a recurrent network to be exported, got one that recomputes a window at every token; "
            "train a forecaster with normalise='running', an agent with context=None (--protocol streaming)"
        )
    if not model.constant_state:
        raise ValueError(
            "model must have a state of constant size to be exported, got one that grows; use another layer than "
            "attention"
        )


class Flat(nn.Module):
    """The one-token call with tensors only: inputs, then the leaves of the state, to outputs, then the leaves."""

    def __init__(self, deployment: Deployment):
        super().__init__()
        self.module = deployment.module
        self.inputs = len(deployment.inputs)
        self.like = deployment.module.initial_state(1)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        leaves = iter(tensors[self.inputs :])
        state = states.tree_map(lambda _: next(leaves), self.like)
        outputs, state = self.module(tensors[: self.inputs], state)
        return *outputs, *(leaf for _, leaf in states.named_leaves(state))


def arguments_of(deployment: Deployment, rows: int) -> tuple[Tensor, ...]:
    """Example arguments of `Flat`."""
    inputs = [torch.from_numpy(array) for array in deployment.draw(np.random.default_rng(0), rows, 0)]
    leaves = [leaf for _, leaf in states.named_leaves(deployment.module.initial_state(rows))]
    return *inputs, *(leaf.clone() for leaf in leaves)


def program_of(deployment: Deployment, rows: int | None) -> torch.export.ExportedProgram:
    """The graph of the one-token call.

    Args:
        deployment: what is exported.
        rows: of the batch; None = any number.
    """
    arguments = arguments_of(deployment, rows or 3)
    dynamic = {0: torch.export.Dim("batch", min=1, max=1 << 16)} if rows is None else None
    shapes = None if dynamic is None else {"tensors": tuple(dynamic for _ in arguments)}
    with quiet(), torch.no_grad():
        program = torch.export.export(Flat(deployment).eval(), arguments, dynamic_shapes=shapes, strict=False)
        return torch.export.export(Flattened(program), arguments, dynamic_shapes=shapes, strict=False)


def initial_value(path: str, leaf: Tensor) -> float:
    """The number that an initial leaf is full of. Raises ValueError if it holds several."""
    numbers = {repr(float(number)) for number in leaf.flatten().tolist()}
    if len(numbers) > 1:
        raise ValueError(f"an initial state must be one number in each leaf, got several in {path}")
    return float(numbers.pop()) if numbers else 0.0


@contextmanager
def quiet() -> Iterator[None]:
    """Without what PyTorch says of PyTorch as it exports: nothing that a user could change."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # of optional packages that are not there
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(LeafSpec|_flat_weights)")
            yield
    finally:
        logger.setLevel(level)
