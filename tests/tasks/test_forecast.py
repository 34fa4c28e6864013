import json
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import TimeSeriesSplit, cross_val_score

from aaren.data.rows import Rows
from aaren.data.series import Roles, read_series
from aaren.data.windows import Stretch, collate
from aaren.stream import Stream
from aaren.tasks import forecast_reading, forecast_training
from aaren.tasks.forecast import PRESETS, Forecaster
from aaren.tasks.forecast_training import forecast_loss, network_of
from aaren.train import Recipe

HORIZON, CONTEXT = 6, 24
QUICK = {"d_model": 16, "nhead": 2, "dim_feedforward": 32, "num_layers": 1, "horizon": HORIZON, "context": CONTEXT}
BRIEF = Recipe(updates=40, batch_size=8, learning_rate=5e-3, validate_every=20, warmup=5)
ONCE = Recipe(updates=2, batch_size=4, validate_every=2)
MODES = ("running", "window")


def forecaster(layer: Any = "aaren", **more: Any):
    return Forecaster(layer, **{**QUICK, "recipe": BRIEF, **more})


def make_series(rows=600, seed=0, noise=0.2):
    """Two noisy sines about a level."""
    time = np.arange(rows)
    waves = np.stack([np.sin(2 * np.pi * time / 12) + 3, 10 * np.cos(2 * np.pi * time / 8)], axis=1)
    return waves + noise * np.array([1.0, 10.0]) * np.random.default_rng(seed).normal(size=waves.shape)


def make_frame(rows=600, kind="dates", seed=0):
    """A DataFrame, and its roles, with all there is to a series: of `kind` dates, irregular, index or numbers."""
    random = np.random.default_rng(seed)
    values = make_series(rows, seed)
    values[random.random(values.shape) < 0.1] = np.nan
    values[:3] = np.nan
    frame = pandas.DataFrame(values, columns=["a", "b"])
    frame["past"] = np.where(random.random(rows) < 0.3, np.nan, random.normal(size=rows) + 5)
    frame["holiday"] = random.random(rows) < 0.2
    times = pandas.date_range("2024-03-01", periods=rows, freq="h")
    if kind == "index":
        return frame.set_index(times), Roles(target=["b", "a"], known=["holiday"])
    if kind == "irregular":
        times = times[0] + pandas.to_timedelta(np.cumsum(random.integers(1, 5, rows)) * 20, unit="min")
    frame.insert(1, "when", times if kind != "numbers" else np.cumsum(random.random(rows) + 0.5))
    return frame, Roles(time="when", target=["b", "a"], known=["holiday"])


KINDS = ("dates", "irregular", "index", "numbers")


def coming(frame, t, horizon=HORIZON):
    return frame[["holiday"]].iloc[t + 1 : t + 1 + horizon]


@pytest.fixture(scope="module", params=MODES)
def fitted(request):
    """A forecaster of an array with quantiles, and the rows it has not seen."""
    X = make_series()
    return forecaster(normalise=request.param, quantiles=(0.1, 0.5, 0.9)).fit(X[:500]), X


@pytest.fixture(scope="module")
def plain():
    return forecaster(recipe=ONCE).fit(make_series())


@pytest.fixture(scope="module", params=[(mode, kind) for mode in MODES for kind in KINDS], ids="-".join)
def fitted_to_frame(request):
    mode, kind = request.param
    frame, roles = make_frame(200, kind)
    model = forecaster("aaren_decay", normalise=mode, roles=roles, recipe=ONCE)
    return model.fit(frame.iloc[:150], static=[[2.0, 3.0]]), frame


def test_beats_the_last_value(fitted):
    model, X = fitted
    errors = model.backtest(X, start=500)
    spread = X[:400].std(axis=0)
    last = np.mean([(X[t + 1 : t + 1 + HORIZON] - X[t]) ** 2 / spread**2 for t in errors.origins])
    assert errors.mse < 0.6 * last
    assert model.score(X[480:]) == -model.backtest(X[480:]).mse


