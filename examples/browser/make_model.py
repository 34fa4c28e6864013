"""Trains the model of the page on half of a made-up signal and exports it; the page streams the other half.

Run it with: python examples/browser/make_model.py (needs the extras `tasks` and `export`). Writes `public/model.onnx`,
`public/stream.json`, and for the test what Python forecasts after each of the first rows: `test/expected.json`.
"""

import json
from pathlib import Path

import numpy as np
import pandas

from aaren import Forecaster, Session
from aaren.data.series import Roles
from aaren.export.files import export_model
from aaren.train import Recipe

HERE = Path(__file__).parent
HOURS, TESTED = 24 * 7 * 26, 500


def power(random: np.random.Generator) -> pandas.DataFrame:
    """What a made-up town draws, in MW, hour by hour: days, weeks, weather that drifts, noise, lost readings."""
    time = pandas.date_range("2026-01-05", periods=HOURS, freq="h")
    hours = np.arange(HOURS)  # since a Monday
    hour = hours % 24
    day = np.exp(-(((hour - 8) / 2.5) ** 2)) + 1.4 * np.exp(-(((hour - 19) / 3) ** 2))
    week = np.where(hours // 24 % 7 < 5, 1.0, 0.55)
    weather = np.zeros(HOURS)
    for i in range(1, HOURS):
        weather[i] = 0.995 * weather[i - 1] + 0.12 * random.normal()
    load = 20 + 9 * week * day + 2 * weather + 0.4 * random.normal(size=HOURS)
    load[random.random(HOURS) < 0.01] = np.nan
    return pandas.DataFrame({"time": time, "power": load.round(2)})


table = power(np.random.default_rng(0))
past, live = table.iloc[: HOURS // 2], table.iloc[HOURS // 2 :]
forecaster = Forecaster(
    layer="aaren_gated",
    horizon=24,
    context=48,
    d_model=32,
    quantiles=(0.1, 0.9),
    roles=Roles(time="time", freq="h"),
    recipe=Recipe(updates=600, batch_size=16),
)
forecaster.fit(past)
print(f"error: {forecaster.backtest(live).mse:.3f} of the variance")

(HERE / "public").mkdir(exist_ok=True)
exported = export_model(forecaster.deployment(), HERE / "public" / "model.onnx", "onnx")
print(f"{exported.path.name}: {exported.bytes:,} bytes, state {exported.state_bytes:,} bytes")

values = [[None if np.isnan(value) else value] for value in live["power"]]
seconds = (live["time"].to_numpy().astype("datetime64[s]").astype(np.int64)).tolist()
(HERE / "public" / "stream.json").write_text(json.dumps({"unit": "MW", "time": seconds, "values": values}))

session = Session(exported.path)
expected = [
    session.push([np.nan if row[0] is None else row[0]], time=time)["forecast"].ravel().tolist()
    for row, time in zip(values[:TESTED], seconds, strict=False)
]
(HERE / "test" / "expected.json").write_text(json.dumps(expected))
