"""A forecaster as it is exported: rows in the units of the data in, forecasts in the same units out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aaren.data.calendar import CYCLES, DAY
from aaren.data.rows import LARGEST, Layout
from aaren.data.series import Kind, Roles
from aaren.export.one_token import Deployment, Port, check_exportable
from aaren.layers.fold import fold
from aaren.layers.protocol import State

LONG = 500
"""Steps of the pause in an example."""

START = 1.7e9
"""When an example with dates begins, in seconds since 1970."""

TOLERANCE = 1e-5
"""Of the spread of a column: what its numbers may lose in float32."""

SHORTEST = 1e-30
"""Steps between two rows, at least."""

TIME_ZERO = 4 * DAY
"""Where the phases of the calendar begin: Monday, 1970-01-05."""


class ForecasterStep(nn.Module):
    """What `aaren.data.rows.Rows` and `ForecastStream.push` do around the network, as operations on tensors.

    Args:
        model: the network; a folded copy in evaluation mode is kept.
        layout: what goes into a row.
        kind: what the series had.
        timed: whether rows come with their time.
        dtype: precision of accumulating sums and of the data.
    """

    periods: Tensor
    values_mean: Tensor
    values_spread: Tensor

    def __init__(self, model: Any, layout: Layout, kind: Kind, timed: bool, dtype: torch.dtype):
        super().__init__()
        check_exportable(model)
        self.model, self.dtype, self.timed = fold(model), dtype, timed
        self.horizon, self.irregular, self.step = layout.horizon, layout.irregular, kind.step
        self.channels = len(kind.names)
        for name in ("values", "past", "known", "static"):
            scales = torch.tensor(getattr(layout, name), dtype=dtype).reshape(-1, 2)
            self.register_buffer(f"{name}_mean", scales[:, 0].clone())
            self.register_buffer(f"{name}_spread", scales[:, 1].clone())
        self.columns = {name: len(getattr(layout, name)) for name in ("past", "known", "static")}
        self.register_buffer("periods", torch.tensor([CYCLES[name] for name in layout.cycles], dtype=torch.float64))

    def initial_state(self, batch_size: int) -> dict[str, State]:
        state: dict[str, State] = {"model": self.model.initial_state(batch_size, dtype=self.dtype)}
        if self.timed:
            state["time"] = torch.full((batch_size,), torch.nan, dtype=torch.float64)
        if self.columns["past"]:
            state["past"] = torch.zeros(batch_size, self.columns["past"], dtype=self.dtype)
        return state

    def forward(
        self, inputs: tuple[Tensor, ...], state: dict[str, State]
    ) -> tuple[tuple[Tensor, ...], dict[str, State]]:
        rest = iter(inputs)
        values = self._scaled("values", next(rest))
        weight = next(self.model.parameters()).dtype
        observed = ~torch.isnan(values)
        # What the library refuses spoils the output, which a runtime sees before it keeps the state.
        values = torch.where(values.abs() > LARGEST, torch.inf, values)
        row = [torch.where(observed, values, 0.0), observed.to(self.dtype)]
        after: dict[str, State] = {}
        elapsed = values.new_ones(values.shape[0])
        if self.timed:
            time, before = next(rest), state["time"]
            # Times must grow; where nobody can say so, as in C, one that does not must not spoil the state for ever.
            elapsed = torch.where(torch.isnan(before), 1.0, (time - before) / self.step).clamp(min=SHORTEST)
            elapsed = elapsed.to(self.dtype)
            after["time"] = time
            if len(self.periods):
                row.append(self._calendar(time))
        if self.columns["past"]:
            past = self._scaled("past", next(rest))
            after["past"] = torch.where(torch.isnan(past), state["past"], past)
            row.append(after["past"])
        if self.columns["known"]:
            row.append(self._scaled("known", next(rest)))
        if self.columns["static"]:
            row.append(self._scaled("static", next(rest)))
        if self.irregular:
            row.append(elapsed.log()[:, None])
        if self.columns["known"]:
            row.append(self._scaled("known", next(rest)).flatten(1))
        x = torch.cat([part.to(weight) for part in row], dim=-1)
        y, after["model"] = self.model(x[:, None], state["model"], elapsed=elapsed.to(weight)[:, None])
        forecast = self.model.unflatten(y[:, 0]).to(self.dtype)
        forecast = forecast * self.values_spread[:, None] + self.values_mean[:, None]
        forecast = forecast[..., 0] if forecast.shape[-1] == 1 else forecast
        return (forecast,), {name: after[name] for name in state}

    def _scaled(self, name: str, columns: Tensor) -> Tensor:
        return (columns - getattr(self, f"{name}_mean")) / getattr(self, f"{name}_spread")

    def _calendar(self, time: Tensor) -> Tensor:
        """See `aaren.data.calendar.calendar`."""
        turns = (time - TIME_ZERO)[:, None] / self.periods
        phase = 2 * torch.pi * (turns - turns.floor())
        return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-2)


def deploy_forecaster(
    model: Any, layout: Layout, kind: Kind, roles: Roles, quantiles: tuple[float, ...], dtype: torch.dtype
) -> Deployment:
    """Rows in, forecasts out.

    Args:
        model: the network.
        layout, kind, roles, quantiles: of the forecaster.
        dtype: precision of accumulating sums and of the data.

    Raises:
        ValueError: the state of the model grows, or it is in a window; data too far from zero for a dtype of float32.
    """
    for mean, spread in (*layout.values, *layout.past, *layout.known, *layout.static):
        if dtype == torch.float32 and abs(mean) * torch.finfo(dtype).eps > TOLERANCE * spread:
            raise ValueError(
                f"state must be float64 for data with a mean of {mean:g} and a spread of {spread:g}, whose digits "
                f"float32 would lose, got float32"
            )
    timed = kind.dated or roles.time is not None
    module = ForecasterStep(model, layout, kind, timed, dtype)
    channels, horizon = len(kind.names), layout.horizon
    inputs = [Port("values", (channels,), dtype, f"{', '.join(kind.names)}: a row, NaN where missing", True)]
    if timed:
        unit = "seconds since 1970-01-01" if kind.dated else "in the unit of the time column"
        inputs.append(Port("time", (), torch.float64, f"time of the row, {unit}"))
    if layout.past:
        inputs.append(
            Port("past", (len(layout.past),), dtype, f"{', '.join(kind.past_names)}: NaN where missing", True)
        )
    if layout.known:
        inputs.append(Port("known", (len(layout.known),), dtype, f"{', '.join(roles.known)} of the row"))
    if layout.static:
        inputs.append(Port("static", (len(layout.static),), dtype, "numbers that belong to the series"))
    if layout.known:
        shape = (horizon, len(layout.known))
        inputs.append(Port("future", shape, dtype, f"{', '.join(roles.known)} of the rows to come"))
    shape, what = (horizon, channels), "means of the next rows, in the units of the data"
    if quantiles:
        shape, what = (*shape, 1 + len(quantiles)), f"{what}, and quantiles at {', '.join(map(str, quantiles))}"
    unit = np.array(layout.values)[:, 1].reshape(channels, *(1 for _ in shape[2:]))
    output = Port("forecast", shape, dtype, what, unit=unit)

    def draw(random: np.random.Generator, rows: int, number: int) -> list[np.ndarray]:
        arrays = []
        for port in inputs:
            if port.name == "time":
                # Without a fixed distance: some rows late, some close to the next, once a long pause.
                # Dates in seconds have steps of 2e-7: rows are not closer than some of them.
                most = 0.9999 if not kind.dated else float(np.clip(1 - 1e-6 / kind.step, 0.5, 0.9999))
                late = 0.0 if roles.freq else most if number % 10 == 0 else random.uniform(0.001, 0.5)
                late += 0.0 if roles.freq or number < LONG else LONG
                arrays.append(np.full(rows, (START if kind.dated else 0.0) + (number + late) * kind.step))
                continue
            scales = np.array(getattr(layout, {"future": "known"}.get(port.name, port.name)))
            array = scales[:, 0] + scales[:, 1] * random.normal(size=(rows, *port.shape))
            if port.name == "values":
                array[random.random(size=array.shape) < 0.05] = np.nan
            arrays.append(array.astype(np.float64 if dtype == torch.float64 else np.float32))
        return arrays

    about = {
        "channels": list(kind.names),
        "horizon": horizon,
        "quantiles": list(quantiles),
        "step": kind.step,
        "dated": kind.dated,
        "freq": roles.freq,
    }
    return Deployment(module, tuple(inputs), (output,), draw, "forecasting", about)