@pytest.mark.parametrize("layer", ["aaren", "aaren_decay", "attention", "gru", "mingru"])
def test_a_stream_equals_predict_on_every_prefix(layer):
    X = make_series(90)
    X[:2] = X[40:44, 1] = np.nan
    for mode in MODES:
        model = forecaster(layer, normalise=mode, recipe=ONCE).fit(X)
        stream = model.stream()
        for t in range(len(X)):
            pushed = stream.push(X[t])
            assert pushed.shape == (HORIZON, 2)
            if t in (0, 1, 2, 22, 23, 24, 42, 60, 89):
                np.testing.assert_allclose(pushed, model.predict(X[: t + 1]), rtol=1e-4, atol=1e-4)


def test_a_stream_of_a_table_equals_predict(fitted_to_frame):
    model, frame = fitted_to_frame
    stream = model.stream(static=[5.0, 1.0])
    for t in range(80):
        row = frame.iloc[t]
        pushed = stream.push(row if model.roles.time is None or t % 2 else dict(row), future=coming(frame, t))
        if t in (0, 1, 2, 23, 24, 50, 79):
            given = {"static": [5.0, 1.0], "future": coming(frame, t)}
            expected = model.predict(frame.iloc[: t + 1], **given)
            np.testing.assert_allclose(pushed, expected.to_numpy(), rtol=1e-4, atol=1e-4)


def test_a_long_series_is_read_in_pieces(plain):
    X = make_series(520)  # 512 at a time
    stream = plain.stream()
    for row in X:
        pushed = stream.push(row)
    np.testing.assert_allclose(pushed, plain.predict(X), rtol=1e-4, atol=1e-4)
    assert not np.allclose(pushed, plain.predict(X[512:]), rtol=1e-4, atol=1e-4)


def check_backtest(model, X, errors, windowed=False, **static):
    """Its errors at some origins are those of `predict` there."""
    scale = np.array(model.layout_.values)[:, 1]
    values = X[list(model.channels_)].to_numpy() if hasattr(X, "columns") else X
    for i in np.unique(np.linspace(0, len(errors.origins) - 1, 7).astype(int)):
        t = errors.origins[i]
        given = static | ({"future": coming(X, t)} if model.roles.known else {})
        seen = X[max(0, t + 1 - model.context) : t + 1] if windowed else X[: t + 1]
        difference = (np.asarray(model.predict(seen, **given)) - values[t + 1 : t + 1 + model.horizon]) / scale
        assert errors.squared[i] == pytest.approx(np.nanmean(difference**2), rel=1e-3, abs=1e-6)
        assert errors.absolute[i] == pytest.approx(np.nanmean(np.abs(difference)), rel=1e-3, abs=1e-6)


def test_a_backtest_in_smaller_pieces_is_the_same(fitted, monkeypatch):
    model, X = fitted
    expected = model.backtest(X, start=3)
    monkeypatch.setattr(forecast_reading, "AT_ONCE", 1)  # 16 rows at a time
    errors = model.backtest(X, start=3)
    np.testing.assert_array_equal(errors.origins, expected.origins)
    np.testing.assert_allclose(errors.squared, expected.squared, rtol=1e-4, atol=1e-6)
    assert errors.pinball == pytest.approx(expected.pinball, rel=1e-5)


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize(("start", "stride"), [(None, 1), (1, 7), (530, 100), (594, 1)])
def test_a_backtest_equals_predict_at_each_origin(fitted, windowed, start, stride):
    model, X = fitted
    errors = model.backtest(X, start=start, stride=stride, windowed=windowed)
    first = (CONTEXT if start is None else start) - 1
    np.testing.assert_array_equal(errors.origins, np.arange(first, len(X) - HORIZON, stride))
    assert len(errors.squared) == len(errors.absolute) == len(errors.origins)
    check_backtest(model, X, errors, windowed)
    assert errors.mse == pytest.approx(errors.squared.mean())
    assert errors.mae == pytest.approx(errors.absolute.mean())
    assert errors.mse_by_horizon.shape == errors.mae_by_horizon.shape == (HORIZON,)
    assert errors.mse_by_horizon.mean() == pytest.approx(errors.mse)
    assert errors.mae_by_horizon.mean() == pytest.approx(errors.mae)
    assert errors.mse_by_channel.mean() == pytest.approx(errors.mse)


