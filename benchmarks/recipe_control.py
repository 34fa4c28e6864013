"""Which recipe of an agent knows actions best: the error in trajectories held out, no episode is played.

python benchmarks/recipe_control.py [--jobs 2] [--ways windowed]: each change of the recipe, for several layers and
sets, and for behaviour cloning (`bc`, whose window is one step). Nothing is selected by what is held out (the last
weights are kept). Appends to benchmarks/results/recipe_control.jsonl, runs nothing twice, and prints errors divided by
those without a change (geometric mean over the sets) and the seconds of training.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any

import tyro
from study import complete

from aaren.data.trajectory_files import load_trajectories
from aaren.tasks.control import PRESETS, DecisionAgent
from aaren.tasks.control_baselines import CloningAgent
from aaren.train import Recipe

RESULTS = Path(__file__).parent / "results" / "recipe_control.jsonl"
RECIPES = {
    "windowed": Recipe(updates=2000, batch_size=64, learning_rate=1e-3, warmup=100, validate_every=200, keep="last"),
    "streaming": Recipe(updates=500, batch_size=4, learning_rate=1e-3, warmup=50, validate_every=50, keep="last"),
    "bc": Recipe(updates=5000, batch_size=256, learning_rate=1e-3, warmup=100, validate_every=500, keep="last"),
}
"""What is changed. (What `aaren.tasks` has came of this study.)"""

CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "three tokens a step": {"tokens_per_step": 3},
    "learning rate 3e-3": {"recipe": {"learning_rate": 3e-3}},
    "dropout 0": {"dropout": 0.0},
    "both": {"dropout": 0.0, "recipe": {"learning_rate": 3e-3}},
    "both, half the batch, twice the updates": {"dropout": 0.0, "recipe": {"learning_rate": 3e-3}, "updates": 2},
    "both, a quarter of the batch, four times the updates": {
        "dropout": 0.0,
        "recipe": {"learning_rate": 3e-3},
        "updates": 4,
    },
}


@dataclass(frozen=True)
class Study:
    data: tuple[str, ...] = ("hopper-medium-replay", "halfcheetah-medium", "walker2d-medium-expert")
    layers: tuple[str, ...] = ("aaren", "attention", "gru", "bc")
    ways: tuple[str, ...] = ("windowed", "streaming")
    changes: tuple[str, ...] = tuple(CHANGES)
    jobs: int = 2
    """runs at a time, each on one thread"""


def run(change: str, way: str, layer: str, data: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"dropout": 0.1, "tokens_per_step": 1, "recipe": {}, "updates": 1} | CHANGES[change]
    times, old = asked.pop("updates"), RECIPES["bc" if layer == "bc" else way]
    recipe = replace(old, updates=old.updates * times, batch_size=old.batch_size // times, **asked.pop("recipe"))
    if layer == "bc":
        agent = CloningAgent(dropout=asked["dropout"], recipe=recipe)
    else:
        arguments: dict[str, Any] = PRESETS["small"] | asked | {"recipe": recipe}
        agent = DecisionAgent(layer, context=20 if way == "windowed" else None, **arguments)
    agent.fit(load_trajectories(data))
    return {"error": agent.validation_error_, "seconds": agent.training_.seconds}


def there_is(change: str, way: str, layer: str, data: str) -> bool:
    """Behaviour cloning has neither a memory nor tokens."""
    return layer != "bc" or (way == "windowed" and "tokens_per_step" not in CHANGES[change])


def main(study: Study) -> None:
    cells = [cell for cell in product(study.changes, study.ways, study.layers, study.data) if there_is(*cell)]
    at = complete(run, ("change", "way", "layer", "data"), cells, RESULTS, jobs=study.jobs)
    print("| way | change | layer | error / none | seconds |\n| --- | --- | --- | ---: | ---: |")
    for way, change, layer in product(study.ways, study.changes, study.layers):
        mine = [at[change, way, layer, data] for data in study.data if there_is(change, way, layer, data)]
        if not mine:
            continue
        ratio = exp(mean(log(one["error"] / at["none", way, layer, one["data"]]["error"]) for one in mine))
        print(f"| {way} | {change} | {layer} | {ratio:.3f} | {mean(one['seconds'] for one in mine):.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Study))
