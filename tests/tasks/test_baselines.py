"""Forecasters without a network, against processes whose answer is known and a loop that cannot be wrong."""

import numpy as np
import pandas
import pytest

from aaren.data.series import Roles
from aaren.tasks.baselines import BASELINES, Autoregression, Last, Linear, Seasonal, usual_period
from aaren.tasks.least_squares import STRENGTHS, Moments, best_ridge


def random_walks(rows=260, channels=2, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, channels)).cumsum(axis=0) * [1.0, 30.0][:channels] + 7


def autoregressive(coefficients, rows, seed=0, noise=1.0, level=5.0):
    """x_t = a_1 x_{t-1} + a_2 x_{t-2} + ... + noise, plus a level."""
    random, x = np.random.default_rng(seed), np.zeros(rows)
    for t in range(len(coefficients), rows):
        x[t] = np.dot(
            coefficients, x[t - 1 : t - 1 - len(coefficients) : -1] if t > len(coefficients) else x[t - 1 :: -1]
        )
        x[t] += noise * random.normal()
    return x + level


def test_last_repeats_the_last_value():
    step = np.concatenate([random_walks(100), np.full((40, 2), 3.5)])
    model = Last(horizon=6, context=4).fit(step)
    np.testing.assert_allclose(model.predict(step), np.full((6, 2), 3.5))
    assert model.backtest(step, start=101).mse < 1e-20
    assert model.backtest(step, start=90).mse > 1e-3


def test_seasonal_is_exact_on_a_periodic_series():
    wave = np.tile(np.random.default_rng(0).normal(size=(7, 2)), (30, 1))
    model = Seasonal(horizon=10, context=8, period=7).fit(wave)
    assert model.backtest(wave).mse < 1e-20
    assert Seasonal(horizon=10, context=8, period=6).fit(wave).backtest(wave).mse > 0.1
    np.testing.assert_allclose(model.predict(wave[:-10]), wave[-10:])


@pytest.mark.parametrize(
    ("freq", "period"), [("1h", 24), ("15min", 96), ("1D", 7), ("7D", 52), ("MS", 12), ("10min", 1), ("7h", 1)]
)
def test_the_usual_period_is_a_day_or_a_week_or_a_year(freq, period):
    """If it is a whole number of rows, and in the context: at ten minutes a day has 144 rows."""
    frame = pandas.DataFrame({"x": random_walks()[:, 0]}, index=pandas.date_range("2020", periods=260, freq=freq))
    assert Seasonal(horizon=3, context=96).fit(frame).period_ == period
    assert Seasonal(horizon=3, context=96).fit(frame.reset_index(drop=True)).period_ == 1
    assert usual_period(600.0) == 144


def test_linear_recovers_a_linear_map():
    """x_{t+1} = 1.2 x_t - 0.4 x_{t-1} + 0.2 x_{t-2}: the weights sum to 1, so levels do not matter."""
    weights = np.array([1.2, -0.4, 0.2])
    series = autoregressive(weights, 6000, noise=1.0)[:, None]
    model = Linear(horizon=2, context=3).fit(series)
    ahead = np.array([1.2 * 1.2 - 0.4, -1.2 * 0.4 + 0.2, 1.2 * 0.2])
    # of the window less its mean: known up to a constant, since those sum to 0
    found = model.weights_[0, :-1, :].T[:, ::-1]
    for known, got in zip((weights, ahead), found, strict=True):
        np.testing.assert_allclose(got - got.mean(), known - known.mean(), atol=0.05)
    np.testing.assert_allclose(model.weights_[0, -1], 0, atol=0.05)
    window = series[-3:, 0]
    np.testing.assert_allclose(model.predict(series)[0, 0], weights @ window[::-1], atol=0.25)
    smooth = np.sin(np.arange(400) / 5)[:, None] + [[0.0, 100.0]]
    assert Linear(horizon=12, context=24).fit(smooth).backtest(smooth).mse < 1e-4


