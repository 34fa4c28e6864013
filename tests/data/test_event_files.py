"""Files of events: the real sets, and generated files of every layout that is read."""

import json
import pickle

import numpy as np
import pandas
import pytest

from aaren.data.catalog import CATALOG, find
from aaren.data.event_files import SIN, load_events, read_table

SETS = [name for name, data_set in CATALOG.items() if data_set.task == "events"]


@pytest.mark.usefixtures("data_root")
@pytest.mark.parametrize("name", SETS)
def test_known_sets_are_what_the_catalogue_says(name):
    parts, known = load_events(name), find(name)
    assert tuple(map(len, parts[:3])) == known.split
    assert sum(len(one.times) for part in parts[:3] for one in part) == known.rows
    assert len(parts.marks) == known.channels
    one = parts.test[0]
    assert (one.start, one.end) == (known.window or (None, None))
    assert (one.marks is None) == (known.channels == 0)


def test_sin_is_generated_with_its_truth():
    parts = load_events("Sin")
    assert tuple(map(len, parts[:3])) == (600, 200, 200)
    again = load_events("Sin")
    assert np.array_equal(parts.test[5].times, again.test[5].times)
    mean = np.mean([SIN.log_likelihood(one) / len(one.times) for one in parts.test])
    assert mean == pytest.approx(0.9, abs=0.1)


def write_parts(folder, write):
    for number, part in enumerate(("train", "dev", "test"), start=1):
        write(folder / part, [[(1.0, 3), (1.0, 0), (4.5, 3)]] * number)


@pytest.mark.parametrize("lines", [False, True])
def test_the_layout_of_easytpp(tmp_path, lines):
    def write(path, sequences):
        records = [
            {"seq_len": len(one), "time_since_start": [t for t, _ in one], "type_event": [m for _, m in one]}
            for one in sequences
        ]
        text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
        path.with_suffix(".json").write_text(text)

    write_parts(tmp_path, write)
    parts = load_events(tmp_path)
    assert tuple(map(len, parts[:3])) == (1, 2, 3)
    assert parts.train[0].times.tolist() == [1.0, 1.0, 4.5]
    assert (parts.marks.tolist(), parts.train[0].start) == ([0, 3], None)
    (tmp_path / "dev.json").write_text("[{}]")
    with pytest.raises(ValueError, match=r"dev.json' must hold time_since_start and type_event"):
        load_events(tmp_path)


def test_the_layout_of_mimic(tmp_path):
    def write(path, sequences):
        content = [[{"time_since_start": np.float64(t), "type_event": m} for t, m in one] for one in sequences]
        path.with_suffix(".pkl").write_bytes(pickle.dumps({"dim_process": 4, path.stem: content}))

    write_parts(tmp_path, write)
    parts = load_events(tmp_path)
    assert tuple(map(len, parts[:3])) == (1, 2, 3)
    assert parts.test[2].times.tolist() == [1.0, 1.0, 4.5]
    assert parts.test[2].marks is not None
    assert parts.test[2].marks.tolist() == [3, 0, 3]


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def test_nothing_in_a_pickle_is_executed(tmp_path):
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.pkl").write_bytes(pickle.dumps({part: Malicious(tmp_path / "executed")}))
    with pytest.raises(ValueError, match=r"train.pkl' must hold sequences of events as plain numbers, got it names"):
        load_events(tmp_path)
    assert not (tmp_path / "executed").exists()
    (tmp_path / "train.pkl").write_bytes(b"\x80\x04]q")
    with pytest.raises(ValueError, match="as plain numbers"):
        load_events(tmp_path)


def test_other_names_and_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="did you mean wiki"):
        load_events("wikii")
    with pytest.raises(FileNotFoundError, match=r"train.json or train.pkl, got the folder"):
        load_events(tmp_path)
    with pytest.raises(ValueError, match="data must be a set of events, got 'ETTh1', a set for forecasting"):
        load_events("ETTh1")
    for content in (b"", b"no archive"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"must hold times, marks, lengths and split"):
            load_events(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", times=[1.0, 2.0], marks=[], lengths=[2.0], split=[0])
    with pytest.raises(ValueError, match="must hold times, marks, lengths and split"):
        load_events(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", times=[1.0, 2.0], marks=[], lengths=[3], split=[0])
    with pytest.raises(ValueError, match=r"must hold times, marks, lengths and split"):
        load_events(tmp_path / "bad.npz")


def test_tables_of_ones_own(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text("user,when,what\nb,2,x\na,1,y\na,0.5,x\nb,2,y\n")
    [b, a], names, dated = read_table(path, time="when", sequence="user", mark="what")
    assert (names, dated) == (["b", "a"], False)
    assert (a.times.tolist(), b.times.tolist()) == ([0.5, 1.0], [2.0, 2.0])
    assert a.marks is not None
    assert a.marks.tolist() == ["x", "y"]
    [whole] = read_table(path, time="when").sequences
    assert (whole.times.tolist(), whole.marks) == ([0.5, 1.0, 2.0, 2.0], None)
    pandas.DataFrame({"time": pandas.to_datetime([1, 3], unit="s").astype("datetime64[us]")}).to_parquet(
        path.with_suffix(".parquet")
    )
    [kept], names, dated = read_table(path.with_suffix(".parquet"))
    assert (kept.times.tolist(), names, dated) == ([1.0, 3.0], None, True)
    path.write_text("time,mark\n1970-01-02 00:00,1\n1970-01-01 12:00,2\n")
    [one], _, dated = read_table(path, mark="mark", start="1970-01-01", end="1970-01-03")
    assert (one.times.tolist(), one.start, one.end, dated) == ([43200.0, 86400.0], 0.0, 172800.0, True)
    assert one.marks is not None
    assert one.marks.tolist() == [2, 1]
    with pytest.raises(ValueError, match=r"data\[0\] must have events between start 80000.0 and end None"):
        read_table(path, start="1970-01-01 22:13:20")
    with pytest.raises(ValueError, match="end must be a date like the times, got '7'"):
        read_table(path, end="7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when\n1\n", "columns must contain 'time', got when"),
        ("time,mark\n1,a\nsoon,b\n", "'time' must hold numbers or ISO 8601 dates, got 'soon' in row 1"),
        ("time,mark\n1,a\n,b\n", "'time' must have no missing times, got one in row 1"),
        ("time,mark\n1,a\n2,\n", "'mark' must have no missing marks, got one in row 1"),
    ],
)
def test_bad_tables_are_named(tmp_path, text, message):
    (tmp_path / "my.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "my.csv", mark="mark")
    with pytest.raises(FileNotFoundError, match="data must be an existing file"):
        read_table(tmp_path / "none.csv")
