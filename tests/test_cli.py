"""The command line as a person meets it: results, help, errors in one line, interruption."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from synthetic import waves, write_ts

from aaren.cli import main
from aaren.cli.classify import Classify
from aaren.tasks.classify import Classifier

WIDE = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def waves_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Waves")
    X, y = waves()
    write_ts(folder / "Waves_TRAIN.ts", X[:40], y[:40])
    write_ts(folder / "Waves_TEST.ts", X[40:], y[40:])
    return folder


@pytest.fixture(scope="module")
def trained(waves_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    main(["classify", "--data", str(waves_folder), "--out", str(out), "--updates", "150"])
    return out


def aaren(*arguments, env=WIDE, **options):
    return subprocess.run(
        [sys.executable, "-m", "aaren", *map(str, arguments)], capture_output=True, text=True, env=env, **options
    )


def fails(capsys, *arguments) -> str:
    """The one line of an error, for a command that must end with status 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if line.startswith("aaren: error: ")]
    assert len(lines) == 1
    return lines[0]


def test_classify_writes_a_model_and_a_result(trained, waves_folder):
    result = json.loads((trained / "result.json").read_text())
    assert result["accuracy"] > 0.8
    assert {"layer": "aaren", "preset": "small", "seed": 0, "updates": 150}.items() <= result.items()
    settings = Classify(str(waves_folder), trained, updates=150).settings()
    assert settings.items() <= result.items()
    for name in ("commit", "torch", "train_seconds", "parameters", "validation_accuracy"):
        assert result[name], name
    assert result["peak_memory_bytes"] >= 0  # 0 where the process had used as much before
    assert sorted(path.name for path in trained.iterdir()) == ["model", "result.json"]
    X, y = waves()
    assert Classifier.load(trained / "model").score(X[40:], y[40:]) == result["accuracy"]


def compare(folder, out, *more):
    layers = ["--layers", "aaren", "attention", "--seeds", "2", "--updates", "40"]
    return ["compare", "classify", "--data", folder, *layers, "--out", out, *more]


