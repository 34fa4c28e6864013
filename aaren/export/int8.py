"""Weights of a byte each: whole numbers from -127 to 127 times a scale for each output.

Only matrices are rounded, and rounded as numbers: the model with rounded weights is an ordinary model, whose accuracy
is measured like any other's, and each format stores a matrix as bytes if that loses nothing. Decays, norms, biases and
all arithmetic stay as they were.
"""

import copy
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from aaren.export.one_token import Deployment

LEAST = 8
"""Rows and columns from which a matrix is rounded: smaller ones, such as scores for a few heads, are not worth it."""


class Rounded(NamedTuple):
    """`whole * scale[:, None]`."""

    whole: Int8[Tensor, "O I"]
    scale: Float[Tensor, "O"]


def rounded(weight: Float[Tensor, "O I"]) -> Rounded:
    """The nearest such matrix, with the largest weight of each output at ±127."""
    scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(weight.dtype).tiny * 128) / 127
    return Rounded((weight / scale[:, None]).round().to(torch.int8), scale)


def as_int8(weight: Float[Tensor, "O I"]) -> Rounded | None:
    """The parts of a matrix that is one of `round_weights`, or None."""
    if min(weight.shape) < LEAST or weight.dtype != torch.float32:
        return None
    parts = rounded(weight)
    exact = torch.allclose(parts.whole * parts.scale[:, None], weight, rtol=1e-6, atol=0)
    return parts if exact else None


def round_weights(deployment: Deployment) -> Deployment:
    """The deployment with every matrix rounded."""
    module: nn.Module = copy.deepcopy(deployment.module)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 2 and min(parameter.shape) >= LEAST:
                parts = rounded(parameter)
                parameter.copy_(parts.whole * parts.scale[:, None])
    return replace(deployment, module=module)
