import gzip
from pathlib import Path

import numpy as np
import pandas
import pytest

from aaren.data.catalog import CATALOG, find
from aaren.data.labelled import load_labelled
from aaren.data.tables import load_frame, read_table, wide


def write(path: Path, content: str | bytes) -> Path:
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


CSV = "date,a,b\n2020-01-01,1,2.5\n2020-01-02,,4\n"
AS_FRAME = pandas.DataFrame({"date": ["2020-01-01", "2020-01-02"], "a": [1, np.nan], "b": [2.5, 4.0]})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", CSV),
        ("x.csv", "\ufeff" + CSV),
        ("X.CSV", CSV),
        ("x.csv", CSV.replace("\n", "\r\n")),
        ("x.csv.gz", CSV),
        ("x.csv", CSV.replace(",", ";")),
        ("x.csv", CSV.replace(",", ";").replace(".", ",")),
        ("x.tsv", CSV.replace(",", "\t")),
        ("x.txt", CSV),
        ("x.csv", CSV.replace("date,a,b", '"date","a","b"')),
    ],
    ids=["csv", "mark", "capitals", "CRLF", "gz", "semicolon", "decimal comma", "tab", "txt", "quotes"],
)
def test_kinds_of_text(tmp_path, name, content):
    pandas.testing.assert_frame_equal(read_table(write(tmp_path / name, content)), AS_FRAME)


def test_bytes_that_are_no_utf8_become_replacement_characters(tmp_path):
    frame = read_table(write(tmp_path / "x.csv", "t,W/m²\n1,2\n".encode("latin-1")))
    assert list(frame.columns) == ["t", "W/m\ufffd"]


def test_the_raw_layout_has_neither_names_nor_dates(tmp_path):
    frame = read_table(write(tmp_path / "x.txt.gz", "0.5,2,3\n4,5,\n"))
    assert list(frame.columns) == ["0", "1", "2"]
    np.testing.assert_array_equal(frame.to_numpy(), [[0.5, 2, 3], [4, 5, np.nan]])
    counted = read_table(write(tmp_path / "x.csv", "0,1,2\n3,4,5\n"))  # names, as pandas gives them
    assert counted.shape == (1, 3)


def test_a_line_without_anything_is_a_row_of_a_single_column(tmp_path):
    frame = read_table(write(tmp_path / "x.csv", "\nx\n1\n\n3\n\n5\n\n\n"))
    np.testing.assert_array_equal(frame["x"], [1, np.nan, 3, np.nan, 5])


@pytest.mark.parametrize("index", [False, True])
def test_parquet(tmp_path, index):
    frame = AS_FRAME.assign(date=pandas.to_datetime(AS_FRAME["date"]))
    (frame.set_index("date") if index else frame).to_parquet(tmp_path / "x.parquet")
    pandas.testing.assert_frame_equal(read_table(tmp_path / "x.parquet"), frame)
    pandas.testing.assert_frame_equal(load_frame(tmp_path / "x.parquet"), frame)
    frame.rename(columns={"date": "when"}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="'when' must hold numbers, got times; name the time column"):
        load_frame(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "", "must be a table, got an empty file"),
        ("x.csv", "\n\n", "no line of text"),
        ("x.csv", "date,a\n", "must have rows of data, got none"),
        ("x.xlsx", CSV, "table must be a file .csv, .*parquet, got"),
        ("x.csv", CSV.encode("utf-16"), "bytes that are no text in UTF-8"),
        ("x.csv", "a,b\n1,2\n3,4,5\n", "must be a readable table, got: .*line 3"),
        ("x.csv", "a,b\n1,2,3\n3,4,5\n", "3 cells in the first row, but 2 names of columns"),
        ("x.csv", "a,b,a\n1,2,3\n", "several columns called 'a'"),
        ("x.csv", ",a\n0,2\n", "no name for column 1; was it written with an index?"),
        ("x.csv", "date;a;b\nx;12.345;1,5\ny;987;2,5\n", "dots for thousands in column 'a', beside decimal commas"),
        ("x.csv", "1.5,2.5\n3,4\n", "no names of columns in the first line"),
        ("x.parquet", CSV, "must be a readable table, got: "),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_compressed_files_that_are_damaged_are_refused(tmp_path):
    whole = gzip.compress(np.random.default_rng(0).bytes(100_000).hex().encode())
    for content in (CSV.encode(), whole[:1000]):
        (tmp_path / "x.csv.gz").write_bytes(content)
        with pytest.raises(ValueError, match="must be a readable table, got: "):
            read_table(tmp_path / "x.csv.gz")
    with pytest.raises(FileNotFoundError, match="table must be an existing file, got"):
        read_table(tmp_path / "y.csv")
    with pytest.raises(FileNotFoundError, match="a data set's name or an existing file"):
        load_frame(tmp_path / "y.csv")


