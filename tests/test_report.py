from aaren.report import comparison_rows, markdown_table, size, spread


def test_numbers_as_people_read_them():
    assert spread([1.0, 2.0, 3.0]) == "2.000 ± 1.000"
    assert spread([0.25], digits=1) == "0.2"
    assert [size(n) for n in (17, 1_688, 10_320_000)] == ["17 B", "1.7 kB", "10.3 MB"]


def test_a_row_for_each_quantity_and_a_column_for_each_layer():
    cells = [
        {"layer": layer, "accuracy": a, "parameters": 1234, "train_seconds": 2.0, "peak_memory_bytes": 3e6}
        for layer, a in (("gru", 0.5), ("aaren", 0.9), ("gru", 0.7))
    ]
    streams = [
        {"layer": layer, "readings": [{"tokens": 100, "token_us": us, "state_bytes": 10 * us}]}
        for layer, us in (("aaren", 7.0), ("gru", 8.0))
    ]
    rows = comparison_rows(cells, streams, [100])
    assert rows[0] == ["", "gru", "aaren"]
    table = {row[0]: row[1:] for row in rows}
    assert table["test accuracy"] == ["0.600 ± 0.141", "0.900"]
    assert table["parameters"] == ["1,234", "1,234"]
    assert table["µs a token, after 100"] == ["8", "7"]
    assert table["state, after 100 tokens"] == ["80 B", "70 B"]
    assert markdown_table(rows).splitlines()[:2] == ["|  | gru | aaren |", "| --- | ---: | ---: |"]
