"""Shape annotations of the package are checked at run time in tests, except in the call for marker `unchecked`."""

import os

import hypothesis
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before triton is imported

hypothesis.settings.register_profile("aaren", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("aaren")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root():
    """The folder of real data, or a visible skip."""
    root = os.environ.get("AAREN_DATA")
    if not root:
        pytest.skip("AAREN_DATA is not set")
    return root
