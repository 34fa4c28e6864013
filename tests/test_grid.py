"""Which results are best, and which cannot be told from the best, where the answer is obvious."""

import pytest

from aaren.comparison import Comparison, Metric
from aaren.grid import Grid, newest, p_value

ERROR = Metric("mse", "error")
SCORE = Metric("score", "score", higher_is_better=True, averaged=True)
TOY = Comparison("toy", rows=("data", "horizon"), column="layer", metrics=(ERROR, SCORE), fixed=("preset",))


def results(values, data="A", horizon=96, name="mse"):
    """A result for each layer and seed; None for a seed that is missing. `naive` has none."""
    return [
        {
            "task": "toy",
            "data": data,
            "horizon": horizon,
            "layer": layer,
            "preset": "small",
            "seed": None if layer == "naive" else seed,
            name: value,
        }
        for layer, runs in values.items()
        for seed, value in enumerate(runs)
        if value is not None
    ]


def verdict(values, metric=ERROR):
    grid = Grid(TOY, results(values, name=metric.name))
    best, alike, _ = grid.verdict(metric, ("A", 96))
    return sorted(best), sorted(alike)


def test_the_test_is_paired():
    # Seeds differ much more than layers do, but b is worse than a with every seed, and c is with every other.
    a = [1.0, 5.0, 9.0, 3.0]
    b = [1.11, 5.09, 9.10, 3.12]
    c = [1.13, 4.95, 9.14, 2.96]
    assert verdict({"a": a, "b": b, "c": c}) == (["a"], ["c"])
    assert verdict({"a": a, "b": b, "c": c}, SCORE) == (["b"], ["c"])
    p = p_value(dict(enumerate(a)), dict(enumerate(b)))
    assert p is not None
    assert p < 0.001


def test_only_equal_seeds_are_compared():
    assert p_value({0: 1.0, 1: 2.0, 2: 3.0, 4: 1.0}, {1: 2.5, 2: 3.5, 3: 0.0, 4: 1.5}) == 0.0  # 0.5 better, thrice
    assert p_value({0: 1.0, 1: 2.0}, {1: 2.5, 2: 3.5}) is None


def test_too_few_runs_are_not_tested():
    """One seed is finished of several, or two that happen to differ by the same."""
    assert p_value({0: 1.0, 1: 1.01, 2: 1.02}, {0: 1.05}) is None
    assert p_value({0: 1.0, 1: 2.0}, {0: 1.5, 1: 2.5}) is None
    records = results({"a": [1.0, 1.01, 1.02], "b": [1.05], "c": [2.0, 2.02, 2.05]})
    assert Grid(TOY, records).verdict(ERROR, ("A", 96)) == ({"a"}, set(), {"b"})


def test_with_one_seed_nothing_is_marked_but_the_best():
    assert verdict({"a": [1.0], "b": [1.0001]}) == (["a"], [])
    assert verdict({"a": [1.0], "b": [1.0]}) == (["a", "b"], [])
    assert verdict({"a": [1.0, 2.0]}) == ([], [])  # nothing to be better than


def test_a_single_run_of_a_baseline_is_compared_with_every_seed():
    assert verdict({"a": [1.0, 1.1, 0.9], "naive": [1.02]}) == (["a"], ["naive"])
    assert verdict({"a": [1.0, 1.1, 0.9], "naive": [2.0]}) == (["a"], [])
    assert verdict({"a": [1.0, 1.1, 0.9], "naive": [0.98]}) == (["naive"], ["a"])


def test_without_spread_results_are_compared_exactly():
    same = {"a": [1.0, 1.0], "b": [1.0 + 1e-15, 1.0 + 1e-15], "c": [1.0001, 1.0001]}
    assert verdict(same) == (["a"], ["b"])
    assert p_value({0: 0.0, 1: 0.0}, {0: 0.0, 1: 0.0}) == 1.0


def test_rows_and_columns_are_sorted_whatever_the_order_of_results():
    records = [
        *results({"gru": [1.0]}, horizon=720),
        *results({"aaren": [1.0]}, "B", 96),
        *results({"aaren": [2.0]}, horizon=96),
    ]
    grid = Grid(TOY, records)
    assert grid.rows == [("A", 96), ("A", 720), ("B", 96)]
    assert grid.columns == ["aaren", "gru"]
    assert grid.runs(ERROR, ("A", 96), "gru") == {}
    assert grid.complete_rows(ERROR) == []
    assert grid.summaries(ERROR) == {}


def test_summaries_are_over_complete_rows():
    records = [
        *results({"aaren": [1.0, 3.0], "attention": [4.0], "gru": [4.0]}),
        *results({"aaren": [8.0], "attention": [1.0], "gru": [2.0]}, horizon=192),
        *results({"aaren": [1000.0], "attention": [1.0]}, horizon=336),
    ]
    summaries = Grid(TOY, records).summaries(ERROR)
    assert list(summaries) == ["mean rank", "ratio to attention"]
    assert summaries["mean rank"] == {"aaren": 2.0, "attention": 1.75, "gru": 2.25}
    assert summaries["ratio to attention"] == pytest.approx({"aaren": 2.0, "attention": 1.0, "gru": 2**0.5})
    for record in records:
        record["score"] = record["mse"]
    summaries = Grid(TOY, records).summaries(SCORE)
    assert summaries == {
        "mean": {"aaren": 5.0, "attention": 2.5, "gru": 3.0},
        "mean rank": {"aaren": 2.0, "attention": 2.25, "gru": 1.75},
    }


def test_the_newest_of_a_cell_counts():
    first, second, other = results({"a": [1.0, 2.0]})[0], results({"a": [3.0]})[0], results({"a": [4.0]})[0]
    first["date"], second["date"], other["preset"] = "2026-01-02", "2026-01-01", "paper"
    assert newest([first, second, other], TOY.identity) == [first, other]
    second["date"] = "2026-01-02"  # made in the same second: the later line
    assert newest([first, second], TOY.identity) == [second]
