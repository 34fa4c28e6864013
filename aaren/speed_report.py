"""Tables and pictures of what `aaren bench` measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aaren.figures import streaming_figure
from aaren.png import new_figure, write_png
from aaren.report import markdown_table, size

Record = dict[str, Any]
MODES = ("forward", "forward+backward")


def of(records: Sequence[Record], **wanted: Any) -> list[Record]:
    """The records with these values, in order."""
    return [record for record in records if all(record.get(name) == value for name, value in wanted.items())]


def exponent(x: Sequence[int | float], y: Sequence[int | float]) -> float:
    """p of the best fit y = c · x^p."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def linearity(x: Sequence[int | float], y: Sequence[int | float]) -> float:
    """R² of the best straight line."""
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def figures_to_hold(records: Sequence[Record]) -> list[list[str]]:
    """A header, and a row for each figure that the benchmark is about: what, at least, measured, whether it holds."""
    rows = [["what", "aim", "measured", "holds"]]

    def row(what: str, aim: int | float, measured: int | float, at_most: bool = True, form: str = "{:.2f}×") -> None:
        holds = measured <= aim if at_most else measured >= aim
        sign = "≤" if at_most else "≥"
        rows.append([what, f"{sign} {form.format(aim)}", form.format(measured), "yes" if holds else "**no**"])

    for mode, aim in zip(MODES, (3.0, 9.0), strict=True):
        for record in of(records, part="scan", shape=[4, 4096, 8, 64], mode=mode, name="cpu"):
            row(f"scan (4, 4096, 8, 64), {mode}, against a copy of the values", aim, record["ratio"])
    layers = of(records, part="layer")
    for width, aim in ((512, 1.1), (64, 1.2)):
        for mode in MODES:
            mine = [r["ratio"] for r in of(layers, d_model=width, mode=mode, name="aaren") if r["time"] >= 512]
            if mine:
                row(f"layer, d_model {width}, time ≥ 512, {mode}, against no mixer: worst", aim, max(mine))
                row("the same: median over the lengths (aim of the design: 1.02×)", aim, float(np.median(mine)))
    for record in of(layers, d_model=64, time=8192, mode="forward+backward", name="attention"):
        (aaren,) = of(layers, d_model=64, time=8192, mode="forward+backward", name="aaren")
        gain = record["ratio"] / aaren["ratio"]  # both to no mixer, in different races
        row("SDPA attention / aaren, d_model 64, time 8,192, forward+backward", 15.0, gain, False)
    for record in of(records, part="deploy", layer="aaren", d_model=64, name="onnx"):
        row("one token, 4 blocks of width 64, ONNX", 100.0, record["us"], form="{:.1f} µs")
        for other in of(records, part="deploy", layer="aaren", d_model=64):
            if other["name"] == "executorch":
                row("the same in ExecuTorch, against ONNX", 2.0, other["ratio"])
            if other["name"] == "c":
                row("the same in C, against ONNX", 1.0, other["ratio"])
            if other["name"] == "onnx int8":
                row("ONNX file with int8, against float32", 0.4, other["file_bytes"] / record["file_bytes"])
    deployed = of(records, part="deploy")
    if deployed:
        worst = max(record["difference"] for record in deployed)
        row("outputs after 10,000 carried steps, against PyTorch: worst", 1e-5, worst, form="{:.0e}")
    gains = [
        record["ratio"] / aaren["ratio"]
        for record in of(layers, name="gru")
        for aaren in of(layers, name="aaren", d_model=record["d_model"], time=record["time"], mode=record["mode"])
    ]
    if gains:
        row("nn.GRU / aaren, least over the grid", 1.0, min(gains), False)
    for record in of(records, part="stream", layer="aaren"):
        tokens = [reading["tokens"] for reading in record["readings"]]
        seconds = [reading["seconds"] for reading in record["readings"]]
        total = f"{record['total']:,} streamed tokens, aaren"
        row(f"{total}: R² of time against tokens", 0.999, linearity(tokens, seconds), False, "{:.5f}")
        bytes_ = {reading["state_bytes"] for reading in record["readings"]}
        row(f"{total}: sizes of state", 1, len(bytes_), True, "{:.0f}")
    peaks = {record["time"]: record["bytes"] for record in of(records, part="memory", name="aaren")}
    if peaks:
        free = {record["time"]: record["bytes"] for record in of(records, part="memory", name="no mixer")}
        worst = max(peaks[t] / max(free[t], 1) for t in peaks)
        row("peak memory of training against no mixer: worst", 1.2, worst)
    if len(peaks) > 1:
        power = exponent(list(peaks), list(peaks.values()))
        row("peak memory of training ∝ length to the power of", 1.05, power, form="{:.3f}")
    return rows


def exponents(records: Sequence[Record]) -> list[list[str]]:
    """A header and a row for each stream: exponents of cumulative time and state over its last nine tenths, its end."""
    rows = [["layer", "tokens", "time ∝ tokens^", "state ∝ tokens^", "seconds", "state at the end"]]
    for record in of(records, part="stream"):
        late = [reading for reading in record["readings"] if reading["tokens"] >= record["total"] / 10]
        tokens = [reading["tokens"] for reading in late]
        rows.append(
            [
                record["layer"],
                f"{record['total']:,}",
                f"{exponent(tokens, [reading['seconds'] for reading in late]):.2f}",
                f"{round(exponent(tokens, [reading['state_bytes'] for reading in late]), 2) + 0.0:.2f}",
                f"{late[-1]['seconds']:.1f}",
                size(late[-1]["state_bytes"]),
            ]
        )
    return rows


