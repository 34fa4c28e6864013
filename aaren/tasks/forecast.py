"""Forecasts of multivariate series: the estimator `Forecaster`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from aaren.data.rows import Layout, Rows, layout_of, static_numbers
from aaren.data.series import Kind, Roles, Series, coming_rows
from aaren.export.one_token import Deployment
from aaren.models.forecaster import SequenceForecaster
from aaren.models.windowed import Windowed
from aaren.tasks.backtest import Backtest
from aaren.tasks.estimator import NetworkEstimator, tuples
from aaren.tasks.forecast_deploy import deploy_forecaster
from aaren.tasks.forecast_plot import plot_forecast
from aaren.tasks.forecast_reading import errors, forecasts
from aaren.tasks.forecast_stream import ForecastStream
from aaren.tasks.forecast_training import RECIPES, network_of, train_forecaster
from aaren.tasks.forecasting import as_given, backtest_origins, check_arguments, check_whole, read_one, read_training
from aaren.train import Recipe

NORMALISE = ("running", "window")

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"d_model": 64, "nhead": 4, "dim_feedforward": 128, "num_layers": 2},
    "paper": {"d_model": 512, "nhead": 8, "dim_feedforward": 2048, "num_layers": 2},
}
"""Sizes, the same for every layer. `paper` has those of Feng et al.'s base code."""


