"""What an event model says of the next event, in the time of the data."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


@runtime_checkable
class Coming(Protocol):
    """What may come next in each row, see `aaren.models.next_event.NextEvent`: one such, or what a baseline has."""

    @property
    def mark_logits(self) -> Tensor: ...
    @property
    def resolution(self) -> float: ...
    @property
    def mark_probabilities(self) -> Tensor: ...
    def log_density(self, time: Tensor, after: Any = 0.0) -> Tensor: ...
    def log_survival(self, time: Tensor, after: Any = 0.0) -> Tensor: ...
    def log_intensity(self, time: Tensor) -> Tensor: ...
    def quantile(self, probability: float, after: Any = 0.0) -> Tensor: ...
    def median(self, after: Any = 0.0) -> Tensor: ...
    def mean(self, after: Any = 0.0) -> Tensor: ...
    def log_mark(self, mark: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class EventForecast:
    """The next event of one or more sequences: numbers are arrays (sequences,), of a live stream of no axis.

    Times are those of the data, and `now` is a time up to which, as is known, no further event has come; by default the
    end of each sequence. Both are numbers, or arrays (..., sequences); those asked of a live stream have any shape. The
    probabilities of marks do not depend on it.
    """

    coming: Coming
    """in time since the latest event"""
    latest: np.ndarray
    """time of the latest event"""
    now: np.ndarray
    """how far each sequence was observed"""
    marks: np.ndarray
    """the vocabulary; empty if events have no marks"""

    def mean(self, now: Any = None) -> np.ndarray:
        """Expected time of the next event."""
        return self._times(self.coming.mean(self._after(now)))

    def median(self, now: Any = None) -> np.ndarray:
        """Time by which it has come with probability 1/2."""
        return self.quantile(0.5, now)

    def quantile(self, probability: Any, now: Any = None) -> np.ndarray:
        """Time by which it has come with this probability. Raises ValueError unless it is between 0 and 1."""
        if not isinstance(probability, int | float | np.number) or not 0 < probability < 1:
            raise ValueError(f"probability must be a number between 0 and 1, got {probability}")
        return self._times(self.coming.quantile(float(probability), self._after(now)))

    def density(self, time: Any, now: Any = None) -> np.ndarray:
        """Probability density of its time, per unit of time."""
        density = self.coming.log_density(self._since(time), self._after(now)).exp()
        return np.where(self._early(time, now), 0.0, _numpy(density))

    def survival(self, time: Any, now: Any = None) -> np.ndarray:
        """Probability that it comes after `time`."""
        survival = self.coming.log_survival(self._since(time), self._after(now)).exp()
        return np.where(self._early(time, now), 1.0, _numpy(survival))

    def intensity(self, time: Any) -> np.ndarray:
        """Rate of events at `time`, if none has come up to there, per unit of time."""
        return _numpy(self.coming.log_intensity(self._since(time)).exp())

    @property
    def mark_probabilities(self) -> np.ndarray:
        """(..., marks) in the order of `marks`."""
        return _numpy(self.coming.mark_probabilities)

    @property
    def mark(self) -> np.ndarray:
        """The most probable mark."""
        if len(self.marks) == 0:
            raise ValueError("mark must be asked of a model of events with marks, got one without")
        return np.asarray(self.marks[self.mark_probabilities.argmax(axis=-1)])

    def _times(self, waiting: Tensor) -> np.ndarray:
        return np.asarray(self.latest + _numpy(waiting))

    def _early(self, time: Any, now: Any) -> np.ndarray:
        """Where it is known that the event has not come yet."""
        return np.asarray(np.asarray(time, dtype=np.float64) < (self.now if now is None else now))

    def _since(self, time: Any) -> Tensor:
        shape = np.shape(self.latest)
        if np.ndim(time) and np.shape(time)[np.ndim(time) - len(shape) :] != shape:
            raise ValueError(f"time must be a number or of shape (..., {len(self.latest)}), got {np.shape(time)}")
        waiting = np.asarray(time, dtype=np.float64) - self.latest
        if not (np.isfinite(waiting) & (waiting >= 0)).all():
            raise ValueError(f"time must be finite and not before the latest event, {self.latest}, got {time}")
        return torch.from_numpy(np.array(waiting))

    def _after(self, now: Any) -> Tensor:
        return self._since(self.now if now is None else now)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
