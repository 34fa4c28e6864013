from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest

from aaren.data.calendar import calendar, cycles_of
from aaren.data.series import Kind, Roles, coming_rows, read_series

DAYS = pandas.date_range("2024-01-01", periods=6, freq="D")


def frame(**more):
    return pandas.DataFrame({"when": DAYS, "a": np.arange(6.0), "b": np.arange(6) ** 2, **more})


def test_arrays():
    X = np.array([[1.0, np.nan], [2.0, 3.0]])
    series = read_series(X)
    np.testing.assert_array_equal(series.values, X)
    assert series.names == ("0", "1")
    assert (series.step, series.dated, series.regular) == (1.0, False, True)
    np.testing.assert_array_equal(series.times, [0, 1])
    np.testing.assert_array_equal(series.elapsed, [1, 1])
    np.testing.assert_array_equal(series.following(2), [2, 3])
    assert read_series([1, 2, 3]).values.shape == (3, 1)
    assert read_series(np.ones(3, dtype=np.float32)).values.dtype == np.float64


def test_roles_of_columns():
    table = frame(promo=True, weather=[1, np.nan, 3, 4, 5, 6])
    series = read_series(table, Roles(time="when", target=["b", "a"], known=["promo"]))
    assert series.names == ("b", "a")
    np.testing.assert_array_equal(series.values, table[["b", "a"]])
    np.testing.assert_array_equal(series.known, np.ones((6, 1)))
    assert series.past_names == ("weather",)
    np.testing.assert_array_equal(series.past, table[["weather"]])
    assert read_series(table, Roles(time="when", target="a")).names == ("a",)
    everything = read_series(table, Roles(time="when", known=["promo"]))
    assert everything.names == ("a", "b", "weather")
    assert everything.past.shape == (6, 0)


def test_a_slice_keeps_everything():
    table = frame(promo=1.0, weather=2.0)
    series = read_series(table, Roles(time="when", target="a", known=["promo"]))[2:5]
    assert len(series) == 3
    np.testing.assert_array_equal(series.values[:, 0], [2, 3, 4])
    assert (series.names, series.past_names, series.step, series.dated) == (("a",), ("b", "weather"), 86400.0, True)
    assert len(series.past) == len(series.known) == len(series.times) == 3
    np.testing.assert_array_equal(series.elapsed, [1, 1, 1])


@pytest.mark.parametrize(
    ("times", "hours"),
    [
        (DAYS, 0),
        (DAYS.strftime("%Y-%m-%d"), 0),
        (DAYS.tz_localize("Asia/Tokyo"), 0),
        (DAYS.astype("datetime64[s]"), 0),
        (DAYS.strftime("%d %b %Y at 3pm"), 15),  # which pandas reads one by one, with a warning
    ],
    ids=["dates", "text", "zone", "seconds", "odd text"],
)
def test_kinds_of_dates(times, hours):
    series = read_series(frame(when=times), Roles(time="when"))
    assert series.dated
    assert (series.step, series.regular) == (86400.0, True)
    expected = (DAYS + pandas.Timedelta(hours=hours)).tz_localize(getattr(times, "tz", None))
    pandas.testing.assert_index_equal(series.labels(), expected, exact=False)
    after = (DAYS[-2:] + pandas.Timedelta(days=2, hours=hours)).tz_localize(getattr(times, "tz", None))
    pandas.testing.assert_index_equal(series.following(2), after, exact=False)
    assert series.times[0] == expected[0].timestamp()


@pytest.mark.parametrize(
    "dates",
    [
        pandas.date_range("2020-01-01", periods=24, freq="MS"),
        pandas.date_range("2020-01-31", periods=24, freq="ME"),
        pandas.date_range("2020-01-01", periods=24, freq="QS"),
        pandas.bdate_range("2020-01-01", periods=24),
        pandas.date_range("2024-03-20", periods=24, freq="D", tz="Europe/Berlin"),  # one day has 23 hours
    ],
    ids=["months", "ends of months", "quarters", "working days", "summer time"],
)
def test_dates_go_on_by_the_calendar(dates):
    series = read_series(pandas.DataFrame({"a": np.arange(20.0)}, index=dates[:20]))
    assert not series.regular
    pandas.testing.assert_index_equal(series.following(4), dates[20:], exact=False, check_names=False)


