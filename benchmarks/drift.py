"""Drift of a long stream: a million tokens, one at a time, with a float64 and with a float32 state.

    python benchmarks/drift.py [--tokens 1000000]

Every row of the batch is one regime: spread and offset of the scores, mean of the values. Scores and values are
float32, as a layer gives them; both states read the same tokens in one-token calls of `attention_scan`. At 10³, 10⁴,
... tokens the average in each state is compared with the exact one. The error is relative to Σ p·|v|, with p the
softmax weights, and the worst of the head's components. (Outputs have the dtype of the values, so `attention_scan`
returns the average rounded to float32: 6e-8 on top.)
"""

import argparse
import datetime
import itertools
import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from aaren.ops.scan import attention_scan
from aaren.ops.scan_state import empty, readout

SPREADS, OFFSETS, MEANS = (0.0, 1.0, 4.0, 10.0), (0.0, 100.0), (0.0, 3.0)
REGIMES = list(itertools.product(SPREADS, OFFSETS, MEANS))
HEAD_DIM = 8
DTYPES = (torch.float64, torch.float32)
BLOCK = 1000
"""Tokens drawn at a time; checkpoints are multiples of it."""
RESULTS = Path(__file__).parent / "results" / "drift.jsonl"


def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The next block of tokens of every regime: scores (regimes, BLOCK, 1) and values (regimes, BLOCK, 1, HEAD_DIM)."""
    spread, offset, mean = torch.tensor(REGIMES).unbind(1)
    scores = torch.randn(len(REGIMES), BLOCK, 1, generator=generator)
    values = torch.randn(len(REGIMES), BLOCK, 1, HEAD_DIM, generator=generator)
    return offset[:, None, None] + spread[:, None, None] * scores, mean[:, None, None, None] + values


class Exact:
    """The same averages in float64, sharing no line with the scan: no running maximum, no running sum.

    Weights are exp(s - offset), which float64 holds without help. Sums are pairwise within a block and exactly rounded
    (`math.fsum`) over the blocks.
    """

    def __init__(self):
        self.offset = torch.tensor(REGIMES, dtype=torch.float64)[:, 1, None]
        self.blocks: list[Tensor] = []

    def add(self, scores: Tensor, values: Tensor) -> None:
        weights = torch.exp(scores[..., 0].double() - self.offset)[..., None]
        v = values[:, :, 0].double()
        terms = torch.cat([weights, weights * v, weights * v.abs()], dim=-1)
        self.blocks.append(pairwise_sum(terms))

    def averages(self) -> tuple[Tensor, Tensor]:
        """Σ p·v and Σ p·|v| of everything so far: (regimes, HEAD_DIM)."""
        columns = torch.stack(self.blocks, dim=-1).flatten(0, 1)
        totals = torch.tensor([math.fsum(column) for column in columns.tolist()], dtype=torch.float64)
        u, w, scale = totals.view(len(REGIMES), -1).split([1, HEAD_DIM, HEAD_DIM], dim=1)
        return w / u, scale / u


def pairwise_sum(terms: Tensor) -> Tensor:
    """Sum over axis 1, halving it again and again."""
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        halves = terms[:, :half] + terms[:, half : 2 * half]
        terms = torch.cat([halves, terms[:, 2 * half :]], dim=1)
    return terms[:, 0]


@torch.inference_mode()
def measure(tokens: int) -> list[dict]:
    """One record for each checkpoint and regime."""
    checkpoints = {10**k for k in range(3, 20) if 10**k < tokens} | {tokens}
    generator = torch.Generator().manual_seed(0)
    exact = Exact()
    states = {dtype: empty((len(REGIMES), 1), HEAD_DIM, dtype=dtype) for dtype in DTYPES}
    records = []
    for seen in range(BLOCK, tokens + 1, BLOCK):
        scores, values = draw(generator)
        exact.add(scores, values)
        for score, value in zip(scores.split(1, dim=1), values.split(1, dim=1), strict=True):
            for dtype in DTYPES:
                _, states[dtype] = attention_scan(score, value, states[dtype])
        if seen in checkpoints:
            average, scale = exact.averages()
            errors = {
                dtype: ((readout(state)[:, 0] - average).abs() / scale).amax(dim=1).tolist()
                for dtype, state in states.items()
            }
            for i, (spread, offset, mean) in enumerate(REGIMES):
                record = {"tokens": seen, "score_spread": spread, "score_offset": offset, "value_mean": mean}
                records.append(record | {str(dtype).removeprefix("torch."): errors[dtype][i] for dtype in DTYPES})
    return records


def provenance() -> dict:
    """Where the numbers come from."""
    described = ["git", "describe", "--always", "--abbrev=40", "--dirty"]
    commit = subprocess.run(described, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
    return {
        "commit": commit.strip(),
        "torch": torch.__version__,
        "command": f"python {shlex.join(sys.argv)}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def print_table(records: list[dict]) -> None:
    print("error / Σ p·|v|")
    print(f"{'tokens':>9} {'spread':>6} {'offset':>6} {'mean':>5} {'float64 state':>14} {'float32 state':>14}")
    for r in records:
        print(
            f"{r['tokens']:>9,} {r['score_spread']:>6g} {r['score_offset']:>6g} {r['value_mean']:>5g} "
            f"{r['float64']:>14.1e} {r['float32']:>14.1e}"
        )
    for tokens in dict.fromkeys(r["tokens"] for r in records):
        worst = {name: max(r[name] for r in records if r["tokens"] == tokens) for name in ("float64", "float32")}
        print(f"{tokens:>9,} {'worst of all':>19} {worst['float64']:>14.1e} {worst['float32']:>14.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Drift of one-token streaming against exact float64 sums.")
    parser.add_argument("--tokens", type=int, default=1_000_000, help=f"length of the stream, a multiple of {BLOCK}")
    tokens = parser.parse_args().tokens
    if tokens < BLOCK or tokens % BLOCK:
        parser.error(f"--tokens must be a positive multiple of {BLOCK}, got {tokens}")
    origin = provenance()
    records = measure(tokens)
    print_table(records)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(origin | record) + "\n" for record in records))


if __name__ == "__main__":
    main()
