"""`aaren compare`: layers side by side."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from aaren.cli.classify import Classify, Preset
from aaren.files import check_writable


@dataclass(frozen=True)
class Compare:
    """Train several layers with the same recipe and print one table.

    A cell is a layer and a seed; each runs in a process of its own, and finished cells are not run again. Then one
    model of each layer streams TOKENS samples. Writes OUT/results.jsonl, OUT/table.md and OUT/streaming.png (state
    memory and cumulative time against tokens).

    Example: aaren compare classify --data JapaneseVowels --layers aaren attention gru --seeds 3
    """

    task: tyro.conf.Positional[Literal["classify"]]
    """what the layers are compared at"""
    data: str
    """name in the UEA or UCR archive, or a folder with one *_TRAIN.ts and one *_TEST.ts"""
    layers: tuple[str, ...] = ("aaren", "attention", "gru")
    """layers to compare"""
    seeds: int = 3
    """runs of each layer, with seeds 0, 1, ..."""
    preset: Preset = "small"
    """size and training, the same for every layer"""
    updates: int | None = None
    """most updates of the weights; by default the preset's"""
    tokens: int = 10_000
    """samples streamed through a model of each layer"""
    out: Path | None = None
    """folder for results; by default results/compare-TASK-DATA"""

    def run(self) -> None:
        from rich.console import Console

        from aaren.bench import MARKS, environment, measure_stream, run_cells, write_json_lines
        from aaren.data.labelled import load_train_and_test
        from aaren.files import write_folder
        from aaren.layers.table import find_layer
        from aaren.report import comparison_rows, markdown_table, rich_table, streaming_figure
        from aaren.tasks.classify import Classifier

        for layer in self.layers:
            find_layer(layer)
        for name, number in (("seeds", self.seeds), ("layers", len(self.layers)), ("tokens", self.tokens)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        out = self.out or Path("results") / f"compare-{self.task}-{Path(self.data).name}"
        _, test = load_train_and_test(self.data)
        check_writable(out)

        say = partial(Console(stderr=True, highlight=False).print, soft_wrap=True)
        cells = [
            Classify(self.data, out / "cells" / f"{layer}-{seed}", layer, self.preset, seed, self.updates)
            for seed in range(self.seeds)
            for layer in dict.fromkeys(self.layers)
        ]
        results = []
        for result in run_cells([(cell.arguments(), cell.settings(), cell.out) for cell in cells], say):
            results.append(result)
            write_json_lines(out / "results.jsonl", results)

        import numpy as np
        import torch

        samples = torch.from_numpy(np.concatenate(test.cases, axis=1).T)
        streams = []
        for layer in dict.fromkeys(self.layers):
            say(f"streaming {self.tokens:,} samples through {layer}")
            stream = Classifier.load(out / "cells" / f"{layer}-0" / "model").stream()
            readings = measure_stream(stream, samples, self.tokens)
            streams.append({"task": "stream", "data": self.data, "layer": layer, "readings": readings, **environment()})
        write_json_lines(out / "results.jsonl", results + streams)

        rows = comparison_rows(results, streams, [mark for mark in MARKS if mark <= self.tokens])
        write_folder(out, {"table.md": markdown_table(rows).encode()})
        title = f"{self.data}, preset {self.preset}, {self.seeds} seeds: mean ± std"
        streaming_figure(streams, out / "streaming.png", f"streaming a {self.data} model, preset {self.preset}")
        Console().print(rich_table(rows, title))
        say(f"written: {out / 'results.jsonl'}, {out / 'table.md'}, {out / 'streaming.png'}")
