"""Every example runs, and the one-file version of the idea is the library's function."""

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from aaren.layers.aaren import Aaren
from aaren.ops.scan_state import ScanState, combine

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), FOLDER / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def minimal():
    return load("minimal.py")


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / name], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout


@pytest.mark.parametrize("chunk", [50, 7, 1])
def test_minimal_is_the_library(minimal, chunk):
    library = Aaren(12, 3).double()
    for parameter in library.parameters():
        torch.nn.init.normal_(parameter)  # biases too, which start at zero
    layer = minimal.Aaren(12, 3).double()
    layer.load_state_dict(library.state_dict())
    x = torch.randn(2, 50, 12, dtype=torch.float64)

    outputs, state = [], None
    for part in x.split(chunk, dim=1):
        y, state = layer(part, state)
        outputs.append(y)
    y = torch.cat(outputs, dim=1)
    expected, expected_state = library(x)
    assert_close(y, expected, rtol=1e-12, atol=1e-12)
    assert state is not None
    for leaf, expected_leaf in zip(state, expected_state, strict=True):
        assert_close(leaf, expected_leaf, rtol=1e-12, atol=1e-12)

    weights = torch.randn_like(y)
    gradients = torch.autograd.grad(y, list(layer.parameters()), weights)
    expected_gradients = torch.autograd.grad(expected, list(library.parameters()), weights)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-10)


def test_minimal_combine_is_the_library_s(minimal):
    def states(rows):
        """Random states; of every four rows of `rows` the ones named are empty."""
        m = 50 * torch.randn(64, 2, dtype=torch.float64)
        u, w = torch.rand_like(m) + 1, torch.randn(64, 2, 3, dtype=torch.float64)
        for row in rows:
            m[row::4], u[row::4], w[row::4] = -math.inf, 0.0, 0.0
        return m, u, w

    a, b = states((1, 3)), states((2, 3))  # neither, a, b, both
    joined = minimal.combine(minimal.State(*a), minimal.State(*b))
    for leaf, expected in zip(joined, combine(ScanState(*a), ScanState(*b)), strict=True):
        assert_close(leaf, expected, rtol=1e-12, atol=1e-12)
    assert (joined.m[3::4] == -math.inf).all()


def test_attention_is_an_rnn():
    differences = load("attention_as_rnn.py").differences()
    assert len(differences) == 10
    assert max(differences.values()) <= 1e-6, differences
