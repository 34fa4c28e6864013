"""`aaren stream` for a forecaster: rows in, forecasts out."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np


def stream_forecasts(model: Path, source: Path | None, restore: Path | None, snapshot: Path | None) -> None:
    """Pushes rows from a file or standard input and prints the forecast after each as a JSON line.

    Raises:
        FileNotFoundError: no such model, file or snapshot.
        ValueError: a row that is none of this model's, a snapshot of another, a model that must know coming values.
    """
    from aaren.tasks.forecast import Forecaster

    forecaster = Forecaster.load(model)
    if forecaster.roles.known:
        known = ", ".join(forecaster.roles.known)
        raise ValueError(f"model must have no known columns here, got {known}; use Forecaster.stream in Python")
    stream = forecaster.stream()
    if restore is not None:
        stream.restore(restore)
    try:
        for number, row in _rows(source):
            try:
                forecast = stream.push(row).reshape(forecaster.horizon, len(forecaster.channels_), -1)
            except (TypeError, ValueError) as error:
                raise ValueError(f"row {number}: {error}") from None
            answer = {"row": number, "forecast": _named(forecaster.channels_, forecast[..., 0])}
            if forecaster.quantiles:
                answer["quantiles"] = {
                    f"{quantile:g}": _named(forecaster.channels_, forecast[..., 1 + i])
                    for i, quantile in enumerate(forecaster.quantiles)
                }
            print(json.dumps(answer), flush=True)
    finally:
        if snapshot is not None:
            stream.snapshot(snapshot)


def _rows(source: Path | None) -> Iterator[tuple[int, Any]]:
    lines: TextIO = sys.stdin if source is None else source.open()
    with lines:
        for number, line in enumerate((line for line in lines if line.strip()), start=1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict | list) or not row:
                form = "an object of cells by column, or for a model of arrays a list of numbers,"
                raise ValueError(f"row {number} must be {form} in JSON, got {line.strip()[:60]!r}")
            yield number, row


def _named(channels: tuple[str, ...], forecast: np.ndarray) -> dict[str, list[float]]:
    return {name: forecast[:, i].tolist() for i, name in enumerate(channels)}
