"""The command `aaren`: a frozen dataclass a command, help from its docstrings, modules loaded when it runs."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import tyro

from aaren.extras import missing
from aaren.files import check_writable

Preset = Literal["small", "paper"]


@dataclass(frozen=True)
class Classify:
    """Train a classifier on a data set's training part and measure it on its test part, once.

    The model is selected on a validation part cut from the training part. Writes OUT/model (for `aaren stream` and
    `Classifier.load`) and OUT/result.json. Interrupted with Ctrl-C, the same command goes on where it was.

    Example: aaren classify --data JapaneseVowels --layer aaren --out results/vowels
    """

    data: str
    """name in the UEA or UCR archive, or a folder with one *_TRAIN.ts and one *_TEST.ts"""
    out: Path
    """folder for results"""
    layer: str = "aaren"
    """aaren, aaren_decay, attention, gru, lstm, mingru or minlstm"""
    preset: Preset = "small"
    """size and training: small (a minute on one core) or paper (the published sizes)"""
    seed: int = 0
    """of weights, validation part, batches and dropout"""
    updates: int | None = None
    """most updates of the weights; by default the preset's"""

    def run(self) -> None:
        from aaren.bench import Cost, environment
        from aaren.data.labelled import load_train_and_test
        from aaren.files import write_folder
        from aaren.layers.table import find_layer
        from aaren.tasks.classify import PRESETS, Classifier
        from aaren.train import Recipe

        find_layer(self.layer)
        train, test = load_train_and_test(self.data)
        check_writable(self.out)
        self._check_results()
        checkpoint = self.out / "checkpoint.safetensors"
        arguments: dict[str, Any] = dict(PRESETS[self.preset])
        if self.updates is not None:
            arguments["recipe"] = replace(arguments["recipe"], updates=self.updates)
        classifier = Classifier(self.layer, seed=self.seed, checkpoint=checkpoint, progress=True, **arguments)
        # A first update in every process loads libraries and kernels: no cost of this model.
        brief: dict[str, Any] = arguments | {"recipe": Recipe(updates=1)}
        Classifier(self.layer, **brief).fit(train.cases, train.labels)
        with Cost() as cost:
            classifier.fit(train.cases, train.labels)
        accuracy = float(classifier.score(test.cases, test.labels))
        classifier.save(self.out / "model")
        result = self.settings() | {
            "accuracy": accuracy,
            "validation_accuracy": classifier.validation_accuracy_,
            "parameters": sum(p.numel() for p in classifier.model_.parameters()),
            "updates": classifier.training_.updates,
            "best_update": classifier.training_.best_update,
            "train_seconds": classifier.training_.seconds,
            "peak_memory_bytes": cost.peak_bytes,
            **environment(),
        }
        write_folder(self.out, {"result.json": json.dumps(result, indent=2).encode()})
        checkpoint.unlink(missing_ok=True)
        print(
            f"{self.layer} on {self.data}, preset {self.preset}, seed {self.seed}: test accuracy {accuracy:.3f} "
            f"(validation {classifier.validation_accuracy_:.3f}), {result['parameters']:,} parameters, "
            f"{result['updates']} updates in {result['train_seconds']:.1f} s"
        )

    def _check_results(self) -> None:
        """Raises ValueError if the folder has results of other settings: they are not overwritten."""
        file = self.out / "result.json"
        if not file.exists():
            return
        old = json.loads(file.read_text())
        if other := {name: old.get(name) for name, value in self.settings().items() if old.get(name) != value}:
            raise ValueError(
                f"out must be a new folder or one of the same settings, got results with {other} in {str(self.out)!r}"
            )

    def arguments(self) -> list[str]:
        """This command as typed."""
        given = {name: str(value) for name, value in asdict(self).items() if value is not None}
        return ["classify", *(word for name, value in given.items() for word in (f"--{name}", value))]

    def settings(self) -> dict[str, Any]:
        """What a result must agree with to be this command's."""
        same = {name: getattr(self, name) for name in ("data", "layer", "preset", "seed")}
        return {"task": "classify", **same, "most_updates": self.updates}  # a result has those made as `updates`


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


