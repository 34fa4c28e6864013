"""Small models to export."""

from functools import partial

import numpy as np
import pandas
import pytest
import torch

from aaren import Attention, Classifier, Encoder, Forecaster
from aaren.data.series import Roles
from aaren.train import Recipe

LAYERS = ("aaren", "aaren_decay", "aaren_gated", "gru", "lstm", "mingru", "minlstm", "attention of 6 tokens")


@pytest.fixture(params=LAYERS)
def encoder(request):
    torch.manual_seed(0)
    layer = partial(Attention, window=6) if request.param == "attention of 6 tokens" else request.param
    return Encoder(2, 20, 2, 24, layer=layer).eval()


@pytest.fixture(scope="session")
def classifier():
    random = np.random.default_rng(0)
    labels = np.array(["low", "high"] * 10)
    cases = [5 + 3 * random.normal(size=(2, 12)) + (label == "high") for label in labels]
    return Classifier(d_model=16, nhead=2, num_layers=1, recipe=Recipe(updates=3)).fit(cases, labels)


@pytest.fixture(scope="session")
def table():
    """Two channels with a gap, a column known beforehand, one that is only read, and dates."""
    random, rows = np.random.default_rng(0), 300
    hours = np.arange(rows)
    table = pandas.DataFrame(
        {
            "date": pandas.date_range("2024-03-01", periods=rows, freq="h"),
            "load": 100 + 10 * np.sin(hours / 4) + random.normal(size=rows),
            "wind": random.normal(size=rows).cumsum(),
            "holiday": (hours // 24 % 7 == 0).astype(float),
            "cloud": random.random(rows),
        }
    )
    table.loc[20:25, "load"] = np.nan
    table.loc[3:30, "cloud"] = np.nan
    return table


@pytest.fixture(scope="session")
def forecaster(table):
    """One that has every kind of input and output."""
    forecaster = Forecaster(
        "aaren_gated",
        horizon=4,
        context=16,
        quantiles=(0.1, 0.9),
        roles=Roles("date", ["load", "wind"], ["holiday"]),
        d_model=16,
        nhead=2,
        num_layers=1,
        dim_feedforward=16,
        recipe=Recipe(updates=3, batch_size=4),
    )
    return forecaster.fit([table, table], static=[[1.0], [2.0]])


@pytest.fixture(scope="session")
def rows(table):
    """What the forecaster is pushed, row by row: for `ForecastStream` and for its exported form."""
    pushed = []
    for i in range(60):
        row, future = table.iloc[i], table[["holiday"]].to_numpy()[i + 1 : i + 5].copy()
        inputs = {
            "values": row[["load", "wind"]].to_numpy(dtype=float, copy=True),
            "time": row["date"].timestamp(),
            "past": row[["cloud"]].to_numpy(dtype=float, copy=True),
            "known": row[["holiday"]].to_numpy(dtype=float, copy=True),
            "static": np.array([2.0]),
            "future": future,
        }
        pushed.append((row.to_dict(), future, inputs))
    return pushed
