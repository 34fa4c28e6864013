"""A live agent in one or many environments."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aaren.stream import Stream
from aaren.tasks.control_training import network_of


class ActionStream:
    """Observations and rewards in, actions out: what `DecisionAgent.stream` returns.

    Every environment is a row of one batch: episodes begin and end in each on its own, and none sees another.
    """

    def __init__(self, model: Any, target: Any, environments: int, dtype: torch.dtype):
        if environments < 1:
            raise ValueError(f"environments must be at least 1, got {environments}")
        self.steps = Stream(model, environments, dtype=dtype)
        """the stream of steps underneath, with the state"""
        self.width, self.parts = network_of(model).observation, network_of(model).action
        try:
            goal = np.broadcast_to(np.asarray(target, dtype=np.float64), (environments,)).copy()
        except (TypeError, ValueError):
            goal = np.array([np.nan])
        if not np.isfinite(goal).all():
            raise ValueError(f"target must be a finite number, or one for each of {environments} environments, got "
                             f"{target!r}")  # fmt: skip
        self.target = goal
        self.to_go = goal.copy()
        """return that is still wanted, of each environment"""
        self.number = np.zeros(environments, dtype=np.int64)
        """steps of each episode so far"""
        self._before = np.zeros((environments, self.parts), dtype=np.float32)

    @property
    def environments(self) -> int:
        return len(self.target)

    @property
    def nbytes(self) -> int:
        """Bytes of the network's state."""
        return self.steps.nbytes

    def act(self, observation: Any, reward: Any = None, done: Any = None) -> np.ndarray:
        """The next actions.

        Args:
            observation: what is seen now (environments, width), or (width,) of a single environment.
            reward: what the actions before have earned (environments,), or a number; None = it is the first call.
            done: where the actions before have ended an episode (environments,), or one flag, so that the observation
                is the first of a new one: its reward counts no more. (Vector environments of Gymnasium tell so with
                `AutoresetMode.SAME_STEP`.)

        Returns:
            Actions (environments, parts), or (parts,) if the observation is of a single environment without that axis.

        Raises:
            ValueError: arrays of another shape, or with NaN or infinity; no reward though there was an action. The
                state stays as it was.
        """
        seen = self._array("observation", observation, (self.environments, self.width), np.float32)
        over = np.zeros(self.environments, dtype=bool)
        if done is not None:
            over = self._array("done", done, (self.environments,), np.bool_)
        going = (self.number > 0) & ~over
        if reward is None and going.any():
            raise ValueError("reward must be given for the action before, got none; begin anew with reset()")
        earned = self._array("reward", 0.0 if reward is None else reward, (self.environments,), np.float64)
        to_go = np.where(going, self.to_go - earned, self.target)
        number = np.where(going, self.number, 0)
        before = np.where(going[:, None], self._before, 0.0)
        x = np.concatenate([number[:, None], to_go[:, None], seen, before], axis=1).astype(np.float32)
        state = self.steps.state
        try:
            if over.any():
                self.steps.reset(torch.from_numpy(over))
            action = self.steps.push(x).cpu().numpy()
        except BaseException:
            self.steps.state = state
            raise
        self.to_go, self.number, self._before = to_go, number + 1, action
        return action[0] if np.ndim(observation) == 1 else action

    def reset(self, rows: Sequence[int] | Tensor | np.ndarray | None = None) -> None:
        """Begins a new episode in the given environments (indices, or a bool mask; None = all).

        Raises:
            ValueError: an environment that there is not.
        """
        chosen = torch.arange(self.environments) if rows is None else torch.as_tensor(rows)
        self.steps.reset(chosen)
        self.number[chosen.numpy()] = 0
        self.to_go = np.where(self.number > 0, self.to_go, self.target)

    def select(self, rows: Sequence[int] | Tensor | np.ndarray) -> None:
        """Keeps the given environments, in the given order.

        Raises:
            ValueError: an environment that there is not.
        """
        chosen = torch.as_tensor(rows)
        self.steps.select(chosen)
        for name in ("target", "to_go", "number", "_before"):
            setattr(self, name, getattr(self, name)[chosen.numpy()])

    def snapshot(self, path: str | Path) -> None:
        """Writes all that is remembered to a safetensors file, whole or not at all. Raises OSError."""
        names = ("target", "to_go", "number", "_before")
        self.steps.snapshot(path, note=json.dumps({name: getattr(self, name).tolist() for name in names}))

    def restore(self, path: str | Path) -> None:
        """Goes on where `snapshot` was taken.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of another agent. Nothing has changed then.
        """
        note = json.loads(self.steps.restore(path))
        self.target, self.to_go = np.array(note["target"]), np.array(note["to_go"])
        self.number = np.array(note["number"], dtype=np.int64)
        self._before = np.array(note["_before"], dtype=np.float32)

    def _array(self, name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """`value` as an array of the given shape; of a single environment the first axis may be missing."""
        try:
            array = np.asarray(value, dtype=dtype)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be numbers of shape {shape}, got {value!r}") from None
        if array.ndim == 0 and len(shape) == 1:
            array = np.broadcast_to(array, shape)
        if array.shape == shape[1:] and shape[0] == 1:
            array = array[None]
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
        return array
