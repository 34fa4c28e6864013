"""What rounding weights to bytes costs in accuracy: JapaneseVowels and ETTh1, as exported files, on the test parts.

    python benchmarks/int8.py [--seeds 3]

Trains preset `small`, exports ONNX with and without int8, and streams the test part through both with `aaren_runtime`:
the accuracy after the last sample of each case, and the squared error (in spreads of the training part) of all
forecasts of one stream that is never reset. Prints the table of docs/export.md and writes `results/int8.jsonl`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from aaren_runtime import Session

from aaren.bench import environment
from aaren.data.labelled import load_train_and_test
from aaren.data.parts import load_parts
from aaren.export.files import export_model
from aaren.export.int8 import round_weights
from aaren.files import write_folder
from aaren.tasks.classify import PRESETS as CLASSIFIERS
from aaren.tasks.classify import Classifier
from aaren.tasks.forecast import PRESETS as FORECASTERS
from aaren.tasks.forecast import Forecaster

LAYERS = ("aaren", "aaren_gated")
HORIZON = 96
RESULTS = Path(__file__).parent / "results" / "int8.jsonl"


def classify(layer: str, seed: int, folder: Path) -> tuple[str, list[tuple[int, float]]]:
    """The name of the metric, and bytes and metric without and with int8."""
    train, test = load_train_and_test("JapaneseVowels")
    model = Classifier(layer=layer, seed=seed, **CLASSIFIERS["small"]).fit(train.cases, train.labels)

    def accuracy(path: Path) -> float:
        session = Session(path)
        classes = session.about["classes"]
        hits = []
        for case, label in zip(test.cases, test.labels, strict=True):
            session.reset()
            answers = [session.push(sample)["probabilities"] for sample in case.T]
            hits.append(classes[int(answers[-1].argmax())] == label)
        return float(np.mean(hits))

    return "accuracy", both(model.deployment(), folder, accuracy)


def forecast(layer: str, seed: int, folder: Path) -> tuple[str, list[tuple[int, float]]]:
    """The same of forecasts."""
    parts = load_parts("ETTh1")
    model = Forecaster(
        layer, horizon=HORIZON, roles=parts.roles, validation=parts.validation, seed=seed, **FORECASTERS["small"]
    ).fit(parts.before_test)
    table, start = parts.test_after(model.context)
    times = table[parts.roles.time].to_numpy()
    values = table.drop(columns=parts.roles.time).to_numpy(dtype=np.float64)
    training = parts.frame.iloc[: parts.training].drop(columns=parts.roles.time).to_numpy(dtype=np.float64)
    spread = training.std(axis=0)

    def error(path: Path) -> float:
        session = Session(path)
        errors = []
        for i in range(len(values) - HORIZON):
            forecast = session.push(values[i], time=times[i])["forecast"]
            if i < start - 1:  # before the test part
                continue
            errors.append((((forecast - values[i + 1 : i + 1 + HORIZON]) / spread) ** 2).mean())
        return float(np.mean(errors))

    return "MSE", both(model.deployment(), folder, error)


def both(deployment: Any, folder: Path, metric: Any) -> list[tuple[int, float]]:
    told = []
    for name, one in (("float32", deployment), ("int8", round_weights(deployment))):
        exported = export_model(one, folder / f"{name}.onnx", "onnx")
        told.append((exported.bytes, metric(exported.path)))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of exported models with weights of a byte.")
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    records = []
    for data, run in (("JapaneseVowels", classify), ("ETTh1", forecast)):
        for layer in LAYERS:
            for seed in range(seeds):
                with tempfile.TemporaryDirectory() as folder:
                    metric, ((whole, before), (small, after)) = run(layer, seed, Path(folder))
                records.append(
                    {"data": data, "layer": layer, "seed": seed, "metric": metric, "float32": before, "int8": after}
                    | {"bytes": whole, "int8_bytes": small}
                    | environment()
                )
                print(f"{data} {layer} {seed}: {metric} {before:.5f}, int8 {after:.5f}", flush=True)
    write_folder(RESULTS.parent, {RESULTS.name: "".join(json.dumps(record) + "\n" for record in records).encode()})
    print("| data | layer | file | | with int8 | of the size |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for data, layer in dict.fromkeys((r["data"], r["layer"]) for r in records):
        own = [r for r in records if (r["data"], r["layer"]) == (data, layer)]
        cells = [
            f"{fmean(r[name] for r in own):.5f} ± {stdev(r[name] for r in own) if len(own) > 1 else 0:.5f}"
            for name in ("float32", "int8")
        ]
        share = fmean(r["int8_bytes"] / r["bytes"] for r in own)
        size = f"{own[0]['bytes'] / 1e3:.0f} kB"
        print(f"| {data} | {layer} | {size} | {own[0]['metric']} {cells[0]} | {cells[1]} | {share:.2f} |")


if __name__ == "__main__":
    main()
