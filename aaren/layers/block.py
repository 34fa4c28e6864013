"""The Transformer block around any layer."""

import torch
from torch import nn
from torch.nn import functional as F

from aaren.layers.protocol import LayerFactory, State, accept
from aaren.layers.table import find_layer
from aaren.shapes import Elapsed, PaddingMask, Reset, Tokens

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


class Block(nn.Module):
    """A layer and a feed-forward network, each with residual, dropout and LayerNorm: `nn.TransformerEncoderLayer` with
    its attention exchanged. The state is the layer's.

    Args:
        d_model, nhead: of the layer.
        dim_feedforward: width inside the feed-forward network.
        layer: a name in `LAYERS`, or a factory called `layer(d_model, nhead, dropout=...)`.
        norm_first: normalise before instead of after each part.
        activation: "relu" or "gelu".
        dropout: in the layer, after each part and inside the feed-forward network.

    Raises:
        ValueError: an unknown layer or activation, or d_model is no multiple of nhead.
    """

    def __init__(
        self,
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
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.d_model, self.norm_first, self.activation = d_model, norm_first, activation
        self.layer = find_layer(layer)(d_model, nhead, dropout=dropout)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.constant_state: bool = self.layer.constant_state
        self.compilable: bool = self.layer.compilable
        self.uses_elapsed: bool = self.layer.uses_elapsed

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        return self.layer.initial_state(batch_size, device, dtype)

    def forward(
        self,
        x: Tokens,
        state: State = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Tokens, State]:
        x = accept(x, self.d_model, padding_mask, reset, self.linear1.weight)
        aging = {"elapsed": elapsed} if self.uses_elapsed else {}
        y, state = self.layer(
            self.norm1(x) if self.norm_first else x, state, padding_mask=padding_mask, reset=reset, **aging
        )
        x = x + self.dropout(y)
        if self.norm_first:
            return x + self._feed_forward(self.norm2(x)), state
        x = self.norm1(x)
        return self.norm2(x + self._feed_forward(x)), state

    def extra_repr(self) -> str:
        return f"norm_first={self.norm_first}, activation={self.activation}"

    def _feed_forward(self, x: Tokens) -> Tokens:
        x = self.dropout(ACTIVATIONS[self.activation](self.linear1(x)))
        return self.dropout(self.linear2(x))
