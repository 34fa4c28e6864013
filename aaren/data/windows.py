"""Rows of series as a forecaster reads them, cut into batches. Knows no model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from aaren.data.series import Series, calendar
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


@dataclass(frozen=True)
class Layout:
    """What of a series goes into a row, and how it is scaled: fixed by the training part."""

    horizon: int
    cycles: tuple[str, ...]
    """of the calendar"""
    irregular: bool
    """whether times say more than the order of rows"""
    past: tuple[tuple[float, float], ...] = ()
    """mean and spread of each column known at its row"""
    past_names: tuple[str, ...] = ()
    known: tuple[tuple[float, float], ...] = ()
    """of each column known beforehand"""
    static: tuple[tuple[float, float], ...] = ()
    """of each number that belongs to a whole series"""

    @property
    def covariates(self) -> int:
        return 2 * len(self.cycles) + len(self.past) + len(self.known) + len(self.static) + self.irregular

    @property
    def future(self) -> int:
        return len(self.known) + self.irregular


class Rows:
    """A series as arrays of float32, one row each.

    Args:
        series: the series.
        layout: what goes into a row.
        static: numbers that belong to the series.
        coming: (horizon, n) the known columns after the last row; None = nothing is known of them.
    """

    def __init__(self, series: Series, layout: Layout, static: np.ndarray, coming: np.ndarray | None = None):
        self.layout = layout
        observed = ~np.isnan(series.values)
        self.values = np.nan_to_num(series.values).astype(np.float32)
        self.observed = observed
        self.elapsed = series.elapsed.astype(np.float32)
        beyond = np.full((layout.horizon, len(layout.known)), np.nan) if coming is None else coming
        known = _scaled(np.concatenate([series.known, beyond]), layout.known)
        covariates = [
            calendar(series.times, layout.cycles),
            _filled(_scaled(series.past, layout.past)),
            known[: len(series)],
            np.broadcast_to(_scaled(static[None], layout.static), (len(series), len(static))),
        ]
        if layout.irregular:
            covariates.append(np.log(series.elapsed)[:, None])
        self.now = np.concatenate([self.values, observed, *covariates], axis=1).astype(np.float32)
        self.known = known.astype(np.float32)
        self.times = np.concatenate([series.times, series.following_times(layout.horizon)]) / series.step

    def __len__(self) -> int:
        return len(self.values)

    def x(self, begin: int, end: int) -> np.ndarray:
        """Rows as tokens (rows, inputs), see `aaren.models.forecaster`."""
        if not self.layout.future:
            return self.now[begin:end]
        rows = np.arange(begin, end)
        after = rows[:, None] + 1 + np.arange(self.layout.horizon)
        ahead = self.known[after]
        if self.layout.irregular:
            offsets = (self.times[after] - self.times[rows, None]) / self.layout.horizon
            ahead = np.concatenate([ahead, offsets[..., None].astype(np.float32)], axis=-1)
        return np.concatenate([self.now[begin:end], ahead.reshape(len(rows), -1)], axis=1)

    def target(self, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What followed the origins (origins, horizon, channels), and which of it was observed."""
        after = origins[:, None] + 1 + np.arange(self.layout.horizon)
        return self.values[after], self.observed[after]


def _scaled(columns: np.ndarray, scales: Sequence[tuple[float, float]]) -> np.ndarray:
    mean, spread = np.array(scales, dtype=np.float64).reshape(-1, 2).T
    return (columns - mean) / spread


def _filled(columns: np.ndarray) -> np.ndarray:
    """The last observed value where one is missing, 0 before the first."""
    rows = np.where(np.isnan(columns), 0, np.arange(len(columns))[:, None])
    return np.nan_to_num(np.take_along_axis(columns, np.maximum.accumulate(rows), axis=0))


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
    """About `count` stretches spread evenly over the rows from `starts` on; what is before them is only looked at."""
    stretches = []
    share = max(count // len(lengths), 1)
    for i, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        ends = np.linspace(start, length - horizon, share) if share > 1 else np.array([length - horizon])
        for end in np.unique(ends.astype(int)).tolist():
            begin = max(end - size, 0)
            chosen = np.linspace(max(begin, start - 1), end - 1, origins).round().astype(int)
            stretches.append(Stretch(i, begin, end, chosen if origins > 1 else np.array([end - 1])))
    return stretches


def chunks(begin: int, end: int, origins: np.ndarray, size: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Rows begin..end in pieces of `size`, with the origins in each."""
    for start in range(begin, end, size):
        stop = min(start + size, end)
        yield start, stop, origins[(origins >= start) & (origins < stop)]