def test_dates_in_the_index():
    series = read_series(frame().set_index("when"))
    assert series.dated
    np.testing.assert_array_equal(series.labels(), DAYS.to_numpy())
    zone = read_series(frame().set_index(DAYS.tz_localize("UTC")).drop(columns="when"))
    np.testing.assert_array_equal(zone.times, series.times)
    periods = read_series(frame().drop(columns="when").set_index(DAYS.to_period("D")))
    np.testing.assert_array_equal(periods.times, series.times)
    column = read_series(frame().set_index("when")["a"])
    assert (column.names, column.dated) == (("a",), True)
    numbered = read_series(frame().drop(columns="when").set_index(np.arange(100, 106)))
    assert not numbered.dated


def test_numbers_as_times():
    series = read_series(frame(when=[0, 2, 4, 7, 8, 10]), Roles(time="when"))
    assert (series.step, series.dated, series.regular) == (2.0, False, False)
    np.testing.assert_array_equal(series.elapsed, [1, 1, 1, 1.5, 0.5, 1])
    np.testing.assert_array_equal(series.following(2), [12, 14])


def test_fractions_of_a_second():
    index = pandas.date_range("2024-01-01", periods=2000, freq="1ms")
    series = read_series(pandas.DataFrame({"a": np.arange(2000.0)}, index=index))
    assert series.regular
    np.testing.assert_array_equal(series.following(3), pandas.date_range("2024-01-01 00:00:02", periods=3, freq="1ms"))


def test_a_table_may_be_numbered():
    X = pandas.DataFrame(np.arange(6.0).reshape(3, 2))
    assert read_series(X).names == ("0", "1")
    assert read_series(X, Roles(target="1")).past_names == ("0",)


def test_kinds_of_numbers():
    table = pandas.DataFrame(
        {
            "flag": [True, False, True],
            "nullable": pandas.array([1, None, 3], dtype="Int64"),
            "text": ["1", None, "2.5"],
            "category": pandas.Categorical([3, 2, 1]),
        }
    )
    expected = [[1, 1, 1, 3], [0, np.nan, np.nan, 2], [1, 3, 2.5, 1]]
    np.testing.assert_array_equal(read_series(table).values, expected)


@pytest.mark.parametrize("freq", ["1D", "D", "24h"])
def test_rows_that_are_left_out_are_filled_in(freq):
    table = frame(weather=1.0).drop(index=[1, 4])
    series = read_series(table, Roles(time="when", target=["a", "b"], freq=freq))
    expected = frame()[["a", "b"]].to_numpy().astype(float)
    expected[[1, 4]] = np.nan
    np.testing.assert_array_equal(series.values, expected)
    np.testing.assert_array_equal(series.labels(), DAYS.to_numpy())
    np.testing.assert_array_equal(np.isnan(series.past[:, 0]), np.isnan(expected[:, 0]))
    assert (series.step, series.regular) == (86400.0, True)
    assert not read_series(table, Roles(time="when")).regular
    numbered = read_series(table.assign(when=[0, 4, 6, 10]), Roles(time="when", freq="2"))
    np.testing.assert_array_equal(numbered.times, [0, 2, 4, 6, 8, 10])


def swapped(table, i, j):
    rows = list(range(len(table)))
    rows[i], rows[j] = rows[j], rows[i]
    return table.iloc[rows]


TIMED = Roles(time="when")


