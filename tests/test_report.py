import io
from dataclasses import replace

import pytest
from rich.console import Console

from aaren.cli.forecast import FORECAST
from aaren.comparison import Comparison, Metric
from aaren.report import markdown, markdown_table, rich_table, size, spread, write_report

TOY = Comparison(
    "toy",
    rows=("data", "horizon"),
    column="layer",
    metrics=(Metric("mse", "error", digits=2), Metric("score", "score", higher_is_better=True, averaged=True)),
    fixed=("preset",),
)


def result(layer, seed, mse, **values):
    common = {"task": "toy", "data": "A", "horizon": 96, "preset": "small", "commit": "abc", "date": "2026-01-02T03:04"}
    return common | {"layer": layer, "seed": seed, "mse": mse, "score": 1 - mse} | values


RECORDS = [
    *(result("gru", seed, 0.5 + 0.1 * seed, parameters=1234, train_seconds=2.0 + seed) for seed in range(3)),
    *(result("aaren", seed, 0.3 + 0.1 * seed, peak_memory_bytes=3e6) for seed in range(3)),
    *(result("attention", seed, mse) for seed, mse in enumerate((0.3, 0.51, 0.45))),
    result("naive", None, 0.9, threads=2),
    *(result(layer, seed, 0.25, horizon=720) for layer in ("gru", "aaren", "attention") for seed in range(2)),
]


def rows_of(section):
    return {tuple(row[:2]): row[2:] for row in section.rows}


def test_numbers_as_people_read_them():
    assert spread([1.0, 2.0, 3.0]) == "2.000 ± 1.000"
    assert spread([0.25], digits=1) == "0.2"
    assert [size(n) for n in (17, 1_688, 10_320_000)] == ["17 B", "1.7 kB", "10.3 MB"]


@pytest.mark.parametrize(("least", "wanted"), [(0.0341, 4), (0.34, 3), (3.4, 2), (34.0, 1), (136_000.0, 0)])
def test_decimals_of_what_has_a_unit(least, wanted):
    free = Metric("rmse", "error", digits=None)
    assert free.decimals([0.0, 7 * least, least]) == wanted
    assert Metric("mse", "error").decimals([least]) == 3
    assert free.decimals([]) == free.decimals([0.0]) == 2


def test_what_has_a_unit_is_drawn(tmp_path):
    far = [result("aaren", 0, 0.5), result("gru", 0, 5.0)]  # written at the edge of the picture
    [section, _] = write_report(far, [replace(TOY, metrics=(Metric("mse", "error", digits=None),))], tmp_path)
    assert rows_of(section)["A", "96"] == ["**0.500**", "5.000"]
    assert (tmp_path / "toy-small-mse.png").exists()


def test_a_table_for_each_metric(tmp_path):
    error, score, _ = write_report(RECORDS, [TOY], tmp_path)
    assert error.title == "toy, preset small: error"
    assert rows_of(error)["data", "horizon"] == ["aaren", "attention", "gru", "naive"]
    assert rows_of(error)["A", "96"] == ["**0.40 ± 0.10**", "0.42 ± 0.11 †", "0.60 ± 0.10", "0.90"]
    quarter = "**0.25 ± 0.00 (n = 2)**"
    assert rows_of(error)["A", "720"] == [quarter, quarter, quarter, "–"]
    assert "lower is better" in error.note
    assert "(1 to 3 a cell)" in error.note
    assert rows_of(score)["A", "96"][0] == "**0.600 ± 0.100**"
    assert "higher is better" in score.note
    assert len(error.rows) == len(score.rows) == 3  # one complete row: nothing to sum up


def test_summaries_below_the_rows(tmp_path):
    known = [record for record in RECORDS if record["layer"] != "naive"]
    error, score, _ = write_report([*known, result("gru", 0, 0.1, data="B")], [TOY], tmp_path)
    label = "mean rank (2 of 3 rows)"
    assert rows_of(error)[label, ""] == ["**1.50**", "2.00", "2.50"]
    assert rows_of(error)["ratio to attention (2 of 3 rows)", ""] == ["**0.98**", "1.00", "1.20"]
    assert rows_of(error)["B", "96"] == ["–", "–", "0.10"]
    assert [row[0] for row in score.rows[-2:]] == ["mean (2 of 3 rows)", label]
    assert rows_of(score)["mean (2 of 3 rows)", ""][0] == "**0.675**"


def test_costs_are_medians_with_their_range(tmp_path):
    cost = write_report(RECORDS, [TOY], tmp_path)[-1]
    rows = {row[0]: row[1:] for row in cost.rows}
    assert rows["gru"][:3] == ["1,234", "3.0 (2.0 – 4.0)", "–"]
    assert rows["aaren"] == ["–", "–", "3.0 MB"]
    assert cost.rows[0] == ["layer", "parameters", "training time (s)", "memory of training"]  # no result has others


