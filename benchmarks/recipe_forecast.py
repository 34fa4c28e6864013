"""Which recipe of `Forecaster` holds when the future is unlike the past, judged without the test parts.

python benchmarks/recipe_forecast.py [--jobs 2]: a forecaster is trained on the first half of a set's training part,
selected on the tenth after it, and tested on all the rest up to the end of the validation part: about as far ahead as
the real test part lies, of which nothing is read. Appends to benchmarks/results/recipe_forecast.jsonl, runs nothing
twice, and prints errors divided by those of the linear baseline on the same rows, geometric mean over the sets.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any

import tyro
from study import complete

from aaren.data.parts import load_parts
from aaren.models.statistics import RunningStatistics
from aaren.tasks.baselines import BASELINES
from aaren.tasks.forecast import PRESETS, Forecaster
from aaren.tasks.forecast_training import RECIPES

RESULTS = Path(__file__).parent / "results" / "recipe_forecast.jsonl"
SETS = ("ETTh1", "ETTh2", "ETTm1", "exchange_rate", "weather", "electricity_6", "traffic_6")
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "prior of 1, not learned": {"rate": 0.0},
    "prior learned slowly": {"rate": 10.0},
    "dropout 0.3": {"dropout": 0.3},
    "learning rate 3e-4": {"recipe": {"learning_rate": 3e-4}},
    "weight decay 1": {"recipe": {"weight_decay": 1.0}},
    "width 32": {"d_model": 32, "dim_feedforward": 64},
    "1 block": {"num_layers": 1},
}


@dataclass(frozen=True)
class Study:
    layers: tuple[str, ...] = ("aaren", "aaren_gated")
    normalise: tuple[str, ...] = ("running",)
    changes: tuple[str, ...] = tuple(CHANGES)
    seeds: int = 1
    jobs: int = 2
    """runs at a time, each on one thread"""


def run(change: str, layer: str, normalise: str, data: str, seed: int) -> dict[str, Any]:
    parts = load_parts(data)
    train = parts.training // 2
    held = train // 5
    common: dict[str, Any] = {"horizon": 192, "roles": parts.roles, "validation": held}
    series = parts.before_test[: train + held]
    rest = parts.before_test[train + held - 96 :]
    if layer == "linear":
        errors = BASELINES[layer](**common).fit(series).backtest(rest, start=96, stride=4)
        measured = {"windowed": errors.mse, "stream": errors.mse}
    else:
        RunningStatistics.RATE = CHANGES[change].get("rate", 50.0)
        arguments: dict[str, Any] = {name: value for name, value in CHANGES[change].items() if name != "rate"} | {
            "recipe": replace(RECIPES[normalise], **CHANGES[change].get("recipe", {}))
        }
        model = Forecaster(layer, normalise=normalise, seed=seed, **common, **(PRESETS["small"] | arguments))
        model.fit(series)
        measured: dict[str, float] = {"windowed": model.backtest(rest, start=96, stride=4, windowed=True).mse}
        measured |= {"stream": model.backtest(rest, start=96, stride=4).mse, "updates": model.training_.best_update}
    return measured


def main(study: Study) -> None:
    cells = [("none", "linear", "", data, 0) for data in SETS]
    cells += [
        (change, layer, way, data, seed)
        for seed, change, layer, way, data in product(
            range(study.seeds), study.changes, study.layers, study.normalise, SETS
        )
    ]
    names = ("change", "layer", "normalise", "data", "seed")
    at = complete(run, names, cells, RESULTS, jobs=study.jobs)
    print("| change | layer | normalise | windowed | stream |\n| --- | --- | --- | ---: | ---: |")
    for change, layer, way in product(study.changes, study.layers, study.normalise):
        ratios = [
            exp(
                mean(
                    log(at[change, layer, way, data, seed][part] / at["none", "linear", "", data, 0][part])
                    for data in SETS
                    for seed in range(study.seeds)
                )
            )
            for part in ("windowed", "stream")
        ]
        print(f"| {change} | {layer} | {way} | {ratios[0]:.3f} | {ratios[1]:.3f} |")


if __name__ == "__main__":
    main(tyro.cli(Study))
