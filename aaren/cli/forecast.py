"""`aaren forecast`: train and measure one forecaster, and forecast what comes after the data."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from aaren.cli.classify import Preset
from aaren.cli.results import check_results, checkpoint, remove_checkpoints
from aaren.comparison import Comparison, Metric
from aaren.files import check_writable

if TYPE_CHECKING:
    from aaren.data.parts import Parts
    from aaren.data.series import Roles
    from aaren.tasks.backtest import Backtest

Normalise = Literal["running", "window"]

FORECAST = Comparison(
    task="forecast",
    rows=("data", "horizon"),
    column="layer",
    metrics=(
        Metric("mse", "test MSE, every window"),
        Metric("mae", "test MAE, every window"),
        Metric("stream_mse", "test MSE, one stream that is never reset"),
    ),
    fixed=(
        *("normalise", "context", "time", "freq", "target", "known", "quantiles", "validation", "test"),
        *("preset", "most_updates"),
    ),
    any_of="normalise",
)
"""How results of `Forecast` are read."""

SIMPLE: tuple[str, ...] = ("last", "seasonal")
"""Baselines that errors are told beside."""


@dataclass(frozen=True)
class Forecast:
    """Train a forecaster on a table of series, measure it on the test part, and forecast what comes after the table.

    Of a file of your own the last 20 % are the test part and the 20 % before them the validation part, by which the
    model is selected; a data set of the catalogue has its published parts. Errors are in units of each channel's
    standard deviation in the training part. Writes OUT/model (for `aaren stream` and `Forecaster.load`),
    OUT/result.json, OUT/forecast.csv and OUT/forecast.png. Interrupted with Ctrl-C, the same command goes on where it
    was.

    Example: aaren forecast --data my.csv --time date --target OT --horizon 24 --quantiles 0.1 0.9 --out results/my
    """

    data: str
    """file (.csv, .tsv, .txt, each also with .gz, or .parquet) with a row for each time, or name in the catalogue"""
    out: Path
    """folder for results"""
    layer: str = "aaren"
    """aaren, aaren_decay, aaren_gated, attention, gru, lstm, mingru or minlstm; or, without a network, last, seasonal,
    linear or ar"""
    horizon: int = 24
    """rows to forecast"""
    normalise: Normalise = "running"
    """running (by level and scale of the past so far: streams) or window (of the last CONTEXT rows, recomputed)"""
    context: int = 96
    """rows that a forecast looks back directly"""
    time: str | None = None
    """column of times; by default `date` if there is one, otherwise rows are equally spaced"""
    target: tuple[str, ...] = ()
    """columns to forecast, by default all; the others are read, but not forecast"""
    known: tuple[str, ...] = ()
    """columns whose coming values are known beforehand"""
    freq: str | None = None
    """distance of rows, such as 1h: rows that are left out count as missing"""
    quantiles: tuple[float, ...] = ()
    """probabilities whose quantiles are forecast too"""
    validation: float | None = None
    """share of the rows of a file for the validation part, by default 0.2"""
    test: float | None = None
    """share of the rows of a file for the test part, by default 0.2"""
    preset: Preset = "small"
    """size of the network: small or paper (the published sizes)"""
    seed: int = 0
    """of weights, batches and dropout"""
    updates: int | None = None
    """most updates of the weights"""
    forecast: bool = True
    """whether to forecast what comes after the table"""

    modules: ClassVar[tuple[str, ...]] = (
        "aaren.tasks.forecast",
        "aaren.tasks.baselines",
        "pandas",
        "matplotlib.figure",
    )
    """what `run` imports and takes long to"""

    def run(self, progress: bool = True) -> None:
        """Trains, measures, writes; `progress` shows a bar meanwhile, and tables at the end."""
        import numpy as np

        from aaren.bench import environment
        from aaren.cli.compare import show
        from aaren.cli.forecast_errors import error_sections, error_summary
        from aaren.data.parts import load_parts
        from aaren.files import write_folder
        from aaren.tasks.baselines import BASELINES

        check_layer(self.layer)
        if self.quantiles and self.layer in BASELINES:
            raise ValueError(f"quantiles must be left out for {self.layer!r}, which has none, got {self.quantiles}")
        parts = load_parts(self.data, self._roles(), self.validation, self.test)
        if self.horizon > parts.test:
            raise ValueError(f"horizon must be at most the rows of the test part, {parts.test}, got {self.horizon}")
        check_results(self.out, self.settings())
        common = {"context": self.context, "roles": parts.roles, "validation": parts.validation}
        table, start = parts.test_after(self.context)
        simple = [BASELINES[name](horizon=self.horizon, **common).fit(parts.before_test) for name in SIMPLE]
        errors = dict(zip(SIMPLE, (one.backtest(table, start=start) for one in simple), strict=True))
        if not np.isfinite(errors["last"].mse):
            raise ValueError("data must have values in its test part, got none that could be forecast; change test")
        check_writable(self.out)
        fit = self._fit_baseline if self.layer in BASELINES else self._fit_network
        model, shown, measured = fit(parts, common, progress)
        result = {
            **self.settings(),
            **measured,
            "errors_of": "one stream, never reset" if "along" in measured else "windows",
            **error_summary(shown, errors, model.channels_, simple[0].spread_),
            **{f"{name}_mse": other.mse for name, other in errors.items()},
            "notes": parts.notes,
            **environment(),
        }
        files = self._forecast(model, parts)
        write_folder(self.out, {"result.json": json.dumps(result, indent=2, allow_nan=False).encode()})
        remove_checkpoints(self.out)
        if progress:
            show(error_sections(result, shown.mse, shown.mae))
        stream = f" (as one stream, never reset: {result['stream_mse']:.3f})" if "stream_mse" in result else ""
        others = ", ".join(f"{name} {other.mse:.3f}" for name, other in errors.items())
        way = "" if result["normalise"] is None else f" ({self.normalise})"
        print(
            f"{self.layer}{way} on {self.data}, horizon {self.horizon}, seed {result['seed']}: test MSE "
            f"{result['mse']:.3f}{stream}, MAE {result['mae']:.3f}; MSE of {others}{files}"
        )

    def _fit_baseline(self, parts: "Parts", common: dict[str, Any], progress: bool) -> "tuple[Any, Backtest, Any]":
        from aaren.bench import Cost
        from aaren.tasks.baselines import BASELINES

        model = BASELINES[self.layer](horizon=self.horizon, **common)
        with Cost() as cost:
            model.fit(parts.before_test)
        table, start = parts.test_after(self.context)
        errors = model.backtest(table, start=start)
        measured = {"mse": errors.mse, "mae": errors.mae, "stream_mse": errors.mse}  # a window is all it ever sees
        return model, errors, measured | {"train_seconds": cost.seconds}

    def _fit_network(self, parts: "Parts", common: dict[str, Any], progress: bool) -> "tuple[Any, Backtest, Any]":
        """The model, its errors as it will be used, and what was measured."""
        import numpy as np
        import torch

        from aaren.bench import MARKS, Cost, stream_cost
        from aaren.data.rows import Rows
        from aaren.data.series import read_series
        from aaren.tasks.backtest import along
        from aaren.tasks.forecast import PRESETS, Forecaster
        from aaren.tasks.forecast_training import RECIPES
        from aaren.train import Recipe

        recipe = RECIPES[self.normalise]
        arguments: dict[str, Any] = {
            **{name: getattr(self, name) for name in ("layer", "horizon", "normalise", "quantiles", "seed")},
            **common,
            **PRESETS[self.preset],
            "recipe": recipe if self.updates is None else replace(recipe, updates=self.updates),
        }
        model = Forecaster(**arguments, checkpoint=checkpoint(self.out), progress=progress)
        # A first update in every process loads libraries and kernels: no cost of this model.
        brief: dict[str, Any] = arguments | {"recipe": Recipe(updates=1)}
        Forecaster(**brief).fit(parts.before_test)
        with Cost() as cost:
            model.fit(parts.before_test)
        model.save(self.out / "model")
        table, start = parts.test_after(self.context)
        shown = windowed = model.backtest(table, start=start, windowed=True)
        measured: dict[str, Any] = {"mse": windowed.mse, "mae": windowed.mae}
        if self.normalise == "running":
            shown = model.backtest(table, start=start)
            measured |= {"stream_mse": shown.mse, "stream_mae": shown.mae}
            measured["along"] = along(shown, windowed, MARKS)
        if self.quantiles:
            measured["pinball"] = shown.pinball
        rows = Rows(read_series(table, parts.roles), model.layout_, np.empty(0))
        tokens = torch.from_numpy(rows.x(0, min(1_000, len(rows) - self.horizon)))
        return (
            model,
            shown,
            {
                **measured,
                "validation_loss": model.validation_loss_,
                "parameters": sum(p.numel() for p in model.model_.parameters()),
                "updates": model.training_.updates,
                "best_update": model.training_.best_update,
                "train_seconds": model.training_.seconds,
                "peak_memory_bytes": cost.peak_bytes,
                **stream_cost(model.stream().tokens, tokens),
            },
        )

    def _forecast(self, model: Any, parts: "Parts") -> str:
        """Writes the forecast of what comes after the table, and says so."""
        from aaren.files import write_folder

        if not self.forecast:
            return ""
        if parts.roles.known:
            return f"; for a forecast, predict needs `future`, the coming values of {', '.join(parts.roles.known)}"
        forecast = model.predict(parts.frame)
        if self.quantiles:
            forecast = forecast.join(model.predict_quantiles(parts.frame))
        text = forecast.rename_axis(parts.roles.time or "row").to_csv()
        write_folder(self.out, {"forecast.csv": text.encode()})
        model.plot(parts.frame, self.out / "forecast.png")
        return f"; forecast of {self.horizon} rows after the last in {self.out / 'forecast.csv'}"

    def _roles(self) -> "Roles":
        from aaren.data.series import Roles

        return Roles(self.time, self.target or None, self.known, self.freq)

    def settings(self) -> dict[str, Any]:
        """What a result must agree with to be this command's."""
        from aaren.tasks.baselines import BASELINES

        simple = self.layer in BASELINES
        names = ("data", "layer", "horizon", "context", "time", "freq", "validation", "test", "preset")
        return {
            "task": "forecast",
            **{name: getattr(self, name) for name in names},
            **{name: list(getattr(self, name)) or None for name in ("target", "known", "quantiles")},
            "normalise": None if simple else self.normalise,
            "seed": None if simple else self.seed,
            "most_updates": self.updates,  # a result has those made as `updates`
        }


def check_layer(layer: str) -> None:
    """Raises ValueError on a name that is neither a layer nor a baseline."""
    from aaren.data.catalog import near_names
    from aaren.layers.table import LAYERS
    from aaren.tasks.baselines import BASELINES

    names = [*LAYERS, *BASELINES]
    if layer not in names:
        hint = near_names(layer, names)
        raise ValueError(f"layer must be one of {', '.join(names)}, got {layer!r}{'; ' + hint if hint else ''}")
