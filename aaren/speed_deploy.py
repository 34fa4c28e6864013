"""What a token costs on a device: `aaren bench --parts deploy`. One stream through an encoder, in every format."""

import gc
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from aaren.bench import Cost
from aaren.export.c_library import CLibrary
from aaren.export.c_source import c_source
from aaren.export.check import Push, largest_difference
from aaren.export.executorch_file import ExecutorchStream, executorch_bytes
from aaren.export.int8 import round_weights
from aaren.export.one_token import Deployment, deploy_layer
from aaren.export.onnx_file import onnx_bytes
from aaren.extras import require
from aaren.models.encoder import Encoder
from aaren.speed import alone, race
from aaren.stream import Stream

BLOCKS = 4
STEPS = 10_000
"""Tokens after which outputs are compared with PyTorch's."""

TOKENS = 50
"""Of a turn of the race."""


def deploy_records(seconds: int | float, widths: Sequence[int], layers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For each layer, width and format: time of a token, size of the file, difference after 10,000 carried steps, and
    the peak of memory that a fresh process takes to load the file and to stream 100 tokens."""
    for layer in layers:
        for width in widths:
            encoder, deployment = make_encoder(layer, width)
            parameters = {
                "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
                "folded": deployment.parameters,
            }
            files = {name: make_file(name, deployment) for name in FORMATS}
            pushes = {name: file.load() for name, file in files.items()}
            tokens = [deployment.draw(np.random.default_rng(0), 1, number) for number in range(TOKENS)]
            times = race({name: partial(_stream, push, tokens) for name, push in pushes.items()}, seconds, "onnx")
            for record in times:
                name = record["name"]
                whole = round_weights(deployment) if name.endswith("int8") else deployment
                yield {
                    "part": "deploy",
                    "layer": layer,
                    "d_model": width,
                    **parameters,
                    **record,
                    "us": 1e3 * record["ms"] / TOKENS,
                    "file_bytes": files[name].bytes,
                    "difference": largest_difference(whole, files[name].load(), steps=STEPS),
                    "peak_bytes": alone(_peak, name, layer, width),
                }


def make_encoder(layer: str, width: int) -> tuple[Encoder, Deployment]:
    """Four blocks with a feed-forward network twice as wide as the tokens, as the preset `small` has it."""
    torch.manual_seed(0)
    encoder = Encoder(BLOCKS, width, 4, 2 * width, layer=layer).eval()
    return encoder, deploy_layer(encoder)


class File(NamedTuple):
    """A model in a format."""

    bytes: int
    load: Callable[[], Push]
    """a new stream through it"""


def make_file(name: str, deployment: Deployment) -> File:
    """The model in the format of that name, with rounded weights if it ends in int8."""
    return FORMATS[name](round_weights(deployment) if name.endswith("int8") else deployment)


def _stream(push: Push, tokens: Sequence[Sequence[np.ndarray]]) -> None:
    for inputs in tokens:
        push(inputs)


def _pytorch(deployment: Deployment) -> File:
    def load() -> Push:
        stream = Stream(deployment.module.model, dtype=deployment.module.dtype)

        def push(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            x, *elapsed = map(torch.from_numpy, inputs)
            return [stream.push(x, elapsed=elapsed[0] if elapsed else None).numpy()]

        return push

    return File(sum(p.numel() * p.element_size() for p in deployment.module.parameters()), load)


def _onnx(deployment: Deployment) -> File:
    content, names = onnx_bytes(deployment), [port.name for port in deployment.inputs]

    def load() -> Push:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(content)
            session = require("aaren_runtime", "export").Session(path)

        def push(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            return list(session.push(inputs[0], **dict(zip(names[1:], inputs[1:], strict=True))).values())

        return push

    return File(len(content), load)


def _executorch(deployment: Deployment) -> File:
    content = executorch_bytes(deployment)
    return File(len(content), lambda: ExecutorchStream(content, deployment).push)


def _c(deployment: Deployment) -> File:
    source = c_source(deployment)
    return File(CLibrary(source, "model", deployment).bytes, lambda: CLibrary(source, "model", deployment).push)


FORMATS: dict[str, Callable[[Deployment], File]] = {
    "pytorch": _pytorch,
    "onnx": _onnx,
    "onnx int8": _onnx,
    "executorch": _executorch,
    "c": _c,
    "c int8": _c,
}
"""What makes a file of each format; of `c` its bytes are those of the compiled library, of `pytorch` those of the
weights."""


def _peak(name: str, layer: str, width: int) -> int:
    """Peak memory of loading and streaming, in a process that has done the same with a model of width 8."""
    for size in (8, width):
        _, deployment = make_encoder(layer, size)
        tokens = [deployment.draw(np.random.default_rng(0), 1, number) for number in range(100)]
        file = make_file(name, deployment)
        gc.collect()
        with Cost() as cost:
            _stream(file.load(), tokens)
    return cost.peak_bytes
