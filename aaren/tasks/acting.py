"""A live agent in one or many environments."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aaren import state as states
from aaren.stream import KIND, Stream, read_note
from aaren.tasks.control_training import network_of

ROWS = ("target", "to_go", "number", "before")
"""What a snapshot remembers of every environment beside the network's state."""


class ActionStream:
    """Observations and rewards in, actions out: what `stream` of an agent returns.

    Every environment is a row of one batch: episodes begin and end in each on its own, and none sees another. The agent
    remembers the actions that it returned, whatever was made of them.
    """

    def __init__(self, model: Any, target: Any, environments: int, dtype: torch.dtype):
        if environments < 1:
            raise ValueError(f"environments must be at least 1, got {environments}")
        network = network_of(model)
        self.width, self.parts = network.observation, network.action
        self.low, self.high = network.low.numpy(force=True), network.high.numpy(force=True)
        try:
            goal = np.broadcast_to(np.asarray(target, dtype=np.float64), (environments,))
        except (TypeError, ValueError):
            goal = np.array([np.nan])
        if not np.isfinite(goal).all():
            many = f"a finite number, or one for each of {environments} environments"
            raise ValueError(f"target must be {many}, got {target!r}")
        self.steps = Stream(model, environments, dtype=dtype)
        """the stream of steps underneath, with the state"""
        self._rows = {
            "target": torch.tensor(goal),
            "to_go": torch.tensor(goal),
            "number": torch.zeros(environments, dtype=torch.long),
            "before": torch.zeros(environments, self.parts),
        }

    @property
    def environments(self) -> int:
        return self.steps.batch_size

    @property
    def to_go(self) -> np.ndarray:
        """(environments,) return that was still wanted at the latest step."""
        return self._rows["to_go"].numpy().copy()

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
        count, rows = self.environments, self._rows
        seen = _tensor("observation", observation, (count, self.width), np.float32)
        over = _tensor("done", False if done is None else done, (count,), np.bool_)
        going = (rows["number"] > 0) & ~over
        if reward is None and going.any():
            raise ValueError("reward must be given for the action before, got none; begin anew with reset()")
        earned = _tensor("reward", 0.0 if reward is None else reward, (count,), np.float64)
        to_go = torch.where(going, rows["to_go"] - earned, rows["target"])
        number = torch.where(going, rows["number"], 0)
        before = torch.where(going[:, None], rows["before"], 0.0)
        x = torch.cat([number[:, None], to_go[:, None], seen, before], dim=1).float()
        state = self.steps.state
        try:
            if over.any():
                self.steps.reset(over)
            action = self.steps.push(x).cpu()
        except BaseException:
            self.steps.state = state
            raise
        self._rows = {"target": rows["target"], "to_go": to_go, "number": number + 1, "before": action}
        answer = action.numpy().copy()
        return answer[0] if np.ndim(observation) == 1 else answer

    def reset(self, rows: Sequence[int] | Tensor | np.ndarray | None = None) -> None:
        """Begins a new episode in the given environments (indices, or a bool mask; None = all).

        Raises:
            ValueError: an environment that there is not.
        """
        chosen = None if rows is None else torch.as_tensor(rows)
        self.steps.reset(chosen)
        number = self._rows["number"]
        again = states.reset_rows(number, range(len(number)) if chosen is None else chosen, torch.zeros(1).long())
        self._rows = self._rows | {"number": again}

    def select(self, rows: Sequence[int] | Tensor | np.ndarray) -> None:
        """Keeps the given environments, in the given order.

        Raises:
            ValueError: an environment that there is not.
        """
        kept = states.select(self._rows, torch.as_tensor(rows))
        self.steps.select(torch.as_tensor(rows))
        self._rows = kept

    def snapshot(self, path: str | Path) -> None:
        """Writes all that is remembered to a safetensors file, whole or not at all. Raises OSError."""
        self.steps.snapshot(path, note=json.dumps({name: self._rows[name].tolist() for name in ROWS}))

    def restore(self, path: str | Path) -> None:
        """Goes on where `snapshot` was taken, with its environments.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of another agent. Nothing has changed then.
        """
        try:  # what may fail is first
            note = json.loads(read_note(path, KIND))
            rows = {name: torch.tensor(note[name], dtype=self._rows[name].dtype) for name in ROWS}
        except (KeyError, TypeError, json.JSONDecodeError):
            raise ValueError(f"{str(path)!r} must be a snapshot of an agent, got one of something else") from None
        self.steps.restore(path)
        self._rows = rows


def _tensor(name: str, value: Any, shape: tuple[int, ...], dtype: Any) -> Tensor:
    """`value` as a tensor of the given shape; of a single environment the first axis may be missing."""
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
    return torch.tensor(array)
