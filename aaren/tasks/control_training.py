"""How a decision model is trained: actions of trajectories, from windows or with the memory of all before."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aaren.data.trajectories import Piece, Trajectory, TrajectoryBatch, collate_pieces, step_tokens
from aaren.models.decision import DecisionModel
from aaren.models.windowed import Windowed
from aaren.shapes import unless_empty
from aaren.train import Fitted, Recipe, fit

RECIPES = {
    "windowed": Recipe(updates=2000, batch_size=64, learning_rate=1e-3, warmup=100, validate_every=200, keep="last"),
    "streaming": Recipe(updates=500, batch_size=4, learning_rate=1e-3, warmup=50, validate_every=50, keep="last"),
}
"""How an agent is trained if nothing else is said: for a fixed number of updates, whose last weights are kept."""

HISTORY = 8
"""Chunks before a piece that are read, without a gradient, for its memory."""

VALIDATION = 8
"""Batches of the held-out part that are looked at."""

ROWS = 16
"""Trajectories that are read at a time."""


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


def drawer(
    trajectories: Sequence[Trajectory], length: int, size: int, seed: int, past: bool
) -> Callable[[int], TrajectoryBatch]:
    """Batches of pieces by number: `size` pieces of at most `length` steps, in which every step is as likely.

    Args:
        trajectories: what they are cut from.
        length: of a piece at most.
        size: pieces in a batch.
        seed: of the places.
        past: whether the steps before a piece are read, too, and it is all of a trajectory that is not longer. If not,
            a piece begins at any step of its trajectory.
    """
    whole = [(step_tokens(one), one.actions) for one in trajectories]
    ends = np.cumsum([len(actions) for _, actions in whole])

    def piece(step: int, offset: int) -> Piece:
        which = int(np.searchsorted(ends, step, side="right"))
        x, actions = whole[which]
        place = step - (int(ends[which]) - len(actions))
        if not past:
            return Piece(x, actions, place, place, min(place + length, len(actions)))
        first = place - (place + offset * (len(actions) > length)) % length
        last, first = min(first + length, len(actions)), max(first, 0)
        return Piece(x, actions, max(0, first - HISTORY * length), first, last)

    def batch(number: int) -> TrajectoryBatch:
        random = np.random.default_rng((seed, number))
        steps, offsets = random.integers(0, ends[-1], size), random.integers(0, length, size)
        return collate_pieces([piece(int(step), int(offset)) for step, offset in zip(steps, offsets, strict=True)])

    return batch


def train_decisions(
    network: DecisionModel,
    train: Sequence[Trajectory],
    held: Sequence[Trajectory],
    recipe: Recipe,
    *,
    context: int | None,
    chunk: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    run: str = "",
    progress: bool = False,
) -> Fitted:
    """Trains a network in place. With a `context` it learns from windows of so many steps; without one from chunks of
    trajectories, carrying the state from chunk to chunk."""
    half = (network.high - network.low) / 2
    length = chunk if context is None else context
    batch = drawer(train, length, recipe.batch_size, seed, past=context is None)
    draw = drawer(held, length, recipe.batch_size, seed, past=context is None)
    fixed = [draw(number) for number in range(VALIDATION)]

    def loss(model: nn.Module, batch: TrajectoryBatch) -> Tensor:
        return action_error(model, batch, chunk, half)

    def validate(model: nn.Module, device: torch.device) -> float:
        return float(np.mean([loss(model, some.to(device)).item() for some in fixed]))

    return fit(network, batch, loss, validate, recipe, seed=seed, checkpoint=checkpoint, run=run, progress=progress)


@torch.no_grad()
def actions_of(model: Any, trajectories: Sequence[Trajectory], chunk: int) -> list[np.ndarray]:
    """The action that the model, a network or one in a window, would do in each step of each trajectory."""
    device, actions = next(model.parameters()).device, []
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


def network_of(model: Any) -> DecisionModel:
    """The network, be it inside a window or not."""
    return model.model if isinstance(model, Windowed) else model