def test_a_frame_has_its_time_first_and_numbers_after(tmp_path):
    path = write(tmp_path / "x.csv", "a,when,b\n1,2020-01-02 10:00,\n2.5,2020-01-01 09:00, \n")
    frame = load_frame(path, time="when")
    assert list(frame.columns) == ["when", "a", "b"]
    assert frame["when"].tolist() == [pandas.Timestamp("2020-01-02 10:00"), pandas.Timestamp("2020-01-01 09:00")]
    np.testing.assert_array_equal(frame[["a", "b"]].to_numpy(), [[1, np.nan], [2.5, np.nan]])
    assert set(frame.dtypes[["a", "b"]]) == {np.dtype(np.float64)}
    assert list(load_frame(write(path, CSV)).columns) == ["date", "a", "b"]  # found by its name
    assert list(load_frame(write(path, "a,b\n1,2\n")).columns) == ["a", "b"]
    steps = load_frame(write(path, "a,step\n1,10\n2,20\n"), time="step")
    assert steps["step"].tolist() == [10, 20]


@pytest.mark.parametrize(
    ("content", "time", "message"),
    [
        (
            "date,a\n2020-01-01,1\n2020-01-02,x7\n",
            None,
            "column 'a' must hold numbers, got 'x7' in row 1; name the time",
        ),
        ("day,a\n2020-01-01,1\n", None, "column 'day' must hold numbers, got '2020-01-01' in row 0; name the time"),
        (CSV, "Date", "time must be a column of the table, got 'Date'; did you mean date?"),
        (CSV, "zzzzz", "got 'zzzzz'; there are date, a, b"),
        ("date,a\n2020-01-01,1\nsoon,2\n", None, "times written like '2020-01-01', got 'soon' in row 1"),
        ("date,a\n2020-01-01,1\n,2\n", None, "column 'date' must have no empty cell, got one in row 1"),
        (
            "date,a\n2020-03-29T01:00+01:00,1\n2020-03-29T03:00+02:00,2\n",
            None,
            "column 'date' must have times of one time zone, got several; write them in UTC",
        ),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path, content, time, message):
    path = write(tmp_path / "x.csv", content)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as error:
        load_frame(path, time=time)
    assert str(path) in str(error.value)


def test_long_becomes_wide():
    long = pandas.DataFrame(
        {
            "day": ["2020-01-10", "2020-01-02", "2020-01-02", "2020-01-10", "2020-01-03"],
            "shop": [10, 2, 10, 2, 2],
            "sold": [1.0, 2, 3, np.nan, 5],
        }
    )
    table = wide(long, time="day", key="shop", value="sold")
    assert list(table.columns) == ["day", "10", "2"]  # as they first appear
    assert table["day"].tolist() == [pandas.Timestamp(f"2020-01-{day}") for day in ("02", "03", "10")]
    np.testing.assert_array_equal(table[["10", "2"]].to_numpy(), [[3, 2], [np.nan, 5], [1, np.nan]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": [1, 1, 1, 2]}, "one row for each 't' and 'k', got 1 too many, the first of a at 1 in row 2"),
        ({"t": [1, 1, 1, 1]}, "got 2 too many, the first of a at 1 in row 2"),
        ({"k": ["a", "b", None, "b"]}, "column 'k' must have no empty cell, got one in row 2"),
        ({"t": [1, None, 2, 2]}, "column 't' must have no empty cell, got one in row 1"),
        ({"v": ["1", "x", "2", "3"]}, "column 'v' must hold numbers, got 'x' in row 1"),
        ({"k": ["a", "t", "a", "t"]}, "key must name no series like the time column, got 't'"),
    ],
)
def test_long_that_cannot_be_wide_is_refused(change, message):
    long = {"t": [1, 1, 2, 2], "k": ["a", "b", "a", "b"], "v": [1.0, 2, 3, 4]}
    with pytest.raises(ValueError, match=message):
        wide(pandas.DataFrame(long | change), time="t", key="k", value="v")


def test_wide_names_a_column_that_is_not_there():
    with pytest.raises(ValueError, match=r"key must be a column of the table, got 'stor'; did you mean store\?"):
        wide(pandas.DataFrame({"t": [1], "store": [1], "v": [1]}), time="t", key="stor", value="v")


AT_HAND = [
    name for name, data_set in CATALOG.items() if data_set.task == "forecasting" and any(data_set.files.values())
]


@pytest.mark.parametrize("name", AT_HAND)
def test_the_catalogues_series(data_root, name):
    frame, data_set = load_frame(name), find(name)
    assert frame.shape == (data_set.rows, data_set.channels + 1)
    assert frame.columns[0] == "date"
    assert frame["date"].dtype.kind == "M"
    assert frame["date"].diff().mode()[0] == pandas.Timedelta(str(data_set.step))
    missing = int(frame.isna().to_numpy().sum())
    assert missing == (81 if name == "weather" else 0)
    assert frame.iloc[:, 1:].min().min() > -9999
    assert frame.attrs["notes"] == (["81 cells with the sentinel -9999 made missing"] if name == "weather" else [])


def test_the_raw_layout_gives_the_same_frame_as_the_benchmarks_file(data_root, empty_places, monkeypatch):
    monkeypatch.setenv("AAREN_DATA", data_root)
    expected = load_frame("exchange_rate")
    monkeypatch.setenv("AAREN_DATA", str(empty_places[0]))
    raw = empty_places[0] / "forecasting" / "exchange_rate.txt.gz"
    raw.parent.mkdir(parents=True)
    expected.iloc[:, 1:].to_csv(raw, header=False, index=False)
    frame = load_frame("exchange_rate")
    pandas.testing.assert_frame_equal(frame, expected, check_dtype=False)  # dates may be in other units
    assert frame.attrs["notes"] == ["dates made: from 1990-01-01 in steps of 1D"]


@pytest.mark.parametrize("name", ["electricity", "traffic"])
def test_sets_that_are_not_at_hand_can_be_read_at_their_size(empty_places, name):
    data_set = find(name)
    raw = empty_places[0] / "forecasting" / f"{name}.txt.gz"
    raw.parent.mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 10_000, size=(24, data_set.channels)) / 16
    day = "".join(",".join(f"{value:g}" for value in row) + "\n" for row in values)
    raw.write_bytes(gzip.compress((day * (data_set.rows // 24)).encode(), 1))
    frame = load_frame(name)
    assert frame.shape == (data_set.rows, data_set.channels + 1)
    assert (frame.columns[1], frame.columns[-1]) == ("0", "OT")
    assert str(frame["date"][1]) == "2016-07-01 03:00:00"
    np.testing.assert_allclose(frame.iloc[-24:, 1:].to_numpy(), values, rtol=1e-4)
    raw.write_bytes(gzip.compress((day * 3).encode()))
    with pytest.raises(ValueError, match=rf"{name} must have {data_set.rows} rows and .* channels, got 72 and"):
        load_frame(name)


# The parts of the six UEA sets that are not at hand, at their size. aeon reads about 3 million values a second, so of
# the largest set, FaceDetection (5,890 cases, 20 s), there is a tenth, and of PEMS-SF the test part.
@pytest.mark.parametrize(
    ("name", "split", "cases"),
    [
        ("EthanolConcentration", "test", 263),
        ("FaceDetection", "train", 589),
        ("Heartbeat", "train", 204),
        ("PEMS-SF", "test", 173),
        ("SelfRegulationSCP2", "train", 200),
        ("SpokenArabicDigits", "train", 6599),
    ],
)
def test_archived_sets_that_are_not_at_hand_can_be_read_at_their_size(empty_places, name, split, cases):
    data_set = find(name)
    unequal = name == "SpokenArabicDigits"  # from 4 steps on
    assert data_set.classes is not None
    values = np.random.default_rng(0).integers(-999, 999, size=(data_set.channels, data_set.rows)) / 100
    lengths = [4 + case % (data_set.rows - 3) if unequal else data_set.rows for case in range(cases)]
    text = {
        length: ":".join(",".join(f"{value}" for value in channel[:length]) for channel in values)
        for length in set(lengths)
    }
    head = f"@problemName {name}\n@timeStamps false\n@missing false\n@univariate false\n@dimensions {len(values)}\n"
    head += "@equalLength false\n" if unequal else f"@equalLength true\n@seriesLength {data_set.rows}\n"
    head += f"@classLabel true {' '.join(map(str, range(data_set.classes)))}\n@data\n"
    file = empty_places[0] / "classification" / name / f"{name}_{split.upper()}.ts"
    file.parent.mkdir(parents=True)
    with file.open("w") as opened:
        opened.write(head)
        opened.writelines(f"{text[length]}:{case % data_set.classes}\n" for case, length in enumerate(lengths))
    part = load_labelled(name, split)
    assert [case.shape for case in part.cases] == [(data_set.channels, length) for length in lengths]
    assert part.labels.astype(int).tolist() == [case % data_set.classes for case in range(cases)]
    np.testing.assert_allclose(part.cases[-1], values[:, : lengths[-1]], rtol=1e-6)
