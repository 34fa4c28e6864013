"""`aaren compare events`: layers and baselines side by side at forecasting events."""

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated

import tyro

from aaren.cli.classify import Preset
from aaren.cli.compare import Running
from aaren.cli.events import EVENTS, Events, check_layer


@dataclass(frozen=True)
class CompareEvents:
    """Train several layers with the same recipe at sets of events, and print tables beside baselines.

    A cell is a data set, a layer and a seed (a baseline has none); each runs in a process of its own, and finished
    cells are not run again. Writes OUT/results.jsonl, OUT/table.md and pictures.

    Example: aaren compare events --data manhattan_taxi Sin --layers aaren attention poisson renewal --seeds 3
    """

    data: tuple[str, ...]
    """names in the catalogue (see `aaren data list`), `Sin`, or files"""
    layers: tuple[str, ...] = ("aaren", "attention", "gru", "poisson", "renewal")
    """layers and baselines to compare"""
    seeds: int = 3
    """runs of each layer, with seeds 0, 1, ..."""
    preset: Preset = "small"
    """size and training, the same for every layer"""
    updates: int | None = None
    """most updates of the weights; by default the preset's"""
    time: str = "time"
    """of tables: column of times"""
    sequence: str | None = None
    """of tables: column that tells sequences apart"""
    mark: str | None = None
    """of tables: column of marks"""
    start: str | None = None
    """of tables: when observation of every sequence began"""
    end: str | None = None
    """of tables: when it ended"""
    running: Annotated[Running, tyro.conf.arg(name="")] = field(default_factory=Running)
    out: Path | None = None
    """folder for results; by default results/compare-events-DATA, and how many more data sets"""

    def run(self) -> None:
        from aaren.tasks.event_baselines import EVENT_BASELINES

        for name in ("data", "layers"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be at least one, got none")
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        for layer in self.layers:
            check_layer(layer)
        names, layers = list(dict.fromkeys(self.data)), list(dict.fromkeys(self.layers))
        more = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
        out = self.out or Path("results") / f"compare-events-{Path(names[0]).name}{more}"
        cells = []
        for seed, data, layer in product(range(self.seeds), names, layers):
            simple = layer in EVENT_BASELINES
            if simple and seed:
                continue
            place = "-".join([Path(data).name, layer, *([] if simple else [str(seed)])])
            columns = self.time, self.sequence, self.mark, self.start, self.end
            cells.append(Events(data, out / "cells" / place, layer, *columns, self.preset, seed, self.updates))
        for data in names:
            next(cell for cell in cells if cell.data == data).parts()
        self.running.run(cells, EVENTS, out)
