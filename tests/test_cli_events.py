"""`aaren events`, `compare events`, `stream` and `export` for events, as a person meets them on a file of one's own."""

import io
import json
from typing import Any

import numpy as np
import pandas
import pytest
from aaren_runtime import Session
from test_cli import aaren, fails, records_in

from aaren.cli import main
from aaren.cli.events import Events
from aaren.data.events import EventSequence
from aaren.tasks.events import EventForecaster

pytestmark = pytest.mark.unchecked


def table():
    """Customers who take turns: a visit soon after each sale, a sale long after each visit."""
    random = np.random.default_rng(0)
    frames = []
    for customer in range(60):
        sale = (np.arange(16) + customer) % 2 == 1
        times = np.cumsum(np.where(sale, 5.0, 0.5) * random.lognormal(0, 0.2, 16))
        what = np.where(sale, "sale", "visit")
        frames.append(pandas.DataFrame({"who": f"c{customer}", "when": times, "what": what}))
    return pandas.concat(frames).sample(frac=1, random_state=0)


COLUMNS = ["--time", "when", "--sequence", "who", "--mark", "what"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "my.csv"
    table().sort_values("who", kind="stable").to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory):
    """The folder of results, and what was printed."""
    out = tmp_path_factory.mktemp("trained")
    done = aaren("events", "--data", str(file), *COLUMNS, "--updates", "250", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_files_are_written_and_the_process_without_history_is_beaten(trained, file, tmp_path, capsys):
    out, said = trained
    assert sorted(path.name for path in out.iterdir()) == ["calibration.png", "forecast.csv", "model", "result.json"]
    result = json.loads((out / "result.json").read_text())
    settings = Events(str(file), out, time="when", sequence="who", mark="what", updates=250).settings()
    assert settings.items() <= result.items()
    for name in ("train_seconds", "parameters", "token_us", "state_bytes", "rmse", "mae", "ks"):
        assert result[name] > 0, name
    main(["events", "--data", str(file), *COLUMNS, "--layer", "renewal", "--out", str(tmp_path)])
    simple = json.loads((tmp_path / "result.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecast.csv", "result.json"]
    assert result["nll"] < simple["nll"] - 0.3
    assert result["accuracy"] > 0.95
    assert f"test NLL {result['nll']:.3f} nats an event" in said
    assert f"test NLL {simple['nll']:.3f} nats an event" in capsys.readouterr().out
    forecast = pandas.read_csv(out / "forecast.csv")
    assert forecast["sequence"].tolist() == sorted(f"c{n}" for n in range(60))[-12:]  # the last fifth of the customers
    assert (forecast["quantile_0.1"] < forecast["quantile_0.5"]).all()
    assert set(forecast["mark"]) == {"sale", "visit"}


@pytest.mark.parametrize("keyed", [False, True])
def test_events_in_forecasts_out(trained, tmp_path, capsys, monkeypatch, keyed):
    model = EventForecaster.load(trained[0] / "model")
    times, marks = [10.0, 10.4, 10.4, 16.0], ["sale", "visit", "what is this", "sale"]
    named = {"key": "me"} if keyed else {}
    lines = [json.dumps({"time": time, "mark": mark, **named}) for time, mark in zip(times, marks, strict=True)]
    (tmp_path / "first.jsonl").write_text("\n".join(lines[:2]))
    command = ["stream", str(trained[0] / "model"), *(["--keyed"] if keyed else [])]
    state = str(tmp_path / "state")
    main([*command, "--input", str(tmp_path / "first.jsonl"), "--snapshot", state])
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines[2:])))
    main([*command, "--restore", state])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["event"] for answer in answers] == [1, 2, 1, 2]
    assert all(answer.get("key") == named.get("key") for answer in answers)
    whole = model.predict([EventSequence(np.array(times), np.array(marks))])
    assert answers[-1]["mean"] == pytest.approx(whole.mean()[0], rel=1e-5)
    assert answers[-1]["quantiles"]["0.5"] == pytest.approx(whole.median()[0], rel=1e-5)
    assert answers[-1]["marks"]["visit"] == pytest.approx(whole.mark_probabilities[0, 1], rel=1e-4)


