"""What `aaren bench` measures: scans and layers side by side in one process, turn by turn, so that ratios hold on a
shared machine whose speed changes. Every function yields records, one JSON object each."""

import gc
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn

from aaren.bench import Cost, measure_stream, places_up_to
from aaren.layers.block import Block
from aaren.layers.fold import fold
from aaren.layers.protocol import accept
from aaren.layers.table import LAYERS
from aaren.ops.numba_kernel import empty
from aaren.ops.scan import attention_scan
from aaren.shapes import PaddingMask, Reset, Tokens
from aaren.stream import Stream

NO_MIXER = "no mixer"
QUICK = (NO_MIXER, "aaren", "aaren_decay", "mingru", "minlstm")
"""Layers that take about as long as no mixer."""

HEADS = {64: 4, 512: 8}
"""Heads of a layer of each width: those of the presets."""

TOLD = (
    "part",
    "d_model",
    "shape",
    "time",
    "total",
    "streams",
    "mode",
    "name",
    "layer",
    "ms",
    "us",
    "ratio",
    "bytes",
    "seconds",
)
"""Of a record, what is worth a look while the benchmark runs."""

Race = dict[str, Callable[[], Any]]
Call = Callable[..., Tensor]


class NoMixer(nn.Module):
    """What is left of a layer whose tokens do not see each other: the value and the output projection. What a mixer
    costs is what it takes longer than this. Follows the contract, with nothing to remember."""

    constant_state = True
    compilable = True
    uses_elapsed = False

    def __init__(self, d_model: int, nhead: int = 1, *, dropout: float = 0.0):
        super().__init__()
        self.d_model = d_model
        self.v_proj, self.out_proj = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def initial_state(
        self, batch_size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.zeros(batch_size, 0, device=device or self.v_proj.weight.device)

    def forward(
        self,
        x: Tokens,
        state: Tensor | None = None,
        *,
        padding_mask: PaddingMask | None = None,
        reset: Reset | None = None,
    ) -> tuple[Tokens, Tensor]:
        x = accept(x, self.d_model, padding_mask, reset, self.out_proj.weight)
        return self.out_proj(self.v_proj(x)), self.initial_state(x.shape[0], x.device) if state is None else state


def make_block(layer: str, d_model: int) -> Block:
    """A block of the benchmark: feed-forward network four times as wide as the tokens, no dropout."""
    factory = NoMixer if layer == NO_MIXER else LAYERS[layer]
    return Block(d_model, HEADS.get(d_model, 4), 4 * d_model, layer=factory, dropout=0.0)


def race(runners: Race, seconds: int | float, base: str) -> Iterator[dict[str, Any]]:
    """Times all runners turn by turn, at least 3 turns and else as many as fit into `seconds` (at most 30).

    Yields:
        For each runner the median milliseconds with quartiles, and the median ratio to `base` of the same turn.
    """
    times: dict[str, list[float]] = {name: [] for name in runners}
    for run in runners.values():
        run()  # memory and compiled code
    start, turn = time.perf_counter(), 0
    while turn < 3 or (turn < 30 and time.perf_counter() - start < seconds):
        for name, run in runners.items():
            begin = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - begin))
        turn += 1
    for name, mine in times.items():
        ratios = [own / other for own, other in zip(mine, times[base], strict=True)]
        yield {"name": name, "turns": turn, **_spread("ms", mine), "base": base, **_spread("ratio", ratios)}


def _spread(name: str, values: Sequence[int | float]) -> dict[str, Any]:
    quartiles = statistics.quantiles(values, n=4)
    return {name: statistics.median(values), f"{name}_quartiles": [quartiles[0], quartiles[2]]}


def _passes(calls: dict[str, Call], inputs: list[Tensor], shape: Sequence[int]) -> Iterator[tuple[str, Race]]:
    """Forward, and forward+backward into inputs and parameters, of every call."""
    weights = torch.randn(*shape)
    yield "forward", {name: partial(_forward, call, inputs) for name, call in calls.items()}
    yield "forward+backward", {name: partial(_backward, call, inputs, weights) for name, call in calls.items()}


