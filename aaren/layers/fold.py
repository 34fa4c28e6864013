"""A model as it is deployed."""

import copy
from typing import Any

from torch import nn

from aaren.layers.aaren import Aaren


def fold(model: Any) -> Any:
    """A copy of any model in evaluation mode with each `Aaren` folded: the same function with fewer weights and
    operations, whose states are interchangeable with the original's. Subclasses and layers with hooks stay as they are.
    """
    copied = copy.deepcopy(model)
    if not isinstance(copied, nn.Module):
        return copied
    return _folded(copied).eval()


def _folded(module: nn.Module) -> nn.Module:
    if type(module) is Aaren and not (module._forward_hooks or module._forward_pre_hooks):
        return module.fold()
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    return module
