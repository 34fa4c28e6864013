"""`aaren forecast` and `aaren compare forecast` as a person meets them, on a file of one's own and on a known set."""

import json

import numpy as np
import pandas
import pytest
from test_cli import aaren, fails, records_in

from aaren.cli import main
from aaren.cli.forecast import Forecast
from aaren.data.parts import load_parts
from aaren.data.series import Roles
from aaren.tasks.forecast import Forecaster

ROWS = 400


def table(**columns):
    """Two noisy waves of a day, one of them on a rising line, and a column that repeats every week."""
    t, random = np.arange(ROWS), np.random.default_rng(0)
    wave = np.sin(2 * np.pi * t / 24)
    frame = {
        "when": pandas.date_range("2024-01-01", periods=ROWS, freq="h"),
        "OT": 5 * wave + 0.02 * t + 0.2 * random.normal(size=ROWS),
        "load": 100 * np.roll(wave, 5) + 3 * random.normal(size=ROWS),
    }
    return pandas.DataFrame(frame | columns)


def write(frame, file):
    frame.to_csv(file, index=False)
    return file


def command(data, out, *more):
    size = ["--horizon", "6", "--context", "24", "--updates", "25"]
    return [str(part) for part in ("forecast", "--data", data, "--time", "when", *size, "--out", out, *more)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(table(), tmp_path_factory.mktemp("data") / "my.csv")


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory):
    """The folder of results, and what was printed."""
    out = tmp_path_factory.mktemp("trained")
    done = aaren(*command(file, out, "--quantiles", "0.1", "0.9"))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_files_are_written_and_the_last_value_is_beaten(trained, file):
    out, said = trained
    assert sorted(path.name for path in out.iterdir()) == ["forecast.csv", "forecast.png", "model", "result.json"]
    result = json.loads((out / "result.json").read_text())
    settings = Forecast(str(file), out, horizon=6, context=24, time="when", quantiles=(0.1, 0.9), updates=25).settings()
    assert settings.items() <= result.items()
    assert (result["layer"], result["normalise"]) == ("aaren", "running")
    assert result["mse"] < 0.9 * result["last_mse"]
    assert result["stream_mse"] < 0.7 * result["last_mse"]
    assert result["skill_last"] == pytest.approx(1 - result["stream_mse"] / result["last_mse"])
    assert [step["step"] for step in result["steps"]] == [1, 2, 3, 6]
    for name in ("train_seconds", "parameters", "validation_loss", "token_us", "state_bytes", "pinball"):
        assert result[name] > 0, name
    assert {"commit", "peak_memory_bytes", "best_update"} <= set(result)  # memory that is reused counts as none
    for word in ("rows ahead", "skill against seasonal", "OT", "load", "never reset", "forecast of 6 rows"):
        assert word in said, word


def test_errors_are_those_of_the_saved_model(trained, file):
    out, _ = trained
    result = json.loads((out / "result.json").read_text())
    model, frame = Forecaster.load(out / "model"), pandas.read_csv(file, parse_dates=["when"])
    test = frame.iloc[320 - 24 :]  # the last fifth, after as many rows as a forecast looks back
    windowed, stream = (model.backtest(test, start=24, windowed=windowed) for windowed in (True, False))
    assert len(windowed.origins) == 80 - 6 + 1
    assert (result["mse"], result["mae"]) == pytest.approx((windowed.mse, windowed.mae))
    assert (result["stream_mse"], result["stream_mae"]) == pytest.approx((stream.mse, stream.mae))
    assert [step["mse"] for step in result["steps"]] == pytest.approx(stream.mse_by_horizon[[0, 1, 2, 5]].tolist())
    spread = frame.iloc[:240][["OT", "load"]].std(ddof=0).to_numpy()
    units = [result["channels"][name]["mae"] for name in ("OT", "load")]
    assert units == pytest.approx((stream.mae_by_channel * spread).tolist())


