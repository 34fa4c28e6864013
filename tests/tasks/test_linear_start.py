"""The linear map that a forecaster starts with."""

import numpy as np
import pytest
import torch

from aaren.data.rows import Layout, Rows
from aaren.data.series import Roles, read_series
from aaren.data.windows import Stretch, collate
from aaren.models.forecaster import SequenceForecaster
from aaren.tasks.forecast import Forecaster
from aaren.tasks.linear_start import start_linear
from aaren.train import Recipe

HORIZON, WINDOW = 5, 12


def batches(X, begin, end, count=20, seed=0):
    rows = [Rows(read_series(X), Layout(HORIZON, (), False, ((0.0, 1.0),) * 2), np.empty(0))]
    random = np.random.default_rng(seed)
    for _ in range(count):
        starts = random.integers(begin, end - 60, 4).tolist()
        yield collate(rows, [Stretch(0, s, s + 40, s + np.sort(random.choice(40, 8, replace=False))) for s in starts])


def make_network(statistics):
    torch.manual_seed(0)
    return SequenceForecaster(
        2, HORIZON, statistics=statistics, window=WINDOW, patch=4, d_model=8, nhead=2, num_layers=1, dropout=0.0
    ).eval()


def make_waves(rows=600):
    t = np.arange(rows)
    return np.stack([3 * np.sin(t / 2) + 5, np.cos(t / 3) - 0.5 * np.sin(t / 7)], axis=1)


def loss(network, some):
    with torch.no_grad():
        forecast, _ = network(some.x, elapsed=some.elapsed, at=some.at)
    error = network.unflatten(forecast)[..., 0] - some.target
    return error.square()[some.observed].mean().item()


@pytest.mark.parametrize("statistics", ["running", "window"])
def test_it_is_that_of_least_squares(statistics):
    X = make_waves() + 0.3 * np.random.default_rng(0).normal(size=(600, 2))
    network, train = make_network(statistics), list(batches(X, 0, 400))
    start_linear(network, train, train)  # held out of itself: the least ridge wins
    features, after = [], []
    for batch in train:
        read, _, _ = network.read(batch.x[..., :2], batch.x[..., 2:4] > 0.5, elapsed=batch.elapsed, at=batch.at)
        level, scale = (one.detach().double().numpy() for one in (read.level, read.scale))
        target = batch.target.double().numpy()
        normal = read.normal.detach().double().numpy()
        ones = np.ones_like(normal[..., :1])
        features.append((np.concatenate([normal, ones], -1) * scale[..., None]).reshape(-1, WINDOW + 1))
        after.append((target - level[:, :, None]).swapaxes(-1, -2).reshape(-1, HORIZON))
    features, after = np.concatenate(features), np.concatenate(after)
    expected = np.linalg.lstsq(features, after, rcond=None)[0]
    found = torch.cat([network.linear.weight, network.linear.bias[:, None]], dim=-1).detach().numpy().T
    np.testing.assert_allclose(features @ found, features @ expected, atol=2e-3)
    residual = np.mean([loss(network, batch) for batch in train])
    assert residual == pytest.approx(np.mean((features @ expected - after) ** 2), rel=1e-2)


def test_the_held_out_part_chooses_the_ridge():
    random = np.random.default_rng(0)
    X = np.cumsum(random.normal(size=(600, 2)), axis=0)
    network = make_network("window")
    few = list(batches(X, 0, 130, count=1))
    start_linear(network, few, few)
    greedy = network.linear.weight.detach().norm().item()
    held = list(batches(X, 200, 600, count=10))
    before = np.mean([loss(network, batch) for batch in held])
    start_linear(network, few, held)
    assert np.mean([loss(network, batch) for batch in held]) < before
    assert network.linear.weight.detach().norm().item() < greedy


def test_missing_steps_are_filled_and_empty_targets_left_out():
    X = make_waves()
    holes = X.copy()
    holes[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    holes[100:140, 1] = np.nan
    network, whole = make_network("window"), list(batches(X, 300, 600, seed=1))
    untouched = np.mean([loss(network, batch) for batch in whole])
    train = list(batches(holes, 0, 300, count=40))
    start_linear(network, train, train)
    assert all(torch.isfinite(p).all() for p in network.linear.parameters())
    assert np.mean([loss(network, batch) for batch in whole]) < 0.25 * untouched


@pytest.mark.parametrize("mode", ["running", "window"])
def test_a_forecaster_that_does_not_learn_is_still_linear(mode):
    """An update so small that it changes nothing: what is left is the linear map, which knows a wave."""
    X = make_waves()
    model = Forecaster(horizon=HORIZON, context=WINDOW, normalise=mode, d_model=8, nhead=2, dim_feedforward=8)
    model.set_params(recipe=Recipe(updates=1, learning_rate=1e-9), roles=Roles())
    model.fit(X[:500])
    errors = model.backtest(X[488:], start=WINDOW)
    assert errors.mse < 0.15  # 1 is the spread
