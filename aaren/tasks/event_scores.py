"""How good forecasts of events were."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aaren.tasks.event_forecast import Coming


class Told(NamedTuple):
    """What a model says of some events, each forecast from all that came before it."""

    row: np.ndarray
    """(events,) the sequence of each"""
    coming: Coming
    """(events,) what was forecast, in float64"""
    gap: Tensor
    """(events,) what came"""
    mark: Tensor
    """(events,) places of the marks in the vocabulary"""
    ended: np.ndarray
    """(ends,) sequences that ended here, and were observed for a time after their last event"""
    survival: Tensor
    """(ends,) log probability of there being no event in that time"""


@dataclass(frozen=True)
class EventScores:
    """Of all events that were forecast, each from all that came before it in its sequence."""

    events: int
    nll: float
    """negative log-likelihood of an event, nats; the sum of the next two. Depends on the unit of time."""
    nll_time: float
    """its part of the gaps, and of the time without an event after the last"""
    nll_mark: float
    """its part of the marks, 0 without marks"""
    rmse: float
    """root of the mean squared error of the mean of the next time, in units of time"""
    mae: float
    """mean absolute error of its median"""
    accuracy: float
    """share of marks that were the most probable, NaN without marks"""
    root_squared_sum_error: float
    """what Feng et al.'s base code calls RMSE: errors of a sequence are added up, so that opposite signs cancel, before
    they are squared; for comparison only"""
    ks: float
    """Kolmogorov-Smirnov distance of `passed` from even numbers: 0 = calibrated"""


def event_scores(told: Iterable[Told]) -> EventScores:
    """Adds up what was told. Raises ValueError if that is of no event."""
    random, parts, ends = np.random.default_rng(0), [], []
    for some in told:  # each is reduced to a few numbers an event before the next is made
        correct = torch.full_like(some.gap, torch.nan)
        if some.coming.mark_logits.shape[-1] and len(some.gap):
            correct = (some.coming.mark_logits.argmax(dim=-1) == some.mark).double()
        numbers = (
            some.coming.log_density(some.gap),
            some.coming.log_mark(some.mark),
            some.coming.mean() - some.gap,
            (some.coming.median() - some.gap).abs(),
            correct,
            _gone(some, random),
        )
        parts.append((some.row, *(number.numpy() for number in numbers)))
        ends.append((some.ended, -some.survival.numpy()))
    row, time, mark, error, absolute, correct, gone = map(np.concatenate, zip(*parts, strict=True))
    ended, rest = map(np.concatenate, zip(*ends, strict=True))
    if len(row) == 0:
        raise ValueError("X must have an event after the first of a sequence, got none to forecast")
    nll_time, nll_mark = -(time.sum() - rest.sum()) / len(row), -mark.mean()
    sums = np.bincount(np.unique(row, return_inverse=True)[1], weights=error)
    return EventScores(
        events=len(row),
        nll=float(nll_time + nll_mark),
        nll_time=float(nll_time),
        nll_mark=float(nll_mark),
        rmse=float(np.sqrt((error**2).mean())),
        mae=float(absolute.mean()),
        accuracy=float(correct.mean()),
        root_squared_sum_error=float(np.sqrt((sums**2).sum() / len(row))),
        ks=ks_distance(_passed(row, gone, ended, rest)),
    )


def passed(told: Iterable[Told]) -> np.ndarray:
    """The probability with which each event had come by the time it came: independent and even between 0 and 1 if the
    model is right (time rescaling, Brown et al. 2002).

    The time without an event at the end of a sequence counts before the first event of the next; left out, it would
    make long gaps look rarer than they are. Times that count as equal are drawn from all of them.
    """
    random = np.random.default_rng(0)
    parts = [(some.row, _gone(some, random).numpy(), some.ended, -some.survival.numpy()) for some in told]
    return _passed(*map(np.concatenate, zip(*parts, strict=True)))


def _gone(told: Told, random: np.random.Generator) -> Tensor:
    """Integrals of the intensity up to each event."""
    drawn = torch.from_numpy(random.random(len(told.gap))) * told.coming.resolution
    return -told.coming.log_survival(torch.where(told.gap <= told.coming.resolution, drawn, told.gap))


def _passed(row: np.ndarray, gone: np.ndarray, ended: np.ndarray, rest: np.ndarray) -> np.ndarray:
    order = np.argsort(row, kind="stable")
    row, gone = row[order], gone[order]
    following = np.searchsorted(row, ended, side="right")  # the first event of a later sequence
    np.add.at(gone, following[following < len(row)], rest[following < len(row)])
    return -np.expm1(-gone)


def ks_distance(probabilities: np.ndarray) -> float:
    """Largest difference between the shares of probabilities up to any number and that number."""
    ordered, count = np.sort(probabilities), len(probabilities)
    upper = np.arange(1, count + 1) / count - ordered
    return float(max(upper.max(), (1 / count - upper).max()))
