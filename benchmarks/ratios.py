"""Test errors divided by those of `attention` with the same seed: the tables of ratios in docs/forecasting.md.

python benchmarks/ratios.py [--seeds 5]: from the committed results of forecasting; the geometric mean over the sets,
mean ± standard deviation over the seeds, for each horizon; a baseline without seeds counts for each of them.
"""

import argparse
from collections import defaultdict
from math import exp, log
from pathlib import Path
from statistics import fmean, stdev

from aaren.files import read_json_lines

RESULTS = Path(__file__).parent / "results"
READINGS = (("window", "mse", ()), ("running", "stream_mse", ()), ("running", "stream_mse", ("ETTh1",)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Errors of forecasts relative to attention.")
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    files = [RESULTS / name / "results.jsonl" for name in ("forecast", "forecast_horizons")]
    records = [record for file in files for record in read_json_lines(file)]
    for normalise, metric, without in READINGS:
        print(f"{normalise}, {metric}" + (f", without {', '.join(without)}" if without else ""))
        for horizon in sorted({r["horizon"] for r in records}):
            errors: dict = defaultdict(dict)
            for r in records:
                right = r["horizon"] == horizon and r["normalise"] in (None, normalise) and r["data"] not in without
                if right and r.get(metric) is not None:
                    errors[r["layer"]][r["data"], r["seed"]] = r[metric]
            attention = errors["attention"]
            for layer, own in sorted(errors.items()):
                logs = defaultdict(list)
                for (data, seed), error in attention.items():
                    if seed in seeds:
                        mine = own[data, seed] if (data, seed) in own else own[data, None]
                        logs[seed].append(log(mine) - log(error))
                ratios = [exp(fmean(some)) for some in logs.values()]
                spread = stdev(ratios) if len(ratios) > 1 else 0.0
                print(f"  {horizon:>3} {layer:<12} {fmean(ratios):.3f} ± {spread:.3f} ({len(ratios)} seeds)")


if __name__ == "__main__":
    main()
