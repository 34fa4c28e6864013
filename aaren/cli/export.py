"""`aaren export`: a saved model as a file for a device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Export:
    """Write a saved model in a format of small devices: the call that consumes one token, with the state beside it.

    Scaling and decoding are inside: numbers in the units of the data go in, probabilities or forecasts come out (of
    events the density of the time to the next one, as a mixture, with its mean). The file is compared with the model
    over 1,000 steps, and not written if it differs. onnx runs with the package aaren_runtime (NumPy and ONNX Runtime,
    no PyTorch) and in browsers, executorch on phones, c on anything that has a C compiler.

    Example: aaren export results/vowels/model --format c --out vowels.c
    """

    model: tyro.conf.Positional[Path]
    """folder that `aaren classify`, `forecast`, `events` or `control` (streaming) wrote: OUT/model"""
    format: Literal["onnx", "executorch", "c"] = "onnx"
    """of the file"""
    out: Path | None = None
    """file to write; by default MODEL with the ending of the format"""
    state: Literal["float32", "float64"] = "float64"
    """precision of accumulating sums, and of numbers in the units of the data; float32 for devices without float64
    (times of irregular rows stay float64)"""
    int8: bool = False
    """store the weights of matrices in a byte each; outputs then differ from the saved model's"""

    def run(self) -> None:
        import torch

        from aaren.export.check import flat_push, largest_difference
        from aaren.export.files import SUFFIXES, export_model
        from aaren.export.int8 import round_weights
        from aaren.tasks.loading import load_estimator

        estimator = load_estimator(self.model)
        before = sum(parameter.numel() for parameter in estimator.model_.parameters())
        whole = deployment = estimator.deployment(getattr(torch, self.state))
        if self.int8:
            if self.format == "executorch":
                raise ValueError("int8 must be left out for executorch, whose files hold all weights as float32")
            deployment = round_weights(whole)
        folder = self.model.resolve()
        out = folder.with_name(folder.name + SUFFIXES[self.format]) if self.out is None else self.out
        done = export_model(deployment, out, self.format)
        sizes = "".join(f", {name} {size:,} B" for name, size in done.memory.items())
        print(
            f"{done.path}: {done.bytes:,} B, state {done.state_bytes:,} B a stream{sizes}; "
            f"{before:,} parameters, {deployment.parameters:,} folded; within {done.difference:.1g} of PyTorch"
        )
        if self.int8:
            changed = largest_difference(whole, flat_push(deployment))
            print(f"rounding to int8 changes outputs by up to {changed:.1g} of their range")
