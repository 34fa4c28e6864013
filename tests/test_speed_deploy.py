"""What `aaren bench --parts deploy` measures."""

import json
import shutil

import pytest

from aaren import speed_deploy
from aaren.cli import main
from aaren.speed_report import deploy_rows, figures_to_hold

pytestmark = [
    pytest.mark.unchecked,
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
    pytest.mark.filterwarnings("ignore"),  # ExecuTorch's packages warn of each other
]


def test_every_format_is_measured_and_tabulated(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_deploy, "STEPS", 20)
    monkeypatch.setattr(speed_deploy, "BLOCKS", 1)
    monkeypatch.setattr(speed_deploy, "alone", lambda function, *arguments: function(*arguments))
    command = "bench --parts deploy --seconds 0.01 --deploy-widths 64 --deploy-layers aaren --out"
    main([*command.split(), str(tmp_path)])
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [record["name"] for record in records] == list(speed_deploy.FORMATS)
    sizes = {record["name"]: record["file_bytes"] for record in records}
    assert sizes["onnx int8"] < 0.5 * sizes["onnx"]
    assert all(record["difference"] < 1e-5 and record["us"] > 0 for record in records)
    assert records[0]["folded"] < records[0]["parameters"]
    rows = deploy_rows(records)
    assert len(rows) == 1 + len(records)
    table = (tmp_path / "table.md").read_text()
    assert "| aaren | 64 | c int8 |" in table
    told = [row[0] for row in figures_to_hold(records)]
    assert "one token, 4 blocks of width 64, ONNX" in told
    assert "the same in C, against ONNX" in told
    assert "outputs after 10,000 carried steps, against PyTorch: worst" in told
