"""A model as an ExecuTorch program (.pte), for phones: XNNPACK where it can, portable kernels elsewhere."""

import json
import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aaren.export.one_token import Deployment, arguments_of, program_of
from aaren.export.onnx_file import metadata
from aaren.extras import require

KEY = "aaren"
"""Of the method that returns the metadata as bytes of JSON."""


def executorch_bytes(deployment: Deployment) -> bytes:
    """The program: method `forward` takes the inputs and the leaves of the state of one row, and returns the outputs
    and the leaves.

    Raises:
        ImportError: the packages of the extra `executorch` are not installed.
    """
    exir = require("executorch.exir", "executorch")
    xnnpack = require("executorch.backends.xnnpack.partition.xnnpack_partitioner", "executorch")
    about = json.dumps(metadata(deployment), ensure_ascii=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = exir.to_edge_transform_and_lower(
            program_of(deployment, rows=1).run_decompositions({torch.ops.aten.exp2.default: _exp2}),
            partitioner=[xnnpack.XnnpackPartitioner()],
            compile_config=exir.EdgeCompileConfig(_check_ir_validity=False),
            constant_methods={KEY: about},
        ).to_executorch()
    return program.buffer


def _exp2(x: Tensor) -> Tensor:
    """There is no kernel of exp2."""
    return torch.exp(x * math.log(2))


class ExecutorchStream:
    """One stream through a program: `push(inputs)` gives the outputs.

    Raises:
        ImportError: the packages of the extra `executorch` are not installed.
    """

    def __init__(self, content: bytes, deployment: Deployment):
        runtime = require("executorch.runtime", "executorch")
        self._program = runtime.Runtime.get().load_program(content)
        self._forward = self._program.load_method("forward")
        self._state = list(arguments_of(deployment, 1)[len(deployment.inputs) :])
        self._outputs = len(deployment.outputs)

    def push(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One token of one row, arrays (1, ...); the outputs likewise."""
        results = self._forward.execute([*map(torch.from_numpy, inputs), *self._state])
        self._state = [leaf.clone() for leaf in results[self._outputs :]]
        return [output.numpy().copy() for output in results[: self._outputs]]
