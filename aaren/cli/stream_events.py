"""`aaren stream` for a forecaster of events: events in, forecasts of the next one out."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from aaren.tasks.event_forecast import EventForecast

MARKS = 5
"""Most probable marks that are named."""


def stream_events(model: Path, source: Path | None, restore: Path | None, snapshot: Path | None, keyed: bool) -> None:
    """Pushes events from a file or standard input and prints the forecast after each as a JSON line.

    Raises:
        FileNotFoundError: no such model, file or snapshot.
        ValueError: an event that is none of this model's, or a snapshot of another.
    """
    from aaren.tasks.events import EventForecaster

    forecaster = EventForecaster.load(model)
    single, many = forecaster.stream(), forecaster.keyed_stream()
    stream = many if keyed else single
    if restore is not None:
        stream.restore(restore)
    try:
        for number, event in _events(source, keyed, forecaster.marked_):
            time, mark = event["time"], event.get("mark")
            try:
                key = event.get("key")
                forecast = many.push({key: (time, mark)})[key] if keyed else single.push(time, mark)
            except (TypeError, ValueError) as error:
                raise ValueError(f"event {number}: {error}") from None
            named = {"key": event["key"]} if keyed else {}
            print(json.dumps({"event": number, **named, **_answer(forecast)}), flush=True)
    finally:
        if snapshot is not None:
            stream.snapshot(snapshot)


def _answer(forecast: EventForecast) -> dict[str, Any]:
    """Times of the next event, and the most probable marks."""
    answer: dict[str, Any] = {
        "mean": float(forecast.mean()),
        "quantiles": {f"{p:g}": float(forecast.quantile(p)) for p in (0.1, 0.5, 0.9)},
    }
    if len(forecast.marks):
        chances = forecast.mark_probabilities
        best = (-chances).argsort(kind="stable")[:MARKS]
        answer["marks"] = {str(forecast.marks[place]): float(chances[place]) for place in best}
    return answer


def _events(source: Path | None, keyed: bool, marked: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    lines: TextIO = sys.stdin if source is None else source.open()
    wanted = {"time", *(["key"] if keyed else []), *(["mark"] if marked else [])}
    with lines:
        for number, line in enumerate((line for line in lines if line.strip()), start=1):
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not isinstance(event, dict) or event.keys() != wanted:
                form = json.dumps({name: 12.5 if name == "time" else "a" for name in sorted(wanted)})
                raise ValueError(f"event {number} must be an object like {form}, got {line.strip()[:60]!r}")
            if keyed and type(event["key"]) not in (str, int):
                raise ValueError(f"key of event {number} must be a string or a whole number, got {event['key']!r}")
            yield number, event
