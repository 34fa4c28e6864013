"""Forecasters of events without a network: what a model of histories must beat."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.mixture import GaussianMixture
from torch import Tensor

from aaren.data.events import EventSequence, check_events, check_known, event_tokens, known_marks
from aaren.models.next_event import NextEvent, log_mark
from aaren.tasks.event_forecast import Coming, EventForecast
from aaren.tasks.event_parts import ends, latest_of, part_of, resolution_of
from aaren.tasks.event_scores import EventScores, Told, event_scores


class EventBaseline(BaseEstimator, abc.ABC):
    """A forecaster whose times do not depend on the history, and whose marks at most on the latest.

    Args:
        marks: names of the marks that may occur; None = those in the training sequences.

    Attributes:
        marks_: the vocabulary.
    """

    def __init__(self, *, marks: Any = None):
        self.marks = marks

    def fit(self, X: Any, y: Any = None) -> "EventBaseline":
        """Takes what it needs to know from sequences X. Raises ValueError as `EventForecaster.fit` does."""
        sequences = check_events(X)
        self.marks_ = known_marks(self.marks, sequences)
        self.marked_ = sequences[0].marks is not None
        part = part_of(sequences, self.marks_)
        gaps = np.concatenate([tokens[:, 0] for tokens in part.tokens])
        if not (gaps > 0).any():
            raise ValueError("X must have two events at different times in a training sequence, got none")
        self.resolution_ = resolution_of(gaps, latest_of(sequences))
        self._fit_times(gaps[gaps >= 0], float(np.sum(part.tails)))
        places = [tokens[:, 1].astype(np.int64) for tokens in part.tokens]
        # One event more of each mark than there were: none is impossible.
        counts = 1.0 + np.bincount(np.concatenate(places), minlength=len(self.marks_))[: len(self.marks_)]
        self.frequencies_ = counts / counts.sum() if self.marked_ else np.empty(0)
        self._fit_marks(places)
        return self

    def evaluate(self, X: Any) -> EventScores:
        """All scores of the forecasts of every event from those before it, see `EventForecaster.evaluate`."""
        return event_scores(self._tell(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of an event, nats: higher is better. Depends on the unit of time."""
        return -self.evaluate(X).nll

    def predict(self, X: Any) -> EventForecast:
        """The next event after the end of each sequence, given that none came between its last one and its `end`."""
        sequences = self._accept(X)
        latest = [event_tokens(one, self.marks_)[-1:, 1].astype(np.int64) for one in sequences]
        before = np.array([int(one[0]) if len(one) else len(self.marks_) for one in latest])
        return EventForecast(self._coming(before), *ends(sequences), self.marks_)

    def _accept(self, X: Any) -> list[EventSequence]:
        if not hasattr(self, "marks_"):
            raise ValueError(f"{type(self).__name__} must be fitted first, got one that is not; call fit(X)")
        return check_events(X, marked=self.marked_)

    @abc.abstractmethod
    def _fit_times(self, gaps: np.ndarray, tails: float) -> None:
        """Gaps, 0 among them, and the sum of the times without an event at the ends."""

    def _fit_marks(self, places: list[np.ndarray]) -> None:
        """Places of the marks in the vocabulary, of each sequence."""

    @abc.abstractmethod
    def _coming(self, before: np.ndarray) -> Coming:
        """The forecasts after events of these marks; the size of the vocabulary stands for none or an unknown one."""

    def _mark_logits(self, before: np.ndarray) -> Tensor:
        return torch.from_numpy(np.log(self.frequencies_)).expand(len(before), -1)

    def _tell(self, X: Any) -> Iterator[Told]:
        sequences = self._accept(X)
        check_known(sequences, self.marks_)
        part = part_of(sequences, self.marks_)
        for row, (tokens, tail) in enumerate(zip(part.tokens, part.tails, strict=True)):
            places = tokens[:, 1].astype(np.int64)
            before = np.concatenate([[len(self.marks_)], places])
            scored = np.flatnonzero(tokens[:, 0] >= 0)
            end = np.array([row] if tail > 0 else [], dtype=np.int64)
            yield Told(
                np.full(len(scored), row),
                self._coming(before[scored]),
                torch.from_numpy(tokens[scored, 0]),
                torch.from_numpy(places[scored]),
                end,
                self._coming(before[-1:][: len(end)]).log_survival(torch.full((len(end),), tail, dtype=torch.float64)),
            )


