"""Matrices of an ONNX file in a byte a weight."""

from typing import Any

import torch
from torch import Tensor

from aaren.export.int8 import Rounded, as_int8
from aaren.extras import require


def store_int8(model: Any) -> Any:
    """The model with every matrix of whole multiples of a scale (`aaren.export.int8`) stored as int8, which a runtime
    multiplies by its scales as it loads. Nothing else is rounded, so outputs and speed stay what they were.

    Not `onnxruntime.quantization.quantize_dynamic`: it rounds what comes in too, and for matrices of this size takes
    longer than it saves.
    """
    onnx = require("onnx", "export")
    nodes = []
    for weight in list(model.graph.initializer):
        found = _parts(torch.from_numpy(onnx.numpy_helper.to_array(weight).copy()))
        if found is None:
            continue
        whole, scale = found
        names = {part: f"{weight.name}.{part}" for part in ("int8", "scale", "whole")}
        for name, tensor in ((names["int8"], whole), (names["scale"], scale)):
            model.graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), name))
        # Not DequantizeLinear, which runtimes fuse with the product into one of whole numbers.
        nodes.append(onnx.helper.make_node("Cast", [names["int8"]], [names["whole"]], to=onnx.TensorProto.FLOAT))
        nodes.append(onnx.helper.make_node("Mul", [names["whole"], names["scale"]], [weight.name]))
        model.graph.initializer.remove(weight)
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return model


def _parts(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Whole numbers, and scales that broadcast to them."""
    if weight.ndim == 3 and len(weight) == 1:  # gates of GRU and LSTM
        parts: Rounded | None = as_int8(weight[0])
        return None if parts is None else (parts.whole[None], parts.scale[:, None])
    if weight.ndim != 2:
        return None
    parts = as_int8(weight)
    if parts is not None:
        return parts.whole, parts.scale[:, None]
    parts = as_int8(weight.T)
    return None if parts is None else (parts.whole.T.contiguous(), parts.scale)