def test_a_backtest_of_a_table_equals_predict(fitted_to_frame):
    model, frame = fitted_to_frame
    errors = model.backtest(frame, static=[5.0, 1.0], start=20, stride=9)
    check_backtest(model, frame, errors, static=[5.0, 1.0])
    observed = [frame[["b", "a"]].iloc[t + 1 : t + 1 + HORIZON].notna().to_numpy().sum() for t in errors.origins]
    assert errors.mse == pytest.approx(np.average(errors.squared, weights=observed))


def test_nothing_observed_is_no_error(fitted):
    model, X = fitted
    X = X.copy()
    X[520:540] = np.nan
    errors = model.backtest(X, start=500)
    nothing = (errors.origins >= 519) & (errors.origins < 534)
    np.testing.assert_array_equal(np.isnan(errors.squared), nothing)
    assert np.isfinite([errors.mse, errors.mae, errors.pinball]).all()


def test_the_loss_is_that_of_what_was_observed(fitted):
    model, X = fitted
    X = X.copy()
    X[::3, 0] = np.nan
    rows = [Rows(read_series(X), model.layout_, np.empty(0))]
    batch = collate(rows, [Stretch(0, 40, 90, np.array([60, 89]))])
    loss = forecast_loss(model.model_, batch, network_of(model.model_), model.quantiles)
    dirty = batch._replace(target=torch.where(batch.observed, batch.target, 1e6))
    assert torch.equal(forecast_loss(model.model_, dirty, network_of(model.model_), model.quantiles), loss)
    forecast = network_of(model.model_).unflatten(model.model_(batch.x, elapsed=batch.elapsed, at=batch.at)[0])
    error = (batch.target[..., None] - forecast)[batch.observed]
    level = torch.tensor([0.1, 0.5, 0.9])
    pinball = torch.where(error[..., 1:] > 0, 2 * level, 2 * (level - 1)) * error[..., 1:]
    assert loss.item() == pytest.approx((error[..., 0] ** 2).mean().item() + pinball.mean().item(), rel=1e-4)


def test_quantiles(fitted):
    model, X = fitted
    quantiles = np.stack([model.predict_quantiles(X[:t]) for t in range(500, 594, 3)])
    assert quantiles.shape[1:] == (HORIZON, 2, 3)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    target = np.stack([X[t : t + HORIZON] for t in range(500, 594, 3)])
    below = (target[..., None] < quantiles).mean(axis=(0, 1, 2))
    assert (abs(below - [0.1, 0.5, 0.9]) < 0.15).all()
    error = target[..., None] - quantiles
    level = np.array([0.1, 0.5, 0.9])
    pinball = 2 * np.maximum(level * error, (level - 1) * error) / np.array(model.layout_.values)[:, 1:]
    assert model.backtest(X, start=500, stride=3).pinball == pytest.approx(pinball.mean(), rel=1e-3)
    assert model.stream().push(X[0]).shape == (HORIZON, 2, 4)


def test_tables_come_back_as_tables():
    frame, roles = make_frame()
    model = forecaster(roles=roles, recipe=ONCE, quantiles=(0.25,)).fit(frame)
    given = {"future": np.zeros((HORIZON, 1))}
    forecast = model.predict(frame, **given)
    assert list(forecast.columns) == ["b", "a"]
    pandas.testing.assert_index_equal(
        forecast.index, pandas.date_range("2024-03-26", periods=HORIZON, freq="h"), check_exact=True, exact=False
    )
    quantiles = model.predict_quantiles(frame, **given)
    assert list(quantiles.columns) == ["b q0.25", "a q0.25"]
    assert model.stream().push(frame.iloc[0], **given).shape == (HORIZON, 2, 2)


