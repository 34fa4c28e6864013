"""Policies without a memory: what a sequence model must beat."""

from pathlib import Path
from typing import Any

import numpy as np

from aaren.data.trajectories import Bounds, Trajectory
from aaren.models.clone import Clone
from aaren.tasks.agent import Agent
from aaren.tasks.control_training import Cut
from aaren.train import Recipe

CLONING = Recipe(updates=10_000, batch_size=128, learning_rate=3e-3, warmup=100, validate_every=1000, keep="last")
"""How a clone is trained if nothing else is said."""


class CloningAgent(Agent):
    """Behaviour cloning: the action that the trajectories had at an observation, of all or of the best of them.

    Args:
        percent: share of the steps that is learned from, in those trajectories that earned most (Chen et al. 2021:
            percentile behaviour cloning).
        width: of the two hidden layers.
        dropout: after each of them.
        bounds, recipe, validation, seed, checkpoint, progress: see `DecisionAgent`.

    Attributes:
        best_return_, model_, training_, validation_error_: see `Agent`. The return that is wanted has no say.
    """

    file_kind = "aaren cloning agent"

    def __init__(
        self,
        percent: float = 100.0,
        *,
        width: int = 256,
        dropout: float = 0.0,
        bounds: Bounds = (-1.0, 1.0),
        recipe: Recipe = CLONING,
        validation: float = 0.1,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ):
        self.percent = percent
        self.width = width
        self.dropout = dropout
        self.bounds = bounds
        self.recipe = recipe
        self.validation = validation
        self.seed = seed
        self.checkpoint = checkpoint
        self.progress = progress

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if not 0 < self.percent <= 100:
            raise ValueError(f"percent must be above 0 and at most 100, got {self.percent}")

    def _lessons(self, train: list[Trajectory]) -> list[Trajectory]:
        best = sorted(train, key=lambda one: -one.total)
        steps = np.cumsum([len(one.rewards) for one in best])
        return best[: int(np.searchsorted(steps, self.percent / 100 * steps[-1])) + 1]

    def _cut(self) -> Cut:
        return Cut(context=1)

    def _network(self, observation: int, action: int) -> Any:
        return Clone(observation, action, width=self.width, dropout=self.dropout)
