"""The axes, once and for all.

| letter | axis                                                     |
|--------|----------------------------------------------------------|
| B      | batch: independent rows                                  |
| T      | time: tokens of one call, at least 1                     |
| H      | heads                                                    |
| D      | width: `d_model` in layers, `head_dim` in ops            |
| E      | `head_dim` where D is `d_model` already                  |
| Q      | queries (only in `attend`)                               |
| S      | slots of a cache                                         |

Axes always stand in the order B T H D. Names of the tensors that travel through the contract
`y, state = f(x, state=None, *, padding_mask=None, reset=None)`:
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Tokens = Float[Tensor, "B T D"]
"""A sequence, a chunk of one, or one token (T = 1)."""

PaddingMask = Bool[Tensor, "B T"]
"""True = ignore: the token is not consumed, whatever stands there, NaN and a reset flag included."""

Reset = Bool[Tensor, "B T"]
"""True = forget everything before consuming this token (an episode boundary inside a batch)."""

Elapsed = Float[Tensor, "B T"]
"""Time since the previous token of the row, >= 0, in a unit of the user's choice; 1 when not given."""

Scores = Float[Tensor, "B T H"]
"""Log weights of the tokens, one per head."""

Values = Float[Tensor, "B T H D"]
"""What the weights average; outputs have the same shape."""


def unless_empty(padding_mask: PaddingMask | None) -> PaddingMask | None:
    """The mask, or None if nothing is padded: without one attention is fused and a GRU is one call. For
    those who call a layer: it looks at data, which a compiled graph cannot."""
    return padding_mask if padding_mask is not None and bool(padding_mask.any()) else None


def check_flags(name: str, flags: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless `flags` (a padding mask, a reset) is None or bool of shape (batch, time)."""
    if flags is None:
        return
    if flags.dtype != torch.bool:
        raise ValueError(f"{name} must have dtype torch.bool, got {flags.dtype}; use {name} != 0")
    if flags.shape != shape:
        raise ValueError(f"{name} must have shape (batch, time) = {tuple(shape)}, got {tuple(flags.shape)}")
