"""Forecast a table with dates and a gap, with quantiles, then live, row by row. Needs the extra `tasks`."""

import numpy as np
import pandas as pd

import aaren
from aaren.data.series import Roles
from aaren.train import Recipe

# Ten weeks of hourly load and temperature; the meter was off for six hours.
hours = pd.date_range("2026-01-05", periods=70 * 24, freq="1h")
row, noise = np.arange(len(hours)), np.random.default_rng(0).normal(size=(2, len(hours)))
day, workday = 2 * np.pi * row / 24, row // 24 % 7 < 5
temperature = 5 + 4 * np.sin(day - 2) + noise[0].cumsum() / 10
load = 60 + 15 * np.sin(day) - 0.8 * temperature + 5 * workday + noise[1]
table = pd.DataFrame({"date": hours, "load": load, "temperature": temperature})
table.loc[500:505, "load"] = np.nan
past = table[: 63 * 24]  # the last week is for the test

forecaster = aaren.Forecaster(
    layer="aaren_decay",
    horizon=24,
    context=48,
    quantiles=(0.1, 0.9),
    roles=Roles(time="date", target="load"),  # `temperature` is read, not forecast
    recipe=Recipe(updates=120, batch_size=8),
)
forecaster.fit(past)
print(forecaster.predict_quantiles(past).round(1).head(3))

test = table[61 * 24 :]  # with two days before it
errors = forecaster.backtest(test)
print(f"error one hour ahead {errors.mae_by_horizon[0]:.2f}, a day ahead {errors.mae_by_horizon[-1]:.2f} (in spreads)")

stream = forecaster.stream()  # never reset, constant in memory
for _, row in test.iterrows():
    forecast = stream.push(row)
whole = forecaster.predict(test).to_numpy()
print(f"after {len(test)} rows the stream differs from predict by {np.abs(forecast[..., 0] - whole).max():.1e}")
