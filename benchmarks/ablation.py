"""What of `AarenGated` pays: variants of it, and other layers, by their errors on validation parts.

python benchmarks/ablation.py [--seeds 2] [--jobs 2]: forecasts of 192 rows, preset `small`, normalise="running";
selected on the first half of the validation part, judged on the second; nothing of a test part is read. Appends to
benchmarks/results/ablation.jsonl, and runs none twice; prints the table of docs/forecasting.md: errors divided by those
of `attention` on the same set and seed, their geometric mean over sets.
"""

from dataclasses import dataclass
from functools import partial
from itertools import product
from math import exp, log
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import tyro
from study import complete
from torch import nn

from aaren.data.parts import load_parts
from aaren.layers.aaren import rates_over
from aaren.layers.aaren_gated import AarenGated
from aaren.layers.protocol import LayerFactory
from aaren.layers.table import LAYERS
from aaren.tasks.forecast import PRESETS, Forecaster

RESULTS = Path(__file__).parent / "results" / "ablation.jsonl"
SETS = ("ETTh1", "ETTm1", "exchange_rate", "weather", "traffic_6")


def with_half_lives(shortest: float, longest: float) -> LayerFactory:
    """`AarenGated` whose heads start with other half-lives than 4 to 4,096 tokens."""

    def make(d_model: int, nhead: int, **options: Any) -> AarenGated:
        layer = AarenGated(d_model, nhead, **options)
        layer.rate = nn.Parameter(rates_over(layer.readers, (shortest, longest)))
        return layer

    return make


VARIANTS: dict[str, LayerFactory] = {
    **{name: LAYERS[name] for name in ("aaren", "aaren_decay", "attention", "gru", "mingru")},
    "input decay": partial(AarenGated, kernel=1, gate=False),
    "input decay, gate": partial(AarenGated, kernel=1),
    "input decay, gate, convolution": AarenGated,
    "input decay, gate, 2 queries a head": partial(AarenGated, kernel=1, queries=2),
    "learned decay, gate": partial(AarenGated, kernel=1, input_decay=False),
    "input decay, gate, convolution, 2 queries a head": partial(AarenGated, queries=2),
    "input decay, gate, convolution, half-lives 1 to 64": with_half_lives(1, 64),
    "input decay, gate, convolution, half-lives 1 to 512": with_half_lives(1, 512),
}


@dataclass(frozen=True)
class Ablation:
    variants: tuple[str, ...] = tuple(VARIANTS)
    """which; `attention` must be among them"""
    seeds: int = 2
    """runs of each variant"""
    jobs: int = 2
    """runs at a time, each on one thread"""


def run(variant: str, data: str, seed: int) -> dict[str, object]:
    LAYERS["variant"] = VARIANTS[variant]
    parts = load_parts(data)
    held = parts.validation // 2
    forecaster = Forecaster("variant", horizon=192, validation=held, roles=parts.roles, seed=seed, **PRESETS["small"])
    forecaster.fit(parts.before_test[: parts.training + held])
    part = parts.before_test[parts.training + held - 96 :]
    return {
        "windowed": forecaster.backtest(part, windowed=True, stride=4).mse,
        "stream": forecaster.backtest(part, stride=4).mse,
        "updates": forecaster.training_.updates,
        "seconds": forecaster.training_.seconds,
    }


def main(ablation: Ablation) -> None:
    cells = sorted(product(ablation.variants, SETS, range(ablation.seeds)), key=lambda cell: cell[2])
    at = complete(run, ("variant", "data", "seed"), cells, RESULTS, jobs=ablation.jobs)
    print("| variant | windowed | stream | seconds |\n| --- | ---: | ---: | ---: |")
    for variant in ablation.variants:
        cells_of = []
        for part in ("windowed", "stream"):
            ratios = [
                exp(mean(log(at[variant, d, s][part] / at["attention", d, s]["windowed"]) for d in SETS))
                for s in range(ablation.seeds)
            ]
            cells_of.append(f"{mean(ratios):.3f} ± {stdev(ratios):.3f}" if len(ratios) > 1 else f"{ratios[0]:.3f}")
        seconds = mean(at[cell]["seconds"] for cell in cells if cell[0] == variant)
        print(f"| {variant} | {cells_of[0]} | {cells_of[1]} | {seconds:.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Ablation))