def _forward(call: Call, inputs: list[Tensor]) -> None:
    with torch.inference_mode():
        call(*(x.detach() for x in inputs))


def _backward(call: Call, inputs: list[Tensor], weights: Tensor) -> None:
    inputs = [x.detach().requires_grad_() for x in inputs]
    parameters = list(call.parameters()) if isinstance(call, nn.Module) else []
    torch.autograd.grad(call(*inputs), [*inputs, *parameters], weights)


def scan_records(seconds: int | float) -> Iterator[dict[str, Any]]:
    """(a) The scan against a copy of its values, and in a race of their own, since they take most memory and time, what
    is usually written, the scan in plain PyTorch, and the log-step scan.

    The results of a scan lie in new memory, whose first touch costs as much as the kernel: hence the other copy.
    """
    for shape in ((4, 4096, 8, 64), (16, 512, 4, 16)):
        scores, values = torch.randn(shape[:3]), torch.randn(shape)
        copy: Race = {"copy": partial(torch.empty(shape).copy_, values)}
        memory: Race = {
            "copy to new memory": partial(torch.clone, values),
            "first touch of new memory": partial(_touch, shape),
        }
        fast, slow = {"cpu": partial(_scan, "cpu")}, {n: partial(_scan, n) for n in ("chunked", "parallel")}
        for more, calls in ((memory, fast), ({}, {"logcumsumexp + cumsum": _usual} | slow)):
            for mode, runners in _passes(calls, [scores, values], shape):
                for record in race(copy | more | runners, seconds, "copy"):
                    if calls is fast or record["name"] != "copy":
                        yield {"part": "scan", "shape": shape, "mode": mode, **record}


def _touch(shape: Sequence[int]) -> None:
    """Makes the system give memory of this size, as the kernels ask for it."""
    empty(shape, "float32").reshape(-1)[::1024] = 0.0


def _scan(backend: str, scores: Tensor, values: Tensor) -> Tensor:
    return attention_scan(scores, values, backend=backend)[0]


def _usual(scores: Tensor, values: Tensor) -> Tensor:
    """What is usually written: one maximum for all prefixes, so that it fails where later scores are much higher."""
    top = scores.amax(dim=1, keepdim=True)
    total = torch.exp(torch.logcumsumexp(scores, dim=1) - top)
    return torch.cumsum(torch.exp(scores - top)[..., None] * values, dim=1) / total[..., None]


class _PyTorchLayer(nn.TransformerEncoderLayer):
    """PyTorch's own block, causal."""

    def __init__(self, d_model: int, length: int):
        super().__init__(d_model, HEADS.get(d_model, 4), 4 * d_model, dropout=0.0, batch_first=True)
        self.causal = nn.Transformer.generate_square_subsequent_mask(length)  # of the kind that need not be converted

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x, src_mask=self.causal, is_causal=True)


class _Outputs(nn.Module):
    """A block without its state."""

    def __init__(self, block: Block):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)[0]


