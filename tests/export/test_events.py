"""Event models in every format: the same densities as in PyTorch, ties and marks of no name included."""

import shutil

import numpy as np
import pytest
import torch
from test_c import compiled

from aaren.export.check import TOLERANCE, check_same, largest_difference
from aaren.export.executorch_file import ExecutorchStream, executorch_bytes
from aaren.export.files import export_model
from aaren.export.int8 import round_weights
from aaren.tasks.events import EventForecaster
from aaren.train import Recipe

pytestmark = pytest.mark.unchecked


@pytest.fixture(scope="module", params=["aaren_decay", "gru"])
def forecaster(request):
    random = np.random.default_rng(0)
    names = [f"m{number}" for number in range(9)]
    sequences = [(np.cumsum(random.exponential(size=20)), random.choice(names, 20)) for _ in range(10)]
    recipe = Recipe(updates=20, validate_every=10, learning_rate=1e-2)
    return EventForecaster(request.param, d_model=16, nhead=2, num_layers=1, recipe=recipe).fit(sequences)


def test_a_batch_in_onnx(forecaster, tmp_path):
    assert export_model(forecaster.deployment(), tmp_path / "a.onnx", "onnx").difference < TOLERANCE


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_in_c_also_with_a_byte_a_weight(forecaster):
    check_same(forecaster.deployment(torch.float32), compiled(forecaster.deployment(torch.float32)).push)
    small = round_weights(forecaster.deployment())
    assert largest_difference(small, compiled(small).push, steps=200) < TOLERANCE


@pytest.mark.filterwarnings("ignore")  # its packages warn of each other
def test_in_executorch(forecaster):
    deployment = forecaster.deployment()
    stream = ExecutorchStream(executorch_bytes(deployment), deployment)
    assert largest_difference(deployment, stream.push, steps=200) < TOLERANCE


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_live_stream_and_a_device_say_the_same(forecaster):
    program, stream = compiled(forecaster.deployment()), forecaster.stream()
    for time, mark in ((2.0, "m3"), (2.0, "unheard of"), (2.5, "m0"), (90.0, "m8")):
        place = int(mark[1:]) if mark in forecaster.marks_ else len(forecaster.marks_) + 7
        mean, weight, location, spread, probabilities = program.push([np.array([time]), np.array([place])])
        forecast = stream.push(time, mark)
        assert time + mean[0] == pytest.approx(float(forecast.mean()), rel=1e-5)
        np.testing.assert_allclose(probabilities[0], forecast.mark_probabilities, atol=1e-6)
        z = (np.log(3.0) - location[0]) / spread[0]
        later = (weight[0] * torch.special.ndtr(-torch.from_numpy(z)).numpy()).sum()
        assert later == pytest.approx(float(forecast.survival(time + 3.0)), abs=1e-5)
