import pytest

from aaren.bench import run_cells


def test_a_cell_that_fails_stops_the_comparison(tmp_path):
    (tmp_path / "result.json").write_text("no longer JSON")
    arguments = ["classify", "--layer", "nothing", "--data", "JapaneseVowels", "--out", str(tmp_path)]
    said = []
    with pytest.raises(ChildProcessError, match="cell must succeed, got exit status 2 from: aaren classify"):
        list(run_cells([(arguments, {}, tmp_path)], said.append))
    assert said == [f"cell 1 of 1: aaren {' '.join(arguments)}"]
