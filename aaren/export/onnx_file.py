"""A model as an ONNX file: plain operators, the state among inputs and outputs, any batch."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from aaren.export.one_token import Deployment, Port, initial_value, program_of, quiet
from aaren.export.onnx_int8 import store_int8
from aaren.extras import require

OPSET = 20
"""As new as the runtimes for browsers read."""

FORMAT = 1
"""Version of the metadata, which `aaren_runtime` checks."""

KEY = "aaren"
"""Of the metadata in the file."""


def onnx_bytes(deployment: Deployment) -> bytes:
    """The file.

    Raises:
        ImportError: the packages of the extra `export` are not installed.
    """
    onnx = require("onnx", "export")
    require("onnxscript", "export")
    names = [port.name for port in deployment.inputs] + list(deployment.state)
    after = [port.name for port in deployment.outputs] + [after_name(path) for path in deployment.state]
    with quiet():
        exported = torch.onnx.export(
            program_of(deployment, rows=None),
            input_names=names,
            output_names=after,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    model = store_int8(without_origins(model))
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata(deployment), ensure_ascii=True)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def after_name(path: str) -> str:
    """Output of a leaf of the state that is `path` among the inputs."""
    return "next" + path.removeprefix("state")


def without_origins(model: Any) -> Any:
    """The model without what the exporter notes of where each node came from: paths, and a third of a small file."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    return model


def metadata(deployment: Deployment) -> dict[str, Any]:
    """What a reader of the file needs to know, as JSON has it."""
    return {
        "format": FORMAT,
        "task": deployment.task,
        "inputs": [_port(port) for port in deployment.inputs],
        "outputs": [_port(port) for port in deployment.outputs],
        "state": [_leaf(path, leaf) for path, leaf in deployment.state.items()],
        "about": dict(deployment.about),
        "versions": {"aaren": version("aaren"), "torch": torch.__version__, "python": platform.python_version()},
    }


def _port(port: Port) -> Mapping[str, Any]:
    return {
        "name": port.name,
        "shape": list(port.shape),
        "dtype": str(port.dtype).removeprefix("torch."),
        "about": port.about,
        "missing": port.missing,
    }


def _leaf(path: str, leaf: Tensor) -> Mapping[str, Any]:
    return {
        "name": path,
        "next": after_name(path),
        "shape": list(leaf.shape[1:]),
        "dtype": str(leaf.dtype).removeprefix("torch."),
        "initial": repr(initial_value(path, leaf)),  # JSON has no infinity
    }
