"""Sequences of events in continuous time: checks, vocabulary, batches. Knows no model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aaren.shapes import PaddingMask

NO_GAP = -1.0
"""Gap of a first event before which nothing is known."""

LONGEST = 1e30
"""Gap between two events, in any unit, at most: models count in float32."""


class EventSequence(NamedTuple):
    """Events and the time in which they were looked for."""

    times: np.ndarray
    """(events,) sorted, float64; several may be equal"""
    marks: np.ndarray | None = None
    """(events,) kinds of events: strings, or whole numbers"""
    start: float | None = None
    """when observation began; None = with the first event, which then is given and never forecast"""
    end: float | None = None
    """when observation ended; None = with the last event"""

    @property
    def gaps(self) -> np.ndarray:
        """(events,) time since the event before, for the first since the start, or `NO_GAP`."""
        first = NO_GAP if self.start is None else self.times[:1] - self.start
        return np.concatenate([np.atleast_1d(first)[: len(self.times)], np.diff(self.times)])

    @property
    def tail(self) -> float:
        """Time without an event at the end, 0 if that is not known."""
        if self.end is None:
            return 0.0
        last = self.times[-1] if len(self.times) else self.start
        return 0.0 if last is None else float(self.end - last)


def check_events(X: Any, *, marked: bool | None = None, name: str = "X") -> list[EventSequence]:
    """X as a list of sequences.

    Args:
        X: a list whose items are `EventSequence`, pairs (times, marks) or arrays of times.
        marked: whether the sequences must have marks; None = all or none of them.
        name: of X in messages.

    Raises:
        ValueError: no sequence, times that are not sorted or not finite, events outside of [start, end], as many marks
            as there are no events, marks that are neither strings nor whole numbers; a sequence without events, start
            or end. The message names the sequence and the event.
    """
    if isinstance(X, EventSequence) or not isinstance(X, Sequence | np.ndarray) or isinstance(X, str):
        raise ValueError(f"{name} must be a list of sequences (times, marks), got {type(X).__name__}")
    if len(X) == 0:
        raise ValueError(f"{name} must have at least one sequence, got none")
    sequences = [_check_sequence(item, f"{name}[{number}]") for number, item in enumerate(X)]
    for number, sequence in enumerate(sequences):
        marked = sequence.marks is not None if marked is None else marked
        if marked != (sequence.marks is not None):
            want, got = ("marks", "none") if marked else ("no marks", "some")
            raise ValueError(f"{name} must have {want} in every sequence, got {got} in {name}[{number}]")
    return sequences


def _check_sequence(item: Any, name: str) -> EventSequence:
    if isinstance(item, EventSequence):
        times, marks, start, end = item
    elif isinstance(item, tuple | list) and len(item) == 2 and np.ndim(item[0]) == 1:
        (times, marks), start, end = item, None, None
    else:
        times, marks, start, end = item, None, None, None
    try:
        times = np.asarray(times, dtype=np.float64)
        start, end = (None if bound is None else float(bound) for bound in (start, end))
    except (TypeError, ValueError):
        raise ValueError(f"{name} must have times that are numbers, got something else") from None
    if times.ndim != 1:
        raise ValueError(f"{name} must be (times, marks) with times (events,), got times of shape {times.shape}")
    if not np.isfinite(times).all():
        place = int(np.flatnonzero(~np.isfinite(times))[0])
        raise ValueError(f"{name} must have finite times, got {times[place]} for event {place}")
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        place = int(back[0]) + 1
        raise ValueError(
            f"{name} must have sorted times, got {times[place]:g} for event {place} after {times[place - 1]:g}"
        )
    for bound in (start, end):
        if bound is not None and not np.isfinite(bound):
            raise ValueError(f"{name} must have a start and an end that are finite or None, got {bound}")
    if len(times) == 0 and (start is None or end is None):
        raise ValueError(f"{name} must have an event, or a start and an end if there was none, got neither")
    low, high = -np.inf if start is None else start, np.inf if end is None else end
    if low > high or (len(times) and not low <= times[0] <= times[-1] <= high):
        got = f"{times[0]:g} to {times[-1]:g}" if len(times) else "none"
        raise ValueError(f"{name} must have events between start {start} and end {end}, got {got}")
    sequence = EventSequence(times, None if marks is None else _check_marks(marks, len(times), name), start, end)
    far = np.flatnonzero(np.append(sequence.gaps, sequence.tail) > LONGEST)
    if len(far):
        where = f"before event {far[0]}" if far[0] < len(times) else "after the last event"
        raise ValueError(f"{name} must have no time longer than {LONGEST:g} without an event, got more {where}")
    return sequence


def _check_marks(marks: Any, events: int, name: str) -> np.ndarray:
    marks = _plain_marks(marks, name)
    if marks.shape != (events,):
        raise ValueError(f"{name} must have a mark for each of the {events} events, got shape {marks.shape}")
    return marks


def _plain_marks(marks: Any, name: str) -> np.ndarray:
    """Strings, or whole numbers as int64."""
    marks = np.asarray(marks)
    if marks.shape == (0,):
        return marks.astype(np.int64)
    for kind, of in ((str, str), (int | np.integer, np.int64)):
        if marks.dtype == object and all(isinstance(mark, kind) and not isinstance(mark, bool) for mark in marks.flat):
            marks = marks.astype(of) if of is str else np.array([*map(int, marks.flat)])  # object if one is too large
    if marks.dtype.kind == "u" and marks.max() <= np.iinfo(np.int64).max:
        marks = marks.astype(np.int64)
    if marks.dtype.kind not in "Ui":
        raise ValueError(f"{name} must have marks that are strings or whole numbers below 2**63, got {marks.dtype}")
    return marks


def known_marks(marks: Any, sequences: Sequence[EventSequence]) -> np.ndarray:
    """The vocabulary of a model, sorted: the marks named, or those of its training sequences if that is None.

    Raises:
        ValueError: marks of events without marks, of another kind than those of the sequences, or not all of them.
    """
    if marks is None:
        return vocabulary(sequences)
    known = np.unique(_plain_marks(marks, "the argument marks"))
    if sequences[0].marks is None and len(known):
        raise ValueError("marks must be None for events without marks, got some")
    check_known(sequences, known)
    return known


def vocabulary(sequences: Sequence[EventSequence]) -> np.ndarray:
    """The marks of all sequences, sorted; raises ValueError if some are strings and some numbers."""
    marks = [sequence.marks for sequence in sequences if sequence.marks is not None and len(sequence.marks)]
    if len(kinds := {array.dtype.kind == "U" for array in marks}) > 1:
        raise ValueError("marks must be strings in all sequences or whole numbers in all, got both")
    return np.unique(np.concatenate(marks)) if kinds else np.empty(0, dtype=np.int64)


def mark_indices(marks: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Places of marks in a sorted vocabulary, and its length where they are not in it.

    Raises:
        ValueError: strings where the vocabulary has whole numbers, or the other way round: nothing unknown, but a slip.
    """
    if len(known) == 0 or len(marks) == 0:
        return np.full(len(marks), len(known))
    if (marks.dtype.kind == "U") != (known.dtype.kind == "U"):
        kind = "strings" if known.dtype.kind == "U" else "whole numbers"
        raise ValueError(f"marks must be {kind}, as in training, got {marks[0].item()!r}")
    places = np.searchsorted(known, marks).clip(max=len(known) - 1)
    return np.where(known[places] == marks, places, len(known))


