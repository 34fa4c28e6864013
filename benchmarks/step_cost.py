"""What a step of an agent costs after 10, 100 and 1,000 steps of an episode, by layer and protocol.

    python benchmarks/step_cost.py

On one core; decision models of the preset `small` for observations of 17 numbers and actions of 6 (HalfCheetah,
Walker2d), random ones. For one environment, and for many at a time: median time of `ActionStream.act` over the ten
steps up to each place in some episodes, and bytes of the state then, both divided by the environments. Layers and
protocols take turns. Prints a table and writes `results/step_cost.jsonl`.
"""

import json
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch

from aaren.bench import environment
from aaren.tasks.control import DecisionAgent
from aaren.train import Recipe

RESULTS = Path(__file__).parent / "results" / "step_cost.jsonl"
LAYERS = ("aaren", "aaren_decay", "mingru", "gru", "attention")
PROTOCOLS = {"windowed": 20, "streaming": None}
PLACES = (10, 100, 1_000)
EPISODES = {1: 10, 100: 3}
"""Environments at a time: episodes in each."""


def main() -> None:
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    episodes = [
        (random.normal(size=(30, 17)), random.uniform(-1, 1, (30, 6)), random.normal(size=30)) for _ in range(4)
    ]
    recipe = Recipe(updates=1, keep="last")
    agents = {
        (layer, protocol): DecisionAgent(layer, context=context, recipe=recipe).fit(episodes)
        for protocol, context in PROTOCOLS.items()
        for layer in LAYERS
    }
    times, sizes = defaultdict(list), {}
    for environments, number in EPISODES.items():
        seen = random.normal(size=(max(PLACES), environments, 17))
        for episode in range(number + 1):  # the first warms up
            for (layer, protocol), agent in agents.items():
                stream = agent.stream(environments=environments)
                for step, observations in enumerate(seen, start=1):
                    start = time.perf_counter()
                    stream.act(observations, np.zeros(environments))
                    took = time.perf_counter() - start
                    place = next((place for place in PLACES if place - 10 < step <= place), None)
                    if place is not None and episode:
                        name = environments, layer, protocol, place
                        times[name].append(1e6 * took / environments)
                        sizes[name] = stream.nbytes // environments
    records = []
    for name, measured in times.items():
        low, middle, high = quantiles(measured, n=4)
        record = dict(zip(("environments", "layer", "protocol", "step"), name, strict=True))
        record |= {"step_us": middle, "step_us_quartiles": [low, high], "state_bytes": sizes[name], **environment()}
        records.append(record)
    RESULTS.write_text("".join(json.dumps(record) + "\n" for record in records))
    heads = [f"µs at step {place:,}" for place in PLACES] + [f"bytes at {place:,}" for place in PLACES]
    print(f"| environments | layer | protocol | {' | '.join(heads)} |\n| ---: | --- | --- |{' ---: |' * len(heads)}")
    for environments, (layer, protocol) in product(EPISODES, agents):
        names = [(environments, layer, protocol, place) for place in PLACES]
        cells = [f"{median(times[name]):,.0f}" for name in names] + [f"{sizes[name]:,}" for name in names]
        print(f"| {environments} | {layer} | {protocol} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
