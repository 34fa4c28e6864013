"""Point processes whose densities are known: what an event model is checked against."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aaren.data.events import EventSequence


class Process(abc.ABC):
    """Events in [0, end], given by an intensity λ(t | history)."""

    @abc.abstractmethod
    def log_intensity(self, times: np.ndarray) -> np.ndarray:
        """(events,) log λ at each event, given those before it."""

    @abc.abstractmethod
    def compensator(self, times: np.ndarray, end: float) -> np.ndarray:
        """(events + 1,) integral of λ up to each event since the one before, and from the last to the end."""

    @abc.abstractmethod
    def _next(self, number: int, last: np.ndarray, passed: np.ndarray) -> np.ndarray:
        """When the integral of λ since time `last`, of the event before event `number`, is `passed`; for several."""

    def rescaled(self, sequences: Sequence[EventSequence]) -> np.ndarray:
        """Integrals of λ between all events of sequences laid end to end: exponential with mean 1, and independent, if
        the events are of this process (time rescaling, Brown et al. 2002)."""
        passed = [self.compensator(one.times, one.end).cumsum() for one in sequences if one.end is not None]
        starts = np.cumsum([0.0, *(one[-1] for one in passed)])
        return np.diff(
            np.concatenate([start + one[:-1] for start, one in zip(starts, passed, strict=False)]), prepend=0.0
        )

    def log_likelihood(self, sequence: EventSequence) -> float:
        """Of the events and of there being no others, in nats; the sequence must start at 0 and have an end."""
        if sequence.start != 0 or sequence.end is None:
            raise ValueError(f"sequence must start at 0 and end, got start {sequence.start} and end {sequence.end}")
        integral = self.compensator(sequence.times, sequence.end).sum()
        return float(self.log_intensity(sequence.times).sum() - integral)

    def simulate(self, count: int, end: float, seed: int = 0) -> list[EventSequence]:
        """`count` sequences in [0, end], by inverting the integral of the intensity."""
        random = np.random.default_rng(seed)
        times, last, alive = [], np.zeros(count), np.arange(count)
        while len(alive):
            last[alive] = self._next(len(times), last[alive], random.exponential(size=len(alive)))
            times.append(np.where(last <= end, last, np.nan))
            alive = np.flatnonzero(last <= end)
        table = np.stack(times, axis=1)
        return [EventSequence(row[~np.isnan(row)], None, 0.0, end) for row in table]


@dataclass(frozen=True)
class Poisson(Process):
    """λ = rate."""

    rate: float = 1.0

    def log_intensity(self, times: np.ndarray) -> np.ndarray:
        return np.full(len(times), np.log(self.rate))

    def compensator(self, times: np.ndarray, end: float) -> np.ndarray:
        return self.rate * np.diff(times, prepend=0.0, append=end)

    def _next(self, number: int, last: np.ndarray, passed: np.ndarray) -> np.ndarray:
        return last + passed / self.rate


@dataclass(frozen=True)
class Sin(Process):
    """λ(t) = rate · (1 + sin(frequency · t)): the synthetic set `Sin`."""

    rate: float = 5.0
    frequency: float = 1.0
    """radians in a unit of time"""

    def log_intensity(self, times: np.ndarray) -> np.ndarray:
        return np.log(self.rate) + np.log1p(np.sin(self.frequency * times))

    def compensator(self, times: np.ndarray, end: float) -> np.ndarray:
        return np.diff(self._integral(np.concatenate([[0.0], times, [end]])))

    def _integral(self, time: np.ndarray) -> np.ndarray:
        return self.rate * (time + (1 - np.cos(self.frequency * time)) / self.frequency)

    def _next(self, number: int, last: np.ndarray, passed: np.ndarray) -> np.ndarray:
        goal = self._integral(last) + passed
        low, high = last, last + passed / self.rate + 2 * np.pi / self.frequency  # a period more than at the mean rate
        for _ in range(60):
            middle = 0.5 * (low + high)
            early = self._integral(middle) < goal
            low, high = np.where(early, middle, low), np.where(early, high, middle)
        return high


@dataclass(frozen=True)
class SelfCorrecting(Process):
    """λ(t) = exp(growth · t - drop · N(t)), N(t) events before t: events come at almost even distances.

    Source: Isham and Westcott 1979."""

    growth: float = 1.0
    drop: float = 1.0

    def log_intensity(self, times: np.ndarray) -> np.ndarray:
        return self.growth * times - self.drop * np.arange(len(times))

    def compensator(self, times: np.ndarray, end: float) -> np.ndarray:
        places = np.concatenate([[0.0], times, [end]])
        # exp(growth t - drop N) before taking the difference: neither factor stays in range on its own.
        number = self.drop * np.arange(len(times) + 1)
        return (np.exp(self.growth * places[1:] - number) - np.exp(self.growth * places[:-1] - number)) / self.growth

    def _next(self, number: int, last: np.ndarray, passed: np.ndarray) -> np.ndarray:
        height = np.exp(self.growth * last - self.drop * number)
        return last + np.log1p(self.growth * passed / height) / self.growth