@pytest.mark.parametrize(
    ("X", "roles", "message"),
    [
        (np.ones((3, 2)), TIMED, r"X must be a DataFrame where columns have roles \(Roles\(.*\), got ndarray"),
        ([[1, 2], [3]], Roles(), "X must hold numbers, got list with something else"),
        ([["a"]], Roles(), "X must hold numbers, got list with something else"),
        (np.ones((2, 2, 2)), Roles(), r"X must have shape \(time, channels\), neither 0, got \(2, 2, 2\)"),
        (np.ones((0, 2)), Roles(), r"neither 0, got \(0, 2\)"),
        ([[1, 2], [3, -np.inf]], Roles(), r"X must be finite or NaN \(missing\), got -inf in row 1, channel 1"),
        (frame().iloc[:0], TIMED, "X must have rows, got none"),
        (frame(), Roles(time="When"), "columns must contain 'When', got when, a, b; did you mean when"),
        (frame(), Roles(time="when", target="c"), "columns must contain 'c', got when, a, b"),
        (frame(), Roles(time="when", known=["z"]), "columns must contain 'z'"),
        (frame(), Roles(time="when", target="a", known=["a"]), "a column must have one role .*, got 'a' twice"),
        (frame(), Roles(time="when", target=["when", "a"]), "a column must have one role .*, got 'when' twice"),
        (frame(), Roles(time="when", known=["when"]), "a column must have one role .*, got 'when' twice"),
        (frame(), Roles(time="when", target=["a", "a"]), "a column must have one role .*, got 'a' twice"),
        (frame(), Roles(time="when", known="a"), "known must be a list of columns, got 'a'"),
        (frame().rename(columns={"b": "a"}), TIMED, "columns must have different names, got several called 'a'"),
        (frame().rename(columns={"a": 1, "b": "1"}), TIMED, "different names, got several called '1'"),
        (frame(), Roles(time="when", known=["a", "b"]), "X must have a column to forecast, got none beside"),
        (
            frame(a=["1", "2", "three", "4", "5", "6"]),
            TIMED,
            r"column 'a' must hold finite numbers, got 'three' in row 2$",
        ),
        (frame(a=[1, 2, 3, np.inf, 5, 6]), TIMED, "column 'a' must hold finite numbers, got inf in row 3"),
        (
            frame(when=DAYS.astype(str)),
            Roles(),
            "column 'when' must hold finite numbers, got '2024-01-01.*' in row 0; if it is the time, name it with "
            "time='when'",
        ),
        (
            frame(),
            Roles(),
            r"column 'when' must hold finite numbers, got 2024-01-01 00:00:00 in row 0; .* name it with time='when'",
        ),
        (frame(), Roles(time="a"), r"column 'when' must hold finite numbers, got 2024-01-01 00:00:00 in row 0$"),
        (frame(a=[1j] * 6), TIMED, "column 'a' must hold finite numbers, got .*1j"),
        (frame(when=["x"] * 6), TIMED, "time column 'when' must hold dates or numbers, got .*x"),
        (frame(when=[*DAYS[:5], None]), TIMED, "times must be neither missing nor infinite, got NaT in row 5"),
        (frame(when=[0, 1, np.nan, 3, 4, 5]), TIMED, "times must be neither missing nor infinite, got nan in row 2"),
        (frame(when=[0, 1, 2, 3, 4, np.inf]), TIMED, "times must be neither missing nor infinite, got inf in row 5"),
        (
            frame(when=DAYS[[0, 1, 1, 2, 3, 3]]),
            TIMED,
            "times must differ from row to row, got 2 duplicated, the first 2024-01-02 00:00:00 in row 2; .*wide",
        ),
        (
            swapped(frame(), 2, 3),
            TIMED,
            "times must be sorted, got 2024-01-03 00:00:00 after 2024-01-04 00:00:00 in row 3; sort by column 'when'",
        ),
        (swapped(frame().set_index("when"), 0, 5), Roles(), "in row 1; sort by the index first"),
        (frame(when=[5, 4, 3, 2, 1, 0]), TIMED, "times must be sorted, got 4.0 after 5.0 in row 1"),
        (
            frame(),
            Roles(time="when", freq="2D"),
            "times must be multiples of freq '2D' apart, got another in row 1; usual distance: 1 days 00:00:00",
        ),
        (frame(), Roles(time="when", freq="1min"), "freq must be about the distance of rows, got '1min', with 7,201"),
        (frame(), Roles(time="when", freq="often"), "freq must be a distance of times such as .*, got 'often'$"),
        (frame(), Roles(time="when", freq="0h"), "freq must be a distance of times such as .*, got '0h'"),
        (
            frame(when=range(6)),
            Roles(time="when", freq="1h"),
            "freq must be .*, got '1h'; without dates it is a number",
        ),
        (frame(p=[1, 2, None, 4, 5, 6]), Roles(time="when", known=["p"]), "no missing values, got some in 'p'"),
        (
            frame(p=1.0).drop(index=2),
            Roles(time="when", known=["p"], freq="1D"),
            "known columns must have no missing values, nor rows left out, got some in 'p'",
        ),
    ],
)
def test_bad_input_is_told(X, roles, message):
    with pytest.raises(ValueError, match=message) as error:
        read_series(X, roles)
    assert "\n" not in str(error.value)


def test_days_and_months_are_not_mixed_up():
    def days(dates):
        return read_series(pandas.DataFrame({"when": dates, "a": 1.0}), Roles(time="when")).times / 86400

    european, american = ["13/01/2020", "14/01/2020"], ["01/31/2020", "02/01/2020"]
    assert days(european).tolist() == [18274, 18275]
    assert days(american).tolist() == [18292, 18293]
    assert days(["01/12/2020", "01/13/2020"])[0] == 18273  # as the second has no month 13
    assert days(["2020-01-12", "2020-02-01"]).tolist() == [18273, 18293]
    with pytest.raises(
        ValueError, match="'01/02/2020', whose first number may be the day or the month; write dates as"
    ):
        days(["01/02/2020", "02/02/2020"])


