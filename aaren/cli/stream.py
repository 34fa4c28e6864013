"""`aaren stream`: samples in, answers out, one at a time."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import tyro

from aaren.files import check_writable


@dataclass(frozen=True)
class Stream:
    """Feed samples to a saved model one at a time and print the class probabilities, or the forecast, after each.

    Samples come as JSON lines, a list of numbers each, from standard input or a file. With --keyed a line is
    {"key": K, "x": [...]} and K names one of many streams. With --data and --case the samples are a case of a data
    set's test part. For a forecaster a line is a row, {"date": "2026-01-01 10:00", "load": 3.5, ...}, with null where a
    value is missing; for a forecaster of events an event, {"time": 12.5, "mark": "sale"}, with a "key" if --keyed.
    Answers go to standard output, a JSON line each.

    Example: aaren stream results/vowels/model --data JapaneseVowels --case 0 --show bars
    """

    model: tyro.conf.Positional[Path]
    """folder that `aaren classify`, `aaren forecast` or `aaren events` wrote: OUT/model"""
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
        from aaren.tasks.saving import kind_of

        if self.input is not None and not self.input.is_file():  # before a snapshot could be overwritten
            raise FileNotFoundError(f"input must be an existing file, got {str(self.input)!r}")
        if self.snapshot is not None:
            check_writable(self.snapshot.parent)
            if self.snapshot.is_dir():
                raise ValueError(f"snapshot must be a file, got the folder {str(self.snapshot)!r}")
        if kind_of(self.model) in ("aaren decision agent", "aaren cloning agent"):
            raise ValueError("model must be one that is fed with samples, got an agent; use DecisionAgent.stream, act")
        if kind_of(self.model) == "aaren forecaster":
            if self.keyed or self.data is not None or self.case is not None or self.show != "json":
                raise ValueError("keyed, data, case and show must be left out for a forecaster, got some of them")
            from aaren.cli.stream_forecast import stream_forecasts

            stream_forecasts(self.model, self.input, self.restore, self.snapshot)
            return
        if kind_of(self.model) == "aaren event forecaster":
            if self.data is not None or self.case is not None or self.show != "json":
                raise ValueError("data, case and show must be left out for a forecaster of events, got some of them")
            from aaren.cli.stream_events import stream_events

            stream_events(self.model, self.input, self.restore, self.snapshot, self.keyed)
            return
        classifier = Classifier.load(self.model)
        names = [str(name) for name in classifier.classes_]
        single, many = classifier.stream(), classifier.keyed_stream()
        stream = many if self.keyed else single
        if self.restore is not None:
            stream.restore(self.restore)
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
