"""Aaren: softmax attention whose query is learned, so that it is a recurrent network and a parallel scan at once."""

import abc
import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from aaren.layers.protocol import accept, accept_elapsed, head_width, init_projections
from aaren.ops.scan import attention_scan
from aaren.ops.scan_state import ScanState, empty
from aaren.shapes import Elapsed, PaddingMask, Reset, Scores, Tokens

HALF_LIVES = (4.0, 4096.0)
"""Shortest and longest half-life of the heads of a new `AarenDecay`, in units of `elapsed` (tokens by default)."""


ScoreMap = tuple[Float[Tensor, "H D"], Float[Tensor, "H"]]


class _PrefixSoftmax(nn.Module, abc.ABC):
    """Softmax average of the values of every prefix, with scores that are an affine map of the token."""

    constant_state = True
    compilable = True
    uses_elapsed = False

    v_proj: nn.Linear
    out_proj: nn.Linear

    def __init__(self, d_model: int, nhead: int, dropout: float):
        super().__init__()
        self.d_model, self.nhead, self.dropout = d_model, nhead, dropout
        self.head_dim = head_width(d_model, nhead)

    @abc.abstractmethod
    def score_map(self) -> ScoreMap:
        """Weight and constant of the map from a token to its scores."""

    def extra_repr(self) -> str:
        return f"nhead={self.nhead}"

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ScanState:
        weight = self.v_proj.weight
        dtype = dtype or torch.promote_types(weight.dtype, torch.float32)
        return empty((batch_size, self.nhead), self.head_dim, device or weight.device, dtype)

    def forward(
        self,
        x: Tokens,
        state: ScanState | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Tokens, ScanState]:
        return self.average(x, state, None, padding_mask, reset)

    def average(
        self,
        x: Tokens,
        state: ScanState | None,
        decay: Scores | None,
        padding_mask: PaddingMask | None,
        reset: Reset | None,
    ) -> tuple[Tokens, ScanState]:
        """The call of the contract with a decay (see `attention_scan`); None is the paper."""
        x = accept(x, self.d_model, padding_mask, reset, self.out_proj.weight)
        scores = F.linear(x, *self.score_map())
        values = self.v_proj(x).unflatten(-1, (self.nhead, self.head_dim))
        if self.training and self.dropout:
            values = values * F.dropout(torch.ones_like(scores), self.dropout)[..., None]
        outputs, state = attention_scan(scores, values, state, decay=decay, padding_mask=padding_mask, reset=reset)
        return self.out_proj(outputs.flatten(-2)), state


class Aaren(_PrefixSoftmax):
    """Attention as an RNN: output t is the softmax average of values 1..t for one learned query token.

    The parameters are those of a Transformer's attention (`q_proj`, `k_proj`, `v_proj`, `out_proj`) and the query
    token, `d_model` numbers more. The query does not depend on the input, so neither queries nor keys of the sequence
    are ever computed: the scores of a token are `score_map()` applied to it, exactly.

    Args:
        d_model: width of the tokens.
        nhead: heads, a divisor of `d_model`.
        bias: whether the projections have biases.
        dropout: probability of dropping a token from a head's average, for all later readers alike.

    Raises:
        ValueError: d_model is no multiple of nhead.

    Source: Feng et al. 2024, section 3.3; scores are scaled by 1/√head_dim as in a Transformer.
    """

    def __init__(self, d_model: int, nhead: int = 1, *, bias: bool = True, dropout: float = 0.0):
        super().__init__(d_model, nhead, dropout)
        self.query = nn.Parameter(torch.empty(d_model))
        self.q_proj = nn.Linear(d_model, d_model, bias=bias)
        self.k_proj = nn.Linear(d_model, d_model, bias=bias)
        self.v_proj = nn.Linear(d_model, d_model, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)
        nn.init.normal_(self.query)  # the scale of a token after LayerNorm
        init_projections(self.q_proj, self.k_proj, self.v_proj, self.out_proj)

    def score_map(self) -> ScoreMap:
        """`u_h = W_k,hᵀ (W_q q + b_q)_h / √head_dim`, and the constant that the key bias adds.

        The constant changes no output, but it is in the state's running maximum, and `k_proj.bias` stays in use.
        """
        heads = (self.nhead, self.head_dim)
        q = self.q_proj(self.query).unflatten(-1, heads) / math.sqrt(self.head_dim)
        weight = torch.einsum("hd,hdm->hm", q, self.k_proj.weight.unflatten(0, heads))
        if self.k_proj.bias is None:
            return weight, weight.new_zeros(self.nhead)
        return weight, torch.einsum("hd,hd->h", q, self.k_proj.bias.unflatten(0, heads))

    def fold(self) -> "FoldedAaren":
        """The same function without query and key projections, for deployment: 2·d_model² weights instead of 4."""
        return FoldedAaren(self)


class FoldedAaren(_PrefixSoftmax):
    """What `Aaren.fold()` returns: scores straight from the tokens. States are interchangeable with the original's."""

    def __init__(self, layer: Aaren):
        super().__init__(layer.d_model, layer.nhead, layer.dropout)
        weight, bias = layer.score_map()
        self.score_weight = nn.Parameter(weight.detach().clone())
        self.score_bias = nn.Parameter(bias.detach().clone())
        self.v_proj, self.out_proj = copy.deepcopy(layer.v_proj), copy.deepcopy(layer.out_proj)
        self.train(layer.training)

    def score_map(self) -> ScoreMap:
        return self.score_weight, self.score_bias


def rates_over(count: int, half_lives: tuple[float, float] = HALF_LIVES) -> Float[Tensor, "H"]:
    """Rates whose softplus are decays with half-lives spread evenly over the logarithm of what lies between two."""
    shortest, longest = half_lives
    middle = (torch.arange(count) + 0.5) / count  # a single one: the geometric mean
    decays = math.log(2) / (shortest * (longest / shortest) ** middle)
    return torch.log(torch.expm1(decays))


class AarenDecay(nn.Module):
    """Aaren that forgets: a token's weight halves with every half-life of its head, in tokens or in time.

    Each head has a learned rate; before a token is consumed everything older loses `softplus(rate) · elapsed` in log
    weight. Plain `Aaren` never forgets, so a new token's share shrinks as 1/t: an endless stream needs this layer.

    Args: those of `Aaren`. Not in the paper; the same scan as RWKV-4's decay.
    """

    constant_state = True
    compilable = True
    uses_elapsed = True

    def __init__(self, d_model: int, nhead: int = 1, *, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        self.d_model = d_model
        self.attention: _PrefixSoftmax = Aaren(d_model, nhead, bias=bias, dropout=dropout)
        self.rate = nn.Parameter(rates_over(nhead))

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ScanState:
        return self.attention.initial_state(batch_size, device, dtype)

    def forward(
        self,
        x: Tokens,
        state: ScanState | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
        elapsed: Elapsed | None = None,
    ) -> tuple[Tokens, ScanState]:
        elapsed = accept_elapsed(elapsed, x, padding_mask)
        decay = F.softplus(self.rate) * elapsed[..., None]
        return self.attention.average(x, state, decay, padding_mask, reset)

    def fold(self) -> "AarenDecay":
        """See `Aaren.fold`."""
        folded = copy.deepcopy(self)
        if isinstance(self.attention, Aaren):
            folded.attention = self.attention.fold()
        return folded
