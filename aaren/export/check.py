"""Whether an exported model does what the model does."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from aaren.export.one_token import Deployment, Flat, arguments_of

Push = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""One token of every row of one stream: inputs to outputs."""

STEPS = 1_000
TOLERANCE = 1e-5
"""Of each number of an output, in its unit or, if that is larger, the range that it has in the stream."""

ROUNDING = 2
"""Steps of a number's own precision that never count: where it is large, its unit may be less than one."""


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
    """The largest difference of any number of an output in a stream with a carried state, in the sizes of `TOLERANCE`;
    infinite if one is missing or infinite and the other not."""
    expect, random = flat_push(deployment, rows), np.random.default_rng(1)
    sizes = [np.broadcast_to(port.unit, port.shape).astype(np.float64) for port in deployment.outputs]
    least, most = [np.full_like(size, np.inf) for size in sizes], [np.full_like(size, -np.inf) for size in sizes]
    difference = [np.zeros_like(size) for size in sizes]
    for number in range(steps):
        inputs = deployment.draw(random, rows, number)
        for i, (expected, got) in enumerate(zip(expect(inputs), push(inputs), strict=True)):
            finite = np.isfinite(expected)
            holes = [np.where(np.isfinite(one), 0.0, one) for one in (expected, got)]
            if expected.shape != np.shape(got) or not np.array_equal(*holes, equal_nan=True):
                return float("inf")
            if not finite.any():
                continue
            whole = expected.astype(np.float64)
            free = ROUNDING * np.finfo(expected.dtype).eps * np.abs(whole)
            apart = np.abs(np.where(finite, whole, 0.0) - np.where(finite, got, 0.0))
            difference[i] = np.maximum(difference[i], np.where(finite, apart - free, 0.0).max(axis=0))
            least[i] = np.minimum(least[i], np.where(finite, whole, np.inf).min(axis=0))
            most[i] = np.maximum(most[i], np.where(finite, whole, -np.inf).max(axis=0))
    ranges = [np.maximum(size, high - low) for size, low, high in zip(sizes, least, most, strict=True)]
    return max(float((apart / size).max()) for apart, size in zip(difference, ranges, strict=True))


def check_same(deployment: Deployment, push: Push, *, rows: int = 1) -> float:
    """The largest difference. Raises ValueError if it is above `TOLERANCE`: such a file is not to be used."""
    difference = largest_difference(deployment, push, rows=rows)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the exported model must equal the model to {TOLERANCE:g} over {STEPS:,} carried steps, got "
            f"{difference:.2g}; nothing was written"
        )
    return difference
