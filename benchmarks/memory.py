"""Why a running mean loses at classification: layers between Aaren and one that forgets, on sets where Aaren loses.

python benchmarks/memory.py [--seeds 3] [--jobs 2]: preset `small`, trained on three quarters of each class of the
training part, judged on the last quarter; nothing of a test part is read. Appends to benchmarks/results/memory.jsonl,
and runs none twice; prints the table of docs/classification.md.
"""

from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import tyro
from study import complete

from aaren.data.labelled import check_labels, hold_out, load_labelled
from aaren.layers.aaren import Aaren, ScoreMap
from aaren.layers.aaren_gated import AarenGated
from aaren.layers.protocol import LayerFactory
from aaren.layers.table import LAYERS
from aaren.tasks.classify import PRESETS, Classifier

RESULTS = Path(__file__).parent / "results" / "memory.jsonl"
SETS = ("Handwriting", "UWaveGestureLibrary", "PenDigits", "ArticularyWordRecognition")


class Mean(Aaren):
    """All scores equal: the plain mean of the values so far, each with the weight 1/t."""

    def score_map(self) -> ScoreMap:
        weight, bias = super().score_map()
        return 0 * weight, 0 * bias


VARIANTS: dict[str, LayerFactory] = {
    "mean (weights 1/t)": Mean,
    "aaren (softmax of a fixed query)": LAYERS["aaren"],
    "attention (query of the token)": LAYERS["attention"],
    "aaren_decay (learned half-lives)": LAYERS["aaren_decay"],
    "learned half-lives, convolution": partial(AarenGated, gate=False, input_decay=False),
    "half-lives of the input": partial(AarenGated, kernel=1, gate=False),
    "aaren_gated (half-lives of the input, convolution, gate)": LAYERS["aaren_gated"],
    "mingru": LAYERS["mingru"],
    "gru": LAYERS["gru"],
}


@dataclass(frozen=True)
class Memory:
    variants: tuple[str, ...] = tuple(VARIANTS)
    """which"""
    seeds: int = 3
    """runs of each variant on each set"""
    jobs: int = 2
    """runs at a time, each on one thread"""


def run(variant: str, data: str, seed: int) -> dict[str, object]:
    LAYERS["variant"] = VARIANTS[variant]
    whole = load_labelled(data, "train")
    labels = check_labels(whole.labels, whole.cases)
    train, held = hold_out(labels, 0.25, seed)
    classifier = Classifier("variant", seed=seed, **PRESETS["small"])
    classifier.fit([whole.cases[i] for i in train], labels[train])
    accuracy = float(classifier.score([whole.cases[i] for i in held], labels[held]))
    seconds = classifier.training_.seconds
    return {"accuracy": accuracy, "seconds": seconds}


def main(memory: Memory) -> None:
    cells = sorted(product(memory.variants, SETS, range(memory.seeds)), key=lambda cell: cell[2])
    at = complete(run, ("variant", "data", "seed"), cells, RESULTS, jobs=memory.jobs)
    print(f"| layer | {' | '.join(SETS)} | mean |\n| --- |{' ---: |' * (len(SETS) + 1)}")
    for variant in memory.variants:
        entries, means = [], []
        for data in SETS:
            found = [at[variant, data, seed]["accuracy"] for seed in range(memory.seeds)]
            means.append(mean(found))
            entries.append(f"{mean(found):.3f} ± {stdev(found):.3f}" if len(found) > 1 else f"{found[0]:.3f}")
        print(f"| {variant} | {' | '.join(entries)} | {mean(means):.3f} |")


if __name__ == "__main__":
    main(tyro.cli(Memory))
