"""Models in ExecuTorch: the same outputs."""

import pytest
import torch

from aaren import Encoder
from aaren.export.check import largest_difference
from aaren.export.executorch_file import ExecutorchStream, executorch_bytes
from aaren.export.one_token import deploy_layer

pytestmark = [pytest.mark.unchecked, pytest.mark.filterwarnings("ignore")]  # its packages warn of each other


@pytest.mark.parametrize(
    ("layer", "dtype"), [("aaren", torch.float32), ("aaren_gated", torch.float64), ("lstm", torch.float32)]
)
def test_layers_are_the_same_in_executorch(layer, dtype):
    deployment = deploy_layer(Encoder(2, 20, 2, 24, layer=layer).eval(), dtype)
    stream = ExecutorchStream(executorch_bytes(deployment), deployment)
    assert largest_difference(deployment, stream.push, steps=50) < 5e-6


def test_tasks_are_the_same_in_executorch(classifier, forecaster):
    for deployment in (classifier.deployment(), forecaster.deployment()):
        stream = ExecutorchStream(executorch_bytes(deployment), deployment)
        assert largest_difference(deployment, stream.push, steps=50) < 5e-6