def layer_rows(records: Sequence[Record]) -> list[list[str]]:
    """A header and a row for each width, mode and length: milliseconds without a mixer, the others' ratios to them."""
    layers = of(records, part="layer")
    names = list(dict.fromkeys(record["name"] for record in layers))
    rows = [["d_model", "pass", "batch × time", f"{names[0]} (ms)", *names[1:]]] if names else []
    for base in of(layers, name=names[0]) if names else []:
        same = of(layers, d_model=base["d_model"], time=base["time"], mode=base["mode"])
        shape = f"{base['batch']} × {base['time']:,}"
        ratios = [f"{record['ratio']:.2f}" for record in same[1:]]
        rows.append([str(base["d_model"]), base["mode"], shape, f"{base['ms']:.1f}", *ratios])
    return rows


def deploy_rows(records: Sequence[Record]) -> list[list[str]]:
    """A header and a row for each layer, width and format: what a token and a file cost."""
    rows = [["layer", "d_model", "format", "µs a token", "file", "memory", "difference"]]
    for record in of(records, part="deploy"):
        low, high = (quartile * record["us"] / record["ms"] for quartile in record["ms_quartiles"])
        rows.append(
            [
                record["layer"],
                str(record["d_model"]),
                record["name"],
                f"{record['us']:.1f} ({low:.1f} – {high:.1f})",
                size(record["file_bytes"]),
                size(record["peak_bytes"]),
                f"{record['difference']:.0e}",
            ]
        )
    return rows


def tables(records: Sequence[Record]) -> str:
    """All tables, for a README."""
    parts = {
        "Figures to hold": figures_to_hold(records),
        "One stream (exponents over the last nine tenths)": exponents(records),
        "Blocks: ratio to the one without a mixer": layer_rows(records),
        "One token on a device: encoders of 4 blocks": deploy_rows(records),
    }
    first = [f"{record['name']} {record['seconds']:.1f} s" for record in of(records, part="first")]
    text = "".join(f"### {title}\n\n{markdown_table(rows)}\n" for title, rows in parts.items() if len(rows) > 1)
    made = {
        name: ", ".join(sorted({str(record[name]) for record in records})) for name in ("commit", "threads", "torch")
    }
    if records:
        text += f"Measured at commit {made['commit']}, {made['threads']} threads, PyTorch {made['torch']}.\n"
    return text + (f"First scan with gradient in a process: {', '.join(first)}.\n" if first else "")


class Panel(NamedTuple):
    """One plot: `y` of the records against `x`, a line for each name; with x "mode" a bar for each name and mode."""

    title: str
    records: list[Record]
    x: str
    y: str
    labels: tuple[str, str]


def pictures(records: Sequence[Record], folder: Path) -> list[str]:
    """Writes a PNG for each part that was measured. Returns their names. Raises as `streaming_figure`."""
    scans, layers = of(records, part="scan"), of(records, part="layer")
    files = {
        "scan.png": [
            Panel(f"scan {tuple(shape)}", of(scans, shape=shape), "mode", "ms", ("ms (log scale)", ""))
            for shape in ([4, 4096, 8, 64], [16, 512, 4, 16])
        ],
        "layer.png": [
            Panel(
                f"block, d_model {width}, {mode}",
                of(layers, d_model=width, mode=mode),
                "time",
                "ratio",
                ("time (tokens)", "time taken / without a mixer"),
            )
            for width in sorted({record["d_model"] for record in layers})
            for mode in MODES
        ],
        "many.png": [
            Panel(
                "a token of each stream a call, d_model 64",
                of(records, part="many"),
                "streams",
                "tokens_per_second",
                ("streams", "tokens / s"),
            )
        ],
        "memory.png": [
            Panel(
                "one training pass, d_model 64",
                of(records, part="memory"),
                "time",
                "bytes",
                ("time (tokens)", "peak memory (bytes)"),
            )
        ],
    }
    files = {file: panels for file, panels in files.items() if any(panel.records for panel in panels)}
    for file, panels in files.items():
        _draw(panels, folder / file)
    for total in dict.fromkeys(record["total"] for record in of(records, part="stream")):
        streams = of(records, part="stream", total=total)
        streaming_figure(streams, folder / f"stream-{total}.png", f"a block of width 64, {total:,} tokens one by one")
        files[f"stream-{total}.png"] = []
    return list(files)


def _draw(panels: Sequence[Panel], path: Path) -> None:
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(6 * columns, 4 * lines)
    for axes, panel in zip(figure.subplots(lines, columns, squeeze=False).flat, panels, strict=False):
        bars = panel.x == "mode"
        for number, name in enumerate(dict.fromkeys(record["name"] for record in panel.records)):
            mine = of(panel.records, name=name)
            x, y = [record[panel.x] for record in mine], [record[panel.y] for record in mine]
            if bars:
                axes.barh([f"{name}, {mode}" for mode in x], y)
            else:
                axes.plot(x, y, ("-o", "--s", "-.^", ":d")[number % 4], label=name, markersize=4)
        axes.set(title=panel.title, xlabel=panel.labels[0], ylabel=panel.labels[1], xscale="log")
        if bars:
            axes.invert_yaxis()
        else:
            axes.set(yscale="log")
            if panel.records:
                axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    write_png(figure, path)