def test_the_forecast_is_of_the_rows_after_the_last(trained, file):
    out, _ = trained
    frame, forecast = pandas.read_csv(file), pandas.read_csv(out / "forecast.csv", parse_dates=["when"])
    assert list(forecast) == ["when", "OT", "load", "OT q0.1", "OT q0.9", "load q0.1", "load q0.9"]
    expected = pandas.date_range(frame["when"].iloc[-1], periods=7, freq="h")[1:]
    assert forecast["when"].tolist() == list(expected)
    assert (forecast["OT q0.1"] <= forecast["OT q0.9"]).all()
    model = Forecaster.load(out / "model")
    np.testing.assert_allclose(
        forecast["OT"], model.predict(frame.assign(when=pandas.to_datetime(frame["when"])))["OT"]
    )
    assert (out / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_stream_takes_rows_and_answers_with_forecasts(trained, file, tmp_path, capsys):
    out, _ = trained
    frame = pandas.read_csv(file)
    rows = [json.dumps(row) + "\n" for row in frame.iloc[:40].to_dict("records")]
    rows[7] = rows[7].replace(str(frame["OT"][7]), "null")
    (tmp_path / "head").write_text("".join(rows[:30]))
    (tmp_path / "tail").write_text("".join(rows[30:]))
    head, tail = (["stream", str(out / "model"), "--input", str(tmp_path / part)] for part in ("head", "tail"))
    main([*head, "--snapshot", str(tmp_path / "snapshot")])
    assert len(capsys.readouterr().out.splitlines()) == 30
    main([*tail, "--restore", str(tmp_path / "snapshot")])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["row"] for answer in answers] == list(range(1, 11))
    frame.loc[7, "OT"] = np.nan
    expected = Forecaster.load(out / "model").predict(frame.iloc[:40])
    np.testing.assert_allclose(answers[-1]["forecast"]["load"], expected["load"], rtol=1e-4)
    assert [list(answers[-1]["quantiles"]), list(answers[-1]["quantiles"]["0.1"])] == [["0.1", "0.9"], ["OT", "load"]]
    (tmp_path / "bad").write_text(rows[0] + rows[0])
    bad = ["stream", out / "model", "--input", tmp_path / "bad"]
    assert "row 2: times must be sorted" in fails(capsys, *bad)
    assert "keyed, data, case and show must be left out" in fails(capsys, *bad, "--keyed")
    (tmp_path / "bad").write_text("hello")
    assert "row 1 must be an object of cells by column" in fails(capsys, *bad)