def test_files_and_provenance(tmp_path):
    newer = result("gru", 0, 0.7, date="2026-03-04T05:06", commit="def")
    sections = write_report([newer, *RECORDS, result("gru", 0, 0.5, preset="paper")], [TOY], tmp_path)
    assert len(sections) == 6  # presets are never mixed
    assert rows_of(sections[0])["A", "96"][2].startswith("0.67 ±")
    text = (tmp_path / "table.md").read_text()
    assert text == markdown(sections)
    assert "Made at commit abc, def; preset paper, small; 3 seeds; " in text
    assert "threads 2; 2026-01-02 to 2026-03-04. Left out: 1 older result of cells that have a newer one." in text
    assert "Left out" not in write_report(RECORDS, [TOY], tmp_path)[-1].note
    for name in ("toy-small-mse.png", "toy-small-score.png", "toy-paper-mse.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_streams_have_a_table_and_a_picture(tmp_path):
    streams = [
        {
            "task": "stream",
            "data": "A",
            "layer": layer,
            "readings": [
                {"tokens": tokens, "seconds": 0.1, "token_us": us, "state_bytes": 10 * us} for tokens in (7, 100)
            ],
        }
        for layer, us in (("aaren", 7.0), ("gru", 8.0))
    ]
    (section,) = write_report(streams, [TOY], tmp_path)
    assert section.rows == [
        ["", "aaren", "gru"],
        ["µs a token, after 100", "7", "8"],
        ["state, after 100 tokens", "70 B", "80 B"],
    ]
    assert (tmp_path / "streaming.png").read_bytes().startswith(b"\x89PNG")
    assert markdown_table(section.rows).splitlines()[:2] == ["|  | aaren | gru |", "| --- | ---: | ---: |"]
    write_report([*streams, streams[0] | {"data": "folder/B"}], [TOY], tmp_path)
    assert (tmp_path / "streaming-folder-B.png").exists()


def test_bold_reaches_the_terminal():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=60, color_system="standard")
    console.print(rich_table([["", "a"], ["x [1]", "**0.5** †"]], "title", "**Best** of"))
    shown = file.getvalue()
    assert "x [1]" in shown
    assert "\x1b[1m0.5\x1b[0m †" in shown
    assert "Best" in shown
    assert "**" not in shown


def test_what_cannot_be_reported(tmp_path):
    with pytest.raises(ValueError, match="results must hold at least one record"):
        write_report([], [TOY], tmp_path)
    with pytest.raises(ValueError, match="task of a result must be one of toy, stream, got 'forecast'"):
        write_report([result("gru", 0, 0.5, task="forecast")], [TOY], tmp_path)


def test_results_that_cannot_be_compared_stand_in_tables_of_their_own(tmp_path):
    records = [
        {"task": "forecast", "data": "ETTh1", "horizon": 96, "layer": layer, "target": target, "seed": 0, "mse": mse}
        for target, some in ((None, (0.4, 0.42)), (["OT", "HUFL"], (0.05, 0.06)))
        for layer, mse in zip(("aaren", "gru"), some, strict=True)
    ]
    sections = write_report(records, [FORECAST], tmp_path)
    assert [section.title for section in sections if "MSE" in section.title] == [
        "forecast: test MSE, every window",
        "forecast, target OT HUFL: test MSE, every window",
    ]
    assert "Left out" not in sections[-1].note
    assert (tmp_path / "forecast-OT_HUFL-mse.png").exists()


def test_a_baseline_stands_in_the_tables_of_all_values(tmp_path):
    both = [result("aaren", 0, mse, way=way) for way, mse in (("running", 0.3), ("window", 0.4))]
    comparison = replace(TOY, fixed=("way", "preset"), any_of="way")
    sections = write_report([*both, result("naive", None, 0.9, way=None)], [comparison], tmp_path)
    errors = [rows_of(section)["A", "96"] for section in sections if section.title.endswith(": error")]
    assert errors == [["**0.30**", "0.90"], ["**0.40**", "0.90"]]
    assert "Left out" not in sections[-1].note
    alone = write_report([result("naive", None, 0.9, way=None)], [comparison], tmp_path)
    assert alone[0].title == "toy, preset small: error"


def test_a_metric_that_only_baselines_have_in_a_table_makes_none(tmp_path):
    both = [result("aaren", 0, 0.3, way=way, score=score) for way, score in (("running", 0.5), ("window", None))]
    comparison = replace(TOY, fixed=("way", "preset"), any_of="way")
    naive = result("naive", None, 0.9, way=None)
    titles = [section.title for section in write_report([*both, naive], [comparison], tmp_path)]
    assert [title for title in titles if title.endswith("score")] == ["toy, way running, preset small: score"]


def test_marks_are_explained_where_they_are(tmp_path):
    def note(*records):
        return write_report(list(records), [TOY], tmp_path)[0].note

    one = [result("aaren", 0, 0.3), result("gru", 0, 0.4)]
    assert note(*one).endswith("**Best** of a row; too few runs for a test.")
    several = [result("aaren", seed, 0.3) for seed in range(4)]
    several += [result("gru", seed, 0.4 + 0.01 * seed**2) for seed in range(4)]
    assert "‡ too few runs for a test" in note(*several, result("lstm", 0, 0.4))
    assert "‡" not in note(*several)
    assert "† not told from it" in note(*several)
    assert "†" not in note(result("aaren", 0, 0.3))


def test_endless_streams(tmp_path):
    def along(*ratios):
        return [{"rows": rows, "stream": 0.5 * r, "windowed": 0.5} for rows, r in zip((100, 750), ratios, strict=False)]

    told = [result("aaren", seed, 0.3, along=along(1.0, 1.2 + 0.2 * seed)) for seed in range(2)]
    told += [result("gru", 0, 0.3, along=along(0.9)), result("naive", None, 0.9)]
    told += [result("gru", 0, 0.3, horizon=192, along=along(1.1))]
    section = write_report(told, [TOY], tmp_path)[2]
    assert section.title == "toy, preset small: error of an endless stream divided by that of windows"
    assert section.rows == [
        ["data", "horizon", "rows streamed", "aaren", "gru"],
        ["A", "96", "100", "1.000", "0.900"],
        ["A", "96", "750", "1.300", "–"],
        ["A", "192", "100", "–", "1.100"],
    ]
    assert (tmp_path / "toy-small-endless.png").read_bytes().startswith(b"\x89PNG")
