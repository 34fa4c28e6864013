"""How event models are trained and scored: likelihoods of stretches of events, with the memory of what came before."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from aaren import state as states
from aaren.data.events import EventBatch, Stretch, collate_events
from aaren.layers.protocol import State
from aaren.models.event_model import EventModel
from aaren.models.next_event import NextEvent
from aaren.shapes import unless_empty
from aaren.tasks.event_parts import Part
from aaren.tasks.event_scores import Told
from aaren.train import Fitted, Recipe, fit

HISTORY = 8
"""Chunks before a stretch that are read, without a gradient, for its memory."""

ROWS = 64
"""Sequences that are scored at a time."""

NUMBERS = 2**22
"""Log probabilities of marks that are in memory at a time."""


class LogLikelihood(NamedTuple):
    """Sums over events, in nats."""

    time: Tensor
    """of the gaps"""
    mark: Tensor
    """of the marks"""
    survival: Tensor
    """of there being no event after the last"""
    events: Tensor
    """number that were forecast"""

    @property
    def loss(self) -> Tensor:
        """Negative log-likelihood of an event."""
        return -(self.time + self.mark + self.survival) / self.events.clamp(min=1)


class Likelihood(nn.Module):
    """The log-likelihood of a batch of stretches under a model, for training."""

    def __init__(self, model: EventModel, chunk: int):
        super().__init__()
        self.model, self.chunk = model, chunk

    def forward(self, batch: EventBatch) -> LogLikelihood:
        state = self.model.initial_state(len(batch.x)) | {"clock": batch.clock, "positions": batch.number}
        with torch.no_grad():
            pieces = zip(batch.before.split(self.chunk, dim=1), batch.before_mask.split(self.chunk, dim=1), strict=True)
            for x, mask in pieces:
                if x.shape[1]:
                    _, state = self.model.encode(x, state, padding_mask=unless_empty(mask))
        before = state["latest"][:, None]
        if batch.x.shape[1]:  # sequences without an event have time without one
            h, state = self.model.encode(batch.x, state, padding_mask=unless_empty(batch.padding_mask))
            before = torch.cat([before, h[:, :-1]], dim=1)
        before = before[:, : batch.x.shape[1]]
        return _log_likelihood(self.model, before, state["latest"], batch.x, batch.padding_mask, batch.tail)


def _log_likelihood(
    model: EventModel, before: Tensor, latest: Tensor, x: Tensor, padding_mask: Tensor, tail: Tensor
) -> LogLikelihood:
    """Of events x, from what was remembered before each of them, and of the time after the latest."""
    forecast = ~padding_mask & (x[..., 0] >= 0)
    coming = model.next_event(model.numbers(before[forecast]))
    gap, mark = x[forecast].unbind(dim=-1)
    late = tail > 0
    survival = model.next_event(model.numbers(latest[late])).log_survival(tail[late])
    return LogLikelihood(
        coming.log_density(gap).sum(), coming.log_mark(mark).sum(), survival.sum(), forecast.sum().to(gap.dtype)
    )


def pieces(tokens: Sequence[np.ndarray], tails: Sequence[float], chunk: int, offsets: Sequence[int]) -> list[Stretch]:
    """All events of all sequences as stretches of at most `chunk`, the first of each sequence `offset` shorter."""
    stretches = []
    for events, tail, offset in zip(tokens, tails, offsets, strict=True):
        cuts = [0, *range(chunk - offset, len(events), chunk)]
        for first, last in zip(cuts, [*cuts[1:], len(events)], strict=True):
            read = max(0, first - HISTORY * chunk)
            stretches.append(Stretch(events, read, first, last, tail if last == len(events) else 0.0))
    return stretches


def train_events(
    model: EventModel,
    train: Part,
    held: Part,
    recipe: Recipe,
    *,
    chunk: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    run: str = "",
    progress: bool = False,
) -> Fitted:
    """Trains a model in place, selected by its negative log-likelihood of the events held out.

    An epoch is every stretch of `chunk` events once; sequences that are longer are cut at other places in each.
    """
    lengths = np.array([len(events) for events in train.tokens])
    size, begins, epochs = recipe.batch_size, [0], dict[int, list[Stretch]]()

    def offsets(number: int) -> np.ndarray:
        random = np.random.default_rng((seed, number))
        return np.where(lengths > chunk, random.integers(0, chunk, len(lengths)), 0)

    def epoch(number: int) -> list[Stretch]:
        if number not in epochs:
            stretches = pieces(train.tokens, train.tails, chunk, offsets(number).tolist())
            order = np.random.default_rng((seed, number, 1)).permutation(len(stretches))
            epochs.clear()
            epochs[number] = [stretches[i] for i in order]
        return epochs[number]

    def batch(number: int) -> EventBatch:
        while number >= begins[-1]:  # other cuts make another number of stretches
            count = int(np.maximum(-(-(lengths + offsets(len(begins) - 1)) // chunk), 1).sum())
            begins.append(begins[-1] + -(-count // size))
        which = bisect_right(begins, number) - 1
        place = (number - begins[which]) * size
        return collate_events(epoch(which)[place : place + size])

    def validate(_: nn.Module, device: torch.device) -> float:
        total, events = 0.0, 0
        for told in tell(model, held, chunk):
            of_events = told.coming.log_density(told.gap) + told.coming.log_mark(told.mark)
            total += float(of_events.sum() + told.survival.sum())
            events += len(told.gap)
        return -total / max(events, 1)

    return fit(
        Likelihood(model, chunk),
        batch,
        lambda wrapped, some: wrapped(some).loss,
        validate,
        recipe,
        seed=seed,
        checkpoint=checkpoint,
        run=run,
        progress=progress,
    )


@torch.no_grad()
def walk(
    model: EventModel, tokens: Sequence[np.ndarray], chunk: int, dtype: torch.dtype = torch.float64
) -> Iterator[tuple[int, EventBatch, Float[Tensor, "B T D"], dict[str, State]]]:
    """Through sequences side by side, a chunk at a time: the number of the chunk's first event, its events, what was
    remembered before each of them, and the state after the chunk, with sums of this precision. At least one chunk, if
    an empty one."""
    model.eval()
    device = next(model.parameters()).device
    state = model.initial_state(len(tokens), dtype=dtype)
    for begin in range(0, max(1, *(len(events) for events in tokens)), chunk):
        parts = [events[begin : begin + chunk] for events in tokens]
        batch = collate_events([Stretch(part, 0, 0, len(part), 0.0) for part in parts]).to(device)
        before = state["latest"][:, None]
        if batch.x.shape[1]:
            h, state = model.encode(batch.x, state, padding_mask=unless_empty(batch.padding_mask))
            before = torch.cat([before, h[:, :-1]], dim=1)
        yield begin, batch, before[:, : batch.x.shape[1]], state


def tell(model: EventModel, part: Part, chunk: int) -> Iterator[Told]:
    """The forecasts of all events of a part but those at the beginning that are only read, in bounded memory."""
    order = np.argsort([len(events) for events in part.tokens], kind="stable")
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        lengths = torch.tensor([len(part.tokens[row]) for row in rows])
        first = torch.tensor([part.first[row] for row in rows])
        tails = torch.tensor([part.tails[row] for row in rows], dtype=torch.float64)
        for begin, batch, before, state in walk(model, [part.tokens[row] for row in rows], chunk):
            place = begin + torch.arange(batch.x.shape[1])
            wanted = (place >= first[:, None]).to(batch.x.device)
            forecast = (~batch.padding_mask & (batch.x[..., 0] >= 0) & wanted).nonzero()
            ends = (lengths <= begin + chunk) & ((lengths > begin) | (begin == 0)) & (tails > 0)
            none = torch.zeros_like(ends)
            some = forecast.split(max(1, NUMBERS // (model.marks + 1)))
            for ended, (row, column) in zip([none] * (len(some) - 1) + [ends], (one.T for one in some), strict=True):
                gap, mark = batch.x[row, column].unbind(dim=-1)
                quiet = coming_after(model, state["latest"][ended.to(gap.device)])
                yield Told(
                    rows[row.cpu().numpy()],
                    coming_after(model, before[row, column]),
                    gap.cpu().double(),
                    mark.cpu().long(),
                    rows[ended.numpy()],
                    quiet.log_survival(tails[ended]),
                )


def memories(
    model: EventModel, tokens: Sequence[np.ndarray], chunk: int, dtype: torch.dtype = torch.float64
) -> dict[str, State]:
    """The state after all events of each sequence."""
    done = []
    for start in range(0, len(tokens), ROWS):
        *_, (*_, state) = walk(model, tokens[start : start + ROWS], chunk, dtype)
        done.append(state)
    return states.concat(done)


def coming_after(model: EventModel, memory: Float[Tensor, "*rows D"]) -> NextEvent:
    """What may come next, given what is remembered; on the CPU in float64."""
    with torch.no_grad():
        return model.next_event(model.numbers(memory)).exact()
