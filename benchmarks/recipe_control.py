"""Which recipe of `DecisionAgent` knows actions best: the error in trajectories held out, no episode is played.

python benchmarks/recipe_control.py [--jobs 2] [--ways windowed streaming]: each change of the recipe, for several
layers and sets. Nothing is selected by what is held out (the last weights are kept). Appends to
benchmarks/results/recipe_control.jsonl, runs nothing twice, and prints errors divided by those without a change
(geometric mean over the sets) and the seconds of training.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from math import exp, log
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import tyro

from aaren.bench import environment
from aaren.data.trajectory_files import load_trajectories
from aaren.files import read_json_lines
from aaren.tasks.control import PRESETS, DecisionAgent
from aaren.tasks.control_training import RECIPES

RESULTS = Path(__file__).parent / "results" / "recipe_control.jsonl"
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "learning rate 3e-3": {"recipe": {"learning_rate": 3e-3}},
    "dropout 0": {"dropout": 0.0},
    "both": {"dropout": 0.0, "recipe": {"learning_rate": 3e-3}},
    "both, half the updates": {"dropout": 0.0, "recipe": {"learning_rate": 3e-3}, "updates": 0.5},
    "both, twice the updates": {"dropout": 0.0, "recipe": {"learning_rate": 3e-3}, "updates": 2.0},
}


@dataclass(frozen=True)
class Study:
    data: tuple[str, ...] = ("hopper-medium-replay", "halfcheetah-medium")
    layers: tuple[str, ...] = ("aaren", "attention", "gru")
    ways: tuple[str, ...] = ("windowed",)
    changes: tuple[str, ...] = tuple(CHANGES)
    jobs: int = 2
    """runs at a time, each on one thread"""


def run(change: str, way: str, layer: str, data: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    asked = CHANGES[change]
    recipe = replace(RECIPES[way], **asked.get("recipe", {}))
    recipe = replace(recipe, updates=round(recipe.updates * asked.get("updates", 1.0)))
    arguments = PRESETS["small"] | {name: value for name, value in asked.items() if name not in ("recipe", "updates")}
    agent = DecisionAgent(layer, context=20 if way == "windowed" else None, recipe=recipe, **arguments)
    agent.fit(load_trajectories(data))
    measured = {"error": agent.validation_error_, "seconds": agent.training_.seconds}
    return {"change": change, "way": way, "layer": layer, "data": data} | measured | environment()


def main(study: Study) -> None:
    done = read_json_lines(RESULTS) if RESULTS.exists() else []
    names = ("change", "way", "layer", "data")
    known = {tuple(record[name] for name in names) for record in done}
    cells = list(product(study.changes, study.ways, study.layers, study.data))
    waiting = [cell for cell in cells if cell not in known]
    with ProcessPoolExecutor(study.jobs, mp_context=get_context("spawn")) as pool:
        for result in pool.map(run, *zip(*waiting, strict=True)) if waiting else ():
            done.append(result)
            with RESULTS.open("a") as file:
                file.write(json.dumps(result) + "\n")
    at = {tuple(record[name] for name in names): record for record in done}
    print("| way | change | layer | error / none | seconds |\n| --- | --- | --- | ---: | ---: |")
    for way, change, layer in product(study.ways, study.changes, study.layers):
        mine = [at[change, way, layer, data] for data in study.data]
        ratio = exp(mean(log(one["error"] / at["none", way, layer, one["data"]]["error"]) for one in mine))
        print(f"| {way} | {change} | {layer} | {ratio:.3f} | {mean(one['seconds'] for one in mine):.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Study))
