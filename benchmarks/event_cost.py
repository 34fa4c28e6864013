"""What an event costs after 10, 1,000 and 100,000 events, and what training on 100,000 takes.

    python benchmarks/event_cost.py

On one core; event models of the preset `small`, events of a Poisson process. A stream is brought to each length in
parallel and then given 100 events one at a time: bytes of the state before them, and the median time of
`EventStream.push`, which makes the forecast too. Training is 30 updates on one sequence, each length in a process of
its own, which says how much more memory it took than before. Prints two tables and writes `results/event_cost.jsonl`.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from aaren.bench import Cost, environment
from aaren.tasks.events import EventForecaster
from aaren.train import Recipe

RESULTS = Path(__file__).parent / "results" / "event_cost.jsonl"
LAYERS = ("aaren", "aaren_decay", "aaren_gated", "gru", "attention")
LENGTHS = (10, 1_000, 100_000)
TRAINED = (10_000, 100_000)
PUSHES = 100
UPDATES = 30


def poisson(events: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(0).exponential(size=events))


def stream(layer: str, events: int) -> dict[str, Any]:
    """Events pushed one at a time after so many."""
    times = poisson(events + PUSHES)
    model = EventForecaster(layer, recipe=Recipe(updates=1)).fit([times[:2_000], times[:2_000]])
    live = model.stream(times[:events])
    state, took = live.nbytes, []
    for moment in times[events:]:
        start = time.perf_counter()
        live.push(moment)
        took.append(time.perf_counter() - start)
    quarter = sorted(took)[PUSHES // 4], sorted(took)[3 * PUSHES // 4]
    costs = {"push_us": 1e6 * median(took), "push_us_quartiles": [1e6 * one for one in quarter]}
    return {"what": "push", "layer": layer, "events": events, **costs, "state_bytes": state}


def train(layer: str, events: int) -> dict[str, Any]:
    """Training on one sequence."""
    times = poisson(events)
    model = EventForecaster(layer, recipe=Recipe(updates=UPDATES, validate_every=UPDATES))
    EventForecaster(layer, recipe=Recipe(updates=1)).fit([times[:1_000]])  # a first update loads libraries
    with Cost() as cost:
        model.fit([times])
    costs = {"seconds": cost.seconds, "peak_bytes": cost.peak_bytes, "validation_nll": model.validation_nll_}
    return {"what": "train", "layer": layer, "events": events, **costs}


def main() -> None:
    torch.set_num_threads(1)
    records = []
    print("layer         events   µs a push (quartiles)   state, bytes")
    for layer in LAYERS:
        for events in LENGTHS:
            record = stream(layer, events)
            low, high = record["push_us_quartiles"]
            records.append(record)
            cost = f"{record['push_us']:7.0f} ({low:.0f} to {high:.0f})"
            print(f"{layer:12} {events:7,} {cost:>23} {record['state_bytes']:14,}", flush=True)
    print("layer         events   s for 30 updates   memory, MB")
    for events in TRAINED:
        command = [sys.executable, __file__, "--train", "aaren", str(events)]
        record = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        records.append(record)
        print(f"{'aaren':12} {events:7,} {record['seconds']:18.1f} {record['peak_bytes'] / 1e6:12.1f}", flush=True)
    RESULTS.write_text("".join(json.dumps(record | environment()) + "\n" for record in records))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        torch.set_num_threads(1)
        print(json.dumps(train(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
