"""What a comparison varies and measures: all that reports know of a task."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, log10
from typing import Any

Record = dict[str, Any]
"""A result, as JSON has it."""
Row = tuple[Any, ...]
"""Values of some settings."""


@dataclass(frozen=True)
class Metric:
    """A number that results hold, and how it is read."""

    name: str
    """its key in a result"""
    title: str
    """its name for people"""
    higher_is_better: bool = False
    digits: int | None = 3
    """decimals; None = three figures of the least value of a row: for values in the unit of the data"""
    averaged: bool = False
    """whether its mean over the rows of a table says something"""

    def decimals(self, values: Iterable[int | float]) -> int:
        """Of the values of a row."""
        if self.digits is not None:
            return self.digits
        least = min((abs(value) for value in values if value), default=1.0)
        return max(0, 2 - floor(log10(least)))


@dataclass(frozen=True)
class Comparison:
    """The table of a task: all that is said about a task's results, in the names of their settings."""

    task: str
    """`task` of its results"""
    rows: tuple[str, ...]
    """settings that make a row"""
    column: str
    """the setting that makes a column: what is compared"""
    metrics: tuple[Metric, ...]
    fixed: tuple[str, ...] = ("preset", "most_updates")
    """settings that a table has one value of: one table for each"""
    any_of: str = ""
    """the one of these that some results have no value of (baselines): they are in the tables of all its values"""
    repeat: str = "seed"
    """the setting that is there to repeat a run"""
    reference: str = "attention"
    """column that errors are divided by, if it is there"""

    def identity(self, record: Record) -> Row:
        """Its settings: two results with the same are of the same cell."""
        return (*self.table(record), *(record.get(name) for name in (*self.rows, self.column, self.repeat)))

    def table(self, record: Record) -> Row:
        """Its settings that a table has one value of."""
        values = (record.get(name) for name in self.fixed)
        return tuple(tuple(value) if isinstance(value, list) else value for value in values)
