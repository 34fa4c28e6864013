"""`aaren bench`: how fast is all this on this machine?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from aaren.files import check_writable


@dataclass(frozen=True)
class Bench:
    """Race scans and layers against each other on this machine.

    Measures, turn by turn in one process: (scan) the scan against a memory copy; (layer) whole blocks against the block
    without a mixer; (stream) one long stream; (many) many streams at once; (memory) peak memory of training; (first)
    the time until compiled code is there; and if named (deploy) a token in every format of `aaren export`. Writes
    OUT/results.jsonl, OUT/table.md and pictures. Parts that are not named keep the results they have in OUT.

    Example: aaren bench --parts scan layer --seconds 5
    """

    out: Path = Path("results/bench")
    """folder for results"""
    parts: tuple[Literal["scan", "layer", "stream", "many", "memory", "first", "deploy"], ...] = (
        "scan",
        "layer",
        "stream",
        "many",
        "memory",
        "first",
    )
    """what to measure"""
    seconds: float = 10.0
    """about how long each race of `scan`, `layer` and `many` takes (at least 3 turns)"""
    widths: tuple[int, ...] = (64, 512)
    """d_model of the blocks of `layer`"""
    lengths: tuple[int, ...] = (128, 512, 2048, 8192, 16384)
    """tokens of a sequence of `layer` and `memory`"""
    tokens: tuple[int, ...] = (5_000, 50_000)
    """lengths of the streams of `stream`"""
    streams: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)
    """numbers of streams of `many`"""
    deploy_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    """d_model of the encoders of `deploy`"""
    deploy_layers: tuple[str, ...] = ("aaren", "aaren_gated", "gru")
    """their layers"""
    threads: int | None = None
    """threads of PyTorch and of the kernels; by default PyTorch's choice"""

    def run(self) -> None:
        import torch
        from rich.console import Console

        from aaren import speed
        from aaren.bench import environment
        from aaren.files import read_json_lines, write_folder, write_json_lines
        from aaren.report import rich_table
        from aaren.speed_report import exponents, figures_to_hold, pictures, tables

        for name in ("deploy_widths", "widths", "lengths", "tokens", "streams", "threads", "seconds"):
            given = getattr(self, name)
            if given is not None and any(number <= 0 for number in (given if isinstance(given, tuple) else (given,))):
                raise ValueError(f"{name} must be positive, got {given}")
        check_writable(self.out)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        measures = {
            "scan": partial(speed.scan_records, self.seconds),
            "layer": partial(speed.layer_records, self.seconds, self.widths, self.lengths),
            "stream": partial(speed.stream_records, self.tokens),
            "many": partial(speed.many_records, self.seconds, self.streams),
            "memory": partial(speed.memory_records, self.lengths),
            "first": speed.first_call_records,
            "deploy": self._deploy_records,
        }
        say = partial(Console(stderr=True, highlight=False).print, soft_wrap=True)
        file = self.out / "results.jsonl"
        kept = read_json_lines(file) if file.exists() else []
        results = [record for record in kept if record["part"] not in self.parts]
        for part in self.parts:
            for record in measures[part]():
                results.append(json.loads(json.dumps(record)) | environment())
                write_json_lines(file, results)
                shown = {name: value for name, value in record.items() if name in speed.TOLD}
                say(", ".join(f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in shown.items()))
        write_folder(self.out, {"table.md": tables(results).encode()})
        drawn = pictures(results, self.out)
        for title, rows in (("figures to hold", figures_to_hold(results)), ("streams", exponents(results))):
            if len(rows) > 1:
                Console().print(rich_table(rows, title))
        say(f"written to {self.out}: results.jsonl, table.md, {', '.join(drawn)}")

    def _deploy_records(self) -> Iterator[dict[str, Any]]:
        from aaren.speed_deploy import deploy_records  # needs the extras of `aaren export`

        return deploy_records(self.seconds, self.deploy_widths, self.deploy_layers)
