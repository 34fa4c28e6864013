"""What a token costs in C, called from C, for several flags of the compiler.

    python benchmarks/c_flags.py [--widths 32 64 128]

Encoders of 4 blocks of `aaren`, float32 and int8 weights, one core. A program pushes 2,000 tokens 15 times; the medians
of a token are printed with the bytes of constants, state and scratch, and written to `results/c_flags.jsonl`. Needs
`cc`.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from aaren.bench import environment
from aaren.export.c_source import c_source
from aaren.export.int8 import round_weights
from aaren.speed_deploy import make_encoder

RESULTS = Path(__file__).parent / "results" / "c_flags.jsonl"
FLAGS = ("-O2", "-O3", "-O3 -mavx2 -mfma", "-O3 -march=native")
MAIN = """\
#include <stdio.h>
#include <time.h>
#include "model.c"

int main(void)
{
    static model_state state;
    static float x[WIDTH], y[WIDTH];
    struct timespec from, to;
    model_init(&state);
    for (int turn = 0; turn < 16; turn++) {
        timespec_get(&from, TIME_UTC);
        for (int i = 0; i < 2000; i++) { x[0] = (float)(i % 7); model_push(&state, x, y); }
        timespec_get(&to, TIME_UTC);
        const double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        printf("%.9g %g\\n", seconds / 2000, (double)y[0]);
    }
    return 0;
}
"""


def measure(width: int, weights: str, flags: str) -> dict[str, Any]:
    deployment = make_encoder("aaren", width)[1]
    source = c_source(round_weights(deployment) if weights == "int8" else deployment, "model")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.c").write_text(source.text)
        (Path(folder) / "main.c").write_text(MAIN.replace("WIDTH", str(width)))
        command = ["cc", "-std=c11", *flags.split(), "main.c", "-o", "main", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        lines = subprocess.run(["./main"], cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()
    times = sorted(1e6 * float(line.split()[0]) for line in lines[1:])  # the first turn loads the caches
    sizes = {name: getattr(source, name) for name in ("flash_bytes", "state_bytes", "scratch_bytes")}
    spread = {"us": median(times), "us_least": times[0], "us_most": times[-1]}
    return {"d_model": width, "weights": weights, "flags": flags} | spread | sizes


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of a token in C for several flags of the compiler.")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128])
    records = []
    print("| d_model | weights | flags | µs a token (least – most) | constants | state | scratch |")
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: |")
    for width in parser.parse_args().widths:
        for weights in ("float32", "int8"):
            for flags in FLAGS:
                r = measure(width, weights, flags)
                records.append(r)
                told = f"| {width} | {weights} | `{flags}` | {r['us']:.1f} ({r['us_least']:.1f} – {r['us_most']:.1f}) "
                print(told + f"| {r['flash_bytes']:,} | {r['state_bytes']:,} | {r['scratch_bytes']:,} |", flush=True)
    RESULTS.write_text("".join(json.dumps(record | environment()) + "\n" for record in records))


if __name__ == "__main__":
    main()
