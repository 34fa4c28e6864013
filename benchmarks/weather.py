"""What the sentinels of the weather set do to published errors.

python benchmarks/weather.py: the 81 cells of -9999 as missing values, as everywhere in this library, and as numbers, as
in most published results; horizon 192, normalise="window", one seed. A sentinel inflates the spread that the errors of
its channel are divided by, and counts itself where it lies in the test part. Prints the table of docs/forecasting.md.
"""

from dataclasses import replace

import torch

from aaren.bench import environment
from aaren.data.parts import load_parts
from aaren.tasks.baselines import BASELINES
from aaren.tasks.forecast import PRESETS, Forecaster

SENTINEL = -9999.0


def main() -> None:
    torch.set_num_threads(1)
    missing = load_parts("weather")
    numbers = replace(missing, frame=missing.frame.fillna(SENTINEL))
    training = missing.frame.iloc[: missing.training].isna().sum()
    print("missing cells in the training part:", {k: int(v) for k, v in training.items() if v})
    after = missing.frame.iloc[missing.training + missing.validation :].isna().sum()
    print("and in the test part:", {k: int(v) for k, v in after.items() if v})
    channels = []
    print("| model | -9999 | MSE | MAE |\n| --- | --- | ---: | ---: |")
    for layer in ("last", "linear", "aaren", "attention"):
        for name, parts in (("missing", missing), ("a number", numbers)):
            common = {"horizon": 192, "roles": parts.roles, "validation": parts.validation}
            model = (
                BASELINES[layer](**common)
                if layer in BASELINES
                else Forecaster(layer, normalise="window", **common, **PRESETS["small"])
            )
            table, start = parts.test_after(96)
            errors = model.fit(parts.before_test).backtest(table, start=start)
            print(f"| {layer} | {name} | {errors.mse:.3f} | {errors.mae:.3f} |", flush=True)
            if layer == "linear":
                by_channel = dict(zip(model.channels_, errors.mse_by_channel, strict=True))
                told = ", ".join(f"{channel} {by_channel[channel]:.3f}" for channel in training[training > 0].index)
                channels.append(f"linear, {name}: MSE of {told}")
    print(*channels, environment(), sep="\n")


if __name__ == "__main__":
    main()
