"""What all forecasters ask of their data."""

import warnings

import numpy as np
import pytest

from aaren.data.series import Roles
from aaren.tasks.forecasting import backtest_origins, check_channel, longest_run, read_training


def check(X, window):
    for number, channel in enumerate(X.T):
        check_channel(str(number), [channel], window)


def test_channels_from_which_nothing_is_learned():
    X = np.random.default_rng(0).normal(size=(50, 3))
    check(X, 10)
    bad = X.copy()
    bad[:, 1] = 0.1
    with pytest.raises(ValueError, match=r"channel '1' must vary in the training part, got 0\.1 in all rows"):
        check(bad, 10)
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match="channel '1' must vary"):
        check(bad, 10)
    bad[:, 1] = np.nan
    with pytest.raises(ValueError, match="channel '1' must have values in the training part, got none in 50 rows"):
        check(bad, 10)
    X[:, 2] = 1e6 + 1e-2 * X[:, 2]  # little, but not nothing
    check(X, 10)
    X[20:31, 2] = np.nan
    with pytest.warns(UserWarning, match="channel '2' is missing for 11 rows from row 20 on, longer than the 10 rows"):
        check(X, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(X, 11)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("", (0, 0)), ("000", (0, 0)), ("1", (1, 0)), ("0110111", (3, 4)), ("1101", (2, 0)), ("111", (3, 0))],
)
def test_longest_run(flags, expected):
    assert longest_run(np.array([flag == "1" for flag in flags], dtype=bool)) == expected


def test_a_channel_may_be_constant_in_one_series_of_several():
    series = [np.random.default_rng(0).normal(size=(50, 2)), np.zeros((30, 2))]
    series[1][:, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = read_training(series, Roles(), 0.2, 3, 8)
    assert training.lengths == [40, 24]
    assert [len(part) for part in training.parts] == [40, 24]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "X must have a series, got an empty list"),
        ([np.ones((50, 2)), np.ones((50, 3))], "all series must have the same columns"),
        (np.ones((5, 2)), "X must have more than 3 rows"),
    ],
)
def test_bad_series_are_told(X, message):
    with pytest.raises(ValueError, match=message):
        read_training(X, Roles(), 0.2, 3, 8)


@pytest.mark.unchecked
def test_a_stride_is_a_whole_number():
    with pytest.raises(ValueError, match=r"stride must be a whole number of at least 1, got 1\.5"):
        backtest_origins(100, None, 1.5, 3, 8)  # pyright: ignore[reportArgumentType]