def check_known(sequences: Sequence[EventSequence], known: np.ndarray, name: str = "X") -> None:
    """Raises ValueError, with the sequence and the event, if a mark is not in the vocabulary."""
    for number, sequence in enumerate(sequences):
        if sequence.marks is None:
            continue
        new = np.flatnonzero(mark_indices(sequence.marks, known) == len(known))
        if len(new):
            raise ValueError(
                f"{name}[{number}] must have marks of the vocabulary, got {sequence.marks[new[0]].item()!r} for event "
                f"{new[0]}; name all marks that may occur in marks="
            )


def event_tokens(sequence: EventSequence, known: np.ndarray) -> np.ndarray:
    """(events, 2): gap and place of the mark in the vocabulary (0 where there are no marks)."""
    marks = np.zeros(len(sequence.times)) if sequence.marks is None else mark_indices(sequence.marks, known)
    return np.stack([sequence.gaps, marks], axis=1)


class Stretch(NamedTuple):
    """Events of a sequence that are forecast, after others that are only read."""

    tokens: np.ndarray
    """(events, 2) of the whole sequence, see `event_tokens`"""
    read: int
    """the first event that is read"""
    first: int
    """the first that is forecast"""
    last: int
    """the first that is not any more"""
    tail: float
    """time without an event after them"""


class EventBatch(NamedTuple):
    """Stretches side by side, padded at the end."""

    before: Float[Tensor, "B R 2"]
    """events that are only read"""
    before_mask: PaddingMask
    x: Float[Tensor, "B T 2"]
    """events that are forecast"""
    padding_mask: PaddingMask
    clock: Float[Tensor, "B"]
    """float64, time from the start of the sequence to its first event here"""
    number: Int[Tensor, "B"]
    """events of the sequence before its first here"""
    tail: Float[Tensor, "B"]
    """time without an event at the end"""

    def to(self, device: torch.device) -> "EventBatch":
        return EventBatch(*(x.to(device) for x in self))


def collate_events(stretches: Sequence[Stretch]) -> EventBatch:
    """A batch of stretches of any lengths."""
    before, before_mask = _padded([s.tokens[s.read : s.first] for s in stretches])
    x, mask = _padded([s.tokens[s.first : s.last] for s in stretches])
    clock = [float(s.tokens[: s.read, 0].clip(min=0).sum()) for s in stretches]
    tail = torch.tensor([s.tail for s in stretches], dtype=torch.float32)
    number = torch.tensor([s.read for s in stretches])
    return EventBatch(before, before_mask, x, mask, torch.tensor(clock, dtype=torch.float64), number, tail)


def _padded(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    x = np.zeros((len(rows), longest, 2), dtype=np.float32)
    mask = np.ones((len(rows), longest), dtype=bool)
    for number, row in enumerate(rows):
        x[number, : len(row)], mask[number, : len(row)] = row, False
    return torch.from_numpy(x), torch.from_numpy(mask)
