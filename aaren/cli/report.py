"""`aaren report`: tables and pictures of results that are there."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from aaren.cli.classify import CLASSIFY
from aaren.cli.compare import show
from aaren.cli.control import CONTROL
from aaren.cli.events import EVENTS
from aaren.cli.forecast import FORECAST
from aaren.files import check_writable, read_json_lines

COMPARISONS = (CLASSIFY, FORECAST, EVENTS, CONTROL)
"""How results are read, one for each task."""


@dataclass(frozen=True)
class Report:
    """Tables and pictures of results that `aaren compare` wrote, of several runs and shards and of any tasks.

    For each metric a table (mean ± standard deviation, best and what cannot be told from it marked, mean ranks), for
    each layer what it cost. Where two results are of the same cell the newer counts. Writes OUT/table.md and pictures.

    Example: aaren report results/a/results-1-of-2.jsonl results/b/results-2-of-2.jsonl --out results/both
    """

    results: tyro.conf.Positional[tuple[Path, ...]]
    """files results.jsonl, or folders that hold one"""
    out: Path = Path("results/report")
    """folder for tables and pictures"""

    def run(self) -> None:
        from aaren.report import write_report

        files = [place / "results.jsonl" if place.is_dir() else place for place in self.results]
        records = [record for file in files for record in read_json_lines(file)]
        check_writable(self.out)
        show(write_report(records, COMPARISONS, self.out))
