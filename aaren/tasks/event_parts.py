"""What event models are trained on, and what is held out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aaren.data.events import EventSequence, check_known, event_tokens


class Part(NamedTuple):
    """Sequences of tokens, of which those before `first` are only read."""

    tokens: list[np.ndarray]
    """(events, 2) of each, see `event_tokens`"""
    tails: list[float]
    """time without an event at the end of each"""
    first: list[int]


def part_of(sequences: Sequence[EventSequence], marks: np.ndarray) -> Part:
    """All events of all sequences."""
    tokens = [event_tokens(sequence, marks) for sequence in sequences]
    return Part(tokens, [sequence.tail for sequence in sequences], [0] * len(tokens))


def divide(
    sequences: Sequence[EventSequence],
    held: Sequence[EventSequence] | None,
    marks: np.ndarray,
    share: float,
    seed: int,
) -> tuple[Part, Part]:
    """A part to train on and one held out: `held` if given, else a share of the sequences, or the end of a single one.

    Raises:
        ValueError: a mark of `held` that is not in the vocabulary.
    """
    if held is not None:
        check_known(held, marks, "X_validation")
        return part_of(sequences, marks), part_of(held, marks)
    if len(sequences) == 1:
        whole = part_of(sequences, marks)
        [tokens] = whole.tokens
        cut = len(tokens) - max(round(share * len(tokens)), 1)
        return Part([tokens[:cut]], [0.0], [0]), whole._replace(first=[cut])
    order = np.random.default_rng(seed).permutation(len(sequences))
    spare = min(max(round(share * len(order)), 1), len(order) - 1)
    train, held = [sequences[i] for i in order[spare:]], [sequences[i] for i in order[:spare]]
    return part_of(train, marks), part_of(held, marks)


def latest_of(sequences: Sequence[EventSequence]) -> float:
    """The time farthest from zero."""
    return max(float(np.abs(one.times).max()) for one in sequences if len(one.times))


def resolution_of(gaps: np.ndarray, latest: float) -> float:
    """What counts as the same time: up to half of the shortest gap above zero, or above what rounding makes of times as
    large as `latest`. So events at one time are told from those one step of a grid apart, whatever the rounding of
    their difference."""
    noise = 4 * float(np.spacing(latest))
    above = gaps[gaps > noise]
    shortest = max(0.5 * above.min(), noise) if len(above) else 0.5 * gaps[gaps > 0].min()
    return float(np.float32(max(shortest, 1e-30)))


def ends(sequences: Sequence[EventSequence]) -> tuple[np.ndarray, np.ndarray]:
    """Times of the latest events, or of the starts where there are none, and how far sequences were observed."""
    latest = np.array([one.times[-1] if len(one.times) else one.start for one in sequences], dtype=np.float64)
    return latest, np.array([time if one.end is None else one.end for time, one in zip(latest, sequences, strict=True)])
