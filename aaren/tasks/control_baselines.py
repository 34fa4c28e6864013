"""Policies without a memory: what a sequence model must beat."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from aaren.data.trajectories import Bounds, check_bounds, check_trajectories
from aaren.tasks.control import divide, moments
from aaren.tasks.estimator import NetworkEstimator
from aaren.train import Recipe, fit

CLONING = Recipe(updates=5000, batch_size=256, learning_rate=1e-3, warmup=100, validate_every=500, keep="last")


class _Pairs(NamedTuple):
    observation: Tensor
    action: Tensor

    def to(self, device: torch.device) -> "_Pairs":
        return _Pairs(*(part.to(device) for part in self))


class Clone(nn.Module):
    """A perceptron from observation to action: two hidden layers."""

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, observation: int, action: int, width: int, dropout: float):
        super().__init__()
        for name, size in (("mean", observation), ("scale", observation), ("low", action), ("high", action)):
            self.register_buffer(name, torch.zeros(size))
        hidden = [nn.Linear(observation, width), nn.ReLU(), nn.Dropout(dropout)]
        self.net = nn.Sequential(
            *hidden, nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, action)
        )

    def forward(self, observation: Tensor) -> Tensor:
        y = self.net((observation - self.mean) / self.scale)
        return self.low + (self.high - self.low) * (torch.tanh(y) + 1) / 2


class CloningAgent(NetworkEstimator):
    """Behaviour cloning: the action that the trajectories had at an observation, of all or of the best of them.

    Args:
        percent: share of the steps that is learned from, in those trajectories that earned most (Chen et al. 2021:
            percentile behaviour cloning).
        width: of the two hidden layers.
        dropout: after each of them.
        bounds, recipe, validation, seed, checkpoint, progress: see `DecisionAgent`.

    Attributes:
        model_: the network.
        training_: what training did, see `aaren.train.Fitted` (not after `load`).
        validation_error_: mean squared error of the actions held out, half of their range being 1.
    """

    file_kind = "aaren cloning agent"
    layer = "aaren"  # it has none; the base checks the recipe along with it

    def __init__(
        self,
        percent: float = 100.0,
        *,
        width: int = 256,
        dropout: float = 0.1,
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

    def fit(self, X: Any, y: Any = None) -> "CloningAgent":
        """Trains on trajectories X. Raises as `DecisionAgent.fit`."""
        self._check_layer()
        if not 0 < self.percent <= 100:
            raise ValueError(f"percent must be above 0 and at most 100, got {self.percent}")
        trajectories = check_trajectories(X, bounds=self.bounds)
        best = sorted(trajectories, key=lambda one: -one.total)
        steps = np.cumsum([len(one.rewards) for one in best])
        kept = best[: max(2, int(np.searchsorted(steps, self.percent / 100 * steps[-1])) + 1)]
        train, held = divide(kept, self.validation, self.seed)
        pairs = [
            _Pairs(*(torch.from_numpy(np.concatenate([one[part] for one in some])) for part in (0, 1)))
            for some in (train, held)
        ]
        model = self._build(pairs[0].observation.shape[1], pairs[0].action.shape[1])
        mean, scale = moments(pairs[0].observation.numpy())
        model.mean.copy_(mean)
        model.scale.copy_(scale)
        half = (model.high - model.low) / 2

        def batch(number: int) -> _Pairs:
            chosen = np.random.default_rng((self.seed, number)).integers(
                0, len(pairs[0].action), self.recipe.batch_size
            )
            return _Pairs(*(part[chosen] for part in pairs[0]))

        def loss(model: nn.Module, batch: _Pairs) -> Tensor:
            return (((model(batch.observation) - batch.action) / half.to(batch.action)) ** 2).mean()

        def validate(model: nn.Module, device: torch.device) -> float:
            return loss(model, pairs[1].to(device)).item()

        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        run = "" if checkpoint is None else self._run(array for one in trajectories for array in one)
        self.training_ = fit(
            model, batch, loss, validate, self.recipe, seed=self.seed, checkpoint=checkpoint, run=run,
            progress=self.progress,
        )  # fmt: skip
        self.model_ = model
        self.validation_error_ = self.training_.history[-1]["validation"]
        return self

    def stream(self, target: Any = None, *, environments: int = 1) -> "CloneStream":
        """Acts as `DecisionAgent.stream` does; `target` has no say."""
        self._check_fitted()
        return CloneStream(self.model_, self.observation_, self.action_)

    def _learned(self) -> dict[str, Any]:
        names = ("observation", "action", "validation_error")
        return {name: getattr(self, f"{name}_") for name in names}

    def _recall(self, learned: Mapping[str, Any]) -> nn.Module:
        self.validation_error_ = learned["validation_error"]
        return self._build(learned["observation"], learned["action"])

    def _build(self, observation: int, action: int) -> Clone:
        self.observation_, self.action_ = observation, action
        low, high = check_bounds(self.bounds, action)
        with torch.random.fork_rng():
            torch.manual_seed(int(self.seed))
            model = Clone(observation, action, self.width, self.dropout)
        model.low.copy_(torch.tensor(low))
        model.high.copy_(torch.tensor(high))
        return model


class CloneStream:
    """Observations in, actions out."""

    def __init__(self, model: Clone, width: int, parts: int):
        self.model, self.width, self.parts = model, width, parts

    @torch.inference_mode()
    def act(self, observation: Any, reward: Any = None, done: Any = None) -> np.ndarray:
        """The next actions, of this observation alone."""
        return self.model(torch.as_tensor(np.asarray(observation, dtype=np.float32))).cpu().numpy()

    def select(self, rows: Any) -> None:
        """Nothing to do: it remembers nothing."""
