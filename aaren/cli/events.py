"""`aaren events`: train and measure one forecaster of events."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from aaren.cli.classify import Preset
from aaren.cli.results import check_results, checkpoint, remove_checkpoints
from aaren.comparison import Comparison, Metric
from aaren.files import check_writable

if TYPE_CHECKING:
    from aaren.data.event_files import EventParts

EVENTS = Comparison(
    task="events",
    fixed=("time", "sequence", "mark", "start", "end", "preset", "most_updates"),
    rows=("data",),
    column="layer",
    metrics=(
        Metric("nll", "test negative log-likelihood, nats an event", averaged=True),
        Metric("nll_time", "its part of the times", averaged=True),
        Metric("nll_mark", "its part of the marks", averaged=True),
        Metric("rmse", "root mean squared error of the mean of the next time, in units of the data", digits=None),
        Metric("mae", "mean absolute error of the median of the next time, in units of the data", digits=None),
        Metric("accuracy", "accuracy of the next mark", higher_is_better=True, averaged=True),
        Metric("ks", "distance from calibration (Kolmogorov-Smirnov)"),
    ),
)
"""How results of `Events` are read."""

TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Events:
    """Train a forecaster of events, measure it on the test part, and forecast the next event of every test sequence.

    Of a table of your own the last fifth of the sequences, in the order of the file, are the test part and the fifth
    before them the validation part; a data set of the catalogue has its published parts. Writes OUT/result.json and
    OUT/forecast.csv, and of a network OUT/model (for `aaren stream`, `aaren export` and `EventForecaster.load`) and
    OUT/calibration.png. Times that are dates become seconds since 1970, the unit of all errors. Interrupted with
    Ctrl-C, the same command goes on where it was.

    Example: aaren events --data my.csv --time when --sequence customer --mark what --out results/my
    """

    data: str
    """name in the catalogue or `Sin`; a table (.csv, .parquet) with an event a row; an .npz file or a folder, see
    `aaren.data.event_files`"""
    out: Path
    """folder for results"""
    layer: str = "aaren"
    """aaren, aaren_decay, aaren_gated, attention, gru, lstm, mingru or minlstm; or, without a network, poisson or
    renewal"""
    time: str = "time"
    """of a table: column of times, numbers or dates"""
    sequence: str | None = None
    """of a table: column that tells sequences apart"""
    mark: str | None = None
    """of a table: column of marks, by default events have none"""
    start: str | None = None
    """of a table: when observation of every sequence began, like its times; by default with the first event, which then
    is not forecast"""
    end: str | None = None
    """of a table: when it ended, nothing having come after the last event; by default with the last event"""
    preset: Preset = "small"
    """size and training: small (about a minute on one core) or paper (the published sizes)"""
    seed: int = 0
    """of weights, batches and dropout"""
    updates: int | None = None
    """most updates of the weights; by default the preset's"""

    modules: ClassVar[tuple[str, ...]] = ("aaren.tasks.events", "aaren.tasks.event_baselines", "pandas")
    """what `run` imports and takes long to"""

    def run(self, progress: bool = True) -> None:
        """Trains, measures, writes; `progress` shows a bar meanwhile."""
        from aaren.bench import environment
        from aaren.files import write_folder
        from aaren.tasks.event_baselines import EVENT_BASELINES

        check_layer(self.layer)
        parts = self.parts()
        check_writable(self.out)
        check_results(self.out, self.settings())
        marks = parts.marks if len(parts.marks) else None
        measured: dict[str, Any] = {}
        if self.layer in EVENT_BASELINES:
            model: Any = EVENT_BASELINES[self.layer](marks=marks).fit([*parts.train, *parts.validation])
        else:
            model, measured = self._train(parts, marks, progress)
        scores = asdict(model.evaluate(parts.test))
        if marks is None:
            scores["accuracy"] = scores["nll_mark"] = None
        result = self.settings() | scores | measured | environment()
        forecast = _table(model.predict(parts.test), parts.names, parts.dated)
        write_folder(
            self.out,
            {"result.json": json.dumps(result, indent=2).encode(), "forecast.csv": forecast.encode()},
        )
        remove_checkpoints(self.out)
        told = f"test NLL {scores['nll']:.3f} nats an event, RMSE {scores['rmse']:.4g}, MAE {scores['mae']:.4g}"
        told += "" if marks is None else f", accuracy {scores['accuracy']:.3f}"
        print(f"{self.layer} on {self.data}, preset {self.preset}, seed {self.seed}: {told}")

    def parts(self) -> "EventParts":
        """What is trained on, selected by and measured on."""
        from aaren.data.event_files import divided, load_events, read_table

        if Path(self.data).suffix in TABLES:
            return divided(read_table(self.data, **self.columns()))
        return load_events(self.data)

    def columns(self) -> dict[str, Any]:
        """How a table is read."""
        return {name: getattr(self, name) for name in ("time", "sequence", "mark", "start", "end")}

    def settings(self) -> dict[str, Any]:
        """What a result must agree with to be this command's."""
        from aaren.tasks.event_baselines import EVENT_BASELINES

        simple = self.layer in EVENT_BASELINES
        seed = None if simple else self.seed
        same = {"data": self.data, "layer": self.layer, "preset": self.preset, "seed": seed}
        table = Path(self.data).suffix in TABLES
        read = {name: value if table else None for name, value in self.columns().items()}
        return {"task": "events", **same, **read, "most_updates": self.updates}

    def _train(self, parts: "EventParts", marks: Any, progress: bool) -> tuple[Any, dict[str, Any]]:
        import numpy as np
        import torch

        from aaren.bench import Cost, stream_cost
        from aaren.data.events import EventSequence, event_tokens
        from aaren.tasks.event_plot import plot_calibration
        from aaren.tasks.events import PRESETS, EventForecaster
        from aaren.train import Recipe

        arguments: dict[str, Any] = dict(PRESETS[self.preset]) | {"marks": marks}
        if self.updates is not None:
            arguments["recipe"] = replace(arguments["recipe"], updates=self.updates)
        model = EventForecaster(
            self.layer, seed=self.seed, checkpoint=checkpoint(self.out), progress=progress, **arguments
        )
        # A first update in every process loads libraries and kernels: no cost of this model.
        brief: dict[str, Any] = arguments | {"recipe": Recipe(updates=1)}
        some = None if marks is None else np.repeat(marks[:1], 50)
        EventForecaster(self.layer, **brief).fit([EventSequence(np.arange(50.0), some)] * 20)
        with Cost() as cost:
            model.fit(parts.train, X_validation=parts.validation)
        model.save(self.out / "model")
        plot_calibration(model.passed(parts.test), self.out / "calibration.png")
        tokens = np.concatenate([event_tokens(one, model.marks_) for one in parts.test[:20]])
        measured = {
            "validation_nll": model.validation_nll_,
            "parameters": sum(p.numel() for p in model.model_.parameters()),
            "updates": model.training_.updates,
            "best_update": model.training_.best_update,
            "train_seconds": model.training_.seconds,
            "peak_memory_bytes": cost.peak_bytes,
            **stream_cost(model.stream().tokens, torch.from_numpy(tokens).float()),
        }
        return model, measured


def check_layer(layer: str) -> None:
    """Raises ValueError on a name that is neither a layer nor a baseline."""
    from aaren.data.catalog import near_names
    from aaren.layers.table import LAYERS
    from aaren.tasks.event_baselines import EVENT_BASELINES

    names = [*LAYERS, *EVENT_BASELINES]
    if layer not in names:
        hint = near_names(layer, names)
        raise ValueError(f"layer must be one of {', '.join(names)}, got {layer!r}{'; ' + hint if hint else ''}")


def _table(forecast: Any, names: list[Any] | None, dated: bool) -> str:
    """The next event of each sequence, as CSV."""
    import pandas as pd

    times = {"latest": forecast.latest, "observed_until": forecast.now, "mean": forecast.mean()}
    times |= {f"quantile_{p:g}": forecast.quantile(p) for p in (0.1, 0.5, 0.9)}
    table = pd.DataFrame(times, index=names)
    if dated:  # a quantile may lie beyond all dates
        table = table.apply(lambda column: pd.to_datetime(column, unit="s", errors="coerce").dt.round("ms"))
    if len(forecast.marks):
        table["mark"], table["mark_probability"] = forecast.mark, forecast.mark_probabilities.max(axis=-1)
    return table.to_csv(index_label="sequence")