def test_one_row_off_the_grid_of_many():
    times = pandas.date_range("2020-01-01", periods=60_000, freq="h").to_series().reset_index(drop=True)
    times.iloc[-2] += pandas.Timedelta("20min")
    table = pandas.DataFrame({"when": times, "a": 1.0})
    with pytest.raises(ValueError, match="times must be multiples of freq '1h' apart, got another in row 59998"):
        read_series(table, Roles(time="when", freq="1h"))


def test_other_columns_than_the_model_has():
    table = frame(weather=1.0)
    roles = Roles(time="when", target=["a", "b"])
    kind = Kind(("a", "b"), ("weather",), dated=True, step=3600.0)
    assert read_series(table, roles, kind).kind == kind
    for other, message in (
        ({"names": ("b", "a")}, "X must have the channels b, a, got a, b"),
        ({"past_names": ()}, "beside the channels and known ones: none, got weather"),
        ({"dated": False}, "X must have no dates, as in fit, got some"),
    ):
        with pytest.raises(ValueError, match=message):
            read_series(table, roles, replace(kind, **other))
    with pytest.raises(ValueError, match="X must have dates, in a column or as index, as in fit, got none"):
        read_series(np.ones((3, 2)), kind=Kind(("0", "1"), (), dated=True, step=1.0))


def test_phases_of_the_calendar_are_those_of_pandas():
    dates: Any = pandas.date_range("1999-01-03 07:13", periods=20_000, freq="11h")
    series = read_series(pandas.DataFrame({"a": np.arange(20_000.0)}, index=dates))
    waves = calendar(series.times, ("day", "week", "year"))
    assert waves.shape == (20_000, 6)
    phase = np.arctan2(waves[:, ::2], waves[:, 1::2]) / (2 * np.pi) % 1
    hour = (dates - dates.normalize()) / pandas.Timedelta("1D")
    week = (dates.dayofweek + hour) / 7
    year = (dates.dayofyear - 1 + hour) / 365.2425
    np.testing.assert_allclose(phase[:, 0], hour, atol=1e-6)
    np.testing.assert_allclose(phase[:, 1], week, atol=1e-6)
    # A year of the mean length begins four days after the calendar's (at the first Monday of 1970), give or take one.
    shift = (year - phase[:, 2]) % 1
    assert abs(shift - 4 / 365.2425).max() < 1.6 / 365.2425
    assert calendar(series.times, ()).shape == (20_000, 0)


@pytest.mark.parametrize(
    ("periods", "freq", "expected"),
    [
        (49, "1h", ("day",)),
        (48, "1h", ()),  # 47 hours
        (400, "1h", ("day", "week")),
        (100, "12h", ("week",)),
        (100, "11h", ("day", "week")),
        (800, "1D", ("week", "year")),
        (200, "7D", ("year",)),
        (30, "365D", ()),
    ],
)
def test_cycles_that_a_series_shows(periods, freq, expected):
    index = pandas.date_range("2000-01-01", periods=periods, freq=freq)
    assert cycles_of(read_series(pandas.DataFrame({"a": 1.0}, index=index))) == expected
    assert cycles_of(read_series(np.arange(periods))) == ()


def test_coming_rows():
    future = pandas.DataFrame({"b": [1.0, 2.0], "x": 0.0, "a": [3.0, 4.0]})
    np.testing.assert_array_equal(coming_rows(future, 2, ["a", "b"]), [[3, 1], [4, 2]])
    np.testing.assert_array_equal(coming_rows([[True], [False]], 2, ["a"]), [[1], [0]])
    assert coming_rows(None, 2, ()) is None
    for given, message in (
        (None, "future must have 2 rows of the known columns a, b, got none"),
        (future[["a"]], "future must have the known columns a, b, got none called 'b'"),
        (future.iloc[:1], r"future must have shape \(2, 2\), got \(1, 2\)"),
        ([1.0, 2.0], r"future must have shape \(2, 2\), got \(2,\)"),
        (future.assign(a=np.nan), "future must be finite, got missing or infinite values"),
        ([["x", "y"]] * 2, "future must hold numbers, got list with something else"),
    ):
        with pytest.raises(ValueError, match=message):
            coming_rows(given, 2, ["a", "b"])
    with pytest.raises(ValueError, match="future must be None for a model without known columns, got values"):
        coming_rows(future, 2, ())