def test_rows_that_are_left_out_are_missing_rows():
    frame, roles = make_frame()
    roles = Roles(time="when", target="b", freq="1h")
    frame = frame.drop(columns="holiday").drop(index=[5, 6, 30, 77])
    model = forecaster("aaren_decay", roles=roles, recipe=ONCE).fit(frame)
    assert not model.layout_.irregular
    stream = model.stream()
    for t in range(90):
        pushed = stream.push(frame.iloc[t])
    assert stream.tokens.steps == 94
    np.testing.assert_allclose(pushed, model.predict(frame.iloc[:90]), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"times must be multiples of freq '1h' apart, got 1\.5 of it"):
        stream.push(dict(frame.iloc[89]) | {"when": frame["when"].iloc[89] + pandas.Timedelta("90min")})


def test_the_static_numbers_reach_the_forecast(fitted_to_frame):
    model, frame = fitted_to_frame
    with torch.no_grad():
        torch.nn.init.normal_(network_of(model.model_).head.weight)
    forecasts = [
        model.predict(frame.iloc[:50], static=numbers, future=coming(frame, 49)).to_numpy()
        for numbers in ([2.0, 3.0], [4.0, 3.0])
    ]
    assert not np.allclose(*forecasts)


def test_series_of_different_lengths():
    X = [make_series(rows, seed) for rows, seed in ((600, 1), (60, 2), (200, 3))]
    for mode in MODES:
        model = forecaster(normalise=mode).fit(X, static=[1.0, 2.0, 3.0])
        assert model.predict(X[1], static=[2.0]).shape == (HORIZON, 2)
        last = np.mean([(X[0][t + 1 : t + 1 + HORIZON] - X[0][t]) ** 2 for t in range(400, 590)], axis=(0, 1))
        mse = model.backtest(X[0], start=401, static=[1.0]).mse_by_channel
        assert (mse < 0.7 * last / np.array(model.layout_.values)[:, 1] ** 2).all()


def test_series_of_different_steps_are_counted_in_one():
    times = [pandas.date_range("2024-01-01", periods=300, freq=freq) for freq in ("1h", "1h", "3h")]
    X = [pandas.DataFrame(make_series(300, seed), index=index) for seed, index in enumerate(times)]
    model = forecaster(recipe=ONCE).fit(X)
    assert model.kind_.step == 3600
    assert model.layout_.irregular


def test_the_scaler_is_that_of_the_training_part():
    X = make_series()
    X[480:] += 1000.0
    model = forecaster(recipe=ONCE).fit(X)
    np.testing.assert_allclose(model.layout_.values, np.stack([X[:480].mean(axis=0), X[:480].std(axis=0)], axis=1))


