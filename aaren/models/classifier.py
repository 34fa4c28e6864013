"""A class for a sequence, after every sample of it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aaren.layers.embed import Positions
from aaren.layers.protocol import LayerFactory, State, accept
from aaren.models.encoder import Encoder
from aaren.ops.scan import attention_scan
from aaren.ops.scan_state import empty
from aaren.shapes import Elapsed, PaddingMask, Reset


class SequenceClassifier(nn.Module):
    """Class logits for every prefix: samples are standardised, embedded with their position, encoded, averaged over the
    prefix, and mapped to classes. Follows the contract, with `channels` numbers in and `classes` out a step.

    Args:
        channels: numbers in a sample.
        classes: number of classes.
        d_model, nhead, dim_feedforward, num_layers, layer, dropout: see `Encoder`.

    The mean of every prefix is the scan with equal scores, so it streams like everything else.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 128,
        num_layers: int = 2,
        layer: str | LayerFactory = "aaren",
        dropout: float = 0.1,
    ):
        super().__init__()
        self.channels, self.d_model = channels, d_model
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.embed = nn.Linear(channels, d_model)
        self.positions = Positions(d_model)
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(num_layers, d_model, nhead, dim_feedforward, layer=layer, dropout=dropout)
        self.head = nn.Linear(d_model, classes)
        self.constant_state, self.compilable = self.encoder.constant_state, self.encoder.compilable
        self.uses_elapsed = self.encoder.uses_elapsed

    def standardise(self, mean: Float[Tensor, "C"], scale: Float[Tensor, "C"]) -> None:
        """Sets what samples are centred by and divided by: statistics of the training part."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> dict[str, State]:
        weight = self.head.weight
        device, sums = device or weight.device, dtype or torch.promote_types(weight.dtype, torch.float32)
        return {
            "positions": self.positions.initial_state(batch_size, device, dtype),
            "encoder": self.encoder.initial_state(batch_size, device, dtype),
            "average": empty((batch_size, 1), self.d_model, device, sums),
        }

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        state: dict[str, Any] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Float[Tensor, "B T K"], dict[str, State]]:
        x = accept(x, self.channels, padding_mask, reset, self.head.weight)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        flags: Any = {"padding_mask": padding_mask, "reset": reset}
        h = self.embed((x - self.mean) / self.scale)
        h, positions = self.positions(h, state["positions"], **flags)
        h, encoder = self.encoder(self.dropout(h), state["encoder"], elapsed=elapsed, **flags)
        h, average = attention_scan(torch.zeros_like(h[..., :1]), h[:, :, None], state["average"], **flags)
        return self.head(h[:, :, 0]), {"positions": positions, "encoder": encoder, "average": average}