def test_linear_follows_the_level_of_each_window():
    walks = random_walks(400)
    model = Linear(horizon=4, context=8).fit(walks)
    shift = np.array([500.0, -900.0])
    np.testing.assert_allclose(model.predict(walks + shift), model.predict(walks) + shift)


def test_autoregression_finds_the_coefficients_of_an_ar2_process():
    series = np.stack([autoregressive([0.5, 0.3], 20_000), autoregressive([1.1, -0.6], 20_000, seed=1)], axis=1)
    model = Autoregression(horizon=3, context=2).fit(series)
    np.testing.assert_allclose(model.coefficients_, [[0.5, 0.3], [1.1, -0.6]], atol=0.02)
    x = series[-2:, 1] - 5
    for row in model.predict(series)[:, 1] - 5:  # one step after the other
        x = np.array([x[1], 1.1 * x[1] - 0.6 * x[0]])
        assert abs(row - x[1]) < 0.15


def test_autoregression_does_not_explode():
    """Growth in the training part, none in the validation part: then no growing map is chosen."""
    series = np.concatenate([1.05 ** np.arange(300), np.full(100, 1.05**300)])[:, None]
    series += np.random.default_rng(0).normal(size=series.shape)
    model = Autoregression(horizon=90, context=2, validation=100).fit(series)
    assert np.abs(model.predict(series)).max() < 10 * series.max()
    wild = np.random.default_rng(0).normal(size=(60, 1))
    assert np.isfinite(Autoregression(horizon=8, context=24).fit(wild).predict(wild)).all()


@pytest.mark.parametrize("name", BASELINES)
def test_a_backtest_equals_a_loop_of_predictions(name):
    series = random_walks()
    series[[60, 61, 230, 255], [0, 0, 1, 1]] = np.nan
    model = BASELINES[name](horizon=5, context=12, validation=0.3).fit(series)
    train = series[: 260 - 78]
    spread = np.nanstd(train, axis=0)
    np.testing.assert_allclose(model.spread_, spread)
    test, squared, absolute = series[180:], [], []
    for origin in range(11, 80 - 5, 3):
        error = (test[origin + 1 : origin + 6] - model.predict(test[: origin + 1])) / spread
        squared.append(error**2)
        absolute.append(np.abs(error))
    result = model.backtest(test, start=12, stride=3)
    assert result.origins.tolist() == list(range(11, 75, 3))
    np.testing.assert_allclose(result.mse, np.nanmean(squared))
    np.testing.assert_allclose(result.mae, np.nanmean(absolute))
    np.testing.assert_allclose(result.squared, np.nanmean(squared, axis=(1, 2)))
    np.testing.assert_allclose(result.mse_by_horizon, np.nanmean(squared, axis=(0, 2)))
    np.testing.assert_allclose(result.mae_by_channel, np.nanmean(absolute, axis=(0, 1)))
    assert model.score(test) == -model.backtest(test).mse


@pytest.mark.parametrize("name", BASELINES)
def test_small_pieces_make_no_difference(name, monkeypatch):
    whole = BASELINES[name](horizon=5, context=12).fit(random_walks())
    expected = whole.backtest(random_walks())
    monkeypatch.setattr("aaren.tasks.baseline.CHUNK", 100)
    got = BASELINES[name](horizon=5, context=12).fit(random_walks()).backtest(random_walks())
    np.testing.assert_allclose(got.squared, expected.squared)


@pytest.mark.parametrize("name", BASELINES)
def test_forecasts_look_at_the_context_and_never_ahead(name):
    series = random_walks()
    model = BASELINES[name](horizon=5, context=12).fit(series)
    np.testing.assert_allclose(model.predict(series), model.predict(series[-12:]))
    late = series.copy()
    late[:90] = np.nan  # nothing is known before row 90
    early = model.predict(late[:50])
    assert np.isfinite(early).all()
    np.testing.assert_allclose(model.backtest(late[:120], start=50).squared[0], np.nan)


