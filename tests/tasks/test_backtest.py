"""What backtests add up."""

import numpy as np
import pytest

from aaren.tasks.backtest import Tally, along


def backtest(squared):
    tally = Tally()
    tally.add(np.sqrt(np.asarray(squared, dtype=float))[:, None, None], np.ones((len(squared), 1, 1), dtype=bool))
    return tally.result(np.arange(9, 9 + len(squared)))


def test_along_looks_at_the_second_half_of_each_stretch():
    squared = np.arange(200.0)  # after 10, 11, ..., 209 rows
    told = along(backtest(squared), backtest(squared + 100), (5, 20, 100, 1_000))
    assert [point["rows"] for point in told] == [20, 100, 209]
    for point, (first, last) in zip(told, ((11, 20), (51, 100), (105, 209)), strict=True):
        expected = np.mean(np.arange(first, last + 1) - 10)
        assert point["stream"] == pytest.approx(expected)
        assert point["windowed"] == pytest.approx(expected + 100)


def test_along_leaves_out_where_nothing_was_observed():
    tally = Tally()
    observed = np.ones((10, 2, 1), dtype=bool)
    observed[2:5] = False
    tally.add(np.ones((10, 2, 1)), observed)
    errors = tally.result(np.arange(10))
    assert [told["rows"] for told in along(errors, errors, [2, 5, 8])] == [2, 8, 10]  # rows 3 to 5 had none
