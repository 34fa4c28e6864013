"""A model as it is deployed."""

import copy
from typing import Any

from torch import nn


def fold(model: Any) -> Any:
    """A copy of any model in evaluation mode, in which each layer that has a `fold()` is replaced by what it returns:
    the same function with fewer weights and operations. States of the two are interchangeable."""
    copied = copy.deepcopy(model)
    if not isinstance(copied, nn.Module):
        return copied
    return _folded(copied).eval()


def _folded(module: nn.Module) -> nn.Module:
    if hasattr(module, "fold"):
        return module.fold()
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    return module
