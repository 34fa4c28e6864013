"""What agents that learn from trajectories have in common."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from aaren.data.trajectories import Trajectory, check_bounds, check_trajectories
from aaren.export.one_token import Deployment
from aaren.tasks.acting import ActionStream
from aaren.tasks.control_deploy import deploy_policy
from aaren.tasks.control_training import Cut, actions_of, network_of, train_decisions
from aaren.tasks.estimator import NetworkEstimator

AgentType = TypeVar("AgentType", bound="Agent")


class Agent(NetworkEstimator):
    """Base of `DecisionAgent` and `CloningAgent`.

    Attributes:
        best_return_: the greatest return of the trajectories that it was trained on; what `stream` wants by default.
        model_: the network, in a window if it acts so.
        training_: what training did, see `aaren.train.Fitted` (not after `load`).
        validation_error_: mean squared error of its actions in the trajectories held out, half of their range being 1.
    """

    bounds: Any
    validation: float
    seed: int
    checkpoint: Any
    progress: bool

    def fit(self: AgentType, X: Any, y: Any = None) -> AgentType:
        """Trains on trajectories X.

        Args:
            X: at least two trajectories.
            y: unused, as in all of scikit-learn without labels.

        Raises:
            ValueError: bad arguments, see `check_trajectories`; a checkpoint of another run.
            OSError: the checkpoint cannot be written.
        """
        self._check_arguments()
        trajectories = check_trajectories(X, bounds=self.bounds)
        train, held = divide(trajectories, self.validation, self.seed)
        train = self._lessons(train)
        observation, action = train[0].observations.shape[1], train[0].actions.shape[1]
        model = self._build(observation, action)
        network = network_of(model)
        numbers = np.concatenate([np.column_stack([one.returns_to_go, one.observations]) for one in train])
        network.scales(*moments(numbers), network.low, network.high)
        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        training = train_decisions(
            network,
            train,
            held,
            self._recipe(),
            cut=self._cut(),
            seed=self.seed,
            checkpoint=checkpoint,
            run="" if checkpoint is None else self._run(array for one in trajectories for array in one),
            progress=self.progress,
        )
        self.model_, self.training_ = model, training
        self.observation_, self.action_ = observation, action
        self.best_return_ = max(one.total for one in train)
        self.validation_error_ = -self.score(held)
        return self

    def predict(self, X: Any) -> list[np.ndarray]:
        """The actions (steps, action) that the agent would do in every step of trajectories X, given what was done and
        earned before and the return that each of them earned from there."""
        return actions_of(self.model_, self._accept(X), self._cut().chunk)

    def score(self, X: Any, y: Any = None) -> float:
        """Negative mean squared error of the actions of trajectories X, half of their range being 1."""
        trajectories = self._accept(X)
        low, high = check_bounds(self.bounds, self.action_)
        predicted = actions_of(self.model_, trajectories, self._cut().chunk)
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
        """The call of one step as `aaren.export` takes it; `dtype` is the precision of accumulating sums.

        Raises:
            ValueError: the state of the layer grows, or the agent recomputes a window.
        """
        self._check_fitted()
        return deploy_policy(self.model_, self.best_return_, dtype)

    def _check_arguments(self) -> None:
        """Raises ValueError on a bad one."""
        self._check_recipe()
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")

    def _lessons(self, train: list[Trajectory]) -> list[Trajectory]:
        """Of those that are not held out the ones to train on."""
        return train

    @abstractmethod
    def _cut(self) -> Cut:
        """How trajectories are cut; `chunk` steps are read at a time."""

    @abstractmethod
    def _network(self, observation: int, action: int) -> Any:
        """A new one, in a window if the agent acts so."""

    def _build(self, observation: int, action: int) -> Any:
        low, high = check_bounds(self.bounds, action)
        with torch.random.fork_rng():
            torch.manual_seed(int(self.seed))
            model = self._network(observation, action)
        network = network_of(model)
        network.scales(network.mean, network.scale, torch.tensor(low), torch.tensor(high))
        return model

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

    def _learned(self) -> dict[str, Any]:
        names = ("observation", "action", "best_return", "validation_error")
        return {name: getattr(self, f"{name}_") for name in names}

    def _recall(self, learned: Mapping[str, Any]) -> nn.Module:
        for name in ("observation", "action", "best_return", "validation_error"):
            setattr(self, f"{name}_", learned[name])
        return self._build(self.observation_, self.action_)


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
