"""A policy without a memory, under the same contract as the others."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aaren.layers.protocol import State, accept, check_rows
from aaren.models.decision import Policy
from aaren.ops.lags import tokens_since
from aaren.shapes import PaddingMask, Reset


class Clone(Policy):
    """A perceptron from observation to action: two hidden layers. Follows the contract with the tokens of
    `DecisionModel`, of which it looks at the observation only; its state counts steps.

    Args:
        observation, action: numbers in each.
        width: of the hidden layers.
        dropout: after each of them.
    """

    constant_state = True
    compilable = True

    def __init__(self, observation: int, action: int, *, width: int = 256, dropout: float = 0.0):
        super().__init__(observation, action)
        self.d_model = width
        self.hidden = nn.Sequential(
            nn.Linear(observation, width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.head = nn.Linear(width, action)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> dict[str, State]:
        return {"steps": torch.zeros(batch_size, dtype=torch.long, device=device or self.head.weight.device)}

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        state: dict[str, Any] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Float[Tensor, "B T M"], dict[str, State]]:
        x = accept(x, self.inputs, padding_mask, reset, self.head.weight)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        check_rows(state["steps"], x.shape[0])
        _, total = tokens_since(state["steps"], x, padding_mask, reset)
        _, _, observation, _ = self.split(x)
        return self.bounded(self.head(self.hidden(observation))), {"steps": total}