@pytest.mark.parametrize(("a", "b"), [(10.0, 1000.0), (1.0, -1e8), (1e-30, 0.0), (1e60, 1e62)])
def test_a_level_of_its_own_makes_no_difference(a, b):
    """Far beyond what float32 could tell apart, or hold."""
    X = make_series()
    plain = forecaster(recipe=ONCE).fit(X)
    moved = forecaster(recipe=ONCE).fit(b + a * X)
    np.testing.assert_allclose((moved.predict(b + a * X) - b) / a, plain.predict(X), rtol=1e-3, atol=1e-4)
    streams = moved.stream(), plain.stream()
    for row in X[:5]:
        pushed = streams[0].push(b + a * row), streams[1].push(row)
    np.testing.assert_allclose((pushed[0] - b) / a, pushed[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_a_validation_part_without_values_is_refused(mode):
    X = make_series()
    X[470:] = np.nan
    with pytest.raises(ValueError, match="X must have values in its validation part"):
        forecaster(normalise=mode, recipe=ONCE).fit(X)


def test_same_seed_same_model():
    X = make_series()
    a, b, c = (forecaster(seed=seed, recipe=ONCE).fit(X).predict(X) for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_save_and_load(fitted, tmp_path):
    model, X = fitted
    model.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    loaded = Forecaster.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert np.array_equal(loaded.predict_quantiles(X), model.predict_quantiles(X))
    assert np.array_equal(loaded.stream().push(X[0]), model.stream().push(X[0]))
    assert loaded.get_params() == model.get_params()
    assert loaded.validation_loss_ == model.validation_loss_


def test_save_and_load_with_all_roles(fitted_to_frame, tmp_path):
    model, frame = fitted_to_frame
    model.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert loaded.layout_ == model.layout_
    assert loaded.kind_ == model.kind_
    given = {"static": [2.0, 3.0], "future": coming(frame, 99)}
    pandas.testing.assert_frame_equal(
        loaded.predict(frame.iloc[:100], **given), model.predict(frame.iloc[:100], **given)
    )
    copy: Any = clone(loaded)
    copy.fit(frame.iloc[:150], static=[[1.0, 2.0]])


def test_a_column_without_a_value_does_not_spoil_the_model(tmp_path):
    frame, roles = make_frame()
    frame["past"] = np.nan
    forecaster(roles=roles, recipe=ONCE).fit(frame).save(tmp_path / "model")
    assert np.isfinite(Forecaster.load(tmp_path / "model").predict(frame, future=[[0.0]] * HORIZON)).all(axis=None)


def test_a_damaged_model_is_refused(fitted, tmp_path):
    model, _ = fitted
    with pytest.raises(FileNotFoundError, match="must exist"):
        Forecaster.load(tmp_path / "nowhere")
    folder = tmp_path / "model"
    model.save(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"step": 2.0}))
    with pytest.raises(ValueError, match="must belong together"):
        Forecaster.load(folder)


@pytest.mark.parametrize("mode", MODES)
def test_training_goes_on_from_its_checkpoint(tmp_path, monkeypatch, mode):
    X = make_series()
    options = {"normalise": mode, "recipe": Recipe(updates=12, batch_size=4, validate_every=4), "seed": 5}
    expected = forecaster(**options).fit(X)
    file = tmp_path / "checkpoint"
    interrupted = forecaster(**options, checkpoint=file)
    calls = iter(range(10**6))

    def training(model, *arguments):
        if model.training and next(calls) == 10:
            raise KeyboardInterrupt
        return original(model, *arguments)

    original = forecast_training.forecast_loss
    monkeypatch.setattr(forecast_training, "forecast_loss", training)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X)
    monkeypatch.setattr(forecast_training, "forecast_loss", original)
    with pytest.raises(ValueError, match="Forecaster must be fitted first"):
        interrupted.predict(X)
    for other in (
        forecaster(**options | {"seed": 6}, checkpoint=file),
        forecaster("gru", **options, checkpoint=file),
        forecaster(**options, quantiles=(0.5,), checkpoint=file),
    ):
        with pytest.raises(ValueError, match="checkpoint must be of this run"):
            other.fit(X)
    with pytest.raises(ValueError, match="checkpoint must be of this run"):
        interrupted.fit(X + 1)
    resumed = interrupted.fit(X)
    for name, value in expected.model_.state_dict().items():
        assert torch.equal(resumed.model_.state_dict()[name], value), name
    assert resumed.training_ == expected.training_
    assert np.array_equal(resumed.predict(X), expected.predict(X))


def test_manners_of_scikit_learn(fitted):
    model, X = fitted
    copy: Any = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "model_")
    assert "Forecaster(" in repr(model)
    scores = cross_val_score(forecaster(recipe=ONCE), X, cv=TimeSeriesSplit(2))
    assert (scores < 0).all()
    for preset in PRESETS.values():
        assert set(preset) <= set(Forecaster().get_params())


@pytest.mark.unchecked
def test_numbers_of_numpy_as_arguments(tmp_path):
    model = forecaster(
        horizon=np.int64(3), context=np.int64(10), seed=np.int64(1), recipe=ONCE, validation=np.int64(90)
    )
    model.fit(make_series(300).astype(np.float32)).save(tmp_path / "model")
    assert Forecaster.load(tmp_path / "model").horizon == 3


def test_snapshots(fitted_to_frame, tmp_path):
    model, frame = fitted_to_frame
    one, other = model.stream(static=[2.0, 3.0]), model.stream(static=[2.0, 3.0])
    for t in range(30):
        one.push(frame.iloc[t], future=coming(frame, t))
    one.snapshot(tmp_path / "state")
    other.restore(tmp_path / "state")
    assert other.nbytes == one.nbytes > 0
    for t in range(30, 40):
        a, b = (stream.push(frame.iloc[t], future=coming(frame, t)) for stream in (one, other))
        assert np.array_equal(a, b)
    other.reset()
    new = model.stream(static=[2.0, 3.0])
    for t in range(3):
        a, b = (stream.push(frame.iloc[t], future=coming(frame, t)) for stream in (new, other))
        assert np.array_equal(a, b)


