from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch

from aaren.data.calendar import calendar
from aaren.data.rows import Layout, Rows
from aaren.data.series import Roles, read_series
from aaren.data.windows import Stretch, chunks, collate, training_stretches, validation_stretches

HORIZON = 4
LAYOUT = Layout(
    HORIZON,
    cycles=("day", "week"),
    irregular=True,
    values=((1.0, 4.0), (-2.0, 0.5)),
    past=((1.0, 2.0), (0.0, 1.0)),
    known=((10.0, 5.0),),
    static=((3.0, 0.5), (0.0, 1.0)),
)
STATIC = np.array([4.0, -1.0])


def make_frame(rows=30, seed=0):
    random = np.random.default_rng(seed)
    times = pandas.Timestamp("2024-02-27") + pandas.to_timedelta(
        np.cumsum(random.integers(1, 4, rows)) * 30, unit="min"
    )
    table = pandas.DataFrame(random.normal(size=(rows, 5)), columns=["a", "b", "p", "q", "k"], index=times)
    for column in ("a", "b", "p", "q"):
        table.loc[random.random(rows) < 0.4, column] = np.nan
    table.iloc[:2, 2] = np.nan
    return table


def make_rows(table, layout=LAYOUT, coming=None):
    series = read_series(table, Roles(target=["a", "b"], known=["k"]))
    return Rows(replace(series, step=3600.0), layout, STATIC, coming)


def test_a_row_column_by_column():
    table, coming = make_frame(), np.arange(4.0)[:, None]
    x = make_rows(table, coming=coming).x(0, 30)
    assert x.dtype == np.float32
    assert x.shape == (30, 2 * 2 + LAYOUT.covariates + HORIZON * LAYOUT.future)
    columns = iter(x.T)
    times = table.index.astype("datetime64[s]").astype(np.int64).to_numpy().astype(float)

    def check(expected):
        np.testing.assert_allclose(next(columns), expected, rtol=1e-5, atol=1e-5)

    check(((table["a"] - 1.0) / 4.0).fillna(0.0))
    check(((table["b"] + 2.0) / 0.5).fillna(0.0))
    check(table["a"].notna())
    check(table["b"].notna())
    for wave in calendar(times, ("day", "week")).T:
        check(wave)
    check((table["p"].ffill().fillna(1.0) - 1.0) / 2.0)
    check(table["q"].ffill().fillna(0.0))
    check((table["k"] - 10.0) / 5.0)
    check(2.0)
    check(-1.0)
    steps = np.diff(times, prepend=times[0] - 3600) / 3600
    check(np.log(steps))
    known = np.concatenate([table["k"], coming[:, 0]])
    for step in range(1, HORIZON + 1):
        check((known[step : step + 30] - 10.0) / 5.0)
    assert next(columns, None) is None


def test_the_first_row_is_one_step_after_nothing():
    rows = make_rows(make_frame())
    assert rows.elapsed[0] == 1.0
    times = make_frame().index
    np.testing.assert_allclose(rows.elapsed[1:], np.diff(times) / np.timedelta64(1, "h"), rtol=1e-6)


def test_pieces_of_rows():
    rows = make_rows(make_frame(), coming=np.zeros((4, 1)))
    np.testing.assert_array_equal(np.concatenate([rows.x(0, 7), rows.x(7, 30)]), rows.x(0, 30))
    plain = Rows(read_series(np.ones((30, 2))), Layout(HORIZON, (), False, ((0.0, 1.0),) * 2), np.empty(0))
    assert plain.x(3, 9).shape == (6, 4)


def test_targets_are_the_rows_after_the_origin():
    table = make_frame()
    rows = make_rows(table)
    origins = np.array([0, 7, 25])
    target, observed = rows.target(origins)
    assert target.dtype == np.float32
    for i, t in enumerate(origins):
        for step in range(HORIZON):
            expected = (table[["a", "b"]].iloc[t + 1 + step].to_numpy() - [1.0, -2.0]) / [4.0, 0.5]
            np.testing.assert_array_equal(observed[i, step], ~np.isnan(expected))
            np.testing.assert_array_equal(target[i, step], np.nan_to_num(expected).astype(np.float32))


def test_nothing_after_an_origin_changes_its_input():
    """But what is known beforehand."""
    table = make_frame()
    for t in (0, 5, 20):
        other = table.copy()
        other.iloc[t + 1 :, :4] = 100 * np.random.default_rng(t).normal(size=(29 - t, 4))
        a, b = (make_rows(some).x(0, 26)[: t + 1] for some in (table, other))
        np.testing.assert_array_equal(a, b)
    layout = replace(LAYOUT, irregular=False, known=())
    for t in (0, 5, 20):
        series = read_series(table.drop(columns="k"), Roles(target=["a", "b"]))
        whole, part = (Rows(some, layout, STATIC) for some in (series, series[: t + 1]))
        np.testing.assert_array_equal(whole.x(0, t + 1), part.x(0, t + 1))
        np.testing.assert_array_equal(whole.elapsed[: t + 1], part.elapsed)


