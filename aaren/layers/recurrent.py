"""PyTorch's LSTM and GRU under the contract: masks and resets without a Python loop over time.

Packed sequences would do it in one call, but their backward pass takes memory and time in the square of the length."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aaren.layers.protocol import accept, check_rows
from aaren.shapes import PaddingMask, Reset, Tokens


class LSTMState(NamedTuple):
    h: Float[Tensor, "B D"]
    c: Float[Tensor, "B D"]


class GRU(nn.Module):
    """`nn.GRU` of one layer, as wide as its input. `nhead` and `dropout` are accepted for uniformity and unused."""

    constant_state = True
    compilable = False  # the number of live tokens decides shapes
    uses_elapsed = False

    def __init__(self, d_model: int, nhead: int = 1, *, dropout: float = 0.0):
        super().__init__()
        self.d_model = d_model
        self.rnn = nn.GRU(d_model, d_model, batch_first=True)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Float[Tensor, "B D"]:
        """Zeros in the dtype of the parameters (`dtype` is for sums; a gated state is none)."""
        return _zeros(self.rnn, batch_size, device)

    def forward(
        self,
        x: Tokens,
        state: Float[Tensor, "B D"] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Tokens, Float[Tensor, "B D"]]:
        x = accept(x, self.d_model, padding_mask, reset, next(self.rnn.parameters()))
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        y, (h,) = _run(self.rnn, x, (state,), padding_mask, reset)
        return y, h


class LSTM(nn.Module):
    """`nn.LSTM` of one layer, as wide as its input. `nhead` and `dropout` are accepted for uniformity and unused."""

    constant_state = True
    compilable = False
    uses_elapsed = False

    def __init__(self, d_model: int, nhead: int = 1, *, dropout: float = 0.0):
        super().__init__()
        self.d_model = d_model
        self.rnn = nn.LSTM(d_model, d_model, batch_first=True)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LSTMState:
        """Zeros in the dtype of the parameters (`dtype` is for sums; a gated state is none)."""
        return LSTMState(_zeros(self.rnn, batch_size, device), _zeros(self.rnn, batch_size, device))

    def forward(
        self,
        x: Tokens,
        state: LSTMState | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Tokens, LSTMState]:
        x = accept(x, self.d_model, padding_mask, reset, next(self.rnn.parameters()))
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        y, hidden = _run(self.rnn, x, state, padding_mask, reset)
        return y, LSTMState(*hidden)


def _zeros(rnn: nn.RNNBase, batch_size: int, device: torch.device | str | None) -> Tensor:
    weight = next(rnn.parameters())
    return torch.zeros(batch_size, rnn.hidden_size, device=device or weight.device, dtype=weight.dtype)


def _run(
    rnn: nn.RNNBase,
    x: Tokens,
    hidden: tuple[Tensor, ...],
    padding_mask: PaddingMask | None,
    reset: Reset | None,
) -> tuple[Tokens, tuple[Tensor, ...]]:
    """The rows of x as independent stretches of live tokens between resets, longest first, in one call of `rnn` for
    each length there is: from the end of one stretch to the end of the next longer one.

    Outputs at masked steps are zero.
    """
    check_rows(hidden[0], x.shape[0])
    if padding_mask is None and reset is None:
        y, final = _call(rnn, x, hidden)
        return y, tuple(end.to(h.dtype) for h, end in zip(hidden, final, strict=True))

    batch, time, width = x.shape
    live = torch.ones(batch, time, dtype=torch.bool, device=x.device) if padding_mask is None else ~padding_mask
    if not live.any():
        y, _ = _call(rnn, torch.zeros_like(x), hidden)
        return torch.where(live[..., None], y, 0.0), tuple(hidden)  # zeros with a gradient, of the type of outputs
    part = torch.zeros_like(live, dtype=torch.long) if reset is None else (reset & live).cumsum(dim=1)
    row, step = live.nonzero(as_tuple=True)  # row by row, in time order
    _, lengths = torch.unique_consecutive(row * (time + 1) + part[row, step], return_counts=True)
    first = lengths.cumsum(0) - lengths  # of the live tokens, the one that begins each stretch
    order = lengths.argsort(descending=True)
    continues = (part[row, step][first] == 0)[:, None]  # a stretch after a reset starts from nothing
    ends = tuple(torch.where(continues, h[row[first]], 0.0)[order] for h in hidden)

    stops, counts = lengths.unique(return_counts=True)
    going = counts.flip(0).cumsum(0).flip(0).tolist()  # stretches that are as long
    stops = stops.tolist()
    spans = [*zip([0, *stops[:-1]], stops, going, strict=True)]
    begin = first[order][:, None]
    token = torch.cat([(begin[:rows] + torch.arange(a, b, device=x.device)).flatten() for a, b, rows in spans])
    row_of, step_of = row[token], step[token]
    blocks, outputs = x[row_of, step_of].split([(b - a) * rows for a, b, rows in spans]), []
    for (a, b, rows), block in zip(spans, blocks, strict=True):
        y, after = _call(rnn, block.view(rows, b - a, width), tuple(h[:rows].contiguous() for h in ends))
        ends = tuple(torch.cat([h, end[rows:].to(h.dtype)]) for h, end in zip(after, ends, strict=True))
        outputs.append(y.flatten(0, 1))

    flat = torch.cat(outputs)
    y = flat.new_zeros(batch, time, flat.shape[1]).index_put((row_of, step_of), flat)
    is_last = torch.ones_like(first, dtype=torch.bool)  # of the stretches of its row
    is_last[:-1] = row[first][1:] != row[first][:-1]
    place = order.argsort()[is_last]
    final = tuple(
        h.index_put((row[first][is_last],), end[place].to(h.dtype)) for h, end in zip(hidden, ends, strict=True)
    )
    return y, final


def _call(rnn: nn.RNNBase, x, hidden: tuple[Tensor, ...]):
    """`rnn(x, hidden)` with hidden as a tuple of (rows, width) for LSTM and GRU alike."""
    stacked = tuple(h[None] for h in hidden)
    y, final = rnn(x, stacked if isinstance(rnn, nn.LSTM) else stacked[0])
    return y, tuple(h[0] for h in (final if isinstance(rnn, nn.LSTM) else (final,)))
