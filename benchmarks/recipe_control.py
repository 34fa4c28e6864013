"""Which recipe of an agent knows actions best: the error in trajectories held out, no episode is played.

python benchmarks/recipe_control.py [--jobs 2] [--ways windowed]: each change of the recipe, for several layers and
sets, and for behaviour cloning (`bc`, whose window is one step). Each run keeps its last weights. Appends to
benchmarks/results/recipe_control.jsonl, runs nothing twice, and prints errors divided by those without a change
(geometric mean over the sets) and the seconds of training.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import tyro
from study import complete

from aaren.data.trajectory_files import load_trajectories
from aaren.tasks.control import PRESETS, DecisionAgent
from aaren.tasks.control_baselines import CLONING, CloningAgent
from aaren.tasks.control_training import RECIPE

RESULTS = Path(__file__).parent / "results" / "recipe_control.jsonl"

CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "three tokens a step": {"tokens_per_step": 3},
    "whole episodes only": {"whole_every": 1},
    "feed-forward 128": {"dim_feedforward": 128},
    "dropout 0.1": {"dropout": 0.1},
    "learning rate 1e-3": {"recipe": {"learning_rate": 1e-3}},
    "twice the batch": {"batch": 2},
    "twice the updates": {"updates": 2},
}
"""What is changed of the recipe that agents have."""

ONLY = {"whole episodes only": "streaming"}
"""Changes of one way to act."""


@dataclass(frozen=True)
class Study:
    data: tuple[str, ...] = ("hopper-medium-replay", "halfcheetah-medium", "walker2d-medium-expert")
    layers: tuple[str, ...] = ("aaren", "attention", "gru", "bc")
    ways: tuple[Literal["windowed", "streaming"], ...] = ("windowed", "streaming")
    changes: tuple[str, ...] = tuple(CHANGES)
    """besides none"""
    jobs: int = 2
    """runs at a time, each on one thread"""


def run(change: str, way: str, layer: str, data: str) -> dict[str, Any]:
    asked = dict(CHANGES[change])
    old = CLONING if layer == "bc" else RECIPE
    updates, batch = old.updates * asked.pop("updates", 1), old.batch_size * asked.pop("batch", 1)
    recipe = replace(old, updates=updates, batch_size=batch, **asked.pop("recipe", {}))
    if layer == "bc":
        agent = CloningAgent(recipe=recipe, **asked)
    else:
        arguments: dict[str, Any] = PRESETS["small"] | asked | {"recipe": recipe}
        agent = DecisionAgent(layer, context=20 if way == "windowed" else None, **arguments)
    agent.fit(load_trajectories(data))
    return {"error": agent.validation_error_, "seconds": agent.training_.seconds}


def there_is(change: str, way: str, layer: str) -> bool:
    """Whether an agent that acts so has what is changed; behaviour cloning has neither a memory nor tokens."""
    if layer == "bc":
        return way == "windowed" and not {"tokens_per_step", "whole_every", "dim_feedforward"} & CHANGES[change].keys()
    return ONLY.get(change, way) == way


def main(study: Study) -> None:
    changes = list(dict.fromkeys(["none", *study.changes]))
    cells = [cell for cell in product(changes, study.ways, study.layers, study.data) if there_is(*cell[:3])]
    at = complete(run, ("change", "way", "layer", "data"), cells, RESULTS, jobs=study.jobs)
    print("| way | change | layer | error / none | seconds |\n| --- | --- | --- | ---: | ---: |")
    for way, change, layer in product(study.ways, changes, study.layers):
        if not there_is(change, way, layer):
            continue
        mine = [at[change, way, layer, data] for data in study.data]
        ratio = exp(mean(log(one["error"] / at["none", way, layer, one["data"]]["error"]) for one in mine))
        print(f"| {way} | {change} | {layer} | {ratio:.3f} | {mean(one['seconds'] for one in mine):.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Study))
