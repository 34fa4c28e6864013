"""`aaren compare classify`: layers side by side at classification."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from aaren.cli.classify import CLASSIFY, Classify, Preset
from aaren.cli.compare import Running
from aaren.files import write_folder


@dataclass(frozen=True)
class CompareClassify:
    """Train several layers with the same recipe at data sets and print a table.

    A cell is a data set, a layer and a seed; each runs in a process of its own, and finished cells are not run again.
    Then one model of each layer streams TOKENS samples. Writes OUT/results.jsonl, OUT/table.md, a picture of the
    accuracies and OUT/streaming.png (state memory and cumulative time against tokens).

    Example: aaren compare classify --data JapaneseVowels --layers aaren attention gru --seeds 3
    """

    data: tuple[str, ...]
    """names in the UEA or UCR archive, or folders with one *_TRAIN.ts and one *_TEST.ts"""
    layers: tuple[str, ...] = ("aaren", "attention", "gru")
    """layers to compare"""
    seeds: int = 3
    """runs of each layer, with seeds 0, 1, ..."""
    preset: Preset = "small"
    """size and training, the same for every layer"""
    updates: int | None = None
    """most updates of the weights; by default the preset's"""
    tokens: int = 10_000
    """samples streamed through a model of each layer, trained at the first data set; 0 for none"""
    running: Annotated[Running, tyro.conf.arg(name="")] = field(default_factory=Running)
    out: Path | None = None
    """folder for results; by default results/compare-classify-DATA, and how many more data sets"""

    def run(self) -> None:
        from aaren.data.labelled import check_data
        from aaren.layers.table import find_layer

        for layer in self.layers:
            find_layer(layer)
        for name, number, least in (
            ("data", len(self.data), 1),
            ("layers", len(self.layers), 1),
            ("seeds", self.seeds, 1),
            ("tokens", self.tokens, 0),
        ):
            if number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        for data in self.data:
            check_data(data)
        names, layers = list(dict.fromkeys(self.data)), list(dict.fromkeys(self.layers))
        more = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
        out = self.out or Path("results") / f"compare-classify-{Path(names[0]).name}{more}"
        cells = [
            Classify(data, _folder(out, data, layer, seed), layer, self.preset, seed, self.updates)
            for seed in range(self.seeds)
            for data in names
            for layer in layers
        ]
        streams = [
            LongStream(cell, self.tokens, out / "cells" / f"stream-{cell.layer}") for cell in cells[: len(layers)]
        ]
        self.running.run(cells, CLASSIFY, out, more=streams if self.tokens else [])


def _folder(out: Path, data: str, layer: str, seed: int) -> Path:
    return out / "cells" / f"{Path(data).name}-{layer}-{seed}"


@dataclass(frozen=True)
class LongStream:
    """The cell that streams the samples of a test part, over and over, through the model of a trained cell."""

    model: Classify
    tokens: int
    out: Path

    modules: ClassVar[tuple[str, ...]] = Classify.modules

    def run(self, progress: bool = True) -> None:
        import numpy as np
        import torch

        from aaren.bench import environment, measure_stream, places_up_to
        from aaren.data.labelled import load_labelled
        from aaren.tasks.classify import Classifier

        if not (self.model.out / "model").exists():  # its result is known, the folder is gone
            self.model.run(progress)
        stream = Classifier.load(self.model.out / "model").stream()
        samples = torch.from_numpy(np.concatenate(load_labelled(self.model.data, "test").cases, axis=1).T)
        readings = measure_stream(stream, samples, places_up_to(self.tokens))
        result = self.settings() | {"readings": readings, **environment()}
        write_folder(self.out, {"result.json": json.dumps(result).encode()})

    def settings(self) -> dict[str, Any]:
        return self.model.settings() | {"task": "stream", "tokens": self.tokens}
