"""Two things that Aaren cannot do, measured: forget, and look something up.

python benchmarks/limits.py [--seeds 3]: on one core. Appends to benchmarks/results/limits.jsonl, runs nothing twice,
prints the tables of docs/limits.md. Networks of width 32 with two blocks, the same recipe for every layer.

`level`: a noisy series whose level jumps now and then; say the level after every token. Trained on 128 tokens, read at
up to 8,192: a layer whose weights are 1/t answers ever more slowly.

`recall`: eight pairs of a key and a value in random order, then a key; name its value (one of eight). One softmax with
a fixed query cannot select by the key that is asked for; what depth can do about it is in the table.
"""

import time
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from study import complete
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from aaren.models.encoder import Encoder
from aaren.train import Recipe, fit

RESULTS = Path(__file__).parent / "results" / "limits.jsonl"
LAYERS = ("aaren", "aaren_decay", "aaren_gated", "attention", "gru", "mingru")
LENGTHS = (128, 512, 2048, 8192)
PAIRS = 8
RECIPE = Recipe(updates=600, batch_size=32, patience=24)


class Pairs(NamedTuple):
    """Tokens and what is to be predicted from them."""

    x: Tensor
    target: Tensor

    def to(self, device: torch.device) -> "Pairs":
        return Pairs(self.x.to(device), self.target.to(device))


class Reader(nn.Module):
    """Encoder with a linear map before and after."""

    def __init__(self, inputs: int, outputs: int, layer: str, num_layers: int = 2):
        super().__init__()
        self.embed = nn.Linear(inputs, 32)
        self.encoder = Encoder(num_layers, 32, 4, 64, layer=layer, dropout=0.0)
        self.head = nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x))[0])


def levels(rows: int, length: int, random: np.random.Generator) -> Pairs:
    """Level + noise of spread 0.5; the level, of spread 1, jumps with probability 1/64 a token."""
    jumps = random.random((rows, length + 1)) < 1 / 64
    jumps[:, 0] = True
    fresh = random.normal(size=jumps.shape)
    latest = np.maximum.accumulate(np.where(jumps, np.arange(length + 1), 0), axis=1)
    level = np.take_along_axis(fresh, latest, axis=1)
    x = (level + 0.5 * random.normal(size=level.shape)).astype(np.float32)
    return Pairs(torch.from_numpy(x[:, :-1, None]), torch.from_numpy(level[:, :-1].astype(np.float32)))


def recalls(rows: int, random: np.random.Generator) -> Pairs:
    """Tokens of one-hot key, value and a flag for the question."""
    keys = random.permuted(np.tile(np.arange(PAIRS), (rows, 1)), axis=1)
    values = random.integers(0, PAIRS, (rows, PAIRS))
    asked = random.integers(0, PAIRS, rows)
    x = np.zeros((rows, PAIRS + 1, 2 * PAIRS + 1), dtype=np.float32)
    eye = np.eye(PAIRS, dtype=np.float32)
    x[:, :-1, :PAIRS], x[:, :-1, PAIRS : 2 * PAIRS] = eye[keys], eye[values]
    x[:, -1, :PAIRS] = eye[keys[np.arange(rows), asked]]
    x[:, -1, -1] = 1
    return Pairs(torch.from_numpy(x), torch.from_numpy(values[np.arange(rows), asked]))


def run_level(layer: str, seed: int) -> dict[str, float]:
    """Mean squared error of the level in the last eighth of streams of several lengths; 1 = its spread."""
    torch.manual_seed(seed)
    model = Reader(1, 1, layer)

    def loss(model: nn.Module, batch: Pairs) -> Tensor:
        return mse_loss(model(batch.x)[..., 0], batch.target)

    held = levels(64, 128, np.random.default_rng((seed, 1)))
    fit(
        model,
        lambda number: levels(RECIPE.batch_size, 128, np.random.default_rng((seed, 0, number))),
        loss,
        lambda model, device: loss(model, held.to(device)).item(),
        RECIPE,
        seed=seed,
    )
    errors = {}
    with torch.no_grad():
        for length in LENGTHS:
            test = levels(8192 // length * 4, length, np.random.default_rng((seed, 2)))
            parts = [
                (model(x)[..., 0] - y)[:, -length // 8 :]
                for x, y in zip(test.x.split(1), test.target.split(1), strict=True)
            ]
            errors[str(length)] = torch.cat(parts).square().mean().item()
    return errors


def run_recall(layer: str, seed: int, num_layers: int) -> float:
    """Share of right answers; 0.125 is chance."""
    torch.manual_seed(seed)
    model = Reader(2 * PAIRS + 1, PAIRS, layer, num_layers)

    def loss(model: nn.Module, batch: Pairs) -> Tensor:
        return cross_entropy(model(batch.x)[:, -1], batch.target)

    held = recalls(512, np.random.default_rng((seed, 1)))
    fit(
        model,
        lambda number: recalls(64, np.random.default_rng((seed, 0, number))),
        loss,
        lambda model, device: loss(model, held.to(device)).item(),
        RECIPE,
        seed=seed,
    )
    test = recalls(2000, np.random.default_rng((seed, 2)))
    with torch.no_grad():
        return (model(test.x)[:, -1].argmax(dim=-1) == test.target).float().mean().item()


PARTS = {
    "level": run_level,
    "recall, 1 block": partial(run_recall, num_layers=1),
    "recall, 2 blocks": partial(run_recall, num_layers=2),
}


def run(part: str, layer: str, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    return {"value": PARTS[part](layer, seed), "seconds": time.perf_counter() - start}


@dataclass(frozen=True)
class Limits:
    seeds: int = 3
    """runs of each"""
    jobs: int = 1
    """runs at a time, each on one thread"""


def main(limits: Limits) -> None:
    cells = sorted(product(PARTS, LAYERS, range(limits.seeds)), key=lambda cell: cell[2])
    at = complete(run, ("part", "layer", "seed"), cells, RESULTS, jobs=limits.jobs)

    def values(part: str, layer: str) -> list[Any]:
        return [at[part, layer, seed]["value"] for seed in range(limits.seeds)]

    def cell(values: list[float]) -> str:
        return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"

    print(f"| layer | {' | '.join(f'after {length:,} tokens' for length in LENGTHS)} |\n|---|{'---:|' * len(LENGTHS)}")
    for layer in LAYERS:
        mine = values("level", layer)
        print(f"| {layer} | {' | '.join(cell([m[str(length)] for m in mine]) for length in LENGTHS)} |")
    print("\n| layer | 1 block | 2 blocks |\n|---|---:|---:|")
    for layer in LAYERS:
        print(f"| {layer} | {' | '.join(cell(values(part, layer)) for part in list(PARTS)[1:])} |")


if __name__ == "__main__":
    main(tyro.cli(Limits))
