"""Cells: the runs of a comparison, each in a fresh process of its own, several at a time, none of them twice."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from multiprocessing import connection
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch

from aaren.bench import commit
from aaren.errors import EXPECTED, one_line
from aaren.files import read_json_lines, write_folder, write_json_lines
from aaren.ops import process

PRELOADED = ("aaren.bench", "aaren.ops.cpu", "aaren.ops.fused", "accelerate", "rich.progress", "torch._dynamo")
"""Modules that take seconds to import: the cells' processes are forked from one that has them."""


@runtime_checkable
class Cell(Protocol):
    """One run, as a frozen dataclass that can be pickled."""

    modules: ClassVar[tuple[str, ...]]
    """what its run imports and takes long to"""

    @property
    def out(self) -> Path:
        """Its folder; no other cell's."""
        ...

    def settings(self) -> dict[str, Any]:
        """What a result must agree with to be this cell's, as JSON has it."""
        ...

    def run(self, progress: bool = True) -> None:
        """Writes OUT/result.json: the settings, what was measured, and `aaren.bench.environment()`."""
        ...


class _Running(NamedTuple):
    cell: Cell
    process: Any
    """a multiprocessing.Process of the context that started it"""
    number: int
    began: float


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    say: Callable[[str], None],
    *,
    jobs: int = 1,
    shard: tuple[int, int] = (1, 1),
    reuse: Literal["same", "any"] = "same",
) -> None:
    """Runs those cells that have no result yet, and adds each result to `folder`/results.jsonl as its cell ends.

    A cell has a result if a file results*.jsonl in `folder`, or its own folder, holds one with its settings. One that
    was interrupted is run again, and may go on from a checkpoint of its own. One that fails does not stop the others.

    Args:
        cells: what to run.
        folder: of the results.
        say: told which cells start and end.
        jobs: cells that run at a time; if more than one, each on one thread and without a progress bar.
        shard: (i, n): only the i-th of n disjoint parts of the cells, with results in results-i-of-n.jsonl.
        reuse: whether the result of a cell must have been made by this commit, or may be of any.

    Raises:
        ChildProcessError: cells failed, named in the message (each has said why on standard error).
        ValueError: bad arguments, or a results file that is no longer JSON lines.
    """
    part, parts = shard
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if not 1 <= part <= parts:
        raise ValueError(f"shard must be i/n with i from 1 to n, got '{part}/{parts}'")
    file = folder / ("results.jsonl" if parts == 1 else f"results-{part}-of-{parts}.jsonl")
    made_by = commit()  # what is loaded now, whatever is checked out while the cells run
    known, mine, waiting = read_results(folder), cells[part - 1 :: parts], deque[Cell]()
    for cell in mine:
        wanted = cell.settings() | ({"commit": made_by} if reuse == "same" else {})
        result = _read_result(cell.out)
        if any(_agrees(record, wanted) for record in known):
            continue
        if _agrees(result, wanted):
            _add(file, result)
        else:
            waiting.append(cell)
    total = len(waiting)
    say(f"{len(mine)} cells, {len(mine) - total} of them done before")

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [*PRELOADED, *dict.fromkeys(module for cell in cells for module in (*cell.modules, type(cell).__module__))]
    )
    failed: list[str] = []
    running: dict[int, _Running] = {}
    start = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell, number = waiting.popleft(), total - len(waiting)
                say(f"cell {number} of {total} starts: {describe(cell)}")
                child = context.Process(target=_run_alone, args=(cell, jobs == 1))
                child.start()
                running[child.sentinel] = _Running(cell, child, number, time.monotonic())
            for sentinel in connection.wait(list(running)):
                assert isinstance(sentinel, int)
                cell, child, number, began = running.pop(sentinel)
                child.join()
                result = _read_result(cell.out)
                good = child.exitcode == 0 and _agrees(result, cell.settings())
                if good:
                    result |= {"commit": made_by}
                    write_folder(cell.out, {"result.json": json.dumps(result).encode()})
                    _add(file, result)
                else:
                    failed.append(f"{describe(cell)} (exit status {child.exitcode})")
                now, left = time.monotonic(), len(waiting) + len(running)
                say(
                    f"cell {number} of {total} {'ended' if good else 'failed'} after {_clock(now - began)}; "
                    f"{_clock(now - start)} so far, about {_clock((now - start) / (total - left) * left)} left"
                )
    finally:
        _end([run.process for run in running.values()])
    if failed:
        raise ChildProcessError(f"cells must succeed, got {len(failed)} of {total} that failed: {'; '.join(failed)}")


def describe(cell: Cell) -> str:
    """Its settings in one line."""
    return ", ".join(f"{name} {value}" for name, value in cell.settings().items() if value is not None)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The records of all files results*.jsonl, of shards too. Raises ValueError if they are no longer JSON lines."""
    return [record for file in sorted(folder.glob("results*.jsonl")) for record in read_json_lines(file)]


def results_of(cells: Sequence[Cell], folder: Path) -> list[dict[str, Any]]:
    """The records in `folder` that are of these cells, made by any commit."""
    wanted = [cell.settings() for cell in cells]
    return [record for record in read_results(folder) if any(_agrees(record, settings) for settings in wanted)]


def _agrees(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in record and record[name] == value for name, value in wanted.items())


def _read_result(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):  # none, or no longer readable
        return {}


def _add(file: Path, record: dict[str, Any]) -> None:
    write_json_lines(file, [*(read_json_lines(file) if file.exists() else []), record])


def _clock(seconds: int | float) -> str:
    """Hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


def _end(children: Sequence[Any]) -> None:
    """Interrupts what is still running, and waits for it."""
    for child in children:
        child.terminate()
    for child in children:
        child.join(5)  # time to remove a file half written
        if child.exitcode is None:
            child.kill()
            child.join()


def _run_alone(cell: Cell, alone: bool) -> None:
    """A cell's process. It is told by its parent when to stop: a Ctrl-C of the terminal reaches both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    process.forked = False  # from a process that has only imported: OpenMP had no threads that did not come along
    if not alone:
        torch.set_num_threads(1)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # until here nothing has to be cleared away
        cell.run(progress=alone)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except EXPECTED as error:
        print(f"aaren: error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _end_with_parent() -> None:
    """Nobody is left to read the result of a cell whose parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    with suppress(OSError):
        parent.join()
    os._exit(130)
