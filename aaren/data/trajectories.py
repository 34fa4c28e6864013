"""Trajectories of an agent in an environment: checks, returns, batches. Knows no model."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from aaren.shapes import PaddingMask

Bounds = tuple[float, float] | tuple[tuple[float, ...], tuple[float, ...]]
"""Least and greatest action: two numbers, or two lists of a number for each part of an action."""


class Trajectory(NamedTuple):
    """One episode: in step t the agent saw `observations[t]`, did `actions[t]` and was given `rewards[t]`."""

    observations: np.ndarray
    """(steps, observation), float32"""
    actions: np.ndarray
    """(steps, action), float32"""
    rewards: np.ndarray
    """(steps,), float32"""

    @property
    def total(self) -> float:
        """Its return, the sum of its rewards."""
        return float(self.rewards.sum(dtype=np.float64))

    @property
    def returns_to_go(self) -> np.ndarray:
        """(steps,) sum of the rewards from each step on, float32."""
        return np.cumsum(self.rewards[::-1], dtype=np.float64)[::-1].astype(np.float32)


class Statistics(NamedTuple):
    """What a set of trajectories holds."""

    steps: int
    episodes: int
    length: float
    """mean steps of an episode"""
    mean: float
    """of the returns: what the policy that made them earned"""
    std: float
    best: float


def statistics(trajectories: Sequence[Trajectory]) -> Statistics:
    lengths = np.array([len(one.rewards) for one in trajectories])
    returns = np.array([one.total for one in trajectories])
    moments = float(returns.mean()), float(returns.std()), float(returns.max())
    return Statistics(int(lengths.sum()), len(lengths), float(lengths.mean()), *moments)


def check_trajectories(X: Any, *, bounds: Bounds | None = None, name: str = "X") -> list[Trajectory]:
    """X as a list of trajectories.

    Args:
        X: a list whose items are `Trajectory`, triples (observations, actions, rewards), or episodes as Minari has
            them: objects or mappings with these names, whose observations may have one row more, seen after the last
            action.
        bounds: least and greatest action; None = any number.
        name: of X in messages.

    Raises:
        ValueError: no trajectory, one without steps, arrays of different lengths or widths, NaN or infinity, an action
            outside the bounds. The message names the trajectory and the step.
    """
    if isinstance(X, Trajectory | Mapping | str) or not isinstance(X, Sequence):
        raise ValueError(f"{name} must be a list of trajectories, got {type(X).__name__}")
    if len(X) == 0:
        raise ValueError(f"{name} must have at least one trajectory, got none")
    trajectories = [_check_trajectory(item, f"{name}[{number}]") for number, item in enumerate(X)]
    for part in ("observations", "actions"):
        widths = [getattr(one, part).shape[1] for one in trajectories]
        if other := next((number for number, width in enumerate(widths) if width != widths[0]), None):
            raise ValueError(
                f"{name} must have {part} of one width, got {widths[0]} in {name}[0] and {widths[other]} in "
                f"{name}[{other}]"
            )
    if bounds is not None:
        low, high = check_bounds(bounds, trajectories[0].actions.shape[1])
        for number, one in enumerate(trajectories):
            outside = np.argwhere((one.actions < low) | (one.actions > high))
            if len(outside):
                step, part = outside[0]
                raise ValueError(
                    f"{name}[{number}] must have actions between {low[part]:g} and {high[part]:g}, got "
                    f"{one.actions[step, part]:.9g} in step {step}; set bounds, or clip the actions"
                )
    return trajectories


def check_bounds(bounds: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest action, (width,) each. Raises ValueError unless they are finite and least below greatest."""
    try:
        low, high = (np.broadcast_to(np.asarray(bound, dtype=np.float32), (width,)) for bound in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"bounds must be two numbers, or two lists of {width}, got {bounds!r}") from None
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise ValueError(f"bounds must be finite, the first below the second, got {bounds!r}")
    return low, high