class Forecaster(NetworkEstimator):
    """Forecasts the next `horizon` rows of a series with several channels, after its end or after every row of it.

    Args:
        layer: a name in `LAYERS`.
        horizon: rows to forecast.
        context: rows that a forecast looks back directly (with normalise="window": all it looks back).
        normalise: "running" (level and scale of the prefix so far, exponentially weighted: causal and part of the
            state, so a stream equals `predict` on the whole prefix) or "window" (mean and standard deviation of the
            last `context` rows, Liu et al. 2022: a stream recomputes these rows).
        quantiles: probabilities whose quantiles are forecast too, beside the mean.
        roles: what the columns of a DataFrame are, see `aaren.data.series.Roles`.
        d_model, nhead, dim_feedforward, num_layers, dropout: size of the model, see `SequenceForecaster`.
        recipe: how it is trained; None = `RECIPES[normalise]`.
        validation: rows at the end of the training data that are held out for model selection and early stopping: a
            share of all, or a number of rows.
        seed: of the weights, the batches and the dropout.
        checkpoint: a file in which training is kept at each validation, to go on from if it is interrupted.
        progress: show a progress bar on standard error.

    Attributes:
        kind_: what the series had: names of the channels (also `channels_`), other columns, dates, distance of times.
        model_: the network, with the weights of the best validation loss.
        training_: what training did, see `aaren.train.Fitted` (not after `load`).
        validation_loss_: of those weights.

    A series is an array (time, channels) or a DataFrame (time, columns), NaN where a value is missing; several series
    of the same kind are a list of them. Times that are not equally spaced are seen by the model, as a feature and by
    layers with `uses_elapsed`.
    """

    file_kind = "aaren forecaster"

    def __init__(
        self,
        layer: str = "aaren",
        *,
        horizon: int = 24,
        context: int = 96,
        normalise: str = "running",
        quantiles: tuple[float, ...] = (),
        roles: Roles = Roles(),  # noqa: B008 (frozen)
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 128,
        num_layers: int = 2,
        dropout: float = 0.1,
        recipe: Recipe | None = None,
        validation: int | float = 0.2,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ):
        self.layer = layer
        self.horizon = horizon
        self.context = context
        self.normalise = normalise
        self.quantiles = quantiles
        self.roles = roles
        self.d_model = d_model
        self.nhead = nhead
        self.dim_feedforward = dim_feedforward
        self.num_layers = num_layers
        self.dropout = dropout
        self.recipe = recipe
        self.validation = validation
        self.seed = seed
        self.checkpoint = checkpoint
        self.progress = progress

    def fit(self, X: Any, y: None = None, *, static: Any = None) -> "Forecaster":
        """Trains on a series, or on a list of series; `y` is ignored.

        Args:
            X: the series. Its last rows are the validation part; scales are fitted on the rows before.
            static: (series, n) numbers that belong to each series as a whole.

        Raises:
            ValueError: bad arguments or data (see `read_series`), a series that is too short, a channel that is
                constant or never observed in the training part, a checkpoint of another run.
            OSError: the checkpoint cannot be written.
        """
        self._check_arguments()
        training = read_training(X, self.roles, self.validation, self.horizon, self.context)
        own = static_numbers(static, len(training.series))
        vars(self).pop("model_", None)  # nothing of an earlier fit is left beside what follows
        self.kind_ = training.series[0].kind
        self.layout_ = layout_of(training.parts, own, self.horizon)
        model = self._build()
        rows = [Rows(one, self.layout_, numbers) for one, numbers in zip(training.series, own, strict=True)]
        checkpoint = None if self.checkpoint is None else Path(self.checkpoint)
        self.training_ = train_forecaster(
            model,
            rows,
            training.lengths,
            self._recipe(),
            quantiles=self.quantiles,
            seed=self.seed,
            checkpoint=checkpoint,
            run="" if checkpoint is None else self._run(_arrays(training.series, own)),
            progress=self.progress,
        )
        self.model_ = model
        self.validation_loss_ = self.training_.best_validation
        return self

    @torch.inference_mode()
    def predict(self, X: Any, *, static: Any = None, future: Any = None) -> Any:
        """The `horizon` rows after the last row of X.

        Args:
            X: the series so far, of the kind `fit` was given. With normalise="running" all of it is read, with
                "window" its last `context` rows, and of columns that are not forecast the latest value before.
            static: (n,) numbers that belong to the series.
            future: (horizon, n) the known columns in the rows to come.

        Returns:
            (horizon, channels) means: an array, or a DataFrame with their times if X is one.
        """
        forecast, times = self._forecast(X, static, future)
        return as_given(X, forecast[..., 0], times, list(self.channels_))

    @torch.inference_mode()
    def predict_quantiles(self, X: Any, *, static: Any = None, future: Any = None) -> Any:
        """Quantiles (horizon, channels, quantiles), or a DataFrame with columns "channel q0.9"; see `predict`.

        Raises:
            ValueError: also if the model was fitted without quantiles.
        """
        if not len(self.quantiles):
            raise ValueError("quantiles must be given to Forecaster before fitting, got none")
        forecast, times = self._forecast(X, static, future)
        names = [f"{name} q{quantile:g}" for name in self.channels_ for quantile in self.quantiles]
        if hasattr(X, "columns"):
            return as_given(X, forecast[..., 1:].reshape(len(forecast), -1), times, names)
        return forecast[..., 1:]

    def plot(
        self, X: Any, path: str | Path, *, rows: int | None = None, static: Any = None, future: Any = None
    ) -> None:
        """Writes a picture (PNG) of the last `rows` rows of X, by default `context`, and the forecast after them.

        Raises:
            ImportError: matplotlib is not installed.
            OSError: the folder cannot be written.
            ValueError: see `predict`.
        """
        with torch.inference_mode():
            forecast, _ = self._forecast(X, static, future)
        rows = self.context if rows is None else rows
        plot_forecast(self._read(X), forecast, Path(path), quantiles=self.quantiles, rows=rows)

    @torch.inference_mode()
    def backtest(
        self, X: Any, *, start: int | None = None, stride: int = 1, windowed: bool = False, static: Any = None
    ) -> Backtest:
        """Errors of the forecasts that would have been made at the rows of X.

        One pass over X: with normalise="running" a single stream from its first row, never reset. Every row that has
        `horizon` rows after it is forecast from; none is dropped.

        Args:
            X: a series of the kind `fit` was given.
            start: first row that is to be forecast; None = `context`.
            stride: rows from one forecast to the next.
            windowed: forecast from the last `context` rows only, each time from an empty state.
            static: (n,) numbers that belong to the series.

        Raises:
            ValueError: X or what is left of it from `start` on is shorter than the horizon; stride is below 1.
        """
        series = self._read(X)
        origins = backtest_origins(len(series), start, stride, self.horizon, self.context)
        rows = Rows(series, self.layout_, static_numbers(static, 1, self.layout_)[0])
        model: Any = self.model_
        if windowed and not isinstance(model, Windowed):
            model = Windowed(model, self.context).eval()
        return errors(model, rows, origins, self.quantiles)

    def score(self, X: Any, y: None = None, sample_weight: None = None) -> float:
        """Minus the mean squared error of `backtest(X)`, so that higher is better; `y` is ignored."""
        return -self.backtest(X).mse

    def stream(self, *, static: Any = None, dtype: torch.dtype = torch.float64) -> ForecastStream:
        """A live stream: `push(row)` gives the forecast after every row, in constant memory (with the layer `attention`
        and normalise="running" in growing memory). Equal to `predict` of all rows so far."""
        self._check_fitted()
        own = static_numbers(static, 1, self.layout_)[0]
        unflatten = network_of(self.model_).unflatten
        return ForecastStream(self.model_, unflatten, self.layout_, self.kind_, self.roles, static=own, dtype=dtype)

    def deployment(self, dtype: torch.dtype = torch.float64) -> Deployment:
        """The one-token call as `aaren.export` takes it; `dtype` is the precision of accumulating sums and of the data.

        Raises:
            ValueError: the state of the layer grows, or normalise="window", which recomputes a window at every row.
        """
        self._check_fitted()
        return deploy_forecaster(self.model_, self.layout_, self.kind_, self.roles, self.quantiles, dtype)

    @property
    def channels_(self) -> tuple[str, ...]:
        """Names of the channels that are forecast."""
        return self.kind_.names

    def _learned(self) -> dict[str, Any]:
        return {
            "series": asdict(self.kind_),
            "layout": asdict(self.layout_),
            "validation_loss": self.validation_loss_,
        }

    def _recall(self, learned: Mapping[str, Any]) -> nn.Module:
        self.kind_ = Kind(**{name: tuples(value) for name, value in learned["series"].items()})
        self.layout_ = Layout(**{name: tuples(value) for name, value in learned["layout"].items()})
        self.validation_loss_ = learned["validation_loss"]
        return self._build()

    @classmethod
    def _arguments(cls, saved: dict[str, Any]) -> dict[str, Any]:
        roles = {name: tuples(value) for name, value in saved["roles"].items()}
        return super()._arguments(saved) | {"roles": Roles(**roles)}

    def _build(self) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(int(self.seed))
            network = SequenceForecaster(
                len(self.channels_),
                self.horizon,
                covariates=self.layout_.covariates,
                future=self.layout_.future,
                quantiles=len(self.quantiles),
                statistics=self.normalise,
                window=self.context,
                d_model=self.d_model,
                nhead=self.nhead,
                dim_feedforward=self.dim_feedforward,
                num_layers=self.num_layers,
                layer=self.layer,
                dropout=self.dropout,
            )
        return network if self.normalise == "running" else Windowed(network, self.context)

    def _recipe(self) -> Recipe:
        return RECIPES[self.normalise] if self.recipe is None else self.recipe

    def _forecast(self, X: Any, static: Any, future: Any) -> tuple[np.ndarray, Any]:
        """(horizon, channels, 1 + quantiles) after the last row of X, and the times."""
        series = self._read(X)
        coming = coming_rows(future, self.horizon, self.roles.known)
        rows = Rows(series, self.layout_, static_numbers(static, 1, self.layout_)[0], coming)
        ((_, forecast),) = forecasts(self.model_, rows, np.array([len(series) - 1]))
        forecast = network_of(self.model_).unflatten(forecast[0])
        return self.layout_.in_units(forecast.cpu().numpy()), series.following(self.horizon)

    def _read(self, X: Any) -> Series:
        self._check_fitted()
        return read_one(X, self.roles, self.kind_)

    def _check_arguments(self) -> None:
        self._check_layer()
        check_arguments(self.horizon, self.context, self.roles, self.validation)
        check_whole("seed", self.seed, 0)
        if self.normalise not in NORMALISE:
            raise ValueError(f"normalise must be one of {', '.join(NORMALISE)}, got {self.normalise!r}")
        if not isinstance(self.quantiles, tuple | list):
            raise ValueError(f"quantiles must be a tuple of numbers, got {self.quantiles!r}")
        if not all(0 < quantile < 1 for quantile in self.quantiles) or list(self.quantiles) != sorted(self.quantiles):
            raise ValueError(f"quantiles must lie between 0 and 1, in order, got {self.quantiles}")


def _arrays(series: Sequence[Series], static: np.ndarray) -> list[np.ndarray]:
    return [static, *(part for one in series for part in (one.values, one.past, one.known, one.times))]
