"""A marked point process whose memory is any layer."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aaren.layers.embed import Positions
from aaren.layers.protocol import LayerFactory, State, accept, check_rows
from aaren.models.encoder import Encoder
from aaren.models.next_event import NextEvent
from aaren.shapes import PaddingMask, Reset

NARROWEST = 1e-2
"""Least standard deviation of a component, in spreads of the logarithm of the training part's gaps."""

UNKNOWN = 0.02
"""Share of marks that training hides, so that a mark never seen before has a meaning."""


class EventModel(nn.Module):
    """After every event, what may come next. Follows the contract: tokens (gap, place of the mark) in, the numbers of a
    `NextEvent` out.

    A token is embedded by its mark, the logarithm of its gap, sinusoids of the time since the start of the sequence and
    of the number of the event. Before the first event the encoder's output is taken to be zero, so the biases of the
    head learn what an empty history means. Head and density follow Shchur et al. 2020 and the mixtures of Bae et al.
    2023: a layer of tanh, then weights, locations and spreads. The map to marks has the weights of their embedding
    (Press & Wolf 2017): so a mark, even one that training never saw, can be remembered and said again.

    Args:
        marks: size of the vocabulary; 0 = events have no marks.
        mixture: components of the density.
        periods: of the sinusoids, in units of time.
        d_model, nhead, dim_feedforward, num_layers, layer, dropout: see `Encoder`.

    A gap below 0 (`NO_GAP` in `aaren.data.events`) means that nothing is known of what was before. Places of marks from
    `marks` on mean any other mark.
    """

    log_mean: Tensor
    log_spread: Tensor
    unit: Tensor
    frequency: Tensor

    constant_state: bool
    compilable: bool
    uses_elapsed = False  # its tokens tell the time

    def __init__(
        self,
        marks: int = 0,
        *,
        mixture: int = 8,
        periods: Sequence[float] = (1.0,),
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 128,
        num_layers: int = 2,
        layer: str | LayerFactory = "aaren",
        dropout: float = 0.1,
    ):
        super().__init__()
        self.marks, self.mixture, self.d_model = marks, mixture, d_model
        self.resolution, self.longest = 1.0, 1e3
        self.register_buffer("log_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("log_spread", torch.ones((), dtype=torch.float64))
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))
        frequency = 2 * math.pi / torch.tensor(list(periods), dtype=torch.float64)
        self.register_buffer("frequency", frequency)
        self.embed = nn.Linear(2 + 2 * len(frequency), d_model)
        self.embed_mark = nn.Embedding(marks + 1, d_model) if marks else None
        self.mark_bias = nn.Parameter(torch.zeros(marks)) if marks else None
        self.positions = Positions(d_model)
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(num_layers, d_model, nhead, dim_feedforward, layer=layer, dropout=dropout)
        self.inside = nn.Linear(d_model, d_model)
        self.time_head = nn.Linear(d_model, 3 * mixture)
        self.mark_head = nn.Linear(d_model, d_model, bias=False) if marks else None
        if self.embed_mark is not None and self.mark_head is not None:
            nn.init.normal_(self.embed_mark.weight, std=d_model**-0.5)
            nn.init.eye_(self.mark_head.weight)  # at first the mark that is remembered best is the guess
        self.constant_state, self.compilable = self.encoder.constant_state, self.encoder.compilable

    def scale(self, log_mean: float, log_spread: float, unit: float, resolution: float, longest: float) -> None:
        """Sets what times are measured by: statistics of the gaps of the training part.

        Args:
            log_mean, log_spread: mean and standard deviation of their logarithms.
            unit: their mean, what layers that age count in.
            resolution: gaps up to this count as equal.
            longest: of the gaps; in means longer ones count as this.
        """
        self.log_mean.fill_(log_mean)
        self.log_spread.fill_(log_spread)
        self.unit.fill_(unit)
        self.resolution, self.longest = resolution, longest

    def extra_repr(self) -> str:
        return f"marks={self.marks}, mixture={self.mixture}, resolution={self.resolution}"

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> dict[str, State]:
        weight = self.time_head.weight
        device = device or weight.device
        return {
            "clock": torch.zeros(batch_size, device=device, dtype=torch.float64),
            "positions": self.positions.initial_state(batch_size, device, dtype),
            "encoder": self.encoder.initial_state(batch_size, device, dtype),
            "latest": torch.zeros(batch_size, self.d_model, device=device, dtype=weight.dtype),
        }

    def forward(
        self,
        x: Float[Tensor, "B T 2"],
        state: dict[str, Any] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Float[Tensor, "B T N"], dict[str, State]]:
        h, state = self.encode(x, state, padding_mask=padding_mask, reset=reset)
        return self.numbers(h), state

    def encode(
        self,
        x: Float[Tensor, "B T 2"],
        state: dict[str, Any] | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Float[Tensor, "B T D"], dict[str, State]]:
        """What is remembered after every event; `next_event` reads it."""
        x = accept(x, 2, padding_mask, reset, self.time_head.weight)
        if state is None:
            state = self.initial_state(x.shape[0], x.device)
        check_rows(state["clock"], x.shape[0])
        gap = x[..., 0].clamp(min=0)
        known = (x[..., 0] >= 0).to(x.dtype)
        clock, last = self._clock(gap.double(), state["clock"], padding_mask, reset)
        z = (gap.double().clamp(min=self.resolution).log() - self.log_mean) / self.log_spread
        phase = clock[..., None] * self.frequency
        waves = torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-2).to(x.dtype)
        h = self.embed(torch.cat([z.to(x.dtype)[..., None] * known[..., None], known[..., None], waves], dim=-1))
        if self.embed_mark is not None:
            h = h + self.d_model**0.5 * self.embed_mark(self._places(x[..., 1]))
        flags: Any = {"padding_mask": padding_mask, "reset": reset}
        h, positions = self.positions(h, state["positions"], **flags)
        elapsed = (gap / self.unit).to(x.dtype) if self.encoder.uses_elapsed else None
        h, encoder = self.encoder(self.dropout(h), state["encoder"], elapsed=elapsed, **flags)
        latest = _latest(h, state["latest"], padding_mask)
        return h, {"clock": last, "positions": positions, "encoder": encoder, "latest": latest}

    def numbers(self, h: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows N"]:
        """The numbers of a `NextEvent`, see `next_event`."""
        times = self.time_head(torch.tanh(self.inside(h)))
        if self.embed_mark is None or self.mark_head is None:
            return times
        marks = nn.functional.linear(self.mark_head(h), self.embed_mark.weight[:-1], self.mark_bias)
        return torch.cat([times, marks], dim=-1)

    def next_event(self, numbers: Float[Tensor, "*rows N"]) -> NextEvent:
        """What outputs of the model mean, in units of time; at least in float32, whatever they were computed in."""
        numbers = numbers if numbers.dtype.itemsize >= 4 else numbers.float()
        weight, location, spread, marks = numbers.split([self.mixture] * 3 + [self.marks], dim=-1)
        scale = self.log_spread.to(numbers.dtype)
        return NextEvent(
            weight.log_softmax(dim=-1),
            self.log_mean.to(numbers.dtype) + scale * location,
            scale * (nn.functional.softplus(spread) + NARROWEST),
            marks,
            self.resolution,
            self.longest,
        )

    def _clock(
        self, gap: Tensor, before: Tensor, padding_mask: PaddingMask | None, reset: Reset | None
    ) -> tuple[Tensor, Tensor]:
        """Time since the start at every event, and at the last."""
        gap = gap if padding_mask is None else torch.where(padding_mask, 0.0, gap)
        clock = before[:, None] + gap.cumsum(dim=1)
        if reset is not None:  # an event that resets is the first of a new sequence, its gap the time since the start
            live = reset if padding_mask is None else reset & ~padding_mask
            start = torch.where(live, clock - gap, 0.0)
            clock = clock - start.cummax(dim=1).values
        return clock, clock[:, -1]

    def _places(self, marks: Tensor) -> Tensor:
        places = marks.long().clamp(0, self.marks)
        if self.training:
            places = torch.where(torch.rand_like(marks) < UNKNOWN, self.marks, places)
        return places


def _latest(h: Tensor, before: Tensor, padding_mask: PaddingMask | None) -> Tensor:
    """The last of h that is of an event, or what was before."""
    if padding_mask is None:
        return h[:, -1]
    line = torch.cat([before[:, None], h], dim=1)
    place = torch.where(padding_mask, 0, torch.arange(1, line.shape[1], device=h.device)).amax(dim=1)
    return line[torch.arange(len(line), device=h.device), place]
