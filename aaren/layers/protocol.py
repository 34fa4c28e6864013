"""The one contract: what every layer, block, encoder and model promises. `aaren.testing` checks it law by law."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from aaren.shapes import Elapsed, PaddingMask, Reset, Tokens, check_flags

State = Any
"""A pytree of tensors, batch first: a tensor, or a tuple, NamedTuple or dict of pytrees. Tools: `aaren.state`."""


@runtime_checkable
class SequenceLayer(Protocol):
    """`y, state = layer(x, state=None, *, padding_mask=None, reset=None)` for any number of tokens.

    Layers with `uses_elapsed` take one keyword more, `elapsed` (batch, time): the time since the row's previous token.
    """

    d_model: int
    """Width of x and y."""
    constant_state: bool
    """The state has the same size whatever has been seen."""
    compilable: bool
    """`torch.compile(fullgraph=True)` works."""
    uses_elapsed: bool
    """The memory ages with time, so the keyword `elapsed` is taken."""

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state that has seen nothing. `dtype` is the precision of accumulating sums: at least float32, float64
        for endless streams; gated hidden states and caches keep the dtype of the parameters."""
        ...

    def __call__(
        self, x: Tokens, state: State = None, *, padding_mask: PaddingMask | None = None, reset: Reset | None = None
    ) -> tuple[Tokens, State]: ...


LayerFactory = Callable[..., Any]
"""`factory(d_model, nhead, dropout=...)` makes a layer: the classes of `LAYERS`, or the user's own."""


def accept(
    x: Tokens, width: int, padding_mask: PaddingMask | None, reset: Reset | None, weight: Tensor | None = None
) -> Tokens:
    """Checks the arguments of the contract and returns x with zeros at masked steps.

    `where`, not a product, and before the first matrix product: NaN under the mask must reach no weight's gradient.

    Raises:
        ValueError: x or a flag of another shape or kind; x of another dtype than `weight`, if given.
    """
    if not isinstance(x, Tensor):
        raise ValueError(f"x must be a tensor, got {type(x).__name__}; use torch.as_tensor(x)")
    if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != width:
        raise ValueError(f"x must have shape (batch, time >= 1, {width}), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point, got {x.dtype}; use x.float()")
    if weight is not None and x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(
            f"x must have the dtype of the weights, {weight.dtype}, got {x.dtype}; use x.to({weight.dtype})"
        )
    check_flags("padding_mask", padding_mask, x.shape[:2])
    check_flags("reset", reset, x.shape[:2])
    return x if padding_mask is None else torch.where(padding_mask[..., None], 0.0, x)


def accept_elapsed(elapsed: Elapsed | None, x: Tokens, padding_mask: PaddingMask | None) -> Elapsed:
    """`elapsed` with ones if there is none and zeros at masked steps. Raises ValueError on another shape."""
    check_flags("padding_mask", padding_mask, x.shape[:2])
    if elapsed is None:
        return torch.ones(x.shape[:2], device=x.device, dtype=x.dtype)
    if elapsed.shape != x.shape[:2]:
        raise ValueError(f"elapsed must have shape (batch, time) = {tuple(x.shape[:2])}, got {tuple(elapsed.shape)}")
    elapsed = elapsed.to(x.dtype)
    return elapsed if padding_mask is None else torch.where(padding_mask, 0.0, elapsed)


def check_rows(leaf: Tensor, batch: int) -> None:
    """Raises ValueError unless a leaf of the state has the rows of x."""
    if leaf.shape[0] != batch:
        raise ValueError(f"state must have the rows of x, {batch}, got {leaf.shape[0]}")


def head_width(d_model: int, nhead: int) -> int:
    """Width of one head. Raises ValueError unless d_model is a multiple of nhead."""
    if nhead < 1 or d_model < 1 or d_model % nhead:
        raise ValueError(f"d_model must be a positive multiple of nhead, got d_model {d_model} and nhead {nhead}")
    return d_model // nhead


def init_projections(*projections: nn.Linear) -> None:
    """Initialises as `nn.MultiheadAttention` does: Xavier weights, zero biases."""
    for projection in projections:
        nn.init.xavier_uniform_(projection.weight)
        if projection.bias is not None:
            nn.init.zeros_(projection.bias)
