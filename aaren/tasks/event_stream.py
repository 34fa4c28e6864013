"""Live streams of events."""

import json
import math
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aaren.data.events import LONGEST, NO_GAP, mark_indices
from aaren.layers.protocol import State
from aaren.models.event_model import EventModel
from aaren.stream import KEYED_KIND, KIND, KeyedStream, Stream, read_note
from aaren.tasks.event_forecast import EventForecast
from aaren.tasks.event_training import coming_after


class EventStream:
    """Events in, forecasts of the next one out: what `EventForecaster.stream` returns.

    Args:
        model: the network.
        marks: its vocabulary.
        start: when observation begins; None = with the first event.
        dtype: precision of accumulating sums.
        before: what to go on from: the state of the network after the latest event, when that was, and until when there
            was no other.
    """

    def __init__(
        self,
        model: EventModel,
        marks: np.ndarray,
        *,
        start: float | None,
        dtype: torch.dtype,
        before: tuple[State, float, float] | None = None,
    ):
        self.tokens = Stream(model, dtype=dtype)
        """the stream of tokens underneath, with the state"""
        self._marks, self._start = marks, None if start is None else _checked(start)
        self._time = self._now = self._start  # of the latest event, and until when there was no other
        if before is not None:
            self.tokens.state, self._time, self._now = before

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return self.tokens.nbytes

    @property
    def time(self) -> float | None:
        """Of the latest event, or the start; None before both."""
        return self._time

    @property
    def now(self) -> float | None:
        """Until when there was no other: the time of the latest event, or the end of a history."""
        return self._now

    @property
    def forecast(self) -> EventForecast:
        """Of the next event, as of the latest, or of the end of the history. Raises ValueError before the first event
        without a `start`."""
        if self._time is None or self._now is None:
            raise ValueError("a stream must have an event or a start before it forecasts, got neither")
        model: Any = self.tokens.model
        return _forecast(coming_after(model, self.tokens.state["latest"][0]), self._time, self._marks, self._now)

    def push(self, time: float, mark: Any = None) -> EventForecast:
        """Consumes one event and returns the forecast of the next.

        Args:
            time: in the unit of the training data, not before the event before.
            mark: one of the vocabulary, or any other: then only that something happened is read; None for events
                without marks.

        Raises:
            ValueError: a time that is no number or too early, a mark that is missing or too much. The state stays as it
                was.
        """
        token = _token(time, mark, self._time, self._marks, self._now)
        numbers = self.tokens.push(token)
        self._time = self._now = float(time)
        model: Any = self.tokens.model
        return _forecast(model.next_event(numbers).exact(), self._time, self._marks)

    def reset(self) -> None:
        """Forgets everything, and begins at the start again."""
        self.tokens.reset()
        self._time = self._now = self._start

    def snapshot(self, path: str | Path) -> None:
        """Writes the state to a safetensors file, whole or not at all. Raises OSError."""
        self.tokens.snapshot(path, note=json.dumps({"time": self._time, "now": self._now}))

    def restore(self, path: str | Path) -> None:
        """Goes on where `snapshot` was taken.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of a stream of another model. The stream stays as it was.
        """
        note = _read(path, KIND)
        if not isinstance(note, dict) or not (_plain(note.get("time")) and _plain(note.get("now"))):
            raise ValueError(f"{str(path)!r} must be a snapshot of a stream of events, got another")
        self.tokens.restore(path)
        self._time, self._now = note["time"], note["now"]


