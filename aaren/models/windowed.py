"""A model that sees only the latest tokens, all of them anew at each."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from aaren.layers.protocol import accept, accept_elapsed
from aaren.ops.lags import LagState, lags, no_lags
from aaren.shapes import Elapsed, PaddingMask, Reset, unless_empty


class Windowed(nn.Module):
    """`model` on the last `context` tokens, started empty for each of them. Follows the contract; its state is these
    tokens, so a stream recomputes the window at every step: what one does with a model that cannot stream.

    Args:
        model: any model of the contract, with `inputs` numbers in a token.
        context: tokens that it sees.
    """

    constant_state = True

    def __init__(self, model: Any, context: int):
        super().__init__()
        if context < 2:
            raise ValueError(f"context must be at least 2, got {context}")
        self.model, self.context = model, context
        self.d_model, self.inputs = model.d_model, model.inputs
        self.compilable, self.uses_elapsed = model.compilable, model.uses_elapsed

    def extra_repr(self) -> str:
        return f"context={self.context}"

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LagState:
        """`dtype` has no say: nothing is accumulated from window to window."""
        weight = next(self.model.parameters())
        return no_lags(batch_size, self.context, self.inputs + 1, device or weight.device, weight.dtype)

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        state: LagState | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
        at: Int[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B P K"], LagState]:
        """The call of the contract; `at` names the tokens whose outputs are wanted, if not all."""
        x = accept(x, self.inputs, padding_mask, reset)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        elapsed = accept_elapsed(elapsed, x, padding_mask)
        tokens = torch.cat([x, elapsed[..., None]], dim=-1)
        windows, there, state = lags(tokens, state, padding_mask=padding_mask, reset=reset, at=at)
        shape = windows.shape[:2]
        windows = windows.transpose(-1, -2).flatten(0, 1)  # (B·P, context, inputs + 1)
        age = torch.arange(self.context - 1, -1, -1, device=x.device)
        missing = age >= there.flatten()[:, None]
        # Empty windows, of masked tokens at the start, still need a token: their output means nothing.
        missing = missing & (there.flatten() > 0)[:, None]
        if not torch.compiler.is_compiling():
            missing = unless_empty(missing)
        last = torch.full_like(there.flatten()[:, None], self.context - 1)
        aging = {"elapsed": windows[..., -1]} if self.uses_elapsed else {}
        y, _ = self.model(windows[..., :-1], padding_mask=missing, at=last, **aging)
        return y.unflatten(0, shape)[:, :, 0], state
