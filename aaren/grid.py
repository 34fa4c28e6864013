"""Results of a comparison in rows and columns, and which of their differences chance alone could make."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aaren.comparison import Comparison, Metric, Record, Row
from aaren.extras import require

Runs = Mapping[Any, int | float]
"""Seed to result."""


def newest(records: Sequence[Record], identity: Callable[[Record], Row]) -> list[Record]:
    """Of results with the same identity the one with the latest `date`."""
    kept: dict[Row, Record] = {}
    for record in records:
        old = kept.get(identity(record))
        if old is None or old.get("date", "") <= record.get("date", ""):
            kept[identity(record)] = record
    return list(kept.values())


class Verdict(NamedTuple):
    """Of a row: its best columns, those that a test cannot tell from them, and those with too few runs for a test."""

    best: set[str]
    alike: set[str]
    untested: set[str]


class Grid:
    """Results of one comparison by row, column and seed, rows and columns sorted.

    Args:
        comparison: what is varied and measured.
        records: results of its task, at most one of a cell.
    """

    def __init__(self, comparison: Comparison, records: Sequence[Record]):
        self.comparison = comparison
        self.records = records
        self.rows = _sorted(tuple(record[name] for name in comparison.rows) for record in records)
        self.columns = _columns(comparison, records)
        self._runs: dict[tuple[Row, str], list[Record]] = {}
        for record in records:
            place = tuple(record[name] for name in comparison.rows), str(record[comparison.column])
            self._runs.setdefault(place, []).append(record)

    def measured(self, metric: Metric) -> "Grid":
        """The rows and columns that have this metric somewhere: not all results of a task need to have all metrics."""
        return Grid(self.comparison, [record for record in self.records if record.get(metric.name) is not None])

    def runs(self, metric: Metric, row: Row, column: str) -> Runs:
        """Seed to result; nothing if the cell is missing."""
        records = self._runs.get((row, column), [])
        return {r.get(self.comparison.repeat): r[metric.name] for r in records if r.get(metric.name) is not None}

    def verdict(self, metric: Metric, row: Row) -> Verdict:
        """Which columns are best by their mean over seeds, and which are not told from them (p ≥ 0.05)."""
        entries = {column: runs for column in self.columns if (runs := self.runs(metric, row, column))}
        if len(entries) < 2:
            return Verdict(set(), set(), set())
        best = best_of({column: mean(runs) for column, runs in entries.items()}, metric.higher_is_better)
        first = next(column for column in self.columns if column in best)
        p = {column: p_value(entries[first], runs) for column, runs in entries.items() if column not in best}
        alike = {column for column, value in p.items() if value is not None and value >= 0.05}
        return Verdict(best, alike, {column for column, value in p.items() if value is None})

    def complete_rows(self, metric: Metric) -> list[Row]:
        """Rows without a missing entry: what columns can be summed up over."""
        return [row for row in self.rows if all(self.runs(metric, row, column) for column in self.columns)]

    def means(self, metric: Metric) -> np.ndarray:
        """Means over seeds (complete rows, columns)."""
        table = [[mean(self.runs(metric, row, c)) for c in self.columns] for row in self.complete_rows(metric)]
        return np.array(table, dtype=float).reshape(-1, len(self.columns))

    def summaries(self, metric: Metric) -> dict[str, dict[str, float]]:
        """Over the complete rows, for each column: "mean" if it says something, "mean rank" (1 is best), and of errors
        the geometric mean of the ratio to the reference column if that is there. Empty with fewer than two."""
        table = self.means(metric)
        if len(table) < 2:
            return {}
        ranks = require("scipy.stats", "tasks").rankdata(-table if metric.higher_is_better else table, axis=1)
        found = {"mean": table.mean(axis=0)} if metric.averaged else {}
        found["mean rank"] = ranks.mean(axis=0)
        reference = self.comparison.reference
        if not metric.higher_is_better and reference in self.columns and (table > 0).all():
            ratios = table / table[:, [self.columns.index(reference)]]
            found[f"ratio to {reference}"] = np.exp(np.log(ratios).mean(axis=0))
        return {name: dict(zip(self.columns, values.tolist(), strict=True)) for name, values in found.items()}


def _columns(comparison: Comparison, records: Sequence[Record]) -> list[str]:
    """Those with seeds first: baselines stand together."""
    seeded = {record[comparison.column] for record in records if record.get(comparison.repeat) is not None}
    names = _sorted((record[comparison.column] not in seeded, record[comparison.column]) for record in records)
    return [str(name) for _, name in names]


def mean(runs: Runs) -> float:
    return float(np.mean(list(runs.values())))


def best_of(values: Mapping[str, int | float], higher_is_better: bool) -> set[str]:
    """The columns with the best value."""
    best = (max if higher_is_better else min)(values.values())
    return {column for column, value in values.items() if value == best}


def p_value(one: Runs, other: Runs) -> float | None:
    """Two-sided p of the paired t-test over equal seeds, None if too few are equal.

    A run without a seed, of a baseline with nothing random in it, is compared with every run of the other side: the
    one-sample test. Where all differences are the same, p is 1 if they are zero, else 0, of two runs None.
    """
    if [None] in (list(one), list(other)):
        pairs = list(itertools.product(one.values(), other.values()))
    else:
        pairs = [(one[seed], other[seed]) for seed in one if seed in other]
    if len(pairs) < 2:
        return None
    left, right = np.array(pairs, dtype=float).T
    rounding = 1e-12 * np.abs(pairs).max()
    if np.ptp(left - right) <= rounding:
        same = bool(np.abs(left - right).max() <= rounding)
        return None if len(pairs) == 2 and not same else float(same)
    return float(require("scipy.stats", "tasks").ttest_rel(left, right).pvalue)


def _sorted(rows: Any) -> list[Row]:
    """Without repetitions, numbers as numbers and before words."""
    return sorted(
        dict.fromkeys(rows), key=lambda row: [(0, v, "") if isinstance(v, int | float) else (1, 0, str(v)) for v in row]
    )
