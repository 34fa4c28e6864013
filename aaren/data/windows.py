"""Rows of series cut into batches. Knows no model."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aaren.data.rows import Rows
from aaren.shapes import Elapsed, PaddingMask


class ForecastBatch(NamedTuple):
    """Stretches of rows, padded at the end, and what follows some of their rows."""

    x: Float[Tensor, "B T I"]
    padding_mask: PaddingMask | None
    elapsed: Elapsed
    at: Int[Tensor, "B P"]
    """rows after which forecasts are wanted"""
    target: Float[Tensor, "B P H C"]
    observed: Bool[Tensor, "B P H C"]

    def to(self, device: torch.device) -> "ForecastBatch":
        moved: Any = (None if tensor is None else tensor.to(device) for tensor in self)
        return ForecastBatch(*moved)


class Stretch(NamedTuple):
    """Where an element of a batch is cut."""

    series: int
    begin: int
    end: int
    origins: np.ndarray
    """rows after which forecasts are wanted, from begin to end - 1"""


def collate(rows: Sequence[Rows], stretches: Sequence[Stretch]) -> ForecastBatch:
    """A batch of stretches, each with the same number of origins."""
    longest = max(stretch.end - stretch.begin for stretch in stretches)
    first = rows[stretches[0].series].x(stretches[0].begin, stretches[0].begin + 1)
    x = np.zeros((len(stretches), longest, first.shape[1]), dtype=np.float32)
    elapsed = np.ones((len(stretches), longest), dtype=np.float32)
    mask = np.ones((len(stretches), longest), dtype=bool)
    for i, stretch in enumerate(stretches):
        length = stretch.end - stretch.begin
        source = rows[stretch.series]
        x[i, :length] = source.x(stretch.begin, stretch.end)
        elapsed[i, :length] = source.elapsed[stretch.begin : stretch.end]
        mask[i, :length] = False
    target, observed = zip(*(rows[stretch.series].target(stretch.origins) for stretch in stretches), strict=True)
    at = np.stack([stretch.origins - stretch.begin for stretch in stretches])
    padding_mask = torch.from_numpy(mask) if mask.any() else None  # calls without a mask are faster
    after = (torch.from_numpy(array) for array in (elapsed, at, np.stack(target), np.stack(observed)))
    return ForecastBatch(torch.from_numpy(x), padding_mask, *after)


def training_stretches(
    lengths: Sequence[int], horizon: int, size: int, origins: int, count: int, random: np.random.Generator
) -> list[Stretch]:
    """`count` random stretches of at most `size` rows, every row of every series as likely to be the last.

    `origins` rows are drawn from each, so a model learns prefixes of all lengths; with one, it is the last, and every
    fourth time all stretches are cut to a random length instead.
    """
    usable = np.array([length - horizon for length in lengths])
    if origins == 1 and random.random() < 0.25:
        size = int(random.integers(1, size + 1))
    series = random.choice(len(lengths), count, p=usable / usable.sum())
    stretches = []
    for i in series:
        size_here = min(size, int(usable[i]))
        end = int(random.integers(size_here, usable[i] + 1))
        begin = end - size_here
        if origins == 1:
            chosen = np.array([end - 1])
        else:
            chosen = np.sort(random.choice(np.arange(begin, end), origins, replace=size_here < origins))
        stretches.append(Stretch(int(i), begin, end, chosen))
    return stretches


def validation_stretches(
    lengths: Sequence[int], starts: Sequence[int], horizon: int, size: int, origins: int, count: int
) -> list[Stretch]:
    """About `count` stretches spread evenly over the rows from `starts` on; what is before them is only looked at.

    Origins lie evenly in a stretch, from the row before the start on, so that all rows count about equally; a single
    one is the last row.
    """
    stretches = []
    share = max(count // len(lengths), 1)
    for i, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        last = length - horizon
        first = start if origins == 1 else min(start + size - 1, last)
        for end in np.unique(np.linspace(last, first, share).round().astype(int)).tolist():
            begin = max(end - size, 0)
            chosen = np.linspace(max(begin, start - 1), end - 1, origins).round().astype(int)
            stretches.append(Stretch(i, begin, end, chosen if origins > 1 else np.array([end - 1])))
    return stretches


def chunks(begin: int, end: int, origins: np.ndarray, size: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Rows begin..end in pieces of `size`, with the origins in each."""
    for start in range(begin, end, size):
        stop = min(start + size, end)
        yield start, stop, origins[(origins >= start) & (origins < stop)]
