"""How a decision model is trained: actions of trajectories, from windows or with the memory of all before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from aaren.data.trajectories import Piece, Trajectory, TrajectoryBatch, collate_pieces, step_tokens
from aaren.models.decision import Policy
from aaren.models.windowed import Windowed
from aaren.shapes import unless_empty
from aaren.train import Fitted, Recipe, fit

RECIPE = Recipe(updates=6000, batch_size=16, learning_rate=3e-3, warmup=100, validate_every=500, keep="last")
"""How an agent is trained if nothing else is said: for a fixed number of updates, whose last weights are kept."""

WINDOW = 20
"""Steps in a window where there is no `context`."""

HISTORY = 8
"""Chunks before a piece that are read, without a gradient, for its memory."""

VALIDATION = 8
"""Batches of the held-out part that are looked at."""

MOST = 256
"""Trajectories in a batch at most, however short they are."""

ROWS = 4
"""Trajectories that are read at a time."""

WINDOWS = 128
"""Windows that are read at a time: less than training holds in memory."""


class Cut(NamedTuple):
    """The lengths that trajectories are cut into, see `DecisionAgent`."""

    context: int | None
    chunk: int = 1000
    whole_every: int = 8


def action_error(model: Any, batch: TrajectoryBatch, chunk: int, half: Tensor) -> Tensor:
    """Mean squared error of the actions, half of their range being 1.

    Args:
        model: the network, maybe wrapped by what trains it on several devices.
        batch: pieces of trajectories.
        chunk: steps of the past that are read at a time.
        half: half of the range of each part of an action.
    """
    state = None
    with torch.no_grad():
        for x, mask in zip(batch.before.split(chunk, dim=1), batch.before_mask.split(chunk, dim=1), strict=True):
            if x.shape[1]:
                _, state = model(x, state, padding_mask=unless_empty(mask))
    actions, _ = model(batch.x, state)  # what is padded comes last: no mask, which would cost more than it saves
    live = ~batch.padding_mask
    return (((actions - batch.actions) / half.to(actions)) ** 2).mean(dim=-1)[live].mean()


class Drawer:
    """Batches of pieces by number.

    With a `context` a piece is a window: so many steps or those of them that are inside a trajectory, with nothing
    before them. Without one that is so in most batches, too, as much is learned from many places at a time; in one
    batch of `whole_every` a piece is a whole trajectory, or of a longer one a chunk of it and what came before to read,
    and there are as many pieces (`MOST` of them) as make up the steps of the windows, and at least of a chunk. Every
    step is as likely.

    Args:
        trajectories: what they are cut from.
        size: windows in a batch.
        cut: how long the pieces are.
        seed: of the places.
    """

    def __init__(self, trajectories: Sequence[Trajectory], size: int, cut: Cut, seed: int):
        self.tokens = [step_tokens(one) for one in trajectories]
        self.actions = [one.actions for one in trajectories]
        self.lengths = np.array([len(actions) for actions in self.actions])
        self.size, self.seed = size, seed
        self.chunk, self.window = cut.chunk, cut.context or min(WINDOW, cut.chunk)
        self.whole_every = cut.whole_every if cut.context is None else 0
        self.long = self.lengths > cut.chunk
        # A chunk of a long one may begin before it or end after it, so that its first and last steps are as likely.
        share = np.where(self.long, (self.lengths + cut.chunk - 1) / cut.chunk, 1)
        self.share = share / share.sum()

    def __call__(self, number: int) -> TrajectoryBatch:
        random = np.random.default_rng((self.seed, number))
        whole = self.whole_every and number % self.whole_every == self.whole_every - 1
        return collate_pieces(self._chunks(random) if whole else self._windows(random))

    def _windows(self, random: np.random.Generator) -> list[Piece]:
        ends = np.cumsum(self.lengths + self.window - 1)  # as with chunks
        places = random.integers(0, ends[-1], self.size)
        which = np.searchsorted(ends, places, side="right")
        last = places - np.concatenate([[0], ends])[which] + 1
        first, last = np.maximum(last - self.window, 0), np.minimum(last, self.lengths[which])
        return [
            Piece(self.tokens[i], self.actions[i], start, start, end)
            for i, start, end in zip(which.tolist(), first.tolist(), last.tolist(), strict=True)
        ]

    def _chunks(self, random: np.random.Generator) -> list[Piece]:
        pieces, steps, wanted = [], 0, max(self.chunk, self.size * self.window)
        while steps < wanted and len(pieces) < MOST:
            which = int(random.choice(len(self.share), p=self.share))
            length, first, last = int(self.lengths[which]), 0, int(self.lengths[which])
            if self.long[which]:
                first = int(random.integers(1 - self.chunk, length))
                first, last = max(first, 0), min(first + self.chunk, length)
            read = max(0, first - HISTORY * self.chunk)
            pieces.append(Piece(self.tokens[which], self.actions[which], read, first, last))
            steps += last - first
        return pieces


def train_decisions(
    network: Policy,
    train: Sequence[Trajectory],
    held: Sequence[Trajectory],
    recipe: Recipe,
    *,
    cut: Cut,
    seed: int = 0,
    checkpoint: Path | None = None,
    run: str = "",
    progress: bool = False,
) -> Fitted:
    """Trains a network in place, see `Drawer`."""
    half = (network.high - network.low) / 2
    lessons = Drawer(train, recipe.batch_size, cut, seed)
    examination = Drawer(held, recipe.batch_size, cut._replace(whole_every=1), seed)
    fixed = [examination(number) for number in range(VALIDATION)]

    def loss(model: nn.Module, batch: TrajectoryBatch) -> Tensor:
        return action_error(model, batch, cut.chunk, half)

    def validate(model: nn.Module, device: torch.device) -> float:
        return float(np.mean([loss(model, some.to(device)).item() for some in fixed]))

    return fit(network, lessons, loss, validate, recipe, seed=seed, checkpoint=checkpoint, run=run, progress=progress)


@torch.no_grad()
def actions_of(model: Any, trajectories: Sequence[Trajectory], chunk: int) -> list[np.ndarray]:
    """The action that the model, a network or one in a window, would do in each step of each trajectory."""
    device, actions = next(model.parameters()).device, []
    if isinstance(model, Windowed):  # each step is a window of its own
        chunk = min(chunk, WINDOWS // ROWS)
    for start in range(0, len(trajectories), ROWS):
        some = trajectories[start : start + ROWS]
        pieces = [Piece(step_tokens(one), one.actions, 0, 0, len(one.actions)) for one in some]
        batch, state, done = collate_pieces(pieces).to(device), None, []
        for x, mask in zip(batch.x.split(chunk, dim=1), batch.padding_mask.split(chunk, dim=1), strict=True):
            y, state = model(x, state, padding_mask=unless_empty(mask))
            done.append(y)
        rows = torch.cat(done, dim=1).cpu().numpy()
        actions += [row[: len(one.actions)] for row, one in zip(rows, some, strict=True)]
    return actions


def network_of(model: Any) -> Policy:
    """The network, be it inside a window or not."""
    return model.model if isinstance(model, Windowed) else model
