"""`aaren compare control`: layers, protocols and baselines side by side at offline reinforcement learning."""

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated

import tyro

from aaren.cli.classify import Preset
from aaren.cli.compare import Running
from aaren.cli.control import BASELINES, CONTROL, Control, Protocol, check_policy
from aaren.extras import require


@dataclass(frozen=True)
class CompareControl:
    """Train several layers with the same recipe from sets of trajectories, let them act, and print tables.

    A cell is a data set, a layer, a protocol and a seed (the behaviour policy has no seed, and baselines no protocol);
    each runs in a process of its own, and finished cells are not run again. There is a table for each protocol, with
    the baselines in both. Writes OUT/results.jsonl, OUT/table.md and pictures.

    Example: aaren compare control --data hopper-medium --layers aaren attention bc behaviour --seeds 3
    """

    data: tuple[str, ...]
    """names in the catalogue (see `aaren data list`), NAME-medium-expert, or files"""
    layers: tuple[str, ...] = ("aaren", "attention", "gru", "bc", "bc_10", "behaviour")
    """layers and baselines to compare"""
    protocols: tuple[Protocol, ...] = ("windowed", "streaming")
    """how layers act"""
    environment: str | None = None
    """of files: the name that gymnasium knows"""
    episodes: int = 10
    """episodes that are played for each wanted return"""
    seeds: int = 3
    """runs of each layer, with seeds 0, 1, ..."""
    preset: Preset = "small"
    """size and training, the same for every layer"""
    updates: int | None = None
    """updates of the weights; by default the preset's"""
    running: Annotated[Running, tyro.conf.arg(name="")] = field(default_factory=Running)
    out: Path | None = None
    """folder for results; by default results/compare-control-DATA, and how many more data sets"""

    def run(self) -> None:
        for name in ("data", "layers", "protocols"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be at least one, got none")
        for name in ("seeds", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for layer in self.layers:
            check_policy(layer)
        names, layers = list(dict.fromkeys(self.data)), list(dict.fromkeys(self.layers))
        protocols = list(dict.fromkeys(self.protocols))
        more = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
        out = self.out or Path("results") / f"compare-control-{Path(names[0]).name}{more}"
        cells = []
        for seed, data, layer, protocol in product(range(self.seeds), names, layers, protocols):
            plain, alone = layer == "behaviour", layer == "behaviour" or layer in BASELINES
            if (plain and seed) or (alone and protocol != protocols[0]):
                continue
            place = "-".join([Path(data).name, layer, *([] if alone else [protocol]), *([] if plain else [str(seed)])])
            acting = self.environment, self.episodes, self.preset, seed, self.updates
            cells.append(Control(data, out / "cells" / place, layer, protocol, *acting))
        for cell in cells:
            cell.where()
        if any(layer != "behaviour" for layer in layers):
            require("gymnasium", "rl")  # told once, not by every cell
        self.running.run(cells, CONTROL, out)