class PoissonEvents(EventBaseline):
    """Events at a constant rate, and marks by their frequency: the most frequent mark is always the guess."""

    def _fit_times(self, gaps: np.ndarray, tails: float) -> None:
        self.rate_ = len(gaps) / (gaps.sum() + tails)

    def _coming(self, before: np.ndarray) -> Coming:
        rate = torch.full((len(before),), self.rate_, dtype=torch.float64)
        return Exponential(rate, self._mark_logits(before))


class RenewalEvents(EventBaseline):
    """Gaps that are independent draws from a mixture of log-normals, and marks by a Markov chain. The mixture is fitted
    to the gaps between events; the times without an event at the ends of sequences are scored, but not learned from."""

    COMPONENTS = 8

    def _fit_times(self, gaps: np.ndarray, tails: float) -> None:
        self.longest_ = float(gaps.max())
        # Ties lie well below the resolution: of a component that is centred on it half the mass would lie above.
        logs = np.log(np.where(gaps <= self.resolution_, self.resolution_ / np.e, gaps))[:, None]
        logs = np.repeat(logs, 2, axis=0) if len(logs) == 1 else logs  # of one alone no mixture is fitted
        components = min(self.COMPONENTS, len(np.unique(logs)))
        narrowest = 1e-4 * max(float(logs.var()), 1e-6)
        self.mixture_ = GaussianMixture(components, reg_covar=narrowest, random_state=0).fit(logs)

    def _fit_marks(self, places: list[np.ndarray]) -> None:
        self.following_: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # what followed each mark, and how often
        if not self.marked_:
            return
        pairs = np.concatenate([np.stack([one[:-1], one[1:]], axis=1) for one in places])
        pairs, counts = np.unique(pairs, axis=0, return_counts=True)
        for mark in np.unique(pairs[:, 0]):
            some = pairs[:, 0] == mark
            self.following_[int(mark)] = pairs[some, 1], counts[some]

    def _mark_logits(self, before: np.ndarray) -> Tensor:
        """As if each mark had been followed once more, by any other in the share of its frequency."""
        if not self.marked_:
            return super()._mark_logits(before)
        table = np.repeat(self.frequencies_[None], len(before), axis=0)
        for row, mark in enumerate(before):
            if int(mark) in self.following_:
                after, counts = self.following_[int(mark)]
                table[row, after] += counts
                table[row] /= 1 + counts.sum()
        return torch.from_numpy(np.log(table))

    def _coming(self, before: np.ndarray) -> Coming:
        weight, location, variance = (
            torch.from_numpy(np.asarray(array, dtype=np.float64).ravel()).expand(len(before), -1)
            for array in (self.mixture_.weights_, self.mixture_.means_, self.mixture_.covariances_)
        )
        marks = self._mark_logits(before)
        return NextEvent(weight.log(), location, variance.sqrt(), marks, self.resolution_, self.longest_)


@dataclass(frozen=True)
class Exponential:
    """The next event of a Poisson process, with the methods of `NextEvent`."""

    rate: Tensor
    """(rows,)"""
    mark_logits: Tensor
    """(rows, marks)"""

    resolution = 0.0

    @property
    def mark_probabilities(self) -> Tensor:
        return self.mark_logits.softmax(dim=-1)

    def log_density(self, time: Tensor, after: Any = 0.0) -> Tensor:
        return self.rate.log() + self.log_survival(time, after)

    def log_survival(self, time: Tensor, after: Any = 0.0) -> Tensor:
        return -self.rate * (time - after)

    def log_intensity(self, time: Tensor) -> Tensor:
        return self.rate.log() + 0.0 * time

    def quantile(self, probability: float, after: Any = 0.0) -> Tensor:
        return after - np.log1p(-probability) / self.rate

    def median(self, after: Any = 0.0) -> Tensor:
        return self.quantile(0.5, after)

    def mean(self, after: Any = 0.0) -> Tensor:
        return after + 1 / self.rate

    def log_mark(self, mark: Tensor) -> Tensor:
        return log_mark(self.mark_logits, mark, self.rate)


EVENT_BASELINES: dict[str, type[EventBaseline]] = {"poisson": PoissonEvents, "renewal": RenewalEvents}
"""By the names that tables have."""