@pytest.mark.parametrize("layer", ["seasonal", "linear"])
def test_a_baseline_needs_no_seed_and_leaves_no_model(layer, file, tmp_path, capsys):
    main(command(file, tmp_path, "--layer", layer, "--seed", "3"))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["layer"] == layer
    assert result["seed"] is result["normalise"] is None
    assert "parameters" not in result
    assert result["stream_mse"] == result["mse"]
    assert result["mse"] < 0.2 * result["last_mse"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecast.csv", "forecast.png", "result.json"]
    assert f"{layer} on {file}, horizon 6, seed None: test MSE" in capsys.readouterr().out


def test_roles_gaps_and_windows(tmp_path, capsys):
    """One column to forecast and one that is only read, with rows that are left out; one known beforehand."""
    holes = write(table().drop(index=[10, 11, 200, 390]), tmp_path / "holes.csv")
    main(command(holes, tmp_path / "holes", "--target", "OT", "--freq", "1h", "--normalise", "window"))
    result = json.loads((tmp_path / "holes" / "result.json").read_text())
    assert list(result["channels"]) == ["OT"]
    assert result["notes"] == ["4 rows filled in as missing"]
    assert "stream_mse" not in result
    capsys.readouterr()
    whole = write(table(weekday=np.arange(ROWS) // 24 % 7), tmp_path / "whole.csv")
    main(command(whole, tmp_path / "known", "--known", "weekday"))
    assert "for a forecast, predict needs `future`, the coming values of weekday" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "known").iterdir()) == ["model", "result.json"]


def test_parts_of_a_file_with_gaps(tmp_path):
    file = write(table().drop(index=range(300, 310)), tmp_path / "holes.csv")
    parts = load_parts(file, Roles("when", freq="1h"), validation=0.1, test=0.25)
    assert (parts.training, parts.validation, parts.test) == (260, 40, 100)
    assert len(parts.before_test) == 300
    after, before = parts.test_after(24)
    assert (len(after), before) == (124, 24)
    assert after["OT"].isna().sum() == 10
    assert parts.test_after(1_000)[1] == 300
    assert parts.frame["when"].tolist() == table()["when"].tolist()


def test_parts_of_known_sets(data_root):
    ett, weather = load_parts("ETTh1"), load_parts("weather")
    assert (ett.training, ett.validation, ett.test) == (8640, 2880, 2880)
    assert len(ett.test_after(96)[0]) == 2880 + 96
    assert ett.notes == ()
    assert (weather.training, weather.validation, weather.test) == (36887, 5270, 10539)
    assert weather.frame["date"].diff().iloc[1:].nunique() == 1  # one stamp comes twice and one gap follows
    assert "replaced by steps of 10min from 2020-01-01 00:10:00" in weather.notes[1]
    assert weather.frame.isna().sum().sum() == 81
    with pytest.raises(ValueError, match="validation, test and freq must be left out for 'ETTh1'"):
        load_parts("ETTh1", test=0.5)


def test_errors_in_one_line(file, tmp_path, capsys):
    out = tmp_path / "out"
    error = fails(capsys, *command(file, out, "--target", "laod"))
    assert "columns must contain 'laod', got when, OT, load; did you mean load?" in error
    assert "did you mean when?" in fails(capsys, *command(file, out, "--time", "wen"))
    error = fails(capsys, *command(file, out, "--layer", "linaer"))
    assert "layer must be one of aaren, " in error
    assert "seasonal, linear, ar, got 'linaer'; did you mean linear" in error
    error = fails(capsys, *command(file, out, "--horizon", "81"))
    assert "horizon must be at most the rows of the test part, 80, got 81" in error
    assert "quantiles must be left out" in fails(capsys, *command(file, out, "--layer", "ar", "--quantiles", "0.5"))
    assert "shares above 0 that leave a training part" in fails(capsys, *command(file, out, "--test", "0.9"))
    frame = table()
    twice = write(frame.assign(when=frame["when"].where(frame.index != 7, frame["when"][6])), tmp_path / "twice.csv")
    error = fails(capsys, *command(twice, out))
    assert "times must differ from row to row, got 1 duplicated, the first 2024-01-01 06:00:00 in row 7" in error
    words = write(table(station="north"), tmp_path / "words.csv")
    assert "column 'station' must hold numbers, got 'north' in row 0" in fails(capsys, *command(words, out))
    assert "did you mean ETTh2, ETTh1" in fails(capsys, "forecast", "--data", "ETTh", "--out", out)
    assert "existing file" in fails(capsys, "forecast", "--data", tmp_path / "none.csv", "--out", out)
    blind = write(frame.assign(OT=frame["OT"].where(frame.index < 315)), tmp_path / "blind.csv")
    error = fails(capsys, *command(blind, out, "--target", "OT", "--layer", "linear"))
    assert "data must have values in its test part" in error
    assert not out.exists()


def test_results_of_other_settings_are_not_overwritten(trained, file, capsys):
    out, _ = trained
    error = fails(capsys, *command(file, out, "--target", "OT"))
    assert "got results with {'target': None, 'quantiles': [0.1, 0.9]} in" in error


@pytest.mark.parametrize("text", ["{not JSON", "[1]"])
def test_a_result_that_is_none_is_not_overwritten(tmp_path, file, capsys, text):
    (tmp_path / "result.json").write_text(text)
    assert "must be a result of this command, got something else" in fails(capsys, *command(file, tmp_path))
    assert (tmp_path / "result.json").read_text() == text


def test_a_long_gap_is_told_once_in_one_line(tmp_path, capsys):
    frame = table()
    frame.loc[50:120, "OT"] = float("nan")
    gap = write(frame, tmp_path / "gap.csv")
    main([str(argument) for argument in command(gap, tmp_path / "out", "--layer", "linear", "--target", "OT")])
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warned == [
        "aaren: warning: channel 'OT' is missing for 71 rows from row 50 on, longer than the 24 rows that forecasts "
        "look back; there they are guesses"
    ]


def compare(file, out, *more):
    size = ["--horizons", "6", "--context", "24", "--updates", "5", "--seeds", "1", "--normalise", "running"]
    layers = ["--layers", "aaren", "gru", "linear"]
    return ["compare", "forecast", "--data", file, *layers, *size, "--out", out, *more]


def test_compare_is_resumable_and_joins_baselines(tmp_path):
    file = write(table().rename(columns={"when": "date"}), tmp_path / "my.csv")
    half = aaren(*compare(file, tmp_path / "out", "--layers", "aaren", "linear"))
    assert half.returncode == 0, half.stderr
    assert len(records_in(tmp_path / "out" / "results.jsonl")) == 2
    done = aaren(*compare(file, tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "3 cells, 2 of them done before" in done.stderr
    records = records_in(tmp_path / "out" / "results.jsonl")
    assert [record["layer"] for record in records] == ["aaren", "linear", "gru"]
    text = (tmp_path / "out" / "table.md").read_text()
    name = "forecast, normalise running, context 24, preset small, most updates 5"
    assert f"### {name}: test MSE, every window\n\n| data | horizon | aaren | gru | linear |\n" in text
    assert f"### {name}: test MSE, one stream that is never reset\n\n| data | horizon | aaren | gru | linear |" in text
    assert f"### {name}: error of an endless stream divided by that of windows\n\n| data | horizon | rows" in text
    for picture in ("mse", "mae", "stream_mse", "endless"):
        assert (tmp_path / "out" / f"forecast-running-24-small-5-{picture}.png").exists()
    report = aaren("report", tmp_path / "out" / "results.jsonl", "--out", tmp_path / "report")
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "report" / "table.md").read_text() == text


def test_errors_of_compare(file, tmp_path, capsys):
    assert "did you mean linear" in fails(capsys, *compare(file, tmp_path, "--layers", "linaer"))
    assert "horizons must be at least 1, got 0" in fails(capsys, *compare(file, tmp_path, "--horizons", "0"))
    assert "seeds must be at least 1, got 0" in fails(capsys, *compare(file, tmp_path, "--seeds", "0"))
    assert "a set for classification" in fails(capsys, *compare("JapaneseVowels", tmp_path))
    error = fails(capsys, *compare(file, tmp_path, "--horizons", "81", "--time", "when"))
    assert "horizons must be at most the 80 rows of the test part" in error
    assert "columns must contain 'TO'" in fails(capsys, *compare(file, tmp_path, "--time", "when", "--target", "TO"))
