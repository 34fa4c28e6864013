"""Whether an exported model does what the model does."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from aaren.export.one_token import Deployment, Flat, arguments_of

Push = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""One token of every row of one stream: inputs to outputs."""

STEPS = 1_000
TOLERANCE = 1e-5
"""Of each number of an output, in its unit or, if that is larger, its largest size in the stream."""


def flat_push(deployment: Deployment, rows: int = 1) -> Push:
    """A stream through PyTorch."""
    flat, count = Flat(deployment).eval(), len(deployment.outputs)
    state = list(arguments_of(deployment, rows)[len(deployment.inputs) :])

    @torch.inference_mode()
    def push(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = flat(*map(torch.from_numpy, inputs), *state)
        state[:] = results[count:]
        return [output.numpy() for output in results[:count]]

    return push


def largest_difference(deployment: Deployment, push: Push, *, rows: int = 1, steps: int = STEPS) -> float:
    """The largest difference of any number of an output in a stream with a carried state, in units of `TOLERANCE`'s;
    infinite if one is finite and the other not."""
    expect, random = flat_push(deployment, rows), np.random.default_rng(1)
    units = [np.broadcast_to(port.unit, port.shape).astype(np.float64) for port in deployment.outputs]
    largest, difference = [unit.copy() for unit in units], [np.zeros_like(unit) for unit in units]
    for number in range(steps):
        inputs = deployment.draw(random, rows, number)
        for i, (expected, got) in enumerate(zip(expect(inputs), push(inputs), strict=True)):
            if expected.shape != np.shape(got) or not np.array_equal(np.isfinite(expected), np.isfinite(got)):
                return float("inf")
            finite = np.isfinite(expected)
            apart = np.abs(np.where(finite, expected, 0.0) - np.where(finite, got, 0.0))
            largest[i] = np.maximum(largest[i], np.abs(np.where(finite, expected, 0.0)).max(axis=0))
            difference[i] = np.maximum(difference[i], apart.max(axis=0))
    return max(float((d / most).max()) for d, most in zip(difference, largest, strict=True))


def check_same(deployment: Deployment, push: Push, *, rows: int = 1) -> float:
    """The largest difference. Raises ValueError if it is above `TOLERANCE`: such a file is not to be used."""
    difference = largest_difference(deployment, push, rows=rows)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the exported model must equal the model to {TOLERANCE:g} over {STEPS:,} carried steps, got "
            f"{difference:.2g}; nothing was written"
        )
    return difference
