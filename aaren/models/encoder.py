"""A stack of blocks. Its state is the tuple of theirs."""

from collections.abc import Sequence

import torch
from torch import nn

from aaren.layers.block import Block
from aaren.layers.protocol import LayerFactory, State
from aaren.shapes import Elapsed, PaddingMask, Reset, Tokens


class Encoder(nn.Module):
    """`num_layers` blocks on top of each other, tokens (batch, time, d_model) to tokens of the same shape.

    Args:
        num_layers: number of blocks, at least 1.
        d_model, nhead, dim_feedforward, layer, norm_first, activation, dropout: of each, see `Block`.

    Raises:
        ValueError: num_layers is below 1, or an argument is wrong for `Block`; a state of another number of blocks.
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        *,
        layer: str | LayerFactory = "aaren",
        norm_first: bool = False,
        activation: str = "relu",
        dropout: float = 0.1,
    ):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        blocks = [
            Block(
                d_model,
                nhead,
                dim_feedforward,
                layer=layer,
                norm_first=norm_first,
                activation=activation,
                dropout=dropout,
            )
            for _ in range(num_layers)
        ]
        self.blocks: Sequence[Block] = nn.ModuleList(blocks)  # pyright: ignore[reportAttributeAccessIssue]
        self.d_model = d_model
        self.constant_state = all(block.constant_state for block in blocks)
        self.compilable = all(block.compilable for block in blocks)
        self.uses_elapsed = any(block.uses_elapsed for block in blocks)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> tuple[State, ...]:
        return tuple(block.initial_state(batch_size, device, dtype) for block in self.blocks)

    def forward(
        self,
        x: Tokens,
        state: tuple[State, ...] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Tokens, tuple[State, ...]]:
        if state is not None and (not isinstance(state, tuple) or len(state) != len(self.blocks)):
            got = len(state) if isinstance(state, tuple) else type(state).__name__
            raise ValueError(f"state must be a tuple of one for each of {len(self.blocks)} blocks, got {got}")
        states = []
        for block, old in zip(self.blocks, state or (None,) * len(self.blocks), strict=True):
            x, new = block(x, old, padding_mask=padding_mask, reset=reset, elapsed=elapsed)
            states.append(new)
        return x, tuple(states)