def test_a_batch_is_padded_at_the_end():
    tables = [make_frame(), make_frame(12, seed=1)]
    rows = [make_rows(table) for table in tables]
    stretches = [Stretch(0, 5, 20, np.array([7, 19])), Stretch(1, 0, 8, np.array([2, 2]))]
    batch = collate(rows, stretches).to(torch.device("cpu"))
    assert batch.x.shape == (2, 15, rows[0].x(0, 1).shape[1])
    assert batch.padding_mask is not None
    np.testing.assert_array_equal(batch.padding_mask, np.arange(15) >= np.array([[15], [8]]))
    np.testing.assert_array_equal(batch.x[0], rows[0].x(5, 20))
    np.testing.assert_array_equal(batch.x[1, :8], rows[1].x(0, 8))
    assert not batch.x[1, 8:].any()
    np.testing.assert_array_equal(batch.elapsed[0], rows[0].elapsed[5:20])
    np.testing.assert_array_equal(batch.at, [[2, 14], [2, 2]])
    for i, stretch in enumerate(stretches):
        target, observed = rows[i].target(stretch.origins)
        np.testing.assert_array_equal(batch.target[i], target)
        np.testing.assert_array_equal(batch.observed[i], observed)
    assert collate(rows, stretches[:1]).padding_mask is None


@pytest.mark.parametrize("origins", [1, 8])
@pytest.mark.parametrize("lengths", [[100], [100, 12, 30], [7]])
def test_training_stretches_stay_within_the_training_part(origins, lengths):
    for seed in range(20):
        some = training_stretches(lengths, 5, 20, origins, 16, np.random.default_rng(seed))
        assert len(some) == 16
        for stretch in some:
            assert 0 <= stretch.begin < stretch.end <= lengths[stretch.series] - 5  # so all targets lie before its end
            assert stretch.end - stretch.begin <= 20
            assert len(stretch.origins) == origins
            assert (np.diff(stretch.origins) >= 0).all()
            assert stretch.begin <= stretch.origins[0]
            assert stretch.origins[-1] < stretch.end
            if origins == 1:
                assert stretch.origins[0] == stretch.end - 1
            elif stretch.end - stretch.begin >= origins:
                assert len(set(stretch.origins)) == origins


def test_training_stretches_are_spread_evenly():
    some = training_stretches([100, 50], 5, 20, 8, 20_000, np.random.default_rng(0))
    share = np.mean([stretch.series == 0 for stretch in some])
    assert share == pytest.approx(95 / 140, abs=0.02)
    ends = np.bincount([stretch.end for stretch in some if stretch.series == 0], minlength=96)
    assert not ends[:20].any()
    assert (abs(ends[20:96] / ends.sum() * 76 - 1) < 0.35).all()  # of 76 places, each met about 180 times
    places = np.bincount([t - stretch.begin for stretch in some for t in stretch.origins], minlength=20)
    assert (abs(places / places.sum() * 20 - 1) < 0.05).all()


def test_windows_are_of_all_lengths_every_fourth_time():
    random = np.random.default_rng(0)
    sizes = []
    for _ in range(2000):
        some = training_stretches([100], 5, 20, 1, 3, random)
        assert len({stretch.end - stretch.begin for stretch in some}) == 1
        sizes.append(some[0].end - some[0].begin)
    count = np.bincount(sizes, minlength=21)
    assert count[20] / 2000 == pytest.approx(0.75 + 0.25 / 20, abs=0.04)
    assert (count[1:20] > 0).all()


@pytest.mark.parametrize("origins", [1, 8])
@pytest.mark.parametrize("count", [2, 24, 256])
@pytest.mark.parametrize(
    ("lengths", "starts"), [([100], [80]), ([100, 40], [50, 34]), ([11], [6]), ([60] * 40, [40] * 40)]
)
def test_validation_stretches_forecast_rows_of_the_validation_part(origins, count, lengths, starts):
    some = validation_stretches(lengths, starts, 5, 20, origins, count)
    met = {i: set() for i in range(len(lengths))}
    for stretch in some:
        assert 0 <= stretch.begin < stretch.end
        assert stretch.end - stretch.begin <= 20
        assert len(stretch.origins) == origins
        assert stretch.begin <= stretch.origins.min()
        assert stretch.origins.max() < stretch.end
        assert stretch.origins.min() + 1 >= starts[stretch.series]
        assert stretch.origins.max() + 5 < lengths[stretch.series]
        met[stretch.series] |= set(stretch.origins.tolist())
    for i, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        assert length - 6 in met[i]  # the last forecast that can be judged
        assert start - 1 in met[i] or count < 24 or origins == 1  # and the first
    assert len(some) <= max(count, len(lengths))


@pytest.mark.parametrize(("length", "start", "size"), [(3000, 1000, 100), (160, 130, 40), (300, 100, 150)])
def test_rows_of_the_validation_part_count_about_equally(length, start, size):
    some = validation_stretches([length], [start], 5, size, 16, 24)
    origins = np.concatenate([stretch.origins for stretch in some])
    quarters, _ = np.histogram(origins, bins=4, range=(start - 1, length - 6))
    assert quarters.max() < 0.45 * len(origins)
    assert quarters.min() > 0.1 * len(origins)


def test_chunks():
    origins = np.array([3, 4, 9, 10, 24])
    parts = list(chunks(2, 25, origins, 8))
    assert [(begin, end) for begin, end, _ in parts] == [(2, 10), (10, 18), (18, 25)]
    np.testing.assert_array_equal(np.concatenate([some for _, _, some in parts]), origins)
    for begin, end, some in parts:
        assert ((some >= begin) & (some < end)).all()
    assert list(chunks(3, 3, origins, 8)) == []