def _check_trajectory(item: Any, name: str) -> Trajectory:
    names = Trajectory._fields
    if isinstance(item, Mapping):
        parts = [item.get(part) for part in names]
    elif isinstance(item, tuple | list) and len(item) == 3:
        parts = list(item)
    else:
        parts = [getattr(item, part, None) for part in names]
    if missing := [part for part, array in zip(names, parts, strict=True) if array is None]:
        raise ValueError(f"{name} must have observations, actions and rewards, got no {missing[0]}")
    arrays = []
    for part, array in zip(names, parts, strict=True):
        try:
            array = np.asarray(array, dtype=np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must have {part} that are numbers, got something else") from None
        wanted = 1 if part == "rewards" else 2
        if array.ndim != wanted:
            form = "(steps,)" if wanted == 1 else "(steps, width)"
            raise ValueError(f"{name} must have {part} of shape {form}, got {array.shape}")
        if not np.isfinite(array).all():
            step = int(np.argwhere(~np.isfinite(array))[0][0])
            raise ValueError(f"{name} must have finite {part}, got {array[step]} in step {step}")
        arrays.append(array)
    observations, actions, rewards = arrays
    if len(observations) == len(actions) + 1:
        observations = observations[:-1]
    if not len(observations) == len(actions) == len(rewards) > 0:
        got = ", ".join(f"{len(array)} {part}" for part, array in zip(names, arrays, strict=True))
        raise ValueError(f"{name} must have as many observations, actions and rewards, at least one, got {got}")
    return Trajectory(observations, actions, rewards)


def divide_episodes(
    observations: Any, actions: Any, rewards: Any, terminations: Any, truncations: Any, name: str = "data"
) -> list[Trajectory]:
    """Steps of many episodes, one after the other, as trajectories.

    Args:
        observations, actions, rewards: of every step, in the order of time.
        terminations, truncations: (steps,) bool; an episode ends where either is true. Steps after the last end are an
            episode that was cut off, and kept.
        name: of the steps in messages.

    Raises:
        ValueError: arrays of different lengths; no end at all, though there may be many episodes.
    """
    arrays = [np.asarray(array) for array in (observations, actions, rewards, terminations, truncations)]
    if len({len(array) for array in arrays}) > 1 or len(arrays[0]) == 0:
        got = ", ".join(str(len(array)) for array in arrays)
        raise ValueError(
            f"{name} must have as many observations, actions, rewards, terminations and truncations, got {got}"
        )
    observations, actions, rewards, terminated, truncated = arrays
    ends = np.flatnonzero(terminated.astype(bool) | truncated.astype(bool)) + 1
    if len(ends) == 0:
        raise ValueError(f"{name} must say where episodes end, got neither a termination nor a truncation")
    cuts = [0, *ends.tolist()] + ([len(rewards)] if ends[-1] < len(rewards) else [])
    return [Trajectory(observations[a:b], actions[a:b], rewards[a:b]) for a, b in pairwise(cuts)]


def step_tokens(trajectory: Trajectory) -> Float[np.ndarray, "T N"]:
    """Of each step: its number, return-to-go, observation, the action before (zeros in the first)."""
    number = np.arange(len(trajectory.rewards), dtype=np.float32)
    before = np.concatenate([np.zeros_like(trajectory.actions[:1]), trajectory.actions[:-1]])
    columns = [number[:, None], trajectory.returns_to_go[:, None], trajectory.observations, before]
    return np.concatenate(columns, axis=1)


class Piece(NamedTuple):
    """Steps of a trajectory that a model is trained on, and steps before them that it only reads."""

    x: np.ndarray
    """`step_tokens` of the whole trajectory"""
    actions: np.ndarray
    """of the whole trajectory"""
    read: int
    """first step that is read"""
    first: int
    """first step whose action is asked"""
    last: int
    """one after the last"""


class TrajectoryBatch(NamedTuple):
    """Pieces of trajectories, padded at the end."""

    before: Float[Tensor, "B R N"]
    """what is only read"""
    before_mask: PaddingMask
    x: Float[Tensor, "B T N"]
    actions: Float[Tensor, "B T M"]
    padding_mask: PaddingMask

    def to(self, device: torch.device) -> "TrajectoryBatch":
        return TrajectoryBatch(*(part.to(device) for part in self))


def collate_pieces(pieces: Sequence[Piece]) -> TrajectoryBatch:
    """Pieces of different lengths as a batch."""
    before, before_mask = _pad([piece.x[piece.read : piece.first] for piece in pieces])
    x, mask = _pad([piece.x[piece.first : piece.last] for piece in pieces])
    actions, _ = _pad([piece.actions[piece.first : piece.last] for piece in pieces])
    return TrajectoryBatch(before, before_mask, x, actions, mask)


def _pad(arrays: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays as rows of a batch, and where there is nothing."""
    rows = pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)
    return rows, torch.arange(rows.shape[1]) >= torch.tensor([len(array) for array in arrays])[:, None]