def test_an_exported_model_says_the_same(trained, tmp_path):
    main(["export", str(trained[0] / "model"), "--out", str(tmp_path / "a.onnx")])
    session, stream = Session(tmp_path / "a.onnx"), EventForecaster.load(trained[0] / "model").stream()
    assert session.about["marks"] == ["sale", "visit"]
    for time, mark in ((3.0, "sale"), (3.0, "visit"), (3.4, "visit"), (9.0, "what is this")):
        place = session.about["marks"].index(mark) if mark in session.about["marks"] else -1
        got, forecast = session.push(time, mark=place), stream.push(time, mark)
        coming: Any = forecast.coming
        assert time + got["mean"] == pytest.approx(float(forecast.mean()), rel=1e-5)
        np.testing.assert_allclose(got["probabilities"], forecast.mark_probabilities, atol=1e-6)
        np.testing.assert_allclose(got["location"], coming.location, rtol=1e-4, atol=1e-5)
        assert got["weight"].sum() == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="time must not be before that of the event before, got -1 after it"):
        session.push(8.0, mark=0)


def test_a_table_of_layers_and_baselines_resumes(file, tmp_path, capsys):
    layers = ["--layers", "aaren", "gru", "poisson", "renewal"]
    command = ["compare", "events", "--data", str(file), *COLUMNS, *layers, "--updates", "5", "--seeds", "1"]
    main([*command, "--out", str(tmp_path), "--jobs", "2"])
    records = records_in(tmp_path / "results.jsonl")
    assert {record["layer"] for record in records} == {"aaren", "gru", "poisson", "renewal"}
    assert f"| {file} | " in (tmp_path / "table.md").read_text()
    assert "nats an event" in capsys.readouterr().out
    main([*command, "--out", str(tmp_path)])
    assert "4 cells, 4 of them done before" in capsys.readouterr().err
    assert len(records_in(tmp_path / "results.jsonl")) == 4
    main(["report", str(tmp_path), "--out", str(tmp_path / "report")])
    assert "accuracy of the next mark" in (tmp_path / "report" / "table.md").read_text().lower()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--layer", "aren"], "layer must be one of"),
        (["--data", "nowhere.csv"], "data must be an existing file, got 'nowhere.csv'"),
        (["--time", "hour"], "columns must contain 'hour', got who, when, what"),
        (["--time", "what"], "'what' must hold numbers or ISO 8601 dates"),
        (["--end", "3"], "must have events between start None and end 3.0"),
        (["--sequence", "None"], "data must have at least 5 sequences"),
    ],
)
def test_errors_in_one_line(file, tmp_path, capsys, change, message):
    assert message in fails(capsys, "events", "--data", str(file), *COLUMNS, "--out", str(tmp_path), *change)


def test_customers_with_one_event_and_other_columns(tmp_path, capsys):
    hours = pandas.date_range("2026-01-01", periods=60, freq="h")
    frame = pandas.DataFrame({"when": hours, "who": np.arange(60) // 2, "what": "a"})
    frame = frame.drop(index=[37, 39])  # the first two to select by have one event
    frame.to_csv(tmp_path / "my.csv", index=False)
    columns = ["--data", str(tmp_path / "my.csv"), "--time", "when", "--sequence", "who"]
    command = ["events", *columns, "--updates", "2", "--out", str(tmp_path / "out")]
    main(command)
    forecast = pandas.read_csv(tmp_path / "out" / "forecast.csv", parse_dates=["latest", "quantile_0.5"])
    assert forecast["latest"].tolist() == hours[49::2].tolist()
    assert (forecast["quantile_0.5"] > forecast["latest"]).all()
    assert "out must be a new folder or one of the same settings" in fails(capsys, *command, "--mark", "what")


def test_an_input_that_is_missing_overwrites_no_snapshot(trained, tmp_path, capsys):
    (tmp_path / "state").write_text("kept")
    command = ["stream", str(trained[0] / "model"), "--input", "nowhere", "--snapshot", str(tmp_path / "state")]
    assert "input must be an existing file, got 'nowhere'" in fails(capsys, *command)
    assert (tmp_path / "state").read_text() == "kept"


def test_lines_that_are_no_events(trained, tmp_path, capsys):
    for line, message in (
        ("[1, 2]", 'event 1 must be an object like {"mark": "a", "time": 12.5}, got'),
        ('{"time": "x", "mark": "sale"}', "event 1: time must be a finite number, got 'x'"),
        ('{"time": 3.0, "mark": 1.5}', "event 1: mark must be a string or a whole number, got 1.5"),
    ):
        (tmp_path / "events").write_text(line)
        assert message in fails(capsys, "stream", str(trained[0] / "model"), "--input", str(tmp_path / "events"))
