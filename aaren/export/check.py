"""Whether an exported model does what the model does."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from aaren.export.one_token import Deployment, Flat, arguments_of

Push = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""One token of every row of one stream: inputs to outputs."""

STEPS = 1_000
TOLERANCE = 1e-5
"""Of outputs, in units of the largest output of the stream."""


def largest_difference(deployment: Deployment, push: Push, *, rows: int = 1, steps: int = STEPS) -> float:
    """The largest difference of any output in a stream with a carried state, over the largest output (at least 1)."""
    flat, count = Flat(deployment).eval(), len(deployment.outputs)
    state = arguments_of(deployment, rows)[len(deployment.inputs) :]
    random = np.random.default_rng(1)
    largest, difference = 1.0, 0.0
    with torch.inference_mode():
        for number in range(steps):
            inputs = deployment.draw(random, rows, number)
            results = flat(*map(torch.from_numpy, inputs), *state)
            state = results[count:]
            for expected, got in zip(results[:count], push(inputs), strict=True):
                largest = max(largest, float(expected.abs().max()))
                difference = max(difference, float(np.abs(expected.numpy() - got).max()))
                if not np.isfinite(got).all():
                    return float("inf")
    return difference / largest


def check_same(deployment: Deployment, push: Push, *, rows: int = 1) -> float:
    """The largest difference. Raises ValueError if it is above `TOLERANCE`: such a file is not to be used."""
    difference = largest_difference(deployment, push, rows=rows)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the exported model must equal the model to {TOLERANCE:g} over {STEPS:,} carried steps, got "
            f"{difference:.2g}; nothing was written"
        )
    return difference
