"""Forecasting of events: the estimator `EventForecaster`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aaren.data.events import EventSequence, check_events, check_known, event_tokens, known_marks
from aaren.export.one_token import Deployment
from aaren.models.event_model import EventModel
from aaren.tasks.estimator import NetworkEstimator
from aaren.tasks.event_deploy import deploy_events
from aaren.tasks.event_forecast import EventForecast
from aaren.tasks.event_parts import Part, divide, ends, latest_of, part_of, resolution_of
from aaren.tasks.event_scores import EventScores, event_scores, passed
from aaren.tasks.event_simulation import simulate
from aaren.tasks.event_stream import EventStream, KeyedEventStream
from aaren.tasks.event_training import coming_after, memories, tell, train_events, walk
from aaren.train import Recipe

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"d_model": 64, "nhead": 4, "dim_feedforward": 128, "num_layers": 2, "recipe": Recipe()},
    "paper": {
        "d_model": 64,
        "nhead": 1,
        "dim_feedforward": 64,
        "num_layers": 2,
        "recipe": Recipe(updates=20_000, learning_rate=1e-4, weight_decay=1e-4, validate_every=100, patience=50),
    },
}
"""Arguments of `EventForecaster`, the same for every layer. `paper` has the sizes of Feng et al.'s base code."""

LEAST_SPREAD = 0.1
"""Standard deviation of the logarithms of gaps that is taken for one below: a clock may miss a beat."""

WAVES = 16
"""Sinusoids of the time since the start."""