def test_a_wrong_snapshot_or_row_changes_nothing(fitted, tmp_path):
    model, X = fitted
    stream, twin = model.stream(), model.stream()
    for t in range(5):
        stream.push(X[t])
        twin.push(X[t])
    Stream(model.model_).snapshot(tmp_path / "tokens")
    with pytest.raises(ValueError, match="must be a snapshot of a stream of forecasts, got one of tokens"):
        stream.restore(tmp_path / "tokens")
    forecaster(recipe=ONCE).fit(X).stream().snapshot(tmp_path / "other")
    with pytest.raises(ValueError, match="must be a snapshot of this model"):
        stream.restore(tmp_path / "other")
    with pytest.raises(ValueError, match="X must be finite or NaN"):
        stream.push([np.inf, 0.0])
    with pytest.raises(ValueError, match="X must have the channels 0, 1, got 0, 1, 2"):
        stream.push([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="X must hold numbers"):
        stream.push(["a", 0.0])
    with pytest.raises(ValueError, match="future must be None"):
        stream.push(X[5], future=[[0.0]])
    assert np.array_equal(stream.push(X[5]), twin.push(X[5]))


def test_rows_left_out_before_a_wrong_one_are_not_there_either():
    frame, _ = make_frame()
    roles = Roles(time="when", target="b", freq="1h")
    frame = frame.drop(columns="holiday")
    model = forecaster("aaren_decay", roles=roles, recipe=ONCE).fit(frame)
    stream, twin = model.stream(), model.stream()
    for t in range(3):
        stream.push(frame.iloc[t])
        twin.push(frame.iloc[t])
    row = dict(frame.iloc[8])
    with pytest.raises(ValueError, match="finite"):
        stream.push(row | {"b": 1e300})
    late = row | {"when": row["when"] + pandas.Timedelta(days=3000)}
    with pytest.raises(ValueError, match="times must leave out at most 10,000 rows, got 72,0"):
        stream.push(late)
    assert stream.tokens.steps == 3
    assert np.array_equal(stream.push(row), twin.push(row))


def test_a_wrong_row_of_a_table_changes_nothing(fitted_to_frame):
    model, frame = fitted_to_frame
    stream, twin = model.stream(static=[2.0, 3.0]), model.stream(static=[2.0, 3.0])
    for t in range(5):
        stream.push(frame.iloc[t], future=coming(frame, t))
        twin.push(frame.iloc[t], future=coming(frame, t))
    row = frame.iloc[5]
    for wrong, future, message in (
        (frame.iloc[4], coming(frame, 5), "times must be sorted"),
        (row, None, r"future must have 6 rows of the known columns holiday, got none"),
        (row, coming(frame, 5).iloc[:2], r"future must have shape \(6, 1\), got \(2, 1\)"),
        (row, coming(frame, 5).rename(columns={"holiday": "x"}), "future must have the known columns holiday"),
        (row, [[np.nan]] * HORIZON, "future must be finite"),
        (row.drop("past"), coming(frame, 5), "beside the channels and known ones: past, got none"),
        (row.drop("a"), coming(frame, 5), "columns must contain 'a'"),
        (dict(row) | {"more": 1.0}, coming(frame, 5), "past, got past, more|X must have dates"),
    ):
        with pytest.raises(ValueError, match=message):
            stream.push(wrong, future=future)
    if model.roles.time is None:
        with pytest.raises(ValueError, match="X must have dates, in a column or as index"):
            stream.push(dict(row), future=coming(frame, 5))
    a, b = (some.push(row, future=coming(frame, 5)) for some in (stream, twin))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X: forecaster("arren").fit(X), "layer must be one of aaren, .* did you mean 'aaren'"),
        (lambda m, X: forecaster(dict).fit(X), "layer must be a name in LAYERS"),
        (lambda m, X: forecaster(horizon=0).fit(X), "horizon must be a whole number of at least 1, got 0"),
        (lambda m, X: forecaster(horizon=6.0).fit(X), "horizon must be a whole number of at least 1, got 6.0"),
        (lambda m, X: forecaster(context=1).fit(X), "context must be a whole number of at least 2, got 1"),
        (lambda m, X: forecaster(seed=-1).fit(X), "seed must be a whole number of at least 0, got -1"),
        (lambda m, X: forecaster(normalise="none").fit(X), "normalise must be one of running, window, got 'none'"),
        (lambda m, X: forecaster(quantiles=(0.9, 0.1)).fit(X), "quantiles must lie between 0 and 1, in order"),
        (lambda m, X: forecaster(quantiles=(0.0,)).fit(X), "quantiles must lie between 0 and 1, in order"),
        (lambda m, X: forecaster(quantiles=0.5).fit(X), "quantiles must be a tuple of numbers, got 0.5"),
        (lambda m, X: forecaster(validation=0.0).fit(X), "validation must be a share below 1 or a number of rows"),
        (lambda m, X: forecaster(validation=1.5).fit(X), "validation must be a share below 1 or a number of rows"),
        (lambda m, X: forecaster(recipe=100).fit(X), "recipe must be an aaren.train.Recipe, got 100"),
        (lambda m, X: forecaster(roles={}).fit(X), "roles must be aaren.data.series.Roles, got {}"),
        (lambda m, X: forecaster(nhead=7).fit(X), "d_model must be a positive multiple of nhead"),
        (lambda m, X: forecaster().fit([]), "X must have a series, got an empty list"),
        (lambda m, X: forecaster().fit(X[:30]), r"X must have more than 6 rows .* got 24 and 6 of 30"),
        (lambda m, X: forecaster(validation=595).fit(X), r"X must have more than 6 rows .* got 5 and 595 of 600"),
        (lambda m, X: forecaster().fit([X, X[:, :1]]), "all series must have the same columns"),
        (lambda m, X: forecaster().fit(X * [1, 0]), "channel '1' must vary in the training part, got 0 in all rows"),
        (lambda m, X: forecaster().fit([X, X], static=[1.0]), r"static must be finite, of shape \(2, n\)"),
        (lambda m, X: forecaster().fit(X, static=[[np.nan]]), r"static must be finite, of shape \(1, n\)"),
        (lambda m, X: forecaster().fit(X, static=["a"]), r"static must be finite, of shape \(1, n\)"),
        (lambda m, X: forecaster().predict(X), "Forecaster must be fitted first"),
        (lambda m, X: forecaster().stream(), "Forecaster must be fitted first"),
        (lambda m, X: forecaster().save("x"), "Forecaster must be fitted first"),
        (lambda m, X: m.predict([X]), "X must be one series, got a list"),
        (lambda m, X: m.predict(X[:, :1]), "X must have the channels 0, 1, got 0"),
        (lambda m, X: m.predict(X, static=[1.0]), "static must be finite, 0 numbers as in fit, got"),
        (lambda m, X: m.predict(X, future=[[1.0]]), "future must be None for a model without known columns"),
        (lambda m, X: m.predict_quantiles(X), "quantiles must be given to Forecaster before fitting"),
        (lambda m, X: m.backtest(X[:10]), "X must have at least one row before the first forecast and 6"),
        (lambda m, X: m.backtest(X, start=0), "got 600 rows and start 0"),
        (lambda m, X: m.backtest(X, start=595), "got 600 rows and start 595"),
        (lambda m, X: m.backtest(X, stride=0), "stride must be a whole number of at least 1, got 0"),
        (
            lambda m, X: m.predict(pandas.DataFrame(X, index=pandas.date_range("2024", periods=600))),
            "X must have no dates, as in fit, got some",
        ),
    ],
)
@pytest.mark.unchecked
def test_bad_input_names_the_argument(plain, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(plain, make_series())
    assert "\n" not in str(error.value)
