"""The Transformer's causal self-attention with its key-value cache as state: the baseline of every comparison."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from aaren.layers.protocol import accept, check_rows, head_width, init_projections
from aaren.shapes import PaddingMask, Reset, Tokens


class KVCache(NamedTuple):
    """Keys and values of the tokens seen, newest last. `live` is False for unused slots, which hold zeros, and stand
    before the used ones."""

    keys: Float[Tensor, "B H S E"]
    values: Float[Tensor, "B H S E"]
    live: Bool[Tensor, "B S"]


class Attention(nn.Module):
    """Causal softmax attention (`scaled_dot_product_attention`); token t reads tokens 1..t, or the last `window`.

    Args:
        d_model: width of the tokens.
        nhead: heads, a divisor of `d_model`.
        bias: whether the projections have biases.
        dropout: probability of dropping a token from a head's average, for all later readers alike, as in `Aaren`.
            (`nn.MultiheadAttention` draws anew for each reader, which no fused kernel of PyTorch for CPUs can.)
        window: tokens that a token reads, itself included; None = all. With a window the state has a fixed size.

    Raises:
        ValueError: d_model is no multiple of nhead, or window is below 1.

    Source: Vaswani et al. 2017.
    """

    compilable = True
    uses_elapsed = False

    def __init__(
        self, d_model: int, nhead: int = 1, *, bias: bool = True, dropout: float = 0.0, window: int | None = None
    ):
        super().__init__()
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1, or None for no limit, got {window}")
        self.d_model, self.nhead, self.head_dim, self.dropout = d_model, nhead, head_width(d_model, nhead), dropout
        self.window, self.constant_state = window, window is not None
        self.q_proj = nn.Linear(d_model, d_model, bias=bias)
        self.k_proj = nn.Linear(d_model, d_model, bias=bias)
        self.v_proj = nn.Linear(d_model, d_model, bias=bias)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)
        init_projections(self.q_proj, self.k_proj, self.v_proj, self.out_proj)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> KVCache:
        """An empty cache in the dtype of the parameters (`dtype` is for sums; a cache is none)."""
        weight = self.k_proj.weight
        slots = self.window or 0
        keys = torch.zeros(
            batch_size, self.nhead, slots, self.head_dim, device=device or weight.device, dtype=weight.dtype
        )
        live = torch.zeros(batch_size, slots, device=keys.device, dtype=torch.bool)
        return KVCache(keys, torch.zeros_like(keys), live)

    def forward(
        self,
        x: Tokens,
        state: KVCache | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Tokens, KVCache]:
        x = accept(x, self.d_model, padding_mask, reset, self.out_proj.weight)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        check_rows(state.live, x.shape[0])
        queries, keys, values = (self._heads(projection, x) for projection in (self.q_proj, self.k_proj, self.v_proj))
        if self.training and self.dropout:
            values = values * F.dropout(torch.ones_like(values[..., :1]), self.dropout)
        new_live = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if padding_mask is None else ~padding_mask
        cache = KVCache(
            torch.cat([state.keys.to(keys.dtype), keys], dim=2),
            torch.cat([state.values.to(values.dtype), values], dim=2),
            torch.cat([state.live, new_live], dim=1),
        )
        # Which reset a slot comes after; everything in the incoming cache comes before all of them.
        resets = None if reset is None else F.pad((reset & new_live).cumsum(dim=1), (state.live.shape[1], 0))

        if padding_mask is None and reset is None and self.window is None and state.live.shape[1] == 0:
            y = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:
            mask = self._visible(cache.live, resets, x.shape[1])[:, None]
            y = F.scaled_dot_product_attention(queries, cache.keys, cache.values, attn_mask=mask)
        y = self.out_proj(y.transpose(1, 2).flatten(-2))

        if resets is not None:
            cache = cache._replace(live=cache.live & (resets == resets[:, -1:]))
        return y, self._trim(cache, moved=padding_mask is not None or reset is not None)

    def extra_repr(self) -> str:
        return f"nhead={self.nhead}, window={self.window}"

    def _heads(self, projection: nn.Linear, x: Tokens) -> Float[Tensor, "B H T E"]:
        return projection(x).unflatten(-1, (self.nhead, self.head_dim)).transpose(1, 2)

    def _visible(self, live: Bool[Tensor, "B S"], resets: Tensor | None, time: int) -> Bool[Tensor, "B T S"]:
        """Which slots each of the last `time` tokens reads."""
        slot = torch.arange(live.shape[1], device=live.device)
        reader = slot[-time:, None]
        visible = (slot <= reader) & live[:, None, :]
        if resets is not None:
            visible = visible & (resets[:, None, :] == resets[:, -time:, None])
        if self.window is not None:
            seen = live.cumsum(dim=1)
            visible = visible & (seen[:, None, :] > seen[:, -time:, None] - self.window)
        return visible | (slot == reader)  # a masked token reads itself: an empty softmax would be NaN

    def _trim(self, cache: KVCache, moved: bool) -> KVCache:
        """Keeps exactly the slots in use by the fullest row (or the window); `moved`: unused ones may lie anywhere."""
        if moved:
            order = torch.argsort(cache.live.to(torch.int8), dim=1, stable=True)  # unused first, else in order
            live = cache.live.gather(1, order)
            index = order[:, None, :, None].expand_as(cache.keys)
            keys, values = (
                torch.where(live[:, None, :, None], x.gather(2, index), 0.0) for x in (cache.keys, cache.values)
            )
            cache = KVCache(keys, values, live)
        if self.window is not None:
            slots = self.window
        elif torch.compiler.is_compiling() or cache.live[:, 0].any():
            return cache  # a compiled graph cannot choose a size by looking at data; and if a row uses all, all stay
        else:
            slots = int(cache.live.any(dim=0).sum())
        unused = cache.live.shape[1] - slots
        return KVCache(cache.keys[:, :, unused:], cache.values[:, :, unused:], cache.live[:, unused:])
