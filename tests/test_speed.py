import json
import time

import pytest
import torch
from torch import nn

from aaren import speed
from aaren.cli import main
from aaren.layers.block import Block
from aaren.speed_report import exponent, exponents, figures_to_hold, layer_rows, linearity, of, pictures, tables
from aaren.testing import ALL, check_sequence_layer


def test_a_race_is_run_turn_by_turn():
    order = []
    runners: speed.Race = {
        "slow": lambda: order.append("slow") or time.sleep(0.006),
        "base": lambda: order.append("base") or time.sleep(0.002),
    }
    slow, base = speed.race(runners, 0.0, "base")
    assert order == ["slow", "base"] * 4  # one to warm up, three turns
    assert (slow["name"], slow["turns"], base["ratio"]) == ("slow", 3, 1.0)
    assert 1.5 < slow["ratio"] < 6
    assert slow["ms_quartiles"][0] <= slow["ms"] <= slow["ms_quartiles"][1]


def test_no_mixer_is_the_layer_without_what_mixes():
    check_sequence_layer(speed.NoMixer(12), laws=[law for law in ALL if law not in ("tools", "precision", "rows")])
    count = {name: sum(p.numel() for p in speed.make_block(name, 64).parameters()) for name in ("no mixer", "aaren")}
    assert count["aaren"] - count["no mixer"] == 2 * (64 * 64 + 64) + 64  # query and key projections, query token
    x = torch.randn(1, 5, 64)
    y = speed.make_block("no mixer", 64).eval()
    assert torch.allclose(y(x)[0][:, 3:], y(x[:, 3:])[0], atol=1e-6)


def test_scans_that_race_compute_the_same():
    scores, values = torch.randn(2, 40, 3), torch.randn(2, 40, 3, 4)
    expected = speed._scan("reference", scores, values)
    torch.testing.assert_close(speed._usual(scores, values), expected, rtol=1e-4, atol=1e-4)
    x = torch.randn(2, 9, 64)
    ours, theirs = Block(64, 4, 256, layer="attention", dropout=0.0), speed._PyTorchLayer(64, 9)
    assert isinstance(theirs, nn.Module)
    early, late = theirs(x), theirs(torch.cat([x[:, :5], torch.randn(2, 4, 64)], dim=1))
    torch.testing.assert_close(early[:, :5], late[:, :5])  # causal
    assert ours(x)[0].shape == early.shape


def test_fits():
    x = [1.0, 2.0, 5.0, 10.0]
    assert exponent(x, [3 * v**2 for v in x]) == pytest.approx(2)
    assert linearity(x, [3 * v + 1 for v in x]) == pytest.approx(1)
    assert linearity(x, [v**3 for v in x]) < 0.95


def record(**values):
    return {"turns": 3, "ms": 2.0, "ratio": 1.0, **values}


RECORDS = [
    record(part="scan", shape=[4, 4096, 8, 64], mode="forward", name="cpu", ratio=2.5),
    record(part="scan", shape=[4, 4096, 8, 64], mode="forward+backward", name="cpu", ratio=9.5),
    *(
        record(part="layer", d_model=64, time=t, batch=1, mode="forward+backward", name=name, ratio=ratio, ms=ms)
        for t, worst in ((128, 3.0), (512, 1.1), (8192, 1.3))
        for name, ratio, ms in (
            ("no mixer", 1.0, 2.0),
            ("aaren", worst, 3.0),
            ("attention", 26.0, 60.0),
            ("gru", 4.0, 9.0),
        )
    ),
    *(
        {
            "part": "stream",
            "layer": layer,
            "total": 100,
            "readings": [
                {"tokens": n, "seconds": n**power, "token_us": 1.0, "state_bytes": 64 * n ** (power - 1)}
                for n in range(10, 101, 10)
            ],
        }
        for layer, power in (("aaren", 1), ("attention", 2))
    ),
    *(
        {"part": "memory", "name": n, "time": t, "bytes": b * t}
        for n, b in (("no mixer", 10), ("aaren", 11))
        for t in (10, 100)
    ),
    record(part="many", name="gru", streams=1, tokens_per_second=10.0),
    {"part": "first", "name": "compiled", "seconds": 3.0},
]


RECORDS = [{"commit": "abc", "threads": 2, "torch": "2.13.0", **values} for values in RECORDS]


def test_figures_to_hold():
    rows = {what: (aim, measured, holds) for what, aim, measured, holds in figures_to_hold(RECORDS)}
    assert rows["scan (4, 4096, 8, 64), forward, against a copy of the values"] == ("≤ 3.00×", "2.50×", "yes")
    assert rows["scan (4, 4096, 8, 64), forward+backward, against a copy of the values"][2] == "**no**"
    assert rows["layer, d_model 64, time ≥ 512, forward+backward, against no mixer: worst"] == (
        "≤ 1.20×",
        "1.30×",
        "**no**",
    )
    assert rows["SDPA attention / aaren, d_model 64, time 8,192, forward+backward"] == ("≥ 15.00×", "20.00×", "yes")
    assert rows["nn.GRU / aaren, least over the grid"][1] == "1.33×"
    assert rows["100 streamed tokens, aaren: R² of time against tokens"][1:] == ("1.00000", "yes")
    assert rows["peak memory of training against no mixer: worst"][1] == "1.10×"
    assert rows["peak memory of training ∝ length to the power of"][1:] == ("1.000", "yes")
    assert [row[2:4] for row in exponents(RECORDS)[1:]] == [["1.00", "0.00"], ["2.00", "1.00"]]
    assert layer_rows(RECORDS)[2] == ["64", "forward+backward", "1 × 512", "2.0", "1.10", "26.00", "4.00"]
    assert "compiled 3.0 s" in tables(RECORDS)
    assert "Measured at commit abc, 2 threads, PyTorch 2.13.0." in tables(RECORDS)
    assert tables([]) == ""


def test_pictures(tmp_path):
    names = pictures(RECORDS, tmp_path)
    assert names == ["scan.png", "layer.png", "many.png", "memory.png", "stream-100.png"]
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert pictures([], tmp_path) == []


@pytest.mark.unchecked  # which takes three times as long
def test_bench_command(tmp_path, capsys):
    small = ["--seconds", "0.01", "--widths", "64", "--lengths", "300", "--tokens", "60", "--streams", "1", "3"]
    main(["bench", "--out", str(tmp_path), "--parts", "stream", "many", *small])
    main(["bench", "--out", str(tmp_path), "--parts", "layer", "memory", "first", *small])
    main(["bench", "--out", str(tmp_path), "--parts", "many", *small])
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {r["part"] for r in records} == {"layer", "stream", "many", "memory", "first"}
    assert len(of(records, part="many", name="aaren")) == 2  # measured anew, not twice
    assert all(r["commit"] and r["threads"] for r in records)
    assert {r["name"] for r in of(records, part="layer")} >= {"no mixer", "aaren", "gru", "nn.TransformerEncoderLayer"}
    cold, warm = of(records, part="first")
    assert cold["seconds"] > warm["seconds"]
    assert "d_model 64" not in (tmp_path / "table.md").read_text()  # no length of 512
    assert {"table.md", "layer.png", "stream-60.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "state at the" in capsys.readouterr().out


def test_bench_refuses_what_it_cannot_measure(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--out", str(tmp_path), "--lengths", "0"])
    assert "lengths must be positive, got (0,)" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--out", str(tmp_path), "--threads", "0"])
    assert "threads must be positive, got 0" in capsys.readouterr().err
