"""What every `aaren compare TASK` has in common: how its cells are run, and the report at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aaren.comparison import Comparison
from aaren.files import check_writable

if TYPE_CHECKING:
    from aaren.cells import Cell
    from aaren.report import Section


@dataclass(frozen=True)
class Running:
    """How the cells of a comparison are run."""

    jobs: int = 1
    """cells that run at a time; with several, each has one thread"""
    shard: str = "1/1"
    """i/n: run only the i-th of n parts of the cells, and write results-i-of-n.jsonl; `aaren report` joins them"""
    reuse: Literal["same", "any"] = "same"
    """finished cells that are not run again: those made by the same commit of this library, or by any"""

    def run(self, cells: "Sequence[Cell]", comparison: Comparison, out: Path, *, more: "Sequence[Cell]" = ()) -> None:
        """Runs cells and reports on all of them that have a result, those of other shards in `out` too.

        Args:
            cells: those of the comparison.
            comparison: how results are read.
            out: folder for results.
            more: run after them, one at a time, but not in shards: long streams of their models.

        Raises:
            ChildProcessError: cells failed; the others have been run and reported.
            ValueError: bad options.
        """
        from rich.console import Console

        from aaren.cells import results_of, run_cells
        from aaren.report import write_report

        shard = _parts(self.shard)
        if shard != (1, 1):
            more = ()
        folders = [cell.out for cell in (*cells, *more)]
        if twice := next((folder for folder in folders if folders.count(folder) > 1), None):
            raise ValueError(f"data sets must differ in name, got two cells for the folder {str(twice)!r}")
        check_writable(out)
        say = partial(Console(stderr=True, highlight=False).print, soft_wrap=True, markup=False)
        failures: list[ChildProcessError] = []
        for some, jobs in ((cells, self.jobs), (more, 1)):
            try:
                if some:
                    run_cells(some, out, say, jobs=jobs, shard=shard, reuse=self.reuse)
            except ChildProcessError as error:
                failures.append(error)
        if results := results_of([*cells, *more], out):
            show(write_report(results, [comparison], out))
            say(f"written to {out}: results, table.md and pictures")
        if failures:
            raise ChildProcessError("; ".join(map(str, failures)))


def show(sections: "Sequence[Section]") -> None:
    """Prints tables on the terminal."""
    from rich.console import Console

    from aaren.report import rich_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a file has room for wide tables
    for section in sections:
        console.print(rich_table(section.rows, section.title, section.note))


def _parts(shard: str) -> tuple[int, int]:
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal()):
        raise ValueError(f"shard must be i/n with i from 1 to n, got {shard!r}")
    return int(part), int(parts)