def layer_records(seconds: int | float, widths: Sequence[int], lengths: Sequence[int]) -> Iterator[dict[str, Any]]:
    """(b) Whole blocks, forward and forward+backward, against the one without a mixer.

    A call holds at least 16,384 tokens for narrow blocks and 4,096 for wide ones: shorter sequences come in batches.
    The quick ones race on their own, so that they have many turns. All are in training mode, which without dropout
    changes nothing but that PyTorch's layer does not take its inference path, which is slower with a mask.
    """
    for width, length in itertools.product(widths, lengths):
        batch = max(1, (16384 if width < 512 else 4096) // length)
        calls: dict[str, Call] = {name: _Outputs(make_block(name, width)) for name in (NO_MIXER, *LAYERS)}
        calls["nn.TransformerEncoderLayer"] = _PyTorchLayer(width, length)
        shape = (batch, length, width)
        for mode, runners in _passes(calls, [torch.randn(shape)], shape):
            slow = {name: run for name, run in runners.items() if name not in QUICK}
            quick = {name: run for name, run in runners.items() if name in QUICK}
            records = [*race(quick, seconds, NO_MIXER), *race({NO_MIXER: quick[NO_MIXER]} | slow, seconds, NO_MIXER)]
            del records[len(quick)]  # the second time of the base
            for record in records:
                yield {"part": "layer", "d_model": width, "time": length, "batch": batch, "mode": mode, **record}


def stream_records(totals: Sequence[int]) -> Iterator[dict[str, Any]]:
    """(c) One stream for a long time through a block of width 64 (paper, figure 5): cumulative time, bytes of state."""
    for total in totals:
        for name in ("aaren", "aaren_decay", "mingru", "gru", "attention"):
            readings = measure_stream(Stream(make_block(name, 64)), torch.randn(1000, 64), places_up_to(total))
            yield {"part": "stream", "layer": name, "total": total, "readings": readings}


def many_records(seconds: int | float, streams: Sequence[int]) -> Iterator[dict[str, Any]]:
    """(d) One token of each of many streams in one call of a block of width 64; attention has a cache of 128 tokens."""
    for number in streams:
        repeats = max(1, 100 // number)
        x, runners = torch.randn(number, 1, 64), {}
        for name in ("aaren", "aaren_decay", "mingru", "gru", "attention"):
            block = fold(make_block(name, 64))
            with torch.inference_mode():
                past = torch.randn(number, 128 if name == "attention" else 2, 64)
                _, state = block(past, block.initial_state(number, dtype=torch.float64))
            runners[name] = partial(_steps, block, x, state, repeats)
        for record in race(runners, seconds, "gru"):
            rate = 1e3 * number * repeats / record["ms"]
            yield {"part": "many", "streams": number, "tokens_per_second": rate, **record}


@torch.inference_mode()
def _steps(block: Block, x: Tensor, state: Any, repeats: int) -> None:
    for _ in range(repeats):
        block(x, state)


def memory_records(lengths: Sequence[int]) -> Iterator[dict[str, Any]]:
    """(e) Peak memory of one forward and backward pass through a block of width 64: median of three fresh processes."""
    for length in lengths:
        for name in (NO_MIXER, "aaren", "gru", "attention"):
            peaks = [alone(_training_peak, name, length) for _ in range(3)]
            yield {"part": "memory", "name": name, "time": length, "bytes": statistics.median(peaks), "peaks": peaks}


def _training_peak(name: str, length: int) -> int:
    block = make_block(name, 64)
    for time_steps in (64, length):  # the first pass loads libraries and compiled code
        x = torch.randn(1, time_steps, 64)
        gc.collect()
        with Cost() as cost:
            block(x)[0].sum().backward()
    return cost.peak_bytes


def first_call_records() -> Iterator[dict[str, Any]]:
    """(f) Seconds until the first scan and its gradient are there: never compiled on this machine, then cached."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("NUMBA_CACHE_DIR")
        os.environ["NUMBA_CACHE_DIR"] = folder
        try:
            for name in ("compiled", "cached"):
                yield {"part": "first", "name": name, "seconds": alone(_first_call)}
        finally:
            del os.environ["NUMBA_CACHE_DIR"]
            if before is not None:
                os.environ["NUMBA_CACHE_DIR"] = before


def _first_call() -> float:
    start = time.perf_counter()
    scores, values = torch.randn(2, 8, 2, requires_grad=True), torch.randn(2, 8, 2, 4, requires_grad=True)
    attention_scan(scores, values, backend="cpu")[0].sum().backward()
    return time.perf_counter() - start


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns in a fresh process."""
    threads = torch.get_num_threads()
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        return pool.submit(function, *arguments).result()