class EventForecaster(NetworkEstimator):
    """Forecasts when the next event of a sequence comes, and its mark, after every event and at any time since.

    Args:
        layer: a name in `LAYERS`.
        d_model, nhead, dim_feedforward, num_layers, dropout: size of the model, see `EventModel`.
        mixture: components of the density of the time.
        marks: names of the marks that may occur; None = those in the training sequences.
        periods: of the sinusoids of the time since the start of a sequence, or since its first event where no start is
            known, such as 24 for hours of sequences that begin at midnight; None = 16 between a few gaps and twice
            the longest training sequence.
        chunk: longest stretch of events that gradients go through; memory reaches further back, see `Stretch`.
        recipe: how it is trained.
        validation: share of the sequences held out for model selection and early stopping; of a single one its end.
        seed: of the weights, the validation part, the batches and the dropout.
        checkpoint: a file in which training is kept at each validation, to go on from if it is interrupted.
        progress: show a progress bar on standard error.

    Attributes:
        marks_: the vocabulary, sorted; empty if events have no marks.
        model_: the network, with the weights of the best validation likelihood.
        training_: what training did, see `aaren.train.Fitted` (not after `load`).
        validation_nll_: of those weights, nats an event.

    X is a list of sequences: pairs (times, marks), arrays of times, or `EventSequence` with the time in which events
    were looked for. Times are in any unit, sorted, equal ones allowed. A mark that is not in the vocabulary is read as
    "any other mark", whose meaning training learns by hiding some; only its own likelihood cannot be told (`score`
    refuses it). Sources: Shchur et al. 2020 (density), Zuo et al. 2020 and Bae et al. 2023 (attention over events).
    """

    file_kind = "aaren event forecaster"

    def __init__(
        self,
        layer: str = "aaren",
        *,
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 128,
        num_layers: int = 2,
        dropout: float = 0.1,
        mixture: int = 8,
        marks: Sequence[Any] | np.ndarray | None = None,
        periods: Sequence[float] | None = None,
        chunk: int = 512,
        recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
        validation: float = 0.2,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ):
        self.layer = layer
        self.d_model = d_model
        self.nhead = nhead
        self.dim_feedforward = dim_feedforward
        self.num_layers = num_layers
        self.dropout = dropout
        self.mixture = mixture
        self.marks = marks
        self.periods = periods
        self.chunk = chunk
        self.recipe = recipe
        self.validation = validation
        self.seed = seed
        self.checkpoint = checkpoint
        self.progress = progress

    def fit(self, X: Any, y: Any = None, *, X_validation: Any = None) -> "EventForecaster":
        """Trains on sequences X.

        Args:
            X: sequences.
            y: unused, as in all of scikit-learn without labels.
            X_validation: sequences for model selection instead of a share of X.

        Raises:
            ValueError: bad arguments, see `check_events`; no gap between events; marks that are not in `marks`; a
                checkpoint of another run.
            OSError: the checkpoint cannot be written.
        """
        self._check_arguments()
        sequences = check_events(X)
        marked = sequences[0].marks is not None
        held = None if X_validation is None else check_events(X_validation, marked=marked, name="X_validation")
        marks = known_marks(self.marks, sequences)
        train, held = divide(sequences, held, marks, self.validation, self.seed)
        gaps = np.concatenate([tokens[:, 0] for tokens in train.tokens])
        gaps = gaps[gaps >= 0]
        if not (gaps > 0).any():
            raise ValueError("X must have two events at different times in a training sequence, got none")
        if not any((tokens[first:, 0] >= 0).any() for tokens, first in zip(held.tokens, held.first, strict=True)):
            raise ValueError(
                "X must have a held-out event to forecast, after the first of its sequence, got none; pass X_validation"
            )
        periods = self.periods
        if periods is None:
            longest = max(tokens[:, 0].clip(min=0).sum() for tokens in train.tokens)
            shortest = 4 * float(np.median(gaps[gaps > 0]))
            periods = np.geomspace(shortest, max(2 * longest, 2 * shortest), WAVES).tolist()
        sizes = ("mixture", "d_model", "nhead", "dim_feedforward", "num_layers", "layer", "dropout")
        shape = {"marks": len(marks), "periods": [float(period) for period in periods]}
        shape |= {name: getattr(self, name) for name in sizes}
        resolution = resolution_of(gaps, latest_of(sequences))
        logs = np.log(gaps.clip(min=resolution))
        scales = {
            "log_mean": float(logs.mean()),
            "log_spread": max(float(logs.std()), LEAST_SPREAD),
            "unit": float(gaps.mean()),
            "resolution": resolution,
            "longest": float(gaps.max()),
        }
        model = self._build(shape, scales)
        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        data = [*train.tokens, *held.tokens, train.tails, held.tails, held.first]
        training = train_events(
            model,
            train,
            held,
            self.recipe,
            chunk=self.chunk,
            seed=self.seed,
            checkpoint=checkpoint,
            run="" if checkpoint is None else self._run(data),
            progress=self.progress,
        )
        self.marks_, self.marked_, self.shape_, self.scales_ = marks, marked, shape, scales
        self.model_, self.training_, self.validation_nll_ = model, training, training.best_validation
        return self

    def predict(self, X: Any) -> EventForecast:
        """The next event after the end of each sequence, given that none came between its last one and its `end`."""
        sequences = self._accept(X)
        state = self._memories(sequences)
        return EventForecast(coming_after(self.model_, state["latest"]), *ends(sequences), self.marks_)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of an event, nats: higher is better. Depends on the unit of time."""
        return -self.evaluate(X).nll

    def evaluate(self, X: Any) -> EventScores:
        """All scores of the forecasts of every event from those before it.

        Raises:
            ValueError: bad sequences, marks that are not in the vocabulary, no event to forecast.
        """
        return event_scores(tell(self.model_, self._part(X), self.chunk))

    def passed(self, X: Any) -> np.ndarray:
        """The probability with which each event had come by the time it came, all sequences in one array: what a
        calibration plot shows, see `aaren.tasks.event_scores.passed`."""
        return passed(tell(self.model_, self._part(X), self.chunk))

    def intensity(self, sequence: Any, times: Any) -> np.ndarray:
        """Rate of events at some times, given the events of a sequence before each.

        Args:
            sequence: one sequence.
            times: numbers; not before its start, or its first event if the start is not known.

        Raises:
            ValueError: a bad sequence, or a time that is too early.
        """
        [one] = self._accept([sequence])
        times = np.asarray(times, dtype=np.float64)
        if not np.isfinite(times).all():
            raise ValueError(f"times must be finite, got {times[~np.isfinite(times)][0]}")
        place = np.searchsorted(one.times, times.ravel(), side="left")  # events before each time
        if (place == 0).any() and one.start is None:
            raise ValueError(f"times must be after the first event, {one.times[0]:g}, got {times.min():g}")
        if one.start is not None and (times < one.start).any():
            raise ValueError(f"times must not be before the start, {one.start:g}, got {times.min():g}")
        steps = [before for _, _, before, _ in walk(self.model_, [event_tokens(one, self.marks_)], self.chunk)]
        end = self._memories([one])["latest"][:, None]
        h = torch.cat([*steps, end], dim=1)[0, torch.from_numpy(place)]
        starts = np.concatenate([[0.0 if one.start is None else one.start], one.times])
        waiting = torch.from_numpy(times.ravel() - starts[place])
        return coming_after(self.model_, h).log_intensity(waiting).exp().numpy().reshape(times.shape)

    def sample(
        self,
        X: Any,
        count: int = 1,
        *,
        events: int | None = None,
        duration: float | None = None,
        most: int = 100_000,
        seed: int = 0,
    ) -> list[list[EventSequence]]:
        """Whole futures of each sequence, drawn event by event with the state of the recurrent network.

        Args:
            X: sequences; a future begins at the `end` of each, or its last event.
            count: futures of each sequence.
            events: number of events in each future.
            duration: or their length in units of time.
            most: events in a future, at most: with more the model has run away.
            seed: of what is drawn.

        Returns:
            For each sequence `count` futures, each with its start and end.

        Raises:
            ValueError: bad sequences; not one of events and duration; a future of more than `most` events.
        """
        if (events is None) == (duration is None):
            raise ValueError("events or duration must be given, got both or neither")
        if count < 1 or (events is not None and events < 1) or (duration is not None and not duration > 0):
            raise ValueError(f"count, events and duration must be above 0, got {count}, {events} and {duration}")
        if events is not None and events > most:
            raise ValueError(f"events must be at most `most`, {most:,}, got {events:,}; raise most")
        sequences = self._accept(X)
        state = self._memories(sequences)
        latest, now = ends(sequences)
        futures = simulate(
            self.model_, state, latest, now, count=count, events=events, duration=duration, most=most, seed=seed
        )
        named = [
            EventSequence(times, self.marks_[places] if self.marked_ else None, start, end)
            for times, places, start, end in futures
        ]
        return [named[i * count : (i + 1) * count] for i in range(len(sequences))]

    def stream(
        self, history: Any = None, *, start: float | None = None, dtype: torch.dtype = torch.float64
    ) -> EventStream:
        """A live stream: `push(time, mark)` gives the forecast after every event, in constant memory (with the layer
        `attention` in growing memory). Equal to `predict` of all events so far.

        Args:
            history: a sequence to go on from, read in parallel.
            start: without a history, when observation begins; None = with the first event. A forecast before the first
                event means something only if there were starts in training.
            dtype: precision of accumulating sums.
        """
        self._check_fitted()
        if history is None:
            return EventStream(self.model_, self.marks_, start=start, dtype=dtype)
        if start is not None:
            raise ValueError(f"start must be that of the history, got {start}")
        [one] = self._accept([history])
        [time], [now] = ends([one])
        before = (self._memories([one], dtype), float(time), float(now))
        return EventStream(self.model_, self.marks_, start=one.start, dtype=dtype, before=before)

    def keyed_stream(self, *, dtype: torch.dtype = torch.float64) -> KeyedEventStream:
        """Many live streams, by key."""
        self._check_fitted()
        return KeyedEventStream(self.model_, self.marks_, dtype=dtype)

    def deployment(self, dtype: torch.dtype = torch.float64) -> Deployment:
        """The one-event call as `aaren.export` takes it; `dtype` is the precision of accumulating sums. Its streams
        begin with their first event.

        Raises:
            ValueError: the state of the layer grows.
        """
        self._check_fitted()
        return deploy_events(self.model_, self.marks_, dtype)

    def _learned(self) -> dict[str, Any]:
        return {
            "marks": self.marks_.tolist(),
            "marked": self.marked_,
            "shape": self.shape_,
            "scales": self.scales_,
            "validation_nll": self.validation_nll_,
        }

    def _recall(self, learned: Mapping[str, Any]) -> nn.Module:
        self.marks_ = np.array(learned["marks"], dtype=None if learned["marks"] else np.int64)
        self.marked_, self.shape_, self.scales_ = learned["marked"], learned["shape"], learned["scales"]
        self.validation_nll_ = learned["validation_nll"]
        return self._build(self.shape_, self.scales_)

    def _check_arguments(self) -> None:
        self._check_layer()
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must lie between 0 and 1, got {self.validation}")
        for name, least in (("seed", 0), ("chunk", 1), ("mixture", 1)):
            if not isinstance(value := getattr(self, name), int | np.integer) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value}")
        if self.periods is not None and not (len(self.periods) and all(period > 0 for period in self.periods)):
            raise ValueError(f"periods must be above 0, at least one of them, got {self.periods}")

    def _build(self, shape: dict[str, Any], scales: dict[str, float]) -> EventModel:
        with torch.random.fork_rng():
            torch.manual_seed(int(self.seed))
            model = EventModel(**shape)
        model.scale(**scales)
        return model

    def _accept(self, X: Any) -> list[EventSequence]:
        self._check_fitted()
        return check_events(X, marked=self.marked_)

    def _part(self, X: Any) -> Part:
        sequences = self._accept(X)
        check_known(sequences, self.marks_)
        return part_of(sequences, self.marks_)

    def _memories(self, sequences: list[EventSequence], dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        tokens = [event_tokens(sequence, self.marks_) for sequence in sequences]
        return memories(self.model_, tokens, self.chunk, dtype)
