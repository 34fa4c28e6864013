"""Offline reinforcement learning: the estimator `DecisionAgent`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aaren.data.trajectories import Bounds, Trajectory, check_bounds, check_trajectories
from aaren.export.one_token import Deployment
from aaren.models.decision import DecisionModel
from aaren.models.windowed import Windowed
from aaren.tasks.acting import ActionStream
from aaren.tasks.control_deploy import deploy_policy
from aaren.tasks.control_training import RECIPES, actions_of, network_of, train_decisions
from aaren.tasks.estimator import NetworkEstimator
from aaren.train import Recipe

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"d_model": 64, "nhead": 4, "dim_feedforward": 128, "num_layers": 2},
    "paper": {
        "d_model": 128,
        "nhead": 1,
        "dim_feedforward": 512,
        "num_layers": 3,
        "recipe": Recipe(
            updates=20_000,
            batch_size=64,
            learning_rate=1e-4,
            weight_decay=1e-4,
            warmup=5_000,
            clip=0.25,
            validate_every=1_000,
            keep="last",
        ),
    },
}
"""Sizes, the same for every layer. `paper` has those of Feng et al.'s base code."""


class DecisionAgent(NetworkEstimator):
    """Learns from trajectories which actions earn a wanted return, and acts, with any layer, in one of two ways.

    *Windowed*, as published (Chen et al. 2021): an action is computed from the latest `context` steps, all anew in each
    step. *Streaming* (`context=None`): the network is trained on whole episodes, carrying its state from chunk to
    chunk, and acts with the state it carries, in constant time and memory if the layer's state is constant.

    Args:
        layer: a name in `LAYERS`.
        d_model, nhead, dim_feedforward, num_layers, dropout: size of the model, see `DecisionModel`.
        context: steps that an action is computed from; None = all of the episode.
        chunk: longest stretch of steps that gradients go through if there is no `context`.
        bounds: least and greatest action: two numbers, or two lists of a number for each part of an action.
        recipe: how it is trained; None = `RECIPES` of the way it acts.
        validation: share of the trajectories held out, to tell how well actions are known.
        seed: of the weights, the validation part, the batches and the dropout.
        checkpoint: a file in which training is kept at each validation, to go on from if it is interrupted.
        progress: show a progress bar on standard error.

    Attributes:
        best_return_: the greatest return of the training trajectories; what `stream` wants by default.
        model_: the network, in a window if there is a `context`.
        training_: what training did, see `aaren.train.Fitted` (not after `load`).
        validation_error_: mean squared error of the actions held out, half of their range being 1.

    X is a list of trajectories: `Trajectory`, triples (observations, actions, rewards), or episodes as Minari has them.
    """

    file_kind = "aaren decision agent"

    def __init__(
        self,
        layer: str = "aaren",
        *,
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 128,
        num_layers: int = 2,
        dropout: float = 0.1,
        context: int | None = 20,
        chunk: int = 1000,
        bounds: Bounds = (-1.0, 1.0),
        recipe: Recipe | None = None,
        validation: float = 0.1,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ):
        self.layer = layer
        self.d_model = d_model
        self.nhead = nhead
        self.dim_feedforward = dim_feedforward
        self.num_layers = num_layers
        self.dropout = dropout
        self.context = context
        self.chunk = chunk
        self.bounds = bounds
        self.recipe = recipe
        self.validation = validation
        self.seed = seed
        self.checkpoint = checkpoint
        self.progress = progress

    def fit(self, X: Any, y: Any = None) -> "DecisionAgent":
        """Trains on trajectories X.

        Args:
            X: at least two trajectories.
            y: unused, as in all of scikit-learn without labels.

        Raises:
            ValueError: bad arguments, see `check_trajectories`; a checkpoint of another run.
            OSError: the checkpoint cannot be written.
        """
        self._check_layer()
        least = {"chunk": 2, "seed": 0} | ({} if self.context is None else {"context": 2})
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        trajectories = check_trajectories(X, bounds=self.bounds)
        train, held = divide(trajectories, self.validation, self.seed)
        model = self._build(train[0].observations.shape[1], train[0].actions.shape[1])
        network = network_of(model)
        numbers = np.concatenate([np.column_stack([one.returns_to_go, one.observations]) for one in train])
        mean, scale = moments(numbers)
        network.scales(mean, scale, network.low, network.high)
        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        self.training_ = train_decisions(
            network,
            train,
            held,
            self._recipe(),
            context=self.context,
            chunk=self.chunk,
            seed=self.seed,
            checkpoint=checkpoint,
            run="" if checkpoint is None else self._run(array for one in trajectories for array in one),
            progress=self.progress,
        )
        self.model_ = model
        self.best_return_ = max(one.total for one in train)
        self.validation_error_ = self.training_.history[-1]["validation"]
        return self

    def predict(self, X: Any) -> list[np.ndarray]:
        """The actions (steps, action) that the agent would do in every step of trajectories X, given what was done and
        earned before and the return that each of them earned from there."""
        trajectories = self._accept(X)
        return actions_of(self.model_, trajectories, self.chunk)

    def score(self, X: Any, y: Any = None) -> float:
        """Negative mean squared error of the actions of trajectories X, half of their range being 1."""
        trajectories = self._accept(X)
        low, high = check_bounds(self.bounds, self.action_)
        predicted = actions_of(self.model_, trajectories, self.chunk)
        errors = [(a - one.actions) / ((high - low) / 2) for a, one in zip(predicted, trajectories, strict=True)]
        return -float(np.mean(np.concatenate(errors) ** 2))

    def stream(self, target: Any = None, *, environments: int = 1, dtype: torch.dtype = torch.float64) -> ActionStream:
        """A live stream in one or many environments: `act(observation, reward, done)` gives the next actions.

        Args:
            target: the return that an episode shall earn: a number, or one for each environment; None = `best_return_`.
            environments: how many.
            dtype: precision of accumulating sums.

        Raises:
            ValueError: a target that is not finite, or not one for each environment; no environment.
        """
        self._check_fitted()
        target = self.best_return_ if target is None else target
        return ActionStream(self.model_, target, environments, dtype)

    def deployment(self, dtype: torch.dtype = torch.float64) -> Deployment:
        """The one-step call as `aaren.export` takes it; `dtype` is the precision of accumulating sums.

        Raises:
            ValueError: the state of the layer grows, or the agent recomputes a window.
        """
        self._check_fitted()
        return deploy_policy(self.model_, self.best_return_, dtype)

    def _accept(self, X: Any) -> list[Trajectory]:
        self._check_fitted()
        trajectories = check_trajectories(X)
        got = trajectories[0].observations.shape[1], trajectories[0].actions.shape[1]
        if got != (self.observation_, self.action_):
            raise ValueError(
                f"X must have observations of {self.observation_} numbers and actions of {self.action_}, got "
                f"{got[0]} and {got[1]}"
            )
        return trajectories

    def _recipe(self) -> Recipe:
        return RECIPES["streaming" if self.context is None else "windowed"] if self.recipe is None else self.recipe

    def _learned(self) -> dict[str, Any]:
        names = ("observation", "action", "best_return", "validation_error")
        return {name: getattr(self, f"{name}_") for name in names}

    def _recall(self, learned: Mapping[str, Any]) -> nn.Module:
        self.best_return_, self.validation_error_ = learned["best_return"], learned["validation_error"]
        return self._build(learned["observation"], learned["action"])

    def _build(self, observation: int, action: int) -> Any:
        self.observation_, self.action_ = observation, action
        low, high = check_bounds(self.bounds, action)
        sizes = ("d_model", "nhead", "dim_feedforward", "num_layers", "layer", "dropout")
        with torch.random.fork_rng():
            torch.manual_seed(int(self.seed))
            network = DecisionModel(observation, action, **{name: getattr(self, name) for name in sizes})
        network.scales(network.mean, network.scale, torch.tensor(low), torch.tensor(high))
        return network if self.context is None else Windowed(network, self.context)


def divide(trajectories: list[Trajectory], validation: float, seed: int) -> tuple[list[Trajectory], list[Trajectory]]:
    """Those to train on and those held out. Raises ValueError on a share that is none, or too few trajectories."""
    if not 0 < validation < 1:
        raise ValueError(f"validation must lie between 0 and 1, got {validation}")
    if len(trajectories) < 2:
        raise ValueError(f"X must have at least 2 trajectories, one of them to hold out, got {len(trajectories)}")
    order = np.random.default_rng(seed).permutation(len(trajectories))
    held = min(max(1, round(validation * len(order))), len(order) - 1)
    return [trajectories[i] for i in sorted(order[held:])], [trajectories[i] for i in sorted(order[:held])]


def moments(numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each column, 1 for one that is constant but for rounding."""
    numbers = numbers.astype(np.float64)
    mean, scale = numbers.mean(axis=0), numbers.std(axis=0)
    scale = np.where(scale > 1e-6 * np.abs(mean).clip(min=1e-6), scale, 1.0)
    return torch.from_numpy(mean).float(), torch.from_numpy(scale).float()