class KeyedEventStream:
    """Any number of streams of events, each named by a key; a push advances those it names in one batch. A key begins
    with its first event, or where `begin` says.

    Args: those of `EventStream`.
    """

    def __init__(self, model: EventModel, marks: np.ndarray, *, dtype: torch.dtype):
        self.tokens = KeyedStream(model, dtype=dtype)
        """the streams of tokens underneath, with the states"""
        self._marks = marks
        self._times: dict[Hashable, tuple[float, float]] = {}  # of the latest event, and until when there was no other

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._times

    @property
    def keys(self) -> list[Hashable]:
        """The streams met so far."""
        return list(self._times)

    @property
    def nbytes(self) -> int:
        """Bytes of all states, spare rows included."""
        return self.tokens.nbytes

    def begin(self, key: Hashable, time: float) -> None:
        """Observation of a key begins at this time, before its first event. Raises ValueError if it had one."""
        if key in self.tokens:
            raise ValueError(f"key must be new to begin, got {key!r}, which has had events")
        self._times[key] = _checked(time), float(time)

    def put(self, key: Hashable, stream: EventStream) -> None:
        """Goes on under this key where a single stream of the same forecaster is, such as one from a history. Raises
        ValueError if it has had no event."""
        if stream.time is None or stream.now is None:
            raise ValueError("stream must have had an event or a start, got neither")
        self.tokens.put(key, stream.tokens.state)
        self._times[key] = stream.time, stream.now

    def forecast(self, key: Hashable) -> EventForecast:
        """Of the next event of a key, as of its latest, or where it begins. Raises KeyError on a key never met."""
        model: Any = self.tokens.model
        state = self.tokens.get(key) if key in self.tokens else model.initial_state(1)
        latest = state["latest"][0]
        time, now = self._times[key]
        return _forecast(coming_after(model, latest), time, self._marks, now)

    def push(self, events: Mapping[Any, Any]) -> dict[Any, EventForecast]:
        """Consumes an event of every stream named.

        Args:
            events: key to time, or with marks to (time, mark).

        Returns:
            Key to forecast.

        Raises:
            ValueError: as `EventStream.push`, naming the key. No stream has advanced then.
        """
        if not isinstance(events, Mapping):
            raise ValueError(f"events must map keys to events, got {type(events).__name__}")
        given = {key: event if isinstance(event, tuple | list) else (event, None) for key, event in events.items()}
        tokens = {}
        for key, event in given.items():
            if len(event) != 2:
                raise ValueError(f"event of {key!r} must be (time, mark), got {event!r}")
            try:
                latest, now = self._times.get(key, (None, None))
                tokens[key] = _token(event[0], event[1], latest, self._marks, now)
            except ValueError as error:
                raise ValueError(f"event of {key!r}: {error}") from None
        numbers = self.tokens.push(tokens)
        self._times |= {key: (float(time), float(time)) for key, (time, _) in given.items()}
        model: Any = self.tokens.model
        if not numbers:
            return {}
        coming = model.next_event(torch.stack(list(numbers.values()))).exact().unbind()
        return {key: _forecast(one, self._times[key][0], self._marks) for key, one in zip(numbers, coming, strict=True)}

    def drop(self, keys: Iterable[Hashable]) -> None:
        """Forgets these streams (or the one of that name). Raises KeyError on a key that was never met."""
        keys = list(dict.fromkeys([keys] if isinstance(keys, str) else keys))
        begun = [key for key in keys if key in self._times and key not in self.tokens]
        self.tokens.drop([key for key in keys if key not in begun])
        for key in keys:
            self._times.pop(key, None)

    def snapshot(self, path: str | Path) -> None:
        """Writes the states of all streams to a safetensors file, whole or not at all.

        Raises:
            OSError: a full or read-only folder.
            ValueError: a key that is neither a string nor a number.
        """
        if strange := [key for key in self._times if not isinstance(key, str | int | float)]:
            raise ValueError(f"keys must be strings or numbers to be saved, got {strange[0]!r}")
        self.tokens.snapshot(path, note=json.dumps([[key, *times] for key, times in self._times.items()]))

    def restore(self, path: str | Path) -> None:
        """Goes on with the streams of a snapshot, and those only.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of streams of another model. Nothing has changed then.
        """
        note = _read(path, KEYED_KIND)
        known: Any = note if isinstance(note, list) else [None]
        if not all(isinstance(one, list) and len(one) == 3 and all(map(_plain, one[1:])) for one in known):
            raise ValueError(f"{str(path)!r} must be a snapshot of streams of events, got another")
        self.tokens.restore(path)
        self._times = {key: (time, now) for key, time, now in known}


def _checked(time: Any) -> float:
    try:
        number = float(time) if isinstance(time, int | float | np.number) else math.nan
    except OverflowError:  # a whole number beyond all of them
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"time must be a finite number, got {time!r:.40}")
    return number


def _plain(time: Any) -> bool:
    return time is None or isinstance(time, int | float)


def _read(path: str | Path, kind: str) -> Any:
    """What the snapshot of a stream of tokens says beside it."""
    try:
        return json.loads(read_note(path, kind))
    except json.JSONDecodeError:
        return None


def _token(time: Any, mark: Any, latest: float | None, marks: np.ndarray, now: float | None = None) -> np.ndarray:
    """Gap and place of the mark."""
    time = _checked(time)
    if latest is not None and now is not None and latest <= time < now:
        raise ValueError(f"time must not be before {now:g}, until when there was no event, got {time:g}")
    if latest is not None and time < latest:
        raise ValueError(f"time must not be before that of the latest event, {latest:g}, got {time:g}")
    if latest is not None and time - latest > LONGEST:
        raise ValueError(f"time must not be more than {LONGEST:g} after the latest event, got {time:g}")
    if (mark is None) != (len(marks) == 0):
        raise ValueError(f"mark must be {'None' if len(marks) == 0 else 'given'} for this model, got {mark!r}")
    if mark is not None and not isinstance(mark, str | int | np.integer):
        raise ValueError(f"mark must be a string or a whole number, got {mark!r}")
    place = 0 if mark is None else mark_indices(np.array([mark]), marks)[0]
    return np.array([NO_GAP if latest is None else float(time) - latest, place])


def _forecast(coming: Any, time: float, marks: np.ndarray, now: float | None = None) -> EventForecast:
    return EventForecast(coming, np.asarray(time), np.asarray(time if now is None else now), marks)