def records_in(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def compared(waves_folder, tmp_path_factory):
    """The folder of a comparison, and what it printed."""
    out = tmp_path_factory.mktemp("compared")
    return out, aaren(*compare(waves_folder, out, "--tokens", "1000"))


def test_compare_prints_tables(compared):
    out, done = compared
    assert done.returncode == 0, done.stderr
    for word in ("aaren", "attention", "test accuracy", "±", "parameters", "training time", "memory of training"):
        assert word in done.stdout
    records = records_in(out / "results.jsonl")
    assert [record["task"] for record in records] == ["classify"] * 4 + ["stream"] * 2
    state = {r["layer"]: {x["tokens"]: x["state_bytes"] for x in r["readings"]} for r in records[4:]}
    assert state["aaren"][1] == state["aaren"][100] == state["aaren"][1000]
    rows, width = 2 * 2, 64  # keys and values of two layers
    assert state["attention"][1000] - state["attention"][100] == 900 * (rows * width * 4 + 2)  # and a flag a layer
    assert all(r["token_us"] > 1 and r["state_bytes"] == state[r["layer"]][1000] for r in records[:4])
    for name in ("streaming.png", "classify-small-40-accuracy.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    table = (out / "table.md").read_text()
    for line in ("### classify, preset small, most updates 40: test accuracy\n", "| µs a token, after 1,000 | "):
        assert line in table


def test_compare_runs_no_cell_twice(compared, waves_folder, tmp_path):
    out, _ = compared
    shutil.copy(out / "results.jsonl", tmp_path)
    again = aaren(*compare(waves_folder, tmp_path, "--tokens", "1000"))  # of the cells' folders nothing is left
    assert again.returncode == 0, again.stderr
    assert "4 cells, 4 of them done before" in again.stderr
    assert "2 cells, 2 of them done before" in again.stderr
    assert (tmp_path / "results.jsonl").read_bytes() == (out / "results.jsonl").read_bytes()
    assert (tmp_path / "table.md").read_bytes() == (out / "table.md").read_bytes()


def test_shards_of_several_data_sets_join(waves_folder, tmp_path):
    other = tmp_path / "Other"
    shutil.copytree(waves_folder, other)
    command = compare(
        waves_folder, tmp_path / "one", "--data", waves_folder, other, "--seeds", "1", "--jobs", "2", "--updates", "9"
    )
    assert aaren(*command, "--shard", "1/2").returncode == 0
    partial = (tmp_path / "one" / "table.md").read_text()
    assert f"| {other} | " in partial or f"| {waves_folder} | " in partial
    command[command.index(tmp_path / "one")] = tmp_path / "two"
    assert aaren(*command, "--shard", "2/2").returncode == 0
    files = [tmp_path / "one" / "results-1-of-2.jsonl", tmp_path / "two" / "results-2-of-2.jsonl"]
    first, second = map(records_in, files)
    assert len(first) == len(second) == 2
    assert all(record["threads"] == 1 for record in first + second)
    assert len({(record["data"], record["layer"]) for record in first + second}) == 4
    done = aaren("report", *files, "--out", tmp_path / "both")
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "both" / "table.md").read_text()
    assert "–" not in table.split("###")[1]
    assert "| mean rank | " in table


def test_ctrl_c_keeps_finished_cells(waves_folder, tmp_path):
    """An interrupt of the command alone ends its cells, too; what has ended is not run again."""
    command = [*map(str, compare(waves_folder, tmp_path, "--tokens", "0", "--jobs", "2", "--updates", "150"))]
    running = subprocess.Popen([sys.executable, "-m", "aaren", *command], env=WIDE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "results.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(5):  # as below
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            _, error = running.communicate(timeout=8)  # and standard error is open as long as a child lives
            break
    assert running.returncode == 130
    assert "Traceback" not in error
    assert error.count("aaren: ") == 1
    assert "aaren: interrupted; run the same command again" in error
    ended = len(records_in(tmp_path / "results.jsonl"))
    assert 1 <= ended < 4
    again = aaren(*command)
    assert again.returncode == 0, again.stderr
    assert "4 cells, 4 of them" not in again.stderr
    assert len(records_in(tmp_path / "results.jsonl")) == 4


def test_a_cell_that_fails_ends_in_status_2(compared, waves_folder, tmp_path):
    out, _ = compared
    shutil.copy(out / "results.jsonl", tmp_path)
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / f"{waves_folder.name}-gru-0").write_text("no folder")
    done = aaren(*compare(waves_folder, tmp_path, "--tokens", "0", "--layers", "aaren", "gru", "--jobs", "2"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "aaren: error: folder for results must be writable" in done.stderr
    assert "aaren: error: cells must succeed, got 1 of 2 that failed: task classify, data " in done.stderr
    assert "layer gru, preset small, seed 0, most_updates 40 (exit status 2)" in done.stderr
    assert "gru" in (tmp_path / "table.md").read_text()  # its other seed


def test_errors_of_report(tmp_path, capsys):
    assert "No such file" in fails(capsys, "report", tmp_path / "nowhere.jsonl", "--out", tmp_path)
    (tmp_path / "r.jsonl").write_text('{"task": "classify"}\nhello\n')
    assert "line 2 of" in fails(capsys, "report", tmp_path / "r.jsonl", "--out", tmp_path)
    (tmp_path / "r.jsonl").write_text('{"part": "scan"}\n')
    error = fails(capsys, "report", tmp_path / "r.jsonl", "--out", tmp_path)
    assert "task of a result must be one of classify, forecast, events, control, stream, got 'None'" in error
    (tmp_path / "r.jsonl").write_text("")
    assert "at least one record" in fails(capsys, "report", tmp_path / "r.jsonl", "--out", tmp_path)


def test_stream_answers_line_by_line(trained, waves_folder, tmp_path, capsys):
    X, _ = waves()
    classifier, case = Classifier.load(trained / "model"), X[41].astype(np.float32)
    samples = tmp_path / "samples"
    samples.write_text("".join(json.dumps(sample.tolist()) + "\n" for sample in case.T))
    main(["stream", str(trained / "model"), "--input", str(samples)])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["sample"] for answer in answers] == list(range(1, case.shape[1] + 1))
    expected = classifier.predict_proba([case])[0]
    np.testing.assert_allclose(list(answers[-1]["probabilities"].values()), expected, atol=1e-5)
    assert answers[-1]["class"] == classifier.predict([case])[0]

    main(["stream", str(trained / "model"), "--data", str(waves_folder), "--case", "1", "--show", "bars"])
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == X[41].shape[1]
    assert "█" in shown.out
    assert "class up" in shown.err


def test_stream_goes_on_from_a_snapshot(trained, tmp_path, capsys):
    case = waves()[0][42].astype(np.float32)
    lines = [json.dumps(sample.tolist()) + "\n" for sample in case.T]
    (tmp_path / "one").write_text("".join(lines[:4]))
    (tmp_path / "two").write_text("".join(lines[4:]))
    model, snapshot = str(trained / "model"), str(tmp_path / "snapshot")
    main(["stream", model, "--input", str(tmp_path / "one"), "--snapshot", snapshot])
    main(["stream", model, "--input", str(tmp_path / "two"), "--restore", snapshot])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    expected = Classifier.load(trained / "model").predict_proba([case])[0]
    np.testing.assert_allclose(list(last["probabilities"].values()), expected, atol=1e-5)


def test_keyed_stream_from_standard_input(trained):
    X = waves()[0]
    lines = [json.dumps({"key": key, "x": X[key][:, t].tolist()}) for t in range(5) for key in (3, 4)]
    done = aaren("stream", trained / "model", "--keyed", input="\n".join(lines))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    expected = Classifier.load(trained / "model").predict_proba([X[3][:, :5], X[4][:, :5]])
    for answer, wanted in zip(answers[-2:], expected, strict=True):
        np.testing.assert_allclose(list(answer["probabilities"].values()), wanted, atol=1e-5)
    assert [answer["key"] for answer in answers[-2:]] == [3, 4]


def test_errors_of_classify(waves_folder, tmp_path, capsys, monkeypatch):
    good = ["classify", "--data", waves_folder, "--out", tmp_path / "out"]
    error = fails(capsys, *good, "--layer", "atention")
    known = "aaren, aaren_decay, aaren_gated, attention, gru, lstm, mingru, minlstm"
    assert f"layer must be one of {known}, got 'atention'; did you mean" in error
    error = fails(capsys, "classify", "--data", "JapaneseVowls", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "got 'JapaneseVowls'; did you mean JapaneseVowels" in error
    assert "existing folder" in fails(capsys, "classify", "--data", tmp_path / "nowhere.ts", "--out", tmp_path / "out")
    (tmp_path / "file").write_text("")
    assert "folder for results must be writable, got" in fails(
        capsys, "classify", "--data", waves_folder, "--out", tmp_path / "file"
    )
    assert "folder for results must be writable" in fails(
        capsys, "classify", "--data", waves_folder, "--out", "/proc/aaren"
    )
    assert "updates must be a whole number at least 1, got 0" in fails(capsys, *good, "--updates", "0")
    for name in ("accelerate", "sklearn.base"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, name, None)
            without.delitem(sys.modules, "aaren.tasks.classify")
            assert "pip install 'aaren[tasks]'" in fails(capsys, *good)


def test_results_of_other_settings_are_not_overwritten(trained, waves_folder, capsys):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    command = ["classify", "--data", waves_folder, "--out", trained, "--updates", "150"]
    assert "got results with {'layer': 'aaren'} in" in fails(capsys, *command, "--layer", "gru")
    assert "got results with {'most_updates': 150} in" in fails(capsys, *command[:-2], "--updates", "3")
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_errors_of_data(tmp_path, capsys):
    X, y = waves()
    broken = [case.copy() for case in X]
    broken[7][2, 3] = np.nan
    for number, (train, labels, message) in enumerate(
        [
            (broken[:40], y[:40], "X must be finite, got nan in case 7, channel 2, time 3"),
            (X[:40], np.array(["up"] * 40), "y must have at least two classes, got only"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_ts(folder / "W_TRAIN.ts", train, labels)
        write_ts(folder / "W_TEST.ts", X[40:], y[40:])
        assert message in fails(capsys, "classify", "--data", folder, "--out", tmp_path / "out")
    folder = tmp_path / "channels"
    folder.mkdir()
    write_ts(folder / "W_TRAIN.ts", X[:40], y[:40])
    write_ts(folder / "W_TEST.ts", [case[:2] for case in X[40:]], y[40:])
    error = fails(capsys, "classify", "--data", folder, "--out", tmp_path / "out")
    assert "test part of" in error
    assert "X must have 3 channels in every case, got 2 in case 0" in error
    write_ts(folder / "W_TEST.ts", X[40:], np.array(["up", "sideways"] * 10))
    error = fails(capsys, "classify", "--data", folder, "--out", tmp_path / "out")
    assert "must have classes of the training part, got 'sideways' too" in error


def test_errors_of_stream(trained, tmp_path, capsys):
    model = trained / "model"
    lines = tmp_path / "lines"
    assert "must exist" in fails(capsys, "stream", tmp_path / "nowhere")
    assert "input must be an existing file" in fails(capsys, "stream", model, "--input", lines)
    for text, message in [
        ("[1, 2]\n", "sample 1 must have 3 numbers, got 2"),
        ("[1, 2, 3]\nhello\n", "line 2 must be a list of numbers in JSON, got 'hello'"),
        ("[1, 2, null]\n", "line 1 must be a list of numbers in JSON, got '[1, 2, null]'"),
        ("[[1, 2, 3]]\n", "line 1 must be a list of numbers"),
        ("[1, NaN, 2]\n", "sample 1: x must be finite"),
    ]:
        lines.write_text(text)
        assert message in fails(capsys, "stream", model, "--input", lines)
    assert "line 1 must be {" in fails(capsys, "stream", model, "--input", lines, "--keyed")
    assert "case must be from 0 to 369" in fails(capsys, "stream", model, "--data", "JapaneseVowels", "--case", "370")
    lines.write_text('{"key": null, "x": [1, 2, 3]}\n')
    assert "line 1 must be {" in fails(capsys, "stream", model, "--input", lines, "--keyed")
    lines.write_text("[1, 2, 3]\n")
    both = ["--data", "JapaneseVowels", "--case", "0"]
    assert "got both" in fails(capsys, "stream", model, "--input", lines, *both)
    assert "data and case must be given together" in fails(capsys, "stream", model, "--case", "3")
    assert "sample 1 must have 3 numbers, got 12" in fails(capsys, "stream", model, *both)
    assert f"try {str(model)!r}" in fails(capsys, "stream", trained)
    assert "snapshot must be a file" in fails(capsys, "stream", model, "--input", lines, "--snapshot", tmp_path)
    main(["stream", str(model), "--input", str(lines), "--snapshot", str(tmp_path / "snapshot")])
    content = (tmp_path / "snapshot").read_bytes()
    (tmp_path / "snapshot").write_bytes(content[:50])
    assert "must be a whole safetensors file" in fails(
        capsys, "stream", model, "--input", lines, "--restore", tmp_path / "snapshot"
    )


def test_errors_of_compare(waves_folder, tmp_path, capsys):
    error = fails(
        capsys, "compare", "classify", "--data", waves_folder, "--layers", "gru", "mamba", "--out", tmp_path / "out"
    )
    assert "layer must be one of" in error
    good = ["compare", "classify", "--data", waves_folder, "--out", tmp_path / "out"]
    assert "seeds must be at least 1, got 0" in fails(capsys, *good, "--seeds", "0")
    assert "jobs must be at least 1, got 0" in fails(capsys, *good, "--jobs", "0")
    for shard in ("half", "0/2", "3/2", "-1/2"):
        assert f"shard must be i/n with i from 1 to n, got '{shard}'" in fails(capsys, *good, "--shard", shard)
    assert "did you mean JapaneseVowels" in fails(capsys, *good, "--data", "JapaneseVowls")
    twin = tmp_path / waves_folder.name
    twin.mkdir()
    error = fails(capsys, *good, "--data", waves_folder, twin)
    assert "data sets must differ in name" in error


def test_a_full_disk_leaves_nothing_half_written(waves_folder, tmp_path):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    unmeasured = {name: value for name, value in WIDE.items() if not name.startswith("COV")}  # coverage writes too
    command = ["classify", "--data", waves_folder, "--out", tmp_path, "--updates", "30"]
    done = aaren(*command, preexec_fn=small_files_only, env=unmeasured)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "aaren: error: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_progress(waves_folder, tmp_path):
    command = [sys.executable, "-m", "aaren", "classify", "--data", str(waves_folder), "--updates", "900"]
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    assert subprocess.run([*command, "--out", str(whole)], env=WIDE, capture_output=True).returncode == 0
    running = subprocess.Popen([*command, "--out", str(halved)], env=WIDE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(halved.glob("checkpoint-*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(5):  # Python drops an interrupt that strikes in a destructor: then one presses again
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            _, error = running.communicate(timeout=4)
            break
    assert running.returncode == 130
    assert "Traceback" not in error
    assert "interrupted; run the same command again to go on from the last validation" in error
    (left,) = halved.iterdir()
    assert left.match("checkpoint-*.safetensors")
    assert subprocess.run([*command, "--out", str(halved)], env=WIDE, capture_output=True).returncode == 0
    X = waves()[0][40:]
    expected = Classifier.load(whole / "model").predict_proba(X)
    assert np.array_equal(Classifier.load(halved / "model").predict_proba(X), expected)
    assert not left.exists()


def test_help_is_quick_and_worth_reading():
    done = aaren("--help")
    for word in ("classify", "compare", "stream", "report", "Example:"):
        assert word in done.stdout
    for command in ("classify", "forecast", "compare", "compare classify", "compare forecast", "stream", "report"):
        assert "Example: aaren" in aaren(*command.split(), "--help").stdout
    code = "import sys, aaren.cli; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_reader_that_leaves_is_no_error(trained):
    lines = "[1, 2, 3]\n" * 200
    pipe = f"{sys.executable} -m aaren stream {trained / 'model'} | head -n 1"
    done = subprocess.run(pipe, shell=True, input=lines, capture_output=True, text=True, env=WIDE)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
