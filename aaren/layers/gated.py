"""minGRU and minLSTM: gated networks whose gates see the token only, so that a linear scan computes them."""

import abc

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from aaren.layers.protocol import accept
from aaren.ops.linear_scan import linear_scan
from aaren.shapes import PaddingMask, Reset, Tokens


class _Gated(nn.Module, abc.ABC):
    """`h_t = keep_t ⊙ h_{t-1} + (1 - keep_t) ⊙ g(h̃_t)`; y = h. `nhead` and `dropout` are unused."""

    constant_state = True
    compilable = True
    uses_elapsed = False

    def __init__(self, d_model: int, nhead: int = 1, *, dropout: float = 0.0):
        super().__init__()
        self.d_model = d_model
        self.h_proj = nn.Linear(d_model, d_model)

    @abc.abstractmethod
    def keep(self, x: Tokens) -> Tokens:
        """How much of each channel survives the token, between 0 and 1."""

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Float[Tensor, "B D"]:
        weight = self.h_proj.weight
        dtype = dtype or torch.promote_types(weight.dtype, torch.float32)
        return torch.zeros(batch_size, self.d_model, device=device or weight.device, dtype=dtype)

    def forward(
        self,
        x: Tokens,
        state: Float[Tensor, "B D"] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Tokens, Float[Tensor, "B D"]]:
        x = accept(x, self.d_model, padding_mask, reset, self.h_proj.weight)
        keep, candidate = self.keep(x), self.h_proj(x)
        # Positive and continuous, as the paper's log-space form needs it; here the state itself is carried, never its
        # logarithm, so any incoming state will do.
        candidate = torch.where(candidate >= 0, candidate + 0.5, torch.sigmoid(candidate))
        return linear_scan(keep, (1 - keep) * candidate, state, padding_mask=padding_mask, reset=reset)


class MinGRU(_Gated):
    """A GRU without the hidden state in its gates, as wide as its input: `keep = 1 - σ(W_z x)`.

    Source: Feng et al. 2024, "Were RNNs All We Needed?", section 3.1 and appendix (g). `nhead` and `dropout` are
    accepted for uniformity and unused.
    """

    def __init__(self, d_model: int, nhead: int = 1, *, dropout: float = 0.0):
        super().__init__(d_model, nhead, dropout=dropout)
        self.z_proj = nn.Linear(d_model, d_model)

    def keep(self, x: Tokens) -> Tokens:
        return torch.sigmoid(-self.z_proj(x))


class MinLSTM(_Gated):
    """An LSTM without the hidden state in its gates, as wide as its input: `keep = f / (f + i)`, f and i its forget and
    input gates.

    Source: Feng et al. 2024, "Were RNNs All We Needed?", section 3.2 (with length independence). `nhead` and `dropout`
    are accepted for uniformity and unused.
    """

    def __init__(self, d_model: int, nhead: int = 1, *, dropout: float = 0.0):
        super().__init__(d_model, nhead, dropout=dropout)
        self.f_proj, self.i_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def keep(self, x: Tokens) -> Tokens:
        return torch.sigmoid(F.logsigmoid(self.f_proj(x)) - F.logsigmoid(self.i_proj(x)))