def test_frames_keep_their_times_and_other_columns_are_not_forecast():
    frame = pandas.DataFrame(random_walks(), columns=["OT", "load"])
    frame.insert(0, "date", pandas.date_range("2020-01-01", periods=260, freq="h"))
    model = Last(horizon=2, context=24, roles=Roles(time="date", target="OT")).fit(frame)
    forecast = model.predict(frame)
    assert list(forecast.columns) == ["OT"]
    assert forecast.index.tolist() == list(pandas.date_range("2020-01-11 20:00", periods=2, freq="h"))
    assert forecast["OT"].tolist() == pytest.approx([frame["OT"].iloc[-1]] * 2)


def test_several_series_are_pooled():
    series = [random_walks(seed=seed) for seed in range(3)]
    model = Linear(horizon=3, context=12).fit(series)
    train = np.concatenate([one[:208] for one in series])
    np.testing.assert_allclose(model.mean_, train.mean(axis=0))
    alone = Linear(horizon=3, context=12).fit(series[0])
    assert not np.allclose(model.weights_, alone.weights_)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("last", {"horizon": 0}, "horizon must be a whole number of at least 1, got 0"),
        ("last", {"context": 1}, "context must be a whole number of at least 2, got 1"),
        ("last", {"validation": 1.5}, "validation must be a share below 1 or a number of rows, got 1.5"),
        ("last", {"horizon": 60}, "X must have more than 60 rows .* got 208 and 52 of 260"),
        ("seasonal", {"period": 0}, "period must be a whole number of at least 1, got 0"),
        ("seasonal", {"period": 97}, "period must be at most the context, 96 rows, got 97"),
        ("linear", {"context": 200}, "at least 224 rows in its training part .* got 208; shorten context"),
        ("ar", {"context": 208}, "at least 209 rows in its training part"),
    ],
)
def test_errors_of_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        BASELINES[name](**arguments).fit(random_walks())


def test_errors_of_data():
    model = Last(horizon=5, context=12)
    with pytest.raises(ValueError, match="X must have a series, got an empty list"):
        model.fit([])
    with pytest.raises(ValueError, match="Last must be fitted first"):
        model.predict(random_walks())
    model.fit(random_walks())
    with pytest.raises(ValueError, match="X must have the channels 0, 1, got 0"):
        model.predict(random_walks(channels=1))
    with pytest.raises(ValueError, match="X must be one series, got a list"):
        model.predict([random_walks()])
    dated = pandas.DataFrame(random_walks(), columns=["0", "1"], index=pandas.date_range("2020", periods=260))
    with pytest.raises(ValueError, match="X must have no dates, as in fit, got some"):
        model.predict(dated)
    with pytest.raises(ValueError, match="all series must have the same columns"):
        model.fit([random_walks(), random_walks(channels=1)])
    with pytest.raises(ValueError, match="at least one row before the first forecast and 5"):
        model.backtest(random_walks(rows=12), start=8)


def test_no_map_at_all_where_the_past_misleads():
    """The validation part goes the other way than the training part: the best of all strengths is none."""
    random = np.random.default_rng(0)
    train, held = (Moments.zeros(1, 3, 1) for _ in range(2))
    for moments, sign in ((train, 1.0), (held, -1.0)):
        features = np.concatenate([random.normal(size=(500, 2)), np.ones((500, 1))], axis=1)
        moments.add(features[None], sign * 3 * features[None, :, :1])
    weights, strengths = best_ridge(train, held)
    assert not weights.any()
    assert strengths.tolist() == [0.0]
    weights, strengths = best_ridge(train, train)
    np.testing.assert_allclose(weights[0, :, 0], [3.0, 0.0, 0.0], atol=1e-4)
    assert strengths.tolist() == [STRENGTHS[0]]
