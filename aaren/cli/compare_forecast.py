"""`aaren compare forecast`: layers and baselines side by side at forecasting."""

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated

import tyro

from aaren.cli.classify import Preset
from aaren.cli.compare import Running
from aaren.cli.forecast import FORECAST, Forecast, Normalise, check_layer


@dataclass(frozen=True)
class CompareForecast:
    """Train several layers with the same recipe at data sets and horizons, and print tables beside baselines.

    A cell is a data set, a horizon, a layer, a normalisation and a seed (a baseline has neither of the last two); each
    runs in a process of its own, and finished cells are not run again. Writes OUT/results.jsonl, OUT/table.md and
    pictures of the errors.

    Example: aaren compare forecast --data ETTh1 --layers aaren attention linear --horizons 96 192 --seeds 3
    """

    data: tuple[str, ...]
    """names in the catalogue (see `aaren data list`), or files"""
    layers: tuple[str, ...] = ("aaren", "attention", "gru", "last", "seasonal", "linear", "ar")
    """layers and baselines to compare"""
    horizons: tuple[int, ...] = (96, 192, 336, 720)
    """rows to forecast"""
    normalise: tuple[Normalise, ...] = ("running", "window")
    """normalisations of the layers, a table each"""
    time: str | None = None
    """column of times of a file; by default `date` if there is one"""
    target: tuple[str, ...] = ()
    """columns to forecast, by default all; the others are read, but not forecast"""
    context: int = 96
    """rows that a forecast looks back directly"""
    seeds: int = 3
    """runs of each layer, with seeds 0, 1, ..."""
    preset: Preset = "small"
    """size of the network, the same for every layer"""
    updates: int | None = None
    """most updates of the weights"""
    running: Annotated[Running, tyro.conf.arg(name="")] = field(default_factory=Running)
    out: Path | None = None
    """folder for results; by default results/compare-forecast-DATA, and how many more data sets"""

    def run(self) -> None:
        from aaren.data.parts import load_parts
        from aaren.data.series import Roles

        for name in ("data", "layers", "horizons", "normalise"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be at least one, got none")
        for name, number in (("seeds", self.seeds), *(("horizons", horizon) for horizon in self.horizons)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        for layer in self.layers:
            check_layer(layer)
        names = list(dict.fromkeys(self.data))
        for name in names:
            rows = load_parts(name, Roles(self.time, self.target or None)).test
            if rows < max(self.horizons):
                raise ValueError(
                    f"horizons must be at most the {rows} rows of the test part of {name!r}, got {self.horizons}"
                )
        more = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
        out = self.out or Path("results") / f"compare-forecast-{Path(names[0]).name}{more}"
        self.running.run(self._cells(names, out / "cells"), FORECAST, out)

    def _cells(self, names: list[str], folder: Path) -> list[Forecast]:
        """Those of a seed before those of the next, so that there is a whole table early."""
        from aaren.tasks.baselines import BASELINES

        horizons, layers = list(dict.fromkeys(self.horizons)), list(dict.fromkeys(self.layers))
        ways = list(dict.fromkeys(self.normalise))
        cells = []
        for seed, data, horizon, layer, way in product(range(self.seeds), names, horizons, layers, ways):
            simple = layer in BASELINES
            if simple and (seed, way) != (0, ways[0]):
                continue
            place = [Path(data).name, str(horizon), layer, *([] if simple else [way, str(seed)])]
            cells.append(
                Forecast(
                    data,
                    folder / "-".join(place),
                    layer,
                    horizon,
                    way,
                    self.context,
                    self.time,
                    self.target,
                    preset=self.preset,
                    seed=seed,
                    updates=self.updates,
                    forecast=False,
                )
            )
        return cells
