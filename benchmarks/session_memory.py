"""Resident memory of a process that streams ten million tokens through `aaren_runtime.Session`.

    python benchmarks/session_memory.py [--tokens 10000000]

An encoder of 4 blocks of width 64 as ONNX; the streaming process has NumPy and ONNX Runtime, no PyTorch. Its resident
memory is read at 10³, 10⁴, ... tokens, and must not have grown by more than 5 MB since a tenth of the last. Prints the
table and writes `results/session_memory.jsonl`. Linux only (/proc).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "session_memory.jsonl"
MOST_GROWTH = 5e6


def stream(path: str, tokens: int) -> None:
    """Run in a process of its own; prints a JSON line for each checkpoint."""
    import numpy as np
    from aaren_runtime import Session

    assert "torch" not in sys.modules
    session = Session(path)
    samples = np.random.default_rng(0).normal(size=(1000, *session.inputs[0].shape)).astype(np.float32)
    checkpoints = {10**k for k in range(3, 20) if 10**k < tokens} | {tokens}
    start = time.perf_counter()
    for number in range(1, tokens + 1):
        session.push(samples[number % len(samples)])
        if number in checkpoints:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            record = {
                "tokens": number,
                "resident_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
                "seconds": time.perf_counter() - start,
            }
            print(json.dumps(record), flush=True)


def main() -> None:
    from aaren.bench import environment
    from aaren.export.files import export_model
    from aaren.speed_deploy import make_encoder

    parser = argparse.ArgumentParser(description="Resident memory of an endless stream without PyTorch.")
    parser.add_argument("--tokens", type=int, default=10_000_000)
    tokens = parser.parse_args().tokens
    if tokens < 10_000:
        parser.error(f"--tokens must be at least 10000, got {tokens}")
    with tempfile.TemporaryDirectory() as folder:
        model = export_model(make_encoder("aaren", 64)[1], Path(folder) / "model.onnx", "onnx")
        command = [sys.executable, __file__, "--stream", str(model.path), str(tokens)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            records = []
            for line in process.stdout:
                records.append(json.loads(line))
                r = records[-1]
                print(
                    f"{r['tokens']:>12,} tokens {r['resident_bytes'] / 1e6:8.2f} MB {r['seconds']:9.1f} s", flush=True
                )
    if process.returncode:
        raise SystemExit(process.returncode)
    RESULTS.write_text("".join(json.dumps(record | environment()) + "\n" for record in records))
    before = next(r for r in records if r["tokens"] >= tokens / 10)
    growth = records[-1]["resident_bytes"] - before["resident_bytes"]
    print(f"growth from {before['tokens']:,} to {tokens:,} tokens: {growth / 1e6:.2f} MB")
    if growth > MOST_GROWTH:
        raise SystemExit(f"memory must grow by at most {MOST_GROWTH / 1e6:g} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stream"]:
        stream(sys.argv[2], int(sys.argv[3]))
    else:
        main()