@dataclass(frozen=True)
class Stream:
    """Feed samples to a saved model one at a time and print the class probabilities after each.

    Samples come as JSON lines, a list of numbers each, from standard input or a file. With --keyed a line is
    {"key": K, "x": [...]} and K names one of many streams. With --data and --case the samples are a case of a data
    set's test part. Answers go to standard output, a JSON line each.

    Example: aaren stream results/vowels/model --data JapaneseVowels --case 0 --show bars
    """

    model: tyro.conf.Positional[Path]
    """folder that `aaren classify` wrote: OUT/model"""
    input: Path | None = None
    """file of samples; by default standard input"""
    data: str | None = None
    """data set from whose test part a case is streamed"""
    case: int | None = None
    """number of that case, from 0"""
    keyed: bool = False
    """each line names its stream"""
    restore: Path | None = None
    """snapshot to go on from"""
    snapshot: Path | None = None
    """where to leave a snapshot at the end, also after an error or Ctrl-C"""
    show: Literal["json", "bars"] = "json"
    """json for programs, bars for people"""

    def run(self) -> None:
        from aaren.tasks.classify import Classifier

        classifier = Classifier.load(self.model)
        names = [str(name) for name in classifier.classes_]
        single, many = classifier.stream(), classifier.keyed_stream()
        stream = many if self.keyed else single
        if self.restore is not None:
            stream.restore(self.restore)
        if self.snapshot is not None:
            check_writable(self.snapshot.parent)
            if self.snapshot.is_dir():
                raise ValueError(f"snapshot must be a file, got the folder {str(self.snapshot)!r}")
        if self.input is not None and self.data is not None:
            raise ValueError("samples must come from input or from data, got both")
        if (self.data is None) != (self.case is None):
            raise ValueError("data and case must be given together, got one of them")
        try:
            for number, (key, x) in enumerate(self._samples(), start=1):
                if len(x) != classifier.channels_:
                    raise ValueError(f"sample {number} must have {classifier.channels_} numbers, got {len(x)}")
                try:
                    y = many.push({key: x})[key] if self.keyed else single.push(x)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"sample {number}: {error}") from None
                self._print(number, key, dict(zip(names, y.tolist(), strict=True)))
        finally:
            if self.snapshot is not None:
                stream.snapshot(self.snapshot)

    def _samples(self) -> Iterator[tuple[Any, Any]]:
        """Key (None without --keyed) and sample, one by one."""
        if self.data is not None:
            from aaren.data.labelled import load_labelled

            test = load_labelled(self.data, "test")
            assert self.case is not None
            if not 0 <= self.case < len(test.cases):
                raise ValueError(f"case must be from 0 to {len(test.cases) - 1}, as the test part has, got {self.case}")
            sys.stderr.write(f"case {self.case} of {self.data}, class {test.labels[self.case]}\n")
            yield from ((self.case if self.keyed else None, sample) for sample in test.cases[self.case].T)
            return
        lines: TextIO = sys.stdin if self.input is None else self.input.open()
        with lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                key = x = None
                try:
                    value = json.loads(line)
                    key, x = (value["key"], value["x"]) if self.keyed else (None, value)
                    good = all(type(v) in (int, float) for v in x) and (not self.keyed or type(key) in (str, int))
                except (KeyError, TypeError, ValueError):
                    good = False
                if not good:
                    form = '{"key": string or whole number, "x": [...]}' if self.keyed else "a list of numbers"
                    raise ValueError(f"line {number} must be {form} in JSON, got {line.strip()[:60]!r}")
                yield key, x

    def _print(self, number: int, key: Any, probabilities: dict[str, float]) -> None:
        ranked = sorted(probabilities, key=lambda name: -probabilities[name])
        if self.show == "bars":
            shares = "   ".join(
                f"{name} {'█' * round(20 * probabilities[name]) or '▏':<20} {probabilities[name]:.2f}"
                for name in ranked[:3]
            )
            print(f"{number:>5}{'' if key is None else f' {key}'}  class {shares}", flush=True)
        else:
            named = {} if key is None else {"key": key}
            print(
                json.dumps({"sample": number, **named, "class": ranked[0], "probabilities": probabilities}), flush=True
            )


@dataclass(frozen=True)
class Bench:
    """Race scans and layers against each other on this machine.

    Measures, turn by turn in one process: (scan) the scan against a memory copy; (layer) whole blocks against the block
    without a mixer; (stream) one long stream; (many) many streams at once; (memory) peak memory of training; (first)
    the time until compiled code is there. Writes OUT/results.jsonl, OUT/table.md and pictures. Parts that are not named
    keep the results they have in OUT.

    Example: aaren bench --parts scan layer --seconds 5
    """

    out: Path = Path("results/bench")
    """folder for results"""
    parts: tuple[Literal["scan", "layer", "stream", "many", "memory", "first"], ...] = (
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
    threads: int | None = None
    """threads of PyTorch and of the kernels; by default PyTorch's choice"""

    def run(self) -> None:
        import torch
        from rich.console import Console

        from aaren import speed
        from aaren.bench import environment, write_json_lines
        from aaren.files import write_folder
        from aaren.report import rich_table
        from aaren.speed_report import exponents, figures_to_hold, pictures, tables

        for name in ("widths", "lengths", "tokens", "streams", "threads", "seconds"):
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
        }
        say = partial(Console(stderr=True, highlight=False).print, soft_wrap=True)
        file = self.out / "results.jsonl"
        kept = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
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


Command = (
    Annotated[Classify, tyro.conf.subcommand("classify")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Stream, tyro.conf.subcommand("stream")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
)


def main(arguments: list[str] | None = None) -> None:
    """Runs a command. Bad input ends in one line on standard error and exit status 2, Ctrl-C in 130."""
    command: Any = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="aaren",
        description="Sequence models that train in parallel and stream in constant memory.",
        args=arguments,
    )
    try:
        command.run()
    except KeyboardInterrupt:
        hint = "" if isinstance(command, Stream) else "; run the same command again to go on from the last validation"
        print(f"aaren: interrupted{hint}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the answers has left: nothing to say
    except (ValueError, FloatingPointError, OSError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError):
            error = missing(error, "tasks")
        print(f"aaren: error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())
