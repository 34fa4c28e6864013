"""Runs of a study, side by side, none of them twice."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from aaren.bench import environment
from aaren.files import read_json_lines

Cell = tuple[Any, ...]
"""What a run is called with."""


def complete(
    run: Callable[..., dict[str, Any]], names: Sequence[str], cells: Sequence[Cell], file: Path, *, jobs: int = 1
) -> dict[Cell, dict[str, Any]]:
    """The results of all cells, of which those that are not in the file are run, in this order, and appended to it.

    Args:
        run: what measures a cell, a function of a module.
        names: of a cell's parts.
        cells: what is to be known.
        file: records of one JSON object a line.
        jobs: runs at a time, each in a process of its own, on one thread.
    """
    done = read_json_lines(file) if file.exists() else []
    known = {tuple(record[name] for name in names): record for record in done}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_measure, run, names, cell) for cell in cells if cell not in known]
        for finished in as_completed(running):
            record = finished.result()
            known[tuple(record[name] for name in names)] = record
            with file.open("a") as lines:
                lines.write(json.dumps(record) + "\n")
    return known


def _measure(run: Callable[..., dict[str, Any]], names: Sequence[str], cell: Cell) -> dict[str, Any]:
    torch.set_num_threads(1)
    return dict(zip(names, cell, strict=True)) | run(*cell) | environment()
