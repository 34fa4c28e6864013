"""What a step of an agent costs after 10, 100 and 1,000 steps of an episode, by layer and protocol.

    python benchmarks/step_cost.py

On one core; decision models of the preset `small` for observations of 17 numbers and actions of 6 (HalfCheetah,
Walker2d), random ones. Median time of `ActionStream.act` over the ten steps up to each place in ten episodes, and bytes
of the state then. Layers and protocols take turns. Prints a table and writes `results/step_cost.jsonl`.
"""

import json
import time
from collections import defaultdict
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
EPISODES = 10


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
    seen = random.normal(size=(max(PLACES), 17))
    times, sizes = defaultdict(list), {}
    for episode in range(EPISODES + 1):  # the first warms up
        for name, agent in agents.items():
            stream = agent.stream()
            for step, observation in enumerate(seen, start=1):
                start = time.perf_counter()
                stream.act(observation, 0.0)
                took = time.perf_counter() - start
                place = next((place for place in PLACES if place - 10 < step <= place), None)
                if place is not None and episode:
                    times[name, place].append(1e6 * took)
                    sizes[name, place] = stream.nbytes
    records = []
    for (layer, protocol), place in times:
        low, middle, high = quantiles(times[(layer, protocol), place], n=4)
        records.append({
            "layer": layer, "protocol": protocol, "step": place, "step_us": middle, "step_us_quartiles": [low, high],
            "state_bytes": sizes[(layer, protocol), place], **environment(),
        })  # fmt: skip
    RESULTS.write_text("".join(json.dumps(record) + "\n" for record in records))
    heads = [f"µs at step {place:,}" for place in PLACES] + [f"bytes at {place:,}" for place in PLACES]
    print(f"| layer | protocol | {' | '.join(heads)} |\n| --- | --- |{' ---: |' * len(heads)}")
    for layer, protocol in agents:
        cells = [f"{median(times[(layer, protocol), place]):,.0f}" for place in PLACES]
        cells += [f"{sizes[(layer, protocol), place]:,}" for place in PLACES]
        print(f"| {layer} | {protocol} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
