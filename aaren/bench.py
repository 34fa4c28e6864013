"""Measurements: what a run cost, what a streamed token costs, and what a number must be read with."""

import hashlib
import itertools
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import aaren
from aaren.stream import Stream

MARKS = (100, 1_000, 10_000)
"""Streamed tokens after which cost is read."""


def environment() -> dict[str, Any]:
    """What a number must be read with: commit, versions, machine, date."""
    return {
        "commit": commit(),
        "aaren": aaren.__version__,
        "torch": version("torch"),
        "python": platform.python_version(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str:
    """The commit of the source checkout, with a digest of what was changed since; the version if installed."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return f"v{aaren.__version__}"
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "diff", "HEAD", "--", "aaren"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"v{aaren.__version__}"
    return head.strip() + (f"+{hashlib.sha256(changed).hexdigest()[:7]}" if changed else "")


class Cost:
    """Context that measures the time and the peak of extra memory of what runs inside it.

    The peak is the process's highest resident size since the start less the size at the start. Memory that the process
    had and reuses does not show, so measure in a process of its own, warmed up by the least work of the same kind.
    """

    seconds: float
    peak_bytes: int

    def __enter__(self) -> "Cost":
        self._start = time.perf_counter()
        with suppress(OSError):  # Linux: count the peak from here
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _status_bytes("VmRSS")
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self.peak_bytes = max(_status_bytes("VmHWM") - self._before, 0)


def _status_bytes(name: str) -> int:
    """VmRSS (resident now) or VmHWM (its peak) on Linux; elsewhere the peak of the process for both."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure_stream(stream: Stream, tokens: Tensor, places: Iterable[int]) -> list[dict[str, int | float]]:
    """Pushes `tokens` (time, width), over and over, until as many as the last of `places` have been pushed. On one
    thread: a step is too small for two.

    Returns:
        At each place: tokens so far, seconds so far, median microseconds of a token since the previous place (at most
        the last 100), bytes of the state.
    """
    places = set(places)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for token in tokens[:20]:  # the first calls of a process allocate
        stream.push(token)
    stream.reset()
    readings: list[dict[str, int | float]] = []
    recent, seconds = [], 0.0
    for count, token in enumerate(itertools.islice(itertools.cycle(tokens), max(places)), start=1):
        start = time.perf_counter()
        stream.push(token)
        took = time.perf_counter() - start
        seconds += took
        recent.append(took)
        if count in places:
            typical = sorted(recent[-100:])[len(recent[-100:]) // 2]
            readings.append(
                {"tokens": count, "seconds": seconds, "token_us": 1e6 * typical, "state_bytes": stream.nbytes}
            )
            recent = []
    torch.set_num_threads(threads)
    return readings


def places_up_to(total: int) -> set[int]:
    """About 60 numbers of tokens up to `total` to read a stream at, close together at first, the marks among them."""
    places = {round(total ** (k / 30)) for k in range(31)} | {total * k // 30 for k in range(1, 31)}
    return {place for place in places if place > 0} | {mark for mark in MARKS if mark <= total}


def stream_cost(stream: Stream, tokens: Tensor) -> dict[str, int | float]:
    """`token_us`, median microseconds of the last hundred of 1,000 tokens, and `state_bytes` after them."""
    last = measure_stream(stream, tokens, (900, 1_000))[-1]
    return {name: last[name] for name in ("token_us", "state_bytes")}
