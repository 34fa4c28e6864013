"""A policy that is a sequence model: which action earns the return that is wanted, given what was seen and done."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from aaren.layers.embed import sinusoids, whole_periods
from aaren.layers.protocol import LayerFactory, State, accept, check_rows
from aaren.models.encoder import Encoder
from aaren.ops.lags import tokens_since
from aaren.shapes import PaddingMask, Reset


class Policy(nn.Module):
    """What policies have in common: the layout of their tokens, the scales of numbers and the bounds of actions.

    A token is a step: its number in the episode, the return-to-go, the observation and the action of the step before.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    scale: Tensor

    uses_elapsed = False

    def __init__(self, observation: int, action: int):
        super().__init__()
        self.observation, self.action = observation, action
        self.inputs = 2 + observation + action
        self.register_buffer("low", -torch.ones(action))
        self.register_buffer("high", torch.ones(action))
        self.register_buffer("mean", torch.zeros(1 + observation))
        self.register_buffer("scale", torch.ones(1 + observation))

    def scales(
        self, mean: Float[Tensor, "N"], scale: Float[Tensor, "N"], low: Float[Tensor, "M"], high: Float[Tensor, "M"]
    ) -> None:
        """Sets what return-to-go and observation (in this order) are centred by and divided by, statistics of the
        training part, and the bounds of actions."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.low.copy_(low)
        self.high.copy_(high)

    def split(self, x: Float[Tensor, "B T I"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Number of the step, return-to-go and observation, both standardised, and the action before."""
        number, numbers, before = x.split([1, 1 + self.observation, self.action], dim=-1)
        goal, observation = ((numbers - self.mean) / self.scale).split([1, self.observation], dim=-1)
        return number[..., 0].long().clamp(min=0), goal, observation, before

    def bounded(self, y: Float[Tensor, "*rows M"]) -> Float[Tensor, "*rows M"]:
        """Any numbers as actions within their bounds."""
        return self.low + (self.high - self.low) * (torch.tanh(y) + 1) / 2


class DecisionModel(Policy):
    """The action of every step. Follows the contract with the steps of `Policy` as tokens.

    Inside, a step is one token of the encoder: the action before, the return-to-go and the observation, each embedded
    by a linear map, and added, with a linear map of sinusoids of the number of the step. Or it is three, in the order
    in which they become known, and the action is read off the last: the sequences of Chen et al. 2021 (Decision
    Transformer) with their last action moved to the next step, and three times the work. In the first step that a
    state has seen there is no action before: a learned vector stands in its place, whatever x holds.

    Args:
        observation, action: numbers in each.
        tokens_per_step: 1 or 3.
        d_model, nhead, dim_feedforward, num_layers, layer, dropout: see `Encoder`.
    """

    periods: Tensor

    def __init__(
        self,
        observation: int,
        action: int,
        *,
        tokens_per_step: int = 1,
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 256,
        num_layers: int = 2,
        layer: str | LayerFactory = "aaren",
        dropout: float = 0.0,
    ):
        super().__init__(observation, action)
        if tokens_per_step not in (1, 3):
            raise ValueError(f"tokens_per_step must be 1 or 3, got {tokens_per_step}")
        self.tokens_per_step, self.d_model = tokens_per_step, d_model
        self.register_buffer("periods", whole_periods(d_model), persistent=False)
        self.embed_action = nn.Linear(action, d_model)
        self.embed_return = nn.Linear(1, d_model)
        self.embed_observation = nn.Linear(observation, d_model)
        self.embed_number = nn.Linear(d_model, d_model, bias=False)
        nn.init.zeros_(self.embed_number.weight)  # sinusoids as they are would drown the observation (`docs/log.md`)
        self.begin = nn.Parameter(torch.zeros(d_model))
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(num_layers, d_model, nhead, dim_feedforward, layer=layer, dropout=dropout)
        self.head = nn.Linear(d_model, action)
        self.constant_state, self.compilable = self.encoder.constant_state, self.encoder.compilable

    def extra_repr(self) -> str:
        return f"tokens_per_step={self.tokens_per_step}"

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> dict[str, State]:
        device = device or self.head.weight.device
        return {
            "steps": torch.zeros(batch_size, dtype=torch.long, device=device),
            "encoder": self.encoder.initial_state(batch_size, device, dtype),
        }

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        state: dict[str, Any] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        at: Int[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B P M"], dict[str, State]]:
        """The call of the contract; `at` names the steps whose actions are wanted, if not all."""
        x = accept(x, self.inputs, padding_mask, reset, self.head.weight)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        check_rows(state["steps"], x.shape[0])
        steps, total = tokens_since(state["steps"], x, padding_mask, reset)
        tokens, parts = self._tokens(x, steps), self.tokens_per_step
        if x.shape[1] == 1:  # one token a call, as streams and exported graphs have it
            h, encoder = self.encoder(tokens[:, :, 0], state["encoder"], padding_mask=padding_mask, reset=reset)
            for part in range(1, parts):
                h, encoder = self.encoder(tokens[:, :, part], encoder, padding_mask=padding_mask)
        else:
            flags: Any = {
                "padding_mask": None if padding_mask is None else padding_mask.repeat_interleave(parts, dim=1),
                "reset": None if reset is None else nn.functional.pad(reset[..., None], (0, parts - 1)).flatten(1),
            }
            h, encoder = self.encoder(tokens.flatten(1, 2), state["encoder"], **flags)
            h = h[:, parts - 1 :: parts]
        if at is not None:
            h = h[torch.arange(h.shape[0], device=h.device)[:, None], at]
        return self.bounded(self.head(h)), {"steps": total, "encoder": encoder}

    def _tokens(self, x: Tensor, steps: Tensor) -> Float[Tensor, "B T P D"]:
        number, goal, observation, before = self.split(x)
        before = torch.where((steps == 1)[..., None], self.begin, self.embed_action(before))
        tokens = torch.stack([before, self.embed_return(goal), self.embed_observation(observation)], dim=2)
        if self.tokens_per_step == 1:
            tokens = tokens.sum(dim=2, keepdim=True)
        waves = sinusoids(number, self.periods)[..., : self.d_model].to(x.dtype)
        return self.dropout(self.norm(tokens + self.embed_number(waves)[:, :, None]))
